#!/bin/sh
# `offramp predict` on texts: the same of a text in a line, in TSV, in JSON lines, from standard input, in any batch
# and any order; as the evaluation says; and what cannot be read is named with its line.
. "$(dirname "$0")/cli_run.sh"

check=$(dirname "$self")/predict_check.py
if ! command -v python3 >/dev/null; then
    echo "SKIPPED: python3 is not installed" >&2
    exit 77
fi
predict() { # predict FILE ARGUMENT...: must succeed
    to=$1
    shift
    "$offramp" predict "$@" >"$to" 2>err || fail "predict $*: $(cat err)"
}
refused() { # refused CODE PATTERN ARGUMENT...: one line on stderr, that line
    wanted=$1
    pattern=$2
    shift 2
    code=0
    "$offramp" predict "$@" >said 2>err </dev/null || code=$?
    same "code of predict $*: $(cat err)" $code "$wanted"
    same "lines on stderr of predict $*: $(cat err)" "$(wc -l <err)" 1
    grep -Eq "^offramp: .*$pattern" err || fail "no '$pattern' in: $(cat err)"
}

# Three classes, told by two words of their own among others; between 2 and 22 words a text.
mkdir texts words
awk 'BEGIN {
    srand(7)
    for (i = 0; i < 1500; i++) {
        class = int(3 * rand())
        count = 1 + int(rand() * rand() * 21)
        text = ""
        for (w = 0; w < count; w++) text = text "w" int(40 * rand()) " "
        text = text "c" class (rand() < 0.5 ? "a" : "b")
        part = i < 700 ? "train" : "test"
        print "class" class "\t" text >("texts/" part ".tsv")
        if (part == "train") continue
        print text >"plain.txt"
        print text >"alone.tsv"
        printf "{\"id\": \"t%d\", \"text\": \"%s\", \"label\": \"class%d\"}\n", i, text, class >"all.jsonl"
        printf "{\"text\": \"%s\", \"id\": %d, \"label\": null}\n", text, i >"numbers.jsonl"
    }
    printf "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" >"words/vocab.txt"
    for (w = 0; w < 40; w++) print "w" w >"words/vocab.txt"
    for (c = 0; c < 3; c++) printf "c%da\nc%db\n", c, c >"words/vocab.txt"
}'
data=texts
text="--set data_format=text --set tokenizer=words --set max_seq_length=24 --set pooling=mean
    --set layer_norm_eps=1e-12 --set backbone.augment_pad=0 --set joint.augment_pad=0
    --set backbone.augment_flip=false --set exits.augment_flip=false --set learning_rate=1e-3 --set num_steps=40 --set timing_samples=0
    --set save_steps=0"
for type in bert gpt2; do
    # shellcheck disable=SC2086
    train_well 1 $type $text --set model_type=$type
    python3 "$check" policies "$offramp" $type texts --no-macs || exit 1
done

# One text, however it comes.
mixed="--rule max_prob --lambda 0.05 --thresholds 0.5,0.6 --probabilities"
# shellcheck disable=SC2086
{
    predict folder bert texts $mixed
    same "texts" "$(wc -l <folder)" 800
    same "exits of this policy" "$(grep -o '"exit":[0-9]' folder | sort -u | wc -l)" 3
    for batch in 1 7 800; do
        predict other bert texts $mixed --batch-size $batch
        cmp other folder || fail "batches of $batch"
    done
    for file in plain.txt alone.tsv all.jsonl numbers.jsonl; do
        predict $file.said bert $file $mixed
        python3 "$check" lines $file.said folder || exit 1
    done
    grep -q correct plain.txt.said alone.tsv.said numbers.jsonl.said && fail "correct without labels"
    same "correct" "$(grep -c '"correct"' all.jsonl.said)" 800
    sed 's/"id":"t[0-9]*",//' all.jsonl.said | cmp - folder || fail "JSON lines with labels"
    same "ids" "$(sed -n 's/.*"id":"t\([0-9]*\)".*/\1/p' all.jsonl.said | tr '\n' ' ')" "$(seq 700 1499 | tr '\n' ' ')"
    same "numbers" "$(sed -n 's/.*"id":\([0-9]*\),.*/\1/p' numbers.jsonl.said | tr '\n' ' ')" \
        "$(seq 700 1499 | tr '\n' ' ')"
    predict other bert - $mixed <plain.txt
    cmp other plain.txt.said || fail "standard input"
    predict other bert - --format jsonl $mixed <all.jsonl
    cmp other all.jsonl.said || fail "JSON lines on standard input"
    gzip -c all.jsonl >all.jsonl.gz
    predict other bert all.jsonl.gz $mixed
    cmp other all.jsonl.said || fail "JSON lines, compressed"
    sed 's/$/\r/' plain.txt >other.txt
    predict other bert other.txt $mixed
    cmp other plain.txt.said || fail "lines that end with CR LF"
    tac plain.txt >turned.txt
    predict other bert turned.txt $mixed
    sed 's/^{"index":[0-9]*/{"index":0/' plain.txt.said >numberless
    tac other | sed 's/^{"index":[0-9]*/{"index":0/' | cmp - numberless || fail "the other way round"
    predict other bert turned.txt - $mixed <plain.txt
    same "texts of two inputs" "$(wc -l <other)" 1600
    predict other bert plain.txt $mixed --max-samples 100
    head -n 100 plain.txt.said | cmp - other || fail "the first 100"
}
grep -q '"label":"class2","label_id":2' folder || fail "no class2"

