#!/usr/bin/env python3
"""What a sweep over many lambdas costs beside one of them: whole commands, from the start of the process to the
table of results, in alternated rounds.

    sweep.py --offramp BUILD/offramp --output-dir OUT [--methods jei,uniform,linear] [--lambdas 12] [--ranks 1,2]
             [--rounds 5] [--fresh-rounds 1] [--init-from CHECKPOINT] [--set NAME=VALUE]... [--json FILE]

The recipe is launch/recipes/fashion_mnist_methods.yaml on a backbone that is given, or trained for a few steps:
how good it is makes no difference here. First with the features of all samples in files, then, in --fresh-rounds,
computed in the run. CPU time is that of all ranks, user and system; nothing is timed by running it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "launch/recipes"
BACKBONE = ["num_train_epochs=0.3", "warmup_steps=20", "timing_samples=0"]
ONE = [0.1]
LEAST, MOST = 0.01, 0.8  # of the sweep, in equal ratios


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offramp", type=Path, required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--methods", default="jei,uniform,linear")
    parser.add_argument("--lambdas", type=int, default=12, help="of the sweep, at least 2")
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--rounds", type=int, default=5, help="on features in files")
    parser.add_argument("--fresh-rounds", type=int, default=1, help="that compute features")
    parser.add_argument("--init-from", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of all runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.offramp = options.offramp.resolve()  # or it would be looked for in PATH
    if options.lambdas < 2 or options.rounds < 1:
        parser.error("expected at least 2 lambdas and 1 round")
    return options


def environment() -> dict[str, str]:
    values = {**os.environ, "OMPI_MCA_mpi_yield_when_idle": "1", "OPENBLAS_NUM_THREADS": "1"}
    if os.geteuid() == 0:
        values |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return values


def train(options: argparse.Namespace, ranks: int, recipe: str, out: Path, settings: list[str]) -> dict:
    """Seconds of CPU and by the clock."""
    command = [options.offramp, "train", RECIPES / recipe, "--output-dir", out]
    command = (["mpirun", "-n", str(ranks), "--oversubscribe"] if ranks > 1 else []) + command
    for setting in settings + options.set:
        command += ["--set", setting]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode != 0:
        sys.exit(f"sweep.py: {' '.join(map(str, command))}: exit code {ended.returncode}\n{ended.stderr[-2000:]}")
    return {"wall_s": wall, "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def backbone_of(options: argparse.Namespace) -> Path:
    if options.init_from is not None:
        return options.init_from.resolve()
    out = options.output_dir / "backbone"
    if not (out / "summary.json").exists():
        train(options, 1, "fashion_mnist_backbone.yaml", out, BACKBONE)
    return out / (out / "latest").read_text().strip()


def spread(values: list[float], digits: int) -> str:
    middle, least, most = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({least}-{most})"


def measure(options: argparse.Namespace, case: dict, backbone: Path) -> dict:
    """Adds the runs of a case to it: one lambda and all of them, in turns."""
    count = options.lambdas
    sweep = [round(LEAST * (MOST / LEAST) ** (i / (count - 1)), 4) for i in range(count)]
    settings = [
        f"init_from={backbone}", f"exit_loss={case['method']}", f"feature_cache={case['cache']}", "hash_steps=0",
        "timing_samples=0", "resume_from_checkpoint=none", "overwrite_output_dir=true",
    ]
    out = options.output_dir / "run"  # one for all: it keeps the files of features
    runs = {"one": [], "all": []}
    if case["cache"] == "file":
        train(options, 1, "fashion_mnist_methods.yaml", out, settings + [f"lambdas={ONE}", "num_steps=1"])
    for _ in range(options.rounds if case["cache"] == "file" else options.fresh_rounds):
        for name, lambdas in (("one", ONE), ("all", sweep)):
            runs[name].append(
                train(options, case["ranks"], "fashion_mnist_methods.yaml", out, settings + [f"lambdas={lambdas}"]))
    return {**case, **runs}


def row(case: dict) -> str:
    cells = [f"`{case['method']}`", "files" if case["cache"] == "file" else "the run", str(case["ranks"])]
    for unit in ("cpu_s", "wall_s"):
        one, every = ([run[unit] for run in case[name]] for name in ("one", "all"))
        cells += [spread(one, 2), spread(every, 2), spread([b / a for a, b in zip(one, every)], 2)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    options = parse()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    backbone = backbone_of(options)
    ranks = [int(count) for count in options.ranks.split(",")]
    cases = [{"method": method, "cache": "file", "ranks": count}
             for method in options.methods.split(",") for count in ranks]
    if options.fresh_rounds > 0:
        cases.append({"method": options.methods.split(",")[0], "cache": "memory", "ranks": 1})
    print(f"| method | features from | ranks | CPU s, one lambda | {options.lambdas} | ratio | wall s, one | "
          f"{options.lambdas} | ratio |\n|---|---|---|---|---|---|---|---|---|")
    results = []
    for case in cases:
        results.append(measure(options, case, backbone))
        print(row(results[-1]), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"load": os.getloadavg(), "cases": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
