#!/bin/sh
# Feature files are used again by a run that would compute the same features, and by no other: one of the
# samples to train on, one of those held out, one of the test set. With the same results.
. "$(dirname "$0")/cli_run.sh"

tiny=$PWD/exits_only.yaml
cat >"$tiny" <<'YAML'
num_hidden_layers: 2
hidden_size: 16
num_attention_heads: 2
intermediate_size: 16
patch_size: 7
lambdas: [0.1]
timing_samples: 0
max_eval_samples: 50
resume_from_checkpoint: none
overwrite_output_dir: true
stages:
  - stage: exits
    num_steps: 2
    train_batch_size: 32
    feature_cache: file
YAML

files_after() { # files_after COUNT ARGUMENT...: how many there are once that run is done
    expected=$1
    shift
    train_well 1 cached "$@"
    same "files after $*" "$(ls cached/features-*.bin | wc -l | tr -d ' ')" "$expected"
}

rm -rf cached
files_after 3 --set pooling=cls
files_after 3 --set pooling=cls
files_after 6 --set pooling=mean
files_after 9 --set layer_norm_eps=1e-3
files_after 12 --set num_attention_heads=4
files_after 15 --set matmul=portable
files_after 15 --set lambdas=[0.3]
# With the same backbone another seed holds out other samples, unless told not to; all are in one file.
cp -r cached/checkpoint-2 backbone
with="--set init_from=$PWD/backbone"
# shellcheck disable=SC2086
files_after 15 $with --set lambdas=[0.3]
files_after 16 $with --set lambdas=[0.3] --set seed=7
files_after 16 $with --set lambdas=[0.3] --set validation_seed=7
files_after 16 $with --set lambdas=[0.3] --set seed=7 --set validation_seed=42

# The evaluation on features of another run, and without files.
results() {
    sed 's/"[a-z_]*_ms": *[^,}]*//g; s/"ms_[a-z_]*": *[^,}]*//g' "$1/results.json"
}
train_well 1 cached --set matmul=portable --set lambdas=[0.3]
results cached >expected
ls -i cached/features-*.bin >before
train_well 1 cached --set matmul=portable --set lambdas=[0.3]
ls -i cached/features-*.bin >after
same "files that were written anew" "$(diff before after)" ""
train_well 1 fresh --set matmul=portable --set lambdas=[0.3]
train_well 1 in_memory --set matmul=portable --set lambdas=[0.3] --set feature_cache=memory
for run in cached fresh in_memory; do
    results $run >found
    cmp -s expected found || fail "results of $run differ"
done
