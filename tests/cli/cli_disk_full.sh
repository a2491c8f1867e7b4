#!/bin/sh
# A disk that is full, or cannot be written to any more: exit code 74, the last whole checkpoint
# stands and nothing half-written is trusted; with room again the same command goes on to the
# same bits.
. "$(dirname "$0")/cli_run.sh"

# A mount of our own goes away with this process.
if [ -z "${CLI_DISK_FULL:-}" ]; then
    for how in "unshare -m" "unshare -rm"; do
        if $how mount -t tmpfs -o size=64k none "$scratch" 2>/dev/null; then
            CLI_DISK_FULL=1 exec $how sh "$self" "$@"
        fi
    done
    echo "SKIPPED: no small file system can be mounted here" >&2
    exit 77
fi
mkdir disk
mount -t tmpfs -o size=1m none disk

train_well 1 straight
cd disk
code=0
"$offramp" train "$tiny" --output-dir out --set data_dir="$data" >../said 2>../err || code=$?
same "exit code on a full disk" $code 74
grep -q '^offramp: .*No space left' ../err || fail "$(cat ../err)"
[ -e out/checkpoint-20 ] || fail "not even one checkpoint: $(ls out)"
[ ! -e out/checkpoint-200 ] || fail "the disk was not full"
for checkpoint in out/checkpoint-*; do
    case $checkpoint in *.partial) fail "$checkpoint was left" ;; esac
    "$offramp" verify "$checkpoint" >../said || fail "$checkpoint is not whole"
done
[ -z "$(find out -name '*.tmp')" ] || fail "half-written files: $(find out -name '*.tmp')"

# Nothing is lost by another try on the full disk.
code=0
"$offramp" train "$tiny" --output-dir out --set data_dir="$data" >../said 2>../err || code=$?
same "exit code of the second try" $code 74

mount -o remount,size=64m disk 2>/dev/null || mount -o remount,size=64m "$PWD"
"$offramp" train "$tiny" --output-dir out --set data_dir="$data" >../said 2>../err ||
    fail "with room again: $(cat ../err)"
grep -q "resumed from out/checkpoint-" ../said || fail "it started anew"
cd ..
same "state" "$(hash_of disk/out)" "$(hash_of straight)"
