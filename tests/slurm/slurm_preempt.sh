#!/bin/sh
# mpirun, and a job that has to leave its nodes to a more urgent one: it saves within the grace time, is
# put back in the queue, and goes on when the nodes are free again. Before that a rank is killed, and a node
# loses power: the job is put back in the queue, too.
. "$(dirname "$0")/slurm_run.sh"

# Without a checkpoint the next turn begins anew.
begins_anew() { # begins_anew TURN
    within 90 is_requeued "$1"
    rm -r run
    next_turn
    within 60 has_steps run 20
}

slurm_up 3
endless
submit "$templates/preempt.sbatch" "$scratch/recipe.yaml" run
within 60 has_steps run 20
vc exec n2 pkill -KILL -x offramp
begins_anew 1
from=$(now_ms)
vc power n2
begins_anew 2
echo "n2 was given up, and there was another turn, after $(($(now_ms) - from)) ms"
same "nodes of the job" "$(of_job NodeList)" "n[1,3]"
urgent 2
ends_in_another_turn run 3
