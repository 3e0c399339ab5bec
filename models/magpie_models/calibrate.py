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
    columns: dict[str, np.ndarray],
    embeddings: np.ndarray,
    size: int,
    background: float,
) -> CatalogueSearches:
    """Searches one catalogue, given by row numbers; with a size, each query gets its own random sample of that size.

    `columns` are those of the manifest, by name.
    """
    rng = np.random.default_rng(SEED)
    x, right, inside = [], [], []
    for query in queries:
        same_product = columns["class_id"][catalogue] == columns["class_id"][query]
        for present in (True, False):
            others = catalogue[~same_product]
            if size:
                others = rng.choice(others, size - present, replace=False)
            candidates = np.concatenate([catalogue[same_product], others]) if present else others
            scores = embeddings[candidates] @ embeddings[query]
            x.append(features(scores, background))
            right.append(present and columns["class_id"][candidates[scores.argmax()]] == columns["class_id"][query])
            inside.append(present)
    half = np.repeat(halves(list(columns["class_id"][queries])), 2)
    return CatalogueSearches(name, np.array(x), np.array(right), np.array(inside), half)


def fit_on(searches: list[CatalogueSearches], half: int | None) -> tuple[np.ndarray, float]:
    """Fits on all products, or on those of one half; every catalogue has the same total weight."""
    masks = [np.ones(len(q.right), bool) if half is None else q.half == half for q in searches]
    parts = [(q.x[m], q.right[m], np.full(m.sum(), 1.0 / m.sum())) for q, m in zip(searches, masks)]
    return calibration.fit(*(np.concatenate(part) for part in zip(*parts)))


