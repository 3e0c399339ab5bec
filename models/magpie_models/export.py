"""Writes a model pack from a checkpoint. `python -m magpie_models.export --help`

Everything is written beside the target and moved into place at the end, so that a reader never sees half a pack.
MODEL_CARD.md of the old pack is kept: it is written by hand.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import torch

from . import data, weights
from .backbone import Student
from .golden import write_golden
from .graph import build, quantise
from .pack import manifest
from .runtime import Network

CALIBRATION_SEED = 7


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/products"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--work", type=Path, default=Path("models/.work"), help="where train wrote its checkpoint")
    parser.add_argument("--pack", type=Path, default=Path("models/packs/default"))
    parser.add_argument("--photos", type=Path, default=Path("cli/demo"), help="the project's renders, for golden/")
    parser.add_argument("--calibration", type=int, default=512, help="training photos that set the activation ranges")
    return parser.parse_args()


def load_student(checkpoint: Path, weight_folder: Path) -> tuple[Student, dict[str, list[str]], int]:
    """The averaged weights, the heads' labels, the input side."""
    state = torch.load(checkpoint, weights_only=True)
    labels = state["labels"]
    layers = weights.read_mobilenet_v1(weight_folder / weights.STUDENT_FILE)
    dim = state["average"]["embedding.weight"].shape[0]
    student = Student(layers, dim, {name: len(names) for name, names in labels.items()})
    student.load_state_dict(state["average"])
    return student.eval(), labels, state["options"]["side"]


def main() -> None:
    options = arguments()
    student, labels, side = load_student(options.work / "checkpoint.pt", options.weights)
    rows = data.read_manifest(options.data)
    pixels = data.pixels(rows, options.data, side, options.work / "cache")
    train = data.training_rows(rows)
    chosen = np.random.default_rng(CALIBRATION_SEED).choice(train, options.calibration, replace=False)

    f32 = build(student, side)
    onnx.save(f32, options.work / "f32.onnx")
    int8 = quantise(f32, np.asarray(pixels[np.sort(chosen)]))

    part = options.pack.with_name(options.pack.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    onnx.save(int8, part / "model.onnx")
    dim = student.embedding.out_features
    described = manifest(f"mobilenetv1-075-{side}", part / "model.onnx", side, dim, labels)
    (part / "manifest.json").write_text(json.dumps(described, indent=1) + "\n")
    write_golden(options.photos, part / "golden", Network(part / "model.onnx"), described)
    if (options.pack / "MODEL_CARD.md").exists():
        shutil.copy(options.pack / "MODEL_CARD.md", part)
    replace(part, options.pack)
    print(f"{options.pack}: {described['network']['bytes']} bytes, model id {described['model_id']}")


def replace(part: Path, target: Path) -> None:
    old = target.with_name(target.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    part.rename(target)
    shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    main()
