"""A user's own network becomes a consistent pack, or is rejected with a reason."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from test_pack import ROOT

from magpie_models.import_network import ImportRejected, import_network, is_quantised
from magpie_models.pack import CARD, model_id, read_manifest
from magpie_models.preprocess import Recipe, open_upright
from magpie_models.runtime import Network

RENDERS = ROOT / "cli" / "demo"
IMAGENET = Recipe(0, 0, "", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), fit="crop:0.875")


def user_network(path, batch: int | str = "N", side: int | str = 32, opset: int = 13, channels: int = 3):
    """A network as a user might export it: convolution, batch normalisation, ReLU, pooling, and two outputs."""
    rng = np.random.default_rng(0)
    values = {
        "w": rng.normal(0, 0.3, (8, channels, 3, 3)),
        "scale": rng.uniform(0.5, 1.5, 8),
        "shift": rng.normal(0, 0.3, 8),
        "mean": rng.normal(0, 0.3, 8),
        "var": rng.uniform(0.5, 2, 8),
        "e": rng.normal(size=(8, 6)),
        "h": rng.normal(size=(8, 3)),
    }
    nodes = [
        helper.make_node("Conv", ["photo", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"]),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "e"], ["vector"]),
        helper.make_node("MatMul", ["f", "h"], ["style"]),
    ]
    source = helper.make_tensor_value_info("photo", TensorProto.FLOAT, [batch, channels, side, side])
    sizes = {"vector": 6, "style": 3}
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, k]) for n, k in sizes.items()]
    constants = [numpy_helper.from_array(v.astype(np.float32), name) for name, v in values.items()]
    graph = helper.make_graph(nodes, "user", [source], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos" / "mine"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for i in range(12):
        noise = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((80, 60)).save(folder / f"{i}.jpg")
    (folder / "notes.txt").write_text("not a photo")
    return tmp_path / "photos"


def test_a_float_network_is_quantised_with_the_users_photos(tmp_path, photos):
    network, target = user_network(tmp_path / "mine.onnx"), tmp_path / "pack"
    heads = {"style": ["plain", "striped", "dotted"]}
    made = import_network(network, target, IMAGENET, RENDERS, photos, embedding="vector", heads=heads)
    assert made["cosine"] > 0.98
    manifest = read_manifest(target)
    assert manifest["name"] == "mine" and manifest["embedding"] == {"output": "vector", "dim": 6}
    assert manifest["input"]["fit"] == "crop:0.875" and manifest["input"]["name"] == "photo"
    assert manifest["input"]["mean"] == [0.485, 0.456, 0.406] and manifest["input"]["width"] == 32
    assert manifest["heads"] == [{"name": "style", "output": "style", "labels": heads["style"]}]
    assert model_id(manifest) == manifest["model_id"]
    stored = onnx.load(target / "model.onnx")
    assert is_quantised(stored)
    assert [d.dim_value for d in stored.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 32, 32]
    assert not list(target.parent.glob("*.part")) and not list(target.glob("*prepared*"))


def test_golden_cases_of_an_imported_pack_recompute(tmp_path, photos):
    import_network(user_network(tmp_path / "n.onnx"), tmp_path / "pack", IMAGENET, RENDERS, photos, embedding="vector")
    network = Network.of_pack(tmp_path / "pack")
    cases = sorted((tmp_path / "pack" / "golden").iterdir())
    assert len(cases) == 9
    for folder in cases:
        expected = json.loads((folder / "expected.json").read_text())
        pixels = network.recipe.squash(open_upright(next(folder.glob("photo.*"))), expected["crop"])
        assert network(pixels[None])["vector"][0] @ np.array(expected["embedding"]) > 0.9999


def test_a_float_network_can_be_used_unchanged(tmp_path):
    import_network(user_network(tmp_path / "n.onnx"), tmp_path / "a", IMAGENET, RENDERS, as_is=True, embedding="vector")
    assert not is_quantised(onnx.load(tmp_path / "a" / "model.onnx"))


def test_a_quantised_network_and_the_old_card_are_kept(tmp_path, photos):
    target = tmp_path / "pack"
    import_network(user_network(tmp_path / "n.onnx"), target, IMAGENET, RENDERS, photos, embedding="vector")
    (target / CARD).write_text("written by hand")
    before = (target / "model.onnx").read_bytes()
    (tmp_path / "again.onnx").write_bytes(before)
    made = import_network(tmp_path / "again.onnx", target, IMAGENET, RENDERS, embedding="vector")
    assert made["cosine"] is None and (target / CARD).read_text() == "written by hand"
    assert onnx.load(target / "model.onnx").graph == onnx.load_from_string(before).graph


def test_a_dynamic_size_needs_a_side(tmp_path):
    network = user_network(tmp_path / "n.onnx", side="S")
    with pytest.raises(ImportRejected, match="has a dynamic size: give --side"):
        import_network(network, tmp_path / "a", IMAGENET, RENDERS, as_is=True, embedding="vector")
    made = import_network(network, tmp_path / "a", IMAGENET, RENDERS, as_is=True, embedding="vector", side=48)
    assert made["input"]["width"] == made["input"]["height"] == 48


@pytest.mark.parametrize(
    ("network", "options", "reason"),
    [
        ({}, {}, "output 'embedding' not found; the outputs are vector, style"),
        ({}, {"embedding": "vector", "as_is": False}, "give --photos, or --as-is"),
        ({"batch": 4}, {"embedding": "vector"}, r"is \[4, 3, 32, 32\], expected"),
        ({"channels": 1}, {"embedding": "vector"}, r"1, 32, 32\], expected"),
        ({"side": 2048}, {"embedding": "vector"}, "expected at most 1024"),
        ({}, {"embedding": "vector", "heads": {"style": ["a", "b"]}}, r"has \[3\] outputs but 2 labels"),
        ({}, {"embedding": "vector", "heads": {"mood": ["a"]}}, "output 'mood' of a head not found"),
    ],
)
def test_unsupported_networks_are_rejected(tmp_path, network, options, reason):
    given = user_network(tmp_path / "n.onnx", **network)
    with pytest.raises(ImportRejected, match=reason):
        import_network(given, tmp_path / "pack", IMAGENET, RENDERS, **{"as_is": True, **options})
    assert not list(tmp_path.glob("pack*"))


def test_an_older_opset_is_converted(tmp_path, photos):
    network = user_network(tmp_path / "n.onnx", opset=11)
    assert import_network(network, tmp_path / "p", IMAGENET, RENDERS, photos, embedding="vector")["cosine"] > 0.98


@pytest.mark.parametrize("fit", ["", "pad", "crop:", "crop:0", "crop:1.5", "crop:nan", "squash:1"])
def test_a_fit_unknown_to_the_core_is_rejected(fit):
    with pytest.raises(ValueError, match="expected 'squash'"):
        Recipe(8, 8, fit=fit)


def test_the_centre_is_cropped_as_the_core_does():
    # The same numbers as in the core's own test.
    assert Recipe(64, 64, fit="crop:0.5").fitted((10, 20, 300, 200)) == (110, 70, 100, 100)
    assert Recipe(64, 64).fitted((10, 20, 300, 200)) == (10, 20, 300, 200)


def test_a_torch_module_can_be_exported_and_imported(tmp_path, photos):
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1),
        torch.nn.BatchNorm2d(8),
        torch.nn.Hardswish(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 5),
    )
    names = {"input_names": ["image"], "output_names": ["embedding"]}
    torch.onnx.export(module.eval(), torch.zeros(1, 3, 40, 40), str(tmp_path / "t.onnx"), dynamo=False, **names)
    made = import_network(tmp_path / "t.onnx", tmp_path / "pack", Recipe(0, 0, ""), RENDERS, photos)
    assert made["cosine"] > 0.98 and made["embedding"]["dim"] == 5 and made["input"]["width"] == 40
