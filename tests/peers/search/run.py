"""Compares Magpie's search with other systems on the same vectors. Run it with `cargo xtask peers search`."""

import argparse
import datetime
import importlib.metadata
import json
import platform
from pathlib import Path

import numpy as np

import measure
import plot
import report
import vectors
from servers import ROOT, IndexStore, build_runner
from variants import MAGPIE, Variant, variants

CACHE = ROOT / "target/peers/search"
PACKAGES = ["faiss-cpu", "hnswlib", "usearch", "qdrant-edge-py"]


def main() -> None:
    arguments = _arguments()
    if (arguments.vectors is None) != (arguments.queries is None):
        raise SystemExit("--vectors and --queries must be given together")
    for file in filter(None, (arguments.vectors, arguments.queries)):
        if not file.is_file():
            raise SystemExit(f"{file}: file not found")
    if arguments.vectors:
        folder, size = CACHE / "given", f"{len(np.load(arguments.vectors, mmap_mode='r'))}"
        base, tune, test = vectors.normalised_copies(folder, arguments.vectors, arguments.queries)
    else:
        folder, size = CACHE if arguments.photos == "all" else CACHE / arguments.photos, arguments.size
        base, tune, test = vectors.make(folder / "vectors", arguments.data, arguments.photos, size, arguments.threads)
    photos, dim = np.load(base, mmap_mode="r").shape
    chosen = [v for v in variants(photos, dim) if not arguments.systems or _named(v, arguments.systems)]
    runner = build_runner() if any(v.system == MAGPIE for v in chosen) else None
    store = IndexStore(folder / f"indexes_{base.stem}", base, runner, arguments.threads)
    for variant in chosen:
        store.build(variant)
    if arguments.build_only:
        return
    bench = measure.Bench(store, base, tune, test)
    points = bench.tune(chosen)
    filtered = bench.tune_filters(chosen)
    bench.measure(points, measure.ROUNDS, measure.ALL)
    bench.measure(filtered, measure.FILTER_ROUNDS, measure.FILTER_QUERIES)
    bench.close()
    opened: dict[str, dict[str, float]] = {}

    def fresh(point: measure.Point) -> dict[str, float]:
        # How much of the file Magpie's first queries read depends on the settings; peers map or read all of it.
        key = str(store.index(point.variant)) + (str(point.config) if point.variant.system == MAGPIE else "")
        if key not in opened:
            opened[key] = store.fresh(point.variant, point.config, test)
        return opened[key]

    found = report.rows([*points, *filtered], size, store, fresh)
    shop = arguments.vectors is None and arguments.photos == "shop"
    text = _text(found, size, " --photos shop" if shop else "", len(np.load(test)))
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.results:
        name = f"{datetime.date.today()}-search-{'shop-' if shop else ''}{size}"
        (arguments.results / f"{name}.md").write_text(text)
        plot.draw(found, f"Search among {photos:,} photos, {_cpu()}, {datetime.date.today()}", arguments.results / name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cargo xtask peers search", description=__doc__)
    parser.add_argument("--size", choices=vectors.SIZES, default="100k", help="photos in the catalogue (100k)")
    parser.add_argument("--photos", choices=["all", "shop"], default="all", help="shop: groceries and the demo only")
    parser.add_argument("--vectors", type=Path, help="your own catalogue: .npy, one row per photo")
    parser.add_argument("--queries", type=Path, help="its queries: .npy; half are for tuning, the others are reported")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--results", type=Path, help="write a page and a picture to this folder")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the photos")
    parser.add_argument("--threads", type=int, default=2, help="threads for building (2); searches use one")
    parser.add_argument("--systems", nargs="*", help="only systems or indexes whose name contains one of these")
    parser.add_argument("--build-only", action="store_true", help="only make the vectors and indexes")
    return parser.parse_args()


def _named(variant: Variant, parts: list[str]) -> bool:
    return any(part.lower() in f"{variant.system} {variant.name}".lower() for part in parts)


def _text(found: list[report.Row], size: str, photos_flag: str, queries: int) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    plain = [row for row in found if row["filter_percent"] is None]
    filtered = [row for row in found if row["filter_percent"] is not None]
    return f"""# Search compared with other systems, {size} photos, {datetime.date.today()}

`cargo xtask peers search --size {size}{photos_flag}`; {_cpu()}, {platform.system()}; one thread; {queries} queries,
none of them used for tuning; the ground truth is exact f32. Peers: {versions}.
How it is measured, and what the columns mean: `tests/peers/search/README.md`.

## The project's figures

{report.promises(found)}

## At equal recall

{report.ratios(found)}

## All settings

{report.table(plain)}

## With filters

{report.table(filtered)}
"""


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line for line in lines if line.startswith("flags")), "")
    wide = [name for flag, name in (("avx2", "AVX2"), ("avx512f", "AVX-512")) if f" {flag} " in f"{flags} "]
    return " with ".join([model, *wide[-1:]])


if __name__ == "__main__":
    main()
