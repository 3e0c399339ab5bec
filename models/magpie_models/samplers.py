"""In what order, and in what company, an epoch shows the training photos.

`uniform` shows every photo about equally often, `class` every product and garment, `domain` as many photos of
shoppers' groceries as of the catalogue and of clothing; the last two leave photos without a class out. With N photos a
product, N photos of one class stand side by side, so that a batch has positives for pairwise losses (N photos of P
classes: Hermans et al., "In Defense of the Triplet Loss", 2017).
"""

import numpy as np

from .data import NO_LABEL

SAMPLERS = ("uniform", "class", "domain")


class Sampler:
    """Draws row numbers of training photos."""

    def __init__(
        self,
        kind: str,
        rows: list[dict[str, str]],
        train: np.ndarray,
        listing: np.ndarray,
        photos_per_product: int = 1,
        catalogue_repeats: int = 6,
    ):
        """`listing` [rows]: the finest class of each photo. 61 catalogue photos stand against 6,261 others and each is
        the only picture of its kind: `uniform` shows them `catalogue_repeats` times an epoch.
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
            "shop": _members([i for i in others if rows[i]["set"] == "grocery"], listing),
            "catalogue": _members(catalogue, listing),
            "clothing": _members([i for i in others if rows[i]["set"] == "clothing"], listing),
        }
        for members in self.domains.values():
            members.pop(NO_LABEL, None)
        self.shown_products = np.array(sorted(self.domains["shop"].keys() & self.domains["catalogue"].keys()))
        if kind == "domain" and not (len(self.shown_products) and self.domains["clothing"]):
            raise ValueError("sampler 'domain' needs products with shop and catalogue photos, and clothing")

    def epoch(self, rng: np.random.Generator, batch: int) -> np.ndarray:
        """Row numbers [batches, batch]; a short last batch is left out."""
        batches = len(self.pool) // batch
        draw = {"uniform": self._uniform, "class": self._by_class, "domain": self._by_domain}[self.kind]
        if self.kind == "uniform":
            return draw(rng, batches * batch).reshape(batches, batch)
        return np.stack([draw(rng, batch) for _ in range(batches)]) if batches else np.empty((0, batch), int)

    def _uniform(self, rng: np.random.Generator, count: int) -> np.ndarray:
        first = rng.permutation(self.pool)
        if self.photos == 1:
            return first[:count]
        # Each photo brings others of its class, which come up in proportion to the class: still about equally often.
        groups = [self._company(rng, row) for row in first[: -(-count // self.photos)]]
        return np.concatenate(groups)[:count]

    def _company(self, rng: np.random.Generator, row: int) -> np.ndarray:
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
        """A third each; the catalogue photos are those of the products that the shop photos show."""
        third = -(-count // 3)
        each = max(1, self.photos // 2)
        shown = _pick(rng, self.shown_products, -(-third // each))
        parts = [
            np.concatenate([_pick(rng, self.domains[domain][label], each) for label in shown])[:third]
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
    """`count` of `pool`; none twice before all have come up."""
    rounds = [rng.permutation(pool) for _ in range(-(-count // len(pool)))] or [pool[:0]]
    return np.concatenate(rounds)[:count]
