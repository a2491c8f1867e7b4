#!/bin/sh
# One flipped bit anywhere in a member's memory: found, and made good where it matters.
. "$(dirname "$0")/snap_run.sh"

run_well 4 -p
want=$(state)

killed 4 "snap.after_commit@0#6=kill" -p
cp -r "$memory" "$scratch/kept"
# The header, both slots' headers, the layout, roots, hashes, and places all over the slots.
for node in 0 1; do
    file=$(ls "$memory"/node$node/member-*)
    size=$(wc -c <"$file")
    for at in 3 20 4100 4130 4620 5130 5700 8200 8250 12290 16390 20500 24580 28680 32770 \
        $((size / 5)) $((size / 3)) $((2 * size / 5)) $((size / 2)) $((3 * size / 4)) $((size - 1)); do
        rm -rf "$memory"
        cp -r "$scratch/kept" "$memory"
        flip "$file" "$at"
        run_well 4 -p
        same "state after a flip at byte $at of $size of node $node" "$(state)" "$want"
        case $(source_of) in
        "nothing 0") fail "after a flip at byte $at it started anew" ;;
        esac
    done
    rm -rf "$memory"
    cp -r "$scratch/kept" "$memory"
done

# In three members' data: more than the parity covers, at the same place of a stripe or not, the
# step before is still whole.
rm -rf "$memory"
cp -r "$scratch/kept" "$memory"
for node in 0 1 2; do
    printf 'damage' | dd of="$(ls "$memory/node$node"/member-*)" bs=1 seek=10 conv=notrunc 2>/dev/null
done
run 4 -p
same "exit code after three damaged headers" $code 3
