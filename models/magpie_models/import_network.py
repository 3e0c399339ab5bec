"""Turns your own network into a pack. `python -m magpie_models.import_network --help`

Takes an ONNX file with one f32 image input [1 or dynamic, 3, height, width] and an embedding output [1, dim]. Other
outputs can be declared as attribute heads. A torch module is exported with

    torch.onnx.export(module.eval(), torch.zeros(1, 3, 224, 224), "network.onnx", input_names=["image"],
                      output_names=["embedding"], dynamo=False)

A network with QuantizeLinear nodes is used unchanged. A float network is quantised, with your photos (`--photos`) as
the calibration set, or used unchanged with `--as-is`. The preprocessing must be that of the network's training: a wrong
mean or filter lowers recall without any error.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, version_converter
from onnxruntime.quantization.shape_inference import quant_pre_process

from . import pack
from .golden import write_golden
from .graph import OPSET, quantise
from .preprocess import CHANNELS, FILTERS, MEAN, STD, Recipe, open_upright
from .runtime import Network

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MIN_COSINE = 0.98
# The Rust core's limits.
MAX_SIDE, MAX_DIM = 1024, 4096


class ImportRejected(ValueError):
    """The network or an option is not supported; the message says why."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="the ONNX file")
    parser.add_argument("--pack", type=Path, required=True, help="folder to write")
    parser.add_argument("--name", help="name of the pack (default: the file's)")
    parser.add_argument("--photos", type=Path, help="folder of your photos, the quantiser's calibration set")
    parser.add_argument("--most-photos", type=int, default=512, help="use at most this many of them (512)")
    parser.add_argument("--as-is", action="store_true", help="do not quantise a float network")
    parser.add_argument("--embedding", help="name of the embedding output (default: `embedding`, or the only output)")
    parser.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="OUTPUT=LABELS.txt",
        help="an output that is an attribute head, and its labels, one a line; may be repeated",
    )
    parser.add_argument("--side", type=int, help="input width and height, if they are dynamic in the network")
    parser.add_argument("--mean", type=float, nargs=3, default=MEAN, help="of pixels in 0..1, in --channels order")
    parser.add_argument("--std", type=float, nargs=3, default=STD, help="of pixels in 0..1, in --channels order")
    parser.add_argument("--channels", choices=CHANNELS, default="rgb", help="channel order of the input (rgb)")
    parser.add_argument("--filter", choices=tuple(FILTERS), default="bilinear", help="resampling filter (bilinear)")
    parser.add_argument("--fit", default="squash", help="squash, crop or crop:F (as in crop:0.875)")
    parser.add_argument("--golden", type=Path, default=Path("cli/demo"), help="folder of the renders used for golden/")
    return parser.parse_args()


def with_fixed_input(model: onnx.ModelProto, recipe: Recipe, side: int | None) -> tuple[onnx.ModelProto, Recipe]:
    """Checks the input. Returns the network with batch 1 and a fixed size, and the recipe with the input's name and
    size.
    """
    constants = {constant.name for constant in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ImportRejected(
            f"the network has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}), expected one image"
        )
    (image,) = inputs
    tensor = image.type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT:
        raise ImportRejected(f"input '{image.name}' is {TensorProto.DataType.Name(tensor.elem_type)}, expected FLOAT")
    shape = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    if len(shape) != 4 or shape[0] not in (None, 0, 1) or shape[1] not in (None, 3):
        raise ImportRejected(f"input '{image.name}' is {shape}, expected [1, 3, height, width]")
    height, width = (size or side for size in shape[2:])
    if not height or not width:
        raise ImportRejected(f"input '{image.name}' has a dynamic size: give --side")
    if max(height, width) > MAX_SIDE:
        raise ImportRejected(f"input '{image.name}' is {width} x {height}, expected at most {MAX_SIDE}")
    for dimension, size in zip(tensor.shape.dim, (1, 3, height, width)):
        dimension.Clear()
        dimension.dim_value = size
    return model, replace(recipe, name=image.name, width=width, height=height)


def embedding_output(outputs: list[str], wanted: str | None) -> str:
    name = wanted or (outputs[0] if len(outputs) == 1 else pack.EMBEDDING)
    if name not in outputs:
        raise ImportRejected(f"output '{name}' not found; the outputs are {', '.join(outputs)}: give --embedding")
    return name


def read_labels(heads: list[str]) -> dict[str, list[str]]:
    labels = {}
    for head in heads:
        output, _, file = head.partition("=")
        labels[output] = [line for line in Path(file).read_text().splitlines() if line.strip()]
    return labels


def check_outputs(outputs: dict[str, np.ndarray], embedding: str, heads: dict[str, list[str]]) -> int:
    """Checks the outputs `found`, each [pictures, ...], of a trial run. Returns the dimension of the embedding."""
    vectors = outputs[embedding]
    if vectors.ndim != 2 or not 1 <= vectors.shape[1] <= MAX_DIM:
        shape = [1, *vectors.shape[1:]]
        raise ImportRejected(
            f"output '{embedding}' is {shape}, expected [1, up to {MAX_DIM}]; flatten it in the network"
        )
    if not np.isfinite(vectors).all():
        raise ImportRejected(f"output '{embedding}' has values that are not finite, or is all zeros")
    if np.ptp(vectors, axis=0).max() < 1e-6:
        raise ImportRejected(f"output '{embedding}' is the same for different pictures")
    for output, labels in heads.items():
        if output not in outputs:
            raise ImportRejected(f"output '{output}' of a head not found; the outputs are {', '.join(outputs)}")
        if outputs[output].shape[1:] != (len(labels),):
            raise ImportRejected(
                f"head '{output}' has {list(outputs[output].shape[1:])} outputs but {len(labels)} labels"
            )
    return vectors.shape[1]


def read_photos(folder: Path, recipe: Recipe, most: int) -> np.ndarray:
    """uint8 [N, height, width, 3] of at most `most` photos, evenly spaced in the sorted list of files."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    if not paths:
        raise ImportRejected(f"{folder} has no photos ({', '.join(PHOTO_SUFFIXES)})")
    at = np.unique(np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int))
    return np.stack([recipe.squash(open_upright(paths[i])) for i in at])


def is_quantised(model: onnx.ModelProto) -> bool:
    return any(node.op_type in ("QuantizeLinear", "QLinearConv") for node in model.graph.node)


def prepare_for_quantisation(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Converts to opset 13 or later, infers shapes and folds batch normalisation, as quantisation requires."""
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version < OPSET:
        # Per-channel QDQ needs this opset.
        model = version_converter.convert_version(model, OPSET)
    source, target = folder / "given.onnx", folder / "prepared.onnx"
    onnx.save(model, source)
    quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    ready = onnx.load(target)
    source.unlink()
    target.unlink()
    return ready


def random_pictures(recipe: Recipe, count: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, recipe.height, recipe.width, 3), dtype=np.uint8)


