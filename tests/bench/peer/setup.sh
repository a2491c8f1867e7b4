#!/usr/bin/env bash
# Installs the PyTorch builds that `make bench` compares with, and says what is there.
#
#     tests/bench/peer/setup.sh OUT_DIR        (about 3 minutes and 5.2 GB; again: seconds)
#
#   OUT_DIR/official  a virtual environment with the package index's own torch and numpy.
#                     That torch is the CUDA build: it runs on the CPU, with MKL and oneDNN,
#                     but cannot be imported without the CUDA libraries it is linked to.
#                     Triton and the CUDA bindings, 1 GB, only serve GPUs and are left out.
#   OUT_DIR/debian    /usr/bin/python3 under a name beside the other, if Debian's
#                     python3-torch is or can be installed (root is needed for that).
#
# Either may be missing at the end: a machine without a network has none. Exit status 0 if
# at least one works, 1 if none does, 2 for a wrong call. Use them as OUT_DIR/*/bin/python.
set -euo pipefail

if [[ $# -ne 1 ]]; then
    echo "usage: $0 OUT_DIR" >&2
    exit 2
fi
mkdir -p "$1"
out_dir=$(cd "$1" && pwd)

works() {
    "$1" -c 'import numpy, torch; torch.ones(2, 2) @ torch.ones(2, 2)' 2>/dev/null
}

# What torch asks for, without the packages that only a GPU uses.
torch_requirements() {
    "$1" - <<'PYTHON'
import re
from importlib.metadata import requires

from pip._vendor.packaging.requirements import Requirement

for line in requires("torch") or []:
    wanted = Requirement(line)
    unused = re.fullmatch(r"triton|cuda-bindings", wanted.name)
    if not unused and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
        wanted.marker = None
        print(wanted)
PYTHON
}

install_official() {
    local python=$out_dir/official/bin/python
    if works "$python"; then
        return
    fi
    rm -rf "$out_dir/official"
    python3 -m venv "$out_dir/official" || return 1
    local pip=("$python" -m pip install --quiet --no-cache-dir --no-warn-conflicts)
    "${pip[@]}" --no-deps torch || return 1
    torch_requirements "$python" >"$out_dir/official/requirements.txt" || return 1
    "${pip[@]}" numpy --requirement "$out_dir/official/requirements.txt" || return 1
    works "$python"
}

# Without an optimised BLAS the package falls back on the reference one, ten times slower.
install_debian() {
    if ! works /usr/bin/python3 || [[ $(ldconfig -p) != *libopenblas.so.0* ]]; then
        [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null || return 1
        local packages=(python3-torch python3-numpy libopenblas0-pthread)
        local get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
        if ! "${get[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1; then
            "${get[@]}" update >/dev/null || return 1
            "${get[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null || return 1
        fi
    fi
    works /usr/bin/python3 || return 1
    mkdir -p "$out_dir/debian/bin"
    ln -sfn /usr/bin/python3 "$out_dir/debian/bin/python"
}

describe() {
    local size
    size=$(du -shL "$out_dir/$1" 2>/dev/null | cut -f1)
    [[ $1 != debian ]] || size=$(dpkg-query -W -f '${Installed-Size}\n' libtorch1.13 python3-torch \
        2>/dev/null | awk '{kib += $1} END {printf "%dM, its dependencies apart", kib / 1024}')
    "$out_dir/$1/bin/python" - "$1" "$size" <<'PYTHON'
import platform
import sys

import numpy
import torch

shown = torch.__config__.show()
blas = [part for part in shown.replace(",", " ").split() if part.startswith("BLAS_INFO=")]
gloo = torch.distributed.is_available() and hasattr(torch.distributed, "ProcessGroupGloo")
print(f"{sys.argv[1]}: torch {torch.__version__}, python {platform.python_version()}, "
      f"numpy {numpy.__version__}, {' '.join(blas)}, gloo {'yes' if gloo else 'no'}, {sys.argv[2]}")
for line in shown.splitlines():
    if "Math Kernel" in line or "MKL-DNN" in line or "CPU capability" in line:
        print("   ", line.strip(" -"))
PYTHON
}

found=0
for build in official debian; do
    start=$SECONDS
    if "install_$build"; then
        describe "$build"
        echo "    ready after $((SECONDS - start)) s"
        found=1
    else
        echo "$build: not available" >&2
    fi
done
((found)) || exit 1
