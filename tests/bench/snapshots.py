#!/usr/bin/env python3
"""What snapshots cost, beside torch.save() and plain erasure coding: `make bench`'s tables of them.

    snapshots.py --bin BUILD/tests/bench [--peer NAME=PYTHON ...] [--rounds 5] [--json FILE]

Every round runs each program once, one after the other, so that a machine whose speed wanders
does so under all of them; tables give the median of all measurements with the least and the
most of the rounds' medians. Ranks that step have a core each, which their snapshot worker
shares; the four that encode share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from compare import HERE, MPIRUN, run_json

STATES = (5, 100, 1000)  # MB
SAVES = 5  # by torch, a round


@dataclass(frozen=True)
class Case:
    megabytes: int
    every: int  # steps from one snapshot to the next
    step_ms: int  # of arithmetic
    cycles: int  # of 10 steps without and 10 with, a round


CASES = [
    Case(5, 1, 100, 2),
    Case(5, 10, 100, 4),
    Case(100, 1, 100, 2),
    Case(100, 10, 100, 4),
    Case(1000, 1, 100, 1),
    Case(1000, 10, 100, 2),
    Case(1000, 10, 1000, 1),
]
SIZES = (64, 128, 256)  # MiB a member
# MiB/s asked for with members of 64 MiB: the most of what a multiple of redset 0.4.0 and a
# prototype without checksums came to when the targets were set.
TARGETS = {("encode", 1): 4376, ("encode", 2): 3219, ("rebuild", 1): 1092, ("rebuild", 2): 1280}


def median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


def p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1) + 0.5)] if values else float("nan")


def joined(records: list[dict], key: str) -> list[float]:
    return [value for record in records for value in record[key]]


def spread(records: list[dict], key: str, digits: int) -> str:
    if not records:
        return "-"
    medians = [median(r[key]) if isinstance(r[key], list) else r[key] for r in records]
    middle = median(joined(records, key) if isinstance(records[0][key], list) else medians)
    return f"{middle:.{digits}f} ({min(medians):.{digits}f}-{max(medians):.{digits}f})"


def verdict(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def step_record(bench: Path, case: Case) -> dict:
    ranks = min(2, len(os.sched_getaffinity(0)))
    folder = tempfile.mkdtemp(prefix="bench_snap.", dir="/dev/shm")
    try:
        words = [bench / "bench_snap_step", folder, case.megabytes, case.every, case.step_ms, case.cycles]
        record = run_json(MPIRUN + [str(ranks)] + [str(word) for word in words])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record["copy_ratio"] = [c / m for c, m in zip(record["copy_gb_s"], record["memcpy_gb_s"])]
    return record


def save_record(megabytes: int, peers: dict[str, str]) -> dict:
    """Of the fastest of the peers."""
    saves = [run_json([python, str(HERE / "peer" / "bench_save.py"), "--megabytes", str(megabytes),
                       "--saves", str(SAVES)]) for python in peers.values()]
    return min(saves, key=lambda save: median(save["save_ms"]))


def step_records(bench: Path, peers: dict[str, str], rounds: int) -> tuple[dict, dict]:
    """The rounds' records of each case, and those of torch.save() by megabytes."""
    steps: dict[Case, list[dict]] = {case: [] for case in CASES}
    saves: dict[int, list[dict]] = {megabytes: [] for megabytes in STATES}
    for _ in range(rounds):
        for megabytes in STATES:
            for case in CASES:
                if case.megabytes == megabytes:
                    steps[case].append(step_record(bench, case))
            if peers:
                saves[megabytes].append(save_record(megabytes, peers))
    return steps, saves


