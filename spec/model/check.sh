#!/bin/sh
# check: lets spin search the model of the protocol, and then its broken variants, in each of which
# it must find a violation.
#
#   spec/model/check.sh [BUILD_DIRECTORY [all]]
#
# `all` adds the searches with larger budgets, which take minutes.
#
# Each search is exhaustive for its budgets (see once.pml); two run at a time, with 1.5 GB at most.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-build}/model
mkdir -p "$work"
cd "$work"

# search NAME DEFINES...: leaves spin's report in NAME/report.
search() {
    name=$1
    shift
    rm -rf "$name"
    mkdir "$name"
    (cd "$name" && spin -a "$@" "$here/once.pml" >spin.log 2>&1 &&
        ${CC:-gcc} -w -O2 -DSAFETY -DMEMLIM=1500 -o pan pan.c 2>gcc.log &&
        timeout 300 ./pan -m20000 -w22 >report 2>&1) || {
        echo "model: $name could not be searched: see $work/$name" >&2
        return 1
    }
}

states() { sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$1/report"; }

holds() {
    search "$@" || return 1
    if ! grep -q '^State-vector.*errors: 0$' "$1/report" ||
        grep -q 'Search not completed\|max search depth too small' "$1/report"; then
        echo "model: $1 is violated or was not searched to its end: see $work/$1/report" >&2
        return 1
    fi
    echo "model: $1 holds in all of $(states "$1") states"
}

is_found() {
    search "$@" || return 1
    grep -q '^pan:1: assertion violated' "$1/report" || {
        echo "model: the defect of $1 was not found: the model proves nothing" >&2
        return 1
    }
    echo "model: $1 is found ($(sed -n 's/^pan:1: assertion violated //p' "$1/report"))"
}

# The broken variants, one after the other.
defects() {
    bad=0
    # The summary is looked for before the baseline is read.
    is_found early_look -DBROKEN_ORDER -DSECOND=0 -DLIMIT=1 -DLOSSES=0 -DAGAIN=0 || bad=1
    # A mark is dropped when its batch is counted, not when its summary is durable.
    is_found early_drop -DBROKEN_DROP -DSECOND=0 -DLIMIT=1 -DLOSSES=0 -DAGAIN=0 || bad=1
    # Another content's summary is there, and nobody looks whether the input is still the old one.
    is_found no_look_at_input -DBROKEN_FENCE -DSECOND=0 -DLIMIT=1 || bad=1
    # The same before a conflicting put is repeated.
    is_found no_look_before_put -DBROKEN_PUT -DSECOND=0 -DLIMIT=1 -DLOSSES=0 || bad=1
    # An index older than the baseline is believed.
    is_found old_index -DBROKEN_INDEX -DSECOND=0 -DLIMIT=1 -DLOSSES=0 || bad=1
    # A content read long ago is counted without looking at the input.
    is_found old_content -DBROKEN_AGE -DSECOND=0 -DLIMIT=1 -DLOSSES=0 || bad=1
    # The mark of a replaced content is dropped at once.
    is_found replaced_dropped -DBROKEN_SUPERSEDED -DSECOND=0 -DLIMIT=1 -DCRASHES=0 || bad=1
    # An unreadable baseline is rebuilt from the summaries alone.
    is_found rebuilt_short -DBROKEN_REBUILD -DCORRUPT=1 -DREPLACE=0 -DSECOND=0 -DLIMIT=1 \
        -DCRASHES=0 -DLOSSES=0 -DAGAIN=0 || bad=1
    return $bad
}

# The model itself, with the budgets divided: all at once is more than a check should take.
proofs() {
    bad=0
    # One key whose input is replaced: crashes, lost answers, old contents in slow hosts' hands.
    holds replaced -DSECOND=0 -DLIMIT=1 -DAGAIN=0 || bad=1
    # Two keys: groups that share a write.
    holds grouped -DREPLACE=0 -DLIMIT=2 -DCRASHES=0 -DLOSSES=0 -DAGAIN=0 || bad=1
    # One key and a baseline that becomes unreadable: crashes, lost answers.
    holds rebuilt -DCORRUPT=1 -DREPLACE=0 -DSECOND=0 -DLIMIT=1 || bad=1
    return $bad
}

# Two keys and room for one mark only.
crowded() { holds crowded -DREPLACE=0 -DLIMIT=1 -DCRASHES=0 -DLOSSES=0 -DAGAIN=0; }

thorough() {
    bad=0
    holds crowded_crash -DREPLACE=0 -DLIMIT=1 -DLOSSES=0 -DAGAIN=0 || bad=1
    holds grouped_loss -DREPLACE=0 -DLIMIT=2 -DCRASHES=0 -DAGAIN=0 || bad=1
    holds replaced_again -DSECOND=0 -DLIMIT=1 || bad=1
    holds rebuilt_grouped -DCORRUPT=1 -DREPLACE=0 -DLIMIT=2 -DCRASHES=0 -DLOSSES=0 -DAGAIN=0 ||
        bad=1
    holds rebuilt_replaced -DCORRUPT=1 -DSECOND=0 -DLIMIT=2 -DCRASHES=0 -DLOSSES=0 -DAGAIN=0 ||
        bad=1
    return $bad
}

proofs &
first=$!
failed=0
crowded || failed=1
defects || failed=1
wait "$first" || failed=1
[ "${2:-}" != all ] || thorough || failed=1
exit $failed
