#!/usr/bin/env python3
"""Every method of the table (docs/configuration.md, Methods) on equal terms: the same backbone, data, epochs
and rates, several seeds; accuracy at the budgets of compute that the evaluation is given.

    methods.py --offramp BUILD/offramp --output-dir OUT [--task fashion] [--methods jei,uniform] [--seeds 3]
               [--epochs E] [--init-from CHECKPOINT] [--table docs/results/methods.md] [--set NAME=VALUE]...

Trains the backbone of launch/recipes/<task>_backbone.yaml, or takes one, then <task>_methods.yaml for every
method and seed, on features that are computed once. A run that an earlier call of the same command finished is
not trained again. Writes OUT/methods.json, the task's part of the table, and OUT/report.html.

Choices, of thresholds and of the lambda, are made on the validation samples; accuracies are of the test set.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPES = {"fashion": "fashion_mnist", "wordnet": "wordnet"}
TITLES = {"fashion": "Fashion-MNIST", "wordnet": "WordNet glosses, fine-tuned MiniLM"}
THRESHOLD = "max_prob/free"  # one threshold an exit, of the largest probability
GATE = "gate/free"
ANY = "any"  # rule and solver, whichever is best on the validation samples
BASELINE = "uniform"  # whose heads, with THRESHOLD, are the baseline of all methods
T95 = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26]  # Student's t, 95 %, of 1 to 9 degrees of freedom
WANTED = {  # gates that ponder need heads that know something already
    "pondernet": ["exit_warmup_steps=200"],
    "palbert": ["exit_warmup_steps=200"],
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offramp", type=Path, required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--task", choices=RECIPES, default="fashion")
    parser.add_argument("--methods", help="some of the table, with commas between them; all without this")
    parser.add_argument("--seeds", type=int, default=3, help="1 to this one")
    parser.add_argument("--epochs", type=float, help="of the exits; the recipe's without this")
    parser.add_argument("--init-from", type=Path, help="a backbone, instead of training one")
    parser.add_argument("--ranks", type=int, default=2, help="that train the backbone; exits train on one")
    parser.add_argument("--table", type=Path, help="a page whose part of this task is replaced")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of all runs")
    parser.add_argument("--set-backbone", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    options.offramp = options.offramp.resolve()  # or it would be looked for in PATH
    if options.seeds < 1:
        parser.error(f"--seeds {options.seeds}: expected at least 1")
    known = methods_of(options.offramp)
    options.methods = options.methods.split(",") if options.methods else known
    for method in options.methods:
        if method not in known:
            parser.error(f"--methods {method}: expected some of {', '.join(known)}")
    return options


def methods_of(offramp: Path) -> list[str]:
    """The table, as the program has it."""
    page = subprocess.run([offramp, "config", "--reference"], check=True, capture_output=True, text=True).stdout
    table = page.split("\n## Methods\n")[1]
    return [name for name in re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) if name != "exit_loss"]


def environment() -> dict[str, str]:
    values = {**os.environ, "OMPI_MCA_mpi_yield_when_idle": "1", "OPENBLAS_NUM_THREADS": "1"}
    if os.geteuid() == 0:
        values |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return values


def train(options: argparse.Namespace, recipe: str, out: Path, settings: list[str], ranks: int = 1) -> dict:
    """The results of a run, from the start, or of the same run of an earlier call."""
    command = [] if ranks == 1 else ["mpirun", "-n", str(ranks), "--oversubscribe"]
    command += [str(options.offramp), "train", str(ROOT / "launch/recipes" / recipe), "--output-dir", str(out)]
    for setting in settings:
        command += ["--set", setting]
    made_by = json.dumps([command, options.offramp.stat().st_mtime_ns])
    record, results = out.with_suffix(".command"), out / "results.json"
    if not results.exists():
        results = out / "summary.json"
    if results.exists() and record.exists() and record.read_text() == made_by:
        return json.loads(results.read_text())
    command += ["--set", "resume_from_checkpoint=none", "--set", "overwrite_output_dir=true"]
    with open(out.with_suffix(".log"), "w", encoding="utf-8") as log:
        ended = subprocess.run(command, stdout=log, stderr=log, env=environment(), check=False)
    if ended.returncode != 0:
        sys.exit(f"methods.py: {shlex.join(command)}\nended with {ended.returncode}:\n"
                 + out.with_suffix(".log").read_text()[-2000:])
    record.write_text(made_by)
    results = out / "results.json"
    return json.loads((results if results.exists() else out / "summary.json").read_text())


def backbone_of(options: argparse.Namespace) -> Path:
    if options.init_from:
        return options.init_from
    out = options.output_dir / "backbone"
    print(f"{out} ...", flush=True)
    train(options, f"{RECIPES[options.task]}_backbone.yaml", out, options.set + options.set_backbone, options.ranks)
    return out / (out / "latest").read_text().strip()


def share_features(folder: Path, to: Path) -> None:
    """A file of features is named by what it is of: one that does not fit is not taken."""
    to.mkdir(exist_ok=True)
    for file in folder.glob("features-*.bin"):
        if not (to / file.name).exists():
            try:
                os.link(file, to / file.name)
            except OSError:
                shutil.copyfile(file, to / file.name)


def train_all(options: argparse.Namespace) -> dict[str, list[dict]]:
    runs: dict[str, list[dict]] = {}
    settings = [f"init_from={backbone_of(options)}", "feature_cache=file", "hash_steps=0", "timing_samples=0"]
    if options.epochs is not None:
        settings += [f"exits.num_train_epochs={options.epochs:g}"]
    for seed in range(1, options.seeds + 1):
        for method in options.methods:
            out = options.output_dir / f"{method}-{seed}"
            share_features(options.output_dir, out)
            own = settings + [f"exit_loss={method}", f"seed={seed}", *WANTED.get(method, []), *options.set]
            results = train(options, f"{RECIPES[options.task]}_methods.yaml", out, own)
            share_features(out, options.output_dir)
            runs.setdefault(method, []).append(results)
            print(f"{out}: {results['verdict']}", flush=True)
    return runs


def chosen(results: dict, policy: str, budget: float) -> dict | None:
    """The row of the lambda that is best on the validation samples."""
    rows = [row | {"lambda": entry["lambda"]} for entry in results["lambdas"] for row in entry["policies"]
            if policy in (row["policy"], ANY) and row.get("budget") == budget and row.get("budget_unit") == "macs"]
    return max(rows, key=lambda row: row["validation"]["accuracy"], default=None)


def own_policy(results: dict) -> str:
    """By its gates, of a method that has some; an ensemble has the largest probability in their place."""
    rule = next(rule for rule in results["evaluation"]["rules"] if rule["rule"] == "gate")
    return GATE if rule["possible"] and rule["score"] != "max_prob" else THRESHOLD


def collect(runs: dict[str, list[dict]]) -> list[dict]:
    """One record a method, seed, budget and policy."""
    records = []
    for method, seeds in runs.items():
        for seed, results in enumerate(seeds, 1):
            for budget in results["evaluation"]["budgets"]:
                for policy in dict.fromkeys([own_policy(results), THRESHOLD, ANY]):
                    row = chosen(results, policy, budget)
                    if row:
                        records.append({"method": method, "seed": seed, "budget": budget, "policy": policy,
                                        "solved": row["policy"], "lambda": row["lambda"], "accuracy": row["accuracy"],
                                        "macs_share": row["macs_share"]})
    return records


def promises(runs: dict[str, list[dict]]) -> list[dict]:
    """One record a rule and risk: over methods, seeds, lambdas, exits and classes."""
    found: dict[tuple[str, float], list[tuple[str, dict]]] = {}
    for method, seeds in runs.items():
        for results in seeds:
            for entry in results["lambdas"]:
                for promise in entry["promises"]:
                    parts = promise.get("exits", [promise])
                    found.setdefault((promise["rule"], promise["risk"]), []).extend((method, p) for p in parts)
    records = []
    for (rule, risk), parts in found.items():
        missed = sum(sum(part["missed"]) for _, part in parts)
        tested = sum(sum(part["tested"]) for _, part in parts)
        broken = [method for method, part in parts if not part["kept"]]
        records.append({"rule": rule, "risk": risk, "promises": len(parts), "kept": len(parts) - len(broken),
                        "miscoverage": missed / tested if tested else None,
                        "worst": max(part["miscoverage"] or 0 for _, part in parts),
                        "broken_by": {method: broken.count(method) for method in dict.fromkeys(broken)}})
    return records


def spread(values: list[float], sign: str = "") -> str:
    if not values:
        return "-"
    sd = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):{sign}.2f}{sd}"


def values_of(records: list[dict], method: str, policy: str, budget: float) -> list[float]:
    return [r["accuracy"] for r in records if (r["method"], r["policy"], r["budget"]) == (method, policy, budget)]


def differences(records: list[dict], one: tuple[str, str], other: tuple[str, str], budget: float) -> list[float]:
    """In accuracy, seed by seed."""
    by_seed = [{r["seed"]: r["accuracy"] for r in records
                if (r["method"], r["policy"], r["budget"]) == (*which, budget)} for which in (one, other)]
    return [accuracy - by_seed[1][seed] for seed, accuracy in by_seed[0].items() if seed in by_seed[1]]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *["| " + " | ".join(r) + " |" for r in rows], ""]


def verdict(values: list[float]) -> str:
    """Of a difference, beside its spread over seeds: 95 %."""
    if len(values) < 2:
        return "one seed tells nothing"
    error = statistics.stdev(values) / len(values) ** 0.5
    if abs(statistics.mean(values)) <= T95[min(len(values) - 1, len(T95)) - 1] * error:
        return "within the spread over seeds"
    return "better" if statistics.mean(values) > 0 else "worse"


def sentences(records: list[dict], budgets: list[float]) -> list[str]:
    """Who leads at which budget, and what gates are worth, as a list."""
    lines = []
    for budget in budgets:
        means = {(r["method"], r["policy"]): statistics.mean(values_of(records, r["method"], r["policy"], budget))
                 for r in records if r["budget"] == budget and r["policy"] != ANY}
        ranked = sorted(means, key=means.get, reverse=True)[:3]
        line = ", ".join(f"`{m}` by `{p}` {100 * means[m, p]:.2f} %" for m, p in ranked)
        lines.append(f"- At {100 * budget:.0f} % of the compute lead {line}.")
        for other, what in (("jei", "the same heads"), (BASELINE, f"the heads of `{BASELINE}`")):
            values = differences(records, ("jei", GATE), (other, THRESHOLD), budget)
            if values:
                lines.append(f"  Gates of `jei` less free thresholds on {what}: {spread(values, '+')} points, "
                             f"{verdict(values)}.")
    return lines


def machine() -> str:
    cpu = re.search(r"^model name.*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{os.cpu_count()} cores of {cpu[1] if cpu else 'a machine'}"


def head_of(options: argparse.Namespace, runs: dict[str, list[dict]], records: list[dict]) -> list[str]:
    first = next(iter(runs.values()))[0]
    given = " and a backbone that was given" if options.init_from else ""
    words = arguments_of(options)
    over = max(record["macs_share"] - record["budget"] for record in records)
    return [f"## {TITLES[options.task]}", "",
            f"`make methods TASK={options.task}{f' ARGS={shlex.quote(words)}' if words else ''}`,",
            f"{datetime.date.today()}, {machine()}{given}.",
            f"{len(runs)} methods, {options.seeds} seeds; mean ± standard deviation over seeds of the accuracy, in %,",
            f"on {first['test_samples']} test samples; thresholds and lambda are chosen on "
            f"{first['evaluation']['validation_samples']} validation samples.",
            f"On the test samples budgets are exceeded by at most {100 * over:.1f} points. The whole network: "
            f"{100 * first['test_accuracy']:.2f} %,", f"{first['full_macs'] / 1e6:.2f} M multiply-adds.", ""]


def accuracies(records: list[dict], runs: dict[str, list[dict]], budgets: list[float]) -> list[str]:
    """Three tables."""
    shares = [f"{100 * budget:.0f} %" for budget in budgets]
    own = {method: own_policy(results[0]) for method, results in runs.items()}
    gated = [method for method in runs if own[method] == GATE]

    def cells(method: str, policy: str) -> list[str]:
        return [spread(values_of(records, method, policy, budget)) for budget in budgets]

    lines = ["Each method by its own rule: its gates where it has some, else free thresholds of the largest",
             "probability.", "",
             *table(["method", "rule", *shares], [[f"`{m}`", f"`{own[m]}`", *cells(m, own[m])] for m in runs])]
    if gated:
        gains = {m: [spread(differences(records, (m, GATE), (m, THRESHOLD), b), "+") for b in budgets] for m in gated}
        lines += ["Methods with gates: free thresholds of the largest probability on the same heads, and in brackets",
                  "what the gates are better (+) or worse (-), seed by seed.", "",
                  *table(["method", *shares], [[f"`{m}`", *[f"{cell} ({gain})" for cell, gain in zip(
                      cells(m, THRESHOLD), gains[m])]] for m in gated])]
    return lines + ["By whichever rule, solver and lambda are best on the validation samples:", "",
                    *table(["method", *shares], [[f"`{m}`", *cells(m, ANY)] for m in runs])]


def promises_table(kept: list[dict]) -> list[str]:
    return ["Rules with a promise, over all methods, seeds, lambdas, exits and classes, in 20 random splits of",
            "the test samples each; kept: not above the central 99 % of the binomial "
            "([results.json](../files.md#resultsjson)).", "",
            *table(["rule", "risk", "miscoverage", "worst", "kept", "broken by"], [
                [f"`{k['rule']}`", f"{k['risk']:g}", "-" if k["miscoverage"] is None else f"{k['miscoverage']:.4f}",
                 f"{k['worst']:.4f}", f"{k['kept']} of {k['promises']}",
                 ", ".join(f"`{m}` {n}" for m, n in k["broken_by"].items()) or "-"] for k in kept])]


def page_of(options: argparse.Namespace, runs: dict[str, list[dict]], records: list[dict], kept: list[dict]) -> str:
    budgets = next(iter(runs.values()))[0]["evaluation"]["budgets"]
    return "\n".join([*head_of(options, runs, records), *accuracies(records, runs, budgets),
                      *sentences(records, budgets), "", *promises_table(kept)])


def arguments_of(options: argparse.Namespace) -> str:
    """What makes another table; folders of this machine are not told."""
    words = [] if options.seeds == 3 else ["--seeds", str(options.seeds)]
    if options.methods != methods_of(options.offramp):
        words += ["--methods", ",".join(options.methods)]
    if options.epochs is not None:
        words += ["--epochs", f"{options.epochs:g}"]
    for flag, settings in (("--set", options.set), ("--set-backbone", options.set_backbone)):
        for setting in settings:
            words += [flag, setting if "/" not in setting else setting.split("=")[0] + "=..."]
    return " ".join(words)


def put_part(page: Path, task: str, part: str) -> None:
    """Between the marks of the task; what else the page says stays."""
    begin, end = f"<!-- {task}: begin -->", f"<!-- {task}: end -->"
    text = page.read_text() if page.exists() else "# Methods on equal terms\n"
    whole = f"{begin}\n{part}{end}\n"
    if begin in text and end in text:
        text = text[:text.index(begin)] + whole + text[text.index(end) + len(end) + 1:]
    else:
        text += "\n" + whole
    page.write_text(text)


def main() -> None:
    options = parse()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    runs = train_all(options)
    records, kept = collect(runs), promises(runs)
    part = page_of(options, runs, records, kept)
    (options.output_dir / "methods.json").write_text(json.dumps({
        "task": options.task, "arguments": sys.argv[1:], "records": records, "promises": kept}, indent=1))
    put_part(options.table or options.output_dir / "methods.md", options.task, part)
    print("\n" + part, flush=True)
    folders = [options.output_dir / f"{method}-{seed}" for method in runs for seed in range(1, options.seeds + 1)]
    report = options.output_dir / "report.html"
    subprocess.run([options.offramp, "report", *folders, "--output", report], check=True)


if __name__ == "__main__":
    main()
