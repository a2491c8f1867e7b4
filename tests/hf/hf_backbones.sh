#!/bin/sh
# hf_backbones.sh HIDDEN_STATES SOURCE VENV SCRATCH: hidden states of BERT, GPT-2, ViT and DeiT, made by
# transformers, behind every layer and within 1e-4; then the same of what we saved, which
# transformers reads. With OFFRAMP_HF_MODEL=FOLDER a pretrained text model is compared, too.
#
# Exit status 77 where transformers cannot be had.
set -eu
program=$1
source=$2
venv=$3
scratch=$4
. "$source/tests/support/shell_run.sh"

export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONWARNINGS=ignore OMP_NUM_THREADS=1
python=$(sh "$source/tests/hf/setup.sh" "$venv")
"$python" "$source/tests/hf/hf_backbones.py" make "$scratch"

# What we save is read by transformers, too: the same states again.
pairs=
run() { # run NAME MODEL
    mkdir "saved-$1"
    "$program" "$2" "$1.input" "$1.output" "saved-$1" >"$1.notes"
    pairs="$pairs $1=$2 $1=saved-$1"
}

for model in bert bert-sharded gpt2 gpt2-lm vit vit-half deit; do
    run $model $model
done
ls bert-sharded/model-00002-of-*.safetensors >/dev/null || fail "bert-sharded is one file"
grep -q 'not used: pooler.dense.bias, pooler.dense.weight' bert.notes || fail "$(cat bert.notes)"
grep -q 'there is no classifier.weight: it is initialised anew' bert.notes || fail "$(cat bert.notes)"
same "notes of a ViT" "$(cat vit.notes)" "nothing to tell"
same "notes of a language model" "$(cat gpt2-lm.notes)" "nothing to tell"
if [ -n "${OFFRAMP_HF_MODEL-}" ]; then
    "$python" "$source/tests/hf/hf_backbones.py" inputs "$OFFRAMP_HF_MODEL" pretrained.input
    run pretrained "$OFFRAMP_HF_MODEL"
fi
# shellcheck disable=SC2086 # one word a pair
"$python" "$source/tests/hf/hf_backbones.py" compare $pairs
