#!/bin/sh
# A run of four ranks goes on with 1, 2, 3, 4 and 6, from memory and from disk: the state is the same
# bits at that moment, and for powers of two also at the end.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
# Batches that 3 and 6 ranks can share, too.
steps="--set num_steps=12 --set hash_steps=1 --set train_batch_size=48 --set save_steps=0
    --set timing_samples=0"
# shellcheck disable=SC2086
train_well 1 straight $steps
hashes_of straight >hashes

OFFRAMP_FAULT=snap.after_commit@2#15=kill
export OFFRAMP_FAULT
# shellcheck disable=SC2086
train 4 run $steps --set snapshot_steps=1 --set snapshot_dir="$memory" && fail "nothing died"
unset OFFRAMP_FAULT
if grep -q "no fault points" run.err; then
    echo "SKIPPED: no fault points in this build" >&2
    exit 77
fi
for pid in $(pgrep -f "keeper --folder $memory "); do kill -9 "$pid"; done
rm -f "$memory"/keeper.*
cp -r "$memory" memory
cp -r run before

# go_on RANKS FROM [ARGUMENT...]: and its state at that moment is what it was.
go_on() {
    on_ranks=$1
    source=$2
    shift 2
    # shellcheck disable=SC2086
    train_well "$on_ranks" run $steps "$@"
    resumed=$(sed -n "s/^{\"step\":\([0-9]*\),\"from\":\"$source\".*\"state_hash\":\"\([0-9a-f]*\)\",\"event\":\"run.resumed\".*/\1 \2/p" \
        run/events.jsonl | tail -1)
    [ -n "$resumed" ] || fail "on $on_ranks ranks it did not go on from $source: $(cat run.out)"
    same "state on $on_ranks ranks from $source" "$resumed" "$(grep "^${resumed% *} " hashes)"
    case $on_ranks in
    1 | 2 | 4) same "end on $on_ranks ranks" "$(hash_of run)" "$(hash_of straight)" ;;
    esac
}

for ranks_now in 1 2 3 4 6; do
    rm -rf run "$memory"
    cp -r before run
    cp -r memory "$memory"
    go_on $ranks_now memory --set snapshot_steps=1 --set snapshot_dir="$memory"
    [ ! -e "$memory" ] || fail "left behind on $ranks_now ranks: $(ls "$memory")"
    rm -rf run
    cp -r before run
    go_on $ranks_now disk
done
