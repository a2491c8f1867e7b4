#!/bin/sh
# `offramp predict`: leaves where the evaluation says, says the same in any batch, answers in the order of its input,
# loads no layer behind a cap, and refuses in one line what it cannot read or write.
. "$(dirname "$0")/cli_run.sh"

check=$(dirname "$self")/predict_check.py
if ! command -v python3 >/dev/null; then
    echo "SKIPPED: python3 is not installed" >&2
    exit 77
fi
predict() { # predict FILE ARGUMENT...: must succeed; a line on stderr
    to=$1
    shift
    "$offramp" predict "$@" >"$to" 2>err || fail "predict $*: $(cat err)"
    same "lines on stderr of predict $*: $(cat err)" "$(wc -l <err)" 1
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

train_well 1 run --set save_steps=0 --set timing_samples=0 --set exits.gate_learning_rate=0.05
newest=$(find run -name 'checkpoint-*' | sort -t- -k2n | tail -n 1)

# Every policy of the evaluation, and the choice among them.
python3 "$check" policies "$offramp" run "$data" || exit 1
python3 "$check" policies "$offramp" run "$data" --batch-size 7 >said || exit 1
python3 "$check" choices "$offramp" run "$data" || exit 1

# The same bits in batches of any size; files as the folder; a file as standard output; labels are optional.
mixed="--rule max_prob --lambda 0.05 --thresholds 0.25,0.3 --probabilities"
# shellcheck disable=SC2086
{
    predict by_64 run "$data" $mixed
    for batch in 1 7 500; do
        predict other run "$data" $mixed --batch-size $batch
        cmp other by_64 || fail "batches of $batch"
    done
    same "exits of this policy" "$(grep -o '"exit":[0-9]' by_64 | sort -u | wc -l)" 3
    same "samples" "$(wc -l <by_64)" 500
    predict other "$newest" "$data/t10k-images-idx3-ubyte" "$data/t10k-labels-idx1-ubyte" $mixed
    cmp other by_64 || fail "files and folder"
    predict other run "$data/t10k-images-idx3-ubyte" $mixed
    grep -q correct other && fail "correct without labels"
    python3 "$check" lines other by_64 || exit 1
    gzip -c "$data/t10k-images-idx3-ubyte" >images.gz
    predict said run images.gz "$data/t10k-images-idx3-ubyte" $mixed --output file
    same "standard output beside --output" "$(cat said)" ""
    same "samples of two files" "$(wc -l <file)" 1000
    sed 's/"index":[0-9]*/"index":/' file >numberless
    head -n 500 numberless >one
    tail -n 500 numberless | cmp - one || fail "the second file"
    sed 's/"index":[0-9]*/"index":/' other | cmp - one || fail "the first file"
    [ ! -e file.partial ] || fail "file.partial is left"
}
same "numbers" "$(sed 's/^{"index":\([0-9]*\),.*/\1/' by_64 | tr '\n' ' ')" "$(seq 0 499 | tr '\n' ' ')"

# Layers behind a cap are not there, and are not missed.
cp -r run capped
capped=capped/$(basename "$newest")
predict whole run "$data" --lambda 0.4 --thresholds=0.3,-inf
predict other run "$data" --lambda 0.4 --threshold 0.3 --max-layers 2
cmp other whole || fail "a cap of 2 layers"
predict all run "$data" --rule end
predict other run "$data" --rule end --max-layers 3
cmp other all || fail "a cap of all layers"
python3 "$check" spoil "$capped" 2
refused 65 "model.safetensors" "$capped" "$data"
predict other "$capped" "$data" --lambda 0.4 --threshold 0.3 --max-layers 2
cmp other whole || fail "with NaN in the third layer"
python3 "$check" cut "$capped" 2
refused 65 "manifest" "$capped" "$data"
predict other capped "$data" --lambda 0.4 --threshold 0.3 --max-layers 2
cmp other whole || fail "without the third layer"
python3 "$check" cut "$capped" 1
refused 65 "layer.1.* is cut off" capped "$data" --max-layers 2
predict other capped "$data" --rule end --max-layers 1
same "exits under a cap of 1" "$(grep -c '"exit":1,' other)" 500
train_well 1 late --set num_steps=1 --set exit_layers=2 --set timing_samples=0 --set save_steps=0
refused 78 "no exit within 1 layers, the first stands behind layer 2" late "$data" --max-layers 1

# And are no memory: 12 layers of 3.5 MB each.
train_well 1 deep --set num_hidden_layers=12 --set hidden_size=256 --set intermediate_size=1024 --set num_steps=0 \
    --set lambdas=[0.1] --set timing_samples=0 --set max_eval_samples=10 --set save_steps=0
python3 "$check" memory most "$offramp" predict deep "$data" --rule end --max-samples 1 >said 2>err || fail "$(cat err)"
python3 "$check" memory least "$offramp" predict deep "$data" --rule end --max-samples 1 --max-layers 2 >said 2>err ||
    fail "$(cat err)"
[ $(($(cat most) - $(cat least))) -gt 40000 ] || fail "memory of 12 layers $(cat most) KiB, of 2 $(cat least)"

# Wrong calls.
for arguments in "" "run" "run $data --rule nonesuch" "run $data --budget much" "run $data --threshold 0.5,"\
    "run $data --budget 0.5 --risk 0.1" "run $data --rule end --budget 1" "run $data --batch-size 0" \
    "run $data --max-layers 0" "run $data --format png" "run $data --nonesuch" "run -"; do
    code=0
    # shellcheck disable=SC2086
    "$offramp" predict $arguments >said 2>err </dev/null || code=$?
    same "code of predict $arguments: $(cat err)" $code 2
done
refused 66 "nowhere is not there" nowhere "$data"
refused 66 "no checkpoint there" "$data" "$data"
refused 66 "nowhere: no such file" run nowhere
refused 78 "no lambda 0.3: it has 0.05, 0.4" run "$data" --lambda 0.3
refused 78 "2 lambdas: .*--lambda" run "$data" --threshold 0.5
refused 78 "3 values, .* has 2 exits" run "$data" --lambda 0.4 --thresholds 1,2,3
refused 78 "no policy of any rule costs at most 0.1 " run "$data" --budget 0.1
refused 78 "no policy of risk; .*--risk" run "$data" --rule risk
refused 66 "nowhere.json" run "$data" --results nowhere.json
mv run/results.json kept.json
refused 66 "no results of step 200" run "$data" --budget 0.7
refused 78 "2 lambdas: .*--lambda" run "$data"
predict said run "$data" --lambda 0.4 # hazards need no results
grep -q "gate/learned, lambda 0.4" err || fail "$(cat err)"
"$offramp" eval run --json results.json >said 2>&1 || fail "$(cat said)"
predict said run "$data" --results results.json --budget 0.7
mv kept.json run/results.json
printf '{"full_macs": 1, "lambdas": [{"lambda": 0.4, "policies": [{"policy": "x", "rule": "gate", "solver": "learned",
    "thresholds": [1], "validation": {"accuracy": 1, "mean_macs": 1}}]}]}' >other.json
