"""Renders the demo catalogue's pictures.

    blender --background --python cli/demo/render.py -- [--only mug] [--views studio] ...

or, with the `bpy` package instead of the Blender program, `python cli/demo/render.py ...`.
Existing pictures are kept unless --force is given, so an interrupted run can be resumed. A
listing's picture depends only on its id, not on what was rendered before it.
"""

import argparse
import hashlib
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import bpy  # noqa: E402

import listings  # noqa: E402
import models_fashion  # noqa: E402
import models_furniture  # noqa: E402
import models_home  # noqa: E402
import models_tableware  # noqa: E402
import scene  # noqa: E402
import shapes  # noqa: E402

MODELS = {**models_tableware.MODELS, **models_home.MODELS, **models_furniture.MODELS,
          **models_fashion.MODELS}

# Per category: where the shopper meets it, elevations there, its size in centimetres, the
# (rotation, elevation) of the two studio views, and how far a shopper may stand to the side.
STAGE = {
    "mug": ("table", (22, 48), 11, ((-8, 16), (28, 32)), 35),
    "vase": ("table", (10, 36), 28, ((0, 8), (35, 24)), 60),
    "bowl": ("table", (24, 48), 24, ((0, 24), (30, 42)), 60),
    "plate": ("table", (40, 66), 27, ((0, 48), (20, 74)), 50),
    "teapot": ("table", (16, 42), 24, ((0, 14), (32, 30)), 35),
    "bottle": ("table", (10, 34), 28, ((0, 8), (35, 22)), 50),
    "lamp": ("table", (6, 28), 48, ((0, 6), (35, 18)), 45),
    "candle": ("table", (16, 42), 12, ((0, 14), (30, 30)), 40),
    "clock": ("wall", (0, 0), 34, ((0, 0), (24, 8)), 34),
    "basket": ("floor", (24, 46), 38, ((0, 20), (35, 38)), 45),
    "cushion": ("sofa", (12, 36), 46, ((0, 12), (24, 22)), 28),
    "chair": ("floor", (14, 38), 88, ((30, 14), (-35, 24)), 55),
    "table": ("floor", (18, 40), 55, ((22, 18), (-28, 30)), 50),
    "ring": ("close", (32, 54), 2.4, ((30, 28), (50, 42)), 50),
    "bag": ("table", (10, 32), 36, ((0, 8), (32, 18)), 35),
    "hat": ("table", (16, 42), 32, ((20, 16), (-25, 32)), 50),
}


def seeded(*key):
    """A random generator seeded with a name; hash() would differ from run to run."""
    digest = hashlib.sha256("/".join(key).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def picture(item, view, path, args):
    """Builds one listing in an empty scene and renders one picture of it."""
    samples = args.samples or (14 if view else 16)
    s = scene.reset(args.size, args.threads, samples)
    coll = shapes.use_collection("model")
    MODELS[item["kind"]](dict(item["look"]))
    objects = list(coll.objects)
    bpy.context.view_layer.update()
    place, el, size_cm, angles, front = STAGE[item["kind"]]
    size_cm = item["look"].get("cm", size_cm)
    rng = seeded(item["listing_id"], str(view))
    if view:
        scene.studio(objects, rng, view, place, angles[view - 1])
    else:
        scene.shopper(objects, rng, place, el, size_cm, front)
    s.cycles.seed = rng.randrange(1 << 30)
    s.render.filepath = path
    bpy.ops.render.render(write_still=True)
    strip_comments(path)


def strip_comments(path):
    """Removes JPEG comments (date, render time), so that a picture always renders to the same bytes."""
    data = open(path, "rb").read()
    out, i = bytearray(data[:2]), 2
    while data[i + 1] != 0xDA:  # up to the start of the scan
        size = 2 + int.from_bytes(data[i + 2:i + 4], "big")
        if data[i + 1] != 0xFE:
            out += data[i:i + size]
        i += size
    with open(path, "wb") as f:
        f.write(bytes(out) + data[i:])


def main(argv):
    ap = argparse.ArgumentParser(prog="render.py", description=__doc__.split("\n")[0])
    ap.add_argument("--out", default=HERE, help="folder in which to write photos/ and queries/")
    ap.add_argument("--only", help="categories or listing ids, separated by commas")
    ap.add_argument("--views", choices=("studio", "shopper", "all"), default="all")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--size", type=int, default=256)
    ap.add_argument("--samples", type=int, default=0)
    ap.add_argument("--force", action="store_true", help="render existing pictures again")
    args = ap.parse_args(argv)
    wanted = args.only.split(",") if args.only else None
    views = {"studio": (1, 2), "shopper": (0,), "all": (1, 2, 0)}[args.views]
    begun, count = time.time(), 0
    for folder in ("photos", "queries"):
        os.makedirs(os.path.join(args.out, folder), exist_ok=True)
    for item in listings.all_listings():
        if wanted and item["kind"] not in wanted and item["listing_id"] not in wanted:
            continue
        for view in views:
            name = f"photos/{item['listing_id']}-{view}.jpg" if view else (
                f"queries/{item['listing_id']}.jpg")
            path = os.path.join(args.out, name)
            if os.path.exists(path) and not args.force:
                continue
            picture(item, view, path, args)
            count += 1
            print(f"{name}  {(time.time() - begun) / count:.1f} s a picture", flush=True)
    listings.write_csv(args.out)


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("--") + 1:] if "--" in sys.argv else
         [] if "--background" in sys.argv else sys.argv[1:])
