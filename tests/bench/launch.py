#!/usr/bin/env python3
"""From kill -9 of a rank to the first step of the next start, under `offramp launch`: what of it is
what. Ranks, size and kills are options; the machine is the local one.

    launch.py --offramp BUILD/offramp [--ranks 4] [--width 512] [--layers 7] [--kills 20] [--seed 1]
              [--json FILE]

The run is tests/cli/tiny.yaml with another backbone, on 2000 of its images, and a snapshot at every
step. Each kill comes a random moment after the step before. Its own clock is that of the events.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["notice_s", "teardown_s", "wait_s", "mpirun_s", "join_s", "open_s", "load_s", "first_step_s"]
MEANS = {
    "notice_s": "until the supervisor has seen the death",
    "teardown_s": "until nothing of the job runs",
    "wait_s": "back-off",
    "mpirun_s": "mpirun, until a rank's main() begins",
    "join_s": "MPI_Init and the groups",
    "open_s": "data and model",
    "load_s": "snapshots found, verified, loaded",
    "step_s": "the median step, without failures",
    "first_step_s": "a stage opened, and its first step",
}


def children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            pass
    return found


def events(path: Path) -> list[dict]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def of(path: Path, name: str) -> list[dict]:
    return [event for event in events(path) if event["event"] == name]


def wait_for(what: str, condition, process: subprocess.Popen, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit(f"launch.py: {what} did not come; launch: {process.poll()}")
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--offramp", type=Path, required=True)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    scratch = Path(tempfile.mkdtemp(prefix="bench_launch."))
    data, out = scratch / "data", scratch / "out"
    memory = Path(f"/dev/shm/bench_launch.{os.getpid()}")
    subprocess.run(["sh", ROOT / "tests/cli/cli_data.sh", data, "2000", "500"], check=True)
    settings = {
        "data_dir": data, "hidden_size": options.width, "num_hidden_layers": options.layers,
        "intermediate_size": 4 * options.width, "num_attention_heads": 8, "train_batch_size": 32,
        "per_device_train_batch_size": 4, "backbone.num_steps": 1000000, "snapshot_steps": 1,
        "snapshot_dir": memory,
        "save_steps": 0, "exit_layers": "[2]", "hash_steps": 0,
    }
    command = [options.offramp, "launch", "-n", str(options.ranks), "--oversubscribe", "--max-restarts",
               "1000", "--hang-s", "60", "--", "train", ROOT / "tests/cli/tiny.yaml", "--output-dir", out]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    environment = {**os.environ, "OMPI_MCA_mpi_yield_when_idle": "1", "OPENBLAS_NUM_THREADS": "1"}
    if os.geteuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    events_path = out / "supervisor.jsonl"
    metrics = out / "metrics.jsonl"
    killed = []
    with open(scratch / "log", "w", encoding="utf-8") as log:
        launch = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        wait_for("a step", lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 5, launch)
        for kill in range(options.kills):
            done = len(metrics.read_text().splitlines())
            wait_for("a step", lambda: len(metrics.read_text().splitlines()) > done + 3, launch)
            time.sleep(rng.random())
            ranks = [rank for mpirun in children(launch.pid) for rank in children(mpirun)]
            killed.append(time.clock_gettime(time.CLOCK_MONOTONIC))
            os.kill(rng.choice(ranks), signal.SIGKILL)
            wait_for("a recovery", lambda: len(of(events_path, "job.recovered")) > kill, launch)
        launch.send_signal(signal.SIGINT)
        time.sleep(0.1)
        launch.send_signal(signal.SIGINT)
        launch.wait(30)
        report(options, events_path, metrics, killed)
    except BaseException:
        print((scratch / "log").read_text()[-2000:], file=sys.stderr)
        raise
    finally:
        if launch.poll() is None:
            launch.kill()
        end_keeper(memory)
        shutil.rmtree(memory, ignore_errors=True)
        shutil.rmtree(scratch)


def end_keeper(memory: Path) -> None:
    """Of this run alone: it would keep the memory of a run that was left for an hour."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"keeper" in words and str(memory).encode() in words:
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            pass


def report(options: argparse.Namespace, path: Path, metrics: Path, killed: list[float]) -> None:
    begun_s = of(path, "run.begun")[0]["monotonic_s"]
    rows = []
    for kill_s, lost, recovered in zip(killed, of(path, "job.lost"), of(path, "job.recovered")):
        row = {name: recovered.get(name, 0) for name in PARTS}
        row["notice_s"] = begun_s + lost["noticed_at_s"] - kill_s
        row["all_s"] = begun_s + recovered["first_step_at_s"] - kill_s
        row["redone"] = recovered["redone"]
        rows.append(row)
    print(f"{options.ranks} ranks, width {options.width}, {options.layers} layers, {len(rows)} kills; seconds")
    print("  part              median   least    most")
    steps = [json.loads(line)["samples_per_s"] for line in metrics.read_text().splitlines()]
    for row, step_s in zip(rows, [32 / statistics.median(steps)] * len(rows)):
        row["step_s"] = step_s
    for name in [*PARTS, "all_s", "step_s", "redone"]:
        values = sorted(row[name] for row in rows)
        print(f"  {name:14}  {statistics.median(values):8.3f}{values[0]:8.3f}{values[-1]:8.3f}  {MEANS.get(name, '')}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
