"""A net to compare: a model pack for Magpie, plus inputs and the outputs of ONNX Runtime.

    packs/<net>/manifest.json   the pack's manifest, from which every runner reads the input's name and size
    packs/<net>/model.onnx      QDQ int8, for ONNX Runtime and Magpie
    packs/<net>/model.tflite    the same weights for LiteRT, if LiteRT runs this net
    packs/<net>/f32.onnx        the same network in f32 for tract, if available
    packs/<net>/input.f32       photos in NCHW, little-endian f32, normalised
    packs/<net>/exact.f32       ONNX Runtime's embedding output for each photo, with exact sums, not normalised
"""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "models"))
from magpie_models.pack import manifest, read_manifest  # noqa: E402  (one owner for the model id)
from magpie_models.preprocess import Recipe  # noqa: E402

CACHE = ROOT / "target/peers/inference/packs"
INPUT, OUTPUT = "image", "embedding"
EXACT = "exact.f32"


@dataclass(frozen=True)
class Net:
    """A pack folder with this layout."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def exists(self) -> bool:
        """Whether the folder exists with the current layout; `write` is atomic."""
        return (self.folder / EXACT).exists()

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def f32(self) -> Path:
        return self.folder / "f32.onnx"

    @property
    def tflite(self) -> Path:
        return self.folder / "model.tflite"

    @property
    def side(self) -> int:
        return read_manifest(self.folder)["input"]["width"]

    @property
    def inputs(self) -> np.ndarray:
        side = self.side
        return np.fromfile(self.folder / "input.f32", "<f4").reshape(-1, 1, 3, side, side)

    @property
    def expected(self) -> np.ndarray:
        return np.fromfile(self.folder / EXACT, "<f4").reshape(len(self.inputs), -1)


def session(model: Path, threads: int = 1, exact: bool = True) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session. `exact` prevents sums of two products from saturating at 16 bits, as they can on CPUs
    without int8 dot products.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", str(int(exact)))
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def write(
    name: str,
    network: onnx.ModelProto,
    inputs: np.ndarray,
    mean: float,
    extra: dict[str, bytes],
    heads: dict[str, list[str]] | None = None,
) -> Net:
    """Writes the pack of a network with input `image` and first output `embedding`, atomically.

    `mean` is the recipe's, in 0..1, for all channels; the standard deviation is the manifest's default. `heads` are
    additional outputs with their labels; Magpie does not run outputs that are not listed.
    """
    part, folder = CACHE / f"{name}.part", CACHE / name
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    net = Net(part)
    onnx.checker.check_model(network, full_check=True)
    onnx.save(network, net.onnx)
    for file, content in extra.items():
        (part / file).write_bytes(content)
    runtime = session(net.onnx)
    expected = np.concatenate([runtime.run([OUTPUT], {INPUT: x})[0] for x in inputs])
    recipe = Recipe(inputs.shape[-1], inputs.shape[-2], mean=(mean, mean, mean))
    contents = manifest(name, net.onnx, recipe, expected.shape[-1], heads or {})
    (part / "manifest.json").write_text(json.dumps(contents, indent=1) + "\n")
    inputs.astype("<f4").tofile(part / "input.f32")
    expected.astype("<f4").tofile(part / EXACT)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return Net(folder)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of each row of `a` to the same row of `b`."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
