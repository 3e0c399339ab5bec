"""Real embeddings, by the shipped pack, of augmented views (crops, flips, light) of the photos in ../shared/data.

Photos of the split `test` and the demo's shoppers' photos are queries only; all other photos form the catalogue.
"""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "models"))

from magpie_models import preprocess  # noqa: E402  (the training package: the same preprocessing as the core's)

PACK = ROOT / "models/packs/default"
DEMO = ROOT / "cli/demo"
CATALOGUE_VIEWS = 24
QUERY_VIEWS = 2


@dataclass(frozen=True)
class Photo:
    path: Path
    kind: str  # the product, the garment or the material; enlargement interpolates within a kind
    query: bool


@dataclass(frozen=True)
class ViewRange:
    """The range of a photo's random views."""

    smallest_crop: float
    light: float
    flip: bool


# A shopper's photo frames the object and is not mirrored; catalogue photos vary more.
CATALOGUE = ViewRange(smallest_crop=0.35, light=0.3, flip=True)
QUERY = ViewRange(smallest_crop=0.6, light=0.2, flip=False)


def photos(data: Path, photo_set: str) -> list[Photo]:
    """`all` photos of the folder, or those of a `shop`: the groceries and the demo catalogue."""
    if photo_set == "shop":
        return [*_demo(), *(photo for photo in _folder(data, "products") if photo.kind.startswith("grocery "))]
    return [*_folder(data, "products"), *_folder(data, "trashnet")]


def _folder(data: Path, name: str) -> Iterator[Photo]:
    with open(data / name / "manifest.csv", newline="") as manifest:
        for row in csv.DictReader(manifest):
            path = data / name / row["path"]
            path = path if path.exists() else data / row["path"]
            kind = row.get("class_id") or row["coarse"] or row["material"]
            yield Photo(path, f"{row['set']} {kind}", row["split"] == "test")


def _demo() -> Iterator[Photo]:
    with open(DEMO / "catalog.csv", newline="") as catalogue:
        for row in csv.DictReader(catalogue):
            yield Photo(DEMO / "photos" / row["photo"], f"demo {row['category']}", False)
    with open(DEMO / "queries.csv", newline="") as queries:
        for row in csv.DictReader(queries):
            yield Photo(DEMO / "queries" / row["photo"], "demo", True)


def embed_views(all_photos: list[Photo], processes: int) -> Iterator[np.ndarray]:
    """The embeddings [views, 128] of each photo, in order."""
    with Pool(processes, initializer=_start) as pool:
        yield from pool.imap(_embed, enumerate(all_photos), chunksize=16)


def _start() -> None:
    global _session, _input
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    _session = onnxruntime.InferenceSession(PACK / "model.onnx", options, providers=["CPUExecutionProvider"])
    _input = json.loads((PACK / "manifest.json").read_text())["input"]


def _embed(numbered: tuple[int, Photo]) -> np.ndarray:
    number, photo = numbered
    rng = np.random.default_rng([20261122, number])
    picture = preprocess.open_upright(photo.path)
    count, view_range = (QUERY_VIEWS, QUERY) if photo.query else (CATALOGUE_VIEWS, CATALOGUE)
    embeddings = []
    for view in range(count):
        # In the catalogue, the first view is the unchanged photo.
        unchanged = view == 0 and not photo.query
        pixels = _pixels(picture) if unchanged else _altered(picture, view_range, rng)
        (embedding,) = _session.run(["embedding"], {"image": preprocess.normalise(pixels[None])})
        embeddings.append(embedding[0] / np.linalg.norm(embedding[0]))
    return np.asarray(embeddings, np.float32)


def _pixels(picture: Image.Image, crop: preprocess.Box | None = None) -> np.ndarray:
    return preprocess.squash(picture, _input["width"], _input["height"], crop)


def _altered(picture: Image.Image, view_range: ViewRange, rng: np.random.Generator) -> np.ndarray:
    area = rng.uniform(view_range.smallest_crop, 1.0)
    aspect = np.exp(rng.uniform(-0.25, 0.25))
    w = min(picture.width, max(16, int(picture.width * np.sqrt(area * aspect))))
    h = min(picture.height, max(16, int(picture.height * np.sqrt(area / aspect))))
    x, y = int(rng.integers(picture.width - w + 1)), int(rng.integers(picture.height - h + 1))
    pixels = _pixels(picture, (x, y, w, h)).astype(np.float32)
    if view_range.flip and rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    brightness, contrast, saturation = rng.uniform(1 - view_range.light, 1 + view_range.light, 3)
    white_balance = rng.uniform(1 - view_range.light / 3, 1 + view_range.light / 3, 3)
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * saturation
    pixels = (pixels - pixels.mean()) * contrast + pixels.mean() * brightness
    return np.clip(pixels * white_balance, 0, 255).astype(np.uint8)
