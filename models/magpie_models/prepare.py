"""Fills the caches that training reads. `python -m magpie_models.prepare --help`

Caches the decoded photos, at the given input sides and at the side that training crops from, and the teacher's features
of all training photos. Training fills missing caches itself; run this command once before starting several runs at a
time. `--only` lets two processes share the work.
"""

import argparse
import time
from pathlib import Path

from . import data, goods, places, sources
from .goods import Goods
from .holdout import training_rows
from .preprocess import Recipe
from .teachers import TEACHERS, teacher_features
from .train import CACHE_SIDE, teacher_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    places.add_flags(parser)
    parser.add_argument("--side", type=int, nargs="+", default=[160], help="input sides that will be trained (160)")
    parser.add_argument("--teacher", choices=tuple(TEACHERS), default="efficientnet-lite2")
    parser.add_argument("--only", choices=(sources.PRODUCTS, goods.NAME), help="one of the two data sets")
    options = parser.parse_args()
    if options.only != goods.NAME:
        rows = data.read_manifest(options.data)
        paths = [options.data / rows[i]["path"] for i in training_rows(rows)]
        prepare(sources.PRODUCTS, rows, options.data, paths, options)
    if options.only != sources.PRODUCTS:
        broad = Goods.read(options.goods)
        prepare(goods.NAME, broad.rows, options.goods, broad.paths(broad.train), options)


def prepare(name: str, rows: list[dict], folder: Path, taught: list[Path], options: argparse.Namespace) -> None:
    cache = places.cache(options.work)
    for side in sorted({CACHE_SIDE, *options.side}):
        began = time.process_time()
        found = data.pixels(rows, folder, Recipe(side, side), cache, name)
        print(f"{name}: {len(found)} photos at {side} px: {time.process_time() - began:.0f} CPU-seconds", flush=True)
    began = time.process_time()
    found = teacher_features(options.teacher, taught, options.weights, teacher_file(cache, options.teacher, name))
    print(f"{name}: features of {len(found)} photos: {time.process_time() - began:.0f} CPU-seconds", flush=True)


if __name__ == "__main__":
    main()
