"""Reads weights and features from the ImageNet-trained LiteRT files.

A real value is scale * (stored - zero_point): Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2018). Batch normalisation is already folded into the convolutions.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

TEACHER_FILE = "tf2_mobilenet_v2_1.0_224_ptq.tflite"


@dataclass(frozen=True)
class Convolution:
    """One convolution in torch's layout: weight [out, in / groups, k, k], bias [out].

    `linear`: no ReLU6 follows. `opens_block`: its input is also the shortcut of a residual block. `adds_shortcut`: the
    open shortcut is added to its output.
    """

    weight: np.ndarray
    bias: np.ndarray
    stride: int
    depthwise: bool
    linear: bool = False
    opens_block: bool = False
    adds_shortcut: bool = False


def open_model(path: Path) -> Interpreter:
    # The XNNPACK delegate hides the tensors between operators.
    interpreter = Interpreter(
        str(path),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    return interpreter


def details_of(interpreter: Interpreter) -> dict[int, dict]:
    return {int(d["index"]): d for d in interpreter.get_tensor_details()}


def dequantise(interpreter: Interpreter, details: dict) -> np.ndarray:
    """The float32 values of a tensor quantised per tensor or per channel."""
    stored = interpreter.get_tensor(details["index"]).astype(np.float32)
    quantisation = details["quantization_parameters"]
    scales, zeros = quantisation["scales"].astype(np.float32), quantisation["zero_points"].astype(np.float32)
    if len(scales) > 1:
        shape = [1] * stored.ndim
        shape[quantisation["quantized_dimension"]] = len(scales)
        scales, zeros = scales.reshape(shape), zeros.reshape(shape)
    return (stored - zeros) * scales


def reaches_below_zero(details: dict) -> bool:
    """Whether a quantised tensor can represent negative values; the output of a ReLU6 cannot."""
    _, zero = details["quantization"]
    return bool(np.iinfo(details["dtype"]).min < zero)


def read_mobilenet(path: Path) -> list[Convolution]:
    """The convolutions of a MobileNetV1 or V2 in order, without the classifier."""
    interpreter = open_model(path)
    details = details_of(interpreter)
    layers: list[Convolution] = []
    reader_of: dict[int, int] = {}
    producer_of: dict[int, int] = {}
    for op in interpreter._get_ops_details():
        inputs, output = [int(i) for i in op["inputs"] if i >= 0], int(op["outputs"][0])
        if op["op_name"] == "ADD":
            shortcut, sum_of_block = sorted(inputs, key=lambda i: producer_of[i])
            opening, last = reader_of[shortcut], producer_of[sum_of_block]
            layers[opening] = replace(layers[opening], opens_block=True)
            layers[last] = replace(layers[last], adds_shortcut=True)
            producer_of[output] = last
        if op["op_name"] not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        source, weight, bias = inputs
        depthwise = op["op_name"] == "DEPTHWISE_CONV_2D"
        w = dequantise(interpreter, details[weight])
        # LiteRT's layout is [out, k, k, in], and [1, k, k, channels] for depthwise.
        w = w[0].transpose(2, 0, 1)[:, None] if depthwise else w.transpose(0, 3, 1, 2)
        stride = round(details[source]["shape"][1] / details[output]["shape"][1])
        b = dequantise(interpreter, details[bias])
        linear = reaches_below_zero(details[output])
        reader_of[source] = producer_of[output] = len(layers)
        layers.append(Convolution(np.ascontiguousarray(w), b, stride, depthwise, linear))
    return layers[:-1]


class PooledFeatures:
    """Runs a LiteRT classifier and returns its pooled features, the input of the classifier layer."""

    def __init__(self, path: Path):
        self.interpreter = open_model(path)
        self.input = self.interpreter.get_input_details()[0]
        self.side = int(self.input["shape"][1])
        pools = [op for op in self.interpreter._get_ops_details() if op["op_name"] in ("MEAN", "AVERAGE_POOL_2D")]
        self.output = details_of(self.interpreter)[int(pools[-1]["outputs"][0])]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [side, side, 3] -> float32 [features]."""
        scale, zero = self.input["quantization"]
        dtype = self.input["dtype"]
        if dtype == np.uint8:
            value = pixels
        else:
            value = pixels.astype(np.float32) / 127.5 - 1.0
            if dtype != np.float32:
                info = np.iinfo(dtype)
                value = np.clip(np.round(value / scale + zero), info.min, info.max)
        self.interpreter.set_tensor(self.input["index"], value[None].astype(dtype))
        self.interpreter.invoke()
        return dequantise(self.interpreter, self.output).reshape(-1)
