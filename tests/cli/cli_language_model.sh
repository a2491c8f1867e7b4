#!/bin/sh
# A language model: the next token of plain text, with exits for every token. All stages learn, with the same bits
# on 1, 2 and 4 ranks, wherever features are kept, after a stop and out of memory; what cannot be is refused in one
# line.
. "$(dirname "$0")/cli_run.sh"

# Sentences of which some words follow from those before, and others do not.
mkdir plain words
awk -v plain=plain 'BEGIN {
    srand(5)
    who = split("the dog,a cat,my brother,the old man,her sister", whose, ",")
    what = split("sees,likes,hears,follows", does, ",")
    for (i = 0; i < 1500; i++) {
        a = 1 + int(who * rand()); b = 1 + int(what * rand()); c = 1 + (a + b) % who
        print whose[a] " " does[b] " " whose[c] ", and then " whose[c] " runs away." \
            >(plain "/" (i < 1200 ? "train" : "test") ".txt")
    }
}'
cp "$(dirname "$0")/../golden/text/vocab.json" "$(dirname "$0")/../golden/text/merges.txt" words
data=plain
plain="--set data_format=plain --set tokenizer=words --set max_seq_length=20 --set model_type=gpt2
    --set pooling=every --set backbone.augment_pad=0 --set joint.augment_pad=0
    --set backbone.augment_flip=false --set exits.augment_flip=false --set learning_rate=1e-2
    --set max_eval_samples=40"

# shellcheck disable=SC2086
train_well 1 alone $plain
grep -q "blocks of text to train on, .* 900 classes" alone.out || fail "the banner: $(cat alone.out)"
grep -q "multiply-adds of one token" alone.out || fail "the banner: $(cat alone.out)"
grep -q "^final classifier: .* of 800 test tokens, cross entropy .* nats, perplexity" alone.out ||
    fail "the evaluation: $(cat alone.out)"
grep -q "mult-adds   of all  perplexity" alone.out || fail "no perplexity of the exits: $(cat alone.out)"
same "tokens tested" "$(value alone/summary.json test_samples)" 800
# As uniform is 6.8 nats, and what is drawn at random in a sentence less than 1.
awk -v loss="$(value alone/summary.json test_loss)" 'BEGIN { exit !(loss < 2) }' ||
    fail "cross entropy $(value alone/summary.json test_loss)"
awk '/^  exit 1 / || /^  end / || /^  gate / { rows += $(NF - 2) > 1 && $(NF - 2) < 3 } END { exit rows != 4 }' alone.out ||
    fail "the perplexity of an exit: $(cat alone.out)"

hashes_of alone >hashes
same "steps with a hash" "$(wc -l <hashes)" 20
for ranks in 2 4; do
    # shellcheck disable=SC2086
    train_well $ranks ranks$ranks $plain
    hashes_of ranks$ranks | cmp - hashes || fail "1 and $ranks ranks differ"
done
for cache in none file; do
    # shellcheck disable=SC2086
    train_well 2 $cache $plain --set feature_cache=$cache
    hashes_of $cache | cmp - hashes || fail "feature_cache $cache gives another state"
done
# shellcheck disable=SC2086
train_well 2 again $plain --max-steps 75
# shellcheck disable=SC2086
train_well 1 again $plain
same "state after a stop" "$(hash_of again)" "$(hash_of alone)"

# Killed in the second stage, where the build can, and gone on with from memory.
memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
steps="$plain --set save_steps=0 --set snapshot_steps=1"
OFFRAMP_FAULT=snap.after_commit@1#70=kill nodes 2 killed
if grep -q "no fault points" killed.err; then
    echo "no fault points in this build: nobody was killed" >&2
else
    [ $code != 0 ] || fail "nothing died"
    nodes 2 killed
    [ $code = 0 ] || fail "killed: $(cat killed.err)"
    grep -q "^resumed from memory at step" killed.out || fail "killed: $(cat killed.out)"
    same "state of what was killed" "$(hash_of killed)" "$(hash_of alone)"
fi

# What was written is what is read: as a model to go on from, and evaluated.
grep -q '"GPT2LMHeadModel"' "alone/$(cat alone/latest)/config.json" || fail "the architecture"
grep -q '"offramp_pooling": "every"' "alone/$(cat alone/latest)/config.json" || fail "the pooling"
# shellcheck disable=SC2086
train_well 1 from $plain --set model_type=vit --set pooling=cls --set num_steps=0 \
    --set init_from="alone/$(cat alone/latest)"
same "loss of what was loaded" "$(value from/summary.json test_loss)" "$(value alone/summary.json test_loss)"
"$offramp" eval alone --set init_from= >eval.out 2>&1 || fail "eval: $(cat eval.out)"
grep '^final classifier' alone.out >final
grep '^final classifier' eval.out | cmp - final || fail "eval: $(cat eval.out)"

# A text classifier may begin with it: of each text it then reads the last token.
mkdir texts base
cp "alone/$(cat alone/latest)/config.json" "alone/$(cat alone/latest)/model.safetensors" base
for part in train test; do
    head -n 300 plain/$part.txt | awk '{ print $2 "\t" $0 }' >texts/$part.tsv
done
data=texts
# shellcheck disable=SC2086
train_well 1 classes $plain --set data_format=text --set num_steps=20 --set pooling=cls \
    --set init_from=base
grep -q '"offramp_pooling": "last"' "classes/$(cat classes/latest)/config.json" || fail "pooling of a classifier"

# refused CODE TEXT ARGUMENT...
refused() {
    expected=$1
    words_of=$2
    shift 2
    code=0
    # shellcheck disable=SC2086
    train 1 refused $plain "$@" || code=$?
    same "exit code of $*" "$code" "$expected"
    grep -q "$words_of" refused.err || fail "$*: $(cat refused.err)"
    same "lines about $*" "$(wc -l <refused.err)" 1
}
refused 78 "pooling every is a language model's: it goes with data_format plain alone" --set data_format=text
data=plain
refused 78 "data_format is plain.* model_type must be gpt2 and pooling every" --set pooling=last
refused 78 "data_format is plain.* model_type must be gpt2 and pooling every" --set model_type=bert \
    --set pooling=mean
refused 78 "data_format is plain, and neither tokenizer nor init_from" --set tokenizer=
refused 78 "eval_detail all .* must be brief" --set eval_detail=all
refused 78 "augment_pad and augment_flip are for images" --set backbone.augment_pad=1
refused 78 "the tokenizer of BERT" --set tokenizer="$(dirname "$self")/../golden/text"
mkdir short
echo "A few words." >short/train.txt
refused 65 "train.txt: .* tokens, expected at least a block of 20 and one to predict" --set data_dir=short
refused 66 "train.txt: no such file" --set data_dir=words
code=0
"$offramp" predict alone plain/test.txt >predict.out 2>predict.err || code=$?
same "exit code of predict" $code 78
grep -q "a language model, which tells tokens and no classes" predict.err || fail "$(cat predict.err)"
same "lines of predict" "$(($(cat predict.out predict.err | wc -l)))" 1
code=0
"$offramp" export alone --output-dir onnx --format onnx --lambda 0.05 >export.out 2>&1 || code=$?
same "exit code of an export as ONNX" $code 78
"$offramp" export alone --output-dir exported --format hf >export.out 2>&1 || fail "export: $(cat export.out)"
grep -q '"pooling": "every"' exported/exits.json || fail "exits.json: $(cat exported/exits.json)"
