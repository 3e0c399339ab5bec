"""The student as an ONNX graph, in f32 and quantised.

The graph is written node by node rather than traced, so that it contains exactly the patterns that the Rust core
recognises: Conv with explicit padding, Clip, Add, GlobalAveragePool, Flatten, Gemm.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from .backbone import Student, same_padding
from .pack import EMBEDDING
from .preprocess import MEAN, STD, Recipe

OPSET, IR_VERSION = 13, 8
INPUT = "image"
# Input scale and zero point by mean and deviation of the input; see `preprocess` for the first. For inputs in -1..1, a
# scale of 2 / 255 would put every pixel value half-way between two levels, where rounding errors of floats decide the
# level. With 1 / 127, no pixel value is near a tie.
INPUT_LEVELS = {(MEAN, STD): (1 / 128, 127), ((0.5,) * 3, (0.5,) * 3): (1 / 127, 128)}
# A channel whose weights are all smaller than this is dead: it gives its bias for every input.
DEAD = 1e-5


def build(student: Student, side: int) -> onnx.ModelProto:
    """Builds the f32 graph: input [1, 3, side, side]; outputs `embedding` [1, dim], and logits [1, labels] a head."""
    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    low = constant("relu6_low", np.array(0, np.float32))
    high = constant("relu6_high", np.array(6, np.float32))
    x, size, shortcut = INPUT, side, INPUT
    for i, (layer, conv) in enumerate(zip(student.backbone.layers, student.backbone.convolutions)):
        if layer.opens_block:
            shortcut = x
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        before, after = same_padding(size, kernel, stride)
        kind = "depthwise" if conv.groups > 1 else f"conv{kernel}x{kernel}"
        name = f"{i:02}_{kind}"
        weight = constant(f"{name}_weight", without_dead_channels(conv.weight.detach().numpy()))
        bias = constant(f"{name}_bias", conv.bias.detach().numpy())
        nodes.append(
            helper.make_node(
                "Conv",
                [x, weight, bias],
                [f"{name}_sum"],
                name=name,
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                pads=[before, before, after, after],
                group=conv.groups,
            )
        )
        x = f"{name}_sum"
        if not layer.linear:
            nodes.append(helper.make_node("Clip", [x, low, high], [f"{name}_out"], name=f"{name}_relu6"))
            x = f"{name}_out"
        if layer.adds_shortcut:
            nodes.append(helper.make_node("Add", [shortcut, x], [f"{name}_block"], name=f"{name}_add"))
            x = f"{name}_block"
        size = -(-size // stride)
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled_map"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pooled_map"], ["pooled"], name="flatten"))
    outputs = []
    for name, linear in {EMBEDDING: student.embedding, **student.heads}.items():
        weight = constant(f"{name}_weight", linear.weight.detach().numpy())
        bias = constant(f"{name}_bias", linear.bias.detach().numpy())
        nodes.append(helper.make_node("Gemm", ["pooled", weight, bias], [name], name=f"{name}_gemm", transB=1))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, linear.out_features]))
    source = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, side, side])
    graph = helper.make_graph(nodes, "magpie", [source], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "magpie_models"
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def without_dead_channels(weight: np.ndarray) -> np.ndarray:
    """Sets the weights [out, in, k, k] of dead channels to 0.

    More than half of the layers of EfficientNet-Lite have channels with weights near 1e-8. Their quantisation scale
    would be so small that the bias, in units of it, does not fit an int32.
    """
    dead = np.abs(weight).max((1, 2, 3)) < DEAD
    return np.where(dead[:, None, None, None], np.float32(0), weight)


class Calibration(CalibrationDataReader):
    """The calibration set, uint8 [N, height, width, 3], as ONNX Runtime's calibrator reads it: one photo at a time."""

    def __init__(self, pixels: np.ndarray, recipe: Recipe):
        self.pixels, self.recipe, self.next = pixels, recipe, 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        if self.next == len(self.pixels):
            return None
        self.next += 1
        return {self.recipe.name: self.recipe.normalise(np.asarray(self.pixels[self.next - 1 : self.next]))}

    def __len__(self) -> int:
        return len(self.pixels)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.pixels, self.next = self.pixels[start_index:end_index], 0


def quantise(model: onnx.ModelProto, photos: np.ndarray, recipe: Recipe) -> onnx.ModelProto:
    """Static quantisation to QDQ: s8 weights per channel, u8 activations with the ranges measured on `photos`.

    Clip nodes become the saturation of u8. Gemm outputs stay f32: they are the network's outputs, so int8 would lose
    precision and save nothing.
    """
    options: dict = {"OpTypesToExcludeOutputQuantization": ["Gemm"]}
    if (recipe.mean, recipe.std) in INPUT_LEVELS:
        scale, zero_point = INPUT_LEVELS[recipe.mean, recipe.std]
        options["TensorQuantOverrides"] = {
            recipe.name: [
                {
                    "quant_type": QuantType.QUInt8,
                    "scale": np.array(scale, np.float32),
                    "zero_point": np.array(zero_point, np.uint8),
                }
            ]
        }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "f32.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            Calibration(photos, recipe),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=options,
        )
        quantised = onnx.load(target)
    onnx.checker.check_model(quantised, full_check=True)
    return quantised
