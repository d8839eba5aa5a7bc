#!/bin/sh
# radosgw: a one-node Ceph with an S3 gateway on loopback, for the functional specs.
#
#   radosgw.sh start DIR PORT      DIR is made; the gateway listens on PORT, the rest on PORT+1..+60
#   radosgw.sh gateway DIR PORT    starts the gateway again that was killed; the data is still there
#   radosgw.sh stop DIR            stops what was started, by its process ids; removes DIR
#
# Needs the Debian packages radosgw, ceph-mon, ceph-osd and ceph-common. All data is in memory. The
# cluster itself knows no passwords (nothing but this reaches it); S3 requests are verified.
set -eu
command=${1:?start, gateway or stop}
dir=${2:?a directory}

stop() {
    for part in rgw osd mon; do
        [ -s "$dir/$part.pid" ] || continue
        pid=$(cat "$dir/$part.pid")
        kill "$pid" 2>/dev/null || continue
        i=0
        while kill -0 "$pid" 2>/dev/null; do
            i=$((i + 1))
            [ $i -lt 50 ] || kill -9 "$pid" 2>/dev/null || :
            sleep 0.1
        done
    done
    rm -rf "$dir"
}

if [ "$command" = stop ]; then
    stop
    exit 0
fi
port=${3:?a port}
start_gateway() {
    # shellcheck disable=SC2086
    radosgw $conf -f -n client.rgw.a >"$dir/rgw.out" 2>&1 </dev/null &
    echo $! >"$dir/rgw.pid"
    await rgw curl -fsS -o /dev/null "http://127.0.0.1:$port/"
}

# Wait at most 60 seconds for "$@" to succeed while the daemon of $1 lives.
await() {
    pid=$(cat "$dir/$1.pid")
    shift
    i=0
    until "$@" >/dev/null 2>&1; do
        i=$((i + 1))
        kill -0 "$pid" 2>/dev/null && [ $i -lt 300 ] || exit 1
        sleep 0.2
    done
}

conf="-c $dir/ceph.conf"
if [ "$command" = gateway ]; then
    start_gateway
    exit 0
fi
mkdir -p "$dir/mon" "$dir/osd" "$dir/rgw" "$dir/run"
dir=$(cd "$dir" && pwd)
conf="-c $dir/ceph.conf"
trap 'code=$?; [ $code = 0 ] || { tail -n 5 "$dir"/*.out >&2; stop; }' EXIT

cat >"$dir/ceph.conf" <<END
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v1:127.0.0.1:$((port + 1))]
mon initial members = a
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = true
ms bind msgr2 = false
ms bind port min = $((port + 2))
ms bind port max = $((port + 60))
auth cluster required = none
auth service required = none
auth client required = none
run dir = $dir/run
admin socket = $dir/run/\$name.asok
log to file = false
log to stderr = false
err to stderr = true
mon cluster log file = $dir/cluster.log
crash dir = $dir/run
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
mon osd full ratio = .99
mon osd nearfull ratio = .98
mon data avail warn = 2
mon data avail crit = 1
[mon]
mon data = $dir/mon
[osd]
osd data = $dir/osd
osd client watch timeout = 2
osd default notify timeout = 2
osd objectstore = memstore
memstore device bytes = 1073741824
osd max object name len = 460
osd max object namespace len = 64
osd class load list = *
osd class default list = *
osd memory target = 939524096
[client.rgw.a]
rgw data = $dir/rgw
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw thread pool size = 32
rgw enable usage log = false
rgw enable quota threads = false
rgw dns name = localhost
END

# An OSD that speaks before it knows the monitors' map is told "wrong fsid" and ends: once more then.
osd_is_up() {
    # shellcheck disable=SC2086
    kill -0 "$(cat "$dir/osd.pid")" 2>/dev/null || {
        ceph-osd $conf -f -i 0 --osd-data "$dir/osd" >>"$dir/osd.out" 2>&1 </dev/null &
        echo $! >"$dir/osd.pid"
    }
    # shellcheck disable=SC2086
    timeout 5 ceph $conf osd stat | grep -q '1 up'
}
# shellcheck disable=SC2086
{
    fsid=$(sed -n 's/^fsid = //p' "$dir/ceph.conf")
    monmaptool --create --fsid "$fsid" --addv a "[v1:127.0.0.1:$((port + 1))]" "$dir/monmap"
    ceph-mon $conf --mkfs -i a --monmap "$dir/monmap" --mon-data "$dir/mon"
} >"$dir/setup.out" 2>&1
# shellcheck disable=SC2086
{
    ceph-mon $conf -f -i a --mon-data "$dir/mon" >"$dir/mon.out" 2>&1 </dev/null &
    echo $! >"$dir/mon.pid"
    await mon timeout 5 ceph $conf mon stat
    uuid=$(cat /proc/sys/kernel/random/uuid)
    ceph $conf osd new "$uuid" 0 >>"$dir/setup.out" 2>&1
    ceph-osd $conf --mkfs -i 0 --osd-uuid "$uuid" --osd-data "$dir/osd" >>"$dir/setup.out" 2>&1
    ceph-osd $conf -f -i 0 --osd-data "$dir/osd" >"$dir/osd.out" 2>&1 </dev/null &
    echo $! >"$dir/osd.pid"
    await mon osd_is_up
    start_gateway
    radosgw-admin $conf -n client.rgw.a user create --uid=tester --display-name=tester \
        --access-key="$AWS_ACCESS_KEY_ID" --secret-key="$AWS_SECRET_ACCESS_KEY" >>"$dir/setup.out" 2>&1
}
