"""The published MobileNets as lists of convolutions: sizes and structure, with all weights 0.

Howard et al., "MobileNets" (2017), table 1; Sandler et al., "MobileNetV2" (2018), table 2.
"""

import numpy as np

from .weights import Convolution

# Output channels at width 1.0, and stride, of each depthwise-separable pair (depthwise, then 1x1).
V1_PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
# Expansion factor, output channels at width 1.0, number of blocks, stride of the first block.
V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
FIRST, V2_LAST = 32, 1280
# Channel counts at other widths are multiples of this.
DIVISOR = 8


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, **structure: bool) -> Convolution:
    depthwise = kernel == 3 and inputs == outputs
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
    for expansion, full, blocks, first_stride in V2_STAGES:
        out = rounded_width(full, width)
        for block in range(blocks):
            stride, inner = (first_stride if block == 0 else 1), channels * expansion
            shortcut = block > 0
            if expansion > 1:
                layers.append(_convolution(channels, inner, opens_block=shortcut))
            layers.append(_convolution(inner, inner, 3, stride))
            layers.append(_convolution(inner, out, linear=True, adds_shortcut=shortcut))
            channels = out
    return [*layers, _convolution(channels, V2_LAST)]


def same_structure(a: list[Convolution], b: list[Convolution]) -> bool:
    """Whether two lists of layers differ only in the values of their weights."""

    def structure(layer: Convolution) -> tuple:
        return layer.weight.shape, layer.stride, layer.linear, layer.opens_block, layer.adds_shortcut

    return [structure(layer) for layer in a] == [structure(layer) for layer in b]
