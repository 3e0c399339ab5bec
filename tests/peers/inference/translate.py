"""Translates a quantised LiteRT file, operator by operator, to an ONNX QDQ graph and to an f32 ONNX graph.

Weights, biases, scales and zero points are copied unchanged, with one exception: activations are s8 in LiteRT and u8 in
the ONNX graph, as ONNX Runtime is fastest with u8 on x86, so their zero points are shifted by exactly 128. ReLU6 needs
no node: an activation with the range 0 to 6 saturates in the same way.
"""

from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import TensorProto, helper, numpy_helper

from packs import INPUT, OUTPUT

OPSET, IR_VERSION = 13, 8


@dataclass(frozen=True)
class Scale:
    """Quantisation parameters: real = scale * (stored - zero), with one scale, or one per output channel."""

    scale: np.ndarray
    zero: int


def without_softmax(path: Path) -> bytes:
    """Cuts off the softmax, which the other runners do not have, so that the file ends with the logits."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    graph = model.subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    end = next(at for at, op in enumerate(graph.operators) if codes[op.opcodeIndex] == schema.BuiltinOperator.SOFTMAX)
    graph.outputs = graph.operators[end].inputs
    graph.operators = graph.operators[:end]
    # The signature refers to the removed output; the runners use the graph's own list of outputs.
    model.signatureDefs = None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class LiteRtFile:
    """The operators and tensors of a file, read without delegates, which would hide them."""

    def __init__(self, content: bytes):
        self.interpreter = Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self.interpreter.allocate_tensors()
        self.details = {d["index"]: d for d in self.interpreter.get_tensor_details()}
        self.operators = self.interpreter._get_ops_details()

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(n) for n in self.details[tensor]["shape"])

    def constant(self, tensor: int) -> np.ndarray:
        return self.interpreter.get_tensor(tensor)

    def scale(self, tensor: int) -> Scale:
        parameters = self.details[tensor]["quantization_parameters"]
        zeros = parameters["zero_points"]
        if not (zeros == zeros[0]).all():
            raise ValueError(f"tensor {tensor} has several zero points")
        return Scale(parameters["scales"].astype(np.float32), int(zeros[0]))


class Graph:
    """An ONNX graph under construction, in two forms: with QDQ pairs, and in f32 with dequantised weights."""

    def __init__(self) -> None:
        self.nodes: dict[str, list[onnx.NodeProto]] = {"int8": [], "f32": []}
        self.constants: dict[str, list[onnx.TensorProto]] = {"int8": [], "f32": []}

    def constant(self, form: str, name: str, value: np.ndarray) -> str:
        self.constants[form].append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes) -> None:
        """Adds the same node to both forms."""
        for nodes in self.nodes.values():
            nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))

    def weight(self, name: str, stored: np.ndarray, scale: Scale) -> str:
        """Adds a constant quantised along its first axis: DequantizeLinear of the stored integers, or real values."""
        per_channel = scale.scale.reshape(-1, *[1] * (stored.ndim - 1))
        if scale.zero != 0:
            raise ValueError(f"{name} is not symmetric")
        self.constant("f32", name, stored.astype(np.float32) * per_channel)
        parts = [
            self.constant("int8", f"{name}_quantized", stored),
            self.constant("int8", f"{name}_scale", scale.scale),
            self.constant("int8", f"{name}_zero_point", np.zeros(len(scale.scale), stored.dtype)),
        ]
        self.nodes["int8"].append(helper.make_node("DequantizeLinear", parts, [name], name=f"{name}_dq", axis=0))
        return name

    def requantise(self, source: str, name: str, scale: Scale) -> str:
        """Quantises `source` to u8 and dequantises it; in f32, only clips it to the range if it starts at 0 (ReLU6)."""
        zero = scale.zero + 128
        parts = [
            self.constant("int8", f"{name}_scale", scale.scale.reshape(())),
            self.constant("int8", f"{name}_zero_point", np.array(zero, np.uint8)),
        ]
        self.nodes["int8"] += [
            helper.make_node("QuantizeLinear", [source, *parts], [f"{name}_u8"], name=f"{name}_q"),
            helper.make_node("DequantizeLinear", [f"{name}_u8", *parts], [name], name=f"{name}_dq"),
        ]
        if zero == 0:
            low = self.constant("f32", f"{name}_low", np.array(0, np.float32))
            high = self.constant("f32", f"{name}_high", np.array(np.round(255 * scale.scale[0], 4), np.float32))
            self.nodes["f32"].append(helper.make_node("Clip", [source, low, high], [name], name=f"{name}_clip"))
        else:
            self.nodes["f32"].append(helper.make_node("Identity", [source], [name], name=f"{name}_same"))
        return name

    def model(self, form: str, side: int, outputs: int) -> onnx.ModelProto:
        source = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, side, side])
        target = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, outputs])
        graph = helper.make_graph(self.nodes[form], "peer", [source], [target], self.constants[form])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return onnx.shape_inference.infer_shapes(model)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and after, as in TensorFlow's SAME padding: the odd pixel goes to the right and bottom."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def translate(content: bytes) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Translates the network to ONNX, quantised and in f32: NCHW photo in, logits out."""
    file, graph = LiteRtFile(content), Graph()
    names: dict[int, str] = {}
    for at, op in enumerate(file.operators):
        kind, out = op["op_name"], int(op["outputs"][0])
        inputs = [int(i) for i in op["inputs"] if i >= 0]
        name = f"{at:02}_{kind.lower()}"
        if kind == "QUANTIZE":
            # u8 to s8 with the same scale: in the ONNX graph, this becomes the quantisation of the input.
            side = file.shape(out)[1]
            names[out] = graph.requantise(INPUT, name, file.scale(out))
        elif kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            convolution(file, graph, names, name, inputs, out, depthwise=kind != "CONV_2D")
        elif kind == "ADD":
            graph.node("Add", [names[i] for i in inputs], f"{name}_sum")
            names[out] = graph.requantise(f"{name}_sum", name, file.scale(out))
        elif kind == "MEAN":
            graph.node("GlobalAveragePool", [names[inputs[0]]], f"{name}_mean")
            names[out] = graph.requantise(f"{name}_mean", name, file.scale(out))
        elif kind == "RESHAPE":
            classes = file.shape(out)[-1]
            graph.node("Flatten", [names[inputs[0]]], f"{name}_flat")
            graph.requantise(f"{name}_flat", OUTPUT, file.scale(out))
        else:
            raise ValueError(f"operator {kind} is not supported")
    return graph.model("int8", side, classes), graph.model("f32", side, classes)


