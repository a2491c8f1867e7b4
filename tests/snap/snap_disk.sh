#!/bin/sh
# The disk behind the memory, for any program: more nodes are lost than the parity covers, and the
# newest checkpoint is restored, what every rank alone has included, also where a file is packed. With
# that gone as well: a clear refusal.
. "$(dirname "$0")/snap_run.sh"

run_well 4 -p
want=$(state)
nothing_left
disk="-o $PWD/disk -v 3"

# shellcheck disable=SC2086
run_well 4 -p $disk
same "state with a disk" "$(state)" "$want"
grep -q "saved 4 not 0" said || fail "$(cat said)"
same "checkpoints" "$(cd disk && echo checkpoint-*)" "checkpoint-12 checkpoint-9"
same "files" "$(cd disk/checkpoint-12 && echo *)" \
    "manifest.json numbers.bin.pack-0 numbers.bin.pack-1 numbers.bin.pack-2 numbers.bin.pack-3 private-0 private-1 private-2 private-3 step.bin"
nothing_left
[ ! -e "$memory/node0" ] || fail "left behind: $(ls -a "$memory/node0")"

# lose_nodes NODE...: their processes and their memory.
lose_nodes() {
    for node in "$@"; do
        pkill -9 -f "keeper --folder $memory/node$node " || true
    done
    lose "$@"
}

# The newest that is there: 6, or 8 where the keepers were faster than the loss of their nodes.
newest() {
    # shellcheck disable=SC2012
    ls disk | sed -n 's/^checkpoint-\([0-9]*\)$/\1/p' | sort -n | tail -1
}

for lost in "0 1 2" "1 2 3" "0 1 2 3"; do
    rm -rf disk
    # shellcheck disable=SC2086
    killed 4 "snap.after_commit@0#8=kill" -p $disk
    # shellcheck disable=SC2086
    lose_nodes $lost
    from=$(newest)
    # shellcheck disable=SC2086
    run_well 4 -p $disk
    same "where it came from, without $lost" "$(source_of)" "disk $from"
    same "state, without $lost" "$(state)" "$want"
    nothing_left
done

# One flipped bit in the newest: the one before.
rm -rf disk
# shellcheck disable=SC2086
killed 4 "snap.after_commit@0#8=kill" -p $disk
lose_nodes 0 1 2 3
from=$(newest)
flip disk/checkpoint-"$from"/private-2 400
# shellcheck disable=SC2086
run_well 4 -p $disk
same "where it came from, with a flipped bit" "$(source_of)" "disk $((from == 8 ? 6 : 3))"
same "state, with a flipped bit" "$(state)" "$want"

# All processes of all nodes die: the keepers write what they have, soon.
rm -rf disk
# shellcheck disable=SC2086
killed 4 "snap.after_commit@0#8=kill" -p $disk
is_saved() { [ -e disk/checkpoint-8 ]; }
within 10 is_saved
lose_nodes 0 1 2 3
# shellcheck disable=SC2086
run_well 4 -p $disk
same "where it came from, after the keepers' save" "$(source_of)" "disk 8"
same "state, after the keepers' save" "$(state)" "$want"

# Nothing is left of either.
rm -rf disk
# shellcheck disable=SC2086
killed 4 "snap.after_commit@0#8=kill" -p $disk
lose_nodes 0 1 2
rm -rf disk
# shellcheck disable=SC2086
run 4 -p $disk
same "exit code" $code 3
grep -q "1 members' memory is left, and no version can be made of it" err || fail "$(cat err)"
lose_nodes 3
