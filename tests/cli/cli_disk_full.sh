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

# Under launch: it stops at the first, says what to do, and with room again the same command goes on.
launch() { # CODE
    code=0
    "$offramp" launch -n 2 --oversubscribe --mpirun "--mca mpi_yield_when_idle 1" -- train "$tiny" \
        --output-dir disk/launched --set data_dir="$data" >said 2>err || code=$?
    same "exit code of launch: $(cat err)" $code "$1"
}
umount disk
mount -t tmpfs -o size=1m none disk
launch 74
same "starts of launch" "$(grep -c '"event":"job.started"' disk/launched/supervisor.jsonl)" 1
grep -q '^  last line .*No space left' err || fail "no reason is given: $(cat err)"
grep -q '^  next  *make room' err || fail "no cure is named: $(cat err)"
[ ! -e disk/launched/checkpoint-200 ] || fail "the disk was not full"
cat /dev/zero >disk/rest 2>said || true # now there is no room for a byte
launch 74
grep -q '^offramp: .*No space left' err || fail "no reason is given: $(cat err)"
code=0
"$offramp" launch -n 2 -- train "$tiny" --output-dir disk/new --set data_dir="$data" >said 2>err || code=$?
same "exit code where nothing can be begun: $(cat err)" $code 74
same "what is said there" "$(grep -c '^offramp: .*No space left' err) $(wc -l <err)" "1 1"
rm disk/rest
mount -o remount,size=64m disk 2>/dev/null || mount -o remount,size=64m "$PWD/disk"
launch 0
same "state under launch" "$(hash_of disk/launched)" "$(hash_of straight)"
