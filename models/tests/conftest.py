import csv
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# The package is run from the checkout; it is never installed.
sys.path.insert(0, str(Path(__file__).parents[1]))

ROOT = Path(__file__).parents[2]
SHARED_WEIGHTS = Path(os.environ.get("MAGPIE_WEIGHTS", ROOT / ".." / "shared" / "weights"))
COLUMNS = (
    "path set split domain category coarse subcategory class_id colour colour2 colour_src colour_conf shape material "
    "group"
).split()
TEACHER = "efficientnet-lite2"
PRODUCTS, KINDS, SIDE = 6, ("Hat", "Scarf", "Sock"), 40


@dataclass
class Shop:
    """A small data set with the layout of the real one."""

    data: Path
    goods: Path
    work: Path
    rows: list[dict[str, str]]


@pytest.fixture(scope="session")
def shop_data(tmp_path_factory) -> Path:
    """Noisy pictures, one colour per class. Products have numeric ids that sort differently as text."""
    folder = tmp_path_factory.mktemp("products")
    rng = np.random.default_rng(3)
    rows: list[dict[str, str]] = []

    def add(name: str, tint: np.ndarray, noise: float, **columns: str) -> None:
        picture = np.clip(tint + rng.normal(0, noise, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / name)
        rows.append({**dict.fromkeys(COLUMNS, ""), "path": name, **columns})

    for p in range(PRODUCTS):
        colour = rng.uniform(30, 220, 3)
        shared = {"set": "grocery", "class_id": str(2 * p + 1), "coarse": f"Group{p // 2}"}
        shared |= {"colour": ("red", "green")[p % 2], "colour_src": "table", "shape": "round", "material": "carton"}
        add(f"c{p}.png", colour, 2, split="gallery", domain="product", **shared)
        for i, split in enumerate(["train"] * 4 + ["val", "test"]):
            add(f"p{p}-{i}.png", colour, 20, split=split, domain="user", group=f"shop{i}", **shared)
    for k, kind in enumerate((*KINDS, "Not sure")):
        colour = rng.uniform(30, 220, 3)
        for i, split in enumerate(["train"] * 4 + ["val"] * 2):
            shared = {"set": "clothing", "coarse": kind, "colour": "blue", "colour_src": "pixels", "colour_conf": "0.9"}
            add(f"k{k}-{i}.png", colour, 20, split=split, domain="user", group=f"sender{i}", **shared)
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="session")
def goods_data(tmp_path_factory) -> Path:
    """Broad goods with the layout of the real ones: three classes of two objects, in two looks, and one kept back."""
    folder = tmp_path_factory.mktemp("goods")
    rng = np.random.default_rng(5)
    rows: list[dict[str, str]] = []
    for thing in range(7):
        colour = rng.uniform(30, 220, 3)
        split = "val" if thing == 6 else "train"
        for i, look in enumerate(("studio", "wild", "wild", "studio")):
            picture = np.clip(colour + rng.normal(0, 3 + 20 * (look == "wild"), (SIDE, SIDE, 3)), 0, 255)
            name = f"thing{thing}-{i}.png"
            Image.fromarray(picture.astype(np.uint8)).save(folder / name)
            rows.append(
                {"path": name, "class": f"kind{thing // 2}", "instance": str(thing), "split": split, "look": look}
            )
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def shop(shop_data, goods_data, tmp_path) -> Shop:
    """Both data sets with the teacher's features already cached, so that no weights are needed."""
    from magpie_models.data import read_manifest
    from magpie_models.goods import NAME, Goods
    from magpie_models.holdout import training_rows
    from magpie_models.sources import PRODUCTS
    from magpie_models.train import teacher_file

    rows = read_manifest(shop_data)
    cache, rng = tmp_path / "cache", np.random.default_rng(4)
    cache.mkdir()
    for name, count in ((PRODUCTS, len(training_rows(rows))), (NAME, len(Goods.read(goods_data).train))):
        np.save(teacher_file(cache, TEACHER, name), rng.normal(size=(count, 1280)).astype(np.float32))
    return Shop(shop_data, goods_data, tmp_path, rows)
