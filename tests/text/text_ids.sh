#!/bin/sh
# text_ids.sh SOURCE PROGRAM SCRATCH: ids of both tokenizers against Hugging Face's own, on the hard cases, on
# 10,000 glosses of WordNet, and on random texts: with MiniLM's vocabulary, with the settings that change how
# text is cleaned, and with a byte-level BPE that is trained here. Makes a virtual environment beside SCRATCH,
# which a later run uses again. Skipped, and says why, where PyPI or a package cannot be had.
source=$1 program=$2 scratch=$3
. "$source/tests/support/shell_run.sh"
packages='tokenizers==0.23.3 transformers==5.24.0'
venv=$scratch.venv
python=$venv/bin/python
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONDONTWRITEBYTECODE=1

skip() {
    echo "SKIPPED: $*" >&2
    exit 77
}

works() {
    "$python" -c 'import tokenizers, transformers' >log 2>&1
}

command -v python3 >/dev/null || skip "python3 is missing; apt-get install python3 python3-venv"
if ! works; then
    rm -rf "$venv"
    python3 -m venv "$venv" >log 2>&1 || skip "python3 -m venv: $(tail -n 1 log)"
    # shellcheck disable=SC2086 # one word a package
    "$venv/bin/pip" install --quiet --no-input --retries 2 --timeout 30 $packages >log 2>&1 ||
        skip "pip install $packages: $(tail -n 1 log)"
    works || fail "transformers is installed but cannot be imported: $(tail -n 1 log)"
fi

"$source/launch/recipes/wordnet_data.sh" wordnet || skip "no glosses of WordNet"
head -n 10000 wordnet/train.tsv | cut -f 2 >glosses.txt
same "glosses" "$(($(wc -l <glosses.txt)))" 10000
golden=$source/tests/golden/text
cp "$golden/hard_cases.txt" .
"$python" "$source/tests/text/text_random.py" 5000 7 >random.txt

# The small vocabulary is there without a network: every way of cleaning.
jobs=
small() { # NAME SETTINGS
    mkdir "$1"
    cp "$golden/vocab.txt" "$1"
    echo "$2" >"$1/tokenizer_config.json"
    jobs="$jobs $1:512:hard_cases.txt:random.txt"
}
small default '{}'
small cased '{"do_lower_case": false}'
small accents '{"strip_accents": false}'
small ideographs '{"tokenize_chinese_chars": false}'
small cased_stripped '{"do_lower_case": false, "strip_accents": true}'

TOKENIZERS_PYTHON=$python "$source/launch/recipes/bpe_tokenizer.sh" bpe 6000 glosses.txt /usr/share/common-licenses/*
jobs="$jobs bpe:1024:hard_cases.txt:glosses.txt:random.txt bpe:7:hard_cases.txt:random.txt"

status=0
"$source/launch/recipes/minilm_model.sh" "$scratch.minilm" || status=$?
if [ $status = 0 ]; then
    ln -s "$scratch.minilm" minilm
    jobs="$jobs minilm:512:hard_cases.txt:glosses.txt:random.txt minilm:8:hard_cases.txt:glosses.txt"
fi
# shellcheck disable=SC2086 # one word a job
"$python" "$source/tests/text/text_compare.py" "$program" $jobs 2>log || fail "ids differ; $(tail -n 1 log)"
[ $status != 77 ] || skip "all but MiniLM's vocabulary was compared"
same "minilm_model.sh" $status 0
