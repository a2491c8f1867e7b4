#!/bin/sh
# snapshot_steps: auto. The interval follows what was measured, all ranks take the same, and the
# numbers of the run are the same with any interval.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
auto="--set snapshot_dir=$memory --set snapshot_steps=auto --set save_steps=0"
train_well 1 straight

# intervals OUT: the events of that name.
intervals() {
    grep '"event":"snapshot.interval"' "$1/events.jsonl"
}

# same_run OUT
same_run() {
    same "state of $1" "$(hash_of "$1")" "$(hash_of straight)"
    hashes_of straight >hashes
    hashes_of "$1" | cmp - hashes || fail "$1: other hashes on the way"
}

# shellcheck disable=SC2086
train_well 2 auto $auto --set mtbf_hours=24
same_run auto
intervals auto | grep -q '"young_steps":.*"daly_steps":' || fail "$(intervals auto)"
grep -Eq "^snapshots every [0-9]+ steps: .* of the time, 3.5 % allowed; for an MTBF of 24 h Young has [0-9]+, Daly [0-9]+" \
    auto.out || fail "$(cat auto.out)"
committed=$(grep -c '"event":"snapshot.committed"' auto/events.jsonl)
[ "$committed" -ge 4 ] || fail "$committed snapshots" # up to 3 while it measures, in each of 4 stages

# A smaller budget is kept, too; without an MTBF nothing is said of it.
# shellcheck disable=SC2086
train_well 2 cheap $auto --set snapshot_overhead_percent=0.01
same_run cheap
[ -n "$(intervals cheap)" ] || fail "no interval was chosen"
intervals cheap | grep "young" && fail "an interval for no MTBF"
intervals cheap | sed -n 's/.*"overhead_percent":\([0-9.e-]*\).*/\1/p' | awk '$1 > 0.0101 { exit 1 }' ||
    fail "more than 0.01 %: $(intervals cheap)"

# A rank dies, and two go on from memory.
# shellcheck disable=SC2086
if OFFRAMP_FAULT=snap.after_commit@1#2=kill train 2 killed $auto; then
    fail "nothing died"
elif ! grep -q "no fault points" killed.err; then
    # shellcheck disable=SC2086
    train_well 2 killed $auto
    grep -q "^resumed from memory at step" killed.out || fail "$(cat killed.out)"
    same_run killed
fi
