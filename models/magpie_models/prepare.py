"""Fills the caches that training reads. `python -m magpie_models.prepare --help`

Caches the decoded photos, at the given input sides and at the side that training crops from, and the teacher's features
of all training photos. Training fills missing caches itself; run this command once before starting several runs at a
time.
"""

import argparse
import time

from . import data, places, weights
from .holdout import training_rows
from .preprocess import Recipe
from .train import CACHE_SIDE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    places.add_flags(parser)
    parser.add_argument("--side", type=int, nargs="+", default=[144], help="input sides that will be trained (144)")
    options = parser.parse_args()
    rows = data.read_manifest(options.data)
    cache = places.cache(options.work)
    for side in sorted({CACHE_SIDE, *options.side}):
        began = time.process_time()
        found = data.pixels(rows, options.data, Recipe(side, side), cache)
        print(f"{len(found)} photos at {side} px: {time.process_time() - began:.0f} CPU-seconds", flush=True)
    began = time.process_time()
    paths = [options.data / rows[i]["path"] for i in training_rows(rows)]
    found = weights.teacher_features(paths, options.weights, cache)
    print(f"teacher's features of {len(found)} photos: {time.process_time() - began:.0f} CPU-seconds", flush=True)


if __name__ == "__main__":
    main()
