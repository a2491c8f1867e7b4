#!/bin/sh
# Runs on texts: BERT and GPT-2 learn from a TSV, with the same bits on 1, 2 and 4 ranks, after a stop and
# from JSON lines; what does not go together is refused in one line.
. "$(dirname "$0")/cli_run.sh"

# Three classes, told by two words of their own among others; between 2 and 22 words a text.
mkdir texts lines words
awk -v texts=texts -v lines=lines -v words=words 'BEGIN {
    srand(7)
    for (i = 0; i < 900; i++) {
        class = int(3 * rand())
        count = 1 + int(rand() * rand() * 21)
        text = ""
        for (w = 0; w < count; w++) text = text "w" int(40 * rand()) " "
        text = text "c" class (rand() < 0.5 ? "a" : "b")
        part = i < 700 ? "train" : "test"
        print "class" class "\t" text >(texts "/" part ".tsv")
        printf "{\"text\": \"%s\", \"label\": \"class%d\"}\n", text, class >(lines "/" part ".jsonl")
    }
    printf "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" >(words "/vocab.txt")
    for (w = 0; w < 40; w++) print "w" w >(words "/vocab.txt")
    for (c = 0; c < 3; c++) printf "c%da\nc%db\n", c, c >(words "/vocab.txt")
}'
images=$data
data=texts
text="--set data_format=text --set tokenizer=words --set max_seq_length=24 --set pooling=mean
    --set layer_norm_eps=1e-12 --set backbone.augment_pad=0 --set joint.augment_pad=0
    --set backbone.augment_flip=false --set exits.augment_flip=false --set learning_rate=3e-3"

# shellcheck disable=SC2086
for type in bert gpt2; do
    train_well 1 $type $text --set model_type=$type
    grep -q "51 words, up to 24 tokens" $type.out || fail "the banner: $(cat $type.out)"
    awk -v accuracy="$(value $type/summary.json test_accuracy)" 'BEGIN { exit accuracy < 0.9 }' ||
        fail "$type: test accuracy $(value $type/summary.json test_accuracy)"
    for ranks in 2 4; do
        train_well $ranks $type.$ranks $text --set model_type=$type
        same "state of $type on $ranks ranks" "$(hash_of $type.$ranks)" "$(hash_of $type)"
    done
    train_well 2 $type.again $text --set model_type=$type --max-steps 75
    train_well 1 $type.again $text --set model_type=$type
    same "state of $type after a stop" "$(hash_of $type.again)" "$(hash_of $type)"
    if grep choices_differing $type/summary.json | grep -v ': 0,\{0,1\}$'; then
        fail "$type: inference chose other exits than the table"
    fi
done

# The same texts as JSON lines; and the backbone of a checkpoint, whose classifier fits.
data=lines
# shellcheck disable=SC2086
train_well 1 jsonl $text --set model_type=bert
same "state from JSON lines" "$(hash_of jsonl)" "$(hash_of bert)"
data=texts
# shellcheck disable=SC2086
train_well 1 from $text --set init_from="bert/$(cat bert/latest)" --set num_steps=0 --set lambdas=[0.1,0.2]
same "accuracy of what was loaded" "$(value from/summary.json test_accuracy)" \
    "$(value bert/summary.json test_accuracy)"

# Training may begin with a new classifier; in one there is nothing to evaluate.
sed '/^stages:/,$d' "$tiny" >alone.yaml
printf 'stages:\n  - stage: backbone\n' >>alone.yaml
mkdir pair
for part in train test; do
    grep -v "^class2" texts/$part.tsv >pair/$part.tsv
done
"$offramp" train alone.yaml --output-dir alone --set data_dir=texts --set data_format=text --set tokenizer=words \
    --set model_type=bert --set num_steps=5 >alone.out 2>&1 || fail "a backbone alone: $(cat alone.out)"
"$offramp" eval alone >alone.out 2>&1 || fail "eval of a backbone alone: $(cat alone.out)"
code=0
"$offramp" eval alone --set data_dir=pair >pair.out 2>pair.err || code=$?
same "exit code of eval with other classes" "$code" 78
grep -q "the checkpoint and the data do not go together: .*classifier" pair.err || fail "$(cat pair.err)"

# refused CODE TEXT ARGUMENT...
refused() {
    expected=$1
    words_of=$2
    shift 2
    code=0
    # shellcheck disable=SC2086
    train 1 refused $text --set model_type=bert "$@" || code=$?
    same "exit code of $*" "$code" "$expected"
    grep -q "$words_of" refused.err || fail "$*: $(cat refused.err)"
    same "lines about $*" "$(wc -l <refused.err)" 1
}
refused 78 "neither tokenizer nor init_from" --set tokenizer=
refused 66 "vocab" --set tokenizer=/nowhere
refused 78 "model_type is for images" --set model_type=vit
refused 78 "augment_pad and augment_flip are for images" --set backbone.augment_pad=1
refused 78 "pooling" --set pooling=last
# shellcheck disable=SC2086
train_well 1 short $text --set model_type=bert --max-steps 1 --set max_seq_length=12
refused 78 "24 tokens and the model 12 positions: max_seq_length is 24" \
    --set init_from="short/$(cat short/latest)"
refused 78 "bert/.* is for texts" --set init_from="bert/$(cat bert/latest)" --set data_format=idx \
    --set data_dir="$images"
printf 'class9\twho knows\n' >>texts/test.tsv
refused 65 "test.tsv.*201.*class9" --set max_seq_length=24
