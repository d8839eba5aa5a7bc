#!/bin/sh
# package: proves the Debian package on an empty Debian 12 (`make package-check`, as root).
#
# Builds this version and a next one with a changed script, then in an empty system
# (empty_system.sh): installs with apt, starts the service as its user on a directory bucket, has a
# batch scored, edits one script, upgrades, sees that the edit survived and the new version serves,
# removes, and purges. lintian must find no error.
set -eu
build=${BUILD:-build}
next=99.0.0

. "$(dirname "$0")/empty_system.sh"
empty_system bookworm

# ---- the two packages ----

make BUILD="$build" deb >/dev/null
arch=$(dpkg --print-architecture)
first=$(ls "$build"/deb/anomalyd_*_"$arch".deb | grep -v "_${next}_")
cp "$first" "$copy/root/first.deb"
! command -v lintian >/dev/null || lintian --allow-root --fail-on error "$first"
sources=$(mktemp -d)
trap 'rm -rf "$copy" "$sources"' EXIT
cp -a Makefile lua scripts spec src "$sources"
echo '-- said by the next version' >>"$sources/scripts/detect.lua"
echo '-- said by the next version' >>"$sources/scripts/routes.lua"
make -C "$sources" BUILD="$sources/build" VERSION="$next" deb >/dev/null
cp "$sources/build/deb/anomalyd_${next}_$arch.deb" "$copy/root/next.deb"

# ---- what happens to them ----

cat >"$copy/root/try.sh" <<'END'
set -eu
fail() { echo "package: $*" >&2; exit 1; }
serve() { # start as systemd would, and leave the port in $port
    rm -f /tmp/log
    setpriv --reuid anomalyd --regid anomalyd --clear-groups env HOME=/nonexistent \
        /usr/bin/anomalyd serve --host 127.0.0.1 --port 0 --bucket /var/lib/anomalyd/bucket \
        --console /tmp/console.sock >/tmp/log 2>&1 &
    pid=$!
    for try in $(seq 200); do
        port=$(sed -n 's/.* on http:[^ ]*:\([0-9]*\) .*/\1/p' /tmp/log)
        [ -z "$port" ] || return 0
        kill -0 $pid || break
        sleep 0.05
    done
    cat /tmp/log >&2
    fail "it does not start"
}
get() {
    cat >/tmp/get.lua <<LUA
local answer = assert(require("http").get("http://127.0.0.1:$port$1"))
io.write(answer.status, " ", answer.body, "\n")
LUA
    anomalyd -l /tmp/get.lua
}

apt-get -q update >/dev/null
apt-get -q -y install --no-install-recommends /root/first.deb >/tmp/apt 2>&1 || { cat /tmp/apt; exit 1; }
getent passwd anomalyd | grep -q ':/var/lib/anomalyd:/usr/sbin/nologin$' || fail "no user"
anomalyd check | grep -q '^/etc/anomalyd/scripts: ' || fail "check: $(anomalyd check)"
install -d -o anomalyd -g anomalyd /var/lib/anomalyd
serve
get /health | grep -q '^200 ' || fail "no health"
{ echo timestamp,temperature; for i in $(seq 40); do echo "2026-02-24,2$((i % 5)).5"; done; } >/tmp/a.csv
install -o anomalyd -m 644 /tmp/a.csv /var/lib/anomalyd/bucket/raw/a.csv
for try in $(seq 100); do
    [ ! -e /var/lib/anomalyd/bucket/processed/a_summary.json ] || break
    sleep 0.05
done
grep -q '"total_rows": 40' /var/lib/anomalyd/bucket/processed/a_summary.json || fail "not scored"
kill $pid; wait $pid || fail "it ended with $?"
echo "package: installed, served, scored"

echo '-- edited here' >>/etc/anomalyd/scripts/detect.lua
apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    install /root/next.deb >/tmp/apt 2>&1 || { cat /tmp/apt; exit 1; }
anomalyd --version | grep -q '99\.0\.0' || fail "not upgraded"
grep -q 'edited here' /etc/anomalyd/scripts/detect.lua || fail "the edit is lost"
! grep -q 'next version' /etc/anomalyd/scripts/detect.lua || fail "the edited script was replaced"
grep -q 'next version' /etc/anomalyd/scripts/detect.lua.dpkg-dist || fail "the new script is not beside"
grep -q 'next version' /etc/anomalyd/scripts/routes.lua || fail "the other script was not replaced"
serve
get /health | grep -q '"version":"99.0.0"' || fail "no health after the upgrade"
kill $pid; wait $pid || fail "it ended with $?"
echo "package: upgraded, the edited script is as it was"

apt-get -q -y remove anomalyd >/tmp/apt 2>&1 || { cat /tmp/apt; exit 1; }
[ ! -e /usr/bin/anomalyd ] && [ ! -e /usr/share/anomalyd ] || fail "removed, but not gone"
grep -q 'edited here' /etc/anomalyd/scripts/detect.lua || fail "the edit is lost by the removal"
apt-get -q -y purge anomalyd >/tmp/apt 2>&1 || { cat /tmp/apt; exit 1; }
[ ! -e /etc/anomalyd ] || fail "purged, but /etc/anomalyd has $(find /etc/anomalyd)"
[ -e /var/lib/anomalyd/bucket/raw/a.csv ] || fail "the purge took a bucket away"
echo "package: removed and purged; the bucket is still there"
END

(inside DEBIAN_FRONTEND=noninteractive sh /root/try.sh)
