"""Held-out data: what training never sees, and the photos that evaluate it.

Test photos are never used for training or tuning. Products and kinds of garment can be held out as well: their photos
in the splits train and val are then queries that measure how the network does on goods it has never seen.
"""

from dataclasses import dataclass

import numpy as np

from .data import UNNAMED, is_product

Rows = list[dict[str, str]]
DIGITS = 24


@dataclass(frozen=True)
class Holdout:
    """The held-out products, by class_id, and kinds of garment, by name."""

    products: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()

    @staticmethod
    def parse(rows: Rows, products: str = "", kinds: str = "") -> "Holdout":
        """`products`: FOLD/OF, every OF-th product by class_id, starting at number FOLD. `kinds`: names,
        separated by commas.
        """
        # Ids that are numbers are in the order of the numbers.
        every_product = sorted({row["class_id"] for row in rows} - {""}, key=lambda name: (name.zfill(DIGITS), name))
        chosen: list[str] = []
        if products:
            fold, _, of = products.partition("/")
            if not (fold.isdigit() and of.isdigit() and int(fold) < int(of)):
                raise ValueError(f"held-out products: '{products}', expected FOLD/OF with FOLD below OF, such as 0/5")
            chosen = every_product[int(fold) :: int(of)]
        known = {row["coarse"] for row in rows if not is_product(row)} - set(UNNAMED)
        named = {kind.strip() for kind in kinds.split(",")} - {""}
        if named - known:
            raise ValueError(f"unknown kinds of garment: {sorted(named - known)}; known are {sorted(known)}")
        return Holdout(frozenset(chosen), frozenset(named))

    def has(self, row: dict[str, str]) -> bool:
        return row["class_id"] in self.products or (not is_product(row) and row["coarse"] in self.kinds)


def training_rows(rows: Rows, holdout: Holdout = Holdout()) -> np.ndarray:
    """Row numbers for training: users' photos of split train, and catalogue photos; never val or test photos."""
    return np.array([i for i, row in enumerate(rows) if row["split"] in ("train", "gallery") and not holdout.has(row)])


def tuning_rows(rows: Rows) -> np.ndarray:
    """Row numbers that may be used for tuning: all but the test photos."""
    return np.array([i for i, row in enumerate(rows) if row["split"] != "test"])
