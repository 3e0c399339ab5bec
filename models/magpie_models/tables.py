"""Writes a data set as the tables of `magpie build` and `magpie eval`. `python -m magpie_models.tables --help`

The figures then come from the product itself: its decoder, its kernels and its index. Writes catalog.csv (`listing_id`,
`photo`, and the labels by the names of the attribute heads) and shoppers.csv (`listing_id`, `photo`, `split`), of the
products with a known listing, or with `--broad` of the broad goods that training keeps out. The photos stay where they
are: give their folder to both commands as `--images`.
"""

import argparse
import csv
from pathlib import Path

from . import data, places
from .goods import Goods

LABELS = {"category": "coarse", "colour": "colour", "shape": "shape", "material": "material"}


def product_tables(rows: list[dict[str, str]]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Catalogue photos and shoppers' photos of the products."""
    catalog, shoppers = [], []
    for row in rows:
        if not data.is_product(row):
            continue
        cells = {"listing_id": row["class_id"], "photo": row["path"]}
        if row["domain"] == "product":
            catalog.append(cells | {name: row[column] for name, column in LABELS.items()})
        else:
            shoppers.append(cells | {"split": row["split"]})
    return catalog, shoppers


def goods_tables(goods: Goods) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Studio looks and wild looks of the objects of split val."""
    studio, wild = goods.val_looks()

    def cells(row: int) -> dict[str, str]:
        return {"listing_id": goods.rows[row]["instance"], "photo": goods.rows[row]["path"]}

    catalog = [cells(row) | {"category": goods.kind(row)} for row in studio]
    return catalog, [cells(row) | {"split": "val"} for row in wild]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    places.add_flags(parser, weights=False)
    parser.add_argument("--broad", action="store_true", help="the broad goods of --goods instead of --data")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the two tables to")
    options = parser.parse_args()
    if options.broad:
        catalog, shoppers = goods_tables(Goods.read(options.goods))
    else:
        catalog, shoppers = product_tables(data.read_manifest(options.data))
    if not catalog or not shoppers:
        raise SystemExit("the data set has no catalogue photo or no shopper's photo of a known listing")
    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / "catalog.csv", catalog)
    write(options.out / "shoppers.csv", shoppers)
    print(f"{options.out}: {len(catalog)} catalogue photos, {len(shoppers)} shoppers' photos")


if __name__ == "__main__":
    main()
