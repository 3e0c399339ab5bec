"""Writes calibrated probabilities into a pack's manifest. `python -m magpie_models.calibrate --help`

Fits the confidence (the probability that the first listing is right) and each head's temperature on photos of split
val, prints figures from two-fold cross-validation, and updates manifest.json and the attributes in golden/ in place.
The network and the model id do not change, so catalogues need not be rebuilt. Run it after each export.

Confidence: each catalogue is searched with every shop photo twice, with the photo's product in the catalogue and
without it. The catalogues are all product photos, random samples of 2 to 40 of them, and all of them mixed with
clothing, so that one calibration holds for catalogues and filters of any size. For the printed figures, each half of
the products is evaluated with a fit on the other half; the parameters that are written are fitted on all products.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import calibration, data, places
from .calibration import FEATURES, KIND, auroc, ece, features, logistic
from .golden import refresh_attributes
from .goods import Goods
from .holdout import Holdout
from .pack import read_manifest
from .preprocess import Recipe
from .runtime import Network, softmax

SEED = 7
SMALL_CATALOGUES = (2, 5, 10, 20, 40)
WHOLE = "whole"
SHOWN = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass
class CatalogueSearches:
    """The n searches of one catalogue: each photo with its product in the catalogue and without it."""

    catalogue: str
    x: np.ndarray  # features [n, 3]
    right: np.ndarray  # whether the first listing shows the product [n]
    inside: np.ndarray  # whether the product is in the catalogue [n]
    half: np.ndarray  # the cross-validation half of the product, 0 or 1 [n]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    places.add_flags(parser, weights=False)
    parser.add_argument("--pack", type=Path, default=places.SHIPPED, help="pack to calibrate (models/packs/default)")
    parser.add_argument("--precision", type=float, default=0.8, help="precision at the confidence threshold (0.8)")
    parser.add_argument("--head-precision", type=float, default=0.8, help="precision of the labels of a head (0.8)")
    parser.add_argument("--keep-out-products", default="", help="as given to train: report these products separately")
    parser.add_argument("--fit-kept-out", action="store_true", help="also fit on the held-out products")
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime (1)")
    parser.add_argument("--dry-run", action="store_true", help="only print the figures; do not change the pack")
    return parser.parse_args()


def halves(keys: list[str]) -> np.ndarray:
    """Splits the distinct keys randomly into two halves: 0 or 1 for each key, the same for equal keys."""
    names = sorted(set(keys))
    side = dict(zip(np.random.default_rng(SEED).permutation(names), np.arange(len(names)) % 2))
    return np.array([side[key] for key in keys])


def search_catalogue(
    name: str,
    queries: np.ndarray,
    catalogue: np.ndarray,
    photos: "CataloguePhotos",
    size: int,
    background: float,
) -> CatalogueSearches:
    """Searches one catalogue, given by row numbers; with a size, each query gets its own random sample of so many
    listings. A listing's score is that of its best photo.
    """
    rng = np.random.default_rng(SEED)
    x, right, inside = [], [], []
    similarity = photos.embeddings[queries] @ photos.embeddings[catalogue].T
    listings = np.unique(photos.listing[catalogue])
    by_listing = np.full((len(queries), len(listings)), -np.inf, np.float32)
    position = np.searchsorted(listings, photos.listing[catalogue])
    np.maximum.at(by_listing.T, position, similarity.T)
    for query, row in zip(queries, by_listing):
        own = listings == photos.listing[query]
        for present in (True, False):
            others = np.flatnonzero(~own)
            if size:
                others = rng.choice(others, size - present, replace=False)
            candidates = np.concatenate([np.flatnonzero(own), others]) if present else others
            scores = row[candidates]
            x.append(features(scores, background))
            right.append(present and own[candidates[scores.argmax()]])
            inside.append(present)
    half = np.repeat(halves(list(photos.listing[queries])), 2)
    return CatalogueSearches(name, np.array(x), np.array(right), np.array(inside), half)


def fit_on(searches: list[CatalogueSearches], half: int | None) -> tuple[np.ndarray, float]:
    """Fits on all products, or on those of one half; every catalogue has the same total weight."""
    masks = [np.ones(len(q.right), bool) if half is None else q.half == half for q in searches]
    parts = [(q.x[m], q.right[m], np.full(m.sum(), 1.0 / m.sum())) for q, m in zip(searches, masks)]
    return calibration.fit(*(np.concatenate(part) for part in zip(*parts)))


@dataclass
class CataloguePhotos:
    """Photos by row number: the listing that each shows, and its embedding [rows, dim]."""

    listing: np.ndarray
    embeddings: np.ndarray


def confidence(
    rows: list[dict[str, str]],
    embeddings: np.ndarray,
    precision: float,
    kept_out: set[str] = frozenset(),
    fit_kept_out: bool = False,
    broad: tuple[Goods, np.ndarray] | None = None,
) -> dict:
    """Returns the manifest's `confidence`. There is one embedding a row; those of split test are not used.

    `broad`: the broad goods with an embedding a row. Those of split val were kept out of training, so the confidence is
    fitted on them too: most goods of a catalogue are such goods.
    """
    columns = {name: np.array([row[name] for row in rows]) for name in ("split", "domain", "class_id")}
    product = columns["class_id"] != ""
    shop, held_out = product & (columns["domain"] == "user"), np.isin(columns["class_id"], list(kept_out))
    queries = np.flatnonzero(shop & (columns["split"] == "val") & ~held_out)
    # The network saw none of these products, so their photos of split train can be queries too.
    held_out_queries = np.flatnonzero(shop & (columns["split"] != "test") & held_out)
    products = np.flatnonzero(product & (columns["domain"] == "product"))
    clothing = np.flatnonzero(~product & (columns["split"] == "train"))
    similarity = embeddings[queries] @ embeddings[products].T
    other_product = columns["class_id"][queries][:, None] != columns["class_id"][products][None]
    background = round(float(similarity[other_product].mean()), 3)
    # Each photo of clothing is a listing of its own.
    photos = CataloguePhotos(np.array([row["class_id"] or f"row {i}" for i, row in enumerate(rows)]), embeddings)
    small = [(f"{size} listings", products, size) for size in SMALL_CATALOGUES]
    catalogues = [(WHOLE, products, 0), ("among clothing", np.concatenate([products, clothing]), 0), *small]

    def search_all(photos: CataloguePhotos, queries: np.ndarray, catalogues: list) -> list[CatalogueSearches]:
        return [search_catalogue(name, queries, c, photos, size, background) for name, c, size in catalogues]

    searches = search_all(photos, queries, catalogues)
    held_out_searches = search_all(photos, held_out_queries, catalogues) if len(held_out_queries) else []
    goods_searches, goods_count = [], 0
    if broad:
        goods, vectors = broad
        studio, wild = goods.val_looks()
        goods_photos = CataloguePhotos(np.array([row["instance"] for row in goods.rows]), vectors)
        small = [(f"{size} listings", studio, size) for size in SMALL_CATALOGUES]
        goods_searches = search_all(goods_photos, wild, [(WHOLE, studio, 0), *small])
        goods_count = len(wild)
    fitted = searches + goods_searches + (held_out_searches if fit_kept_out else [])
    half_fits = [fit_on(fitted, half=1 - half) for half in (0, 1)]

    def cross_validated(q: CatalogueSearches) -> np.ndarray:
        z = np.stack([q.x @ weights + bias for weights, bias in half_fits])
        return logistic(z[q.half, np.arange(len(q.half))])

    whole = [q for q in fitted if q.catalogue == WHOLE]
    right = np.concatenate([q.right for q in whole])
    threshold = calibration.threshold(np.concatenate([cross_validated(q) for q in whole]), right, precision)
    for title, group in (
        (f"confidence, {len(queries)} photos of products in training", searches),
        (f"{len(held_out_queries)} photos of held-out products", held_out_searches),
        (f"{goods_count} pictures of held-out goods of other kinds", goods_searches),
    ):
        if group:
            print(f"{title}; each half of the products evaluated with the fit on the other:")
        for q in group:
            print_figures(cross_validated(q), q, threshold)
    weights, bias = fit_on(fitted, half=None)
    return {
        "kind": KIND,
        "weights": {name: round(float(w), 4) for name, w in zip(FEATURES, weights)},
        "bias": round(bias, 4),
        "background": background,
        "threshold": threshold,
        "data": f"{len(queries)} shop photos of split val"
        + (f", {goods_count} pictures of goods kept out of training" if goods_count else "")
        + (
            f" and {len(held_out_queries)} of products kept out of training"
            if fit_kept_out and held_out_searches
            else ""
        )
        + ", each asked with and without its product in catalogues of "
        f"{SMALL_CATALOGUES[0]} to {len(products) + len(clothing)} listings; threshold for {precision:.0%} right "
        "answers where half of what is asked is not in the catalogue",
    }


def print_figures(p: np.ndarray, q: CatalogueSearches, threshold: float) -> None:
    aurocs = f"AUROC in catalogue or not {auroc(p, q.inside):.3f}, right or wrong {auroc(p, q.right):.3f}"
    print(f"  {q.catalogue:14} {aurocs}, ECE {ece(p, q.right):.3f}")
    if q.catalogue == WHOLE:
        print_coverage(p, q, sorted({*SHOWN, threshold}))


def share(right: np.ndarray) -> float:
    return float(right.mean()) if len(right) else float("nan")


def print_coverage(p: np.ndarray, q: CatalogueSearches, thresholds: list[float]) -> None:
    print("    threshold  in catalogue: answered  right   not in it: answered  right of all")
    for t in thresholds:
        answered = p >= t
        inside, outside = answered[q.inside].mean(), answered[~q.inside].mean()
        right, both = share(q.right[answered & q.inside]), share(q.right[answered])
        print(f"    {t:9.3f}  {inside:22.1%}  {right:5.1%}  {outside:20.1%}  {both:12.1%}")


@dataclass
class Judged:
    """Photos that heads are calibrated on: logits [N, labels] by output, label names by head, and a key that keeps
    photos of one object or sender in one half.
    """

    outputs: dict[str, np.ndarray]
    values: dict[str, list[str]]
    keys: list[str]


# Value of a photo for which no label of a head is right: the head should say nothing.
OUTSIDE = None


def calibrate_heads(groups: list[Judged], heads: list[dict], precision: float) -> None:
    """Sets temperature and threshold of each head.

    A photo whose value is not among the labels, such as a material of groceries for a chair, is wrong with any label.
    """
    half = halves([f"{number} {key}" for number, group in enumerate(groups) for key in group.keys])
    for head in heads:
        name, labels = head["name"], head["labels"]
        values = [value for group in groups for value in group.values.get(name, [OUTSIDE] * len(group.keys))]
        judged = np.array([value != "" for value in values])
        if not any(value in labels for value in values):
            continue
        numbers = {label: number for number, label in enumerate(labels)}
        truth = np.array([numbers.get(value, data.NO_LABEL) for value in values])[judged]
        logits = np.concatenate([group.outputs[head["output"]] for group in groups])[judged].astype(np.float64)
        side, inside = half[judged], truth != data.NO_LABEL
        others = [(side != own) & inside for own in (0, 1)]
        half_temperatures = np.array([fitted_temperature(logits[other], truth[other]) for other in others])
        p = softmax(logits / half_temperatures[side][:, None]).max(1)
        uncalibrated, right = softmax(logits).max(1), logits.argmax(1) == truth
        head["temperature"] = round(fitted_temperature(logits[inside], truth[inside]), 4)
        head["threshold"] = calibration.threshold(p, right, precision)
        answered = p >= head["threshold"]
        print(
            f"head {name:9} {inside.sum():4} photos, accuracy {right[inside].mean():.1%}, "
            f"ECE {ece(uncalibrated[inside], right[inside]):.3f} -> {ece(p[inside], right[inside]):.3f} at temperature "
            f"{head['temperature']:.3f}; at threshold {head['threshold']:.3f} labels {answered[inside].mean():.1%} of them, "
            f"precision {share(right[answered & inside]):.1%}; of {(~inside).sum()} photos that no label fits, "
            f"{share(~answered[~inside]):.1%} get none"
        )


def fitted_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """At least 1: a lower one would sharpen again what `heads` has flattened for photos that no label fits."""
    return max(1.0, calibration.temperature(logits, truth))


def judged_products(rows: list[dict[str, str]], numbers: np.ndarray, outputs: dict) -> Judged:
    labels = data.make_labels(rows)
    sets = np.array([row["set"] for row in rows])
    values = {}
    for head in data.HEADS:
        names = labels.values(head)
        # A garment has no shape and no material; a grocery of unknown shape has one.
        with_task = set(sets[labels.numbers[head] != data.NO_LABEL])
        values[head] = [names[i] if sets[i] in with_task else OUTSIDE for i in numbers]
    return Judged(outputs, values, [rows[i]["class_id"] or rows[i]["group"] for i in numbers])


def judged_goods(goods: Goods, pixels: np.ndarray, numbers: np.ndarray, outputs: dict) -> Judged:
    labels = goods.labels(pixels)
    values = {"colour": [labels.values("colour")[i] for i in numbers]}
    values["category"] = [goods.kind(i) for i in numbers]
    return Judged(outputs, values, [goods.rows[i]["instance"] for i in numbers])


def main() -> None:
    options = arguments()
    manifest = read_manifest(options.pack)
    rows = data.read_manifest(options.data)
    pixels = data.pixels(rows, options.data, Recipe.of(manifest), places.cache(options.work))
    network = Network.of_pack(options.pack, options.threads)
    # No photo of split test is used.
    used_splits = {(True, "val"), (False, "val"), (True, "gallery"), (False, "train")}
    kind_and_split = [(data.is_product(row), row["split"]) for row in rows]
    kept_out = Holdout.parse(rows, options.keep_out_products).products
    held_out = [pair == (True, "train") and row["class_id"] in kept_out for pair, row in zip(kind_and_split, rows)]
    used_rows = np.array([i for i, pair in enumerate(kind_and_split) if pair in used_splits or held_out[i]])
    outputs = network(pixels[used_rows])
    embeddings = np.zeros((len(rows), manifest["embedding"]["dim"]), np.float32)
    embeddings[used_rows] = outputs[network.embedding]
    goods = Goods.find(options.goods)
    broad, judged = None, []
    if goods:
        goods_pixels = goods.pixels(manifest["input"]["width"], places.cache(options.work))
        goods_val = np.sort(np.concatenate(goods.val_looks()))
        goods_outputs = network(goods_pixels[goods_val])
        goods_embeddings = np.zeros((len(goods.rows), manifest["embedding"]["dim"]), np.float32)
        goods_embeddings[goods_val] = goods_outputs[network.embedding]
        broad, judged = (goods, goods_embeddings), [judged_goods(goods, goods_pixels, goods_val, goods_outputs)]
    manifest["confidence"] = confidence(rows, embeddings, options.precision, kept_out, options.fit_kept_out, broad)
    val = np.array([rows[i]["split"] == "val" for i in used_rows])
    val_outputs = {name: values[val] for name, values in outputs.items()}
    groups = [judged_products(rows, used_rows[val], val_outputs), *judged]
    calibrate_heads(groups, manifest["heads"], options.head_precision)
    print(json.dumps(manifest["confidence"]))
    if options.dry_run:
        return
    path = options.pack / "manifest.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(manifest, indent=1) + "\n")
    part.replace(path)
    refresh_attributes(options.pack / "golden", network, manifest)
    print(f"{path}: written")


if __name__ == "__main__":
    main()
