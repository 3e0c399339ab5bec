"""Writes an HTML page of queries and their results. `python -m magpie_models.page --help`

The queries are photos of split val, and of split train if their product or kind was held out of training; they are
spread over common and rare categories. The page contains thumbnails of the photos, so it must not be committed.
"""

import argparse
import base64
import html
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import data, places
from .holdout import Holdout, Rows, tuning_rows
from .pack import read_manifest
from .preprocess import Recipe, open_upright
from .record import read_config
from .runtime import Network

THUMBNAIL = 120
SEED = 5
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1180px; padding: 0 1rem; color: #1c1c1c; }
h2 { margin: 2rem 0 .3rem; } .note { color: #555; margin: 0 0 .8rem; }
.row { display: flex; gap: .55rem; align-items: flex-start; padding: .45rem 0; border-top: 1px solid #e4e4e4; }
.row > .arrow { align-self: center; color: #888; }
figure { margin: 0; width: 124px; font-size: 12px; line-height: 1.25; }
figure img { width: 116px; height: 116px; object-fit: contain; border: 4px solid #ccc; border-radius: 5px;
  background: #f6f6f6; display: block; }
figure.right img { border-color: #2e8b3d; } figure.wrong img { border-color: #c4352b; }
figcaption { overflow-wrap: anywhere; margin-top: .15rem; } .tag { color: #555; }
.right figcaption::before { content: "\\2713 "; color: #2e8b3d; font-weight: 700; }
.wrong figcaption::before { content: "\\2717 "; color: #c4352b; font-weight: 700; }
"""


@dataclass(frozen=True)
class Section:
    """Queries and the gallery that they are searched in. A result is right if its column `same` agrees."""

    title: str
    note: str
    queries: np.ndarray
    gallery: np.ndarray
    same: str


def pick_diverse(rng: np.random.Generator, rows: Rows, candidates: np.ndarray, count: int, column: str) -> np.ndarray:
    """Picks `count` candidates, alternating rare and common categories; categories repeat only when all are used."""
    by_name: dict[str, list[int]] = {}
    for i in rng.permutation(candidates):
        by_name.setdefault(rows[i][column], []).append(int(i))
    size = Counter(row[column] for row in rows)
    names = sorted(by_name, key=lambda name: (size[name], name))
    ordered = [n for pair in zip(names[: len(names) // 2], reversed(names)) for n in pair]
    ordered += [name for name in names if name not in ordered]
    picked = [by_name[name][turn] for turn in range(count) for name in ordered if turn < len(by_name[name])]
    return np.array(picked[:count], dtype=int)


def sections(rows: Rows, holdout: Holdout, each: int) -> list[Section]:
    rng = np.random.default_rng(SEED)
    columns = {name: np.array([row[name] for row in rows]) for name in ("set", "split", "domain", "class_id", "coarse")}
    held_out = np.array([holdout.has(row) for row in rows])
    tuning = np.isin(np.arange(len(rows)), tuning_rows(rows))
    user, val = tuning & (columns["domain"] == "user"), columns["split"] == "val"
    shop = user & (columns["class_id"] != "")
    garment = user & (columns["class_id"] == "") & ~np.isin(columns["coarse"], data.UNNAMED)
    catalogue = np.flatnonzero(columns["domain"] == "product")
    result = []
    for title, note, queries, gallery, same in (
        (
            "Shoppers' photos of held-out products",
            "Searched among all catalogue photos. Right: the same product.",
            shop & held_out,
            catalogue,
            "class_id",
        ),
        (
            "Shoppers' photos of products in training",
            "Val photos, searched among all catalogue photos. Right: the same product.",
            shop & val & ~held_out,
            catalogue,
            "class_id",
        ),
        (
            "Held-out kinds of garment",
            "Searched among all clothing of other senders. Right: the same kind.",
            garment & held_out,
            np.flatnonzero(garment),
            "coarse",
        ),
        (
            "Kinds of garment in training",
            "Val photos, searched among all clothing of other senders. Right: the same kind.",
            garment & val & ~held_out,
            np.flatnonzero(garment),
            "coarse",
        ),
    ):
        if queries.any() and len(gallery):
            chosen = pick_diverse(rng, rows, np.flatnonzero(queries), each, same)
            result.append(Section(title, note, chosen, gallery, same))
    return result


def ranked(section: Section, rows: Rows, embedding: np.ndarray, k: int) -> list[list[tuple[int, float]]]:
    """The k most similar gallery rows of each query, with their cosines. Clothing of the query's sender is left out."""
    similarity = embedding[section.queries] @ embedding[section.gallery].T
    if section.same == "coarse":
        sender = np.array([row["group"] for row in rows])
        similarity[sender[section.queries][:, None] == sender[section.gallery][None]] = -np.inf
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return [[(int(section.gallery[j]), float(s[j])) for j in best] for s, best in zip(similarity, order)]


def thumbnail(path: Path) -> str:
    picture = open_upright(path)
    picture.thumbnail((THUMBNAIL * 2, THUMBNAIL * 2))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def named(row: dict[str, str]) -> str:
    return (row["subcategory"] or row["coarse"]).replace("-", " ")


def figure(row: dict[str, str], folder: Path, css_class: str, note: str) -> str:
    return (
        f'<figure class="{css_class}"><img loading="lazy" alt="{html.escape(named(row))}" '
        f'src="{thumbnail(folder / row["path"])}"><figcaption>{html.escape(named(row))}'
        f'<br><span class="tag">{html.escape(note)}</span></figcaption></figure>'
    )


def write(
    target: Path, title: str, rows: Rows, folder: Path, embedding: np.ndarray, page_sections: list[Section], k: int
) -> None:
    """Writes the page. `embedding` [rows, dim] of unit length; only rows that the sections use need values."""
    places.refuse_tracked(target)
    parts = []
    for section in page_sections:
        results = ranked(section, rows, embedding, k)
        kind_of_goods = rows[section.queries[0]]["set"]
        photo_counts = Counter(
            row[section.same] for row in rows if row["split"] != "test" and row["set"] == kind_of_goods
        )
        photo_counts.pop("", None)
        median = float(np.median(list(photo_counts.values())))
        hits = sum(rows[best[0][0]][section.same] == rows[q][section.same] for q, best in zip(section.queries, results))
        parts.append(f"<h2>{html.escape(section.title)}</h2><p class=note>{html.escape(section.note)} ")
        parts.append(f"First result right: {hits} of these {len(results)} (a selection, not a measurement).</p>")
        for query, best in zip(section.queries, results):
            right = rows[query][section.same]
            photos = photo_counts[right]
            rarity = f"{'rare' if photos < median else 'common'}: {photos} photos"
            query_figure = figure(rows[query], folder, "query", rarity)
            parts.append(f"<div class=row>{query_figure}<span class=arrow>&rarr;</span>")
            for row, cosine in best:
                css_class = "right" if rows[row][section.same] == right else "wrong"
                parts.append(figure(rows[row], folder, css_class, f"{cosine:.2f}"))
            parts.append("</div>")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
        f"<h1>{html.escape(title)}</h1><p class=note>On the left the query, with the number of photos of its class "
        "(rare: fewer than the median class); then its nearest results, with their cosines. Green frame and tick: "
        f"right. Red frame and cross: wrong. No photos of split test are shown.</p>{''.join(parts)}</html>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    places.add_flags(parser, weights=False)
    parser.add_argument("--run", help="name of the run whose pack is used, and whose config says what was held out")
    parser.add_argument("--pack", type=Path, help="another pack (default: the run's, or models/packs/default)")
    parser.add_argument("--each", type=int, default=12, help="queries in each section (12)")
    parser.add_argument("--results", type=int, default=7, help="results of each query (7)")
    parser.add_argument("--out", type=Path, help="file to write (default: results.html in the run's folder)")
    options = parser.parse_args()
    folder = places.run_folder(options.work, options.run) if options.run else None
    pack = options.pack or (folder / "pack" if folder else places.SHIPPED)
    rows = data.read_manifest(options.data)
    holdout = Holdout()
    if folder:
        trained = read_config(folder)
        holdout = Holdout.parse(rows, trained.keep_out_products, trained.keep_out_kinds)
    target = options.out or (folder or options.work) / "results.html"
    places.refuse_tracked(target)

    page_sections = sections(rows, holdout, options.each)
    used_rows = np.unique(np.concatenate([part for s in page_sections for part in (s.queries, s.gallery)]))
    manifest = read_manifest(pack)
    pixels = data.pixels(rows, options.data, Recipe.of(manifest), places.cache(options.work))
    outputs = Network.of_pack(pack)(pixels[used_rows])[manifest["embedding"]["output"]]
    embedding = np.zeros((len(rows), outputs.shape[1]), np.float32)
    embedding[used_rows] = outputs
    title = f"Results of {options.run or manifest['name']}"
    write(target, title, rows, options.data, embedding, page_sections, options.results)
    print(target)


if __name__ == "__main__":
    main()
