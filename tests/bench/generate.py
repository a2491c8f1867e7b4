#!/usr/bin/env python3
"""Texts by all layers, by early exits and by verified drafts: tokens a second, side by side.

    generate.py --offramp BUILD/offramp --model RUN --text FILE [--prompts 16] [--words 6] [--new-tokens 96]
                [--rounds 7] [--draft-tokens 1,2,3,4,6] [--draft-thresholds 0.2,0.35,0.5]
                [--thresholds 0.5,0.7,0.9] [--table docs/results/language_model.md]

Prompts are the first words of lines spread over FILE. In every round each way of writing has its turn, in an order that
rotates; a ratio is of the same round's full. Seconds are those of the CPU, which other work on the machine does not take
part in. Medians (least-most) over the rounds. The texts of drafts are compared with those of full, token by token: any
difference ends this with code 1.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offramp", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--words", type=int, default=6)
    parser.add_argument("--new-tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--draft-tokens", default="1,2,3,4,6")
    parser.add_argument("--draft-thresholds", default="0.2,0.35,0.5")
    parser.add_argument("--thresholds", default="0.5,0.7,0.9")
    parser.add_argument("--exits", type=int, help="how many the model has; found out without this")
    parser.add_argument("--table", type=Path, help="a page whose measured part is replaced")
    options = parser.parse_args()
    options.offramp = options.offramp.resolve()  # or it would be looked for in PATH
    return options


def choose_prompts(options: argparse.Namespace, path: Path) -> None:
    lines = [line.split() for line in options.text.read_text(errors="replace").splitlines()]
    lines = [words for words in lines if len(words) > options.words]
    if len(lines) < options.prompts:
        sys.exit(f"{options.text}: {len(lines)} lines of more than {options.words} words, {options.prompts} are expected")
    step = len(lines) // options.prompts
    chosen = [" ".join(lines[i * step][: options.words]) for i in range(options.prompts)]
    path.write_text("\n".join(chosen) + "\n")


def write(options: argparse.Namespace, prompts: Path, arguments: list[str]) -> dict:
    command = [options.offramp, "generate", options.model, "--prompts", prompts, "--ignore-end", "--json"]
    command += ["--max-new-tokens", str(options.new_tokens), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: code {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def count_exits(options: argparse.Namespace, prompts: Path) -> int:
    return len(write(options, prompts, ["--mode", "exit", "--threshold", "0"])["thresholds"])


def ways(options: argparse.Namespace, exits: int) -> dict[str, list[str]]:
    result = {"full": []}
    for threshold in options.thresholds.split(","):
        for fill in "copy", "recompute":
            result[f"exit, {fill}, max_prob >= {threshold}"] = [
                "--mode", "exit", "--fill", fill, "--threshold", threshold]
    for exit_number in range(1, exits + 1):
        for count in options.draft_tokens.split(","):
            result[f"speculative, exit {exit_number}, {count} drafted"] = [
                "--mode", "speculative", "--exit", str(exit_number), "--draft-tokens", count]
        for threshold in options.draft_thresholds.split(","):
            result[f"speculative, exit {exit_number}, up to 5 while p >= {threshold}"] = [
                "--mode", "speculative", "--exit", str(exit_number), "--draft-tokens", "5", "--draft-threshold", threshold]
    return result


def tokens(document: dict) -> list[list[int]]:
    return [text["tokens"] for text in document["texts"]]


def agreement(document: dict, full: dict) -> float:
    pairs = [pair for a, b in zip(tokens(document), tokens(full)) for pair in zip(a, b)]
    return sum(a == b for a, b in pairs) / len(pairs)


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def remark(document: dict, full: dict) -> str:
    total = document["total"]
    if document["mode"] == "speculative":
        rate = total["accepted"] / max(total["drafted"], 1)
        return f"{100 * rate:.0f} % accepted, {total['new_tokens'] / total['rounds']:.2f} tokens a round; the same text"
    if document["mode"] == "exit":
        left = "/".join(f"{100 * n / total['new_tokens']:.0f}" for n in total["exits"])
        return f"left at {left} %; {100 * agreement(document, full):.0f} % of the tokens of full"
    return ""


def measure(options: argparse.Namespace, prompts: Path) -> tuple[dict[str, list[dict]], str]:
    exits = options.exits if options.exits is not None else count_exits(options, prompts)
    todo = ways(options, exits)
    found: dict[str, list[dict]] = {name: [] for name in todo}
    names = list(todo)
    for i in range(options.rounds):
        for name in names[i % len(names):] + names[: i % len(names)]:
            found[name].append(write(options, prompts, todo[name]))
        print(f"round {i + 1} of {options.rounds}", file=sys.stderr)
    for name, documents in found.items():
        if documents[0]["mode"] == "speculative" and any(tokens(d) != tokens(found["full"][0]) for d in documents):
            sys.exit(f"{name}: the text is not that of full")
    return found, f"{options.rounds} rounds, {options.prompts} prompts, {options.new_tokens} tokens each"


def speed(document: dict) -> float:
    return document["total"]["new_tokens"] / document["total"]["writing_cpu_s"]


def table(found: dict[str, list[dict]]) -> list[str]:
    full = found["full"]
    lines = ["| way | tokens/s | of full | multiply-adds a token, of full | |", "|---|---|---|---|---|"]
    for name, documents in found.items():
        speeds = [speed(d) for d in documents]
        ratios = [speed(d) / speed(f) for d, f in zip(documents, full)]
        macs = documents[0]["total"]["macs_per_token"] / full[0]["total"]["macs_per_token"]
        lines.append(f"| {name} | {spread(speeds, 0)} | {spread(ratios, 2)} | {macs:.2f} | {remark(documents[0], full[0])} |")
    return lines


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        prompts = Path(scratch) / "prompts"
        choose_prompts(options, prompts)
        found, shape = measure(options, prompts)
    lines = [f"{datetime.date.today()}, {platform.machine()}, one core; {shape}; full: "
             f"{found['full'][0]['total']['macs_per_token'] / 1e6:.2f} M multiply-adds a token.", "", *table(found)]
    print("\n".join(lines))
    if options.table is not None:
        page = options.table.read_text()
        before, rest = page.split(BEGIN)
        options.table.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
