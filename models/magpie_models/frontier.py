"""Plots the recall of packs against their cost. `python -m magpie_models.frontier --help`

For each exported and evaluated run: hit rates of its int8 pack on the tuning photos (`evaluate --run NAME --val`), the
network's time on this machine's CPU (`magpie bench`), and the file size. A run is on the Pareto frontier if no faster
run is at least as good. Only compare runs that held out the same products. Times are of one thread, the median of
rounds in which the packs take turns. They compare packs on one machine; they do not predict times on phones.
"""

import argparse
import json
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from . import places
from .pack import read_manifest

# Metrics on the tuning photos, with their titles. The frontier in the table is that of the first.
FIGURES = (("G1/unseen/hit@1", "held-out products"), ("G1/seen/hit@1", "products in training"))


@dataclass(frozen=True)
class Point:
    """A pack: percent by metric, milliseconds of the network, file size in bytes."""

    name: str
    percent: dict[str, float]
    milliseconds: float
    size: int


def measure(magpie: Path, packs: dict[str, Path], rounds: int, runs: int) -> dict[str, float]:
    """Median network time of each pack in milliseconds; packs take turns, so that a slow phase hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in packs}
    for _ in range(rounds):
        for name, pack in packs.items():
            command = [str(magpie), "bench", "--json", "--runs", str(runs), "--model", str(pack)]
            process = subprocess.run(command, capture_output=True, text=True)
            if process.returncode != 0:
                raise SystemExit(f"{name}: {process.stderr.strip()}")
            stages = {stage["stage"]: stage for stage in json.loads(process.stdout)["stages"]}
            times[name].append(stages["network"]["p50_ms"])
    return {name: statistics.median(values) for name, values in times.items()}


def read_figures(folder: Path) -> dict[str, float]:
    path = folder / places.FIGURES
    if not path.exists():
        raise SystemExit(f"{path} does not exist: run `evaluate --run {folder.name} --val` first")
    val = json.loads(path.read_text())["pack val"]
    return {metric: 100 * val[metric] for metric, _ in FIGURES if metric in val}


def frontier(points: list[Point], metric: str) -> list[Point]:
    """The Pareto frontier, by time: points that beat every point that takes no longer."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.milliseconds, -p.percent[metric])):
        if not best or point.percent[metric] > best[-1].percent[metric]:
            best.append(point)
    return best


def draw(points: list[Point], target: Path) -> None:
    shown = [(metric, title) for metric, title in FIGURES if all(metric in p.percent for p in points)]
    figure, axes = pyplot.subplots(1, len(shown), figsize=(6.5 * len(shown), 5), layout="constrained", squeeze=False)
    for axis, (metric, title) in zip(axes.flat, shown):
        line = frontier(points, metric)
        axis.plot([p.milliseconds for p in line], [p.percent[metric] for p in line], "-", color="#9bbf9b", zorder=1)
        for point in points:
            at = (point.milliseconds, point.percent[metric])
            axis.scatter(*at, s=point.size / 2e4, color="#2c6e49" if point in line else "#999999", zorder=2)
            text = f"{point.name}\n{point.size / 1e6:.2f} MB"
            axis.annotate(text, at, xytext=(9, -4), textcoords="offset points", fontsize=9, va="top")
        axis.set_title(f"shopper -> catalogue, hit@1, {title}", fontsize=11)
        axis.set_xlabel("network, ms on one thread")
        axis.set_ylabel("percent")
        axis.margins(0.34, 0.22)
        axis.grid(alpha=0.3)
    figure.savefig(target, dpi=100)
    pyplot.close(figure)


def table(points: list[Point]) -> str:
    """Markdown table, by time; the last column says which packs are on the frontier of the first metric."""
    metrics = [(metric, title) for metric, title in FIGURES if all(metric in p.percent for p in points)]
    best = frontier(points, metrics[0][0])
    lines = [f"| pack | ms | MB | {' | '.join(f'{title}, hit@1' for _, title in metrics)} | on the frontier |"]
    lines.append("|---" * (4 + len(metrics)) + "|")
    for point in sorted(points, key=lambda p: p.milliseconds):
        found = " | ".join(f"{point.percent[metric]:.1f}" for metric, _ in metrics)
        cells = f"{point.name} | {point.milliseconds:.2f} | {point.size / 1e6:.2f} | {found}"
        lines.append(f"| {cells} | {'yes' if point in best else 'no'} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="+", help="names of exported and evaluated runs")
    parser.add_argument("--magpie", type=Path, default=Path("target/release/magpie"), help="a release build of magpie")
    parser.add_argument("--work", type=Path, default=places.WORK, help="folder of caches and runs")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each pack (5)")
    parser.add_argument("--runs", type=int, default=100, help="searches in a turn (100)")
    parser.add_argument("--out", type=Path, help="picture to write (default: compare/frontier.png in the work folder)")
    options = parser.parse_args()
    folders = {name: places.run_folder(options.work, name) for name in options.run}
    figures = {name: read_figures(folder) for name, folder in folders.items()}
    packs = {name: folder / "pack" for name, folder in folders.items()}
    sizes = {name: (pack / read_manifest(pack)["network"]["file"]).stat().st_size for name, pack in packs.items()}
    times = measure(options.magpie, packs, options.rounds, options.runs)
    points = [Point(name, figures[name], times[name], sizes[name]) for name in options.run]
    target = options.out or options.work / "compare" / "frontier.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    draw(points, target)
    print(table(points))
    print(target)


if __name__ == "__main__":
    main()
