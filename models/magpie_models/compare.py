"""Compares runs: curves and a table, as PNG and HTML. `python -m magpie_models.compare --help`"""

import argparse
import base64
import html
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from . import places
from .record import read_config, read_metrics

Line = dict[str, float]
# Title and metrics of each panel; the first metric is a solid line, the second a dashed one.
PANELS = (
    ("shopper -> catalogue, hit@1", ("G1/unseen/hit@1", "G1/seen/hit@1")),
    ("shopper -> catalogue, hit@5", ("G1/unseen/hit@5", "G1/seen/hit@5")),
    ("shopper -> shopper, hit@1", ("G2/unseen/hit@1", "G2/seen/hit@1")),
    ("clothing kind, hit@1", ("C1/unseen/hit@1", "C1/seen/hit@1")),
    ("distance to nearest wrong product - to the right one", ("gap/unseen", "gap/seen")),
    ("augmented view -> catalogue, hit@1", ("catalogue/hit@1",)),
    ("head accuracy, category and colour", ("head/category", "head/colour")),
    ("loss", ("loss/total",)),
)
# The metrics in the table, with the column titles.
COLUMNS = (
    ("G1/unseen/hit@1", "G1 unseen @1"),
    ("G1/unseen/hit@5", "G1 unseen @5"),
    ("G1/seen/hit@1", "G1 seen @1"),
    ("G1/seen/hit@5", "G1 seen @5"),
    ("G2/unseen/hit@1", "G2 unseen @1"),
    ("G2/seen/hit@1", "G2 seen @1"),
    ("C1/unseen/hit@1", "C1 unseen"),
    ("C1/seen/hit@1", "C1 seen"),
    ("head/category", "category"),
    ("head/colour", "colour"),
    ("cost/cpu_seconds", "CPU min"),
    ("cost/watt_hours", "Wh (est.)"),
)
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; padding: 0 1rem; color: #1c1c1c; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.text th, .text td { text-align: left; white-space: normal; }
td.best { font-weight: 700; background: #e7f3e4; }
.scroll { overflow-x: auto; }
img { max-width: 100%; }
"""


def with_gaps(line: Line) -> Line:
    """Adds `gap/...`: how much nearer the right catalogue photo is than the nearest wrong one, in 1 - cosine."""
    gaps = {
        f"gap/{part}": line[f"distance/{part}/nearest_negative"] - line[f"distance/{part}/positive"]
        for part in ("seen", "unseen")
        if f"distance/{part}/positive" in line
    }
    return {**line, **gaps}


def draw(runs: dict[str, list[Line]], target: Path) -> None:
    figure, axes = pyplot.subplots(2, 4, figsize=(19, 8.5), layout="constrained")
    colours = pyplot.get_cmap("tab10" if len(runs) <= 10 else "tab20").colors
    for axis, (title, metrics) in zip(axes.flat, PANELS):
        for number, (name, lines) in enumerate(runs.items()):
            for style, metric in zip(("-", "--"), metrics):
                curve(axis, lines, metric, style, colours[number % len(colours)])
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        if not axis.lines:
            axis.text(0.5, 0.5, "not recorded in any run", transform=axis.transAxes, ha="center", color="grey")
        elif len(metrics) == 2:
            full, dashed = (m.split("/")[1] for m in metrics)
            note = f"solid: {full}, dashed: {dashed}"
            axis.annotate(note, (0.99, 0.02), xycoords="axes fraction", ha="right", fontsize=8)
    handles = [pyplot.Line2D([], [], color=colours[i % len(colours)], label=name) for i, name in enumerate(runs)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(runs)), frameon=False)
    figure.savefig(target, dpi=90)
    pyplot.close(figure)


def curve(axis: Axes, lines: list[Line], metric: str, style: str, colour: tuple) -> None:
    points = [(line["epoch"], line[metric]) for line in lines if metric in line]
    if points:
        # A run with a single epoch needs a marker: a line through one point is invisible.
        axis.plot(*zip(*points), style, color=colour, marker="o" if len(points) == 1 else None, linewidth=1.6)


def value_of(line: Line, metric: str) -> float | None:
    value = line.get(metric)
    if value is None:
        return None
    return value / 60 if metric == "cost/cpu_seconds" else value if metric.startswith("cost/") else 100 * value


def table(runs: dict[str, list[Line]]) -> str:
    """HTML table of the last epoch of each run, with the best value of each column highlighted."""
    columns = [c for c in COLUMNS if any(c[0] in lines[-1] for lines in runs.values())]
    found = {name: [value_of(lines[-1], metric) for metric, _ in columns] for name, lines in runs.items()}
    best = []
    for at, (metric, _) in enumerate(columns):
        values = [row[at] for row in found.values() if row[at] is not None]
        best.append(min(values) if metric.startswith("cost/") else max(values))
    body = []
    for name, lines in runs.items():
        cells = [f"<td>{html.escape(name)}</td><td>{lines[-1]['epoch']:.0f}</td>"]
        for value, best_value in zip(found[name], best):
            marked = ' class="best"' if value == best_value and len(runs) > 1 else ""
            cells.append(f"<td{marked}>{'-' if value is None else f'{value:.1f}'}</td>")
        body.append("".join(cells))
    return html_table(["run", "epoch", *(title for _, title in columns)], body)


def differences(options: dict[str, dict]) -> str:
    """HTML table of the options that differ between the runs."""
    first = next(iter(options.values()))
    names = [k for k in first if len({str(o.get(k)) for o in options.values()}) > 1]
    if not names:
        return "<p>The runs have the same options.</p>"
    cells = [[run, *(format_option(given.get(k)) for k in names)] for run, given in options.items()]
    return html_table(["run", *names], ["".join(f"<td>{html.escape(c)}</td>" for c in row) for row in cells], "text")


def html_table(head: list[str], body: list[str], kind: str = "figures") -> str:
    title = "".join(f"<th>{html.escape(t)}</th>" for t in head)
    rows = "".join(f"<tr>{row}</tr>" for row in body)
    return f"<div class=scroll><table class={kind}><tr>{title}</tr>{rows}</table></div>"


def format_option(option: object) -> str:
    if isinstance(option, dict):
        return ", ".join(f"{name} {weight:g}" for name, weight in option.items() if weight)
    return str(option) if option not in ("", None) else "-"


def write_page(runs: dict[str, list[Line]], options: dict[str, dict], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    curves = folder / "curves.png"
    draw(runs, curves)
    picture = base64.b64encode(curves.read_bytes()).decode()
    page = folder / "index.html"
    page.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Comparison of runs</title>"
        f"<style>{STYLE}</style><h1>Comparison of runs</h1>"
        "<p>Last epoch of each run, on the small index of splits train and val: percent, CPU minutes, and watt hours "
        "estimated from CPU time. No test photos are used. Unseen: products and kinds of garment held out of training; "
        "only compare runs that held out the same ones.</p>"
        f"{table(runs)}<h2>Options that differ</h2>{differences(options)}<h2>By epoch</h2>"
        f"<p><img alt='curves by epoch' src='data:image/png;base64,{picture}'></p></html>\n"
    )
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="*", help="names of runs (default: all)")
    parser.add_argument("--work", type=Path, default=places.WORK, help="caches and runs")
    parser.add_argument("--out", type=Path, help="folder to write (default: `compare` in the work folder)")
    options = parser.parse_args()
    names = options.run or sorted(p.parent.name for p in (options.work / "runs").glob("*/metrics.jsonl"))
    folders = {name: places.run_folder(options.work, name) for name in names}
    runs = {name: [with_gaps(line) for line in read_metrics(folder)] for name, folder in folders.items()}
    empty = [name for name, lines in runs.items() if not lines]
    if empty or not runs:
        raise SystemExit(f"no metrics are recorded for {', '.join(empty) or 'any run'} in {options.work / 'runs'}")
    configs = {name: read_config(folder).to_json() for name, folder in folders.items()}
    print(write_page(runs, configs, options.out or options.work / "compare"))


if __name__ == "__main__":
    main()
