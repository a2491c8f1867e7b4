"""export_onnx_check.py FOLDER SUMMARY DATA [DOCUMENT]: ONNX models of an export against numpy, each other and the
evaluation; and the example of docs/export.md, if it is given.

Says what it found wrong, and ends with 1."""
import glob
import json
import os
import re
import shutil
import sys

import numpy as np
import onnx
import onnxruntime

import export_reference as reference

TOLERANCE = 1e-4
STAGES_TOLERANCE = 1e-5  # the same arithmetic, in graphs that are optimised apart


def fail(text):
    sys.exit(f"export_onnx_check: {text}")


def read_idx(path):
    with open(path, "rb") as file:
        data = file.read()
    rank = data[3]
    dims = np.frombuffer(data, ">i4", rank, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(dims)


def close(what, found, expected, tolerance):
    if found.shape != expected.shape:
        fail(f"{what}: shape {found.shape}, expected {expected.shape}")
    error = (np.abs(found - expected) / np.maximum(1, np.abs(expected))).max()
    if not error <= tolerance:
        fail(f"{what}: differs by {error:.3g}, at most {tolerance} is allowed")
    return error


def session(folder, name):
    path = os.path.join(folder, "onnx", name)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    if [(o.domain, o.version) for o in model.opset_import] != [("", 17)]:
        fail(f"{name}: opset {model.opset_import}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(session, inputs):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def run_stages(stages, inputs):
    """Outputs as the model of all exits has them."""
    found, last = {}, dict(inputs)
    for s, stage in enumerate(stages):
        wanted = [i.name for i in stage.get_inputs()]
        out = run(stage, {name: last[name] for name in wanted})
        if s + 1 < len(stages):
            found[f"exit_{s + 1}_logits"], found[f"exit_{s + 1}_gate"] = out["exit_logits"], out["exit_gate"]
            last = {**inputs, "hidden_states": out["next_hidden_states"], "previous_logits": out["exit_logits"]}
            last.update({name: out[given] for name, given in (("mass", "next_mass"), ("previous_heads", "next_heads"))
                         if given in out})
        else:
            found["logits"] = out["logits"]
    return found


def check_policy(policy, row, found, labels, count):
    """Where samples leave and how often they are right, against the evaluation's row; a sample may be on the border."""
    n, left = len(labels), np.zeros(len(labels), bool)
    right, shares = 0, []
    for g in range(count + 1):
        z = found[f"exit_{g + 1}_logits"] if g < count else found["logits"]
        if g == count:
            leaves = ~left
        else:
            score = reference.softmax(z).max(-1) if policy["score"] == "max_prob" else found[f"exit_{g + 1}_gate"]
            threshold = policy["thresholds"][g]
            leaves = ~left & (score >= (np.inf if threshold is None else threshold))
        left |= leaves
        shares.append(leaves.sum() / n)
        right += (z.argmax(-1) == labels)[leaves].sum()
    for what, a, b in [("accuracy", right / n, row["accuracy"])] + [
            (f"share of exit {g + 1}", a, b["share"]) for g, (a, b) in enumerate(zip(shares, row["exits"]))]:
        if abs(a - b) > 1.5 / n:
            fail(f"policy {policy['policy']}: {what} {a:.4f}, the evaluation has {b:.4f}")


def check_example(document, folder, pixels, labels, row):
    with open(document) as file:
        example = re.findall(r"```python\n(.*?)```", file.read(), re.S)[1]
    shutil.copytree(folder, "export", dirs_exist_ok=True)
    said = {"pixels": pixels}
    exec(example, said)
    accuracy = (said["classes"] == labels).mean()
    if abs(accuracy - row["accuracy"]) > 1.5 / len(labels):
        fail(f"the example: accuracy {accuracy:.4f}, the evaluation has {row['accuracy']:.4f}")


def read_images(folder, data, n):
    with open(os.path.join(folder, "preprocessor_config.json")) as file:
        image = json.load(file)
    images = read_idx(os.path.join(data, "t10k-images-idx3-ubyte"))[:n, None]
    labels = read_idx(os.path.join(data, "t10k-labels-idx1-ubyte"))[:n]
    mean, std = (np.array(image[k], np.float32)[None, :, None, None] for k in ("image_mean", "image_std"))
    pixels = ((images.astype(np.float32) * np.float32(image["rescale_factor"]) - mean) / std).astype(np.float32)
    return {"pixel_values": pixels}, labels


def read_texts(data, n):
    """test.tsv of whole words of words/vocab.txt beside it, as BERT's tokenizer has them; classes in the order of
    their names."""
    with open(os.path.join(data, "..", "words", "vocab.txt")) as file:
        vocab = {word: number for number, word in enumerate(file.read().split())}
    with open(os.path.join(data, "test.tsv")) as file:
        rows = [line.rstrip("\n").split("\t") for line in file][:n]
    texts = [[vocab["[CLS]"]] + [vocab[word] for word in text.split()] + [vocab["[SEP]"]] for _, text in rows]
    ids = np.full((len(texts), max(map(len, texts))), vocab["[PAD]"], np.int64)
    mask = np.zeros_like(ids)
    for i, text in enumerate(texts):
        ids[i, :len(text)], mask[i, :len(text)] = text, 1
    names = sorted({label for label, _ in rows})
    return {"input_ids": ids, "attention_mask": mask}, np.array([names.index(label) for label, _ in rows])


def main(folder, summary_path, data, document=None):
    with open(os.path.join(folder, "exits.json")) as file:
        spec = json.load(file)
    with open(summary_path) as file:
        summary = json.load(file)
    count = len(spec["exits"]) - 1
    n = summary["test_samples"]
    inputs, labels = read_texts(data, n) if spec["model_type"] == "bert" else read_images(folder, data, n)

    everything = session(folder, "all_exits.onnx")
    stages = [session(folder, f"stage_{s}.onnx") for s in range(count + 1)]
    if len(glob.glob(os.path.join(folder, "onnx", "*"))) != count + 2:
        fail("files that are not expected in onnx/")
    names = {node.name for node in onnx.load(os.path.join(folder, "onnx", "all_exits.onnx")).graph.node}
    for name in ("layer.0.attention.query", "layer.0.mlp.gelu", "exit.1.classifier", "final.classifier"):
        if name not in names:
            fail(f"no node {name}")

    found = run(everything, inputs)
    states, logits = reference.backbone(folder, inputs)
    worst = close("logits", found["logits"], logits, TOLERANCE)
    for g, (z, score) in enumerate(
            reference.exits(folder, spec, states, inputs.get("attention_mask"))):
        worst = max(worst, close(f"logits of exit {g + 1}", found[f"exit_{g + 1}_logits"], z, TOLERANCE))
        worst = max(worst, close(f"gate of exit {g + 1}", found[f"exit_{g + 1}_gate"], score, TOLERANCE))
    for begin, end in ((0, n), (0, 1), (5, 8)):
        by_stages = run_stages(stages, {name: value[begin:end] for name, value in inputs.items()})
        if set(by_stages) != set(found):
            fail(f"stages give {sorted(by_stages)}, all exits {sorted(found)}")
        for name, value in by_stages.items():
            close(f"{name} by stages, samples {begin} to {end}", value, found[name][begin:end], STAGES_TOLERANCE)

    rows = [entry["rows"] for entry in summary["lambdas"]
            if abs(entry["lambda"] - spec["lambdas"][0]["lambda"]) < 1e-9][0]
    rows = {row["policy"]: row for row in rows}
    learned = [row for name, row in rows.items() if name in ("gate", "price")][0]
    for g, exit in enumerate(learned["exits"]):
        z = found[f"exit_{g + 1}_logits"] if g < count else found["logits"]
        accuracy = (z.argmax(-1) == labels).mean()
        if abs(accuracy - exit["accuracy_all"]) > 1.5 / n:
            fail(f"exit {g + 1}: accuracy {accuracy:.4f}, the evaluation has {exit['accuracy_all']:.4f}")
    policies = spec["lambdas"][0]["policies"]
    if {"threshold"} - {policy["policy"] for policy in policies}:
        fail(f"policies {[policy['policy'] for policy in policies]}")
    for policy in policies:
        check_policy(policy, rows[policy["policy"]], found, labels, count)
    if document:
        check_example(document, folder, inputs["pixel_values"], labels, learned)
    print(f"{folder}: {spec['exit_loss']}, {spec['head']['kind']}, {spec['gate']['kind']}: off by {worst:.2g}")


main(*sys.argv[1:])
