"""Virtual products: pairs of a catalogue photo and a shopper's photo of a product that does not exist.

A network trained only to match photos with known products learns those products. It should learn the domain shift from
studio to shop for any product. So each batch gets new pairs: a product's catalogue photo and one of its shoppers'
photos, recoloured in the same way. A blue apple is a new product, but its two photos are related just as those of the
red apple are. The next pair often shows the same product in other colours, so that colour has to count as well.

Related work that makes new classes from known ones: Lee et al., "Self-supervised Label Augmentation via Input
Transformations" (2020), by rotation; Gu et al., "Proxy Synthesis: Learning with Synthetic Classes for Deep Metric
Learning" (2021), by mixing embeddings.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from .holdout import Rows
from .sources import Sample

TASK = "virtual"
# Share of pairs that keep their colours, and share of pairs that repeat the previous product in other colours.
PLAIN, REPEATED = 0.25, 0.3
# Pixels below this HSV saturation (0 to 255) count as white, grey or black and keep their brightness.
GREY_BELOW = 12

Recolour = Callable[[np.ndarray], np.ndarray]


def random_colours(rng: np.random.Generator) -> Recolour:
    """A random recolouring for all photos of a virtual product: uint8 [H, W, 3] -> the same shape."""
    hue_shift, saturation, value = int(rng.integers(20, 236)), rng.uniform(0.6, 1.3), rng.uniform(0.8, 1.1)
    channels = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)

    def change(pixels: np.ndarray) -> np.ndarray:
        h, s, v = (np.asarray(plane, np.int16) for plane in Image.fromarray(pixels).convert("HSV").split())
        h, v = (h + hue_shift) % 256, np.where(s < GREY_BELOW, v, np.clip(v * value, 0, 255))
        planes = [Image.fromarray(plane.astype(np.uint8)) for plane in (h, np.clip(s * saturation, 0, 255), v)]
        return np.ascontiguousarray(np.asarray(Image.merge("HSV", planes).convert("RGB"))[..., channels])

    return change


def unchanged(pixels: np.ndarray) -> np.ndarray:
    return pixels


class VirtualProducts:
    """A source of samples: `count` pairs a batch, each with a unique label of the task `task`."""

    def __init__(self, pairs: dict[str, tuple[list[int], list[int]]], pixels: np.ndarray, count: int, task: str = TASK):
        """`pairs`: the row numbers of the catalogue photos and of the shoppers' photos of each object, by its name;
        `pixels` uint8 [rows, S, S, 3] of all rows.
        """
        self.pixels, self.count, self.task, self.number = pixels, count, task, 0
        self.pairs = {name: rows for name, rows in pairs.items() if rows[0] and rows[1]}
        self.products = sorted(self.pairs)
        if not self.products:
            raise ValueError("virtual products need products with a catalogue photo and shoppers' photos")

    def draw(self, rng: np.random.Generator) -> list[Sample]:
        samples: list[Sample] = []
        product = ""
        for _ in range(self.count):
            repeat = product and rng.random() < REPEATED
            if not repeat:
                product = self.products[rng.integers(len(self.products))]
            recolour = unchanged if not repeat and rng.random() < PLAIN else random_colours(rng)
            rows = (kind[rng.integers(len(kind))] for kind in self.pairs[product])
            catalogue, shopper = (recolour(np.asarray(self.pixels[row])) for row in rows)
            self.number += 1
            # Catalogue photos are indexed unchanged, so they are not cropped or jittered here.
            samples.append(Sample(catalogue, {self.task: self.number}, is_catalogue=True, skip_jitter=True))
            samples.append(Sample(shopper, {self.task: self.number}))
        return samples


def product_pairs(rows: Rows, train: np.ndarray) -> dict[str, tuple[list[int], list[int]]]:
    """The catalogue photos and the shoppers' photos of each product among the rows `train`."""
    pairs: dict[str, tuple[list[int], list[int]]] = {}
    for i in train:
        product, domain = rows[i]["class_id"], rows[i]["domain"]
        if product:
            pairs.setdefault(product, ([], []))[0 if domain == "product" else 1].append(int(i))
    return pairs
