"""Preprocessing: shapes, orientation, crop, value range."""

import numpy as np
import pytest
from PIL import Image

from magpie_models.preprocess import normalise, open_upright, squash


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_squash_ignores_the_aspect_ratio():
    assert squash(picture(300, 100), 48, 32).shape == (32, 48, 3)


def test_pixels_outside_the_crop_have_no_influence():
    inside = picture(64, 64)
    framed = Image.new("RGB", (128, 128), (255, 0, 255))
    framed.paste(inside, (32, 32))
    assert np.array_equal(squash(framed, 24, 24, (32, 32, 64, 64)), squash(inside, 24, 24))


@pytest.mark.parametrize("crop", [(0, 0, 0, 10), (-1, 0, 10, 10), (60, 0, 10, 10)])
def test_a_crop_outside_the_picture_is_rejected(crop):
    with pytest.raises(ValueError, match="does not fit a picture of 64 x 64"):
        squash(picture(64, 64), 24, 24, crop)


def test_orientation_6_is_rotated_upright(tmp_path):
    upright = picture(40, 20)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(np.asarray(open_upright(tmp_path / "photo.png")), np.asarray(upright))


def test_normalise_gives_planes_around_zero():
    pixels = np.zeros((2, 4, 6, 3), np.uint8)
    pixels[..., 0] = 255
    x = normalise(pixels)
    assert x.shape == (2, 3, 4, 6) and x.dtype == np.float32
    assert x[:, 0] == pytest.approx(1.0) and x[:, 1:] == pytest.approx(-127 / 128)
    one_to_one = normalise(pixels, (0.5,) * 3, (0.5,) * 3)
    assert (one_to_one[:, 0] == 1).all() and (one_to_one[:, 1:] == -1).all()
