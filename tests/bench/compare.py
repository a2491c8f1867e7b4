#!/usr/bin/env python3
"""offramp beside PyTorch, alternated: the tables of `make bench`.

    compare.py --offramp BUILD/tests/bench/bench_train --peer NAME=PYTHON [...] [--rounds 5]

Every round runs each program once, one after the other, so that a machine whose speed
wanders does so under all of them; a ratio is taken within a round, and the table gives the
median of the rounds' ratios with the least and the most. One thread a process, each on a
core of its own. PyTorch's figure of a round is the faster of the installed builds; it
computes the same model (tanh GELU, all rows of the last layer), in its fastest settings
otherwise (bench_peer.py).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MICRO = {"train": 16, "fwd": 16, "frozen": 16, "cached": 64}  # images of a pass of ours
MPIRUN = ["mpirun", "--bind-to", "core", "--mca", "mpi_yield_when_idle", "1", "-n"]


@dataclass
class Case:
    name: str
    mode: str
    layers: int
    width: int
    heads: int
    ranks: int
    target: float  # least ratio to the faster PyTorch


CASES = [
    Case("train, 6 layers of 128, 1 rank", "train", 6, 128, 4, 1, 1.5),
    Case("train, 6 layers of 128, 2 ranks", "train", 6, 128, 4, 2, 1.8),
    Case("forward, 6 layers of 128, 1 rank", "fwd", 6, 128, 4, 1, 1.8),
    Case("train, 7 layers of 192, 1 rank", "train", 7, 192, 6, 1, 1.4),
    Case("train, 7 layers of 192, 2 ranks", "train", 7, 192, 6, 2, 1.4),
]


def run_json(command: list[str], tries: int = 1) -> dict:
    """The last line of a program's output, which is its record."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    environment.pop("OPENBLAS_CORETYPE", None)
    if os.geteuid() == 0:
        environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    for _ in range(tries):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
        if done.returncode == 0:
            break
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_offramp(program: str, case: Case, last_layer: str, steps: int, matmul: str = "auto") -> dict:
    arguments = [case.mode, case.layers, case.width, case.heads, MICRO[case.mode], 2, steps, matmul, last_layer]
    return run_json(MPIRUN + [str(case.ranks), program] + [str(a) for a in arguments])


def run_peer(python: str, case: Case, steps: int) -> dict:
    arguments = ["--mode", case.mode, "--depth", case.layers, "--width", case.width, "--heads",
                 case.heads, "--ddp", case.ranks, "--rounds", 2, "--steps", steps, "--gelu", "tanh"]
    # Now and then a gloo process aborts when it ends ("terminate called without an active exception").
    return run_json([python, str(HERE / "peer" / "bench_peer.py")] + [str(a) for a in arguments],
                    tries=3)


def spread(values: list[float], digits: int) -> str:
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}-{max(values):.{digits}f})")


def compare(case: Case, program: str, peers: dict[str, str], rounds: int) -> dict:
    steps = 2 if case.mode == "train" else 6
    ours, cls_only, shares, best, ratios, memory = [], [], [], [], [], []
    for _ in range(rounds):
        record = run_offramp(program, case, "full", steps)
        theirs = {name: run_peer(python, case, steps) for name, python in peers.items()}
        fastest = max(theirs.values(), key=lambda r: r["img_s_median"])
        ours.append(record["img_s_median"])
        shares.append(record["peak_share"])
        cls_only.append(run_offramp(program, case, "cls", steps)["img_s_median"])
        best.append(fastest["img_s_median"])
        ratios.append(record["img_s_median"] / fastest["img_s_median"])
        memory.append(record["peak_rss_mib"] / fastest["peak_rss_mib"])
    met = "met" if statistics.median(ratios) >= case.target else "MISSED"
    print(f"| {case.name} | {spread(ours, 0)} | {spread(best, 0)} | {spread(ratios, 2)} | "
          f"{case.target} {met} | {spread(shares, 2)} | {spread(memory, 2)} | "
          f"{spread(cls_only, 0)} |", flush=True)
    return {"case": case.name, "ours": ours, "peer": best, "ratios": ratios, "peak_share": shares,
            "memory_ratio": memory, "cls_only": cls_only}


def compare_exits(program: str, rounds: int) -> dict:
    """Training of exit heads and gates on stored features, beside running the backbone."""
    rates: dict[str, list[float]] = {"frozen": [], "cached": []}
    for _ in range(rounds):
        for mode, values in rates.items():
            case = Case(mode, mode, 6, 128, 4, 1, 0)
            values.append(run_offramp(program, case, "cls", 100 if mode == "cached" else 4)
                          ["img_s_median"])
    ratios = [c / f for c, f in zip(rates["cached"], rates["frozen"])]
    print(f"\nexit training, 5 exits, 1 lambda, images/s: backbone in every step "
          f"{spread(rates['frozen'], 0)}; stored features {spread(rates['cached'], 0)}; ratio "
          f"{spread(ratios, 0)}, target 100 "
          f"{'met' if statistics.median(ratios) >= 100 else 'MISSED'}")
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offramp", required=True, help="the program bench_train")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write all figures there")
    arguments = parser.parse_args()
    peers = dict(peer.split("=", 1) for peer in arguments.peer)
    results = []
    if peers:
        print("images/s, median (least-most) of", arguments.rounds, "alternated rounds; peers:",
              ", ".join(peers))
        print("\n| work | offramp | faster PyTorch | ratio | target | share of FMA peak | "
              "memory of a rank | offramp, last layer cls only |\n|---|---|---|---|---|---|---|---|")
        results = [compare(case, arguments.offramp, peers, arguments.rounds) for case in CASES]
    results.append(compare_exits(arguments.offramp, arguments.rounds))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
