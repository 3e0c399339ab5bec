"""Virtual products: pairs of a catalogue photo and a shopper's photo of a product that there is not.

A network that is taught that this photo goes with that product learns the products. What it must learn is the step from
a studio to a shop, whatever the product. So each batch makes pairs of its own: a product's catalogue photo and one of
its shoppers' photos, with their colours turned alike. A blue apple is another product, but hangs together with its
photo in a crate just as the red one does. Often the next pair shows the same product in other colours, so that colour
has to be looked at as well.

New classes made of old ones: Lee et al., "Self-supervised Label Augmentation via Input Transformations" (2020), by
rotation; Gu et al., "Proxy Synthesis: Learning with Synthetic Classes for Deep Metric Learning" (2021), by mixing
embeddings.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from .holdout import Rows
from .sources import Sample

TASK = "virtual"
# Share of pairs that keep their colours, and of pairs that show the product of the pair before in other colours.
PLAIN, REPEATED = 0.25, 0.3
# Below this saturation a pixel is white, grey or black, and keeps its brightness.
GREY_BELOW = 12

Recolour = Callable[[np.ndarray], np.ndarray]


def random_colours(rng: np.random.Generator) -> Recolour:
    """A change of colours for all photos of a virtual product: uint8 [H, W, 3] -> the same shape."""
    turn, saturation, value = int(rng.integers(20, 236)), rng.uniform(0.6, 1.3), rng.uniform(0.8, 1.1)
    channels = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)

    def change(pixels: np.ndarray) -> np.ndarray:
        h, s, v = (np.asarray(plane, np.int16) for plane in Image.fromarray(pixels).convert("HSV").split())
        h, v = (h + turn) % 256, np.where(s < GREY_BELOW, v, np.clip(v * value, 0, 255))
        planes = [Image.fromarray(plane.astype(np.uint8)) for plane in (h, np.clip(s * saturation, 0, 255), v)]
        return np.ascontiguousarray(np.asarray(Image.merge("HSV", planes).convert("RGB"))[..., channels])

    return change


def unchanged(pixels: np.ndarray) -> np.ndarray:
    return pixels


class VirtualProducts:
    """A source of samples: `count` pairs a batch, labelled by `TASK` with a number of its own for each pair."""

    def __init__(self, rows: Rows, train: np.ndarray, pixels: np.ndarray, count: int):
        """`train` are the rows that may be used; `pixels` uint8 [rows, S, S, 3] are of all rows."""
        self.pixels, self.count, self.number = pixels, count, 0
        self.catalogue = {rows[i]["class_id"]: int(i) for i in train if rows[i]["domain"] == "product"}
        self.shop: dict[str, list[int]] = {}
        for i in train:
            if rows[i]["domain"] == "user" and rows[i]["class_id"] in self.catalogue:
                self.shop.setdefault(rows[i]["class_id"], []).append(int(i))
        self.products = sorted(self.shop)
        if not self.products:
            raise ValueError("virtual products need products with a catalogue photo and shoppers' photos")

    def draw(self, rng: np.random.Generator) -> list[Sample]:
        samples: list[Sample] = []
        product = ""
        for _ in range(self.count):
            again = product and rng.random() < REPEATED
            if not again:
                product = self.products[rng.integers(len(self.products))]
            change = unchanged if not again and rng.random() < PLAIN else random_colours(rng)
            shop = self.shop[product]
            photos = (self.catalogue[product], shop[rng.integers(len(shop))])
            catalogue, shopper = (change(np.asarray(self.pixels[i])) for i in photos)
            self.number += 1
            # A catalogue photo is searched as it is: no cut, no other light.
            samples.append(Sample(catalogue, {TASK: self.number}, is_catalogue=True, finished=True))
            samples.append(Sample(shopper, {TASK: self.number}))
        return samples
