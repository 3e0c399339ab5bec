"""Writes a model pack from a run's checkpoint. `python -m magpie_models.export --help`

Post-training quantisation; the calibration set is drawn from the run's training photos. The f32 network stays in the
run's folder, for `evaluate --f32`.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from . import checkpoint, data, pack, places
from .backbone import Student, pooled_features
from .config import Config
from .golden import write_golden
from .goods import Goods
from .graph import build, quantise
from .heads import Described, fit_heads
from .holdout import Holdout, training_rows
from .preprocess import Recipe
from .record import read_config
from .runtime import Network

CALIBRATION_SEED = 7
F32 = "f32.onnx"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    places.add_flags(parser, weights=False)
    parser.add_argument("run", help="name of the run")
    parser.add_argument("--pack", type=Path, help="folder to write (default: `pack` in the run's folder)")
    parser.add_argument("--name", help="name of the pack (default: backbone and input side)")
    parser.add_argument("--photos", type=Path, default=Path("cli/demo"), help="folder of the renders used for golden/")
    parser.add_argument("--calibration", type=int, default=512, help="photos in the quantiser's calibration set (512)")
    parser.add_argument("--side", type=int, help="input width and height in pixels (default: as trained)")
    parser.add_argument(
        "--blend", type=float, default=1.0, help="share of the trained weights; the rest is the start (1)"
    )
    return parser.parse_args()


def calibration_rows(rows: list[dict[str, str]], config: Config, count: int) -> np.ndarray:
    """The calibration set: row numbers of `count` random training photos of the run."""
    train = training_rows(rows, Holdout.parse(rows, config.keep_out_products, config.keep_out_kinds))
    chosen = np.random.default_rng(CALIBRATION_SEED).choice(train, min(count, len(train)), replace=False)
    return np.sort(chosen)


def export(
    run: Path,
    target: Path,
    rows: list[dict[str, str]],
    pixels: np.ndarray,
    photos: Path,
    calibration: int = 512,
    name: str | None = None,
    blend: float = 1.0,
    broad: tuple[Goods, np.ndarray] | None = None,
) -> dict:
    """Writes the pack `target` and returns its manifest; `pixels` [rows, side, side, 3] give the input its side.

    `broad`: the broad goods and their pixels, for the heads, which are fitted again.
    """
    student, labels, config = checkpoint.load_student(run / checkpoint.FILE, blend)
    labels = refit_heads(student, rows, pixels, config, broad)
    side = pixels.shape[1]
    recipe = Recipe(side, side)
    f32 = build(student, side)
    onnx.save(f32, run / F32)
    chosen = calibration_rows(rows, config, calibration)
    int8 = quantise(f32, np.asarray(pixels[chosen]), recipe)
    with pack.atomic_replace(target) as part:
        onnx.save(int8, part / pack.NETWORK)
        name = name or f"{config.backbone.replace('.', '')}-{side}"
        manifest = pack.manifest(name, part / pack.NETWORK, recipe, config.dim, labels)
        pack.write_manifest(part, manifest)
        write_golden(photos, part / "golden", Network(part / pack.NETWORK, recipe), manifest)
    return manifest


def refit_heads(
    student: Student,
    rows: list[dict[str, str]],
    pixels: np.ndarray,
    config: Config,
    broad: tuple[Goods, np.ndarray] | None,
) -> dict[str, list[str]]:
    """Gives the student heads that are fitted to its features, and returns their labels."""
    train = training_rows(rows, Holdout.parse(rows, config.keep_out_products, config.keep_out_kinds))
    sets = [(data.make_labels(rows, train), pixels, train)]
    if broad:
        sets.append((broad[0].labels(broad[1]), broad[1], broad[0].train))
    data.share_names([labels for labels, _, _ in sets])
    described = [Described(pooled_features(student, p[chosen]), labels, chosen) for labels, p, chosen in sets]
    student.heads = nn.ModuleDict()
    found = fit_heads(described)
    for name, (names, weight, bias) in found.items():
        head = nn.Linear(weight.shape[1], len(names))
        head.weight.data, head.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
        student.heads[name] = head
    return {name: names for name, (names, _, _) in found.items()}


def main() -> None:
    options = arguments()
    run = places.run_folder(options.work, options.run)
    rows = data.read_manifest(options.data)
    side = options.side or read_config(run).side
    pixels = data.pixels(rows, options.data, Recipe(side, side), places.cache(options.work))
    target = options.pack or run / "pack"
    broad = None
    if read_config(run).uses_goods():
        goods = Goods.read(options.goods)
        broad = (goods, goods.pixels(side, places.cache(options.work)))
    manifest = export(
        run, target, rows, pixels, options.photos, options.calibration, options.name, options.blend, broad
    )
    print(f"{target}: {manifest['network']['bytes']} bytes, model id {manifest['model_id']}")


if __name__ == "__main__":
    main()
