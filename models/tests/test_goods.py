"""Broad goods: what training draws from them, their colours, and the figures of objects kept out."""

from collections import Counter

import numpy as np
import pytest
from conftest import ROOT

from magpie_models.breadth import demo_pictures, goods_pictures
from magpie_models.colours import colour_of
from magpie_models.data import NO_LABEL, share_names
from magpie_models.data import make_labels as product_labels
from magpie_models.goods import CLASS, PAIR, VIRTUAL, Goods, GoodsPairs
from magpie_models.preprocess import Recipe
from magpie_models.sources import Photos
from magpie_models.virtual import VirtualProducts


@pytest.fixture
def goods(shop) -> Goods:
    return Goods.read(shop.goods)


@pytest.fixture
def pixels(goods, shop) -> np.ndarray:
    return goods.pixels(40, shop.work / "cache")


def test_pairs_show_training_objects_in_both_looks(goods, pixels):
    features = np.arange(len(goods.train) * 3, dtype=np.float32).reshape(-1, 3)
    photos = Photos("goods", goods.labels(pixels), pixels, features, goods.train, goods.is_studio())
    source = GoodsPairs(goods, photos, 5)
    samples = source.draw(np.random.default_rng(0)) + source.draw(np.random.default_rng(1))
    assert len(samples) == 20 and all(sample.origin == "goods" and sample.teacher is not None for sample in samples)
    labels = [sample.labels[PAIR] for sample in samples]
    assert labels[::2] == labels[1::2] and len(set(labels)) == 10
    assert [sample.is_catalogue for sample in samples] == [True, False] * 10
    # Two objects of a class stand side by side.
    classes = [sample.labels[CLASS] for sample in samples[::2]]
    assert classes[0] == classes[1] and classes[2] == classes[3]
    kept_back = {pixels[i].tobytes() for i in np.concatenate(goods.val_looks())}
    assert not kept_back & {sample.pixels.tobytes() for sample in samples}


def test_recoloured_pairs_have_labels_of_their_own(goods, pixels):
    samples = VirtualProducts(goods.pairs(), pixels, 3, VIRTUAL).draw(np.random.default_rng(0))
    assert [list(sample.labels) for sample in samples] == [[VIRTUAL]] * 6


def test_objects_without_both_looks_are_an_error(goods, pixels, tmp_path):
    photos = Photos("goods", goods.labels(pixels), pixels, np.zeros((0, 3)), np.zeros(0), goods.is_studio())
    wild = np.array([i for i in goods.train if not goods.is_studio()[i]])
    with pytest.raises(ValueError, match="no object with a studio and a wild look"):
        GoodsPairs(Goods(goods.folder, goods.rows, wild), photos, 5)


def test_both_data_sets_share_the_names_of_a_task(goods, pixels, shop):
    first, second = product_labels(shop.rows), goods.labels(pixels)
    hats = first.values("category")
    share_names([first, second])
    assert first.names == second.names and {"Hat", "Kind0"} <= set(first.names["category"])
    assert first.values("category") == hats
    # A set without the task has no label for it.
    assert (second.numbers["material"] == NO_LABEL).all() and (first.numbers[CLASS] == NO_LABEL).all()


def studio(colour: tuple[int, int, int], shadow: bool = True) -> np.ndarray:
    picture = np.full((64, 64, 3), 240, np.uint8)
    if shadow:
        picture[40:56, 8:56] = 190
    picture[16:48, 16:48] = colour
    return picture


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((200, 30, 30), "red"),
        ((40, 80, 180), "blue"),
        ((25, 25, 28), "black"),
        ((235, 235, 235), ""),
        ((160, 160, 160), ""),
    ],
)
def test_the_colour_of_an_object_is_not_that_of_its_shadow(colour, name):
    assert colour_of([studio(colour)]) == name
    assert colour_of([studio(colour), studio(colour, shadow=False)]) == name


def test_an_object_of_two_colours_has_no_label():
    picture = studio((200, 30, 30))
    picture[16:48, 16:32] = (40, 80, 180)
    assert colour_of([picture]) == "" and colour_of([]) == ""


def test_what_others_share_is_counted_without_the_right_object(goods):
    pictures = goods_pictures(goods)
    # One object is kept back, so there are no others to share anything.
    found = pictures.scores(np.ones((2, 1), np.float32), np.ones((2, 1), np.float32))
    assert found == {"goods/hit@1": 1.0, "goods/hit@5": 1.0}


def test_the_demo_is_scored_by_listing():
    demo = demo_pictures(ROOT / "cli" / "demo")
    queries, gallery = demo.read(Recipe(8, 8))
    assert queries.shape == (128, 8, 8, 3) and gallery.shape == (256, 8, 8, 3)
    listings = sorted(set(demo.gallery_objects))
    assert set(Counter(demo.gallery_objects).values()) == {2}
    # Embeddings that know the category alone: the five best others are of it, and the right one is one of eight.
    category = demo.columns["category"]
    names = sorted(set(category.values()))
    vector = {name: np.eye(len(names), dtype=np.float32)[names.index(category[name])] for name in listings}
    found = demo.scores(*(np.stack([vector[n] for n in of]) for of in (demo.query_objects, demo.gallery_objects)))
    assert found["demo/others/category"] == 1.0
    assert found["demo/hit@1"] == pytest.approx(1 / 8) and found["demo/hit@5"] == pytest.approx(5 / 8)
