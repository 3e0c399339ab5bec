"""torchvision's nets, exported and quantised as a user would: `torch.onnx.export`, then ONNX Runtime's
`quant_pre_process` and `quantize_static`. They check that networks made by others load and give the same outputs.

ImageNet weights come from a server that a build machine may not reach. So the weights are torchvision's random ones,
with batch normalisation statistics computed from photos to keep activations in a normal range. This makes the cosine a
harder test than trained weights, which are less sensitive to rounding.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
import torchvision
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import packs
import photos
from nets import TEST_PHOTOS
from packs import INPUT, OUTPUT, Net

SIDE, MEAN = 224, 0.5
CALIBRATION = 64


class Photos(CalibrationDataReader):
    def __init__(self, batch: np.ndarray):
        self.left: Iterator[np.ndarray] = iter(batch)

    def get_next(self) -> dict[str, np.ndarray] | None:
        photo = next(self.left, None)
        return None if photo is None else {INPUT: photo}


def set_batch_norm_statistics(net: torch.nn.Module, batch: torch.Tensor) -> None:
    """Sets the batch normalisation statistics to those of the photos."""
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    net.train()
    for dropout in (m for m in net.modules() if isinstance(m, torch.nn.Dropout)):
        dropout.eval()
    with torch.no_grad():
        net(batch)
    net.eval()


def export(net: torch.nn.Module, target: Path) -> None:
    photo = torch.zeros(1, 3, SIDE, SIDE)
    torch.onnx.export(
        net, (photo,), target, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, external_data=False
    )


def make(name: str, architecture: str) -> Net:
    torch.manual_seed(7)
    net = torchvision.models.get_model(architecture, weights=None)
    calibration = photos.inputs(SIDE, MEAN, TEST_PHOTOS, CALIBRATION)
    set_batch_norm_statistics(net, torch.from_numpy(calibration[:, 0]))
    with tempfile.TemporaryDirectory() as folder:
        exported, prepared, quantised = (Path(folder, f"{step}.onnx") for step in ("exported", "prepared", "int8"))
        export(net, exported)
        quant_pre_process(exported, prepared)
        quantize_static(
            prepared,
            quantised,
            Photos(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )
        extra = {"f32.onnx": exported.read_bytes()}
        return packs.write(name, onnx.load(quantised), photos.inputs(SIDE, MEAN, 0, TEST_PHOTOS), MEAN, extra)
