#!/usr/bin/env python3
"""Throughput of PyTorch on the work that bench_train measures: prints one line of JSON.

    bench_peer.py --mode train --depth 6 --width 128 --heads 4
    bench_peer.py --mode train --depth 7 --width 192 --heads 6 --ddp 2
    bench_peer.py --mode fwd --compile

Modes: `train` (forward, backward, AdamW), `fwd` (inference_mode), `joint` (backbone, exit
heads and gates together), `frozen_cached` (heads and gates on stored features).

This process never computes: it starts the ranks, so that thread counts and the allocator
are set before their libraries load. Each rank is one process on cores of its own; with
--ddp N the ranks average gradients over gloo on 127.0.0.1. A round is --steps steps of the
global batch, timed between barriers; the record has the median, least and most of
--rounds rounds. CPU seconds are those of the rounds alone, and `img_per_cpu_s` (images per
CPU second, times the cores used) estimates the rate of a machine nobody else uses.
`foreign_cpu` is the share of the whole machine that others took meanwhile.

Run it with the Python whose PyTorch is to be measured (see setup.sh).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

DATASET = "/usr/share/datasets/fashion-mnist"
SAMPLES = 4096
PERIOD_TICKS = os.sysconf("SC_CLK_TCK")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--mode", choices=("train", "fwd", "joint", "frozen_cached"), default="train"
    )
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128, help="global batch, over all ranks")
    parser.add_argument("--micro", type=int, default=32, help="accumulate over slices this long")
    parser.add_argument("--ddp", type=int, default=1, metavar="RANKS")
    parser.add_argument("--threads", type=int, default=1, help="per rank")
    parser.add_argument("--core", type=int, default=0, help="first core to pin to")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=2, help="steps before the first round")
    parser.add_argument("--attention", choices=("auto", "manual", "sdpa"), default="auto")
    parser.add_argument("--optimizer", choices=("auto", "loop", "foreach", "fused"), default="auto")
    parser.add_argument("--gelu", choices=("tanh", "none"), default="none", help="none: erf")
    parser.add_argument(
        "--last-layer", choices=("full", "cls"), default="full", help="of train and fwd, see vit.py"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile (needs a compiler)")
    parser.add_argument("--allocator", choices=("auto", "default", "keep", "thp"), default="auto")
    parser.add_argument("--profile", action="store_true", help="print where a step's time goes")
    parser.add_argument("--data", default=DATASET)
    parser.add_argument("--rank", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if arguments.rank < 0 else os.cpu_count()
    if arguments.core + arguments.ddp * arguments.threads > cores:
        parser.error(f"--core, --ddp x --threads ask for more than {cores} cores")
    if arguments.batch % arguments.ddp or SAMPLES % arguments.batch:
        parser.error(f"--batch must be a multiple of --ddp and divide {SAMPLES}")
    local = arguments.batch // arguments.ddp
    if arguments.micro < 1 or local % min(arguments.micro, local):
        parser.error(f"--micro must divide the {local} images of a rank")
    return arguments


# The parent: starts the ranks and puts their figures together.


def rank_environment(threads: int, allocator: str) -> dict[str, str]:
    """One rank's environment: thread counts are read when the libraries load."""
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(threads)
    environment["GLOO_SOCKET_IFNAME"] = "lo"
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment.pop("OPENBLAS_CORETYPE", None)  # it may name an old core, at a third of the speed
    if allocator in ("keep", "thp"):  # freed blocks stay mapped: no page faults in every step
        environment["MALLOC_MMAP_THRESHOLD_"] = str(1 << 32)
        environment["MALLOC_TRIM_THRESHOLD_"] = str(1 << 34)
        environment["MALLOC_TOP_PAD_"] = str(64 << 20)
    if allocator == "thp":  # huge pages, in glibc and in PyTorch's own allocator
        environment["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        environment["THP_MEM_ALLOC_ENABLE"] = "1"
    return environment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_all(ranks: list[subprocess.Popen]) -> int:
    """Waits for the ranks; the first failure ends the others. 0, or that one's exit status."""
    status = 0
    while any(process.poll() is None for process in ranks):
        failed = [process.returncode for process in ranks if process.poll()]
        if failed and status == 0:
            status = failed[0]
            for process in ranks:  # they would wait at a barrier for the one that is gone
                process.kill()
        time.sleep(0.02)
    return status or next((process.returncode for process in ranks if process.returncode), 0)


def run_ranks(arguments: argparse.Namespace) -> list[dict]:
    """Starts every rank and returns their figures, or ends the program with the first error."""
    port = free_port()
    if arguments.allocator == "auto":
        arguments.allocator = "keep"
    environment = rank_environment(arguments.threads, arguments.allocator)
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
    command += [f"--port={port}", f"--allocator={arguments.allocator}"]
    ranks = [
        subprocess.Popen([*command, f"--rank={rank}"], env=environment, stdout=subprocess.PIPE)
        for rank in range(arguments.ddp)
    ]
    status = wait_for_all(ranks)
    if status != 0:
        print(f"bench_peer: a rank ended with status {status}", file=sys.stderr)
        sys.exit(1)
    return [json.loads(process.stdout.read()) for process in ranks]


def spread(values: list[float], name: str) -> dict[str, float]:
    return {
        f"{name}_median": round(statistics.median(values), 1),
        f"{name}_min": round(min(values), 1),
        f"{name}_max": round(max(values), 1),
    }


def combine(arguments: argparse.Namespace, ranks: list[dict]) -> dict:
    """The record of one run: a round lasts as long as its slowest rank."""
    images = arguments.batch * arguments.steps
    cores = arguments.ddp * arguments.threads
    walls = [max(round_) for round_ in zip(*(rank["wall_s"] for rank in ranks))]
    cpus = [sum(round_) for round_ in zip(*(rank["cpu_s"] for rank in ranks))]
    rates = [images / wall for wall in walls]
    busy = ranks[0]["machine_busy_s"] - sum(cpus)
    total = ranks[0]["machine_s"]
    forward_flop = 2 * ranks[0].pop("multiply_adds")
    flop = forward_flop * (3 if arguments.mode in ("train", "joint") else 1)
    record = {
        "program": "pytorch",
        "mode": arguments.mode,
        "layers": arguments.depth,
        "width": arguments.width,
        "ranks": arguments.ddp,
        "threads": arguments.threads,
        "batch": arguments.batch,
        "micro": ranks[0].pop("micro"),
        **spread(rates, "img_s"),
        **spread([images * cores / cpu for cpu in cpus], "img_per_cpu_s"),
        "cpu_s": round(sum(cpus), 2),
        "peak_rss_mib": round(max(rank["peak_rss_mib"] for rank in ranks)),
        "import_rss_mib": round(max(rank["import_rss_mib"] for rank in ranks)),
        "warmup_s": round(max(rank["warmup_s"] for rank in ranks), 1),
        "foreign_cpu": round(max(0.0, busy) / total, 3) if total > 0 else None,
        "load": round(os.getloadavg()[0], 2),
        **ranks[0]["settings"],
    }
    if arguments.mode != "frozen_cached":
        gflops = statistics.median(rates) * flop / 1e9
        record["gflops_per_core"] = round(gflops / cores, 1)
    return record


# A rank: everything below runs with PyTorch loaded.


def machine_seconds() -> tuple[float, float]:
    """Busy and total CPU seconds of the whole machine, steal counted as busy."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / PERIOD_TICKS, sum(ticks) / PERIOD_TICKS


def build_settings(arguments: argparse.Namespace) -> dict:
    """What was measured: versions, libraries, and the choices "auto" made."""
    import torch

    shown = torch.__config__.show()
    libraries = [line.strip(" -") for line in shown.splitlines() if "Intel(R)" in line]
    capability = [
        line.rsplit(":", 1)[1].strip() for line in shown.splitlines() if "CPU capability" in line
    ]
    blas = [part.split("=")[1] for part in shown.replace(",", " ").split() if "BLAS_INFO=" in part]
    return {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "blas": (blas or ["unknown"])[0],
        "libraries": libraries,
        "cpu_capability": (capability or ["unknown"])[0],
        "attention": arguments.attention,
        "optimizer": arguments.optimizer if arguments.mode != "fwd" else None,
        "gelu": arguments.gelu,
        "last_layer": arguments.last_layer,
        "allocator": arguments.allocator,
        "compiled": arguments.compile,
    }


def resolve_choices(arguments: argparse.Namespace) -> None:
    """Replaces "auto" by what is fastest in the PyTorch at hand.

    With the other defaults (micro-batches of 32 that fit the cache, the erf GELU, which is
    8 to 14 % cheaper than the tanh one in PyTorch, freed memory kept mapped) this is the
    fastest eager setting found; --gelu tanh and --micro 128 give the plain one.
    """
    import torch
    import vit

    if arguments.compile and not hasattr(torch, "compile"):
        sys.exit(f"bench_peer: torch {torch.__version__} has no torch.compile")
    if arguments.attention == "auto":
        arguments.attention = "sdpa" if vit.HAS_SDPA else "manual"
    if arguments.optimizer == "auto":
        arguments.optimizer = vit.FASTEST_ADAMW


class Work:
    """The network of one rank and one step of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        import torch
        import vit

        self.arguments = arguments
        self.shape = vit.Shape(
            depth=arguments.depth,
            width=arguments.width,
            heads=arguments.heads,
            attention=arguments.attention,
            gelu=arguments.gelu,
            last_layer=arguments.last_layer,
        )
        costs = self.shape.multiply_adds()
        self.costs = torch.tensor([cost / costs[-1] for cost in costs])
        patches, labels = vit.load_fashion_mnist(arguments.data, "t10k")
        self.labels = labels[:SAMPLES].clone()
        self.inputs = [patches[:SAMPLES].clone()]
        self.local = arguments.batch // arguments.ddp
        self.micro = min(arguments.micro, self.local)
        if arguments.mode == "frozen_cached":
            self.micro = self.local  # its activations fit the cache as they are
        backbone = vit.VisionTransformer(self.shape)
        if arguments.mode in ("train", "fwd"):
            trained = backbone
        elif arguments.mode == "joint":
            trained = vit.Joint(backbone, vit.Exits(arguments.depth, arguments.width))
        else:
            trained = vit.Exits(arguments.depth, arguments.width)
            self.inputs = self._stored_features(backbone)
        self.optimizer = None
        if arguments.mode != "fwd":
            self.optimizer = vit.make_adamw(trained, arguments.optimizer)
        self.network = trained
        if arguments.ddp > 1 and arguments.mode != "fwd":
            self.network = torch.nn.parallel.DistributedDataParallel(
                trained, gradient_as_bucket_view=True
            )
        if arguments.compile:
            self.network = torch.compile(self.network)

    def _stored_features(self, backbone) -> list:
        """Class rows after every block and the final logits, of all samples."""
        import torch

        with torch.no_grad():
            parts = [  # copies: a row would keep all tokens of its layer in memory
                [row.clone() for row in backbone.features(part)]
                for part in self.inputs[0].split(32)
            ]
            rows = [torch.cat(layer) for layer in zip(*parts)]
            return rows + [backbone.classify(rows[-1])]

    def _loss(self, inputs: list, labels):
        import vit
        from torch.nn import functional

        mode = self.arguments.mode
        if mode == "train":
            return functional.cross_entropy(self.network(inputs[0]), labels)
        if mode == "joint":
            logits, gates = self.network(inputs[0])
        else:
            logits, gates = self.network(inputs[:-2])
            logits = logits + [inputs[-1]]
        return vit.exit_loss(logits, gates, labels, self.costs, cost_weight=1.0)

    def step(self, number: int) -> None:
        import torch

        arguments = self.arguments
        start = (number * arguments.batch) % SAMPLES + max(arguments.rank, 0) * self.local
        slices = [slice(at, at + self.micro) for at in range(start, start + self.local, self.micro)]
        if arguments.mode == "fwd":
            with torch.inference_mode():
                for part in slices:
                    self.network(self.inputs[0][part])
            return
        self.optimizer.zero_grad(set_to_none=True)
        for index, part in enumerate(slices):
            loss = self._loss([kind[part] for kind in self.inputs], self.labels[part])
            loss = loss / len(slices)
            if arguments.ddp > 1 and index + 1 < len(slices):
                with self.network.no_sync():
                    loss.backward()
            else:
                loss.backward()
        self.optimizer.step()


def resident_mib() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def profile(work: Work) -> None:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    with torch_profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        for number in range(work.arguments.steps):
            work.step(number)
    for table in (profiler.key_averages(), profiler.key_averages(group_by_input_shape=True)):
        print(table.table(sort_by="self_cpu_time_total", row_limit=30), file=sys.stderr)


def run_rank(arguments: argparse.Namespace) -> dict:
    """Everything one rank does; returns its figures."""
    first = arguments.core + arguments.rank * arguments.threads
    os.sched_setaffinity(0, set(range(first, first + arguments.threads)))
    import torch
    import torch.distributed as dist

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    import_rss_mib = resident_mib()
    resolve_choices(arguments)
    if arguments.ddp > 1:
        address = f"tcp://127.0.0.1:{arguments.port}"
        dist.init_process_group(
            "gloo", init_method=address, rank=arguments.rank, world_size=arguments.ddp
        )
    barrier = dist.barrier if arguments.ddp > 1 else lambda: None
    work = Work(arguments)
    begin = time.perf_counter()
    for number in range(arguments.warmup):
        work.step(number)
    warmup_s = time.perf_counter() - begin
    walls, cpus = [], []
    busy, total = machine_seconds()
    for _ in range(arguments.rounds):
        barrier()
        cpu, begin = time.process_time(), time.perf_counter()
        for number in range(arguments.steps):
            work.step(number)
        barrier()
        walls.append(time.perf_counter() - begin)
        cpus.append(time.process_time() - cpu)
    busy_after, total_after = machine_seconds()
    peak_rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if arguments.profile and arguments.rank == 0 and arguments.ddp == 1:
        profile(work)
    if arguments.ddp > 1:
        dist.destroy_process_group()
    return {
        "wall_s": walls,
        "cpu_s": cpus,
        "machine_busy_s": busy_after - busy,
        "machine_s": total_after - total,
        "micro": work.micro,
        "multiply_adds": work.shape.multiply_adds()[-1],
        "import_rss_mib": import_rss_mib,
        "peak_rss_mib": peak_rss_mib,
        "warmup_s": warmup_s,
        "settings": build_settings(arguments),
    }


def main() -> None:
    arguments = parse_arguments()
    if arguments.rank >= 0:
        print(json.dumps(run_rank(arguments)))
        return
    print(json.dumps(combine(arguments, run_ranks(arguments))))


if __name__ == "__main__":
    main()
