"""From an encoded photo to the network's input. The same steps, in the same order, as the Rust core.

1. decode to RGB8, turned upright by the EXIF orientation;
2. cut out the crop box, if there is one (pixels of the upright photo);
3. resize the whole region to width x height with an antialiased bilinear filter; the aspect ratio is not kept;
4. x = (rgb / 255 - mean) / std per channel, as f32 in NCHW order.

Step 3 is Pillow's `Image.resize(BILINEAR)`, which widens the filter when it shrinks. A filter that does not (OpenCV's
or torch's default) gives other pixels, and recall drops without any error.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)

Box = tuple[int, int, int, int]


def open_upright(path: Path) -> Image.Image:
    """The photo as an RGB picture, upright."""
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def squash(picture: Image.Image, width: int, height: int, crop: Box | None = None) -> np.ndarray:
    """uint8 [height, width, 3] of the crop (x, y, w, h), or of the whole picture."""
    if crop is not None:
        x, y, w, h = crop
        if w <= 0 or h <= 0 or x < 0 or y < 0 or x + w > picture.width or y + h > picture.height:
            raise ValueError(f"crop {crop} does not fit a picture of {picture.width} x {picture.height}")
        # Cut first: resize(box=...) would let the filter see pixels outside the box.
        picture = picture.crop((x, y, x + w, y + h))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def normalise(pixels: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W]."""
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"expected uint8 [N, H, W, 3], found {pixels.dtype} {list(pixels.shape)}")
    x = (pixels.astype(np.float32) / 255.0 - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
