"""Converts a pack's QDQ network to a LiteRT file with the same integers, so that LiteRT can be measured on it.

Supports only what `models/magpie_models/graph.py` writes: convolutions, global average pooling, and fully connected
outputs. A pack's outputs are f32; in LiteRT they are s8, with a range given by the caller.
"""

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

from translate import same_padding

LITERT_TYPES = {np.dtype(np.int8): schema.TensorType.INT8, np.dtype(np.int32): schema.TensorType.INT32}
OPERATORS = {
    "CONV_2D": (schema.BuiltinOperator.CONV_2D, 3),
    "DEPTHWISE_CONV_2D": (schema.BuiltinOperator.DEPTHWISE_CONV_2D, 3),
    "MEAN": (schema.BuiltinOperator.MEAN, 2),
    "FULLY_CONNECTED": (schema.BuiltinOperator.FULLY_CONNECTED, 5),
}


class Writer:
    def __init__(self) -> None:
        self.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, name: str, shape: list[int], scales: np.ndarray | None, zero: int, axis: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), shape, 0
        tensor.type, tensor.hasRank = schema.TensorType.INT8, True
        if scales is not None:
            scales = scales.reshape(-1).astype(np.float32)
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.full(len(scales), zero, np.int64)
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, value: np.ndarray, scales: np.ndarray | None = None, axis: int = 0) -> int:
        index = self.tensor(name, list(value.shape), scales, 0, axis)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        self.buffers.append(buffer)
        self.graph.tensors[index].type = LITERT_TYPES[value.dtype]
        self.graph.tensors[index].buffer = len(self.buffers) - 1
        return index

    def operator(self, kind: str, inputs: list[int], output: int, options: object) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex = list(OPERATORS).index(kind)
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.graph.operators.append(operator)

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [self.graph], self.buffers
        model.operatorCodes = []
        for builtin, version in OPERATORS.values():
            code = schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = builtin
            code.version = version
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class Source:
    """Reads the ONNX graph through its QDQ nodes: the stored integers, scales and zero points of its values."""

    def __init__(self, model: onnx.ModelProto):
        self.graph = model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}
        self.consumers = {name: node for node in model.graph.node for name in node.input}

    def source_of(self, name: str) -> str:
        """The value that `name` is the quantised, dequantised or flattened form of."""
        passed = ("DequantizeLinear", "QuantizeLinear", "Flatten")
        while name in self.producers and self.producers[name].op_type in passed:
            name = self.producers[name].input[0]
        return name

    def stored(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The integers and scales of a constant."""
        values, scales, zeros = (self.constants[part] for part in self.producers[name].input)
        if zeros.any():
            raise ValueError(f"{name} is not symmetric")
        return values, scales

    def quantisation(self, name: str) -> tuple[np.ndarray, int]:
        """The scale and the s8 zero point that an activation is quantised with."""
        _, scale, zero = self.consumers[name].input
        return self.constants[scale], int(self.constants[zero]) - 128

    def attributes(self, node: onnx.NodeProto) -> dict:
        return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def to_litert(model: onnx.ModelProto, side: int, max_magnitudes: dict[str, float]) -> bytes:
    """Converts the network, keeping the order of its outputs. `max_magnitudes` has the largest magnitude of each."""
    source, writer = Source(model), Writer()
    image = source.graph.input[0].name
    tensors = {image: writer.tensor(image, [1, side, side, 3], *source.quantisation(image))}
    sizes = {image: side}
    for node in source.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Flatten"):
            continue
        before, after = source.source_of(node.input[0]), node.output[0]
        if node.op_type == "Conv":
            sizes[after], tensors[after] = convolution(source, writer, node, tensors[before], sizes[before])
        elif node.op_type == "GlobalAveragePool":
            channels = int(writer.graph.tensors[tensors[before]].shape[-1])
            tensors[after] = writer.tensor(after, [1, channels], *source.quantisation(after))
            axes = writer.constant("axes", np.array([1, 2], np.int32))
            options = schema.ReducerOptionsT()
            options.keepDims = False
            writer.operator("MEAN", [tensors[before], axes], tensors[after], options)
        elif node.op_type == "Gemm":
            weight, scales = source.stored(node.input[1])
            bias, bias_scales = source.stored(node.input[2])
            tensors[after] = writer.tensor(after, [1, len(bias)], np.array(max_magnitudes[after] / 127), 0)
            parts = [
                tensors[before],
                writer.constant(f"{after}_weight", weight, scales),
                writer.constant(f"{after}_bias", bias, bias_scales),
            ]
            writer.operator("FULLY_CONNECTED", parts, tensors[after], schema.FullyConnectedOptionsT())
        else:
            raise ValueError(f"operator {node.op_type} is not supported")
    return writer.finish([tensors[image]], [tensors[output.name] for output in source.graph.output])


def convolution(source: Source, writer: Writer, node: onnx.NodeProto, before: int, size: int) -> tuple[int, int]:
    name, attributes = node.output[0], source.attributes(node)
    weight, scales = source.stored(node.input[1])
    bias, bias_scales = source.stored(node.input[2])
    stride, kernel = attributes["strides"][0], weight.shape[2]
    low, high = same_padding(size, kernel, stride)
    if attributes["pads"] != [low, low, high, high]:
        raise ValueError(f"{name}: padding {attributes['pads']} is not TensorFlow's SAME")
    size = -(-size // stride)
    after = writer.tensor(name, [1, size, size, len(bias)], *source.quantisation(name))
    if attributes["group"] == 1:
        kind, options = "CONV_2D", schema.Conv2DOptionsT()
        stored = writer.constant(f"{name}_weight", weight.transpose(0, 2, 3, 1), scales)
    else:
        kind, options = "DEPTHWISE_CONV_2D", schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
        stored = writer.constant(f"{name}_weight", weight[:, 0].transpose(1, 2, 0)[None], scales, axis=3)
    options.padding, options.strideW, options.strideH = schema.Padding.SAME, stride, stride
    options.dilationWFactor = options.dilationHFactor = 1
    writer.operator(kind, [before, stored, writer.constant(f"{name}_bias", bias, bias_scales)], after, options)
    return size, after
