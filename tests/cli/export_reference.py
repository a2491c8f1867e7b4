"""What an exported folder computes, in numpy: a backbone and its exits as docs/export.md has them."""
import json
import math
import os

import numpy as np
from safetensors.numpy import load_file

erf = np.vectorize(math.erf)


def gelu(x, form):
    if form == "gelu":
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Weights:
    """Tensors under a prefix, in double."""

    def __init__(self, tensors, prefix=""):
        self.tensors, self.prefix = tensors, prefix

    def under(self, prefix):
        return Weights(self.tensors, self.prefix + prefix)

    def has(self, name):
        return self.prefix + name in self.tensors

    def get(self, name):
        return self.tensors[self.prefix + name].astype(np.float64)

    def linear(self, name, x):
        return x @ self.get(name + ".weight").T + self.get(name + ".bias")

    def norm(self, name, x, epsilon):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
        return x * self.get(name + ".weight") + self.get(name + ".bias")


def attention(q, k, v, H, bias=0.0):
    n, _, D = k.shape
    q, k, v = (x.reshape(n, -1, H, D // H).transpose(0, 2, 1, 3) for x in (q, k, v))
    a = softmax(q @ k.transpose(0, 1, 3, 2) / math.sqrt(D // H) + bias) @ v
    return a.transpose(0, 2, 1, 3).reshape(n, -1, D)


def vit(config, w, pixels):
    n, C, S, _ = pixels.shape
    P, D, H = config["patch_size"], config["hidden_size"], config["num_attention_heads"]
    epsilon = config["layer_norm_eps"]
    family = config["model_type"]  # vit or deit, whose second token is no patch either
    e = w.under(f"{family}.embeddings.")
    x = pixels.reshape(n, C, S // P, P, S // P, P).transpose(0, 2, 4, 1, 3, 5).reshape(n, -1, C * P * P)
    x = x @ e.get("patch_embeddings.projection.weight").reshape(D, -1).T + e.get("patch_embeddings.projection.bias")
    tokens = [np.repeat(e.get(name), n, 0) for name in ("cls_token", "distillation_token") if e.has(name)]
    x = np.concatenate([*tokens, x], 1) + e.get("position_embeddings")
    states = []
    for layer in range(config["num_hidden_layers"]):
        l = w.under(f"{family}.encoder.layer.{layer}.")
        h = l.norm("layernorm_before", x, epsilon)
        q, k, v = (l.linear(f"attention.attention.{part}", h) for part in ("query", "key", "value"))
        x = x + l.linear("attention.output.dense", attention(q, k, v, H))
        h = gelu(l.linear("intermediate.dense", l.norm("layernorm_after", x, epsilon)), config["hidden_act"])
        x = x + l.linear("output.dense", h)
        states.append(x)
    pooled = pool(x, config["offramp_pooling"])
    return states, w.linear("classifier", w.norm(f"{family}.layernorm", pooled, epsilon))


def bert(config, w, ids, mask):
    epsilon, H = config["layer_norm_eps"], config["num_attention_heads"]
    e = w.under("bert.embeddings.")
    x = e.get("word_embeddings.weight")[ids] + e.get("position_embeddings.weight")[:ids.shape[1]]
    x = e.norm("LayerNorm", x + e.get("token_type_embeddings.weight")[0], epsilon)
    bias = np.where(mask, 0.0, -np.inf)[:, None, None]
    states = []
    for layer in range(config["num_hidden_layers"]):
        l = w.under(f"bert.encoder.layer.{layer}.")
        q, k, v = (l.linear(f"attention.self.{part}", x) for part in ("query", "key", "value"))
        a = l.linear("attention.output.dense", attention(q, k, v, H, bias))
        x = l.norm("attention.output.LayerNorm", x + a, epsilon)
        h = gelu(l.linear("intermediate.dense", x), config["hidden_act"])
        x = l.norm("output.LayerNorm", x + l.linear("output.dense", h), epsilon)
        states.append(x)
    return states, w.linear("classifier", pool(x, config["offramp_pooling"], mask))


def gpt2(config, w, ids, mask):
    """Matrices are [inputs, outputs]; queries, keys and values side by side; a token sees those up to itself."""
    epsilon, H, T = config["layer_norm_epsilon"], config["n_head"], ids.shape[1]
    t = w.under("transformer.")

    def conv(w, name, x):
        return x @ w.get(name + ".weight") + w.get(name + ".bias")

    x = t.get("wte.weight")[ids] + t.get("wpe.weight")[:T]
    bias = np.where(np.tril(np.ones((T, T))) > 0, 0.0, -np.inf)[None, None]
    states = []
    for layer in range(config["n_layer"]):
        l = t.under(f"h.{layer}.")
        q, k, v = np.split(conv(l, "attn.c_attn", l.norm("ln_1", x, epsilon)), 3, -1)
        x = x + conv(l, "attn.c_proj", attention(q, k, v, H, bias))
        h = gelu(conv(l, "mlp.c_fc", l.norm("ln_2", x, epsilon)), config["activation_function"])
        x = x + conv(l, "mlp.c_proj", h)
        states.append(x)
    pooled = pool(x, config["offramp_pooling"], mask)
    return states, t.norm("ln_f", pooled, epsilon) @ w.get("score.weight").T


def backbone(folder, inputs):
    """Hidden states behind every layer [n, T, D], and the final logits; inputs as those of the ONNX models."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    w = Weights(load_file(os.path.join(folder, "model.safetensors")))
    if config["model_type"] in ("vit", "deit"):
        return vit(config, w, inputs["pixel_values"])
    family = gpt2 if config["model_type"] == "gpt2" else bert
    return family(config, w, inputs["input_ids"], inputs["attention_mask"])


def pool(x, pooling, mask=None):
    if pooling == "cls":
        return x[:, 0]
    if pooling == "last":
        return x[np.arange(len(x)), mask.sum(1) - 1]
    if mask is None:
        return x[:, 1:].mean(1)
    return (x * mask[..., None]).sum(1) / mask.sum(1)[:, None]


def head(w, spec, pooled, epsilon):
    kind = spec["head"]["kind"]
    x = pooled if kind == "linear" else w.norm("norm", pooled, epsilon)
    if kind == "norm_mlp":
        x = gelu(w.linear("dense", x), "gelu_new")
    return w.linear("classifier", x)


def features(z):
    def entropy(z):
        p = softmax(z)
        return -(p * np.log(np.maximum(p, 1e-300))).sum(-1) / math.log(z.shape[-1])

    two = np.sort(softmax(z), -1)[:, -2:]
    return np.stack([two[:, 1], entropy(z), two[:, 1] - two[:, 0], entropy(2 * z)], -1)


def gate(w, shared, spec, pooled, z, epsilon):
    kind = spec["gate"]["kind"]
    if kind == "shared":
        w = shared
    if kind in ("linear", "mlp"):
        x = features(z)
    else:
        x = w.norm("gate.norm", pooled, epsilon)
    if kind in ("mlp", "hidden_mlp"):
        x = w.linear("gate.dense", x)
        x = np.maximum(x, 0) if kind == "mlp" else gelu(x, "gelu_new")
    return w.linear("gate.out", x)[:, 0]


def exits(folder, spec, states, mask=None):
    """Logits and score of every exit."""
    tensors = load_file(os.path.join(folder, "exits.safetensors"))
    of_set = Weights(tensors, spec["lambdas"][0]["prefix"])
    epsilon, mass, answers, heads = spec["layer_norm_eps"], 1.0, [], []
    for exit in spec["exits"][:-1]:
        pooled = pool(states[exit["layer"] - 1], spec["pooling"], mask)
        w = of_set.under(exit["prefix"])
        z = head(w, spec, pooled, epsilon)
        if spec["head"]["joined"] == "boosted" and heads:
            z = z + spec["head"]["boost"] * heads[-1]
        if spec["head"]["joined"] == "cascaded" and heads:
            z = z + w.norm("cascade.norm", heads[-1], epsilon) @ w.get("cascade.weight").T
        heads.append(z)
        if spec["gate"]["kind"] == "ensemble":
            shares = np.exp(w.get("ensemble.weight").ravel())
            z = sum(share * np.log(softmax(h)) for share, h in zip(shares, heads)) / len(heads) + w.get("ensemble.bias")
        score = spec["gate"]["score"]
        if score == "max_prob":
            value = softmax(z).max(-1)
        else:
            a = gate(w, of_set, spec, pooled, z, epsilon)
            g, before = sigmoid(a), mass
            mass = mass * (1 - g) if spec["gate"]["form"] == "hazard" else mass - np.minimum(mass, g)
            if score == "certainty":
                value = -a
            elif score == "cumulative":
                value = 1 - mass
            elif spec["gate"]["form"] == "hazard":
                value = g
            else:
                value = np.where(g >= before, 1, g / np.maximum(before, 1e-300))
        answers.append((z, value))
    return answers
