#!/bin/sh
# At every fault point: a rank is killed, the memory of nodes is destroyed, and the same command
# goes on to the state of a run that nothing happened to. For four members every set of up to two.
. "$(dirname "$0")/snap_run.sh"

points="snap.copy snap.after_seal snap.before_encode snap.before_commit snap.after_commit"
run_well 4 -p
want=$(state)
nothing_left

# resume RANKS NODES: on, after those nodes lost their memory.
resume() {
    resume_ranks=$1
    nodes=$2
    shift 2
    # shellcheck disable=SC2086
    lose $nodes
    run "$resume_ranks" "$@"
    [ $code = 0 ] || fail "after $fault and the loss of '$nodes': $(cat said err)"
    same "state after $fault and the loss of '$nodes'" "$(state)" "$want"
    at=$(source_of)
    [ "${at#* }" -ge "$least" ] || fail "after $fault and the loss of '$nodes': from $at"
    nothing_left
}

for point in $points; do
    for nodes in "" 0 3 "0 1" "2 3"; do
        fault="$point@2#7=kill"
        least=6 # version 7 was under way
        killed 4 "$fault" -p
        resume 4 "$nodes" -p
    done
done
fault="snap.before_commit@1#5=kill"
least=4
for nodes in 1 2 "0 2" "0 3" "1 2" "1 3"; do # the other sets of up to two
    killed 4 "$fault" -p
    resume 4 "$nodes" -p
done

# A failure during recovery starts it over.
for point in snap.restore snap.rebuilt snap.copy; do
    killed 4 "snap.after_commit@0#6=kill" -p
    lose 1
    least=6
    fault="$point@2#1=kill"
    killed 4 "$fault" -p
    resume 4 "" -p
done

# More than the parity covers: no version, a clear code, nothing made up.
killed 4 "snap.after_commit@0#6=kill" -p
lose 0 1 2
run 4 -p
same "exit code after three of four" $code 3
grep -q "no version can be made of it" err || fail "$(cat err)"
rm -rf "$memory"
