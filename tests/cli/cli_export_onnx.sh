#!/bin/sh
# ONNX models of `offramp export`: checked by onnx, run by onnxruntime against numpy and against what the
# evaluation said of the same images, by stages and all at once, for kinds of heads, gates and scores.
. "$(dirname "$0")/cli_run.sh"

check="$(dirname "$self")/export_onnx_check.py"
document="$(dirname "$self")/../../docs/export.md"
environment=$scratch/../onnx_environment
python=$environment/bin/python
if ! "$python" -c 'import numpy, onnx, onnxruntime, safetensors' 2>/dev/null; then
    rm -rf "$environment"
    if ! { python3 -m venv "$environment" &&
        timeout 400 "$environment/bin/pip" -q install numpy onnx onnxruntime safetensors; } >pip.out 2>&1; then
        rm -rf "$environment"
        echo "SKIPPED: no onnxruntime from PyPI: $(tail -n 1 pip.out)" >&2
        exit 77
    fi
fi

short="--set num_steps=30 --set save_steps=0 --set hash_steps=0 --set timing_samples=0"
exported() { # exported NAME LAMBDA [ARGUMENT...]: trains, exports, checks
    name=$1
    lambda=$2
    shift 2
    # shellcheck disable=SC2086
    train_well 1 "$name" $short "$@"
    "$offramp" export "$name" --output-dir "$name.export" --lambda "$lambda" >said 2>&1 || fail "$name: $(cat said)"
    PYTHONDONTWRITEBYTECODE=1 "$python" "$check" "$name.export" "$name/summary.json" "$data" ${example:+"$example"} ||
        fail "$name: see above"
}
example=$document
exported plain 0.05
exported cheap 0.4
example=
exported direct 0.4 --set exit_form=direct --set gate_target=cumulative --set exit_gate=linear \
    --set exit_head=norm_mlp --set hidden_act=gelu --set exit_head_hidden=24
exported mean 0.05 --set pooling=mean --set exit_loss=uncertainty --set exit_head=linear --set exit_layers=2
exported hidden 0.4 --set exit_loss=palbert --set num_hidden_layers=4 --set exit_layers=1,3
exported shared 0.05 --set exit_loss=berxit
exported boosted 0.05 --set exit_loss=boosted
exported ponder 0.05 --set exit_loss=pondernet
exported ensemble 0.05 --set exit_loss=zero_time_waste --set num_hidden_layers=4
exported cascaded 0.4 --set exit_loss=zero_time_waste --set exit_gate=none

# A second token that is no patch: read by nobody, or in the mean of all but the first.
"$python" "$(dirname "$self")/export_deit.py" "plain/$(cat plain/latest)" deit_made || fail "no DeiT"
exported deit 0.05 --set init_from=deit_made
mv deit_made/config.json config.json
sed 's/"offramp_pooling": "cls"/"offramp_pooling": "mean"/' config.json >deit_made/config.json
exported deit_mean 0.4 --set init_from=deit_made

# Texts: three classes, told by a word of their own among others, of 2 to 21 words.
mkdir texts words
awk 'BEGIN {
    srand(7)
    for (i = 0; i < 900; i++) {
        class = int(3 * rand())
        text = "c" class
        for (w = 1 + int(20 * rand()); w > 0; w--) text = text " w" int(40 * rand())
        print "class" class "\t" text >("texts/" (i < 700 ? "train" : "test") ".tsv")
    }
    printf "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nc0\nc1\nc2\n" >"words/vocab.txt"
    for (w = 0; w < 40; w++) print "w" w >"words/vocab.txt"
}'
data=texts
text="--set data_format=text --set tokenizer=words --set max_seq_length=24 --set model_type=bert
    --set layer_norm_eps=1e-12 --set backbone.augment_pad=0 --set joint.augment_pad=0
    --set backbone.augment_flip=false --set exits.augment_flip=false"
# shellcheck disable=SC2086
{
    exported bert_mean 0.05 $text --set pooling=mean --set hidden_act=gelu
    exported bert_cls 0.4 $text --set pooling=cls --set exit_loss=palbert
}
