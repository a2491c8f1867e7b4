#!/bin/sh
# A feature file is used again by a run that would compute the same features, and by no other.
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
files_after 1 --set pooling=cls
files_after 1 --set pooling=cls
files_after 2 --set pooling=mean
files_after 3 --set layer_norm_eps=1e-3
files_after 4 --set num_attention_heads=4
files_after 5 --set matmul=portable
files_after 5 --set lambdas=[0.3]
