"""Validation during training: hit rates and distances on a small index, without any test photo.

    catalogue    augmented catalogue photos -> catalogue photos
    G1           shoppers' photos -> catalogue photos
    G2           shoppers' photos -> other shoppers' photos
    C1           clothing -> clothing of other senders; right if the kind agrees
    distance     1 - cosine of a shopper's photo to its catalogue photo, to the others, and to the nearest of the others
    head         accuracy of each attribute head on labelled val photos

`seen` products (G1, G2) and kinds of garment (C1) are in training; `unseen` ones are held out. Queries are val photos
for seen ones, and photos of the splits train and val for unseen ones. The galleries hold both; that of G2 has shop
photos of split train.
"""

from dataclasses import dataclass

import numpy as np

from .augment import jitter
from .data import NO_LABEL, UNNAMED
from .holdout import Holdout, Rows
from .pack import EMBEDDING

SEED = 11
COLUMNS = ("split", "domain", "class_id", "coarse", "group")


@dataclass(frozen=True)
class Limits:
    """Maximum number of photos of each part; None for all. Validation must cost less than a tenth of an epoch."""

    unseen: int | None = 400
    shop_photos_per_product: int | None = 2
    unseen_clothing: int | None = 60
    seen_clothing: int | None = 60


NO_LIMITS = Limits(None, None, None, None)


def hit_at(similarity: np.ndarray, query: np.ndarray, gallery: np.ndarray, k: int) -> float:
    """Hit@k: share of queries with their own label among the k most similar; similarity [queries, gallery]."""
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return float((gallery[order] == query[:, None]).any(1).mean())


class RetrievalTest:
    """The photos of the test, chosen once. `numbers` are the manifest rows whose outputs `scores` takes."""

    def __init__(self, rows: Rows, holdout: Holdout, limits: Limits = Limits()):
        rng = np.random.default_rng(SEED)
        columns = {name: np.array([row[name] for row in rows]) for name in COLUMNS}
        user, val = columns["domain"] == "user", columns["split"] == "val"
        tuning = (columns["split"] == "train") | val
        held_out = np.array([holdout.has(row) for row in rows])
        shop, clothing = user & (columns["class_id"] != "") & tuning, user & (columns["class_id"] == "") & tuning
        named = clothing & ~np.isin(columns["coarse"], UNNAMED)

        self.catalogue = np.flatnonzero(columns["domain"] == "product")
        self.seen = np.flatnonzero(shop & val & ~held_out)
        others = shop & ~val
        products = np.unique(columns["class_id"][others])
        most = limits.shop_photos_per_product
        by_product = [_sample(rng, others & (columns["class_id"] == p), most) for p in products]
        self.shop_gallery = np.concatenate([np.array([], int), *by_product])
        # Photos of one visit to a shop are near-duplicates, so photos in the gallery are not queries as well.
        query_mask = held_out & shop & ~np.isin(np.arange(len(rows)), self.shop_gallery)
        self.unseen = _sample(rng, query_mask if limits.shop_photos_per_product else held_out & shop, limits.unseen)
        self.seen_clothing = np.flatnonzero(named & val & ~held_out)
        self.unseen_clothing = _sample(rng, named & held_out, limits.unseen_clothing)
        extra_clothing = _sample(rng, named & ~val & ~held_out, limits.seen_clothing)
        self.clothing = np.concatenate([self.seen_clothing, self.unseen_clothing, extra_clothing])
        # The heads are evaluated on every val photo.
        parts = (self.catalogue, self.seen, self.unseen, self.shop_gallery, self.clothing, np.flatnonzero(user & val))
        self.numbers = np.unique(np.concatenate(parts))
        self.val = val
        self.columns = columns

    def views(self, pixels: np.ndarray, side: int) -> np.ndarray:
        """Augmented catalogue photos, uint8 [catalogue, side, side, 3], always the same; `pixels` [rows, S, S, 3]."""
        rng = np.random.default_rng(SEED)
        pictures = [jitter(np.asarray(pixels[row]), side, rng) for row in self.catalogue]
        return np.round(np.stack(pictures) * 255).astype(np.uint8)

    def scores(self, outputs: dict[str, np.ndarray], views: np.ndarray | None = None) -> dict[str, float]:
        """The metrics by name. `outputs[EMBEDDING]` [numbers, dim] and `views` [catalogue, dim] have unit length."""
        embedding = np.zeros((len(self.val), outputs[EMBEDDING].shape[1]), np.float32)
        embedding[self.numbers] = outputs[EMBEDDING]
        product, catalogue = self.columns["class_id"], self.catalogue
        result: dict[str, float] = {}
        if views is not None and len(catalogue):
            similarity = views @ embedding[catalogue].T
            for k in (1, 5):
                result[f"catalogue/hit@{k}"] = hit_at(similarity, catalogue, catalogue, k)
        for part, queries in (("seen", self.seen), ("unseen", self.unseen)):
            if not len(queries) or not len(catalogue):
                continue
            similarity = embedding[queries] @ embedding[catalogue].T
            for k in (1, 5):
                result[f"G1/{part}/hit@{k}"] = hit_at(similarity, product[queries], product[catalogue], k)
            result |= _distances(part, similarity, product[queries][:, None] == product[catalogue][None])
            g2_queries = queries[~np.isin(queries, self.shop_gallery)]
            similarity = embedding[g2_queries] @ embedding[self.shop_gallery].T
            result[f"G2/{part}/hit@1"] = hit_at(similarity, product[g2_queries], product[self.shop_gallery], 1)
        kind, sender = self.columns["coarse"], self.columns["group"]
        for part, queries in (("seen", self.seen_clothing), ("unseen", self.unseen_clothing)):
            if not len(queries):
                continue
            similarity = embedding[queries] @ embedding[self.clothing].T
            similarity[sender[queries][:, None] == sender[self.clothing][None]] = -np.inf
            result[f"C1/{part}/hit@1"] = hit_at(similarity, kind[queries], kind[self.clothing], 1)
        return result

    def head_accuracy(self, outputs: dict[str, np.ndarray], numbers: dict[str, np.ndarray]) -> dict[str, float]:
        """Accuracy of each head on val photos; `numbers[head]` [rows] are label numbers, NO_LABEL skips a photo."""
        result = {}
        for head in outputs.keys() & numbers.keys():
            truth = numbers[head][self.numbers]
            labelled = self.val[self.numbers] & (truth != NO_LABEL)
            if labelled.any():
                result[f"head/{head}"] = float((outputs[head].argmax(1) == truth)[labelled].mean())
        return dict(sorted(result.items()))


def _distances(part: str, similarity: np.ndarray, same: np.ndarray) -> dict[str, float]:
    distance = 1 - similarity
    nearest = np.where(same, np.inf, distance).min(1)
    return {
        f"distance/{part}/positive": float(distance[same].mean()),
        f"distance/{part}/negative": float(distance[~same].mean()),
        f"distance/{part}/nearest_negative": float(nearest.mean()),
    }


def _sample(rng: np.random.Generator, mask: np.ndarray, most: int | None) -> np.ndarray:
    numbers = np.flatnonzero(mask)
    if most is not None and len(numbers) > most:
        numbers = np.sort(rng.choice(numbers, most, replace=False))
    return numbers
