#!/bin/sh
# Training with snapshots in memory: whatever is killed, and whichever node loses its memory, the
# same command goes on and ends with the state of a run that nothing happened to.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
steps="--set num_steps=30 --set save_steps=0 --set snapshot_steps=1 --set hash_steps=10"
# shellcheck disable=SC2086
train_well 1 straight $steps --set snapshot_steps=0

# go_on OUT LEAST: the same command again, from memory, at that step or later.
go_on() {
    nodes "$ranks" "$1"
    [ $code = 0 ] || fail "$1: $(cat "$1.err")"
    at=$(sed -n 's/^resumed from memory at step \([0-9]*\),.*/\1/p' "$1.out")
    [ "${at:-0}" -ge "$2" ] || fail "$1: from step '$at', at least $2 was in memory"
    same "state of $1" "$(hash_of "$1")" "$(hash_of straight)"
    hashes_of straight >hashes
    hashes_of "$1" | cmp - hashes || fail "$1: other hashes on the way"
    [ -z "$(find "$memory" -type f)" ] || fail "$1: memory was left behind"
}

# A rank dies in every stage; two and four nodes, none or m of them lose their memory. The faults
# are there in builds that have them.
ranks=2
# shellcheck disable=SC2086
OFFRAMP_FAULT=snap.after_commit@1#3=kill nodes 2 probe
if grep -q "no fault points" probe.err; then
    echo "SKIPPED: no fault points in this build" >&2
    exit 77
fi
rm -rf "$memory" probe
for hit in 9 20 38 46; do # not at the end of a stage, which is on disk
    OFFRAMP_FAULT=snap.after_commit@1#$hit=kill nodes 2 "killed.$hit"
    [ $code != 0 ] || fail "nothing died"
    [ $hit = 9 ] || rm -rf "$memory/node0"
    step=$(sed -n 's/^{"step":\([0-9]*\),.*"event":"snapshot.committed".*/\1/p' "killed.$hit/events.jsonl" | tail -1)
    go_on "killed.$hit" "${step:-1}"
done
ranks=4
OFFRAMP_FAULT=snap.before_commit@3#15=kill nodes 4 four
[ $code != 0 ] || fail "nothing died"
rm -rf "$memory/node3" "$memory/node1"
go_on four 1

# More is lost than the parity covers: the disk; and where that has nothing, a clear refusal.
ranks=2
OFFRAMP_FAULT=snap.after_commit@1#60=kill nodes 2 disk # a stage is on disk by then
rm -rf "$memory"
nodes 2 disk
[ $code = 0 ] || fail "$(cat disk.err)"
grep -q "resumed from disk/checkpoint-" disk.out || fail "not from disk: $(cat disk.out)"
same "state from disk" "$(hash_of disk)" "$(hash_of straight)"
OFFRAMP_FAULT=snap.after_commit@1#9=kill nodes 2 gone
rm -rf "$memory"
nodes 2 gone
same "exit code without memory and disk" $code 76
grep -q "^offramp: gone: its snapshots are gone from memory" gone.err || fail "$(cat gone.err)"
nodes 2 gone --set resume_from_checkpoint=none
[ $code = 0 ] || fail "$(cat gone.err)"
same "state, begun anew" "$(hash_of gone)" "$(hash_of straight)"

# Memory of a run with other settings is not taken for this one's.
OFFRAMP_FAULT=snap.after_commit@1#9=kill nodes 2 other
nodes 2 other --set seed=7
same "exit code with other settings" $code 78
grep -q 'written with "seed: 42", the run has "seed: 7"' other.err || fail "$(cat other.err)"
go_on other 1
