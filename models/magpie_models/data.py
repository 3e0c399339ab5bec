"""The product photos: manifest rows, labels, pixel caches and the training sampler."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from .preprocess import open_upright, squash

NO_LABEL = -1
HEADS = ("category", "colour", "shape", "material")
UNNAMED = ("Not sure", "Other", "")
# The clothing colours are measured from the pixels; below this share of the foreground they are mostly wrong.
MIN_COLOUR_SHARE = 0.4
# 61 catalogue photos stand against 6,261 others, and each is the only picture of its kind.
CATALOGUE_REPEATS = 6


def read_manifest(data: Path) -> list[dict[str, str]]:
    with open(data / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def training_rows(rows: list[dict[str, str]]) -> np.ndarray:
    """Row numbers for training: user photos of split train, and the catalogue photos. Never val or test."""
    return np.array([i for i, row in enumerate(rows) if row["split"] in ("train", "gallery")])


def kept_out_products(rows: list[dict[str, str]], every: int) -> set[str]:
    """Every n-th product by name, for measuring on products never seen in training; none for 0."""
    products = sorted({row["class_id"] for row in rows} - {""})
    return set(products[every - 1 :: every]) if every else set()


@dataclass
class Labels:
    """Label names, and for each manifest row its number or NO_LABEL."""

    names: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, task: str, values: list[str]) -> None:
        self.names[task] = sorted(set(values) - {""})
        number = {name: i for i, name in enumerate(self.names[task])}
        self.numbers[task] = np.array([number.get(value, NO_LABEL) for value in values])


def make_labels(rows: list[dict[str, str]]) -> Labels:
    """Targets of the metric losses (product, group, garment) and of the attribute heads."""
    labels = Labels()
    grocery = [row["set"] == "grocery" for row in rows]
    named = ["" if row["coarse"] in UNNAMED else row["coarse"] for row in rows]
    labels.add("product", [row["class_id"] if g else "" for row, g in zip(rows, grocery)])
    labels.add("group", [name if g else "" for name, g in zip(named, grocery)])
    labels.add("garment", ["" if g else name for name, g in zip(named, grocery)])
    labels.add("category", named)
    labels.add("colour", [row["colour"] if sure_of_colour(row) else "" for row in rows])
    labels.add("shape", [row["shape"] for row in rows])
    labels.add("material", [row["material"] for row in rows])
    return labels


def sure_of_colour(row: dict[str, str]) -> bool:
    return row["colour_src"] != "pixels" or float(row["colour_conf"] or 0) >= MIN_COLOUR_SHARE


def pixels(rows: list[dict[str, str]], data: Path, side: int, cache: Path) -> np.ndarray:
    """uint8 [rows, side, side, 3], squashed as at inference; decoded once and kept in `cache`."""
    path = cache / f"pixels-{side}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        out = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(rows), side, side, 3))
        for i, row in enumerate(rows):
            out[i] = squash(open_upright(data / row["path"]), side, side)
        out.flush()
        part.rename(path)
    return np.load(path, mmap_mode="r")


def epoch_order(rows: list[dict[str, str]], train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Training rows in random order, catalogue photos repeated."""
    catalogue = np.array([i for i in train if rows[i]["domain"] == "product"])
    return rng.permutation(np.concatenate([train, np.repeat(catalogue, CATALOGUE_REPEATS - 1)]))


def jitter(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [S, S, 3] -> float32 [side, side, 3] in 0..1, randomly cut, mirrored and coloured.

    At inference the network sees whole pictures, so cuts keep at least 60 % of the area and a third keep everything.
    """
    full = image.shape[0]
    width = height = float(full)
    if rng.random() < 0.67:
        area, aspect = rng.uniform(0.6, 1.0), np.exp(rng.uniform(-0.2, 0.2))
        width, height = min(full, full * np.sqrt(area * aspect)), min(full, full * np.sqrt(area / aspect))
    left, top = rng.uniform(0, full - width), rng.uniform(0, full - height)
    cut = Image.fromarray(image).resize(
        (side, side), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height)
    )
    x = np.asarray(cut, dtype=np.float32) / 255.0
    if rng.random() < 0.5:
        x = x[:, ::-1]
    grey = x @ np.float32([0.299, 0.587, 0.114])
    x = grey[..., None] + (x - grey[..., None]) * np.float32(rng.uniform(0.7, 1.3))
    gains = rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3)
    return np.clip(x * gains.astype(np.float32), 0.0, 1.0)
