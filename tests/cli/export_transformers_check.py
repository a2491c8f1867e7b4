"""export_transformers_check.py FOLDER DOCUMENT: what transformers makes of an exported folder, against numpy;
then the example of docs/export.md, if one is given. Of a language model, FOLDER SUMMARY TOKENIZER TEXT: whether it
finds the loss that the summary of the run tells of that text. Says what it found wrong, and ends with 1."""
import io
import json
import logging
import os
import re
import shutil
import sys

import numpy as np
import torch
import transformers

import export_reference as reference

TOLERANCE = 1e-4


def fail(text):
    sys.exit(f"export_transformers_check: {text}")


def close(what, found, expected):
    error = (np.abs(found - expected) / np.maximum(1, np.abs(expected))).max()
    if not error <= TOLERANCE:
        fail(f"{what}: differs by {error:.3g}, at most {TOLERANCE} is allowed")


def load_strictly(folder, kind):
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger("transformers").addHandler(handler)
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    logging.getLogger("transformers").removeHandler(handler)
    if said.getvalue():
        fail(f"transformers warns: {said.getvalue()}")
    for what, keys in info.items():
        if keys:
            fail(f"{what}: {keys}")
    return model.eval()


def check_bert(folder):
    """Its own classifier reads the first token behind a pooler that is not trained here: hidden states alone count."""
    model, info = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    if info["missing_keys"] or set(info["unexpected_keys"]) != {"classifier.weight", "classifier.bias"}:
        fail(f"keys: {info}")
    numbers = np.random.default_rng(2)
    ids = numbers.integers(0, model.config.vocab_size, (64, 20))
    mask = (np.arange(20) < numbers.integers(2, 21, (64, 1))).astype(np.int64)
    with torch.no_grad():
        found = model.eval()(torch.tensor(ids), torch.tensor(mask), output_hidden_states=True).hidden_states
    states, _ = reference.backbone(folder, {"input_ids": ids, "attention_mask": mask})
    for l, state in enumerate(states):
        close(f"hidden states behind layer {l + 1}", found[l + 1].numpy()[mask > 0], state[mask > 0])
    print(f"{folder}: transformers {transformers.__version__} has {len(states)} layers")


def check_gpt2(folder, spec):
    """Its classifier reads the last token that is no padding, as ours."""
    model = load_strictly(folder, transformers.GPT2ForSequenceClassification)
    numbers = np.random.default_rng(2)
    lengths = numbers.integers(2, 21, (64, 1))
    mask = (np.arange(20) < lengths).astype(np.int64)
    pad = model.config.pad_token_id
    ids = np.where(mask > 0, numbers.integers(0, pad, (64, 20)), pad)
    with torch.no_grad():
        found = model(torch.tensor(ids), attention_mask=torch.tensor(mask), output_hidden_states=True)
    states, logits = reference.backbone(folder, {"input_ids": ids, "attention_mask": mask})
    for l, state in enumerate(states[:-1]):  # what it tells behind the last has gone through the norm
        close(f"hidden states behind layer {l + 1}", found.hidden_states[l + 1].numpy()[mask > 0], state[mask > 0])
    if spec["pooling"] == "last":
        close("logits", found.logits.numpy(), logits)
    print(f"{folder}: transformers {transformers.__version__} has {len(states)} layers")


def check_language(folder, summary, tokenizer, text):
    model = load_strictly(folder, transformers.GPT2LMHeadModel)
    with open(summary) as file:
        told = json.load(file)
    with open(text) as file:
        ids = transformers.GPT2TokenizerFast(f"{tokenizer}/vocab.json", f"{tokenizer}/merges.txt")(file.read())["input_ids"]
    size = model.config.offramp_max_length
    count = told["test_samples"] // size
    blocks = torch.tensor(ids[: count * size]).reshape(count, size)
    labels = torch.tensor(ids[1 : count * size + 1])
    with torch.no_grad():
        logits = model(blocks).logits.reshape(count * size, -1)
    close("the loss", torch.nn.functional.cross_entropy(logits, labels).numpy(), np.array(told["test_loss"]))
    close("the accuracy", (logits.argmax(1) == labels).double().mean().numpy(), np.array(told["test_accuracy"]))
    print(f"{folder}: transformers {transformers.__version__} has {count} blocks of {size} tokens")


def main(folder, document=None, *of_language):
    if of_language:
        return check_language(folder, document, *of_language)
    with open(os.path.join(folder, "exits.json")) as file:
        spec = json.load(file)
    if spec["model_type"] == "bert":
        return check_bert(folder)
    if spec["model_type"] == "gpt2":
        return check_gpt2(folder, spec)
    model = load_strictly(folder, transformers.DeiTForImageClassification if spec["model_type"] == "deit"
                          else transformers.ViTForImageClassification)
    config = model.config
    shape = (64, config.num_channels, config.image_size, config.image_size)
    pixels = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    with torch.no_grad():
        found = model(torch.tensor(pixels), output_hidden_states=True)
    states, logits = reference.backbone(folder, {"pixel_values": pixels})
    for l, state in enumerate(states):
        close(f"hidden states behind layer {l + 1}", found.hidden_states[l + 1].numpy(), state)
    if spec["pooling"] == "cls":
        close("logits", found.logits.numpy(), logits)
    if document:
        with open(document) as file:
            example = re.search(r"```python\n(.*?)```", file.read(), re.S).group(1)
        if folder != "export":
            shutil.copytree(folder, "export", dirs_exist_ok=True)
        said = {"pixels": pixels}
        exec(example, said)
        for g, (z, _) in enumerate(reference.exits(folder, spec, states)):
            close(f"the example's logits of exit {g + 1}", said["logits"][g], z)
        if len(said["logits"]) != len(spec["exits"]) - 1:
            fail(f"the example found {len(said['logits'])} exits")
    print(f"{folder}: transformers {transformers.__version__} has {len(states)} layers")


main(*sys.argv[1:])
