"""The vision transformer, its exits and its data, as a PyTorch user would write them.

The same network as trainer/model and exits/: pre-norm blocks, GELU, a class token, a
head on the class token; an exit head after every block but the last and a gate beside it.
Runs on PyTorch 1.13 and later.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGE_SIZE = 28
CLASSES = 10
PIXEL_MEAN = 0.2860
PIXEL_STD = 0.3530
HAS_SDPA = hasattr(F, "scaled_dot_product_attention")
# On a CPU "fused" exists since 2.4 and is 3 times faster than the loop, "foreach" slower.
HAS_FUSED_ADAMW = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 4)
FASTEST_ADAMW = "fused" if HAS_FUSED_ADAMW else "loop"


@dataclass(frozen=True)
class Shape:
    """Sizes of a network; `attention` is "sdpa" or "manual", `gelu` "tanh" or "none" (erf).

    `last_layer` "cls" computes only the class token's row in the last block, since nothing
    reads the others; "full" computes all of them, as published code does.
    """

    depth: int = 6
    width: int = 128
    heads: int = 4
    mlp_ratio: int = 4
    patch: int = 4
    attention: str = "manual"
    gelu: str = "tanh"
    last_layer: str = "full"

    @property
    def patches(self) -> int:
        return (IMAGE_SIZE // self.patch) ** 2

    @property
    def tokens(self) -> int:
        return self.patches + 1

    def multiply_adds(self) -> list[int]:
        """Of one image, forward, up to each exit's head: [depth]. The last is the network's.

        Matrix products only; the heads passed on the way, under 0.1 %, are left out.
        """
        width, tokens = self.width, self.tokens
        embedding = self.patches * self.patch**2 * width
        weights = (4 + 2 * self.mlp_ratio) * width * width
        block = tokens * weights + 2 * tokens * tokens * width
        return [embedding + layer * block + CLASSES * width for layer in range(1, self.depth + 1)]


def load_fashion_mnist(folder: str, split: str, patch: int = 4) -> tuple[Tensor, Tensor]:
    """Normalised patches [N, patches, patch * patch] and labels [N]; split is "train" or "t10k"."""
    with gzip.open(Path(folder) / f"{split}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    with gzip.open(Path(folder) / f"{split}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    side = IMAGE_SIZE // patch
    images = (pixels.astype(np.float32) / 255.0 - PIXEL_MEAN) / PIXEL_STD
    grid = images.reshape(-1, side, patch, side, patch).transpose(0, 1, 3, 2, 4)
    patches = np.ascontiguousarray(grid.reshape(-1, side * side, patch * patch))
    return torch.from_numpy(patches), torch.from_numpy(labels)


def attend(query: Tensor, key: Tensor, value: Tensor, kind: str) -> Tensor:
    """Softmax attention of [N, heads, tokens, head width] tensors."""
    if kind == "sdpa":
        return F.scaled_dot_product_attention(query, key, value)
    scale = query.shape[-1] ** -0.5
    weights = torch.matmul(query * scale, key.transpose(-2, -1)).softmax(-1)
    return torch.matmul(weights, value)


class Block(nn.Module):
    """One pre-norm block: attention and an MLP, each added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, hidden = shape.width, shape.mlp_ratio * shape.width
        self.shape = shape
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def _mlp(self, stream: Tensor) -> Tensor:
        hidden = F.gelu(self.up(self.norm2(stream)), approximate=self.shape.gelu)
        return stream + self.down(hidden)

    def forward(self, stream: Tensor) -> Tensor:
        count, tokens, width = stream.shape
        heads = self.shape.heads
        joined = self.query_key_value(self.norm1(stream))
        joined = joined.view(count, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        query, key, value = joined.unbind(0)
        mixed = attend(query, key, value, self.shape.attention)
        mixed = mixed.transpose(1, 2).reshape(count, tokens, width)
        return self._mlp(stream + self.out(mixed))

    def forward_cls(self, stream: Tensor) -> Tensor:
        """The class token's row of forward(): [N, 1, width], at the price of that row."""
        count, tokens, width = stream.shape
        heads = self.shape.heads
        normed = self.norm1(stream)
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = F.linear(normed[:, :1], weight[:width], bias[:width])
        key_value = F.linear(normed, weight[width:], bias[width:])
        query = query.view(count, 1, heads, width // heads).transpose(1, 2)
        key_value = key_value.view(count, tokens, 2, heads, width // heads).permute(2, 0, 3, 1, 4)
        key, value = key_value.unbind(0)
        mixed = attend(query, key, value, self.shape.attention)
        mixed = mixed.transpose(1, 2).reshape(count, 1, width)
        return self._mlp(stream[:, :1] + self.out(mixed))


class VisionTransformer(nn.Module):
    """Patches [N, patches, patch * patch] to logits [N, CLASSES]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Linear(shape.patch**2, shape.width)
        self.cls_token = nn.Parameter(torch.empty(1, 1, shape.width))
        self.positions = nn.Parameter(torch.empty(1, shape.tokens, shape.width))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, CLASSES)
        for matrix in [m for m in self.modules() if isinstance(m, nn.Linear)]:
            nn.init.trunc_normal_(matrix.weight, std=0.02, a=-0.04, b=0.04)
            nn.init.zeros_(matrix.bias)
        nn.init.xavier_uniform_(self.embed.weight)
        for table in (self.cls_token, self.positions):
            nn.init.trunc_normal_(table, std=0.02, a=-0.04, b=0.04)

    def _embed(self, patches: Tensor) -> Tensor:
        cls_rows = self.cls_token.expand(patches.shape[0], -1, -1)
        return torch.cat((cls_rows, self.embed(patches)), 1) + self.positions

    def forward(self, patches: Tensor) -> Tensor:
        stream = self._embed(patches)
        for block in self.blocks[:-1]:
            stream = block(stream)
        last = self.blocks[-1]
        stream = last.forward_cls(stream) if self.shape.last_layer == "cls" else last(stream)
        return self.classify(stream[:, 0])

    def features(self, patches: Tensor) -> list[Tensor]:
        """The class token after every block: depth tensors [N, width]."""
        stream = self._embed(patches)
        rows = []
        for block in self.blocks:
            stream = block(stream)
            rows.append(stream[:, 0])
        return rows

    def classify(self, cls_row: Tensor) -> Tensor:
        return self.head(self.norm(cls_row))


class Exits(nn.Module):
    """Heads after the blocks 1 .. depth - 1, and gates that read how sure those heads are."""

    GATE_INPUTS = 4

    def __init__(self, depth: int, width: int, gate_hidden: int = 16) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, CLASSES)) for _ in range(depth - 1)
        )
        self.gates = nn.ModuleList(
            nn.Sequential(
                nn.Linear(self.GATE_INPUTS, gate_hidden), nn.ReLU(), nn.Linear(gate_hidden, 1)
            )
            for _ in range(depth - 1)
        )

    @staticmethod
    def certainty(logits: Tensor) -> Tensor:
        """Largest probability, margin, normalised entropy, largest at temperature 2: [N, 4]."""
        probabilities = logits.softmax(-1)
        top_two = probabilities.topk(2, -1).values
        logs = probabilities.clamp_min(1e-9).log()
        entropy = -(probabilities * logs).sum(-1) / math.log(CLASSES)
        softened = (logits / 2.0).softmax(-1).amax(-1)
        return torch.stack((top_two[:, 0], top_two[:, 0] - top_two[:, 1], entropy, softened), -1)

    def forward(self, rows: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Logits of each exit, depth - 1 tensors [N, CLASSES], and gate logits [N, depth - 1]."""
        logits = [head(row) for head, row in zip(self.heads, rows)]
        gates = [gate(self.certainty(z.detach())) for gate, z in zip(self.gates, logits)]
        return logits, torch.cat(gates, -1)


class Joint(nn.Module):
    """Backbone and exits in one forward pass, for training them together."""

    def __init__(self, backbone: VisionTransformer, exits: Exits) -> None:
        super().__init__()
        self.backbone, self.exits = backbone, exits

    def forward(self, patches: Tensor) -> tuple[list[Tensor], Tensor]:
        rows = self.backbone.features(patches)
        logits, gates = self.exits(rows)
        return logits + [self.backbone.classify(rows[-1])], gates


def exit_loss(
    logits: list[Tensor], gates: Tensor, labels: Tensor, costs: Tensor, cost_weight: float
) -> Tensor:
    """Cross entropy expected under the gates, plus the gates' own loss.

    A sample leaves at exit l with probability P_l = g_l * prod_{j < l} (1 - g_j), the last
    exit taking the rest; a gate's target is 1 where no later exit has a smaller cross
    entropy plus cost_weight * cost (JEI-DNN). `costs` is [depth], relative to the whole.
    """
    entropies = torch.stack([F.cross_entropy(z, labels, reduction="none") for z in logits], -1)
    chances = torch.sigmoid(gates)
    ones = torch.ones_like(chances[:, :1])
    arrives = torch.cumprod(torch.cat((ones, 1.0 - chances), -1), -1)
    leaves = torch.cat((chances, ones), -1) * arrives
    head_loss = (leaves.detach() * entropies).sum(-1).mean()
    prices = entropies.detach() + cost_weight * costs
    cheapest_later = prices.flip(-1).cummin(-1).values.flip(-1)[:, 1:]
    targets = (prices[:, :-1] <= cheapest_later).float()
    gate_loss = F.binary_cross_entropy_with_logits(gates, targets, reduction="none")
    return head_loss + gate_loss.sum(-1).mean()


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict]:
    """Matrices decay; biases, norms, the class token and the positions do not."""
    decayed, plain = [], []
    for parameter in network.parameters():
        (decayed if parameter.ndim == 2 else plain).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def make_adamw(network: nn.Module, kind: str, learning_rate: float = 1e-3) -> torch.optim.AdamW:
    """AdamW with decay 0.05; `kind` is "loop", "foreach" or "fused" (if HAS_FUSED_ADAMW)."""
    groups = parameter_groups(network, 0.05)
    if kind == "fused":
        return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    return torch.optim.AdamW(groups, lr=learning_rate, foreach=kind == "foreach")
