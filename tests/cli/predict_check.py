"""predict_check.py policies OFFRAMP RUN DATA [ARGUMENT...]  every policy of RUN/results.json, run by `offramp predict`,
                                                      leaves where the evaluation says and is as often right
predict_check.py choices OFFRAMP RUN DATA             which policies it chooses for budgets and by itself
predict_check.py lines FILE FILE                      the same classes, exits and probabilities, sample by sample
predict_check.py cut CHECKPOINT LAYERS                cuts model.safetensors off behind so many layers
predict_check.py spoil CHECKPOINT LAYERS              fills all layers behind so many with NaN
predict_check.py memory FILE COMMAND...               runs it and writes its largest resident size, KiB, to FILE
"""
import json
import math
import resource
import struct
import subprocess
import sys

CLOSE = 0.003  # of the default: docs/predict.md


def predict(offramp, run, data, *arguments):
    """Lines of a prediction as objects, and the summary on stderr."""
    done = subprocess.run([offramp, "predict", run, data, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"FAILED: predict {arguments}: {done.returncode}, {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def texts_of(thresholds):
    return ",".join("inf" if t is None else repr(t) for t in thresholds)


def held_to(row, lines, what, has_macs):
    left = [exit["left"] for exit in row["exits"]]
    found = [sum(line["exit"] == g + 1 for line in lines) for g in range(len(left))]
    if found != left:
        sys.exit(f"FAILED: {what}: left at {found}, the evaluation says {left}")
    right = sum(line["correct"] for line in lines)
    if right != round(row["accuracy"] * len(lines)):
        sys.exit(f"FAILED: {what}: {right} right, the evaluation says {row['accuracy'] * len(lines)}")
    macs = sum(line["macs"] for line in lines) / len(lines)
    if has_macs and not math.isclose(macs, row["mean_macs"], rel_tol=1e-12):
        sys.exit(f"FAILED: {what}: {macs} multiply-adds, the evaluation says {row['mean_macs']}")


def policies(offramp, run, data, *more):
    results = json.load(open(f"{run}/results.json"))
    has_macs, count = "--no-macs" not in more, 0
    more = ["--max-samples", str(results["test_samples"]), *[m for m in more if m != "--no-macs"]]
    for entry in results["lambdas"]:
        seen = {}
        for row in entry["policies"]:
            key = (row["rule"], texts_of(row["thresholds"]), texts_of(row.get("lows", [])))
            if key in seen:
                continue
            seen[key] = row
            arguments = ["--lambda", repr(entry["lambda"]), "--rule", row["rule"]]
            if "lows" in row:
                lines, said = predict(offramp, run, data, *arguments, "--budget", repr(row["budget"]), *more)
                shares = [r for r in entry["policies"] if r["rule"] == row["rule"] and r["budget"] <= row["budget"]]
                row = max(shares, key=lambda r: (r["validation"]["accuracy"], -r["validation"]["mean_macs"]))
            else:
                lines, said = predict(offramp, run, data, *arguments, f"--thresholds={texts_of(row['thresholds'])}", *more)
            held_to(row, lines, f"lambda {entry['lambda']} {row['policy']}: {said}", has_macs)
            count += 1
        for row in entry["rows"]:
            if row["policy"] == "end":
                held_to(row, predict(offramp, run, data, "--rule", "end", *more)[0], "end", has_macs)
    if count < 10:
        sys.exit(f"FAILED: {count} policies alone")
    print(count, "policies")


def choices(offramp, run, data):
    """The choice, made once more."""
    results = json.load(open(f"{run}/results.json"))
    rows = [dict(row, at=entry["lambda"]) for entry in results["lambdas"] for row in entry["policies"]
            if "lows" not in row and row.get("budget_unit") != "ms"]

    def check(wanted, *arguments):
        lines, said = predict(offramp, run, data, "--max-samples", str(results["test_samples"]), *arguments)
        name = f"{wanted['policy']}, lambda {wanted['at']:g}:"
        if name not in said:
            sys.exit(f"FAILED: {arguments}: '{said}', expected {name}")
        held_to(wanted, lines, f"{arguments}: {said}", True)

    def best(some):
        return max(some, key=lambda r: (r["validation"]["accuracy"], -r["validation"]["mean_macs"]))

    for budget in (0.5, 0.62, 0.75, 0.9):
        for arguments, rule in (([], None), (["--rule", "gate"], "gate"), (["--rule", "max_prob/shared"], "max_prob")):
            some = [r for r in rows if "risk" not in r and (rule is None or r["rule"] == rule)
                    and (len(arguments) < 2 or "/" not in arguments[1] or r["solver"] == "shared")
                    and r["validation"]["mean_macs"] <= budget * results["full_macs"]]
            check(best(some), "--budget", str(budget), *arguments)
    end = results["evaluation"]["validation_accuracy"]
    for arguments, some in (([], [r for r in rows if r["policy"] == "gate/learned"]),
                            (["--rule", "max_prob"], [r for r in rows if r["rule"] == "max_prob"]),
                            (["--rule", "entropy", "--lambda", "0.4"],
                             [r for r in rows if r["rule"] == "entropy" and r["at"] == 0.4])):
        near = [r for r in some if r["validation"]["accuracy"] >= end - CLOSE]
        check(min(near, key=lambda r: r["validation"]["mean_macs"]) if near else best(some), *arguments)
    promised = [r for r in rows if r["rule"] == "conformal" and r["risk"] == 0.05]
    check(min(promised, key=lambda r: r["validation"]["mean_macs"]), "--rule", "conformal", "--risk", "0.05")


def same_lines(one, other):
    a, b = ([json.loads(line) for line in open(path)] for path in (one, other))
    keys = ("label", "label_id", "exit", "layer", "macs", "probability", "probabilities")
    if len(a) != len(b) or any(x.get(k) != y.get(k) for x, y in zip(a, b) for k in keys):
        sys.exit(f"FAILED: {one} and {other} differ")


def deeper(checkpoint, layers):
    """Of model.safetensors all bytes, where the tensors begin, and [begin, end) of those behind so many layers."""
    path = f"{checkpoint}/model.safetensors"
    data = bytearray(open(path, "rb").read())
    at = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:at])
    places = []
    for name, entry in header.items():
        parts = name.split(".")
        if "layer" in parts and int(parts[parts.index("layer") + 1]) >= layers:
            places.append(entry["data_offsets"])
    return path, data, at, places


def cut(checkpoint, layers):
    path, data, at, places = deeper(checkpoint, int(layers))
    open(path, "wb").write(data[:at + min(begin for begin, _ in places)])


def spoil(checkpoint, layers):
    path, data, at, places = deeper(checkpoint, int(layers))
    for begin, end in places:
        data[at + begin:at + end] = b"\xff" * (end - begin)
    open(path, "wb").write(data)


def memory(path, *command):
    code = subprocess.run(command, check=False).returncode
    open(path, "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) + "\n")
    sys.exit(code)


{"policies": policies, "choices": choices, "lines": same_lines, "cut": cut, "spoil": spoil,
 "memory": memory}[sys.argv[1]](*sys.argv[2:])
