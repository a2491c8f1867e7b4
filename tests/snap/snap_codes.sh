#!/bin/sh
# Losses under other codes: mirrors, 2+1, 4+2, several ranks a node, and processes on one node.
. "$(dirname "$0")/snap_run.sh"

check() { # check RANKS NODES LOST [ARGUMENT...]
    ranks_of=$1
    nodes_of=$2
    lost=$3
    shift 3
    steps=6
    run_well "$ranks_of" -n "$nodes_of" "$@"
    want=$(state)
    for fault in "snap.copy@1#4=kill" "snap.tile@1#14=kill" "snap.after_seal@1#4=kill" \
        "snap.before_encode@1#4=kill" "snap.stripes@1#21=kill" "snap.before_commit@1#4=kill" \
        "snap.after_commit@1#4=kill"; do
        killed "$ranks_of" "$fault" -n "$nodes_of" "$@"
        # shellcheck disable=SC2086
        lose $lost
        run_well "$ranks_of" -n "$nodes_of" "$@"
        same "state with $ranks_of ranks on $nodes_of nodes after $fault" "$(state)" "$want"
        case $(source_of) in
        "nothing 0") fail "it started anew" ;;
        esac
        nothing_left
    done
}

check 2 2 1 -p
check 3 3 2 -p
check 6 6 "1 4" -c 4+2
check 6 6 "0 5" -c 4+2
check 6 3 1 -p            # two ranks a node
check 4 1 "" -p           # all on one node: processes only
