#!/bin/sh
# All stages on a device: the losses are those of the CPU, 1, 2 and 4 ranks come to the same bits, and so
# does a run that lost a rank and its node's memory in between. For gpu/verify.sh
#
#   GPU_RANKS ("2 4")       numbers of ranks that are compared with one; empty: none
#   GPU_KILLS               points where a rank is killed
#   GPU_SETTINGS            --set NAME=VALUE ...
#   GPU_TOLERANCE (2e-5)    of a loss against that of the CPU
#   GPU_MEMORY              folder for snapshots
. "$(dirname "$0")/../cli/cli_run.sh"

ranks_compared=${GPU_RANKS-2 4}
kills=${GPU_KILLS-snap.after_commit snap.tile snap.before_encode}
settings=${GPU_SETTINGS-}
tolerance=${GPU_TOLERANCE:-2e-5} # float sums in another order, over all updates
memory=${GPU_MEMORY:-/dev/shm/offramp-test.$$}
trap 'rm -rf "$memory"' EXIT
trap 'exit 143' TERM
export CUDASIM_DEVICES="${CUDASIM_DEVICES:-4}"

losses() { sed -n 's/^{"step":\([0-9]*\),.*"loss":\([0-9.e+-]*\),.*/\1 \2/p' "$1/metrics.jsonl"; }

# shellcheck disable=SC2086
train_well 1 cpu $settings --set device=cpu
# shellcheck disable=SC2086
train_well 1 one $settings --set device=cuda
losses cpu >cpu.losses
losses one >one.losses
steps_done=$(wc -l <cpu.losses)
[ "$steps_done" -gt 0 ] || fail "no step has a loss"
same "steps with a loss" "$(wc -l <one.losses)" "$steps_done"
paste -d ' ' cpu.losses one.losses | awk -v most="$tolerance" '{ d = $2 - $4; if (d < 0) d = -d; if (d > worst) worst = d; if ($1 != $3) exit 1 }
    END { print "worst difference of a loss:", worst + 0, "in", NR, "steps"; exit worst > most }' ||
    fail "losses of CPU and device differ"

code=0
train 1 wide --set device=cuda --set hidden_size=520 --set num_attention_heads=2 || code=$?
same "exit code of heads of 260 channels: $(cat wide.err)" $code 78
grep -q '^offramp: 2 heads of 260 channels: on a CUDA device a head has at most 256' wide.err || fail "$(cat wide.err)"

for ranks in $ranks_compared; do
    # shellcheck disable=SC2086
    train_well "$ranks" "ranks.$ranks" $settings --set device=cuda
    same "state of $ranks ranks" "$(hash_of "ranks.$ranks")" "$(hash_of one)"
    hashes_of one >hashes
    hashes_of "ranks.$ranks" | cmp - hashes || fail "$ranks ranks: other hashes on the way"
    echo "$ranks ranks: the bits of one, in $(wc -l <hashes) hashes and at the end"
done

# A rank of two dies with a snapshot on the way, and its node's memory with it. Of the first snapshots: of
# those that a busy machine skips there may be many.
tiny=$(cd "$(dirname "$self")" && pwd)/$(basename "$tiny")
steps="$settings --set device=cuda --set snapshot_steps=1"
number=0
for point in $kills; do
    number=$((number + 1))
    hit=$((1 + number))
    OFFRAMP_FAULT=$point@1#$hit=kill nodes 2 "killed.$number"
    [ $code != 0 ] || fail "nothing died at $point"
    for pid in $(pgrep -f "keeper --folder $memory/node1 "); do kill -9 "$pid"; done
    rm -rf "$memory/node1"
    nodes 2 "killed.$number"
    [ $code = 0 ] || fail "killed at $point: $(cat "killed.$number.err")"
    grep -q "^resumed from memory at step" "killed.$number.out" || fail "not from memory: $(cat "killed.$number.out")"
    same "state after a kill at $point" "$(hash_of "killed.$number")" "$(hash_of one)"
    echo "killed at $point, its memory lost: $(grep '^resumed' "killed.$number.out"), the same bits at the end"
done
[ ! -e "$memory" ] || [ -z "$(find "$memory" -type f)" ] || fail "memory was left behind: $(find "$memory" -type f)"
