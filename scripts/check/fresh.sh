#!/bin/sh
# fresh: proves that a make goal works as the first command on an empty system.
#
#   scripts/check/fresh.sh bookworm|trixie|noble [test|check|run|ci|...]
#
# Makes a minimal tree of that distribution with only git, make and apt in it (kept in $FRESH_DIR
# for the next time), copies it, clones the last commit into the copy and runs the goal there.
# `run` is asked for /health and then stopped; `ci` stands for .ci/run. Needs root and debootstrap.
set -eu
dist=${1:?which distribution}
goal=${2:-test}
trees=${FRESH_DIR:-/var/tmp/anomalyd-fresh}
port=${PORT:-8765}
command="make $goal"
[ "$goal" != ci ] || command="bash .ci/run"
case $dist in
noble) mirror=${MIRROR:-http://archive.ubuntu.com/ubuntu} parts=main,universe ;;
*) mirror=${MIRROR:-http://deb.debian.org/debian} parts=main ;;
esac

if [ ! -e "$trees/$dist.ready" ]; then
    mkdir -p "$trees"
    rm -rf "${trees:?}/$dist"
    debootstrap --variant=minbase --include=git,make --components=$parts \
        "$dist" "$trees/$dist" "$mirror"
    touch "$trees/$dist.ready"
fi

copy=$(mktemp -d "$trees/run.XXXXXX")
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM
cp -a "$trees/$dist/." "$copy"
cp /etc/resolv.conf "$copy/etc/resolv.conf"
git clone -q --no-hardlinks . "$copy/root/anomalyd"
echo "fresh: $dist, $(git rev-parse --short HEAD), $command"

# Its own mounts, devices and processes: nothing of it outlives this script or reaches this machine.
inside() {
    exec unshare --mount --pid --fork --kill-child sh -c '
        mount --make-rprivate /
        mount -t proc proc "$1/proc"
        mount -t tmpfs dev "$1/dev"
        for node in null:3 zero:5 full:7 random:8 urandom:9; do
            mknod -m 666 "$1/dev/${node%:*}" c 1 "${node#*:}"
        done
        mkdir -m 1777 "$1/dev/shm"
        ln -s /proc/self/fd "$1/dev/fd"
        exec chroot "$1" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
            CI=true PORT="$3" sh -c "cd /root/anomalyd && $2"' sh "$copy" "$command" "$port" </dev/null
}

if [ "$goal" != run ]; then
    (inside)
    exit
fi
(inside) &
child=$!
tries=0
until curl -fsS "http://127.0.0.1:$port/health" 2>/dev/null; do
    tries=$((tries + 1))
    kill -0 "$child" 2>/dev/null || { echo "fresh: make run ended by itself" >&2; exit 1; }
    [ "$tries" -lt 900 ] || { kill -KILL "$child"; echo "fresh: nothing at :$port after 900 s" >&2; exit 1; }
    sleep 1
done
echo
kill -KILL "$child" # unshare, which takes all processes inside with it
wait "$child" || :
echo "fresh: $dist serves after $tries s"
