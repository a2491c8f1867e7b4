#!/bin/sh
# One run for each lambda, as the elements of a job array.
. "$(dirname "$0")/slurm_run.sh"

all_over() { [ -z "$(slurm squeue -h -j "$job")" ]; }

slurm_up 2
endless
sed -i 's/^num_steps: .*/num_steps: 20/' recipe.yaml # it comes to stages in which lambdas matter
submit --array=0-4 --output="$scratch/log.%a" "$templates/array.sbatch" "$scratch/recipe.yaml" runs
within 120 all_over
for element in 0 1 2 3 4; do
    slurm scontrol show -o job "${job}_$element" | sed 's/.* JobState=\([^ ]*\) .* ExitCode=\([^ ]*\) .*/\1 \2/'
done >states
same "elements of the array" "$(tr '\n' ' ' <states)" "COMPLETED 0:0 COMPLETED 0:0 COMPLETED 0:0 COMPLETED 0:0 FAILED 2:0 "
same "what the fifth of four says" "$(grep array log.4)" "array.sbatch: element 4, but 4 lambdas"
for lambda in 0.05 0.1 0.2 0.4; do
    "$build/offramp" train recipe.yaml --output-dir "alone-$lambda" --set "lambdas=[$lambda]" \
        >alone.out 2>&1 || fail "$(cat alone.out)"
    same "state of lambda $lambda" "$(hash_of "runs/lambda-$lambda")" "$(hash_of "alone-$lambda")"
done

# A job whose settings are wrong is not put back in the queue.
submit "$templates/train.sbatch" "$scratch/recipe.yaml" wrong --set learnin_rate=1
within 60 is FAILED
same "exit code of a job with a wrong setting" "$(of_job ExitCode), $(of_job Restarts) turns before" "78:0, 0 turns before"
