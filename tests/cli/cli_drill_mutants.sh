#!/bin/sh
# Programs that are broken on purpose (tests/mutants) must fail a drill, for the reason that was broken, and
# the whole one must pass the same drill. MUTANTS names the folder they are in.
. "$(dirname "$0")/cli_run.sh"

export OMPI_MCA_mpi_yield_when_idle=1
# In two stages, the first so long that it does not end while a rank is held.
settings="--set num_steps=100 --max-steps 110 --set timing_samples=0 --set snapshot_steps=1 --set save_steps=0"

drill() { # PROGRAM FAULT...
    program=$1
    shift
    code=0
    # shellcheck disable=SC2086
    "$program" drill --output-dir drill -n 2 --deadline-s 100 "$@" -- train "$tiny" --set data_dir="$data" $settings \
        >out 2>err || code=$?
}

# catches MUTANT SAYS FAULT...
catches() {
    mutant=$MUTANTS/offramp_mutant_$1
    says=$2
    shift 2
    drill "$offramp" "$@"
    same "exit code of the whole program after $*: $(cat out err)" "$code" 0
    drill "$mutant" "$@"
    same "exit code of $mutant after $*: $(cat out err)" "$code" 93
    grep -Eq "$says" out || fail "$mutant failed, but not by '$says': $(cat out err)"
}

# It may also come to nothing, when ranks that are not of one mind wait for each other.
catches commit "WRONG: step [0-9]* was told to be kept, and the next start went on from|it was not over after" \
    --kill "node=1@point=snap.rows_made@rank=1#20+2000"
# Some bytes are of the state, others of the text that describes it, which is refused.
catches hash "WRONG: snapshots were read, and nobody found the bytes that were flipped|code (65|78), expected was 0" \
    --corrupt node=2@step=55
catches fence "WRONG: rank 1 of the earlier start .* still lives" --orphan rank=1@step=55
