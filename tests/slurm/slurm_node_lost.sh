#!/bin/sh
# `offramp launch` in a job of five nodes: one loses power, a spare takes its place in the same job, and
# the run goes on from memory; so it does when a rank is killed. Then the job is told to end, and goes on in
# its next turn.
. "$(dirname "$0")/slurm_run.sh"

told() { # told EVENT [TEXT]
    grep "\"event\":\"$1\"" run/supervisor.jsonl 2>/dev/null | grep -q "${2:-}"
}

recovered() { # recovered N: times
    [ "$(grep -c '"event":"job.recovered"' run/supervisor.jsonl)" -ge "$1" ]
}

nothing_on() { [ -z "$(vc exec "$1" ls /dev/shm)" ]; }

slurm_up 5
endless
submit "$templates/launch.sbatch" "$scratch/recipe.yaml" run --set snapshot_steps=1
within 60 has_steps run 20
vc power n2
from=$(now_ms)
within 60 recovered 1
echo "power of n2: goes on after $(($(now_ms) - from)) ms, $(grep -o '"redone":[0-9]*' run/supervisor.jsonl)"
told job.lost '"node":"n2"' || fail "what was lost: $(cat run/supervisor.jsonl)"
told job.started '"hosts":"n1:1,n3:1,n4:1,n5:1"' || fail "nodes of the next start: $(cat run/supervisor.jsonl)"
grep -q "^resumed from memory" log || fail "not from memory: $(cat log)"

vc exec n4 pkill -KILL -f "[o]fframp train"
within 60 recovered 2
told job.lost '"rank":2,"host":"n4"' || fail "what was lost: $(cat run/supervisor.jsonl)"
within 60 has_steps run $(($(wc -l <run/metrics.jsonl) + 50))
same "turns so far" "$(of_job Restarts)" 0

slurm scancel --signal=USR1 --batch "$job"
vc start n2
slurmd_on n2
ends_in_another_turn run 1
for node in n1 n2 n3 n4 n5; do
    within 10 nothing_on $node
done
