#!/bin/sh
# `offramp generate`: a trained language model writes what it has learnt; drafts change nothing of a text; exits and
# their fills are counted; and every wrong call is refused in one line.
. "$(dirname "$0")/cli_run.sh"

# Sentences of which each word follows from those before, but for the first.
mkdir plain words
awk -v plain=plain 'BEGIN {
    srand(5)
    who = split("dog,cat,brother,man,sister", whose, ",")
    for (i = 0; i < 1500; i++) {
        a = 1 + int(who * rand())
        print "The " whose[a] " sees the " whose[1 + a % who] ", and then it runs away." >(plain "/" (i < 1300 ? "train" : "test") ".txt")
    }
}'
golden=$(dirname "$0")/../golden/text
cp "$golden/vocab.json" "$golden/merges.txt" words
images=$data
data=plain
# shellcheck disable=SC2086
train_well 1 run --set data_format=plain --set tokenizer=words --set max_seq_length=24 --set model_type=gpt2 \
    --set pooling=every --set num_hidden_layers=4 --set exit_layers=[1,2] --set lambdas=[0.05,0.4] \
    --set backbone.augment_pad=0 --set joint.augment_pad=0 --set backbone.augment_flip=false \
    --set exits.augment_flip=false --set learning_rate=1e-2 --set max_eval_samples=20
newest=run/$(cat run/latest)

generate() { # generate OUT ARGUMENT...
    generate_to=$1
    shift
    "$offramp" generate "$@" >"$generate_to" 2>err || fail "generate $*: $(cat err)"
}
tokens_of() { # all tokens of all texts of a document
    awk '/"tokens": \[/ { on = 1; next } /\]/ { on = 0 } on { gsub(/[ ,]/, ""); print }' "$1"
}

# What it has learnt.
printf 'The dog sees\nThe cat\r\nThe sister sees the\n\n' >prompts
generate full --prompts prompts --max-new-tokens 8 run
grep -q "^The dog sees the cat" full || fail "no text: $(cat full)"
grep -q "^The cat sees the brother" full || fail "no text: $(cat full)"
grep -q "^The sister sees the dog" full || fail "no text: $(cat full)"
grep -Eq "^full: 32 tokens in [0-9.]+ s, [0-9.]+ tokens/s, [0-9.]+ M multiply-adds a token" full || fail "$(cat full)"
generate full.json --prompts prompts --max-new-tokens 8 run --json
same "texts" "$(grep -c '"finish": "length"' full.json)" 4
tokens_of full.json >full.tokens
same "tokens" "$(wc -l <full.tokens)" 32

