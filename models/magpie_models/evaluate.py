"""Scores a pack on the product photos. `python -m magpie_models.evaluate --help`

Embeds the manifest rows with ONNX Runtime, writes the embeddings as .npy in manifest order, and scores them with the
data set's own score.py: G1, G2 and C1 overall, and separately for held-out products and kinds of garment. Goods that
training never saw are scored too (`breadth`). --f32 compares the quantised network with the f32 network that export
wrote. `magpie bench` measures latency.
"""

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np

from . import data, places
from .breadth import Pictures, demo_pictures, goods_pictures
from .goods import Goods
from .holdout import Holdout, Rows, tuning_rows
from .pack import EMBEDDING, read_manifest
from .preprocess import Recipe
from .record import read_config, write_json
from .runtime import Network
from .scores import NO_LIMITS, RetrievalTest

Figures = dict[str, dict[str, float]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    places.add_flags(parser, weights=False)
    parser.add_argument("--pack", type=Path, help="pack to score (default: the run's, or models/packs/default)")
    parser.add_argument("--run", help="name of the pack's run: its config says what was held out")
    parser.add_argument("--keep-out-products", default="", help="without --run: as given to train")
    parser.add_argument("--keep-out-kinds", default="", help="without --run: as given to train")
    parser.add_argument("--f32", type=Path, help="f32 network to compare with, such as the run's f32.onnx")
    parser.add_argument("--demo", type=Path, default=Path("cli/demo"), help="the rendered demo catalogue")
    parser.add_argument("--val", action="store_true", help="only the val figures, for tuning")
    parser.add_argument("--out", type=Path, help="embeddings to write (default: embeddings.npy in the run's folder)")
    parser.add_argument("--json", type=Path, help="figures to write (default: figures.json in the run's folder)")
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime (1)")
    return parser.parse_args()


def official_score(data_folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score", data_folder / "score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def head_numbers(rows: Rows, heads: list[dict]) -> dict[str, np.ndarray]:
    """For each head, the label index of every manifest row, or NO_LABEL where the head does not have its label."""
    labels = data.make_labels(rows)
    numbers = {}
    for head in heads:
        if head["name"] in labels.names:
            names = np.array([*labels.names[head["name"]], ""])
            values = names[labels.numbers[head["name"]]]
            numbers[head["output"]] = data.numbered(list(values), head["labels"])
    return numbers


def official(score: ModuleType, rows: Rows, embeddings: np.ndarray, holdout: Holdout) -> Figures:
    """score.py's figures for all queries, then for subsets of the queries, always with the whole gallery."""
    result = {f"{task}/{part}": v for task, parts in score.tasks(rows, embeddings).items() for part, v in parts.items()}
    if holdout.products:
        held_out = np.array([row["class_id"] in holdout.products for row in rows])
        test = np.array([row["split"] == "test" for row in rows])
        for part, queries in (("seen", ~held_out), ("unseen", held_out)):
            kept = ~test | queries
            subset = score.tasks([row for row, keep in zip(rows, kept) if keep], embeddings[kept])
            result |= {f"{task}/{part} products": subset[task]["all"] for task in ("G1", "G2") if task in subset}
    return result | clothing_parts(score, rows, embeddings, holdout)


def clothing_parts(score: ModuleType, rows: Rows, embeddings: np.ndarray, holdout: Holdout) -> Figures:
    """C1 for queries that training did not see: senders of split val, and held-out kinds."""
    indices = [i for i, r in enumerate(rows) if not data.is_product(r) and r["coarse"] not in data.UNNAMED]
    if not indices:
        return {}
    kind, sender, split = (np.array([rows[i][name] for i in indices]) for name in ("coarse", "group", "split"))
    held_out, val = np.isin(kind, list(holdout.kinds)), split == "val"
    result = {}
    for part, queries in (
        ("unseen senders", val & ~held_out),
        ("unseen kinds", held_out),
        ("unseen senders and kinds", val & held_out),
    ):
        if queries.any():
            e = embeddings[indices]
            similarity = score.sims(e[queries], e, "cos")
            similarity[sender[queries][:, None] == sender[None]] = -np.inf
            figures = score.rank_metrics(similarity, kind[queries], kind, ks=(1, 10))
            result[f"C1/{part}"] = score.summ(figures, np.ones(int(queries.sum()), bool))
    return result


def breadth(network: Network, sets: list[Pictures]) -> dict[str, float]:
    result = {}
    for pictures in sets:
        queries, gallery = (network(pixels)[network.embedding] for pixels in pictures.read(network.recipe))
        result |= {name: round(value, 4) for name, value in pictures.scores(queries, gallery).items()}
    return result


def print_figures(title: str, figures: Figures) -> None:
    for part, values in figures.items():
        print(title, part, " ".join(f"{name}={value}" for name, value in values.items()))


def main() -> None:
    options = arguments()
    folder = places.run_folder(options.work, options.run) if options.run else None
    pack = options.pack or (folder / "pack" if folder else places.SHIPPED)
    rows = data.read_manifest(options.data)
    kept_out = (options.keep_out_products, options.keep_out_kinds)
    if folder:
        trained = read_config(folder)
        kept_out = (trained.keep_out_products, trained.keep_out_kinds)
    holdout = Holdout.parse(rows, *kept_out)
    manifest = read_manifest(pack)
    recipe, output = Recipe.of(manifest), manifest["embedding"]["output"]
    pixels = data.pixels(rows, options.data, recipe, places.cache(options.work))
    used_rows = tuning_rows(rows) if options.val else np.arange(len(rows))
    test = RetrievalTest(rows, holdout, NO_LIMITS)
    score = None if options.val else official_score(options.data)
    broad = Goods.find(options.goods)
    others = [demo_pictures(options.demo)] + ([goods_pictures(broad)] if broad else [])
    found: dict[str, object] = {"pack": str(pack), "model_id": manifest["model_id"], "kept_out": kept_out}

    def figures(title: str, network: Network) -> np.ndarray:
        outputs = network(pixels[used_rows])
        outputs[EMBEDDING] = outputs.pop(output).astype(np.float32)
        positions = np.searchsorted(used_rows, test.numbers)
        tuning = {name: values[positions] for name, values in outputs.items()}
        val = test.scores(tuning) | test.head_accuracy(tuning, head_numbers(rows, manifest["heads"]))
        found[f"{title} val"] = {name: round(value, 4) for name, value in val.items()}
        print(title, "val", json.dumps(found[f"{title} val"]))
        # The demo is a test: nothing is tuned on it.
        chosen = [pictures for pictures in others if not options.val or pictures.name != "demo"]
        found[f"{title} breadth"] = breadth(network, chosen)
        print(title, "breadth", json.dumps(found[f"{title} breadth"]))
        if score:
            found[title] = official(score, rows, outputs[EMBEDDING], holdout)
            print_figures(title, found[title])
        return outputs[EMBEDDING]

    embeddings = figures("pack", Network.of_pack(pack, options.threads))
    if not options.val:
        np.save(options.out or (folder or options.work) / "embeddings.npy", embeddings)
    if options.f32:
        reference = figures("f32", Network(options.f32, recipe, output, options.threads))
        cosine = (reference * embeddings).sum(1)
        found["cosine"] = {"mean": float(cosine.mean()), "1st percentile": float(np.percentile(cosine, 1))}
        print(f"cosine to f32: mean {cosine.mean():.5f}, 1st percentile {np.percentile(cosine, 1):.5f}")
    target = options.json or (folder / places.FIGURES if folder else None)
    if target:
        write_json(target, found)


if __name__ == "__main__":
    main()
