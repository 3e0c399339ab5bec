"""Plots recall against latency, all systems in one picture."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: E402

from variants import MAGPIE  # noqa: E402

TICKS = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999]
MARKERS = "osv^DPX<>"


def draw(found: list[dict[str, Any]], title: str, path: Path) -> None:
    """Writes `path` with the suffix .png."""
    figure, axes = plt.subplots(figsize=(10, 6.5), layout="constrained")
    systems = sorted({row["system"] for row in found}, key=lambda name: (name != MAGPIE, name))
    colours = plt.get_cmap("tab10")
    ends = []
    for number, system in enumerate(systems):
        points = sorted(
            (row["p50_us"], min(row["recall_at_10"], 0.9995))
            for row in found
            if row["system"] == system and row["filter_percent"] is None
        )
        # Only the Pareto frontier: settings with a higher recall than every faster one of the same system.
        best = [point for at, point in enumerate(points) if all(point[1] > earlier[1] for earlier in points[:at])]
        if not best:
            continue
        x, y = np.array([point[0] for point in best]), _stretch(np.array([point[1] for point in best]))
        ours = system == MAGPIE
        colour = "black" if ours else colours(number % 10)
        axes.plot(
            x, y, marker=MARKERS[number % len(MARKERS)], color=colour, label=system, linewidth=3 if ours else 1.5,
            markersize=8 if ours else 5, zorder=5 if ours else 3,
        )
        ends.append((system, x[-1], y[-1], colour))
    axes.set_xscale("log")
    axes.set_xlim(right=axes.get_xlim()[1] * 1.9)
    _annotate(axes, ends)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(FixedLocator([5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(FixedLocator(_stretch(np.array(TICKS))))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticklabels([f"{tick:g}" for tick in TICKS])
    axes.set_xlabel("microseconds a query, median, one thread (left is better)")
    axes.set_ylabel("recall@10 against exact f32 (up is better; stretched towards 1)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=5, fontsize=9)
    figure.savefig(path.with_suffix(".png"), dpi=110)


def _annotate(axes: Axes, ends: list[tuple[str, float, float, Any]]) -> None:
    """Labels the ends of the lines, moving labels down where they would overlap."""
    points = axes.figure.dpi / 72
    placed: list[tuple[float, float]] = []
    for system, x, y, colour in sorted(ends, key=lambda end: -end[2]):
        left, top = axes.transData.transform((x, y))
        down = 0.0
        while any(abs(left - a) < 160 * points and abs(top - down - b) < 13 * points for a, b in placed):
            down += points
        placed.append((left, top - down))
        axes.annotate(
            system, (x, y), xytext=(8, 4 - down / points), textcoords="offset points", color=colour, fontsize=9,
            fontweight="bold" if system == MAGPIE else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}, zorder=6,
        )


def _stretch(recall: np.ndarray) -> np.ndarray:
    return -np.log10(1 - recall)
