"""Data augmentation: random changes to a training photo."""

import numpy as np
from PIL import Image

GREY = np.float32([0.299, 0.587, 0.114])


def jitter(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [S, S, 3] -> float32 [side, side, 3] in 0..1, with a random crop, horizontal flip and colour jitter.

    At inference the network sees whole pictures, so crops keep at least 60 % of the area, and a third of the photos
    are not cropped.
    """
    full = image.shape[0]
    width = height = float(full)
    if rng.random() < 0.67:
        area, aspect = rng.uniform(0.6, 1.0), np.exp(rng.uniform(-0.2, 0.2))
        width, height = min(full, full * np.sqrt(area * aspect)), min(full, full * np.sqrt(area / aspect))
    left, top = rng.uniform(0, full - width), rng.uniform(0, full - height)
    cut = Image.fromarray(image).resize(
        (side, side), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height)
    )
    x = np.asarray(cut, dtype=np.float32) / 255.0
    if rng.random() < 0.5:
        x = x[:, ::-1]
    grey = x @ GREY
    x = grey[..., None] + (x - grey[..., None]) * np.float32(rng.uniform(0.7, 1.3))
    gains = rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3)
    return np.clip(x * gains.astype(np.float32), 0.0, 1.0)


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """uint8 [S, S, 3] -> float32 [side, side, 3] in 0..1, resized without any augmentation."""
    if image.shape[:2] != (side, side):
        image = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    return image.astype(np.float32) / 255.0
