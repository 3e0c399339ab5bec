"""The colour of an object from its studio looks, as a label for the attribute head.

In a studio look the background is one light colour, and the object's shadow a grey below it. Pixels that are coloured or
dark therefore belong to the object. White and grey objects cannot be told from background and shadow in this way, so
they get no label; neither does an object of several colours.
"""

import numpy as np
from PIL import Image

# Names and sRGB values of typical colours, several for a name. "" is between two names.
PROTOTYPES = (
    ("black", (18, 18, 20)),
    ("black", (48, 48, 50)),
    ("red", (180, 30, 35)),
    ("red", (130, 25, 30)),
    ("red", (225, 65, 60)),
    ("", (215, 120, 110)),
    ("orange", (232, 125, 40)),
    ("brown", (105, 65, 35)),
    ("brown", (150, 100, 60)),
    ("brown", (70, 45, 30)),
    ("brown", (185, 140, 95)),
    ("", (220, 200, 165)),
    ("yellow", (240, 205, 60)),
    ("yellow", (215, 180, 50)),
    ("green", (50, 130, 60)),
    ("green", (120, 160, 70)),
    ("green", (30, 75, 45)),
    ("blue", (45, 85, 175)),
    ("blue", (25, 40, 90)),
    ("blue", (120, 165, 215)),
    ("", (40, 140, 145)),
    ("purple", (110, 60, 150)),
    ("pink", (240, 150, 175)),
    ("pink", (225, 80, 130)),
    ("", (128, 128, 128)),
    ("", (225, 225, 225)),
)
# Distance in Lab from the background above which a pixel may be the object's; chroma above which it is coloured, and
# lightness below which it is dark: a shadow is neither.
APART, COLOURED, DARK = 14.0, 14.0, 38.0
# Shares: of the picture that the object covers at least, of the pixels apart from the background that are surely the
# object's, and of these that have the colour.
LEAST_OBJECT, LEAST_SURE, LEAST_COLOUR = 0.02, 0.5, 0.6
SIDE = 64


def lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..255 [..., 3] -> CIE Lab under D65."""
    c = np.asarray(rgb, np.float64) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


NAMES = np.array([name for name, _ in PROTOTYPES])
CENTRES = lab(np.array([value for _, value in PROTOTYPES]))


def colour_shares(picture: np.ndarray) -> dict[str, float] | None:
    """The share of each colour in the object of a studio look, uint8 [S, S, 3]; None if it cannot be told."""
    small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX))
    pixels = lab(small)
    border = np.concatenate([pixels[0], pixels[:, 0], pixels[:, -1]])
    apart = np.linalg.norm(pixels - np.median(border, 0), axis=-1) > APART
    sure = apart & ((np.hypot(pixels[..., 1], pixels[..., 2]) > COLOURED) | (pixels[..., 0] < DARK))
    if sure.mean() < LEAST_OBJECT or sure.sum() < LEAST_SURE * apart.sum():
        return None
    nearest = NAMES[np.linalg.norm(pixels[sure][:, None] - CENTRES[None], axis=-1).argmin(1)]
    return {name: float((nearest == name).mean()) for name in set(nearest.tolist())}


def colour_of(pictures: list[np.ndarray]) -> str:
    """The colour of an object by its studio looks, or ""."""
    found = [shares for shares in map(colour_shares, pictures) if shares is not None]
    if not found:
        return ""
    mean = {name: sum(s.get(name, 0.0) for s in found) / len(found) for name in {n for s in found for n in s}}
    best = max(mean, key=mean.get)
    return best if mean[best] >= LEAST_COLOUR else ""
