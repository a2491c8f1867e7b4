#!/bin/sh
# srun, and a job that comes to its time limit: Slurm tells the ranks, which save; the job is put back in
# the queue, and goes on in its next turn.
. "$(dirname "$0")/slurm_run.sh"

slurm_up 2
endless
submit --time=1 --signal=USR1@45 "$templates/train.sbatch" "$scratch/recipe.yaml" run
ends_in_another_turn run 1
