"""Virtual products: recoloured pairs, and the matching loss that uses them."""

import numpy as np
import pytest
import torch

from magpie_models import data
from magpie_models.holdout import training_rows
from magpie_models.losses import matching
from magpie_models.preprocess import Recipe
from magpie_models.virtual import TASK, VirtualProducts, product_pairs, random_colours


def test_a_recolouring_treats_both_photos_alike():
    white = np.full((8, 8, 3), 250, np.uint8)
    first, second = white.copy(), white.copy()
    first[:4], second[4:] = (200, 30, 30), (200, 30, 30)
    for seed in range(20):
        change = random_colours(np.random.default_rng(seed))
        assert (change(first)[0, 0] == change(second)[7, 7]).all()
        assert (change(first)[0, 0] != first[0, 0]).any()
        # White stays white, so that a catalogue photo keeps its background.
        assert change(first)[7, 7].min() > 235


def test_each_pair_has_a_unique_label(shop):
    pixels = data.pixels(shop.rows, shop.data, Recipe(40, 40), shop.work / "cache")
    source = VirtualProducts(product_pairs(shop.rows, training_rows(shop.rows)), pixels, 5)
    samples = source.draw(np.random.default_rng(0)) + source.draw(np.random.default_rng(0))
    labels = [sample.labels[TASK] for sample in samples]
    assert labels[::2] == labels[1::2] and len(set(labels)) == 10
    assert [sample.is_catalogue for sample in samples] == [True, False] * 10
    assert all(sample.teacher is None for sample in samples)
    # Repeats of a product have other colours each time.
    assert len({sample.pixels.tobytes() for sample in samples[::2]}) > 3


def test_products_need_both_kinds_of_photo(shop):
    shoppers = np.array([i for i in training_rows(shop.rows) if shop.rows[i]["domain"] == "user"])
    with pytest.raises(ValueError, match="catalogue photo and shoppers' photos"):
        VirtualProducts(product_pairs(shop.rows, shoppers), np.zeros(0), 5)


def test_matching_loss_is_low_for_pairs_that_match():
    target = torch.tensor([4, 4, 7, 7, -1, -1])
    catalogue = torch.tensor([True, False, True, False, True, False])
    eye = torch.eye(4)
    found = torch.stack([eye[0], eye[0], eye[1], eye[1], eye[2], eye[3]])
    assert matching(found, target, catalogue, 30.0) < 1e-6
    crossed = found[[2, 1, 0, 3, 4, 5]]
    assert matching(crossed, target, catalogue, 30.0) > 5
    # An unlabelled catalogue photo is a negative; an unlabelled shopper's photo is not a query.
    tempting = found.clone()
    tempting[4] = eye[0]
    assert matching(tempting, target, catalogue, 30.0) > 0.1
    ignored = found.clone()
    ignored[5] = eye[0]
    assert matching(ignored, target, catalogue, 30.0) < 1e-6
    assert matching(found, torch.full((6,), -1), catalogue, 30.0) == 0
