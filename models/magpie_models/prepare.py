"""Makes the caches that training reads. `python -m magpie_models.prepare --help`

Decoded photos at the sides given and at the one that training cuts from, and the teacher's features of all training
photos. Training makes what is missing by itself; this command is for doing it once, before several runs at a time.
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
    parser.add_argument("--side", type=int, nargs="+", default=[144], help="inputs to be trained (144)")
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