def convolution(
    file: LiteRtFile,
    graph: Graph,
    names: dict[int, str],
    name: str,
    inputs: list[int],
    out: int,
    depthwise: bool,
) -> None:
    source, weight, bias = inputs
    stored = file.constant(weight)
    # LiteRT's layout is [out, k, k, in], and [1, k, k, channels] for depthwise.
    stored = stored[0].transpose(2, 0, 1)[:, None] if depthwise else stored.transpose(0, 3, 1, 2)
    channels, kernel = stored.shape[0], stored.shape[2]
    scale = file.scale(weight)
    if stored.dtype != np.int8 or len(scale.scale) != channels:
        raise ValueError(f"{name}: weights are {stored.dtype} with {len(scale.scale)} scales, expected s8 per channel")
    size = file.shape(source)[1]
    stride = -(-size // file.shape(out)[1])
    before, after = same_padding(size, kernel, stride)
    graph.node(
        "Conv",
        [
            names[source],
            graph.weight(f"{name}_weight", np.ascontiguousarray(stored), scale),
            graph.weight(f"{name}_bias", file.constant(bias), file.scale(bias)),
        ],
        f"{name}_sum",
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        pads=[before, before, after, after],
        group=channels if depthwise else 1,
    )
    names[out] = graph.requantise(f"{name}_sum", name, file.scale(out))
