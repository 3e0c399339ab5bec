"""Checkpoints: everything that a run needs to go on, and the student alone for export."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from .backbone import Student
from .config import Config
from .weights import Convolution

FILE = "checkpoint.pt"


def layout(layers: list[Convolution]) -> list[dict]:
    """Sizes and structure of the convolutions, so that a checkpoint can be read without the first weights."""
    shapes = []
    for layer in layers:
        described = asdict(layer)
        described.pop("bias")
        shapes.append({**described, "weight": list(layer.weight.shape)})
    return shapes


def empty_layers(shapes: list[dict]) -> list[Convolution]:
    def layer(described: dict) -> Convolution:
        shape = described.pop("weight")
        return Convolution(np.zeros(shape, np.float32), np.zeros(shape[0], np.float32), **described)

    return [layer(dict(described)) for described in shapes]


def save(path: Path, state: dict) -> None:
    """Never leaves half a file."""
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def load_student(path: Path) -> tuple[Student, dict[str, list[str]], Config]:
    """The averaged weights, the heads' labels, the configuration."""
    state = load(path)
    labels, config = state["labels"], Config.from_json(state["config"])
    student = Student(empty_layers(state["layout"]), config.dim, {name: len(v) for name, v in labels.items()})
    student.load_state_dict(state["average"])
    return student.eval(), labels, config
