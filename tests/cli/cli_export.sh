#!/bin/sh
# `offramp export`: which files there are, what thresholds come along, and every wrong call, with nothing left of it.
. "$(dirname "$0")/cli_run.sh"

export_to() { # export_to CODE DIR ARGUMENT...
    expected=$1
    dir=$2
    shift 2
    code=0
    "$offramp" export "$@" --output-dir "$dir" >said 2>err || code=$?
    same "code of export $*: $(cat said err)" "$code" "$expected"
    [ ! -e "$dir.partial" ] || fail "$dir.partial is left"
}
refused() { # refused CODE PATTERN ARGUMENT...: one line on stderr, that line, and no folder
    wanted=$1
    pattern=$2
    shift 2
    export_to "$wanted" none "$@"
    same "lines on stderr: $(cat err)" "$(wc -l <err)" 1
    grep -Eq "^offramp: .*$pattern" err || fail "no '$pattern' in: $(cat err)"
    [ ! -e none ] || fail "a folder after: $*"
}
files_of() {
    (cd "$1" && find . -type f | sort | tr '\n' ' ')
}
policies_of() { # their names, of all lambdas
    sed -n 's/^ *"policy": "\(.*\)",$/\1/p' "$1/exits.json" | tr '\n' ' '
}

train_well 1 run --set num_steps=30 --set timing_samples=0
newest=$(find run -name 'checkpoint-*' | sort -t- -k2n | tail -n 1)

# Wrong calls.
for arguments in "" "run" "run run --output-dir none" "run --output-dir none --format tf" \
    "run --output-dir none --lambda much" "run --output-dir none --lambda -1" "run --output-dir none --outptu x"; do
    code=0
    # shellcheck disable=SC2086
    "$offramp" export $arguments >said 2>err || code=$?
    same "code of export $arguments" $code 2
done
refused 66 "nowhere is not there" nowhere
refused 66 "no checkpoint there" "$data"
refused 78 "2 lambdas.*--lambda" run
refused 78 "no lambda 0.3: it has 0.05, 0.4" run --lambda 0.3
refused 66 "policy nonesuch for lambda 0.05: they are not in run/summary.json" run --lambda 0.05 --policy nonesuch
refused 66 "policy gate.*no results of this step" run/checkpoint-20 --lambda 0.05 --policy gate
refused 66 "nowhere.json" run --lambda 0.05 --results nowhere.json

# One lambda, everything; nothing is written over.
export_to 0 all run --lambda 0.4
same "said" "$(cat said)" "all: step 120 of $newest"
same "files" "$(files_of all)" "./config.json ./exits.json ./exits.safetensors ./model.safetensors ./onnx/all_exits.onnx ./onnx/stage_0.onnx ./onnx/stage_1.onnx ./onnx/stage_2.onnx ./preprocessor_config.json "
same "policies" "$(policies_of all)" "gate threshold "
same "lambdas" "$(grep -c '"lambda"' all/exits.json)" 1
cmp all/model.safetensors "$newest/model.safetensors" || fail "the backbone differs"
grep -q "exits.0.layer.0.gate.out.weight" all/exits.safetensors || fail "no gate"
! grep -q "exits.1." all/exits.safetensors || fail "exits of another lambda"
export_to 78 all run --lambda 0.4
grep -q "all is not empty" err || fail "$(cat err)"
mkdir empty
export_to 0 empty/ run --lambda 0.4 --format onnx --policy threshold
same "files of onnx" "$(files_of empty)" "./exits.json ./onnx/all_exits.onnx ./onnx/stage_0.onnx ./onnx/stage_1.onnx ./onnx/stage_2.onnx "
same "policies of --policy" "$(policies_of empty)" "threshold "
cmp empty/onnx/stage_1.onnx all/onnx/stage_1.onnx || fail "an export is not like the other"

# All lambdas; of an older checkpoint, whose results nobody has, and with some.
export_to 0 deep/hf run/ --format hf
same "files of hf" "$(files_of deep/hf)" "./config.json ./exits.json ./exits.safetensors ./model.safetensors ./preprocessor_config.json "
same "policies of all lambdas" "$(policies_of deep/hf)" "gate threshold gate threshold "
cmp deep/hf/exits.safetensors "$newest/exits.safetensors" || fail "exits of all lambdas differ from the checkpoint's"
export_to 0 older run/checkpoint-100 --format hf
same "policies of an older checkpoint" "$(policies_of older)" ""
"$offramp" eval run --json results.json >said 2>&1 || fail "$(cat said)"
export_to 0 with_results "$newest" --format hf --results results.json --policy gate
same "policies of a file" "$(policies_of with_results)" "gate gate "

# The folder is one to start from.
train_well 1 next --set init_from=deep/hf --set num_steps=1 --set timing_samples=0

# What is damaged, or of other exits.
train_well 1 other --set num_steps=5 --set timing_samples=0 --set exit_layers=2
refused 65 "results.json: policy gate has 2 thresholds, other/checkpoint-20 has 1 exits" other --lambda 0.05 \
    --results results.json
printf '{"lambdas": [' >broken.json
refused 65 "broken.json: line 1" run --lambda 0.05 --results broken.json
flip "$newest/exits.safetensors" 2000
refused 65 "exits.safetensors" "$newest" --lambda 0.05
flip "$newest/exits.safetensors" 2000
: >file
export_to 74 file/under run --lambda 0.05
export_to 74 file run --lambda 0.05

# Without exits there is nothing.
sed '/^stages:/,$d' "$tiny" >alone.yaml
"$offramp" train alone.yaml --output-dir alone --set data_dir="$data" --set num_steps=5 >said 2>&1 || fail "$(cat said)"
refused 78 "no exits.safetensors" alone
