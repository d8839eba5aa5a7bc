#!/bin/sh
# systemd: proves the package's unit under a real systemd (`make systemd-check`, as root).
#
# Boots an empty Debian with systemd as its first process (empty_system.sh, systemd-nspawn), installs
# the package there as a user would, and looks at the unit from inside: ready, scored under its
# restrictions, reloaded (also with broken scripts), stopped while it drains, started again after
# being killed and after being stuck, not started again with a wrong configuration.
set -eu
build=${BUILD:-build}
dist=${DIST:-bookworm}

command -v systemd-nspawn >/dev/null || {
    echo "systemd: systemd-nspawn is not there (apt-get install systemd-container)" >&2
    exit 1
}
. "$(dirname "$0")/empty_system.sh"
empty_system "$dist"
make BUILD="$build" deb >/dev/null
cp "$build"/deb/anomalyd_[0-9]*_"$(dpkg --print-architecture)".deb "$copy/root/"

# ---- what is tried in there ----

cat >"$copy/root/try.sh" <<'INSIDE'
set -eu
bucket=/var/lib/anomalyd/bucket
property() { systemctl show -p "$1" --value anomalyd; }
fail() {
    echo "systemd: $*"
    systemctl status --no-pager -n 0 anomalyd || :
    journalctl --no-pager -n 30 -u anomalyd
    exit 1
}
until_true() { # MESSAGE COMMAND...: within 60 seconds
    message=$1
    shift
    for try in $(seq 600); do
        ! "$@" || return 0
        sleep 0.1
    done
    fail "$message"
}
is() { [ "$(property "$1")" = "$2" ]; }
other_pid() { [ "$(property MainPID)" != "$1" ] && is ActiveState active; }
says() { journalctl --no-pager -u anomalyd | grep -q -- "$1"; }
get() { curl -fsS "http://127.0.0.1:8000$1"; }
summary() { [ -e "$bucket/processed/$1_summary.json" ]; }
put() { # a batch of 40 rows, as another user's program would
    { echo timestamp,temperature; for i in $(seq 40); do echo "2026-02-24,2$((i % 5)).5"; done; } \
        >"/tmp/$1.csv"
    install -o anomalyd -m 644 "/tmp/$1.csv" "$bucket/raw/.$1"
    mv "$bucket/raw/.$1" "$bucket/raw/$1.csv"
}

echo "BUCKET_NAME=$bucket" >>/etc/anomalyd/env
systemctl start anomalyd || fail "it does not start"
is ActiveState active || fail "started, but $(property ActiveState)"
get /ready >/dev/null || fail "READY was said before it was"
property StatusText | grep -q . || fail "no status"
echo "systemd: started; it says: $(property StatusText)"

pid=$(property MainPID)
[ "$(stat -c %U "/proc/$pid")" = anomalyd ] || fail "it runs as $(stat -c %U "/proc/$pid")"
grep -q '^CapEff:\s*0*$' "/proc/$pid/status" || fail "it has capabilities"
grep -q '^Seccomp:\s*2$' "/proc/$pid/status" || fail "its system calls are not filtered"
put one
until_true "not scored under the unit's restrictions" summary one
grep -q '"total_rows": 40' "$bucket/processed/one_summary.json" || fail "scored otherwise"
echo 'return 1 + 1' | anomalyd repl --console /run/anomalyd/console.sock | grep -q 2 || fail "no console"
echo "systemd: scored, and answered its console, as anomalyd without capabilities"

systemctl reload anomalyd || fail "it does not reload"
until_true "not reloaded" says 'reloaded: generation 2'
is ActiveState active || fail "reloaded, but $(property ActiveState)"
echo 'return +' >>/etc/anomalyd/scripts/detect.lua
! systemctl reload anomalyd 2>/dev/null || fail "it reloads broken scripts"
is ActiveState active && get /health >/dev/null || fail "broken scripts stopped it"
kill -HUP "$pid"
until_true "it does not say that the scripts are broken" says 'reload failed'
until_true "still reloading" is ActiveState active
property StatusText | grep -q 'detect' || fail "the status does not name the broken script"
sed -i '$d' /etc/anomalyd/scripts/detect.lua
systemctl reload anomalyd || fail "it does not reload again"
[ "$(property MainPID)" = "$pid" ] || fail "it is another process"
echo "systemd: reloaded; broken scripts were refused, by name, and changed nothing"

kill -KILL "$pid"
until_true "not started again after it was killed" other_pid "$pid"
get /health >/dev/null || fail "started again, but no health"
put two
until_true "not scored after it was killed" summary two
pid=$(property MainPID)
kill -STOP "$pid"
until_true "not started again after it was stuck" other_pid "$pid"
until_true "the watchdog did not see that it was stuck" says 'Watchdog timeout'
get /health >/dev/null || fail "no health after it was stuck"
echo "systemd: killed, and stuck: started again each time"

systemctl stop anomalyd
is Result success || fail "stopped with $(property Result)"
says 'finished; everything accepted is scored' || fail "stopped without draining"
echo 'ANOMALYD_PORT=none' >>/etc/anomalyd/env
! systemctl start anomalyd 2>/dev/null || fail "it starts with a wrong configuration"
until_true "it goes on starting with a wrong configuration" is ActiveState failed
is NRestarts 0 || fail "started again $(property NRestarts) times with a wrong configuration"
is ExecMainStatus 2 || fail "it ended with $(property ExecMainStatus)"
echo "systemd: stopped when all was done; a wrong configuration is no reason to try again"
systemd-analyze security --no-pager anomalyd | tail -n 1
echo fine >/root/result
INSIDE

cat >"$copy/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=network.target dbus.service
[Service]
Type=oneshot
ExecStart=/bin/sh /root/try.sh
StandardOutput=file:/root/log
StandardError=inherit
ExecStopPost=/usr/bin/systemctl exit 0 --force
TimeoutStartSec=300
UNIT

(inside DEBIAN_FRONTEND=noninteractive sh -euc '
    apt-get -q update
    apt-get -q -y install --no-install-recommends systemd systemd-sysv dbus curl
    printf "[Service]\nWatchdogSec=3\nRestartSec=100ms\n" >/root/quick.conf
    install -D -m 644 /root/quick.conf /etc/systemd/system/anomalyd.service.d/quick.conf
    apt-get -q -y install --no-install-recommends /root/anomalyd_*.deb') >"$copy/root/apt.log" 2>&1 || {
    tail -n 20 "$copy/root/apt.log" >&2
    exit 1
}
# It must not start before its configuration is there, whatever the package asked for.
wants=$copy/etc/systemd/system/multi-user.target.wants
mkdir -p "$wants"
rm -f "$wants/anomalyd.service"
ln -s ../try.service "$wants/try.service"
timeout 400 systemd-nspawn -q -D "$copy" --register=no --keep-unit -b >"$copy/root/boot.log" 2>&1 || :
cat "$copy/root/log"
grep -q fine "$copy/root/result" || {
    tail -n 20 "$copy/root/boot.log" >&2
    exit 1
}
