"""The retrieval test: perfect embeddings score 1, no test photo is used, unseen goods are reported separately."""

import numpy as np
import pytest

from magpie_models.holdout import Holdout
from magpie_models.pack import EMBEDDING
from magpie_models.scores import NO_LIMITS, Limits, RetrievalTest, hit_at


def test_hit_at():
    similarity = np.array([[0.9, 0.5, 0.1], [0.2, 0.3, 0.4]])
    query, gallery = np.array(["a", "a"]), np.array(["a", "b", "c"])
    assert [hit_at(similarity, query, gallery, k) for k in (1, 2, 3)] == [0.5, 0.5, 1.0]


def one_hot(shop, numbers: np.ndarray) -> np.ndarray:
    names = [shop.rows[i]["class_id"] or shop.rows[i]["coarse"] for i in numbers]
    return (np.array(names)[:, None] == np.unique(names)[None]).astype(np.float32)


@pytest.mark.parametrize("limits", [Limits(), Limits(2, 1, 2, 2), NO_LIMITS])
def test_perfect_embeddings_score_one_in_every_part(shop, limits):
    test = RetrievalTest(shop.rows, Holdout.parse(shop.rows, "0/3", "Sock"), limits)
    everything = one_hot(shop, np.arange(len(shop.rows)))
    scores = test.scores({EMBEDDING: everything[test.numbers]}, everything[test.catalogue])
    hits = {name: value for name, value in scores.items() if "hit@" in name}
    parts = ["catalogue/hit@1", "catalogue/hit@5"]
    parts += [f"G1/{part}/hit@{k}" for part in ("seen", "unseen") for k in (1, 5)]
    parts += [f"{task}/{part}/hit@1" for task in ("G2", "C1") for part in ("seen", "unseen")]
    assert hits == dict.fromkeys(parts, 1.0)
    for part in ("seen", "unseen"):
        assert scores[f"distance/{part}/positive"] == 0 and scores[f"distance/{part}/nearest_negative"] == 1


def test_queries_were_not_in_training(shop):
    test = RetrievalTest(shop.rows, Holdout.parse(shop.rows, "0/3", "Sock"), NO_LIMITS)
    rows = np.array(shop.rows)
    assert "test" not in {row["split"] for row in rows[test.numbers]}
    assert {(r["split"], r["class_id"]) for r in rows[test.seen]} == {("val", p) for p in ("3", "5", "9", "11")}
    assert {r["class_id"] for r in rows[test.unseen]} == {"1", "7"} and len(test.unseen) == 10
    assert {r["coarse"] for r in rows[test.unseen_clothing]} == {"Sock"} and len(test.unseen_clothing) == 6
    assert {r["split"] for r in rows[test.seen_clothing]} == {"val"}
    small = RetrievalTest(shop.rows, Holdout.parse(shop.rows, "0/3", "Sock"))
    assert not set(small.unseen) & set(small.shop_gallery)


def test_heads_are_evaluated_on_labelled_val_photos(shop):
    test = RetrievalTest(shop.rows, Holdout())
    truth = np.array([0 if row["set"] == "grocery" else -1 for row in shop.rows])
    logits = np.tile(np.float32([0.0, 1.0]), (len(test.numbers), 1))
    val = [i for i in test.numbers if shop.rows[i]["split"] == "val" and truth[i] == 0]
    right = np.isin(test.numbers, val[:2])
    logits[right, 0] = 2
    accuracy = test.head_accuracy({"colour": logits}, {"colour": truth, "unknown": truth})
    assert accuracy == {"head/colour": pytest.approx(2 / len(val))}


def test_views_of_the_catalogue_are_the_same_each_time(shop):
    pixels = np.random.default_rng(0).integers(0, 256, (len(shop.rows), 24, 24, 3), dtype=np.uint8)
    test = RetrievalTest(shop.rows, Holdout())
    first = test.views(pixels, 16)
    assert first.shape == (len(test.catalogue), 16, 16, 3) and first.dtype == np.uint8
    assert np.array_equal(first, RetrievalTest(shop.rows, Holdout()).views(pixels, 16))
    assert not np.array_equal(first[0], first[1])
