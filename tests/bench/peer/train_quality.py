#!/usr/bin/env python3
"""Test accuracy per epoch of the backbone trained by PyTorch: the reference for parity.

    train_quality.py --epochs 3 --seed 0

The recipe: AdamW 1e-3, decay 0.05 on matrices, linear warm-up over 100 steps, cosine to
zero, gradients clipped to norm 1, batch 128, no augmentation, all 60 000 training images.
Prints one line of JSON per epoch. An epoch of the default network is about 8 minutes of one
core. Seeds differ by some tenths of a point: compare means of several.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time

import torch
import vit
from torch import Tensor
from torch.nn import functional as F

DATASET = "/usr/share/datasets/fashion-mnist"


def learning_rate_factor(step: int, warmup: int, total: int) -> float:
    """(s + 1) / warmup, then half a cosine: the schedule "cosine" of trainer/optim."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


@torch.inference_mode()
def accuracy(network: vit.VisionTransformer, patches: Tensor, labels: Tensor) -> float:
    right = 0
    for part, truth in zip(patches.split(250), labels.split(250)):
        right += int((network(part).argmax(-1) == truth).sum())
    return right / len(labels)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--gelu", choices=("tanh", "none"), default="none", help="none: erf")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument("--max-steps", type=int, default=0, help="stop here, schedule unchanged")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--core", type=int, default=-1, help="pin to this core")
    parser.add_argument("--data", default=DATASET)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.core >= 0:
        os.sched_setaffinity(0, {arguments.core})
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    patches, labels = vit.load_fashion_mnist(arguments.data, "train")
    test_patches, test_labels = vit.load_fashion_mnist(arguments.data, "t10k")
    network = vit.VisionTransformer(
        vit.Shape(arguments.depth, arguments.width, arguments.heads, gelu=arguments.gelu)
    )
    optimizer = vit.make_adamw(network, vit.FASTEST_ADAMW, arguments.learning_rate)
    steps_per_epoch = len(labels) // arguments.batch
    total = arguments.epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, arguments.warmup, total)
    )
    begin, begin_cpu = time.perf_counter(), time.process_time()
    step = 0
    stop = min(total, arguments.max_steps or total)
    for epoch in range(1, arguments.epochs + 1):
        order = torch.randperm(len(labels))
        loss_sum, first_step = 0.0, step
        for picked in order[: steps_per_epoch * arguments.batch].split(arguments.batch):
            if step == stop:
                break
            loss = F.cross_entropy(network(patches[picked]), labels[picked])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            loss_sum += loss.item()
            step += 1
        record = {
            "epoch": epoch,
            "step": step,
            "train_loss": round(loss_sum / max(1, step - first_step), 4),
            "test_accuracy": round(accuracy(network, test_patches, test_labels), 4),
            "wall_s": round(time.perf_counter() - begin, 1),
            "cpu_s": round(time.process_time() - begin_cpu, 1),
            "seed": arguments.seed,
            "torch": torch.__version__,
        }
        print(json.dumps(record), flush=True)
        if step == stop:
            break


if __name__ == "__main__":
    main()
