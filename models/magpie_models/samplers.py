"""Samplers: how an epoch draws batches from the training photos.

`uniform` draws every photo about equally often, `class` every product and kind of garment, and `domain` equal numbers
of shoppers' grocery photos, catalogue photos and clothing. The last two leave out photos without a class. With N photos
per product, photos of one class are drawn N at a time, so that a batch has positives for pairwise losses (PK sampling:
Hermans et al., "In Defense of the Triplet Loss", 2017).
"""

import numpy as np

from .data import NO_LABEL, is_product

SAMPLERS = ("uniform", "class", "domain")


class Sampler:
    """Draws batches of row numbers of training photos."""

    def __init__(
        self,
        kind: str,
        rows: list[dict[str, str]],
        train: np.ndarray,
        listing: np.ndarray,
        photos_per_product: int = 1,
        catalogue_repeats: int = 6,
    ):
        """`listing` [rows]: the finest class of each photo. There are 61 catalogue photos among 6,261 others, and each
        is the only one of its product, so `uniform` draws them `catalogue_repeats` times an epoch.
        """
        if kind not in SAMPLERS:
            raise ValueError(f"sampler '{kind}', expected one of {SAMPLERS}")
        if photos_per_product < 1 or catalogue_repeats < 0:
            raise ValueError(f"photos a product {photos_per_product}, catalogue repeats {catalogue_repeats}")
        self.kind, self.photos = kind, photos_per_product
        catalogue = np.array([i for i in train if rows[i]["domain"] == "product"], dtype=int)
        others = np.array([i for i in train if rows[i]["domain"] != "product"], dtype=int)
        self.pool = np.concatenate([others, np.repeat(catalogue, catalogue_repeats)])
        self.listing = listing
        self.members = _members(self.pool, listing)
        self.domains = {
            "shop": _members([i for i in others if is_product(rows[i])], listing),
            "catalogue": _members(catalogue, listing),
            "clothing": _members([i for i in others if not is_product(rows[i])], listing),
        }
        for members in self.domains.values():
            members.pop(NO_LABEL, None)
        self.paired_products = np.array(sorted(self.domains["shop"].keys() & self.domains["catalogue"].keys()))
        if kind == "domain" and not (len(self.paired_products) and self.domains["clothing"]):
            raise ValueError("sampler 'domain' needs products with shop and catalogue photos, and clothing")

    def epoch(self, rng: np.random.Generator, batch: int) -> np.ndarray:
        """Row numbers [batches, batch]; an incomplete last batch is dropped."""
        batches = len(self.pool) // batch
        draw = {"uniform": self._uniform, "class": self._by_class, "domain": self._by_domain}[self.kind]
        if self.kind == "uniform":
            return draw(rng, batches * batch).reshape(batches, batch)
        return np.stack([draw(rng, batch) for _ in range(batches)]) if batches else np.empty((0, batch), int)

    def _uniform(self, rng: np.random.Generator, count: int) -> np.ndarray:
        first = rng.permutation(self.pool)
        if self.photos == 1:
            return first[:count]
        # Each photo brings others of its class; larger classes are drawn more often, so photos stay balanced.
        groups = [self._with_classmates(rng, row) for row in first[: -(-count // self.photos)]]
        return np.concatenate(groups)[:count]

    def _with_classmates(self, rng: np.random.Generator, row: int) -> np.ndarray:
        label = self.listing[row]
        if label == NO_LABEL:
            others = rng.choice(self.pool, self.photos - 1)
        else:
            group = self.members[label]
            others = _pick(rng, group[group != row] if (group != row).any() else group, self.photos - 1)
        return np.concatenate([[row], others])

    def _by_class(self, rng: np.random.Generator, count: int) -> np.ndarray:
        labels = _pick(rng, np.array([label for label in self.members if label != NO_LABEL]), -(-count // self.photos))
        return np.concatenate([_pick(rng, self.members[label], self.photos) for label in labels])[:count]

    def _by_domain(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """A third of the batch from each domain; the catalogue photos show the same products as the shop photos."""
        third = -(-count // 3)
        each = max(1, self.photos // 2)
        products = _pick(rng, self.paired_products, -(-third // each))
        parts = [
            np.concatenate([_pick(rng, self.domains[domain][label], each) for label in products])[:third]
            for domain in ("shop", "catalogue")
        ]
        clothing = self.domains["clothing"]
        garments = _pick(rng, np.array(list(clothing)), -(-(count - 2 * third) // self.photos))
        parts.append(np.concatenate([_pick(rng, clothing[label], self.photos) for label in garments]))
        return np.concatenate(parts)[:count]


def _members(rows: np.ndarray | list[int], listing: np.ndarray) -> dict[int, np.ndarray]:
    """Row numbers by class."""
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(int(listing[row]), []).append(int(row))
    return {label: np.array(members) for label, members in sorted(found.items())}


def _pick(rng: np.random.Generator, pool: np.ndarray, count: int) -> np.ndarray:
    """Draws `count` items of `pool`, without repeats until all have been drawn."""
    rounds = [rng.permutation(pool) for _ in range(-(-count // len(pool)))] or [pool[:0]]
    return np.concatenate(rounds)[:count]
