"""The shipped pack is consistent: manifest, model id, network, golden cases."""

import json
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from PIL import Image

from magpie_models.golden import CASES
from magpie_models.pack import model_id, read_manifest
from magpie_models.preprocess import open_upright, squash
from magpie_models.runtime import Network, softmax

ROOT = Path(__file__).parents[2]
PACK = Path(__file__).parents[1] / "packs" / "default"


@pytest.fixture(scope="module")
def manifest() -> dict:
    return read_manifest(PACK)


@pytest.fixture(scope="module")
def network() -> Network:
    return Network.of_pack(PACK)


def test_the_network_file_matches_the_manifest(manifest):
    content = (PACK / manifest["network"]["file"]).read_bytes()
    assert len(content) == manifest["network"]["bytes"]
    assert blake3(content).hexdigest() == manifest["network"]["blake3"]


def test_model_id_recomputes(manifest):
    assert model_id(manifest) == manifest["model_id"]


def test_model_id_depends_on_the_recipe(manifest):
    changed = json.loads(json.dumps(manifest))
    changed["input"]["mean"][2] = 0.25
    assert model_id(changed) != manifest["model_id"]


def test_outputs_have_the_described_sizes(manifest, network):
    side = manifest["input"]["width"]
    outputs = network(np.zeros((1, side, side, 3), np.uint8))
    assert outputs["embedding"].shape == (1, manifest["embedding"]["dim"])
    for head in manifest["heads"]:
        assert outputs[head["output"]].shape == (1, len(head["labels"])), head["name"]


def test_every_golden_case_is_there():
    assert sorted(p.name for p in (PACK / "golden").iterdir()) == sorted(case.name for case in CASES)


@pytest.mark.parametrize("case", [case.name for case in CASES])
def test_golden_case(case, manifest, network):
    folder = PACK / "golden" / case
    expected = json.loads((folder / "expected.json").read_text())
    photo = next(folder.glob("photo.*"))
    stored = np.asarray(Image.open(folder / "input.png"))
    side = manifest["input"]["width"]
    fresh = squash(open_upright(photo), side, side, expected["crop"])
    # Two JPEG decoders may differ by one or two levels; PNG is lossless.
    slack = 0 if photo.suffix == ".png" else 3
    assert np.abs(fresh.astype(int) - stored.astype(int)).max() <= slack

    outputs = network(stored[None])
    cosine = float(outputs["embedding"][0] @ np.array(expected["embedding"], np.float32))
    assert cosine > 0.999
    for head in manifest["heads"]:
        probabilities = softmax(outputs[head["output"]][0] / head.get("temperature", 1.0))
        attribute = expected["attributes"][head["name"]]
        # The label is None below the head's threshold; the probability is still that of the best label.
        said = attribute["label"] is not None
        assert said == (attribute["probability"] >= head.get("threshold", 0.0))
        found = probabilities[head["labels"].index(attribute["label"])] if said else probabilities.max()
        assert found == pytest.approx(attribute["probability"], abs=0.05)
