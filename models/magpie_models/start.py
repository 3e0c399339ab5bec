"""The backbones by name, and their initial weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from . import architecture, efficientnet, weights
from .architecture import efficientnet_lite, mobilenet_v1, mobilenet_v2
from .slim import slim
from .weights import Convolution

V2_FILE = weights.TEACHER_FILE
# Name -> layers without weights, and the LiteRT file of ImageNet-trained weights, of the same network or a wider one, or
# the number of the EfficientNet-Lite whose weights a Python package holds.
BACKBONES = {
    "mobilenetv1-0.5": (mobilenet_v1(0.5), "mobilenet_v1_0.5_160_quant.tflite"),
    "mobilenetv1-0.75": (mobilenet_v1(0.75), "mobilenet_v1_0.75_192_quant.tflite"),
    "mobilenetv2-0.5": (mobilenet_v2(0.5), V2_FILE),
    "mobilenetv2-0.75": (mobilenet_v2(0.75), V2_FILE),
    "mobilenetv2-1.0": (mobilenet_v2(1.0), V2_FILE),
    **{f"efficientnet-lite{number}": (efficientnet_lite(number), number) for number in (0, 1, 2)},
}
STARTS = ("imagenet", "random")


def backbone_layers(
    name: str, folder: Path, start: str = "imagenet", seed: int = 0, pictures: torch.Tensor | None = None
) -> list[Convolution]:
    """The convolutions of a backbone with their initial weights, from the LiteRT files in `folder`, or random.

    `pictures` [N, 3, H, W] normalised: training photos, needed if the network is pruned from a wider one.
    """
    sizes, file = BACKBONES[name]
    if start == "random":
        return random_layers(sizes, seed)
    if isinstance(file, int):
        return efficientnet.read(file)
    whole = mobilenet_v2(1.0) if file == V2_FILE else sizes
    layers = weights.read_mobilenet(folder / file)
    if not architecture.same_structure(layers, whole):
        raise ValueError(f"{folder / file} is not the network that {name} starts from")
    if architecture.same_structure(whole, sizes):
        return layers
    if pictures is None:
        raise ValueError(f"{name} is pruned from a wider network, which needs pictures")
    return slim(layers, sizes, pictures)


def random_layers(layers: list[Convolution], seed: int) -> list[Convolution]:
    """The same layers with random weights and zero biases.

    He et al., "Delving Deep into Rectifiers" (2015): variance 2 / fan-in before a ReLU, 1 / fan-in without one.
    """
    rng = np.random.default_rng(seed)
    result = []
    for layer in layers:
        fan_in = np.prod(layer.weight.shape[1:])
        deviation = np.sqrt((1 if layer.linear else 2) / fan_in)
        weight = rng.normal(0, deviation, layer.weight.shape).astype(np.float32)
        result.append(replace(layer, weight=weight, bias=np.zeros_like(layer.bias)))
    return result
