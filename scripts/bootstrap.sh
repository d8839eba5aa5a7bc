#!/bin/sh
# bootstrap: installs what anomalyd needs and this machine lacks, with apt (Debian 12 and 13,
# Ubuntu 24.04). Says what it installs; says and does nothing when all is there.
#
#   scripts/bootstrap.sh [run] [test] [check] [deb]      default: run
#
# run: to build and run; test: for `make test`; check: for `make check`; deb: for `make deb`.
set -eu

# Where a group's entry names several packages, any of them will do and the first is installed.
RUN='gcc libc6-dev make pkgconf|pkg-config lua5.4 liblua5.4-dev lua-cjson libevent-dev
     libcurl4-openssl-dev|libcurl4-gnutls-dev libssl-dev libexpat1-dev libedit-dev'
TEST='lua-busted lua-socket gzip openssl'
CHECK='clang-19 libclang-rt-19-dev clang-format-19 clang-tidy-19 cppcheck lua-check spin
       radosgw ceph-mon ceph-osd ceph-common'

DEB='dpkg-dev'

die() {
    echo "bootstrap: $*" >&2
    exit 1
}

wanted() {
    for group in "$@"; do
        case $group in
        run) echo "$RUN" ;;
        test) echo "$TEST" ;;
        check) echo "$CHECK" ;;
        deb) echo "$DEB" ;;
        *) die "no group '$group': it is run, test, check or deb" ;;
        esac
    done
}

# The packages of the wanted entries that are not installed, first choices only.
missing() {
    command -v dpkg-query >/dev/null || {
        echo "$entries" | sed 's/|[^ ]*//g'
        return
    }
    # shellcheck disable=SC2046,SC2086
    installed=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' \
        $(echo $entries | tr '|' ' ') 2>/dev/null) " || :
    lacking=
    for entry in $entries; do
        found=
        rest=$entry
        while [ -n "$rest" ]; do
            case $installed in *" installed=${rest%%|*} "*) found=1 ;; esac
            case $rest in *'|'*) rest=${rest#*|} ;; *) rest= ;; esac
        done
        [ -n "$found" ] || lacking="$lacking ${entry%%|*}"
    done
    echo "${lacking# }"
}

[ $# -gt 0 ] || set -- run
entries=$(wanted "$@") || exit 1
entries=$(echo $entries)
lacking=$(missing)
[ -n "$lacking" ] || exit 0

command -v apt-get >/dev/null ||
    die "this machine has no apt-get; install what these Debian packages hold, then call make with BOOTSTRAP=true: $lacking"
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null ||
        die "neither root nor sudo here; as root: apt-get install $lacking"
    as_root=sudo
    [ -t 0 ] || as_root='sudo -n'
fi

apt() {
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        -o Acquire::Retries=3 "$@" </dev/null
}
echo "bootstrap: installing with apt: $lacking"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
    if [ -t 1 ]; then "$@"; else "$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }; fi
}
# Old package lists name files that are gone from the mirrors. A source that does not answer is no
# reason to stop: the others may have everything.
quietly apt update || echo "bootstrap: the package lists could not be brought up to date" >&2
# shellcheck disable=SC2086
quietly apt install --no-install-recommends $lacking ||
    die "apt could not install: $lacking"
lacking=$(missing)
[ -z "$lacking" ] || die "still missing after apt ran: $lacking"