def confidence(
    rows: list[dict[str, str]],
    embeddings: np.ndarray,
    precision: float,
    kept_out: set[str] = frozenset(),
    fit_kept_out: bool = False,
) -> dict:
    """Returns the manifest's `confidence`. There is one embedding a row; those of split test are not used."""
    columns = {name: np.array([row[name] for row in rows]) for name in ("set", "split", "domain", "class_id")}
    grocery = columns["set"] == "grocery"
    shop, held_out = grocery & (columns["domain"] == "user"), np.isin(columns["class_id"], list(kept_out))
    queries = np.flatnonzero(shop & (columns["split"] == "val") & ~held_out)
    # The network saw none of these products, so their photos of split train can be queries too.
    held_out_queries = np.flatnonzero(shop & (columns["split"] != "test") & held_out)
    products = np.flatnonzero(grocery & (columns["domain"] == "product"))
    clothing = np.flatnonzero((columns["set"] == "clothing") & (columns["split"] == "train"))
    similarity = embeddings[queries] @ embeddings[products].T
    other_product = columns["class_id"][queries][:, None] != columns["class_id"][products][None]
    background = round(float(similarity[other_product].mean()), 3)
    catalogues = [(WHOLE, products, 0), ("among clothing", np.concatenate([products, clothing]), 0)]
    catalogues += [(f"{size} listings", products, size) for size in SMALL_CATALOGUES]

    def search_all(photos: np.ndarray) -> list[CatalogueSearches]:
        return [
            search_catalogue(name, photos, listings, columns, embeddings, size, background)
            for name, listings, size in catalogues
        ]

    searches, held_out_searches = search_all(queries), search_all(held_out_queries) if len(held_out_queries) else []
    fitted = searches + (held_out_searches if fit_kept_out else [])
    half_fits = [fit_on(fitted, half=1 - half) for half in (0, 1)]

    def cross_validated(q: CatalogueSearches) -> np.ndarray:
        z = np.stack([q.x @ weights + bias for weights, bias in half_fits])
        return logistic(z[q.half, np.arange(len(q.half))])

    whole = [q for q in fitted if q.catalogue == WHOLE]
    right = np.concatenate([q.right for q in whole])
    threshold = calibration.threshold(np.concatenate([cross_validated(q) for q in whole]), right, precision)
    print(f"confidence, {len(queries)} photos, each half of the products evaluated with the fit on the other:")
    for q in searches:
        print_figures(cross_validated(q), q, threshold)
    if held_out_searches:
        print(f"{len(held_out_queries)} photos of held-out products:")
    for q in held_out_searches:
        print_figures(cross_validated(q), q, threshold)
    weights, bias = fit_on(fitted, half=None)
    return {
        "kind": KIND,
        "weights": {name: round(float(w), 4) for name, w in zip(FEATURES, weights)},
        "bias": round(bias, 4),
        "background": background,
        "threshold": threshold,
        "data": f"{len(queries)} shop photos of split val"
        + (f" and {len(held_out_queries)} of products kept out of training" if len(fitted) > len(searches) else "")
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


def calibrate_heads(
    rows: list[dict[str, str]], outputs: dict, numbers: np.ndarray, heads: list[dict], precision: float
) -> None:
    """Sets temperature and threshold of each head. The outputs are of the manifest rows `numbers`, all in split val."""
    labels = data.make_labels(rows)
    half = halves([rows[i]["class_id"] or rows[i]["group"] for i in numbers])
    for head in heads:
        if head["name"] not in labels.names:
            continue
        names = labels.names[head["name"]]
        head_index = {number: head["labels"].index(name) for number, name in enumerate(names) if name in head["labels"]}
        truth = np.array([head_index.get(number, data.NO_LABEL) for number in labels.numbers[head["name"]][numbers]])
        labelled = truth != data.NO_LABEL
        logits = outputs[head["output"]][labelled].astype(np.float64)
        truth, label_half = truth[labelled], half[labelled]
        others = (label_half != side for side in (0, 1))
        half_temperatures = np.array([calibration.temperature(logits[other], truth[other]) for other in others])
        p = softmax(logits / half_temperatures[label_half][:, None]).max(1)
        uncalibrated, right = softmax(logits).max(1), logits.argmax(1) == truth
        head["temperature"] = round(calibration.temperature(logits, truth), 4)
        head["threshold"] = calibration.threshold(p, right, precision)
        answered = p >= head["threshold"]
        print(
            f"head {head['name']:9} {len(truth):4} photos, accuracy {right.mean():.1%}, "
            f"ECE {ece(uncalibrated, right):.3f} -> {ece(p, right):.3f} at temperature {head['temperature']:.3f}; "
            f"at threshold {head['threshold']:.3f} labels "
            f"{answered.mean():.1%} of them, precision {right[answered].mean() if answered.any() else 0:.1%}"
        )


def main() -> None:
    options = arguments()
    manifest = read_manifest(options.pack)
    rows = data.read_manifest(options.data)
    pixels = data.pixels(rows, options.data, Recipe.of(manifest), places.cache(options.work))
    network = Network.of_pack(options.pack, options.threads)
    # No photo of split test is used.
    set_and_split = [(row["set"], row["split"]) for row in rows]
    used_splits = {("grocery", "val"), ("clothing", "val"), ("grocery", "gallery"), ("clothing", "train")}
    kept_out = Holdout.parse(rows, options.keep_out_products).products
    held_out = [pair == ("grocery", "train") and row["class_id"] in kept_out for pair, row in zip(set_and_split, rows)]
    used_rows = np.array([i for i, pair in enumerate(set_and_split) if pair in used_splits or held_out[i]])
    outputs = network(pixels[used_rows])
    embeddings = np.zeros((len(rows), manifest["embedding"]["dim"]), np.float32)
    embeddings[used_rows] = outputs[network.embedding]
    manifest["confidence"] = confidence(rows, embeddings, options.precision, kept_out, options.fit_kept_out)
    val = np.array([rows[i]["split"] == "val" for i in used_rows])
    val_outputs = {name: values[val] for name, values in outputs.items()}
    calibrate_heads(rows, val_outputs, used_rows[val], manifest["heads"], options.head_precision)
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
