"""Golden cases: a photo, and the input tensor and embedding expected for it. Rust, Kotlin and Swift check them too.

The photos are the project's own renders. A PNG case checks the resize and the network exactly. A JPEG case covers the
decoder as well, and two decoders may differ by one or two levels of a pixel.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .preprocess import Box, Recipe, open_upright
from .runtime import Network, softmax

EXIF_ORIENTATION = 0x0112
ROTATED = 6


@dataclass(frozen=True)
class Case:
    """One case. `source` is a path in the folder of renders, `part` the region of it that becomes the photo, and
    `crop` the box that the user draws on that photo.
    """

    name: str
    source: str
    suffix: str
    part: Box | None = None
    crop: Box | None = None
    orientation: int | None = None


CASES = (
    Case("plain-mug", "photos/mug-01-1.jpg", ".png"),
    Case("plain-bowl", "queries/bowl-03.jpg", ".png"),
    Case("plain-wide", "photos/plate-02-1.jpg", ".png", part=(8, 60, 240, 130)),
    Case("smaller-than-input", "photos/mug-05-2.jpg", ".png", part=(70, 60, 110, 90)),
    Case("crop-tall", "queries/mug-02.jpg", ".png", crop=(61, 37, 117, 171)),
    Case("jpeg-bowl", "photos/bowl-06-1.jpg", ".jpg"),
    Case("jpeg-bottle", "photos/bottle-02-2.jpg", ".jpg"),
    Case("jpeg-query", "queries/plate-01.jpg", ".jpg"),
    Case("jpeg-orientation-6", "queries/mug-07.jpg", ".jpg", part=(0, 30, 256, 180), orientation=ROTATED),
)


def write_photo(case: Case, source: Path, target: Path) -> None:
    if case.suffix == source.suffix and case.part is None and case.orientation is None:
        shutil.copyfile(source, target)
        return
    picture = open_upright(source)
    if case.part is not None:
        x, y, w, h = case.part
        picture = picture.crop((x, y, x + w, y + h))
    exif = Image.Exif()
    if case.orientation is not None:
        # Stored rotated by 90 degrees counter-clockwise; the tag tells the reader to rotate it back.
        picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif[EXIF_ORIENTATION] = case.orientation
    if case.suffix == ".jpg":
        picture.save(target, quality=92, subsampling=0, exif=exif)
    else:
        picture.save(target, optimize=True)


def expected_attributes(outputs: dict[str, np.ndarray], manifest: dict) -> dict:
    """Attributes of the first photo. The label is None where the probability is below the head's threshold."""
    attributes = {}
    for head in manifest["heads"]:
        logits = outputs[head["output"]][0].astype(np.float64)
        probabilities = softmax(logits / head.get("temperature", 1.0))
        best = int(probabilities.argmax())
        sure = probabilities[best] >= head.get("threshold", 0.0)
        label = head["labels"][best] if sure else None
        attributes[head["name"]] = {"label": label, "probability": round(float(probabilities[best]), 6)}
    return attributes


def expectation(case: Case, pixels: np.ndarray, network: Network, manifest: dict) -> dict:
    outputs = network(pixels[None])
    return {
        "crop": None if case.crop is None else list(case.crop),
        "embedding": [round(float(v), 8) for v in outputs[manifest["embedding"]["output"]][0]],
        "attributes": expected_attributes(outputs, manifest),
    }


def refresh_attributes(golden: Path, network: Network, manifest: dict) -> None:
    """Updates the expected attributes of each case after a calibration, which changes nothing else."""
    for path in sorted(golden.glob("*/expected.json")):
        expected = json.loads(path.read_text())
        pixels = np.asarray(Image.open(path.with_name("input.png")))
        expected["attributes"] = expected_attributes(network(pixels[None]), manifest)
        path.write_text(json.dumps(expected, indent=1) + "\n")


def write_golden(photos: Path, target: Path, network: Network, manifest: dict) -> None:
    recipe = Recipe.of(manifest)
    for case in CASES:
        folder = target / case.name
        folder.mkdir(parents=True)
        photo = folder / f"photo{case.suffix}"
        write_photo(case, photos / case.source, photo)
        pixels = recipe.squash(open_upright(photo), case.crop)
        Image.fromarray(pixels).save(folder / "input.png", optimize=True)
        expected = expectation(case, pixels, network, manifest)
        (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