# An answer comes as soon as a batch is there, while the input stays open.
mkfifo texts.pipe
"$offramp" predict bert - --rule end --batch-size 1 <texts.pipe >answers 2>err &
exec 5>texts.pipe
echo "w1 w2 c1a" >&5
within 30 test -s answers
same "answers so far" "$(wc -l <answers)" 1
exec 5>&-
wait $! || fail "$(cat err)"

# Empty texts, long ones, bytes that are no UTF-8, and nothing at all.
{ printf '\n'; awk 'BEGIN { for (i = 0; i < 5000; i++) printf "w3 " }'; printf '\n\377\376\000 c1b\nlast'; } >odd.txt
predict other bert odd.txt --rule end
same "odd texts" "$(wc -l <other)" 4
: >none.txt
predict other bert none.txt --rule end
same "no texts" "$(wc -l <other)" 0
grep -q "^0 samples" err || fail "$(cat err)"

# Words of GPT-2 are cut to the positions that it has, and no text is refused for its length.
predict other gpt2 odd.txt --rule end

# What cannot be read.
printf 'class0\tone\nclass9\ttwo\n' >bad.tsv
refused 65 'bad.tsv: line 2: label "class9" is none of the 3 classes' bert bad.tsv
printf 'class0\tone\n\n' >bad.tsv
refused 65 "bad.tsv: line 2: found 0 fields" bert bad.tsv
printf 'class0\tone\tmore\n' >bad.tsv
refused 65 "bad.tsv: line 1: found 3 fields" bert bad.tsv
for line in '{"text": 1}' '{"label": "class0"}' '["text"]' '{"text": "a"' '{"text": "a", "label": 3}' \
    '{"text": "a", "label": 0.5}' '{"text": "a", "id": []}' '{"text": "a", "label": ""}' "$(printf '{"text": "\377"}')"; do
    printf '{"text": "well"}\n%s\n' "$line" >bad.jsonl
    refused 65 "bad.jsonl: line 2" bert bad.jsonl --rule end --lambda 0.4
done
gzip -c plain.txt >plain.gz
code=0
"$offramp" predict bert - --rule end <plain.gz >said 2>err || code=$?
same "code of gzip on standard input" $code 65
grep -q "standard input: compressed with gzip" err || fail "$(cat err)"
head -c 100 all.jsonl.gz >cut.jsonl.gz
refused 65 "cut.jsonl.gz: damaged gzip" bert cut.jsonl.gz
refused 66 "nowhere.txt: no such file" bert nowhere.txt
refused 66 "test.tsv" bert words

# A checkpoint that was moved away from its run: a tokenizer must be named, names of classes may be.
mkdir lonely
cp -r "bert/$(cat bert/latest)" lonely
lonely=lonely/$(cat bert/latest)
refused 66 "lonely: .*--tokenizer" "$lonely" plain.txt --rule end
refused 66 "tokenizer: .*vocab" "$lonely" plain.txt --rule end --tokenizer texts
predict other "$lonely" plain.txt --rule end --tokenizer words
grep -q '"label":"2","label_id":2' other || fail "no class 2: $(head -n 3 other)"
predict other "$lonely" plain.txt --rule end --tokenizer words --data-dir texts
grep -q '"label":"class2","label_id":2' other || fail "no class2: $(head -n 3 other)"
mkdir pair
grep -v "^class2" texts/train.tsv >pair/train.tsv
refused 78 "pair has 2 classes, .* has 3" "$lonely" plain.txt --rule end --tokenizer words --data-dir pair
mkdir many
{ cat words/vocab.txt; echo more; } >many/vocab.txt
refused 78 "52 tokens and the network knows 51" "$lonely" plain.txt --rule end --tokenizer many
