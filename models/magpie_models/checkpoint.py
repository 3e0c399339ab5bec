"""Checkpoints: the whole state of a run, to resume it, and the student alone, to export it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from .backbone import Student
from .config import Config
from .weights import Convolution

FILE = "checkpoint.pt"


def layout(layers: list[Convolution]) -> list[dict]:
    """Sizes and structure of the convolutions, so that a checkpoint can be loaded without the initial weights."""
    shapes = []
    for layer in layers:
        values = asdict(layer)
        values.pop("bias")
        shapes.append({**values, "weight": list(layer.weight.shape)})
    return shapes


def empty_layers(shapes: list[dict]) -> list[Convolution]:
    def layer(values: dict) -> Convolution:
        shape = values.pop("weight")
        return Convolution(np.zeros(shape, np.float32), np.zeros(shape[0], np.float32), **values)

    return [layer(dict(values)) for values in shapes]


def save(path: Path, state: dict) -> None:
    """Atomic: writes a temporary file and renames it."""
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def load_student(path: Path, blend: float = 1.0) -> tuple[Student, dict[str, list[str]], Config]:
    """The student with its averaged weights, the labels of each head, and the configuration.

    `blend` is the share of the trained weights; the rest is what training started from. The two are so near that the
    weights between them work too, and keep more of what the start knew of other goods: Wortsman et al., "Robust
    Fine-tuning of Zero-shot Models" (2022).
    """
    state = load(path)
    labels, config = state["labels"], Config.from_json(state["config"])
    student = Student(empty_layers(state["layout"]), config.dim, {name: len(v) for name, v in labels.items()})
    student.load_state_dict(
        {name: state["before"][name].lerp(value, blend) for name, value in state["average"].items()}
    )
    return student.eval(), labels, config
