"""Makes training data of a catalogue and its shoppers' photos. `python -m magpie_models.catalogue --help`

Reads the table of `magpie build` (columns `listing_id`, `photo`, and any others) and a table of shoppers' photos
(`listing_id`, `photo`, and `user` if it is known), such as the photos of reviews. Writes a folder with a manifest.csv,
which `train`, `export`, `calibrate` and `evaluate --val` take as `--data`, and with splits.json, which says how the
photos were divided. Photos are not copied: the manifest has their paths.

A shopper's photo is for training, for tuning (val) or for the final test by its user, or by its listing and file where
the user is not known, so the photos of one person are never on both sides. Every catalogue photo is part of the gallery;
`train --keep-out-products` keeps whole listings out of training.
"""

import argparse
import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

# The columns of a manifest that training reads.
COLUMNS = (
    "path set split domain category coarse class_id colour colour_src colour_conf shape material group listing_id"
).split()
# Attributes that a column of the catalogue can be mapped to, and the manifest's column of each.
ATTRIBUTES = {"category": "coarse", "colour": "colour", "shape": "shape", "material": "material"}
SET = "catalogue"
# Shares of shoppers' photos: the rest is for training.
VAL_SHARE, TEST_SHARE = 0.15, 0.15


class TableError(Exception):
    """A table that cannot be used, with the file and line."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True, help="CSV: listing_id, photo, ...; one row a photo")
    parser.add_argument("--images", type=Path, required=True, help="folder of the catalogue's photos")
    parser.add_argument("--shoppers", type=Path, required=True, help="CSV: listing_id, photo[, user]; one row a photo")
    parser.add_argument("--shopper-images", type=Path, required=True, help="folder of the shoppers' photos")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="ATTRIBUTE=COLUMN",
        help=f"column of the catalogue that holds an attribute ({', '.join(ATTRIBUTES)}); default: the one of its name",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write, such as models/.work/mine")
    return parser.parse_args()


def read_table(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells, without the blanks around them, of each row."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise TableError(
                f"{path}: no column '{missing[0]}' in the header; found {', '.join(reader.fieldnames or [])}"
            )
        for row in reader:
            cells = {name: (value or "").strip() for name, value in row.items() if name is not None}
            for name in needed:
                if not cells[name]:
                    raise TableError(f"{path}, line {reader.line_num}: '{name}' is empty")
            yield reader.line_num, cells


def mapping(options: list[str], columns: list[str]) -> dict[str, str]:
    """The catalogue's column of each attribute that has one."""
    chosen = {name: name for name in ATTRIBUTES if name in columns}
    for option in options:
        attribute, _, column = option.partition("=")
        if attribute not in ATTRIBUTES:
            raise TableError(f"--map '{option}': expected ATTRIBUTE=COLUMN with one of {', '.join(ATTRIBUTES)}")
        if column not in columns:
            raise TableError(f"--map '{option}': the catalogue has no column '{column}'; it has {', '.join(columns)}")
        chosen[attribute] = column
    return chosen


def share(key: str) -> float:
    """A number in 0..1 that depends on the key alone, so that a photo stays in its split when others are added."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) / 2**48


def split_of(key: str) -> str:
    place = share(key)
    return "val" if place < VAL_SHARE else "test" if place < VAL_SHARE + TEST_SHARE else "train"


def readable(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.verify()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True


def convert(
    catalog: Path, images: Path, shoppers: Path, shopper_images: Path, out: Path, maps: list[str]
) -> tuple[list[dict[str, str]], list[str]]:
    """The rows of the manifest, and the photos that are left out, with the reason."""
    listings: dict[str, dict[str, str]] = {}
    rows, left_out = [], []
    columns: dict[str, str] | None = None

    def add(name: str, line: int, table: Path, folder: Path, **cells: str) -> None:
        path = folder / name
        if not path.is_file():
            left_out.append(f"{table}, line {line}: {path} not found")
        elif not readable(path):
            left_out.append(f"{table}, line {line}: {path} is not a photo that can be read")
        else:
            rows.append({**dict.fromkeys(COLUMNS, ""), "path": os.path.relpath(path, out), "set": SET, **cells})

    for line, cells in read_table(catalog, ("listing_id", "photo")):
        columns = mapping(maps, list(cells)) if columns is None else columns
        found = {ATTRIBUTES[name]: cells[column] for name, column in columns.items()}
        # As in `magpie build`, a value comes from the listing's first row that has it.
        known = listings.setdefault(cells["listing_id"], {})
        for name, value in found.items():
            known[name] = known.get(name) or value
        add(cells["photo"], line, catalog, images, split="gallery", domain="product", listing_id=cells["listing_id"])
    for line, cells in read_table(shoppers, ("listing_id", "photo")):
        if cells["listing_id"] not in listings:
            left_out.append(f"{shoppers}, line {line}: listing '{cells['listing_id']}' is not in {catalog}")
            continue
        user = cells.get("user", "")
        split = split_of(user or f"{cells['listing_id']}/{cells['photo']}")
        about = {"split": split, "domain": "user", "listing_id": cells["listing_id"], "group": user}
        add(cells["photo"], line, shoppers, shopper_images, **about)
    for row in rows:
        row.update(listings[row["listing_id"]], class_id=row["listing_id"])
        # Colours of a table are not measured from pixels.
        row["colour_src"] = "table"
    return rows, left_out


def main() -> None:
    options = arguments()
    try:
        rows, left_out = convert(
            options.catalog, options.images, options.shoppers, options.shopper_images, options.out, options.map
        )
    except (TableError, OSError, UnicodeDecodeError) as reason:
        raise SystemExit(str(reason)) from None
    counts = Counter(row["split"] for row in rows)
    for reason in left_out:
        print(f"left out: {reason}")
    for split, what in (("gallery", "catalogue photo"), ("train", "shopper's photo to train on")):
        if not counts[split]:
            raise SystemExit(f"no {what} is left")
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    described = {"shares": {"val": VAL_SHARE, "test": TEST_SHARE}, "photos": dict(counts), "left_out": len(left_out)}
    (options.out / "splits.json").write_text(json.dumps(described, indent=1) + "\n")
    listings = len({row["listing_id"] for row in rows})
    print(
        f"{options.out}: {listings} listings, {counts['gallery']} catalogue photos; shoppers' photos: "
        + ", ".join(f"{counts[split]} {split}" for split in ("train", "val", "test"))
        + (f"; {len(left_out)} left out" if left_out else "")
    )


if __name__ == "__main__":
    main()
