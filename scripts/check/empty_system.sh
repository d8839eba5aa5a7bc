# empty_system: an empty Debian or Ubuntu to try things in; sourced by the checks that need one.
#
#   empty_system DIST           makes $copy, a tree of bookworm, trixie or noble with only git, make
#                               and apt in it, and removes it when the script ends
#   (inside [NAME=VALUE...] COMMAND [WORD...])    runs it in there as root
#
# What debootstrap makes is kept in $FRESH_DIR for the next time. Needs root.

empty_system() {
    trees=${FRESH_DIR:-/var/tmp/anomalyd-fresh}
    case $1 in
    noble) mirror=${MIRROR:-http://archive.ubuntu.com/ubuntu} parts=main,universe ;;
    *) mirror=${MIRROR:-http://deb.debian.org/debian} parts=main ;;
    esac
    if [ ! -e "$trees/$1.ready" ]; then
        mkdir -p "$trees"
        rm -rf "${trees:?}/$1"
        debootstrap --variant=minbase --include=git,make --components=$parts \
            "$1" "$trees/$1" "$mirror"
        touch "$trees/$1.ready"
    fi
    copy=$(mktemp -d "$trees/run.XXXXXX")
    trap 'rm -rf "$copy"' EXIT
    trap 'exit 130' INT TERM
    cp -a "$trees/$1/." "$copy"
    cp /etc/resolv.conf "$copy/etc/resolv.conf"
}

# Its own mounts, devices and processes: nothing of it outlives the script or reaches this machine.
inside() {
    exec unshare --mount --pid --fork --kill-child sh -c '
        root=$1
        shift
        mount --make-rprivate /
        mount -t proc proc "$root/proc"
        mount -t tmpfs dev "$root/dev"
        for node in null:3 zero:5 full:7 random:8 urandom:9; do
            mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
        done
        mkdir -m 1777 "$root/dev/shm"
        mkdir "$root/dev/pts"
        mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
        ln -s pts/ptmx "$root/dev/ptmx"
        ln -s /proc/self/fd "$root/dev/fd"
        exec chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
        ' sh "$copy" "$@" </dev/null
}
