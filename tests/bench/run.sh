#!/bin/sh
# make bench: the program's kernels by themselves, the program beside PyTorch, which is installed
# into build/peer when it is missing (some gigabytes), and snapshots. `run.sh snapshots` takes those
# alone. Tables go to stdout, all figures to build/bench*.json. ROUNDS=5 alternated rounds;
# PEERS=none leaves PyTorch out.
set -eu
cd "$(dirname "$0")/../.."
bin=build/release/tests/bench
what=${1:-all}
peers=

cmake --preset release
cmake --build --preset release --target bench_kern_linear bench_kern_rows bench_train bench_snap \
    bench_snap_step offramp
echo "machine: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) cores," \
    "load $(cut -d' ' -f1-3 /proc/loadavg), $(date -u +%Y-%m-%dT%H:%MZ)"
build/release/offramp --version
if [ "${PEERS:-all}" != none ]; then
    tests/bench/peer/setup.sh build/peer
    for python in build/peer/*/bin/python; do
        name=${python#build/peer/}
        peers="$peers --peer ${name%%/*}=$python"
    done
fi
if [ "$what" != snapshots ]; then
    echo
    "$bin/bench_kern_linear"
    echo
    "$bin/bench_kern_rows"
    echo
    # shellcheck disable=SC2086 # one word a peer
    python3 tests/bench/compare.py --offramp "$bin/bench_train" --rounds "${ROUNDS:-5}" \
        --json build/bench.json $peers
fi
echo
# shellcheck disable=SC2086
python3 tests/bench/snapshots.py --bin "$bin" --rounds "${ROUNDS:-5}" \
    --json build/bench_snapshots.json $peers
