#!/bin/sh
# fresh: proves that a make goal works as the first command on an empty system.
#
#   scripts/check/fresh.sh bookworm|trixie|noble [test|check|run|ci|...]
#
# Takes an empty system of that distribution (empty_system.sh), clones the last commit into it and
# runs the goal there. `run` is asked for /health and then stopped; `ci` stands for .ci/run. Needs
# root and debootstrap.
set -eu
dist=${1:?which distribution}
goal=${2:-test}
port=${PORT:-8765}
command="make $goal"
[ "$goal" != ci ] || command="bash .ci/run"
. "$(dirname "$0")/empty_system.sh"
empty_system "$dist"
git clone -q --no-hardlinks . "$copy/srv/anomalyd"
echo "fresh: $dist, $(git rev-parse --short HEAD), $command"

run() {
    inside CI=true PORT="$port" sh -c "cd /srv/anomalyd && $command"
}

if [ "$goal" != run ]; then
    (run)
    exit
fi
(run) &
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
