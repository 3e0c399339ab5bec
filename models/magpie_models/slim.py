"""Narrower MobileNetV2s out of the one of width 1.0: the strongest channels of each layer are kept.

Li et al., "Pruning Filters for Efficient ConvNets" (2017): a channel is as strong as the sum of the absolute weights
of the filters that make it. Channels that are added to one another (a chain of residual blocks) must stay aligned, so
that they are judged together.
"""

from dataclasses import replace

import numpy as np

from .weights import Convolution


def slim(layers: list[Convolution], sizes: list[Convolution]) -> list[Convolution]:
    """`layers` with as many channels as the layers of `sizes` have, which has the same structure."""
    strength = [np.abs(layer.weight).sum((1, 2, 3)) for layer in layers]
    kept: list[np.ndarray] = []
    result = []
    for i, layer in enumerate(layers):
        read = kept[-1] if kept else np.arange(layer.weight.shape[1])
        if layer.depthwise:
            mine, weight = read, layer.weight[read]
        else:
            if layer.adds_shortcut:
                mine = kept[_shortcut_maker(layers, i)]
            else:
                mine = strongest(_judged(layers, strength, i), sizes[i].weight.shape[0])
            weight = layer.weight[mine][:, read]
        kept.append(mine)
        result.append(replace(layer, weight=np.ascontiguousarray(weight), bias=layer.bias[mine]))
    return result


def strongest(strength: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the `count` strongest channels, in ascending order."""
    return np.sort(np.argsort(-strength, kind="stable")[:count])


def _shortcut_maker(layers: list[Convolution], last: int) -> int:
    """The layer that made the shortcut which layer `last` adds."""
    return next(i for i in range(last, -1, -1) if layers[i].opens_block) - 1


def _judged(layers: list[Convolution], strength: list[np.ndarray], i: int) -> np.ndarray:
    """The strength of a layer's channels; of one that starts a residual chain, with all that is added to them."""
    if i + 1 < len(layers) and layers[i + 1].depthwise:
        # Two filters in turn make such a channel.
        return strength[i] * strength[i + 1]
    total, source = strength[i].copy(), i
    for j in range(i + 1, len(layers)):
        if layers[j].adds_shortcut and _shortcut_maker(layers, j) == source:
            total += strength[j]
            source = j
    return total
