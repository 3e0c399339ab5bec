"""Photos to run and calibrate the nets with: real ones if the shared data is next to the checkout."""

from pathlib import Path

import numpy as np

from packs import ROOT
from magpie_models.preprocess import STD, open_upright, squash

REAL = ROOT.parent / "shared/data/products"
DEMO = ROOT / "cli/demo"


def files() -> list[Path]:
    """All photos, in a random order that is always the same."""
    found = sorted(REAL.rglob("*.jpg")) or sorted(DEMO.rglob("*.jpg"))
    return [found[i] for i in np.random.default_rng(7).permutation(len(found))]


def inputs(side: int, mean: float, skip: int, count: int) -> np.ndarray:
    """`count` photos after the first `skip`, f32 [count, 1, 3, side, side], normalised as a pack's recipe says."""
    pixels = np.stack([squash(open_upright(path), side, side) for path in files()[skip : skip + count]])
    values = (pixels.astype(np.float32) / 255 - np.float32(mean)) / np.float32(STD)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))[:, None]