def print_steps(steps: dict[Case, list[dict]], saves: dict[int, list[dict]]) -> None:
    print(f"Steps: arithmetic, and an update of all the state; {steps[CASES[0]][0]['ranks']} ranks. "
          "Stall: call and fence, of the slowest rank\n")
    print("| state, arithmetic, every | step, ms | stall, ms | p99 (of) | of a step, target 1 % at "
          "every 10 | torch.save, ms | block with / without | steps while draining | skipped | page "
          "faults a step, without | CPU s/GiB, target 1.0 | torch.save's |\n" + "|---" * 12 + "|")
    for case, runs in steps.items():
        saved = saves[case.megabytes]
        stalls = joined(runs, "stall_ms")
        share = median(stalls) / median(joined(runs, "step_ms"))
        cpu_s = median([run["cpu_s_per_gib"] for run in runs])
        faults = [median([run[key] for run in runs])
                  for key in ("faults_per_step", "plain_faults_per_step")]
        met = " " + verdict(share <= 0.01) if case.every == 10 else ""
        print(f"| {case.megabytes} MB, {case.step_ms} ms, {case.every} | {spread(runs, 'step_ms', 0)} | "
              f"{spread(runs, 'stall_ms', 3)} | {p99(stalls):.2f} ({len(stalls)}) | "
              f"{100 * share:.2f} %{met} | {spread(saved, 'save_ms', 1)} | {spread(runs, 'ratio', 3)} | "
              f"{spread(runs, 'drain_ratio', 2)} | {sum(run['skipped'] for run in runs)} of "
              f"{sum(run['begun'] for run in runs)} | {faults[0]:.2f}, {faults[1]:.2f} | "
              f"{spread(runs, 'cpu_s_per_gib', 2)} {verdict(cpu_s <= 1.0)} | "
              f"{spread(saved, 'cpu_s_per_gib', 2)} |")


def print_copies(steps: dict[Case, list[dict]]) -> None:
    print("\nCopy of a rank's share into its slot, hashing included, beside memcpy() of the same bytes "
          "to shared memory, GB/s\n\n| state | into the slot | memcpy | ratio, target 0.8 |")
    print("|---|---|---|---|")
    for megabytes in STATES:
        runs = [run for case in CASES if case.megabytes == megabytes for run in steps[case]]
        ratio = median(joined(runs, "copy_ratio"))
        print(f"| {megabytes} MB | {spread(runs, 'copy_gb_s', 1)} | {spread(runs, 'memcpy_gb_s', 1)} "
              f"| {spread(runs, 'copy_ratio', 2)} {verdict(ratio >= 0.8)} |")


def code_records(bench: Path, rounds: int) -> dict:
    """By (MiB, m): the rounds' records."""
    records: dict = {}
    command = ["mpirun", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1", "-n", "4",
               str(bench / "bench_snap")]
    for _ in range(rounds):
        for mib in SIZES:
            for m in (1, 2):
                record = run_json(command + [str(mib), str(m), "5"])
                records.setdefault((mib, m), []).append(record)
    return records


def print_codes(records: dict) -> None:
    print("\nEncoding and rebuilding over 4 ranks, hashing included, MiB/s of all data and of lost "
          "data; ceiling: ec_encode_data() of the same bytes in one thread\n")
    print("| members | code | encode | target | rebuild | target | ceiling |\n" + "|---" * 7 + "|")
    for (mib, m), runs in sorted(records.items()):
        targets = []
        for kind in ("encode", "rebuild"):
            least = TARGETS[kind, m]
            met = verdict(median(joined(runs, f"{kind}_mib_s")) >= least)
            targets.append(f"{least} {met}" if mib == 64 else "-")
        print(f"| 4 x {mib} MiB | {4 - m}+{m} | {spread(runs, 'encode_mib_s', 0)} | {targets[0]} | "
              f"{spread(runs, 'rebuild_mib_s', 0)} | {targets[1]} | "
              f"{spread(runs, 'ceiling_mib_s', 0)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=Path, help="where the programs are")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write all figures there")
    arguments = parser.parse_args()
    peers = dict(peer.split("=", 1) for peer in arguments.peer)
    steps, saves = step_records(arguments.bin, peers, arguments.rounds)
    print_steps(steps, saves)
    print_copies(steps)
    sys.stdout.flush()
    codes = code_records(arguments.bin, arguments.rounds)
    print_codes(codes)
    if arguments.json:
        figures = {"steps": [run for runs in steps.values() for run in runs], "saves": saves,
                   "codes": [run for runs in codes.values() for run in runs]}
        Path(arguments.json).write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
