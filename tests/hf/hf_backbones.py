"""Backbones of transformers against ours, layer by layer.

    hf_backbones.py make FOLDER                    random BERT, GPT-2, ViT, DeiT, and 64 inputs for each
    hf_backbones.py inputs MODEL FOLDER            64 texts of random words for a model that is there
    hf_backbones.py compare NAME=MODEL ...         transformers' hidden states of MODEL on NAME.input
                                                   against NAME.output

The difference of a token's row, as a share of the row's length, must be at most 1e-4 behind every layer.
"""
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (AutoConfig, BertConfig, BertModel, DeiTConfig, DeiTForImageClassification,
                          DeiTModel, GPT2Config, GPT2LMHeadModel, GPT2Model, ViTConfig,
                          ViTForImageClassification, ViTModel)
from transformers.utils.logging import disable_progress_bar

disable_progress_bar()
COUNT = 64
LIMIT = 1e-4
MODELS = {"bert": BertModel, "gpt2": GPT2Model, "vit": ViTModel, "deit": DeiTModel}


def spread(model):
    """Weights that make a difference: biases and norms are 0 and 1 as they are made."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            parameter.data = noise * 1.5 / parameter.shape[-1] ** 0.5
        else:
            parameter.data += 0.3 * noise


def texts(vocabulary, longest):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(vocabulary, (COUNT, longest), generator=generator).int()
    lengths = torch.randint(1, longest + 1, (COUNT,), generator=generator).int()
    lengths[0], lengths[1] = longest, 1
    return {"tokens": tokens, "lengths": lengths}


def images(config):
    generator = torch.Generator().manual_seed(1)
    shape = (COUNT, config.num_channels, config.image_size, config.image_size)
    return {"images": torch.randn(shape, generator=generator)}


def make(folder):
    torch.manual_seed(0)
    small = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=3, intermediate_size=96)
    picture = dict(image_size=32, patch_size=8, num_channels=3, num_labels=7, **small)
    bert = BertConfig(vocab_size=500, max_position_embeddings=70, **small)
    gpt2 = GPT2Config(vocab_size=400, n_positions=64, n_embd=64, n_layer=4, n_head=4)
    made = {
        "bert": (BertModel(bert), texts(500, 61), {}),
        "bert-sharded": (BertModel(bert), texts(500, 33), {"max_shard_size": "100KB"}),
        "gpt2": (GPT2Model(gpt2), texts(400, 64), {}),
        "gpt2-lm": (GPT2LMHeadModel(gpt2), texts(400, 40), {}),
        "vit": (ViTForImageClassification(ViTConfig(**picture)), images(ViTConfig(**picture)), {}),
        "vit-half": (ViTForImageClassification(ViTConfig(**picture)), images(ViTConfig(**picture)), {}),
        "deit": (DeiTForImageClassification(DeiTConfig(**picture)), images(DeiTConfig(**picture)), {}),
    }
    for name, (model, data, options) in made.items():
        spread(model)
        if name == "vit-half":
            model.half()
        model.save_pretrained(folder / name, safe_serialization=True, **options)
        save_file(data, folder / f"{name}.input")


def longest_of(model):
    """What ours reads: the length sentence-transformers was trained with, if it says so."""
    beside = Path(model) / "sentence_bert_config.json"
    if beside.exists():
        return json.loads(beside.read_text())["max_seq_length"]
    return AutoConfig.from_pretrained(model).max_position_embeddings


@torch.no_grad()
def states_of(model, data):
    """The stream before the first block and behind every block, seen by hooks; and which rows count."""
    kind = AutoConfig.from_pretrained(model).model_type
    net = MODELS[kind].from_pretrained(model, torch_dtype=torch.float32).eval()
    blocks = net.h if kind == "gpt2" else net.encoder.layer
    states = []
    blocks[0].register_forward_pre_hook(lambda module, arguments: states.append(arguments[0]))
    for block in blocks:
        block.register_forward_hook(lambda module, arguments, output: states.append(output[0]))
    if "images" in data:
        net(data["images"])
        return states, torch.ones(states[0].shape[:2], dtype=torch.bool)
    width = data["tokens"].shape[1]
    is_there = torch.arange(width)[None, :] < data["lengths"][:, None]
    net(data["tokens"].long(), attention_mask=is_there.long())
    return states, is_there


def pooled_of(model, state, is_there):
    """What a head of ours reads: cls, the last token that is there, or their mean."""
    config = AutoConfig.from_pretrained(model)
    kind = "last" if config.model_type == "gpt2" else "cls"
    beside = Path(model) / "1_Pooling" / "config.json"
    if beside.exists() and json.loads(beside.read_text())["pooling_mode_mean_tokens"]:
        kind = "mean"
    kind = getattr(config, "offramp_pooling", kind)
    lengths = is_there.sum(dim=1)
    if kind == "mean":
        return (state * is_there[..., None]).sum(dim=1) / lengths[:, None]
    at = torch.zeros_like(lengths) if kind == "cls" else lengths - 1
    return state[torch.arange(len(state)), at]


def compare(name, model):
    ours = load_file(f"{name}.output")
    data = load_file(f"{name}.input")
    states, is_there = states_of(model, data)
    worst = 0.0
    theirs = pooled_of(model, states[-1], is_there)
    error = ((ours["pooled"] - theirs).norm(dim=-1) / theirs.norm(dim=-1)).max().item()
    print(f"{model}: pooled: {error:.2e}")
    worst = max(worst, error)
    for layer, theirs in enumerate(states):
        found = ours[f"hidden_{layer}"].double()[is_there]
        theirs = theirs.double()[is_there]
        error = ((found - theirs).norm(dim=-1) / theirs.norm(dim=-1)).max().item()
        print(f"{model}: layer {layer} of {len(states) - 1}: {error:.2e}")
        worst = max(worst, error)
    if len(ours) != len(states) + 1 or not worst <= LIMIT:
        sys.exit(f"FAILED: {model}: {len(ours) - 1} states for {len(states)}, {worst:.2e} apart")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    elif sys.argv[1] == "inputs":
        vocabulary = AutoConfig.from_pretrained(sys.argv[2]).vocab_size
        save_file(texts(vocabulary, longest_of(sys.argv[2])), sys.argv[3])
    else:
        for pair in sys.argv[2:]:
            compare(*pair.split("=", 1))
