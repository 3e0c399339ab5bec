"""Runs an exported network with ONNX Runtime, the reference for the Rust core."""

from pathlib import Path

import numpy as np
import onnxruntime

from .pack import EMBEDDING, read_manifest
from .preprocess import Recipe


class Network:
    """An ONNX network and its preprocessing; `embedding` is the name of its embedding output."""

    def __init__(self, model: Path | bytes, recipe: Recipe, embedding: str = EMBEDDING, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # On AVX2 without VNNI, the quick kernels for u8 x s8 saturate at 16 bits, and recall falls by several points. This
        # setting computes exact sums, as the Rust core does.
        options.add_session_config_entry("session.x64quantprecision", "1")
        source = model if isinstance(model, bytes) else str(model)
        self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self.recipe, self.embedding = recipe, embedding
        self.outputs = [output.name for output in self.session.get_outputs()]

    @staticmethod
    def of_pack(pack: Path, threads: int = 1) -> "Network":
        manifest = read_manifest(pack)
        file = pack / manifest["network"]["file"]
        return Network(file, Recipe.of(manifest), manifest["embedding"]["output"], threads)

    def __call__(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [N, H, W, 3] -> each output [N, n]: the embedding scaled to unit length, the heads as logits."""
        parts = [
            self.session.run(self.outputs, {self.recipe.name: self.recipe.normalise(np.asarray(pixels[i : i + 1]))})
            for i in range(len(pixels))
        ]
        result = {name: np.concatenate(values) for name, values in zip(self.outputs, zip(*parts))}
        embedding = result[self.embedding]
        result[self.embedding] = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
        return result


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
