"""How well a network does on goods that it was not tuned on: objects kept back of the broad goods, and the demo.

    goods        wild looks of objects of split val -> their studio looks
    demo         shoppers' pictures of the rendered demo catalogue -> its listings

For each: the share of queries whose own object is first and among the first five (`hit@1`, `hit@5`), and what the five
best others share with it (`others/class`, `others/colour`, ...). The second says whether the results of a search look
sensible around the right one; it leaves out queries of kinds that have fewer than two other objects. An object's score
is that of its best picture. Neither set is ever trained on.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .goods import Goods
from .preprocess import Recipe, open_upright

OTHERS = 5
LEAST_OTHERS = 2
DEMO_COLUMNS = ("category", "colour", "material")


@dataclass(frozen=True)
class Pictures:
    """Queries and gallery as paths, the object of each, and the values of columns by object."""

    name: str
    queries: list[Path]
    query_objects: list[str]
    gallery: list[Path]
    gallery_objects: list[str]
    columns: dict[str, dict[str, str]]

    def read(self, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of queries and gallery, uint8 [N, height, width, 3]."""
        return tuple(
            np.stack([recipe.squash(open_upright(p)) for p in paths]) for paths in (self.queries, self.gallery)
        )

    def scores(self, queries: np.ndarray, gallery: np.ndarray) -> dict[str, float]:
        """The metrics by name, of embeddings [N, dim] of unit length."""
        objects = sorted(set(self.gallery_objects))
        similarity = queries @ gallery.T
        member = np.array(self.gallery_objects)
        by_object = np.stack([similarity[:, member == name].max(1) for name in objects], 1)
        order = np.argsort(-by_object, axis=1, kind="stable")
        own = np.array([objects.index(name) for name in self.query_objects])
        place = (order == own[:, None]).argmax(1)
        others = np.stack([row[row != mine][:OTHERS] for row, mine in zip(order, own)])
        result = {f"{self.name}/hit@{k}": float((place < k).mean()) for k in (1, 5)}
        for column, values in self.columns.items():
            value = np.array([values[name] for name in objects])
            counted = np.array([(value == mine).sum() > LEAST_OTHERS for mine in value[own]])
            if counted.any():
                shared = (value[others] == value[own][:, None]).mean(1)
                result[f"{self.name}/others/{column}"] = float(shared[counted].mean())
        return result


def goods_pictures(goods: Goods) -> Pictures:
    studio, wild = goods.val_looks()
    instance = [row["instance"] for row in goods.rows]
    return Pictures(
        "goods",
        goods.paths(wild),
        [instance[i] for i in wild],
        goods.paths(studio),
        [instance[i] for i in studio],
        {"class": {row["instance"]: row["class"] for row in goods.rows}},
    )


def demo_pictures(folder: Path) -> Pictures:
    catalogue, queries = (
        list(csv.DictReader((folder / name).open(newline=""))) for name in ("catalog.csv", "queries.csv")
    )
    return Pictures(
        "demo",
        [folder / "queries" / row["photo"] for row in queries],
        [row["listing_id"] for row in queries],
        [folder / "photos" / row["photo"] for row in catalogue],
        [row["listing_id"] for row in catalogue],
        {column: {row["listing_id"]: row[column] for row in catalogue} for column in DEMO_COLUMNS},
    )
