#!/bin/sh
# Two racks of two nodes, nodes 0 and 2 in one of them, under mirrors: all that is in a rack is lost at
# once, and the copies are in the other. That it is so by the racks shows without them.
. "$(dirname "$0")/snap_run.sh"

run_well 4 -p
want=$(state)
for rack in "0 2" "1 3"; do
    for point in snap.after_seal snap.before_commit; do
        killed 4 "$point@1#4=kill" -p -c 1+1 -d 2
        # shellcheck disable=SC2086
        lose $rack
        run_well 4 -p -c 1+1 -d 2
        same "state after the loss of nodes $rack" "$(state)" "$want"
        at=$(source_of)
        [ "${at#* }" -ge 3 ] || fail "after the loss of nodes $rack: from $at"
        nothing_left
    done
done
killed 4 "snap.before_commit@1#4=kill" -p -c 1+1
lose 0 2
run 4 -p -c 1+1
same "exit code without racks" $code 3
