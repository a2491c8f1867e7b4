#!/bin/sh
# What a person gets wrong is told in one line of ours that names the place and the cure, with
# the documented exit code, and leaves no checkpoint for a later run to trust.
. "$(dirname "$0")/cli_run.sh"

ranks=1

# judge CODE FOUND PATTERN: what the last command, whose messages are in `err`, should have done.
judge() {
    same "exit code ($3)" "$2" "$1"
    same "lines of ours ($3: $(cat err))" "$(grep -c '^offramp' err)" 1
    grep -Eq "^offramp.*$3" err || fail "'$3' is not in: $(cat err)"
    if grep -v '^offramp' err | grep -q .; then
        [ "$ranks" != 1 ] || fail "more than one line: $(cat err)"
    fi
    for checkpoint in out/checkpoint-*; do
        [ ! -e "$checkpoint" ] || fail "$checkpoint was left behind ($3)"
    done
    if [ -e out/summary.json ]; then
        same "verdict ($3)" "$(value out/summary.json verdict)" failed
        same "exit code in the summary ($3)" "$(value out/summary.json exit_code)" "$1"
    fi
    rm -rf out
}

# refuse CODE PATTERN [ARGUMENT...]: training with these arguments besides the good ones.
refuse() {
    want=$1
    pattern=$2
    shift 2
    code=0
    on "$ranks" "$offramp" train "$tiny" --output-dir out --set data_dir="$data" "$@" \
        >said 2>err || code=$?
    judge "$want" $code "$pattern"
}

# Settings.
refuse 78 'num_hiden_layers.*did you mean num_hidden_layers' --set num_hiden_layers=2
refuse 78 'num_steps is "ten", it must be a whole number' --set num_steps=ten
refuse 78 'learning_rate is -1, it must lie in 0' --set learning_rate=-1
refuse 78 'patch_size 5 does not divide image_size 28' --set patch_size=5
refuse 78 'no exit can stand behind layer 3 of 3' --set 'exit_layers=[3]'
refuse 78 'stage 1 .backbone.*gradient_accumulation_steps is 3.*is 8 passes' \
    --set gradient_accumulation_steps=3
refuse 2 'bare: it must be KEY=VALUE' --set bare
OFFRAMP_LERNING_RATE=1 refuse 78 'OFFRAMP_LERNING_RATE is no setting: did you mean learning_rate'
refuse 66 'resume_from_checkpoint /nowhere' --set resume_from_checkpoint=/nowhere
ranks=3
refuse 78 '3 ranks cannot share a train_batch_size of 8' --set train_batch_size=8 \
    --set per_device_train_batch_size=1
ranks=1
OFFRAMP_LEARNING_RATE=fast refuse 78 'environment: learning_rate is "fast"'
OFFRAMP_FAULT=nonsense refuse 2 'OFFRAMP_FAULT.*(is not POINT@RANK|no fault points)'

# A stage that comes late is looked at before the first one is trained.
good=$tiny
sed 's/- stage: joint/&\n    train_batch_size: 30/' "$good" >late.yaml
tiny=late.yaml
refuse 78 'stage 4 .joint.*train_batch_size of 30'

# Files of settings.
for wrong in 's/hidden_size/hiden_size/' 's/^lambdas:.*/lambdas: {a: 1}/' 's/^stages:/stages: 3/' \
    's/^hidden_size:/num_hidden_layers: 2\n&/'; do
    sed "$wrong" "$good" >wrong.yaml
    tiny=wrong.yaml
    refuse 78 'wrong.yaml: line'
done
sed 's/^num_steps: .*/num_steps: ten/' "$good" >wrong.yaml
refuse 78 'wrong.yaml: line 19: num_steps is "ten"'
sed 's/- stage: joint/- stage: jont/' "$good" >wrong.yaml
refuse 78 'wrong.yaml: .*"jont".* backbone, exits or joint'
head -c 500 "$offramp" >wrong.yaml
refuse 78 'wrong.yaml'
tiny=/nowhere/at.yaml
refuse 66 '/nowhere/at.yaml: open: No such file'
tiny=$good

# Data.
refuse 66 '/nowhere/train-images.*data_dir' --set data_dir=/nowhere
for file in train-images-idx3-ubyte t10k-labels-idx1-ubyte; do
    cp -r "$data" cut
    head -c 300 "$data/$file" >cut/$file
    refuse 65 "cut/$file: truncated" --set data_dir=cut
    head -c 300 "$offramp" >cut/$file
    refuse 65 "cut/$file" --set data_dir=cut
    rm -r cut
done

