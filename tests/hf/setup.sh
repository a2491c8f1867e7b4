#!/bin/sh
# setup.sh FOLDER: a virtual environment with PyTorch and transformers; prints its interpreter.
#
# PyTorch is Debian's (python3-torch) if it is installed, else the package index's own, which is some
# gigabytes and therefore taken only with HF_PYTORCH=download. OFFRAMP_HF_PYTHON names an
# interpreter that has both. Exit status 77 if they cannot be had, with a line that says why.
set -eu
folder=$1
python=$folder/bin/python

works() {
    "$1" -c 'import torch, transformers, safetensors' 2>/dev/null
}

if [ -n "${OFFRAMP_HF_PYTHON-}" ]; then
    works "$OFFRAMP_HF_PYTHON" || {
        echo "OFFRAMP_HF_PYTHON $OFFRAMP_HF_PYTHON has no torch, transformers and safetensors" >&2
        exit 1
    }
    echo "$OFFRAMP_HF_PYTHON"
    exit 0
fi
if works "$python"; then
    echo "$python"
    exit 0
fi
rm -rf "$folder"
pip="$python -m pip install --quiet --timeout 15 --retries 1 --disable-pip-version-check"
if /usr/bin/python3 -c 'import torch' 2>/dev/null; then
    # transformers 4.40 is the last that goes with PyTorch 1.13.
    /usr/bin/python3 -m venv --system-site-packages "$folder" >&2 &&
        $pip 'transformers==4.40.2' safetensors >&2 || true
elif [ "${HF_PYTORCH-}" = download ]; then
    python3 -m venv "$folder" >&2 && $pip torch transformers safetensors >&2 || true
else
    echo "SKIPPED: no python3-torch here; install it, or set HF_PYTORCH=download (gigabytes)" >&2
    exit 77
fi
works "$python" || {
    echo "SKIPPED: transformers cannot be had from the package index" >&2
    exit 77
}
echo "$python"
