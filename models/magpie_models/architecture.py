"""The published backbones as lists of convolutions: sizes and structure, with all weights 0.

Howard et al., "MobileNets" (2017), table 1; Sandler et al., "MobileNetV2" (2018), table 2; Tan and Le, "EfficientNet"
(2019), table 1. EfficientNet-Lite (Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog,
2020) is made for int8: it has ReLU6 instead of swish, no squeeze-and-excitation, and keeps the first and the last
layer at their size when it is scaled.
"""

import math

import numpy as np

from .weights import Convolution

# Output channels at width 1.0, and stride, of each depthwise-separable pair (depthwise, then 1x1).
V1_PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
# Expansion factor, output channels at width 1.0, number of blocks, stride of the first block.
V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
FIRST, V2_LAST = 32, 1280
# EfficientNet-Lite: expansion factor, kernel, output channels at width 1.0, blocks at depth 1.0, stride of the first.
LITE_STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
# Number of the network -> width, depth. All three have 1,280 channels at the end.
LITE_SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
# Channel counts at other widths are multiples of this.
DIVISOR = 8


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, **structure: bool) -> Convolution:
    depthwise = kernel > 1 and inputs == outputs
    weight = np.zeros((outputs, 1 if depthwise else inputs, kernel, kernel), np.float32)
    return Convolution(weight, np.zeros(outputs, np.float32), stride, depthwise, **structure)


def rounded_width(channels: int, width: float) -> int:
    """Scales the channels of a layer to `width`: a multiple of 8, at most a tenth below the exact product."""
    wanted = channels * width
    rounded = max(DIVISOR, int(wanted + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded + DIVISOR if rounded < 0.9 * wanted else rounded


def mobilenet_v1(width: float) -> list[Convolution]:
    channels = int(FIRST * width)
    layers = [_convolution(3, channels, 3, 2)]
    for out, stride in V1_PAIRS:
        layers.append(_convolution(channels, channels, 3, stride))
        layers.append(_convolution(channels, int(out * width)))
        channels = int(out * width)
    return layers


def mobilenet_v2(width: float) -> list[Convolution]:
    """As published, the last layer keeps its 1,280 channels at widths below 1.0."""
    channels = rounded_width(FIRST, width)
    layers = [_convolution(3, channels, 3, 2)]
    for expansion, full, blocks, stride in V2_STAGES:
        out = rounded_width(full, width)
        layers += _inverted_residuals(channels, out, expansion, 3, blocks, stride)
        channels = out
    return [*layers, _convolution(channels, V2_LAST)]


def efficientnet_lite(number: int) -> list[Convolution]:
    """EfficientNet-Lite 0, 1 or 2. Scaling leaves the number of blocks of the first and the last stage as it is."""
    width, depth = LITE_SCALES[number]
    channels = FIRST
    layers = [_convolution(3, channels, 3, 2)]
    for i, (expansion, kernel, full, blocks, stride) in enumerate(LITE_STAGES):
        out = rounded_width(full, width)
        if 0 < i < len(LITE_STAGES) - 1:
            blocks = math.ceil(blocks * depth)
        layers += _inverted_residuals(channels, out, expansion, kernel, blocks, stride)
        channels = out
    return [*layers, _convolution(channels, V2_LAST)]


def _inverted_residuals(
    channels: int, out: int, expansion: int, kernel: int, blocks: int, first_stride: int
) -> list[Convolution]:
    """A stage of blocks: 1x1 expansion, depthwise, linear 1x1; a shortcut around each block but the first."""
    layers = []
    for block in range(blocks):
        stride, inner, shortcut = (first_stride if block == 0 else 1), channels * expansion, block > 0
        if expansion > 1:
            layers.append(_convolution(channels, inner, opens_block=shortcut))
        layers.append(_convolution(inner, inner, kernel, stride))
        layers.append(_convolution(inner, out, linear=True, adds_shortcut=shortcut))
        channels = out
    return layers


def same_structure(a: list[Convolution], b: list[Convolution]) -> bool:
    """Whether two lists of layers differ only in the values of their weights."""

    def structure(layer: Convolution) -> tuple:
        return layer.weight.shape, layer.stride, layer.linear, layer.opens_block, layer.adds_shortcut

    return [structure(layer) for layer in a] == [structure(layer) for layer in b]
