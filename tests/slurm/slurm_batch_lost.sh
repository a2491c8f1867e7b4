#!/bin/sh
# `offramp launch` in a job whose first node, where it runs, loses power: the job is put back in the queue,
# and its next turn finds what is in the memory of the others.
. "$(dirname "$0")/slurm_run.sh"

slurm_up 4
endless
submit -N3 "$templates/launch.sbatch" "$scratch/recipe.yaml" run --set snapshot_steps=1
within 60 has_steps run 20
from=$(now_ms)
vc power n1
within 120 is_requeued 1
echo "n1 was given up after $(($(now_ms) - from)) ms"
reached=$(wc -l <run/metrics.jsonl)
next_turn
within 60 has_steps run $((reached + 50))
same "nodes of the job" "$(of_job NodeList)" "n[2-4]"
grep -q "^resumed from memory" log || fail "not from memory: $(cat log)"
slurm scancel --signal=USR1 --batch "$job"
ends_in_another_turn run 2
