"""The demo catalogue as data, and its two CSV files. Does not need Blender.

    python3 cli/demo/listings.py            writes catalog.csv and queries.csv to this folder
"""

import csv
import os
import sys

from listings_home import HOME
from listings_style import STYLE
from listings_tableware import TABLEWARE

HERE = os.path.dirname(os.path.abspath(__file__))
PLURAL = {"mug": "Mugs", "vase": "Vases", "bowl": "Bowls", "plate": "Plates",
          "teapot": "Teapots", "bottle": "Bottles", "lamp": "Lamps", "candle": "Candles",
          "clock": "Clocks", "basket": "Baskets", "cushion": "Cushions", "chair": "Chairs",
          "table": "Tables", "ring": "Rings", "bag": "Bags", "hat": "Hats"}
SHOPS = ["Larkspur & Pine", "Tidewater Goods", "Oskar Home", "The Copper Hare", "Maison Brindille",
         "Nordlys Store", "Fennel Street", "Quiet Corner Co."]
HEAD = ["listing_id", "photo", "title", "category", "price", "currency", "url", "colour",
        "material", "shape", "shop"]


def all_listings():
    """All listings in catalogue order, with id, shop and currency."""
    out, count = [], {}
    for kind, title, colour, material, shape, price, look in TABLEWARE + HOME + STYLE:
        n = count[kind] = count.get(kind, 0) + 1
        i = len(out)
        # Shops and currencies are spread so that each category has all eight shops.
        out.append({
            "kind": kind, "listing_id": f"{kind}-{n:02d}", "title": title, "colour": colour,
            "material": material, "shape": shape, "price": f"{price:.2f}",
            "category": PLURAL[kind], "shop": SHOPS[(i * 7 + i // 8 * 3) % len(SHOPS)],
            "currency": {3: "GBP", 7: "USD"}.get(i % 11, "EUR"), "look": {"c": colour, **look},
        })
    return out


def write_csv(folder=HERE):
    """Writes a catalogue row for each listing photo, and the listing that each shopper's picture shows."""
    items = all_listings()
    with open(os.path.join(folder, "catalog.csv"), "w", newline="", encoding="utf-8") as f:
        w = csv.writer(f)  # the csv module's default dialect is RFC 4180
        w.writerow(HEAD)
        for it in items:
            row = {**it, "url": f"https://example.com/listing/{it['listing_id']}"}
            for view in (1, 2):
                row["photo"] = f"{it['listing_id']}-{view}.jpg"
                w.writerow([row[h] for h in HEAD])
    with open(os.path.join(folder, "queries.csv"), "w", newline="", encoding="utf-8") as f:
        w = csv.writer(f)
        w.writerow(["photo", "listing_id"])
        for it in items:
            w.writerow([f"{it['listing_id']}.jpg", it["listing_id"]])


if __name__ == "__main__":
    write_csv(sys.argv[1] if len(sys.argv) > 1 else HERE)
