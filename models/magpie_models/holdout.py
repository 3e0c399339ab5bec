"""What training never sees, and the photos that measure it.

Test photos are never trained on and never tuned on. Products and kinds of garment can be kept out on top of that:
their photos of the splits train and val are then the queries that say how the network does on goods that are new to
it.
"""

from dataclasses import dataclass

import numpy as np

from .data import UNNAMED

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Holdout:
    """Products by class_id and kinds of garment by name that are kept out of training."""

    products: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()

    @staticmethod
    def parse(rows: Rows, products: str = "", kinds: str = "") -> "Holdout":
        """`products`: FOLD/OF, every OF-th product by numeric class_id from number FOLD on. `kinds`: names, commas."""
        every_product = sorted({row["class_id"] for row in rows} - {""}, key=int)
        chosen: list[str] = []
        if products:
            fold, _, of = products.partition("/")
            if not (fold.isdigit() and of.isdigit() and int(fold) < int(of)):
                raise ValueError(f"kept-out products: '{products}', expected FOLD/OF with FOLD below OF, such as 0/5")
            chosen = every_product[int(fold) :: int(of)]
        known = {row["coarse"] for row in rows if row["set"] == "clothing"} - set(UNNAMED)
        named = {kind.strip() for kind in kinds.split(",")} - {""}
        if named - known:
            raise ValueError(f"no such kind of garment: {sorted(named - known)}; there are {sorted(known)}")
        return Holdout(frozenset(chosen), frozenset(named))

    def has(self, row: dict[str, str]) -> bool:
        return row["class_id"] in self.products or (row["set"] == "clothing" and row["coarse"] in self.kinds)


def training_rows(rows: Rows, holdout: Holdout = Holdout()) -> np.ndarray:
    """Row numbers for training: users' photos of split train, and the catalogue photos. Never val or test."""
    return np.array(
        [i for i, row in enumerate(rows) if row["split"] in ("train", "gallery") and not holdout.has(row)]
    )


def tuning_rows(rows: Rows) -> np.ndarray:
    """Row numbers that tuning may look at: all but the test photos."""
    return np.array([i for i, row in enumerate(rows) if row["split"] != "test"])
