"""CPU time of a publication after a few changes, against a publication of everything.

    python tests/peers/releases/publish_cost.py --magpie target/release/magpie --photos DIR [--listings 100000]

Embedding 100,000 photos takes an hour, so it is measured with the photos of DIR, and all other work with as many
listings as asked for: the publisher's cache of embeddings is filled with random vectors first, under the hashes of
files that are no photos. Needs numpy and blake3.
"""

import argparse
import json
import os
import random
import resource
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from blake3 import blake3

MAGIC = b"MAGPIE\x1aE"
FIELDS = "listing_id,photo,title,category,price,currency,url,colour,material,shop"
ADJECTIVES = ["Tall", "Small", "Vintage", "Hand-made", "Soft", "Heavy", "Striped"]
MATERIALS = ["stoneware", "canvas", "oak", "wool", "steel", "leather"]
CATEGORIES = ["Mug", "Bag", "Chair", "Hat", "Lamp", "Shoe"]
COLOURS = ["red", "green", "blue", "black"]


def row(number: int, photo: str, factor: float) -> str:
    """A listing as of a shop's feed; always the same for a number."""
    draw = random.Random(number)
    adjective, material, category = draw.choice(ADJECTIVES), draw.choice(MATERIALS), draw.choice(CATEGORIES)
    price = draw.randint(300, 30_000) / 100 * factor
    title = f"{adjective} {material} {category.lower()} no. {draw.randint(1, 9999)}"
    url = f"https://example.com/listing/{number:06d}"
    colour, shop = draw.choice(COLOURS), draw.randint(1, 40)
    return f"id-{number:06d},{photo},{title},{category},{price:.2f},EUR,{url},{colour},{material},Shop {shop}"


def table(path: Path, photos: list[str], changed: set[int]) -> None:
    """Writes a table in which the price of some listings is lower."""
    rows = [row(number, photo, 0.9 if number in changed else 1) for number, photo in enumerate(photos)]
    path.write_text("\n".join([FIELDS, *rows, ""]))


class Publisher:
    """Publishes with the command line, and says what that took."""

    def __init__(self, magpie: Path, folder: Path) -> None:
        self.magpie, self.folder = magpie, folder
        subprocess.run([magpie, "key", "new", "--out", folder / "key"], check=True, stdout=subprocess.DEVNULL)

    def publish(self, csv: Path, photos: Path, release: Path) -> tuple[float, dict]:
        """Returns seconds of CPU time and the report."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        options = ["--catalog", csv, "--images", photos, "--to", release, "--key", self.folder / "key", "--json"]
        done = subprocess.run([self.magpie, "publish", *options], check=True, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return seconds, json.loads(done.stdout)


def fill(cache: Path, hashes: list[bytes], dim: int) -> None:
    """Writes a cache with a random unit vector for each hash, as `core/release/src/publish/cache.rs` does."""
    values = np.random.default_rng(1).standard_normal((len(hashes), dim))
    values = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype("<f4")
    with cache.open("wb") as file:
        file.write(MAGIC)
        for digest, value in zip(hashes, values):
            check = blake3(digest + value.tobytes()).digest()[:8]
            file.write(digest + struct.pack("<I", 4 * dim) + check + value.tobytes())


def main() -> None:
    """Measures and prints."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--magpie", type=Path, required=True)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--real", type=int, default=500, help="photos that are embedded")
    options.add_argument("--listings", type=int, default=100_000)
    options.add_argument("--dim", type=int, default=128)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        publisher = Publisher(args.magpie.resolve(), folder)
        real = sorted(path.name for path in args.photos.iterdir())[: args.real]
        table(folder / "real.csv", real, set())
        first, report = publisher.publish(folder / "real.csv", args.photos, folder / "real")
        again, _ = publisher.publish(folder / "real.csv", args.photos, folder / "real")
        each = (first - again) / report["photos_embedded"]
        print(f"a photo: {each * 1e3:.1f} ms, of {report['photos_embedded']}; nothing to do: {again:.2f} s", flush=True)

        (folder / "photos").mkdir()
        names = [f"p{number:06d}.jpg" for number in range(args.listings)]
        hashes = []
        old = os.stat(args.magpie).st_mtime
        for photo in names:
            path = folder / "photos" / photo
            path.write_bytes(photo.encode())
            os.utime(path, (old, old))
            hashes.append(blake3(photo.encode()).digest())
        work = folder / "all" / ".publisher"
        work.mkdir(parents=True)
        cache = next((folder / "real" / ".publisher").glob("embeddings-*")).name
        fill(work / cache, hashes, args.dim)
        table(folder / "all.csv", names, set())
        base, report = publisher.publish(folder / "all.csv", folder / "photos", folder / "all")
        assert (report["kind"], report["photos_embedded"]) == ("base", 0), report
        full = base + each * args.listings
        print(f"everything: {base:.1f} s and {args.listings} photos, together {full:.0f} s", flush=True)
        changes: set[int] = set()
        for count in [args.listings // 100, 10]:
            unchanged = [number for number in range(args.listings) if number not in changes]
            changes.update(random.Random(7).sample(unchanged, count))
            table(folder / "all.csv", names, changes)
            delta, report = publisher.publish(folder / "all.csv", folder / "photos", folder / "all")
            changed = report["changed"]
            print(
                f"{changed} prices: {delta:.2f} s, {delta / full:.3%} of everything; with as many new photos "
                f"{(delta + changed * each) / full:.2%}; {report['bytes'] / changed:.0f} bytes a listing",
                flush=True,
            )


if __name__ == "__main__":
    main()
