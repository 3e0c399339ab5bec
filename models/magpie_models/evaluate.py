"""Scores a pack on the product photos. `python -m magpie_models.evaluate --help`

Embeds every manifest row with ONNX Runtime, writes the .npy in manifest order, and scores it with the data pack's own
score.py. With --f32, compares the quantised network with the f32 one that export wrote.
"""

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np

from . import data
from .graph import EMBEDDING
from .pack import read_manifest
from .runtime import Network
from .scores import val_split_scores


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/products"))
    parser.add_argument("--work", type=Path, default=Path("models/.work"), help="for caches and the .npy")
    parser.add_argument("--pack", type=Path, default=Path("models/packs/default"))
    parser.add_argument("--f32", type=Path, help="f32 network to compare with, such as <work>/f32.onnx")
    parser.add_argument("--val", action="store_true", help="only the val figures, for tuning")
    parser.add_argument("--keep-out-every", type=int, default=0, help="as given to train: score these products apart")
    parser.add_argument("--out", type=Path, help="where the embeddings go (default <work>/embeddings.npy)")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def official_score(data_folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score", data_folder / "score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def head_accuracy(
    outputs: dict[str, np.ndarray], rows: list[dict[str, str]], numbers: np.ndarray, heads: list[dict]
) -> dict[str, float]:
    """Share of labelled val photos whose most probable label is right; outputs belong to manifest rows `numbers`."""
    labels = data.make_labels(rows)
    val = np.array([rows[i]["split"] == "val" for i in numbers])
    result = {}
    for head in heads:
        assert labels.names[head["name"]] == head["labels"], head["name"]
        truth = labels.numbers[head["name"]][numbers]
        asked = val & (truth != data.NO_LABEL)
        result[head["name"]] = round(float((outputs[head["output"]].argmax(1) == truth)[asked].mean()), 4)
    return result


def print_official(title: str, score: ModuleType, rows: list[dict[str, str]], embeddings: np.ndarray) -> None:
    for task, parts in score.tasks(rows, embeddings).items():
        for part, values in parts.items():
            print(title, task, part, " ".join(f"{name}={value}" for name, value in values.items()))


def main() -> None:
    options = arguments()
    described = read_manifest(options.pack)
    rows = data.read_manifest(options.data)
    pixels = data.pixels(rows, options.data, described["input"]["width"], options.work / "cache")
    wanted = np.array([i for i, r in enumerate(rows) if not options.val or r["split"] != "test"])
    outputs = Network(options.pack / described["network"]["file"], options.threads)(pixels[wanted])
    embeddings = outputs[EMBEDDING].astype(np.float32)
    print("val", json.dumps(val_split_scores(rows, wanted, embeddings)))
    print("val heads", json.dumps(head_accuracy(outputs, rows, wanted, described["heads"])))
    score = official_score(options.data)
    if not options.val:
        np.save(options.out or options.work / "embeddings.npy", embeddings)
        print_official("pack", score, rows, embeddings)
        kept_out = data.kept_out_products(rows, options.keep_out_every)
        if kept_out:
            # Fewer queries, but the whole gallery: the other products stay as wrong answers.
            asked = np.array([row["split"] != "test" or row["class_id"] in kept_out for row in rows])
            some_rows = [row for row, keep in zip(rows, asked) if keep]
            print_official("products kept out of training:", score, some_rows, embeddings[asked])
    if options.f32:
        reference = Network(options.f32, options.threads)(pixels[wanted])
        cosine = (reference[EMBEDDING] * embeddings).sum(1)
        print(f"cosine to f32: mean {cosine.mean():.5f}, 1st percentile {np.percentile(cosine, 1):.5f}")
        print("f32 val", json.dumps(val_split_scores(rows, wanted, reference[EMBEDDING])))
        if not options.val:
            print_official("f32", score, rows, reference[EMBEDDING].astype(np.float32))


if __name__ == "__main__":
    main()
