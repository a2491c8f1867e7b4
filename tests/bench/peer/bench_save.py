#!/usr/bin/env python3
"""How long torch.save() of a state to memory holds a step up: prints one line of JSON.

    bench_save.py --megabytes 100 --saves 5

The state is --megabytes * 10^6 bytes of float32 in tensors of at most 4 MB, in a dictionary, as
weights and moments are. It is saved again and again under one name in /dev/shm, in one thread;
the first two saves do not count. Run it with the Python whose PyTorch is to be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"

import torch  # noqa: E402  (after its number of threads)

TENSOR_FLOATS = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, required=True)
    parser.add_argument("--saves", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    left = arguments.megabytes * 1_000_000 // 4
    state = {}
    while left > 0:
        count = min(left, TENSOR_FLOATS)
        state[f"tensor.{len(state)}"] = torch.rand(count)
        left -= count
    save_ms, cpu_s = [], []
    with tempfile.TemporaryDirectory(prefix="bench_save.", dir="/dev/shm") as folder:
        for turn in range(arguments.saves + 2):
            for tensor in state.values():
                tensor.mul_(0.9999).add_(0.0001)
            start, cpu = time.perf_counter(), time.process_time()
            torch.save(state, os.path.join(folder, "state.pt"))
            if turn >= 2:
                save_ms.append(1e3 * (time.perf_counter() - start))
                cpu_s.append(time.process_time() - cpu)
    gib = arguments.megabytes * 1e6 / 2**30
    print(json.dumps({"torch": torch.__version__, "save_ms": save_ms,
                      "cpu_s_per_gib": sum(cpu_s) / len(cpu_s) / gib}))


if __name__ == "__main__":
    main()
