#!/bin/sh
# At every fault point, of a snapshot and of a recovery, a rank is killed, and then every set of up to
# two of the four nodes loses its memory: the same command goes on to the state of a run that nothing
# happened to.
. "$(dirname "$0")/snap_run.sh"

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

least=6
# Version 7 of 12: its slice is 8 tiles, and 8 turns of the loop make the rows of its stripes.
for fault in "snap.copy@2#7=kill" "snap.tile@2#49=kill" "snap.tile@2#53=kill" "snap.tile@2#56=kill" \
    "snap.after_seal@2#7=kill" "snap.before_encode@2#7=kill" "snap.stripes@2#52=kill" \
    "snap.before_commit@2#7=kill" "snap.after_commit@2#7=kill"; do
    killed 4 "$fault" -p
    cp -r "$memory" kept
    for nodes in "" 0 1 2 3 "0 1" "0 2" "0 3" "1 2" "1 3" "2 3"; do
        rm -rf "$memory"
        cp -r kept "$memory"
        resume 4 "$nodes" -p
    done
    rm -rf kept
done

# A node that was away comes back with what it held when it was cut off in the middle of version 7,
# in whatever state; the job has gone on without it, and takes it in again.
for fault in "snap.copy@2#7=kill" "snap.after_seal@2#7=kill" "snap.before_commit@2#7=kill" \
    "snap.after_commit@2#7=kill"; do
    killed 4 "$fault" -p
    cp -r "$memory/node2" kept
    lose 2
    killed 4 "snap.after_commit@0#3=kill" -p
    lose 2
    cp -r kept "$memory/node2"
    resume 4 "" -p
    rm -rf kept
done

# A failure during recovery starts it over, whatever was lost before.
killed 4 "snap.after_commit@0#6=kill" -p
cp -r "$memory" kept
for nodes in 1 "0 3" "1 2"; do
    for fault in "snap.restore@2#1=kill" "snap.stripes@2#3=kill" "snap.rebuilt@2#1=kill" \
        "snap.copy@2#1=kill"; do
        rm -rf "$memory"
        cp -r kept "$memory"
        # shellcheck disable=SC2086
        lose $nodes
        killed 4 "$fault" -p
        resume 4 "" -p
    done
done
rm -rf "$memory"

# More than the parity covers: no version, a clear code, nothing made up.
killed 4 "snap.after_commit@0#6=kill" -p
lose 0 1 2
run 4 -p
same "exit code after three of four" $code 3
grep -q "no version can be made of it" err || fail "$(cat err)"
rm -rf "$memory"
