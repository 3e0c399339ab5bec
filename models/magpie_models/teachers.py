"""Teachers: larger networks whose pooled features the student learns from. Features are computed once and cached."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from . import efficientnet, weights
from .backbone import Backbone
from .preprocess import normalise, open_upright, squash

Features = Callable[[np.ndarray], np.ndarray]
# Name -> input side. All have 1,280 features.
TEACHERS = {"mobilenetv2-1.0": 224, "efficientnet-lite2": 260}


def open_teacher(name: str, weight_folder: Path) -> Features:
    """A function from one picture, uint8 [side, side, 3], to its features, float32 [1280]."""
    if name == "mobilenetv2-1.0":
        return weights.PooledFeatures(weight_folder / weights.TEACHER_FILE)
    backbone = Backbone(efficientnet.read(2)).eval()

    @torch.no_grad()
    def features(pixels: np.ndarray) -> np.ndarray:
        return backbone(torch.from_numpy(normalise(pixels[None])))[0].numpy()

    return features


def teacher_features(name: str, paths: list[Path], weight_folder: Path, file: Path) -> np.ndarray:
    """The features of whole photos, float32 [photos, 1280], read from `file` if it exists and written to it if not."""
    if not file.exists():
        teacher, side = open_teacher(name, weight_folder), TEACHERS[name]
        features = np.stack([teacher(squash(open_upright(path), side, side)) for path in paths])
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npy")
        np.save(part, features)
        part.rename(file)
    features = np.load(file, mmap_mode="r")
    if len(features) != len(paths):
        raise ValueError(f"{file} has {len(features)} photos, expected {len(paths)}: delete it to compute them again")
    return features
