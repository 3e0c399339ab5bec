"""Preprocessing: from an encoded photo to the network's input, in the same steps as the Rust core.

1. Decode to RGB8 and rotate upright by the EXIF orientation.
2. Cut out the crop box, if there is one (in pixels of the upright photo).
3. If the recipe's fit is `crop:F`, keep the largest centred region with the input's aspect ratio, scaled by F.
4. Resize that region to width x height with an antialiasing filter, without keeping the aspect ratio.
5. x = (rgb / 255 - mean) / std per channel, as f32 in NCHW order.

Step 4 is Pillow's `Image.resize`, which widens the filter when downscaling. A filter that does not (the default of
OpenCV and torch) gives other pixels, and recall drops without any error.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# The input of networks trained here is (rgb - 127) / 128, as EfficientNet-Lite expects it. Quantised with scale 1 / 128
# and zero point 127, a pixel's level is its value, so nothing is rounded. MobileNet was trained with 127.5 in place of
# both numbers, which makes no difference.
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3

Box = tuple[int, int, int, int]
Triple = tuple[float, float, float]
FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
CHANNELS = ("rgb", "bgr")


@dataclass(frozen=True)
class Recipe:
    """The preprocessing of a pack, as in its manifest's `input`; mean and std are in `channels` order."""

    width: int
    height: int
    name: str = "image"
    fit: str = "squash"
    filter: str = "bilinear"
    channels: str = "rgb"
    mean: Triple = MEAN
    std: Triple = STD

    @staticmethod
    def of(manifest: dict) -> "Recipe":
        settings = manifest["input"]
        return Recipe(**{**settings, "mean": tuple(settings["mean"]), "std": tuple(settings["std"])})

    def __post_init__(self) -> None:
        crop, _, fraction = self.fit.partition(":")
        plain = self.fit in ("squash", "crop")
        if not plain and not (crop == "crop" and _is_fraction(fraction)):
            raise ValueError(f"fit is '{self.fit}', expected 'squash', 'crop' or 'crop:F' with F above 0 and up to 1")

    def squash(self, picture: Image.Image, crop: Box | None = None) -> np.ndarray:
        region = self.fitted(crop or (0, 0, picture.width, picture.height))
        return squash(picture, self.width, self.height, region, self.filter)

    def fitted(self, region: Box) -> Box:
        """The part of a region that becomes the input: all of it, or the centre crop."""
        if self.fit == "squash":
            return region
        fraction = float(np.float32(self.fit.partition(":")[2] or 1.0))
        x, y, w, h = region
        aspect = self.width / self.height
        fit_w, fit_h = (h * aspect, h) if w / h > aspect else (w, w / aspect)
        # Halves are rounded up, as in the Rust core.
        width = min(w, max(1, math.floor(fit_w * fraction + 0.5)))
        height = min(h, max(1, math.floor(fit_h * fraction + 0.5)))
        return x + (w - width) // 2, y + (h - height) // 2, width, height

    def normalise(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 RGB [N, H, W, 3] -> float32 [N, 3, H, W], planes in `channels` order."""
        if self.channels == "bgr":
            pixels = pixels[..., ::-1]
        return normalise(pixels, self.mean, self.std)


def _is_fraction(text: str) -> bool:
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False


def open_upright(path: Path) -> Image.Image:
    """Decodes the photo to RGB and rotates it upright."""
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def squash(
    picture: Image.Image, width: int, height: int, crop: Box | None = None, filter: str = "bilinear"
) -> np.ndarray:
    """Resizes the crop (x, y, w, h), or the whole picture, to uint8 [height, width, 3]."""
    if crop is not None:
        x, y, w, h = crop
        if w <= 0 or h <= 0 or x < 0 or y < 0 or x + w > picture.width or y + h > picture.height:
            raise ValueError(f"crop {crop} does not fit a picture of {picture.width} x {picture.height}")
        # Crop first: with resize(box=...) the filter would read pixels outside the box.
        picture = picture.crop((x, y, x + w, y + h))
    return np.asarray(picture.resize((width, height), FILTERS[filter]))


def normalise(pixels: np.ndarray, mean: Triple = MEAN, std: Triple = STD) -> np.ndarray:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W]."""
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"expected uint8 [N, H, W, 3], found {pixels.dtype} {list(pixels.shape)}")
    x = (pixels.astype(np.float32) / 255.0 - np.float32(mean)) / np.float32(std)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
