#!/bin/sh
# One bit of a rank's replicated memory flips: the rank is named, the version refused, and the same
# command goes on from the one before.
. "$(dirname "$0")/snap_run.sh"

for ranks_of in 2 3 4; do
    run_well $ranks_of -p
    want=$(state)
    last=$((ranks_of - 1))
    killed $ranks_of "snap.flip@$last#7=fail" -p
    others="the other $last ranks"
    [ $ranks_of -gt 2 ] || others="rank 0, and no majority tells which is right"
    grep -q "replicated memory of rank $last differs from that of $others at version 7: shared" err ||
        fail "with $ranks_of ranks: $(cat err)"
    run_well $ranks_of -p
    same "state with $ranks_of ranks" "$(state)" "$want"
    same "source with $ranks_of ranks" "$(source_of)" "memory 6"
    nothing_left
done
