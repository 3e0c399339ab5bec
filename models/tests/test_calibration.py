"""Fits recover the parameters that the data was drawn with, and packs get what the Rust core reads."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from magpie_models import calibrate, calibration
from magpie_models.golden import refresh_attributes
from magpie_models.pack import model_id, read_manifest
from magpie_models.runtime import Network

PACK = Path(__file__).parents[1] / "packs" / "default"


def test_features_are_those_of_the_rust_core():
    # The same numbers as in core/engine/src/confidence.rs.
    scores = np.array([0.25, 0.75, 0.5] + [0.25] * 7)
    assert calibration.features(scores, 0.125) == pytest.approx([0.75, 0.25, 0.75 - 2.5 / 9])
    assert calibration.features(np.array([0.6]), 0.125) == pytest.approx([0.6, 0.475, 0.475])
    # The background is capped at the best score, so a single poor listing has no lead.
    assert calibration.features(np.array([0.0]), 0.125) == pytest.approx([0.0, 0.0, 0.0])


def test_a_logistic_function_is_recovered():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (20_000, 3))
    right = rng.random(len(x)) < calibration.logistic(x @ [6.0, 3.0, 2.0] - 5.0)
    weights, bias = calibration.fit(x, right, np.full(len(x), 1.0 / len(x)))
    assert weights == pytest.approx([6.0, 3.0, 2.0], abs=0.4) and bias == pytest.approx(-5.0, abs=0.4)


def test_no_weight_is_negative():
    rng = np.random.default_rng(2)
    x = rng.uniform(0, 1, (5_000, 3))
    right = rng.random(len(x)) < calibration.logistic(x @ [6.0, -4.0, 1.0] - 1.5)
    weights, _ = calibration.fit(x, right, np.ones(len(x)))
    assert weights[1] == 0 and weights[0] > 4 and weights[2] > 0


def test_the_temperature_corrects_overconfidence():
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (5_000, 6))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.array([rng.choice(6, p=row) for row in p])
    assert calibration.temperature(logits * 3, truth) == pytest.approx(3, rel=0.06)


def test_ece_auroc_and_threshold():
    probability, right = np.array([0.75, 0.75, 0.25, 0.25]), np.array([True, False, False, False])
    assert calibration.ece(probability, right) == 0.25
    assert calibration.auroc(np.array([0.9, 0.5, 0.5, 0.6]), np.array([True, True, False, False])) == 0.625
    p = np.linspace(0, 1, 101)
    assert calibration.threshold(p, p >= 0.7, 0.9) == pytest.approx(0.67, abs=0.02)
    assert calibration.threshold(p, p >= 0, 0.9) == 0.5
    assert calibration.threshold(p, p < 0, 0.9) == 1.0


def test_halves_split_keys_not_rows():
    sides = calibrate.halves(["a", "b", "c", "d", "a", "b"])
    assert sorted(sides[:4]) == [0, 0, 1, 1] and sides[0] == sides[4] and sides[1] == sides[5]


def made_up_photos(products: int, photos: int) -> tuple[list[dict[str, str]], np.ndarray]:
    """Shop photos at various distances from their product's photo, and clothing with random embeddings."""
    rng = np.random.default_rng(4)
    rows, vectors = [], []
    blank = {"colour_src": "", "colour_conf": "", "colour": "", "shape": "", "material": "", "coarse": "", "group": ""}

    def add(vector, **fields):
        rows.append(blank | fields)
        vectors.append(vector / np.linalg.norm(vector))

    for product in range(products):
        centre = rng.normal(0, 1, 16)
        add(centre, set="grocery", split="gallery", domain="product", class_id=str(product))
        for _ in range(photos):
            noise = rng.normal(0, rng.uniform(0.2, 2.0), 16)
            add(centre + noise, set="grocery", split="val", domain="user", class_id=str(product))
    for _ in range(50):
        add(rng.normal(0, 1, 16), set="clothing", split="train", domain="user", class_id="")
    return rows, np.array(vectors, np.float32)


def test_a_confidence_is_fitted_and_describes_its_data(capsys):
    rows, embeddings = made_up_photos(products=50, photos=6)
    found = calibrate.confidence(rows, embeddings, precision=0.8)
    assert found["kind"] == "logistic-1" and list(found["weights"]) == ["score", "margin", "contrast"]
    assert all(0 <= weight <= 1000 for weight in found["weights"].values())
    assert 0.5 <= found["threshold"] < 1 and abs(found["background"]) < 0.1
    assert "300 shop photos" in found["data"]
    printed = capsys.readouterr().out
    whole = next(line for line in printed.splitlines() if "whole" in line)
    assert float(whole.split("ECE")[1]) < 0.1 and float(whole.split("wrong ")[1].split(",")[0]) > 0.8, whole


def test_held_out_products_are_reported_separately(capsys):
    rows, embeddings = made_up_photos(products=60, photos=6)
    kept_out = {str(product) for product in range(0, 60, 6)}
    seen = calibrate.confidence(rows, embeddings, 0.8, kept_out)
    printed = capsys.readouterr().out
    assert "300 photos of products in training; each half" in printed and "60 photos of held-out products" in printed
    assert "300 shop photos of split val, each" in seen["data"]
    both = calibrate.confidence(rows, embeddings, 0.8, kept_out, fit_kept_out=True)
    assert "and 60 of products kept out of training" in both["data"]
    assert both["weights"] != seen["weights"]


def test_calibration_keeps_the_model_id_and_updates_golden_attributes(tmp_path):
    pack = tmp_path / "pack"
    shutil.copytree(PACK, pack)
    before = read_manifest(pack)
    described = json.loads(json.dumps(before))
    head = described["heads"][0]
    head["temperature"], head["threshold"] = 2.0, 1.0
    assert model_id(described) == before["model_id"]
    refresh_attributes(pack / "golden", Network.of_pack(pack), described)
    for path in (pack / "golden").glob("*/expected.json"):
        old, new = (json.loads((root / path.relative_to(pack)).read_text()) for root in (PACK, pack))
        assert new["embedding"] == old["embedding"] and new["crop"] == old["crop"]
        assert new["attributes"][head["name"]]["label"] is None
        others = [attribute for attribute in new["attributes"] if attribute != head["name"]]
        assert others and all(
            new["attributes"][name]["probability"] == pytest.approx(old["attributes"][name]["probability"], abs=0.01)
            for name in others
        )
