"""The product photos: manifest rows, labels and pixel caches."""

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .preprocess import Recipe, open_upright

NO_LABEL = -1
HEADS = ("category", "colour", "shape", "material")
UNNAMED = ("Not sure", "Other", "")
# Clothing colours are measured from pixels; those covering less than this share of the foreground are mostly wrong.
MIN_COLOUR_SHARE = 0.4


def read_manifest(data: Path) -> list[dict[str, str]]:
    with open(data / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def is_product(row: dict[str, str]) -> bool:
    """Whether a photo shows a known product. Of the others, clothing in the project's data, only the kind is known."""
    return row["class_id"] != ""


@dataclass
class Labels:
    """Label names of each task, and the label number of each manifest row or NO_LABEL. Names come from rows `used`."""

    used: np.ndarray
    rows: int
    names: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, task: str, values: list[str]) -> None:
        self.names[task] = sorted({values[i] for i in self.used} - {""})
        self.numbers[task] = numbered(values, self.names[task])

    def values(self, task: str) -> list[str]:
        """The name of each row's label, or ""."""
        names = [*self.names[task], ""]
        return [names[number] for number in self.numbers[task]]


def share_names(sets: list[Labels]) -> dict[str, list[str]]:
    """Renumbers the labels of several data sets so that a task has the same names in all of them, and returns these.

    A set without a task has no label for it.
    """
    tasks = sorted({task for labels in sets for task in labels.names})
    names = {task: sorted({n for labels in sets for n in labels.names.get(task, [])}) for task in tasks}
    for labels in sets:
        for task in tasks:
            values = labels.values(task) if task in labels.names else [""] * labels.rows
            labels.names[task], labels.numbers[task] = names[task], numbered(values, names[task])
    return names


def numbered(values: list[str], names: list[str]) -> np.ndarray:
    """The index of each value in `names`, or NO_LABEL."""
    number = {name: i for i, name in enumerate(names)}
    return np.array([number.get(value, NO_LABEL) for value in values])


def make_labels(rows: list[dict[str, str]], used: np.ndarray | None = None) -> Labels:
    """Builds the targets of the metric losses (product, group, garment, listing) and of the attribute heads.

    Label names are those found in the rows `used` (default: all), so a held-out class gets no output. `listing` is a
    photo's finest label: its product, or its kind of garment.
    """
    labels = Labels(np.arange(len(rows)) if used is None else used, len(rows))
    product = [is_product(row) for row in rows]
    named = ["" if row["coarse"] in UNNAMED else row["coarse"] for row in rows]
    labels.add("product", [row["class_id"] for row in rows])
    labels.add("group", [name if p else "" for name, p in zip(named, product)])
    labels.add("garment", ["" if p else name for name, p in zip(named, product)])
    labels.add("listing", [row["class_id"] or name for row, name in zip(rows, named)])
    labels.add("category", named)
    labels.add("colour", [row["colour"] if sure_of_colour(row) else "" for row in rows])
    labels.add("shape", [row["shape"] for row in rows])
    labels.add("material", [row["material"] for row in rows])
    return labels


def sure_of_colour(row: dict[str, str]) -> bool:
    return row["colour_src"] != "pixels" or float(row["colour_conf"] or 0) >= MIN_COLOUR_SHARE


def pixels(rows: list[dict[str, str]], data: Path, recipe: Recipe, cache: Path, name: str = "products") -> np.ndarray:
    """uint8 [rows, height, width, 3], resized as at inference; decoded once and stored in `cache` as NAME-*.npy."""
    width, height = recipe.width, recipe.height
    path = cache / f"{name}-{width}.npy"
    if recipe != replace(recipe, height=width, fit="squash", filter="bilinear"):
        path = cache / f"{name}-{width}x{height}-{recipe.filter}-{recipe.fit.replace(':', '-')}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        out = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(rows), height, width, 3))
        for i, row in enumerate(rows):
            out[i] = recipe.squash(open_upright(data / row["path"]))
        out.flush()
        part.rename(path)
    # Memory-mapped, so that concurrent runs share one copy.
    result = np.load(path, mmap_mode="r")
    if len(result) != len(rows):
        raise ValueError(f"{path} has {len(result)} photos, expected {len(rows)}: delete it to decode them again")
    return result
