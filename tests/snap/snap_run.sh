# snap_run.sh - what the drills of snapshot/ share. A drill is called with SNAP_JOB COUNTER OFFRAMP
# SCRATCH and begins with `. snap_run.sh`. Nodes are folders of shared memory, lost by removing them.
set -eu
job=$1
counter=$2
offramp=$3
scratch=$4
steps=12

. "$(dirname "$0")/../support/shell_run.sh"
memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT

# run RANKS [ARGUMENT...]: the job on so many ranks, to the end of its steps; says in `said`, `err`.
run() {
    ranks=$1
    shift
    code=0
    timeout 60 mpirun -n "$ranks" --oversubscribe --mca mpi_yield_when_idle 1 \
        --mca odls_base_sigkill_timeout 0 "$job" -s "$@" "$memory" $steps >said 2>err || code=$?
}

run_well() {
    run "$@"
    [ $code = 0 ] || fail "snap_job $* ended with $code: $(cat said err)"
}

# killed RANKS FAULT [ARGUMENT...]: the job dies at that fault point.
killed() {
    killed_ranks=$1
    OFFRAMP_FAULT=$2
    export OFFRAMP_FAULT
    shift 2
    run "$killed_ranks" "$@"
    [ $code != 0 ] || fail "nothing died at $OFFRAMP_FAULT in $killed_ranks ranks $*"
    unset OFFRAMP_FAULT
    [ $code != 124 ] || fail "the job hung after the fault: $(cat said err)"
}

state() {
    sed -n 's/^state //p' said
}

source_of() { # where the state came from: "rebuilt 7"
    sed -n 's/^from \([a-z]* [0-9]*\) .*/\1/p' said
}

lose() { # lose NODE...
    for node in "$@"; do
        rm -rf "$memory/node$node"
    done
}

nothing_left() {
    left=$(find "$memory" -type f 2>/dev/null | head -3)
    [ -z "$left" ] || fail "left behind: $left"
}
