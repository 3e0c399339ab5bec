"""Weights and features out of the ImageNet-trained LiteRT files.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018):
a real value is scale * (stored - zero_point). The files have batch normalisation folded into the convolutions.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from .preprocess import open_upright, squash

STUDENT_FILE = "mobilenet_v1_0.75_192_quant.tflite"
TEACHER_FILE = "tf2_mobilenet_v2_1.0_224_ptq.tflite"


@dataclass(frozen=True)
class Convolution:
    """One convolution in torch's layout: weight [out, in / groups, k, k], bias [out]."""

    weight: np.ndarray
    bias: np.ndarray
    stride: int
    depthwise: bool


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


def dequantise(interpreter: Interpreter, index: int) -> np.ndarray:
    details = next(d for d in interpreter.get_tensor_details() if d["index"] == index)
    scale, zero = details["quantization"]
    return (interpreter.get_tensor(index).astype(np.float32) - zero) * np.float32(scale)


def read_mobilenet_v1(path: Path) -> list[Convolution]:
    """The convolutions of a MobileNetV1 in order, without the classifier."""
    interpreter = open_model(path)
    shapes = {d["index"]: d["shape"] for d in interpreter.get_tensor_details()}
    layers = []
    for op in interpreter._get_ops_details():
        if op["op_name"] not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        source, weight, bias = (int(i) for i in op["inputs"])
        depthwise = op["op_name"] == "DEPTHWISE_CONV_2D"
        w = dequantise(interpreter, weight)
        # LiteRT keeps [out, k, k, in], and [1, k, k, channels] for depthwise.
        w = w[0].transpose(2, 0, 1)[:, None] if depthwise else w.transpose(0, 3, 1, 2)
        stride = round(shapes[source][1] / shapes[int(op["outputs"][0])][1])
        layers.append(Convolution(np.ascontiguousarray(w), dequantise(interpreter, bias), stride, depthwise))
    return layers[:-1]


class PooledFeatures:
    """Runs a LiteRT classifier on pictures and returns what its classifier sees: the pooled features."""

    def __init__(self, path: Path):
        self.interpreter = open_model(path)
        self.input = self.interpreter.get_input_details()[0]
        self.side = int(self.input["shape"][1])
        pools = [
            op for op in self.interpreter._get_ops_details() if op["op_name"] in ("MEAN", "AVERAGE_POOL_2D")
        ]
        self.output = int(pools[-1]["outputs"][0])

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


def teacher_features(paths: list[Path], weights: Path, cache: Path) -> np.ndarray:
    """float32 [photos, 1280] of MobileNetV2 for whole photos; computed once and kept in `cache`."""
    path = cache / "teacher.npy"
    if not path.exists():
        teacher = PooledFeatures(weights / TEACHER_FILE)
        features = np.stack([teacher(squash(open_upright(p), teacher.side, teacher.side)) for p in paths])
        np.save(path, features)
    return np.load(path)
