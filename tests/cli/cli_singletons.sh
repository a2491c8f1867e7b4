#!/bin/sh
# N copies of a job of one rank, which is what a foreign launcher makes of it, are refused;
# and without a launcher MPI is not needed.
. "$(dirname "$0")/cli_run.sh"

refused() { # refused PATTERN VARIABLE=VALUE...
    pattern=$1
    shift
    code=0
    env "$@" "$offramp" train "$tiny" --output-dir out --set data_dir="$data" >said 2>err || code=$?
    same "exit code with $*" $code 2
    same "lines with $*" "$(wc -l <err)" 1
    grep -q "^offramp: $pattern" err || fail "with $*: $(cat err)"
    [ ! -e out ] || fail "something was written with $*"
}
refused 'PMI launched 4 copies.*mpirun' PMI_SIZE=4 PMI_RANK=0
refused 'srun launched 2 copies.*--mpi=pmix' SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1

for variables in PMI_SIZE=1 'SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1' 'OMPI_MCA_btl=none'; do
    # shellcheck disable=SC2086
    env $variables "$offramp" train "$tiny" --output-dir out --set data_dir="$data" --max-steps 1 \
        >said 2>err || fail "with $variables: $(cat err)"
    same "world size with $variables" "$(value out/summary.json world_size)" 1
    grep -q '1 ranks, launcher none' said || fail "with $variables: $(head -n 1 said)"
    rm -r out
done
