"""Broad goods: pictures of objects of all kinds, so that the network does not forget what it knew of the world.

A network that is fine-tuned on groceries and clothing alone becomes worse at everything else. The data set has pictures
of objects in a studio look, like a catalogue photo, and in the wild, like a shopper's photo. Each batch gets pairs of
both looks, two objects of a class side by side, so that the network has to tell a chair from other chairs. Further pairs
are recoloured (`virtual.py`), so that it does not learn the list of objects.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .colours import colour_of
from .data import Labels, pixels, read_manifest
from .holdout import Rows
from .preprocess import Recipe
from .sources import Photos, Sample

NAME = "goods"
# A pair's object, and its class.
PAIR, CLASS = "pair", "class"
# The label of pairs of recoloured objects.
VIRTUAL = "virtual_goods"
TASKS = (PAIR, CLASS, VIRTUAL)
# Studio looks that an object's colour is measured on.
LOOKS = 4
# Classes of fewer training objects are too few to be named by the category head.
LEAST_OBJECTS = 2
# Names that the source gives to what is not one kind of thing, or to several kinds that products tell apart.
UNNAMED = set("clothing food board climbing cluttering create cycling holder kinect navigation screen trekking".split())


@dataclass(frozen=True)
class Goods:
    """The manifest of the data set, and the row numbers of split train."""

    folder: Path
    rows: Rows
    train: np.ndarray

    @staticmethod
    def find(folder: Path) -> "Goods | None":
        """The data set in a folder, if it has one."""
        return Goods.read(folder) if (folder / "manifest.csv").is_file() else None

    @staticmethod
    def read(folder: Path) -> "Goods":
        if not (folder / "manifest.csv").is_file():
            raise SystemExit(f"{folder} has no pictures of broad goods: give --goods, or train without them")
        rows = read_manifest(folder)
        return Goods(folder, rows, np.array([i for i, row in enumerate(rows) if row["split"] == "train"]))

    def pixels(self, side: int, cache: Path) -> np.ndarray:
        return pixels(self.rows, self.folder, Recipe(side, side), cache, NAME)

    def paths(self, rows: np.ndarray) -> list[Path]:
        return [self.folder / self.rows[i]["path"] for i in rows]

    def kind(self, row: int) -> str:
        """What a picture shows, capitalised as in the products, so that a hat is a hat in both; "" if it is unclear."""
        name = self.rows[row]["class"]
        return "" if name in UNNAMED else name.capitalize()

    def val_looks(self) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of split val: the studio looks, and the wild looks of the objects that have both."""
        val = [i for i, row in enumerate(self.rows) if row["split"] == "val"]
        studio = [i for i in val if self.rows[i]["look"] == "studio"]
        shown = {self.rows[i]["instance"] for i in studio}
        wild = [i for i in val if self.rows[i]["look"] != "studio" and self.rows[i]["instance"] in shown]
        return np.array(studio), np.array(wild)

    def labels(self, pixels: np.ndarray) -> Labels:
        """The class of each picture, for the metric losses; category and colour for the heads.

        `category` has the larger classes only; `colour` is measured on the object's studio looks in `pixels`, uint8
        [rows, S, S, 3].
        """
        labels = Labels(self.train, len(self.rows))
        labels.add(CLASS, [row["class"] for row in self.rows])
        objects: dict[str, set[str]] = {}
        for i in self.train:
            objects.setdefault(self.kind(i), set()).add(self.rows[i]["instance"])
        named = {name for name, of in objects.items() if len(of) >= LEAST_OBJECTS}
        labels.add("category", [self.kind(i) if self.kind(i) in named else "" for i in range(len(self.rows))])
        studio: dict[str, list[np.ndarray]] = {}
        for row, is_studio, picture in zip(self.rows, self.is_studio(), pixels):
            if is_studio and len(studio.setdefault(row["instance"], [])) < LOOKS:
                studio[row["instance"]].append(np.asarray(picture))
        colours = {name: colour_of(pictures) for name, pictures in studio.items()}
        labels.add("colour", [colours.get(row["instance"], "") for row in self.rows])
        return labels

    def is_studio(self) -> np.ndarray:
        return np.array([row["look"] == "studio" for row in self.rows])

    def pairs(self) -> dict[str, tuple[list[int], list[int]]]:
        """The studio and the wild looks of each training object that has both."""
        looks: dict[str, tuple[list[int], list[int]]] = {}
        for i in self.train:
            looks.setdefault(self.rows[i]["instance"], ([], []))[self.rows[i]["look"] != "studio"].append(int(i))
        return {name: rows for name, rows in looks.items() if rows[0] and rows[1]}


class GoodsPairs:
    """A source of samples: `count` pairs a batch of a studio and a wild look, each with a unique label of `PAIR`."""

    def __init__(self, goods: Goods, photos: Photos, count: int):
        self.photos, self.count, self.number = photos, count, 0
        self.pairs = goods.pairs()
        self.objects = sorted(self.pairs)
        if not self.objects:
            raise ValueError(f"{goods.folder} has no object with a studio and a wild look in split train")
        self.class_of = {name: goods.rows[rows[0][0]]["class"] for name, rows in self.pairs.items()}
        self.of_class: dict[str, list[str]] = {}
        for name in self.objects:
            self.of_class.setdefault(self.class_of[name], []).append(name)
        self.classes = sorted(self.of_class)

    def draw(self, rng: np.random.Generator) -> list[Sample]:
        """Two objects of a class at a time; half of the time every class is as likely, half of the time every object."""
        samples: list[Sample] = []
        while len(samples) < 2 * self.count:
            chosen = self.class_of[self.objects[rng.integers(len(self.objects))]]
            if rng.random() < 0.5:
                chosen = self.classes[rng.integers(len(self.classes))]
            for number in rng.permutation(len(self.of_class[chosen]))[:2]:
                self.number += 1
                for rows in self.pairs[self.of_class[chosen][number]]:
                    samples.append(self.photos.sample(rows[rng.integers(len(rows))], {PAIR: self.number}))
        return samples[: 2 * self.count]