# Weights to start from.
train_well 1 start --max-steps 0
weights() { # weights HEADER DATA_BYTES: a file model.safetensors with that header
    bytes=$(printf %s "$1" | wc -c)
    # shellcheck disable=SC2059
    printf "\\$(printf %03o $((bytes % 256)))\\$(printf %03o $((bytes / 256)))\\0\\0\\0\\0\\0\\0" \
        >bad/model.safetensors
    printf %s "$1" >>bad/model.safetensors
    head -c "$2" /dev/zero >>bad/model.safetensors
}
cp -r start/checkpoint-0 bad
at='"dtype":"F32","shape":[1],"data_offsets"'
weights "{\"a\":{$at:[0,4]},\"b\":{$at:[0,4]}}" 4
refuse 65 'init_from: bad/model.safetensors: .*overlap' --set init_from=bad
weights "{\"a\":{$at:[0,4]}}" 4
refuse 65 'bad/model.safetensors: [0-9]* tensors are missing: vit.embeddings.cls_token, vit' \
    --set init_from=bad
printf '\377\377\377\377\377\377\377\177{}' >bad/model.safetensors
refuse 65 'bad/model.safetensors: .*header' --set init_from=bad
head -c 5000 start/checkpoint-0/model.safetensors >bad/model.safetensors
refuse 65 'bad/model.safetensors' --set init_from=bad
cp start/checkpoint-0/model.safetensors bad
sed 's/"hidden_size": 32/"hidden_size": 16/' start/checkpoint-0/config.json >bad/config.json
refuse 65 'model.safetensors: tensor vit.embeddings.cls_token is F32 \[1, 1, 32\].*\[1, 1, 16\]' \
    --set init_from=bad
sed 's/"vit"/"t5"/' start/checkpoint-0/config.json >bad/config.json
refuse 78 'bad/config.json: model_type t5 is not implemented, vit, deit, bert and gpt2 are' \
    --set init_from=bad
sed 's/"vit"/"bert"/' start/checkpoint-0/config.json >bad/config.json
refuse 65 'bad/config.json: vocab_size: found nothing' --set init_from=bad
echo '{"model_type": "vit"' >bad/config.json
refuse 65 'bad/config.json' --set init_from=bad
refuse 66 'init_from: /nowhere' --set init_from=/nowhere

# A learning rate that no network survives: told, and not to be tried again.
refuse_unstable() {
    code=0
    on $ranks "$offramp" train "$tiny" --output-dir out --set data_dir="$data" --set optim=sgd \
        --set max_grad_norm=0 --set learning_rate=100 "$@" >said 2>err || code=$?
}
refuse_unstable
judge 93 $code 'stage 1 .backbone.*NaN or infinite: a lower learning_rate'
ranks=2
refuse_unstable
judge 93 $code 'NaN or infinite: a lower learning_rate'
ranks=1
refuse_unstable --set save_steps=1
same "exit code" $code 93
for checkpoint in out/checkpoint-*; do # whatever was kept is whole, finite and loads
    "$offramp" verify "$checkpoint" >/dev/null || fail "$checkpoint is not valid"
    cp -r "$checkpoint" finite
    "$offramp" train "$tiny" --output-dir again --set data_dir="$data" --max-steps 0 \
        --set init_from=finite --set num_steps=0 >said 2>err || [ $? = 93 ] || fail "$(cat err)"
    rm -rf finite again
done
rm -rf out

# An output folder that cannot be one.
echo in the way >out.file
for folder in out.file out.file/deeper; do
    code=0
    "$offramp" train "$tiny" --output-dir $folder --set data_dir="$data" >said 2>err || code=$?
    judge 74 $code "output_dir: $folder"
done
same "the file in the way" "$(cat out.file)" "in the way"
code=0
"$offramp" train "$tiny" --set data_dir="$data" >said 2>err || code=$?
judge 78 $code 'output_dir is not set: give --output-dir'

# Commands.
for command in frobnicate Train --bogus; do
    code=0
    "$offramp" $command >said 2>err || code=$?
    judge 2 $code "$command is no command"
done
code=0
"$offramp" >said 2>err || code=$?
same "exit code without a command" $code 2
for command in train eval config; do
    "$offramp" $command --help | grep -q "Usage: offramp $command" || fail "no help of $command"
    code=0
    "$offramp" $command --bogus >said 2>err || code=$?
    same "exit code of $command --bogus" $code 2
    grep -q "^offramp $command: .*--bogus" err || fail "$(cat err)"
done

# N ranks that were called alike speak with one voice; ranks that were not are refused.
for command in "train --bogus" "train" "eval $scratch/nowhere"; do
    # shellcheck disable=SC2086
    on 2 "$offramp" $command >said 2>err && fail "offramp $command went well"
    same "lines of ours (offramp $command)" "$(grep -c '^offramp' err)" 1
done
code=0
mpirun --oversubscribe -n 1 "$offramp" train "$tiny" --output-dir out --set data_dir="$data" : \
    -n 1 env OFFRAMP_SEED=7 "$offramp" train "$tiny" --output-dir out --set data_dir="$data" \
    >said 2>err || code=$?
judge 78 $code 'the settings of rank 1 differ from those of rank 0'

code=0
mkdir empty
"$offramp" eval empty >said 2>err || code=$?
judge 66 $code 'empty: no checkpoint there'
code=0
"$offramp" verify empty >said 2>err || code=$?
judge 66 $code 'empty/manifest.json'