refused 65 "other.json: policy x has 1 thresholds, .* has 2 exits" run "$data" --results other.json

# Wrong data and wrong checkpoints.
: >empty
head -c 1000 "$data/t10k-images-idx3-ubyte" >short
printf '\000\000\010\003\000\000\000\002\000\000\000\002\000\000\000\002abcdefgh' >small
printf '\000\000\010\003\000\000\000\001\000\000\000\034\000\000\000\034' >one
head -c 784 /dev/zero >>one
printf '\000\000\010\001\000\000\000\001\013' >eleven
printf '\000\000\010\001\000\000\000\002\001\001' >two
refused 65 "empty: truncated" run empty
refused 65 "short: truncated" run short
refused 65 "small: images of 1 x 2 x 2, the network takes 1 x 28 x 28" run small
refused 65 "eleven: label 11 of sample 0, the network has 10 classes" run one eleven
refused 65 "two: 2 labels, expected 1" run one two
refused 65 "two: labels, expected images" run two
refused 65 "3072|3073" run short --format cifar10
head -c 3073 /dev/zero >cifar
refused 65 "cifar: images of 3 x 32 x 32, the network takes 1 x 28 x 28" run cifar --format cifar10
sed '/^stages:/,$d' "$tiny" >alone.yaml
"$offramp" train alone.yaml --output-dir alone --set data_dir="$data" --set num_steps=1 --set timing_samples=0 \
    >said 2>&1 || fail "$(cat said)"
refused 78 "no exits.safetensors" alone "$data"
flip "$newest/exits.safetensors" 2000
refused 65 "exits.safetensors" "$newest" "$data"
flip "$newest/exits.safetensors" 2000

# Nowhere to write to.
refused 74 "full: .*No space left" run "$data" --lambda 0.4 --output /dev/full
refused 66 "nowhere: no such file" run "$data" nowhere --lambda 0.4 --output left
[ ! -e left ] || fail "half a file of predictions"
refused 74 "nowhere" run "$data" --lambda 0.4 --output nowhere/file
[ -z "$(find . -name '*.partial')" ] || fail "left: $(find . -name '*.partial')"
mkfifo pipe
{ "$offramp" predict run "$data" "$data" --lambda 0.4 2>err || echo $? >code; } >pipe &
head -n 1 <pipe >said
wait
same "code after a closed pipe: $(cat err)" "$(cat code)" 74
same "lines after a closed pipe: $(cat err)" "$(wc -l <err)" 1
grep -q "standard output: Broken pipe" err || fail "$(cat err)"

# A checkpoint that was moved away from its run needs to be told what images are normalised by.
mkdir lonely
cp -r "$newest" lonely
predict other "lonely/$(basename "$newest")" "$data" --lambda 0.05 --rule end
