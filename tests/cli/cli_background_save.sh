#!/bin/sh
# Checkpoints written in the background where the disk is slow, full or read-only: training goes on,
# what failed is counted, and the next one is written when there is room again. What is on the disk is
# whole at every moment, and a keeper that is killed while it writes leaves nothing that is trusted.
. "$(dirname "$0")/cli_run.sh"

# A mount of our own goes away with this process.
if [ -z "${CLI_BACKGROUND_SAVE:-}" ]; then
    for how in "unshare -m" "unshare -rm"; do
        if $how mount -t tmpfs -o size=64k none "$scratch" 2>/dev/null; then
            CLI_BACKGROUND_SAVE=1 exec $how sh "$self" "$@"
        fi
    done
    echo "SKIPPED: no small file system can be mounted here" >&2
    exit 77
fi
memory=/dev/shm/offramp-test.$$
job=
trap 'rm -rf "$memory"; [ -z "$job" ] || kill $job 2>/dev/null || true' EXIT
mkdir disk
mount -t tmpfs -o size=64m none disk
steps="--set num_steps=100 --set hash_steps=50 --set snapshot_steps=1 --set snapshot_dir=$memory"
steps="$steps --set timing_samples=0"
# shellcheck disable=SC2086
train_well 1 straight $steps --set snapshot_steps=0 --set save_steps=0
count() { # count OUT EVENT
    grep -c "\"event\":\"$2\"" "$1/events.jsonl" 2>/dev/null || true
}
all_whole() { # all_whole OUT
    for checkpoint in "$1"/checkpoint-*; do
        case $checkpoint in *.partial) fail "$checkpoint was left" ;; esac
        "$offramp" verify "$checkpoint" >/dev/null || fail "$checkpoint is not whole"
    done
}
has_events() { [ "$(count "$1" "$2")" -ge "$3" ]; }

# Packed: smaller, whole, and resumed from; damage in a pack is found.
# shellcheck disable=SC2086
train_well 2 disk/packed $steps --set save_steps=30 --set save_compressed=true --set save_total_limit=50 \
    --max-steps 65
same "packs of the newest checkpoint in the background" \
    "$(cd disk/packed/checkpoint-60 && echo optimizer*)" \
    "optimizer.safetensors.pack-0 optimizer.safetensors.pack-1"
packed=$(cat disk/packed/checkpoint-60/optimizer* | wc -c)
plain=$(wc -c <disk/packed/checkpoint-65/optimizer.safetensors)
[ "$packed" -lt "$plain" ] || fail "$packed bytes are packed, $plain are not"
rm -r disk/packed/checkpoint-65
# shellcheck disable=SC2086
train_well 2 disk/packed $steps --set save_steps=0 --set snapshot_steps=0
grep -q "^resumed from disk/packed/checkpoint-60" disk/packed.out || fail "$(cat disk/packed.out)"
same "state from packs" "$(hash_of disk/packed)" "$(hash_of straight)"
flip disk/packed/checkpoint-60/optimizer.safetensors.pack-1 3000
"$offramp" verify disk/packed/checkpoint-60 2>said && fail "a flipped bit in a pack was not found"
mv disk/packed/checkpoint-60/optimizer.safetensors.pack-1 disk
"$offramp" verify disk/packed/checkpoint-60 2>said && fail "a missing pack was not found"

# The same bytes, whoever writes them: keepers, or rank 0 at the end.
for saves in 0 20; do
    # shellcheck disable=SC2086
    train_well 2 disk/by_$saves $steps --set save_steps=$saves --max-steps 20
done
for file in model exits optimizer; do
    cmp disk/by_0/checkpoint-20/$file.safetensors disk/by_20/checkpoint-20/$file.safetensors ||
        fail "$file.safetensors depends on who wrote it"
done
rm -r disk/by_0 disk/by_20

# Slow: 0.5 MB/s for a state of 0.4 MB. Steps go on while it writes; what comes meanwhile is told.
# shellcheck disable=SC2086
train_well 2 disk/slow $steps --set save_steps=50 --set save_mb_per_s=0.5
same "state with a slow disk" "$(hash_of disk/slow)" "$(hash_of straight)"
# Slower than ranks wait for each other in a step, when a stage ends.
# shellcheck disable=SC2086
train_well 2 disk/slower $steps --set save_steps=90 --set save_mb_per_s=0.05 --set collective_deadline_ms=2000 \
    --max-steps 100
all_whole disk/slow
grep '"save_s"' disk/slow/events.jsonl | grep -q '"save_s":\(0\.[5-9]\|[1-9]\)' ||
    fail "the bound was not kept: $(cat disk/slow/events.jsonl)"
committed=$(count disk/slow snapshot.committed)
[ "$committed" -ge 50 ] || fail "only $committed snapshots while a slow disk was written to"

# Full when the run begins, with room again later; a folder that is read-only meanwhile.
long="$steps --set num_steps=300 --set hash_steps=300 --set snapshot_steps=10 --set train_batch_size=256"
# shellcheck disable=SC2086
train_well 1 long $long --set snapshot_steps=0 --set save_steps=0
mkdir disk/full
: >disk/full/events.jsonl
dd if=/dev/zero of=disk/ballast bs=1k 2>/dev/null || true # to the last byte
truncate -s $(($(wc -c <disk/ballast) - 300000)) disk/ballast
# shellcheck disable=SC2086
train 2 disk/full $long --set save_steps=50 &
job=$!
within 20 has_events disk/full checkpoint.failed 3
grep -q '"error":".*No space left' disk/full/events.jsonl || fail "$(cat disk/full/events.jsonl)"
! has_events disk/full checkpoint.saved 1 || fail "the disk was not full"
rm disk/ballast
within 20 has_events disk/full checkpoint.saved 1
[ -z "$(find disk/full -name '*.tmp')" ] || fail "half-written: $(find disk/full -name '*.tmp')"
step=$(($(wc -l <disk/full/metrics.jsonl) / 50 * 50 + 150))
mkdir "disk/full/checkpoint-$step.partial"
mount -t tmpfs -o ro none "$PWD/disk/full/checkpoint-$step.partial"
failed=$(count disk/full checkpoint.failed)
within 20 has_events disk/full checkpoint.failed $((failed + 1))
umount "$PWD/disk/full/checkpoint-$step.partial"
grep -q "\"step\":$step,.*Read-only file system.*checkpoint.failed" disk/full/events.jsonl ||
    fail "not for step $step: $(cat disk/full/events.jsonl)"
saved=$(count disk/full checkpoint.saved)
within 20 has_events disk/full checkpoint.saved $((saved + 1))
wait $job || fail "a disk that was full for a while stopped the run: $(cat disk/full.err)"
job=
same "state with a full disk" "$(hash_of disk/full)" "$(hash_of long)"
all_whole disk/full
grep -q "^warning: no checkpoint of step" disk/full.out || fail "$(cat disk/full.out)"

# Full to the end: exit code 74, and the memory stays for the next start.
dd if=/dev/zero of=disk/ballast bs=1k 2>/dev/null || true
truncate -s $(($(wc -c <disk/ballast) - 300000)) disk/ballast
code=0
# shellcheck disable=SC2086
train 2 disk/last $steps --set save_steps=0 || code=$?
same "exit code where the last checkpoint cannot be written" $code 74
rm disk/ballast
# shellcheck disable=SC2086
train_well 2 disk/last $steps --set save_steps=0
grep -q "^resumed from memory at step 400" disk/last.out || fail "$(cat disk/last.out)"
same "state of the next start" "$(hash_of disk/last)" "$(hash_of straight)"
all_whole disk/last
