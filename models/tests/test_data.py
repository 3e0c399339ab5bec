"""Holdout, labels and samplers: held-out data is never trained on, and batches contain positives."""

from collections import Counter

import numpy as np
import pytest

from magpie_models.data import NO_LABEL, make_labels, pixels
from magpie_models.holdout import Holdout, training_rows, tuning_rows
from magpie_models.preprocess import Recipe, open_upright
from magpie_models.samplers import SAMPLERS, Sampler


def test_products_are_held_out_by_numeric_id(shop):
    # The ids are 1, 3, 5, 7, 9, 11.
    assert Holdout.parse(shop.rows, "2/3").products == {"5", "11"}
    assert Holdout.parse(shop.rows).products == set()


@pytest.mark.parametrize("fold", ["3/3", "x", "1", "-1/3", "1/x"])
def test_an_invalid_fold_is_rejected(shop, fold):
    with pytest.raises(ValueError, match="expected FOLD/OF"):
        Holdout.parse(shop.rows, fold)


def test_an_unknown_kind_is_rejected_with_a_list_of_the_known_ones(shop):
    with pytest.raises(ValueError, match=r"\['Skirt'\]; known are \['Hat', 'Scarf', 'Sock'\]"):
        Holdout.parse(shop.rows, kinds="Hat, Skirt")


def test_training_has_no_val_test_or_held_out_photo(shop):
    holdout = Holdout.parse(shop.rows, "0/3", "Sock")
    used = [shop.rows[i] for i in training_rows(shop.rows, holdout)]
    assert {row["split"] for row in used} == {"train", "gallery"}
    assert {row["class_id"] for row in used} == {"3", "5", "9", "11", ""}
    assert {row["coarse"] for row in used if row["set"] == "clothing"} == {"Hat", "Scarf", "Not sure"}
    assert {shop.rows[i]["split"] for i in tuning_rows(shop.rows)} == {"train", "val", "gallery"}


def test_labels_cover_only_classes_in_training(shop):
    holdout = Holdout.parse(shop.rows, "0/3", "Sock")
    labels = make_labels(shop.rows, training_rows(shop.rows, holdout))
    assert labels.names["product"] == ["11", "3", "5", "9"]
    assert labels.names["garment"] == ["Hat", "Scarf"]
    for i, row in enumerate(shop.rows):
        if holdout.has(row):
            assert labels.numbers["listing"][i] == labels.numbers["product"][i] == NO_LABEL


def sampler(shop, kind: str, photos: int, repeats: int = 3) -> tuple[Sampler, np.ndarray, np.ndarray]:
    train = training_rows(shop.rows)
    listing = make_labels(shop.rows, train).numbers["listing"]
    return Sampler(kind, shop.rows, train, listing, photos, repeats), listing, train


@pytest.mark.parametrize("photos", [1, 2, 4])
@pytest.mark.parametrize("kind", SAMPLERS)
def test_samplers_give_full_batches_of_training_photos_with_positives(shop, kind, photos):
    chosen, listing, train = sampler(shop, kind, photos)
    epoch = chosen.epoch(np.random.default_rng(0), 12)
    assert epoch.shape == (len(chosen.pool) // 12, 12)
    assert np.isin(epoch, train).all()
    again = chosen.epoch(np.random.default_rng(0), 12)
    assert np.array_equal(epoch, again)
    if photos > 1:
        for batch in epoch:
            count = Counter(listing[batch])
            assert sum(n for label, n in count.items() if n > 1 and label != NO_LABEL) >= 8


def test_uniform_draws_each_photo_once_and_repeats_catalogue_photos(shop):
    chosen, _, train = sampler(shop, "uniform", 1, repeats=3)
    seen = Counter(chosen.epoch(np.random.default_rng(0), 1).ravel().tolist())
    assert all(n == (3 if shop.rows[row]["domain"] == "product" else 1) for row, n in seen.items())
    assert set(seen) == set(train.tolist())


def test_the_class_sampler_balances_classes(shop):
    chosen, listing, _ = sampler(shop, "class", 2)
    drawn = np.concatenate([chosen.epoch(np.random.default_rng(s), 18).ravel() for s in range(40)])
    share = Counter(listing[drawn].tolist())
    assert NO_LABEL not in share and len(share) == 9
    assert max(share.values()) == min(share.values())


def test_the_domain_sampler_pairs_shop_and_catalogue(shop):
    chosen, _, _ = sampler(shop, "domain", 2)
    for batch in chosen.epoch(np.random.default_rng(0), 12):
        rows = [shop.rows[i] for i in batch]
        domains = Counter("catalogue" if r["domain"] == "product" else r["set"] for r in rows)
        assert domains == {"catalogue": 4, "grocery": 4, "clothing": 4}
        products = Counter(r["class_id"] for r in rows if r["set"] == "grocery")
        assert set(products.values()) == {2}


def test_the_domain_sampler_needs_all_domains(shop):
    train = np.array([i for i in training_rows(shop.rows) if shop.rows[i]["set"] == "grocery"])
    listing = make_labels(shop.rows, train).numbers["listing"]
    with pytest.raises(ValueError, match="needs products with shop and catalogue photos, and clothing"):
        Sampler("domain", shop.rows, train, listing)


def test_each_recipe_has_its_own_pixel_cache(shop):
    plain, tall = Recipe(16, 16), Recipe(16, 16, fit="crop:0.5", filter="bicubic")
    cache = shop.work / "cache"
    first, second = (pixels(shop.rows, shop.data, recipe, cache) for recipe in (plain, tall))
    assert first.shape == second.shape and not np.array_equal(first, second)
    assert np.array_equal(second[3], tall.squash(open_upright(shop.data / shop.rows[3]["path"])))
    with pytest.raises(ValueError, match="expected 3: delete it to decode"):
        pixels(shop.rows[:3], shop.data, plain, cache)
