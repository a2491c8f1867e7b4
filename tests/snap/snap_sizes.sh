#!/bin/sh
# From the memory of four ranks to other numbers of them: on one node, and on fewer or more.
. "$(dirname "$0")/snap_run.sh"

run_well 4
want=$(state)

# go_on NODES_BEFORE RANKS NODES LOST: dies on four ranks, goes on with so many on so many nodes.
go_on() {
    killed 4 "snap.after_commit@0#6=kill" -n "$1"
    # shellcheck disable=SC2086
    lose $4
    run_well "$2" -n "$3"
    same "state on $2 ranks, $3 nodes, after the loss of '$4'" "$(state)" "$want"
    case $(source_of) in
    "nothing 0") fail "on $2 ranks it started anew" ;;
    esac
    nothing_left
}

for ranks in 1 2 3 4 6; do
    go_on 1 $ranks 1 ""
done
go_on 4 3 3 3     # a node less, whose memory is gone
go_on 4 2 2 "2 3" # two less
go_on 4 6 4 0     # two nodes get a second rank, and a third was replaced
go_on 4 4 2 "2 3" # the same ranks, closer together

# The same ranks on each other's nodes: their memory is moved, and a failure on the way loses none.
for point in none snap.restore snap.copy snap.before_encode snap.after_commit; do
    killed 4 "snap.after_commit@0#6=kill"
    if [ $point != none ]; then
        killed 4 "$point@1#1=kill" -r 1
    fi
    run_well 4 -r 2
    same "state, moved, after $point" "$(state)" "$want"
    case $(source_of) in
    "nothing 0") fail "moved, after $point, it started anew" ;;
    esac
    nothing_left
done

# What every rank has of its own wants as many ranks as before, and says so.
killed 4 "snap.after_commit@0#6=kill" -n 1 -p
run 3 -n 1 -p
same "exit code" $code 1
grep -q "private ranges want as many ranks as before" err || fail "$(cat err)"
run_well 4 -n 1 -p

# Large slices, which go past the caches.
run_well 4 -b
want=$(state)
killed 4 "snap.before_commit@2#7=kill" -b
lose 1 3
run_well 4 -b
same "state, large" "$(state)" "$want"
case $(source_of) in
"rebuilt 6" | "rebuilt 7") ;;
*) fail "large, it came from $(source_of)" ;;
esac
nothing_left
