#!/bin/sh
# `offramp drill`: what it does to a run really happens, the run comes to the same bits, and a fault that
# does not happen is a failure.
. "$(dirname "$0")/cli_run.sh"

export OMPI_MCA_mpi_yield_when_idle=1
settings="--set num_steps=30 --set timing_samples=0 --set snapshot_steps=1 --set save_steps=0"
export CLI_DRILL=$$

drill() { # CODE ARGUMENT...
    wanted=$1
    shift
    code=0
    # shellcheck disable=SC2086
    "$offramp" drill --output-dir drill "$@" -- train "$tiny" --set data_dir="$data" $settings \
        >out 2>err || code=$?
    same "exit code of drill $*" "$code" "$wanted"
}

says() { # PATTERN
    grep -Eq "$1" out || fail "'$1' is not in: $(cat out err)"
}

refuses() { # CODE PATTERN ARGUMENT...
    pattern=$2
    refused=$1
    shift 2
    drill "$refused" "$@"
    grep -Eq "$pattern" err || fail "'$pattern' is not in: $(cat err)"
}

# Every run had memory, and it is gone; so are all processes but this shell and its children.
nothing_is_left() {
    for memory in $(sed -n 's/^# memory in //p' drill/*/hosts); do
        [ ! -e "$memory" ] || fail "memory is left: $(find "$memory")"
    done
    for process in $(grep -lzx "CLI_DRILL=$CLI_DRILL" /proc/[0-9]*/environ 2>/dev/null); do
        if tr '\0' ' ' <"${process%environ}cmdline" 2>/dev/null | grep -q "^[^ ]*offramp \|^mpirun\|^[^ ]*orted"; then
            fail "a process is left: $(tr '\0' ' ' <"${process%environ}cmdline")"
        fi
    done
}

# What is wrong is told before anything runs.
refuses 2 "rank=N@step=S" --stop node=1@step=3
refuses 2 "no fault point is named snap.nowhere" --kill rank=1@point=snap.nowhere
refuses 2 "a fault is expected"
refuses 78 "there are 4 ranks" --kill rank=4@step=3
refuses 78 "plain nodes cannot do that" --power node=1@step=3
refuses 78 "3 nodes" --nodes 3 --kill rank=1@step=3
[ ! -e drill ] || fail "a folder was made"
mkdir drill
touch drill/mine
refuses 78 "no drill's" --kill rank=1@step=3
rm -r drill

# One of everything.
points=
if "$offramp" drill --list | grep -q "snap.before_encode"; then
    points="--kill node=2@point=snap.before_encode#9"
fi
# shellcheck disable=SC2086
drill 0 --nodes 4 --kill rank=3@step=40 --drop-keeper node=2@step=30 --corrupt node=2@step=45 \
    --term step=35 --supervisor step=50 --orphan rank=2@step=55 $points --junit junit.xml
says "^--kill rank=3@step=40: rank 3 \(process [0-9]+\) was killed, is dead, at step [0-9]+; noticed after"
says "^--drop-keeper node=2@step=30: keeper 2 \(process [0-9]+\) was killed, is dead"
says "^--corrupt node=2@step=45: [1-9][0-9]* bytes of n2's snapshots were flipped.* [1-9][0-9]* segments rebuilt"
says "^--term step=35: launch \(process [0-9]+\) was asked to halt"
says "^--supervisor step=50: launch \(process [0-9]+\) was killed"
[ -z "$points" ] || says "^--kill node=2@point=snap.before_encode#9: node n2 was killed, its processes are dead and"
says "^--orphan rank=2@step=55: rank 2 \(process [0-9]+\) was stopped, launch and all others killed"
says "^PASSED: . of . runs"
same "verdict" "$(value drill/drill.json verdict)" passed
same "testcases" "$(grep -c "<testcase" junit.xml)" "$(grep -c "^--" out)"
if command -v python3 >/dev/null; then
    python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' junit.xml ||
        fail "JUnit: $(cat junit.xml)"
fi
nothing_is_left

# Two in one run; a disk that is full, where one may be mounted.
drill 0 -n 2 --together --kill rank=1@step=45 --kill rank=0@step=80
same "runs" "$(grep -c slots drill/together/hosts)" 2
same "starts" "$(grep -c "job.started" drill/together/out/supervisor.jsonl)" 3
settings="$settings --set num_steps=150" # from here on a run is long enough for all that happens in it
if unshare -rm true 2>/dev/null || unshare -m true 2>/dev/null; then
    settings="$settings --set save_steps=25"
    drill 0 -n 2 --fill-disk step=35
    says "^--fill-disk step=35: the disk was full, [0-9]+ checkpoints could not be written"
fi

# At random.
drill 0 -n 2 --random 4 --seed 5
same "faults" "$(grep -c "^--" out)" 4
says "^PASSED: 1 of 1 runs with 4 faults"

# A fault that does not happen.
drill 93 --kill rank=1@step=100000 --junit junit.xml
says "it did not happen"
says "^FAILED: 0 of 1 runs"
says "again: .* --kill rank=1@step=100000 -- train"
grep -q "<failure message=" junit.xml || fail "JUnit: $(cat junit.xml)"
