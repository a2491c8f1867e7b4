#!/bin/sh
# The process that keeps snapshots: nothing of it is left after a run that ended well; killed
# whenever, it does not stop the run; after a run that was killed it writes what it has to disk;
# and processes of an earlier start that were stopped meanwhile do not wake up and write.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
steps="--set num_steps=30 --set snapshot_steps=1 --set hash_steps=10 --set snapshot_dir=$memory"
# shellcheck disable=SC2086
train_well 1 straight $steps --set snapshot_steps=0 --set save_steps=0

keeper() { # its pid; nothing if there is none
    pgrep -f "keeper --folder $memory " || true
}

# within SECONDS CONDITION...: waits until the command succeeds.
within() {
    tries=$((20 * $1))
    shift
    while ! "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "not in time: $*"
        sleep 0.05
    done
}
gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.*zombie' "/proc/$1/status" 2>/dev/null; }
has_keeper() { [ -n "$(keeper)" ]; }
has_event() { grep -q "\"event\":\"$2\"" "$1/events.jsonl" 2>/dev/null; }

nothing_left() {
    [ ! -e "$memory" ] || fail "left behind: $(ls -la "$memory")"
    left=$(keeper)
    [ -z "$left" ] || within 2 gone "$left"
}

ends_well() { # ends_well OUT: it has the state of a run that nothing happened to
    same "state of $1" "$(hash_of "$1")" "$(hash_of straight)"
    nothing_left
}

# shellcheck disable=SC2086
train_well 2 well $steps --set save_steps=7
ends_well well
grep -q '"event":"checkpoint.saved".*"save_s"' well/events.jsonl || {
    grep -q '"save_s":.*"event":"checkpoint.saved"' well/events.jsonl ||
        fail "nothing was saved in the background: $(cat well/events.jsonl)"
}

# Killed while it is idle, takes a copy, writes, and completes a checkpoint: in each case the run
# goes on, another keeper is there for the next snapshot, and later checkpoints are written.
if ! "$offramp" keeper --help >/dev/null || grep -q "no fault points" well.err; then exit 1; fi
for point in idle keeper.take keeper.write keeper.place; do
    out=killed.$point
    # shellcheck disable=SC2086
    OFFRAMP_FAULT=$point@0#1=stall:60000
    [ $point != idle ] && export OFFRAMP_FAULT || unset OFFRAMP_FAULT
    # shellcheck disable=SC2086
    train 2 "$out" $steps --set save_steps=5 &
    job=$!
    unset OFFRAMP_FAULT
    within 10 has_event "$out" snapshot.committed
    if [ $point != idle ]; then sleep 0.5; fi # it has come to the point by then
    first=$(keeper)
    kill -9 "$first"
    within 20 has_keeper
    while [ "$point" != idle ] && kill -0 $job 2>/dev/null; do # it stalls at the same point again
        for pid in $(keeper); do kill -9 "$pid" 2>/dev/null || true; done
        sleep 0.3
    done
    wait $job || fail "a keeper killed at $point stopped the run: $(cat "$out.err")"
    same "state of $out" "$(hash_of "$out")" "$(hash_of straight)"
    if [ $point != idle ]; then
        has_event "$out" checkpoint.failed || fail "$point: no save failed: $(cat "$out/events.jsonl")"
        rm -rf "$memory"
        for pid in $(keeper); do kill -9 "$pid"; done
    fi
    nothing_left
done
