#!/bin/sh
# A bit of one rank's state flips: the run ends, naming the rank, before the state gets into memory or
# onto the disk; the same command goes on and ends with the state of a run that nothing happened to.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
steps="--set num_steps=30 --set snapshot_dir=$memory --set hash_steps=10"
# shellcheck disable=SC2086
train_well 1 straight $steps --set save_steps=0

# differs OUT FAULT WHERE [ARGUMENT...]: four ranks end with 71, and say where rank 2 is wrong.
differs() {
    out=$1
    where=$3
    OFFRAMP_FAULT=$2
    export OFFRAMP_FAULT
    shift 3
    code=0
    # shellcheck disable=SC2086
    train 4 "$out" $steps "$@" || code=$?
    unset OFFRAMP_FAULT
    if grep -q "no fault points" "$out.err"; then
        echo "SKIPPED: no fault points in this build" >&2
        exit 77
    fi
    same "exit code of $out" $code 71
    grep -q "replicated memory of rank 2 differs from that of the other 3 ranks$where" "$out.err" ||
        fail "$out: $(cat "$out.err")"
}

# In the second stage, behind a checkpoint: the version is refused, and the one before goes on.
differs memory snap.flip@2#40=fail " at version" --set snapshot_steps=1 --set save_steps=0
# shellcheck disable=SC2086
train_well 4 memory $steps --set snapshot_steps=1 --set save_steps=0
at=$(sed -n 's/^resumed from memory at step \([0-9]*\),.*/\1/p' memory.out)
[ "${at:-0}" -ge 30 ] || fail "from step '$at'"
same "state, from memory" "$(hash_of memory)" "$(hash_of straight)"
hashes_of straight >hashes
hashes_of memory | cmp - hashes || fail "other hashes on the way"

# The checkpoint that is due a moment later is not written either, whatever the snapshots know.
differs disk snap.flip@2#1=fail "" --set snapshot_steps=15 --set save_steps=15
[ ! -e disk/checkpoint-15 ] || fail "a checkpoint of different replicas was written"
# shellcheck disable=SC2086
train_well 4 disk $steps --set snapshot_steps=15 --set save_steps=15
same "state, from disk" "$(hash_of disk)" "$(hash_of straight)"
