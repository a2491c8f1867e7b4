#!/bin/sh
# The folder of `offramp export`, loaded by Hugging Face's transformers: no key is missing or unexpected, nothing is
# warned of, hidden states and logits are right, and the example of docs/export.md finds the logits of exits.
. "$(dirname "$0")/cli_run.sh"

check="$(dirname "$self")/export_transformers_check.py"
document="$(dirname "$self")/../../docs/export.md"
environment=$scratch/../transformers_environment
python=$environment/bin/python
# PyTorch is Debian's (python3-torch): the one of PyPI is 5 GB. This is the newest release that works with 1.13.
wanted='transformers==4.40.2 safetensors'
if ! "$python" -c 'import torch, transformers, safetensors' 2>/dev/null; then
    rm -rf "$environment"
    # shellcheck disable=SC2086
    if ! { /usr/bin/python3 -c 'import torch, numpy' && /usr/bin/python3 -m venv --system-site-packages "$environment" &&
        timeout 400 "$environment/bin/pip" -q install $wanted; } >pip.out 2>&1; then
        rm -rf "$environment"
        echo "SKIPPED: no python3-torch, or no transformers from PyPI: $(tail -n 1 pip.out)" >&2
        exit 77
    fi
fi

short="--set num_steps=20 --set save_steps=0 --set hash_steps=0 --set timing_samples=0"
export PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
# shellcheck disable=SC2086
{
    train_well 1 cls $short --set hidden_act=gelu
    train_well 1 mean $short --set pooling=mean --set num_hidden_layers=2
}
"$python" "$(dirname "$self")/export_deit.py" "cls/$(cat cls/latest)" made || fail "no DeiT"
# shellcheck disable=SC2086
train_well 1 deit $short --set init_from=made
mkdir texts words
for part in train test; do
    awk 'BEGIN { for (i = 0; i < 300; i++) print "class" i % 3 "\tw" i % 7 " w" i % 11 " c" i % 3 }' >texts/$part.tsv
done
{
    printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nc0\nc1\nc2\n'
    awk 'BEGIN { for (w = 0; w < 30; w++) print "w" w }'
} >words/vocab.txt
data=texts
# shellcheck disable=SC2086
train_well 1 bert $short --set model_type=bert --set data_format=text --set tokenizer=words --set max_seq_length=24 \
    --set pooling=mean --set hidden_act=gelu --set backbone.augment_pad=0 --set joint.augment_pad=0 \
    --set backbone.augment_flip=false --set exits.augment_flip=false
for pooling in last mean; do
    # shellcheck disable=SC2086
    train_well 1 gpt2_$pooling $short --set model_type=gpt2 --set data_format=text --set tokenizer=words \
        --set max_seq_length=24 --set pooling=$pooling --set backbone.augment_pad=0 --set joint.augment_pad=0 \
        --set backbone.augment_flip=false --set exits.augment_flip=false
done
for name in cls mean deit bert gpt2_last gpt2_mean; do
    "$offramp" export $name --output-dir $name.export --format hf >said 2>&1 || fail "$name: $(cat said)"
done
"$python" "$check" cls.export "$document" || fail "cls: see above"
"$python" "$check" mean.export || fail "mean: see above"
"$python" "$check" bert.export || fail "bert: see above"
"$python" "$check" deit.export || fail "deit: see above"
for pooling in last mean; do
    "$python" "$check" gpt2_$pooling.export || fail "gpt2_$pooling: see above"
done

# A language model tells transformers' tokens the same, block by block.
mkdir plain bpe
for part in train test; do
    awk 'BEGIN { for (i = 0; i < 400; i++) print "the " i % 7 " of " i % 11 " is " i % 3 "." }' >plain/$part.txt
done
golden="$(dirname "$self")/../golden/text"
cp "$golden/vocab.json" "$golden/merges.txt" bpe
data=plain
# shellcheck disable=SC2086
train_well 1 language $short --set model_type=gpt2 --set data_format=plain --set tokenizer=bpe --set max_seq_length=20 \
    --set pooling=every --set max_eval_samples=30 --set backbone.augment_pad=0 --set joint.augment_pad=0 \
    --set backbone.augment_flip=false --set exits.augment_flip=false --set learning_rate=1e-2
data=texts
"$offramp" export language --output-dir language.export --format hf >said 2>&1 || fail "language: $(cat said)"
"$python" "$check" language.export language/summary.json bpe plain/test.txt || fail "language: see above"

# What was turned round is read again as what it was.
# shellcheck disable=SC2086
train_well 1 again $short --set init_from=gpt2_last.export --set num_steps=0 --set data_format=text \
    --set tokenizer=words --set max_seq_length=24 --set backbone.augment_pad=0 --set joint.augment_pad=0 \
    --set backbone.augment_flip=false --set exits.augment_flip=false
cmp "again/$(cat again/latest)/model.safetensors" "gpt2_last/$(cat gpt2_last/latest)/model.safetensors" ||
    fail "a GPT-2 that was exported is another one"

# There are no ONNX models of a GPT-2.
code=0
"$offramp" export gpt2_last --output-dir onnx --lambda 0.05 >said 2>err || code=$?
same "code of ONNX models of a GPT-2" $code 78
grep -q "no ONNX models of a GPT-2: take --format hf" err || fail "$(cat err)"
