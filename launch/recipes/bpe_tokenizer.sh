#!/bin/sh
# bpe_tokenizer.sh OUT SIZE FILE...: GPT-2's kind of tokenizer, of SIZE tokens, trained on the FILEs:
# OUT/vocab.json and OUT/merges.txt. By the package tokenizers of PyPI, in a virtual environment of its own; the
# same bytes for the same files. TOKENIZERS_PYTHON names a python that has the package already.
#
# Exit codes: 0; 2 command line; 65 it cannot be trained on the files; 74 OUT cannot be written; 77 the package
# cannot be had here (no network, no python3): a test then skips.
set -eu
package='tokenizers==0.23.3'

if [ $# -lt 3 ]; then
    echo "usage: bpe_tokenizer.sh OUT SIZE FILE..." >&2
    exit 2
fi
out=$1 size=$2
shift 2
skip() {
    echo "bpe_tokenizer: SKIPPED: $*" >&2
    exit 77
}

mkdir -p "$out" || exit 74
made=$(mktemp -d "$out/.bpe.XXXXXX") || exit 74
trap 'rm -rf "$made"' EXIT
trap 'exit 1' HUP INT TERM
python=${TOKENIZERS_PYTHON:-$made/venv/bin/python}
if [ -z "${TOKENIZERS_PYTHON:-}" ]; then
    command -v python3 >/dev/null || skip "python3 is missing; apt-get install python3 python3-venv"
    python3 -m venv "$made/venv" >"$made/log" 2>&1 ||
        skip "python3 -m venv: $(tail -n 1 "$made/log"); apt-get install python3-venv"
    "$made/venv/bin/pip" install --quiet --no-input --retries 2 --timeout 30 --only-binary :all: "$package" \
        >"$made/log" 2>&1 || skip "pip install $package: $(tail -n 1 "$made/log")"
fi
"$python" - "$made" "$size" "$@" 2>"$made/log" <<'PYTHON' || {
import sys

from tokenizers import ByteLevelBPETokenizer

out, size, *paths = sys.argv[1:]
texts = [open(path, encoding="utf-8", errors="replace").read() for path in paths]
tokenizer = ByteLevelBPETokenizer()
tokenizer.train_from_iterator(
    texts, vocab_size=int(size), min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False
)
tokenizer.save_model(out)
PYTHON
    echo "bpe_tokenizer: $(tail -n 1 "$made/log")" >&2
    exit 65
}
mv "$made/vocab.json" "$made/merges.txt" "$out" || exit 74
echo "$out: a tokenizer of $size tokens"