def import_network(
    network: Path,
    target: Path,
    recipe: Recipe,
    golden: Path,
    photos: Path | None = None,
    as_is: bool = False,
    name: str | None = None,
    embedding: str | None = None,
    heads: dict[str, list[str]] | None = None,
    side: int | None = None,
    most_photos: int = 512,
) -> dict:
    """Writes the pack `target`. Returns its manifest plus `cosine`: how close a quantised network is to the original's
    embeddings, or None if it was not quantised.
    """
    heads = heads or {}
    model = onnx.load(network)
    onnx.checker.check_model(model)
    needs_quantising = not (as_is or is_quantised(model))
    if needs_quantising and photos is None:
        raise ImportRejected("quantising a float network needs photos of your goods: give --photos, or --as-is")
    model, recipe = with_fixed_input(model, recipe, side)
    output = embedding_output([value.name for value in model.graph.output], embedding)
    original = Network(model.SerializeToString(), recipe, output)
    dim = check_outputs(original(random_pictures(recipe)), output, heads)
    with pack.atomic_replace(target) as part:
        cosine = None
        if needs_quantising:
            pixels = read_photos(photos, recipe, most_photos)
            model = quantise(prepare_for_quantisation(model, part), pixels, recipe)
            sample = pixels[:: max(1, len(pixels) // 32)]
            quantised = Network(model.SerializeToString(), recipe, output)(sample)[output]
            cosine = float((original(sample)[output] * quantised).sum(1).mean())
        onnx.save(model, part / pack.NETWORK)
        manifest = pack.manifest(name or network.stem, part / pack.NETWORK, recipe, dim, heads, output)
        pack.write_manifest(part, manifest)
        write_golden(golden, part / "golden", Network(part / pack.NETWORK, recipe, output), manifest)
    return {**manifest, "cosine": cosine}


def main() -> None:
    options = arguments()
    recipe = Recipe(0, 0, "", options.fit, options.filter, options.channels, tuple(options.mean), tuple(options.std))
    try:
        manifest = import_network(
            options.network,
            options.pack,
            recipe,
            options.golden,
            options.photos,
            options.as_is,
            options.name,
            options.embedding,
            read_labels(options.head),
            options.side,
            options.most_photos,
        )
    except ImportRejected as reason:
        raise SystemExit(f"{options.network}: {reason}") from None
    print(f"{options.pack}: {manifest['network']['bytes']} bytes, model id {manifest['model_id']}")
    if manifest["cosine"] is not None:
        print(f"cosine between quantised and original embeddings: {manifest['cosine']:.4f}")
        if manifest["cosine"] < MIN_COSINE:
            print(f"this is below {MIN_COSINE}: quantisation will lower recall; try other photos, or --as-is")


if __name__ == "__main__":
    main()