# The same by the checkpoint itself, a folder of Hugging Face's, and to the end of the context.
mkdir folder
cp "$newest/config.json" "$newest/model.safetensors" words/* folder
for model in "$newest" folder; do
    generate found.json --prompts prompts --max-new-tokens 8 "$model" --json
    tokens_of found.json | cmp - full.tokens || fail "$model writes otherwise"
done
generate whole.json --prompt "The dog" run --json
grep -q '"finish": "context"' whole.json || fail "$(cat whole.json)"

# Drafts of any length by any exit.
generate long.json --prompts prompts run --json
tokens_of long.json >long.tokens
for exit in 1 2; do
    for count in 1 2 3 7 63; do
        for sure in 0 0.6; do
            generate found.json --prompts prompts run --mode speculative --exit $exit --draft-tokens $count \
                --draft-threshold $sure --lambda 0.4 --json
            tokens_of found.json | cmp - long.tokens || fail "drafts of $count by exit $exit change the text"
        done
    done
done
awk '/"accepted"/ { total = $2 + 0 } END { exit !(total > 20) }' found.json || fail "no draft is accepted: $(cat found.json)"
generate drafts --prompts prompts run --mode speculative
grep -Eq "^drafts of up to 4 by the exit behind layer 1: [0-9]+ of [0-9]+ accepted, [0-9.]+ %; [0-9.]+ tokens a round" drafts ||
    fail "$(cat drafts)"

# Exits: nobody leaves, all leave, and as the evaluation has it.
for fill in copy recompute; do
    generate found.json --prompts prompts run --mode exit --threshold 1.5 --fill $fill --json
    tokens_of found.json | cmp - long.tokens || fail "exits that nobody takes change the text"
    generate found --prompts prompts run --mode exit --exit 2 --threshold 0 --fill $fill --pending-max 1000
    grep -q "skipped layers by $fill; left at, %: 0/100/0" found || fail "$(cat found)"
    generate found --prompts prompts run --mode exit --fill $fill --score margin
    grep -q "left at, %: " found || fail "$(cat found)"
done
generate found.json --prompt "The" run --mode exit --exit 1 --threshold 1.5 --decay steps --decay-to 0.001 \
    --max-new-tokens 12 --json
awk '/"exits": \[/ { on = NR } on && NR == on + 1 { exit !($1 + 0 >= 4) }' found.json ||
    fail "thresholds that fall let nobody leave: $(cat found.json)"
generate found.json --prompts prompts run --mode exit --threshold 0,inf --json
awk '/"macs_per_token"/ { early = $2 + 0 } END { print early }' found.json >early
awk '/"macs_per_token"/ { late = $2 + 0 } END { print late }' long.json >late
[ "$(sort -n early late | head -n 1)" = "$(cat early)" ] || fail "an early exit costs $(cat early), all layers $(cat late)"

# Drawn tokens: the seed alone decides.
for seed in 1 1 2; do
    generate drawn.$seed --prompt "The" run --temperature 3 --seed $seed --json
    tokens_of drawn.$seed >tokens.$seed
    [ ! -e before ] || [ $seed != 1 ] || cmp before tokens.1 || fail "seed 1 draws otherwise"
    cp tokens.1 before
done
! cmp -s tokens.1 tokens.2 || fail "two seeds draw the same"

# refused CODE TEXT ARGUMENT...
refused() {
    expected=$1
    words_of=$2
    shift 2
    code=0
    "$offramp" generate "$@" >said 2>err || code=$?
    same "exit code of $*: $(cat err)" "$code" "$expected"
    grep -Eq "$words_of" err || fail "$*: $(cat err)"
    same "output of $*" "$(wc -c <said)" 0
    [ "$expected" = 2 ] || same "lines about $*" "$(wc -l <err)" 1
}
refused 2 "a run, a checkpoint or a folder"
refused 2 "either --prompt or --prompts" run
refused 2 "either --prompt or --prompts" run --prompt a --prompts prompts
refused 2 "one of full, exit, speculative" run --prompt a --mode fast
refused 2 "threshold is of --mode exit" run --prompt a --threshold 0.5
refused 2 "decay is of --mode exit" run --prompt a --decay linear
refused 2 "decay-to is of --decay" run --prompt a --mode exit --decay-to 0.5
refused 2 "draft-tokens is of --mode speculative" run --prompt a --mode exit --draft-tokens 2
refused 2 "exit is of --mode exit or speculative" run --prompt a --exit 1
refused 2 "a number from 1 to 63" run --prompt a --mode speculative --draft-tokens 64
refused 2 "threshold is \"0.5,\?\"|threshold is \"\"" run --prompt a --mode exit --threshold 0.5,
refused 2 "no --temperature" run --prompt a --mode speculative --temperature 1
refused 78 "generated on a CPU only" run --prompt a --device cuda
refused 78 "exit is 3, .* has exits 1 to 2" run --prompt a --mode exit --exit 3 --threshold 0.5
refused 78 "threshold has 3 values, one or 2" run --prompt a --mode exit --threshold 0.5,0.5,0.5
refused 78 "no lambda 0.3: it has 0.05, 0.4" run --prompt a --mode exit --lambda 0.3
refused 66 "threshold is not given: no thresholds of a policy nonesuch" run --prompt a --mode exit --policy nonesuch
refused 78 "no exits there" folder --prompt a --mode exit --threshold 0.5
refused 66 "nowhere is not there" nowhere --prompt a
refused 66 "nowhere: no such file" run --prompts nowhere
: >empty
refused 65 "empty: empty, a prompt a line" run --prompts empty
awk 'BEGIN { print "The dog"; for (i = 0; i < 30; i++) printf "the dog "; print "" }' >long
refused 65 "long: line 2: the prompt has more than 24 tokens, the model's context holds 24" run --prompts long
refused 66 "tokenizer: nowhere" run --prompt a --tokenizer nowhere
mkdir bert
cp "$golden/vocab.txt" bert
refused 78 "the tokenizer is BERT's" run --prompt a --tokenizer bert
rm folder/vocab.json
refused 66 "folder: no tokenizer there" folder --prompt a
printf 'garbage' >folder/model.safetensors
refused 65 "model.safetensors" folder --prompt a --tokenizer words

# What is no language model.
data=$images
train 1 pictures --set num_steps=2 --set timing_samples=0 || fail "a run on images: $(cat pictures.err)"
refused 78 "no language model: found a model of images" pictures --prompt a
