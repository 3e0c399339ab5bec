"""The student: a backbone with folded batch normalisation, a projection to the embedding, and attribute heads."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .pack import EMBEDDING
from .preprocess import normalise
from .weights import Convolution


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and after, as in TensorFlow's SAME padding: the odd pixel goes after. The weights expect it."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int, groups: int) -> torch.Tensor:
    """A convolution with TensorFlow's SAME padding."""
    kernel = weight.shape[2]
    top, bottom = same_padding(x.shape[2], kernel, stride)
    left, right = same_padding(x.shape[3], kernel, stride)
    if top == bottom == left == right:
        return F.conv2d(x, weight, bias, stride, top, groups=groups)
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, stride, groups=groups)


class Backbone(nn.Module):
    """A chain of convolutions with shortcuts around residual blocks, [N, 3, H, W] -> pooled features [N, channels].

    MobileNet V1 and V2 and EfficientNet-Lite are such chains; see `architecture`.
    """

    def __init__(self, layers: list[Convolution]):
        super().__init__()
        self.layers = layers
        self.convolutions = nn.ModuleList()
        for layer in layers:
            out, in_per_group, kernel, _ = layer.weight.shape
            groups = out if layer.depthwise else 1
            conv = nn.Conv2d(in_per_group * groups, out, kernel, layer.stride, groups=groups)
            conv.weight.data = torch.from_numpy(layer.weight).clone()
            conv.bias.data = torch.from_numpy(layer.bias).clone()
            self.convolutions.append(conv)
        self.channels = layers[-1].weight.shape[0]

    def freeze(self, count: int) -> None:
        """Excludes the first `count` convolutions from training: no gradient is computed for them."""
        for conv in self.convolutions[:count]:
            conv.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x
        for layer, conv in zip(self.layers, self.convolutions):
            if layer.opens_block:
                shortcut = x
            x = convolve(x, conv.weight, conv.bias, layer.stride, conv.groups)
            if not layer.linear:
                x = F.relu6(x, inplace=True)
            if layer.adds_shortcut:
                x = x + shortcut
        return x.mean((2, 3))


class Student(nn.Module):
    """[N, 3, H, W] -> embedding [N, dim], and logits [N, labels] for each head."""

    def __init__(self, layers: list[Convolution], dim: int, heads: dict[str, int]):
        super().__init__()
        self.backbone = Backbone(layers)
        self.embedding = nn.Linear(self.backbone.channels, dim)
        self.heads = nn.ModuleDict({name: nn.Linear(self.backbone.channels, n) for name, n in heads.items()})
        for head in self.heads.values():
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, x: torch.Tensor, probe: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """With `probe`, the heads are trained but no gradient flows from them into the backbone."""
        pooled = self.backbone(x)
        seen = pooled.detach() if probe else pooled
        return self.embedding(pooled), {name: head(seen) for name, head in self.heads.items()}

    @torch.no_grad()
    def start_from_principal_components(self, pooled: np.ndarray) -> None:
        """Sets the projection to the first principal components of `pooled` [photos, channels], centred.

        The embeddings then have the similarities of the pretrained features from the first batch on.
        """
        mean = pooled.mean(0)
        _, _, components = np.linalg.svd(pooled - mean, full_matrices=False)
        weight = torch.from_numpy(components[: self.embedding.out_features].astype(np.float32))
        self.embedding.weight.copy_(weight)
        self.embedding.bias.copy_(-weight @ torch.from_numpy(mean.astype(np.float32)))


@torch.no_grad()
def pooled_features(student: Student, pixels: np.ndarray, batch: int = 64) -> np.ndarray:
    """The backbone's features: uint8 [N, H, W, 3] -> float32 [N, channels]."""
    parts = []
    for start in range(0, len(pixels), batch):
        x = torch.from_numpy(normalise(np.asarray(pixels[start : start + batch])))
        parts.append(student.backbone(x.to(memory_format=torch.channels_last)).numpy())
    return np.concatenate(parts)


@torch.no_grad()
def outputs_of(student: Student, pixels: np.ndarray, batch: int = 64) -> dict[str, np.ndarray]:
    """Runs the student: uint8 [N, H, W, 3] -> `embedding` [N, dim] of unit length, logits [N, labels] of each head."""
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(pixels), batch):
        x = torch.from_numpy(normalise(np.asarray(pixels[start : start + batch])))
        embedding, logits = student(x.to(memory_format=torch.channels_last))
        for name, value in {EMBEDDING: F.normalize(embedding), **logits}.items():
            parts.setdefault(name, []).append(value.numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}
