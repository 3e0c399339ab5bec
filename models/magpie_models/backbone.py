"""The student: MobileNetV1 with folded batch normalisation, a projection to the embedding, attribute heads.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications" (2017).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .weights import Convolution


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: the odd pixel goes after, not before. The weights were trained with it."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class MobileNetV1(nn.Module):
    """[N, 3, H, W] in -1..1 -> pooled features [N, channels]."""

    def __init__(self, layers: list[Convolution]):
        super().__init__()
        self.convolutions = nn.ModuleList()
        for layer in layers:
            out, in_per_group, kernel, _ = layer.weight.shape
            groups = out if layer.depthwise else 1
            conv = nn.Conv2d(in_per_group * groups, out, kernel, layer.stride, groups=groups)
            conv.weight.data = torch.from_numpy(layer.weight)
            conv.bias.data = torch.from_numpy(layer.bias)
            self.convolutions.append(conv)
        self.channels = layers[-1].weight.shape[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convolutions:
            kernel, stride = conv.kernel_size[0], conv.stride[0]
            top, bottom = same_padding(x.shape[2], kernel, stride)
            left, right = same_padding(x.shape[3], kernel, stride)
            if top == bottom == left == right:
                x = F.conv2d(x, conv.weight, conv.bias, stride, top, groups=conv.groups)
            else:
                x = conv(F.pad(x, (left, right, top, bottom)))
            x = F.relu6(x, inplace=True)
        return x.mean((2, 3))


class Student(nn.Module):
    """[N, 3, H, W] -> embedding [N, dim], and one [N, labels] of logits a head."""

    def __init__(self, layers: list[Convolution], dim: int, heads: dict[str, int]):
        super().__init__()
        self.backbone = MobileNetV1(layers)
        self.embedding = nn.Linear(self.backbone.channels, dim)
        self.heads = nn.ModuleDict({name: nn.Linear(self.backbone.channels, n) for name, n in heads.items()})
        for head in self.heads.values():
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        pooled = self.backbone(x)
        return self.embedding(pooled), {name: head(pooled) for name, head in self.heads.items()}

    @torch.no_grad()
    def start_from_principal_components(self, pooled: np.ndarray) -> None:
        """Sets the projection to the first components of `pooled` [photos, channels], centred.

        The first batches then already have the similarities of the pretrained features.
        """
        mean = pooled.mean(0)
        _, _, components = np.linalg.svd(pooled - mean, full_matrices=False)
        weight = torch.from_numpy(components[: self.embedding.out_features].astype(np.float32))
        self.embedding.weight.copy_(weight)
        self.embedding.bias.copy_(-weight @ torch.from_numpy(mean.astype(np.float32)))


@torch.no_grad()
def embed(student: Student, pixels: np.ndarray, batch: int = 64) -> np.ndarray:
    """uint8 [N, H, W, 3] -> float32 [N, dim], unit length."""
    from .preprocess import normalise

    parts = []
    for start in range(0, len(pixels), batch):
        x = torch.from_numpy(normalise(np.asarray(pixels[start : start + batch])))
        x = x.to(memory_format=torch.channels_last)
        parts.append(F.normalize(student(x)[0]).numpy())
    return np.concatenate(parts)
