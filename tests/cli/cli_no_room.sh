#!/bin/sh
# Shared memory that is too small for the snapshots: told at the start, with what is needed and what
# there is; nothing is changed, and a run without snapshots goes on.
. "$(dirname "$0")/cli_run.sh"

if [ -z "${CLI_NO_ROOM:-}" ]; then
    for how in "unshare -m" "unshare -rm"; do
        if $how mount -t tmpfs -o size=64k none "$scratch" 2>/dev/null; then
            CLI_NO_ROOM=1 exec $how sh "$self" "$@"
        fi
    done
    echo "SKIPPED: no small file system can be mounted here" >&2
    exit 77
fi
mkdir memory
mount -t tmpfs -o size=1m none memory
settings="--set num_steps=5 --set timing_samples=0 --set snapshot_dir=$PWD/memory/job"
code=0
# shellcheck disable=SC2086
train 2 run $settings --set snapshot_steps=1 || code=$?
same "exit code" $code 70
grep -q "^offramp: snapshots: .*: snapshots need [0-9]* MiB of shared memory on this node (two versions and their parity, 1 + 1), [0-9]* MiB are free" run.err ||
    fail "$(cat run.err)"
[ ! -e run/metrics.jsonl ] || fail "training began"
[ -z "$(find memory -name '*-*')" ] || fail "left behind: $(find memory)"
# shellcheck disable=SC2086
train_well 2 run $settings
mount -o remount,size=8m memory 2>/dev/null || mount -o remount,size=8m "$PWD/memory"
# shellcheck disable=SC2086
train_well 2 again $settings --set snapshot_steps=1
same "state" "$(hash_of again)" "$(hash_of run)"
