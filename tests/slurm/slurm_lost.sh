#!/bin/sh
# srun: a rank that is killed, and a node that loses power, take the job with them; both times it is put
# back in the queue, by its script and by Slurm, and goes on from its newest checkpoint. Then it has to
# leave its nodes to a more urgent job.
. "$(dirname "$0")/slurm_run.sh"

newest() { # step of the newest checkpoint
    find run -name 'checkpoint-*' 2>/dev/null | sed -n 's/.*-\([0-9]*\)$/\1/p' | sort -n | tail -n 1
}

has_newer() { [ "$(newest)" -gt "$1" ] 2>/dev/null; }

slurm_up 3
endless 50
submit "$templates/train.sbatch" "$scratch/recipe.yaml" run
within 60 has_newer 0
vc exec n2 pkill -KILL -x offramp
within 60 is_requeued 1
[ ! -e run/summary.json ] || fail "a run that was killed has a summary: $(cat run/summary.json)"
before=$(newest)
next_turn
within 60 has_newer "$before"
grep -q "^resumed from run/checkpoint-$before\$" log || fail "it did not go on: $(cat log)"
same "nodes of the job" "$(of_job NodeList)" "n[1-2]"

from=$(now_ms)
vc power n2
within 90 is_requeued 2
echo "n2 was given up after $(($(now_ms) - from)) ms"
before=$(newest)
next_turn
within 60 has_newer "$before"
grep -q "^resumed from run/checkpoint-$before\$" log || fail "it did not go on: $(cat log)"
same "nodes of the job" "$(of_job NodeList)" "n[1,3]"

urgent 2
ends_in_another_turn run 3
