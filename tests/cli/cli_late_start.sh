#!/bin/sh
# A node is lost, and the next start comes late: the keeper of rank 0 is already writing the newest version
# to disk, and waits for the part of the node that is gone. That save is not one of the new start's.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
keeper=
trap 'rm -rf "$memory"; [ -z "$keeper" ] || kill $keeper 2>/dev/null || true' EXIT
steps="--set num_steps=30 --set save_steps=0 --set hash_steps=10 --set collective_deadline_ms=5000"
# shellcheck disable=SC2086
train_well 1 straight $steps
steps="$steps --set snapshot_steps=1"

mkdir "$memory"
"$offramp" keeper --folder "$memory/node0" --grace-s 1 2>keeper.err &
keeper=$!
OFFRAMP_FAULT=snap.after_commit@1#9=kill nodes 2 late
[ $code != 0 ] || fail "nothing died"
if grep -q "no fault points" late.err; then
    echo "SKIPPED: no fault points in this build" >&2
    exit 77
fi
rm -rf "$memory/node1"
saving() { ls -d late/checkpoint-*.partial >/dev/null 2>&1; }
within 10 saving
nodes 2 late
[ $code = 0 ] || fail "ended with $code: $(cat late.err)"
grep -q "^resumed from memory at step" late.out || fail "$(cat late.out)"
same "state" "$(hash_of late)" "$(hash_of straight)"
grep '"event":"checkpoint.failed"' late/events.jsonl && fail "a save of the earlier start is told as this one's"
saving && fail "left behind: $(ls late)"
exit 0
