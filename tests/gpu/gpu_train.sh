#!/bin/sh
# All stages on the simulated device: the losses are those of the CPU, 1, 2 and 4 ranks come to the same
# bits, and so does a run that lost a rank and its node's memory in between.
. "$(dirname "$0")/../cli/cli_run.sh"

memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
export CUDASIM_DEVICES=4

losses() { sed -n 's/^{"step":\([0-9]*\),.*"loss":\([0-9.e+-]*\),.*/\1 \2/p' "$1/metrics.jsonl"; }

train_well 1 cpu --set device=cpu
train_well 1 one --set device=cuda
losses cpu >cpu.losses
losses one >one.losses
same "steps with a loss" "$(wc -l <one.losses)" 60
# Float sums in another order, over 60 updates.
paste -d ' ' cpu.losses one.losses | awk '{ d = $2 - $4; if (d < 0) d = -d; if (d > worst) worst = d; if ($1 != $3) exit 1 }
    END { print "worst difference of a loss:", worst; exit worst > 2e-5 }' || fail "losses of CPU and device differ"

for ranks in 2 4; do
    train_well $ranks ranks.$ranks --set device=cuda
    same "state of $ranks ranks" "$(hash_of ranks.$ranks)" "$(hash_of one)"
    hashes_of one >hashes
    hashes_of ranks.$ranks | cmp - hashes || fail "$ranks ranks: other hashes on the way"
done

# A rank dies with a snapshot on the way, and its node's memory with it. Not of the last snapshots: of those that
# a busy machine skips there may be many.
tiny=$(cd "$(dirname "$self")" && pwd)/gpu_tiny.yaml
steps="--set device=cuda --set snapshot_steps=1"
hit=0
for point in snap.after_commit snap.tile snap.before_encode; do
    hit=$((hit + 9))
    OFFRAMP_FAULT=$point@1#$hit=kill nodes 2 "killed.$hit"
    [ $code != 0 ] || fail "nothing died at $point"
    rm -rf "$memory/node1"
    nodes 2 "killed.$hit"
    [ $code = 0 ] || fail "killed at $point: $(cat "killed.$hit.err")"
    grep -q "^resumed from memory at step" "killed.$hit.out" || fail "not from memory: $(cat "killed.$hit.out")"
    same "state after a kill at $point" "$(hash_of "killed.$hit")" "$(hash_of one)"
done
[ -z "$(find "$memory" -type f)" ] || fail "memory was left behind: $(find "$memory" -type f)"
