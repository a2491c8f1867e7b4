#!/bin/sh
# A version from which three starts came to no further step is set aside: the next start goes on from an
# older one, in memory or on disk, to the same end; and where there is none, from it again.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
steps="--set num_steps=30 --set save_steps=0 --set timing_samples=0"
# shellcheck disable=SC2086
train_well 1 straight $steps
steps="$steps --set snapshot_steps=4 --set snapshot_dir=$memory"

# died OUT FAULT: the same command, which is killed there.
died() {
    OFFRAMP_FAULT=$2
    export OFFRAMP_FAULT
    # shellcheck disable=SC2086
    train 2 "$1" $steps && fail "nothing died at $2"
    unset OFFRAMP_FAULT
    if grep -q "no fault points" "$1.err"; then
        echo "SKIPPED: no fault points in this build" >&2
        exit 77
    fi
}
from() {
    sed -n -e 's/^resumed from memory at step \([0-9]*\),.*/memory \1/p' \
        -e 's/^resumed from .*checkpoint-\([0-9]*\)$/disk \1/p' "$1.out"
}

died run "snap.after_commit@1#5=kill" # of step 20
for try in 1 2 3; do
    died run "comm.reduce@1#1=kill" # in the first step after it
    same "start $try" "$(from run)" "memory 20"
done
died run "comm.reduce@1#1=kill"
same "start 4" "$(from run)" "memory 16"
grep -q "3 starts from step 20 ended before they had made another" run.err || fail "$(cat run.err)"
# shellcheck disable=SC2086
train_well 2 run $steps
same "start 5" "$(from run)" "memory 16"
same "state" "$(hash_of run)" "$(hash_of straight)"

# The newest is on disk, at the end of a stage; what is older is on disk, too, or nowhere.
steps="$steps --set snapshot_steps=1000"
for keep in 2 1; do
    steps="$steps --set save_total_limit=$keep"
    out=disk.$keep
    # shellcheck disable=SC2086
    train_well 2 "$out" $steps --set max_steps=60
    for try in 1 2 3; do
        died "$out" "comm.reduce@1#1=kill"
    done
    same "$out, start 4" "$(from "$out")" "disk 60"
    # shellcheck disable=SC2086
    train_well 2 "$out" $steps
    same "$out, start 5" "$(from "$out")" "disk $((90 - 30 * keep))"
    same "state of $out" "$(hash_of "$out")" "$(hash_of straight)"
done

# At its end there is no step to make: starts that are killed there are not the state's fault.
# shellcheck disable=SC2086
train_well 2 end $steps --set snapshot_steps=4
for try in 1 2 3 4; do
    # shellcheck disable=SC2086
    train_well 2 end $steps
done
same "start at the end" "$(from end)" "disk 120"
