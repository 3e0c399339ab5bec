"""The dequantised student computes what the LiteRT file computes."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from magpie_models import graph, weights
from magpie_models.backbone import MobileNetV1, Student, same_padding
from magpie_models.preprocess import normalise
from magpie_models.runtime import Network

ROOT = Path(__file__).parents[2]
WEIGHTS = Path(os.environ.get("MAGPIE_WEIGHTS", ROOT / ".." / "shared" / "weights"))


def smooth_picture(side: int) -> np.ndarray:
    """A gradient with stripes: enough structure to make most channels answer."""
    y, x = np.mgrid[0:side, 0:side] / side
    planes = [x, y, 0.5 + 0.5 * np.sin(40 * x * y)]
    return (np.stack(planes, -1) * 255).astype(np.uint8)


def test_dequantised_features_match_litert():
    path = WEIGHTS / weights.STUDENT_FILE
    if not path.exists():
        pytest.skip(f"{weights.STUDENT_FILE} is not there; set MAGPIE_WEIGHTS to its folder")
    reference = weights.PooledFeatures(path)
    pixels = smooth_picture(reference.side)
    student = MobileNetV1(weights.read_mobilenet_v1(path)).eval()
    with torch.no_grad():
        ours = student(torch.from_numpy(normalise(pixels[None])))[0].numpy()
    theirs = reference(pixels)
    assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99


@pytest.mark.parametrize(("size", "expected"), [(144, (0, 1)), (9, (1, 1)), (72, (0, 1))])
def test_same_padding_of_stride_2(size, expected):
    assert same_padding(size, 3, 2) == expected


def small_student() -> Student:
    rng = np.random.default_rng(0)

    def layer(out: int, inputs: int, kernel: int, stride: int, depthwise: bool) -> weights.Convolution:
        w = rng.normal(0, 0.5, (out, inputs, kernel, kernel)).astype(np.float32)
        return weights.Convolution(w, np.full(out, 0.5, np.float32), stride, depthwise)

    layers = [layer(8, 3, 3, 2, False), layer(8, 1, 3, 2, True), layer(16, 8, 1, 1, False)]
    return Student(layers, 4, {"colour": 3}).eval()


def test_onnx_graph_matches_torch_and_its_quantised_form():
    side = 18
    student = small_student()
    pixels = np.random.default_rng(1).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(student(torch.from_numpy(normalise(pixels)))[0]).numpy()
    f32 = graph.build(student, side)
    found = Network(f32.SerializeToString())(pixels)["embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-5)

    int8 = graph.quantise(f32, pixels)
    assert "Clip" not in {node.op_type for node in int8.graph.node}
    cosine = (Network(int8.SerializeToString())(pixels)["embedding"] * expected).sum(1)
    assert cosine.min() > 0.98
