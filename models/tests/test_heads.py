"""Heads fitted on finished features: they learn their labels, and say nothing of photos that no label fits."""

import numpy as np
import torch

from magpie_models import checkpoint, data
from magpie_models.backbone import pooled_features
from magpie_models.calibrate import OUTSIDE, Judged, calibrate_heads
from magpie_models.heads import fit
from magpie_models.preprocess import Recipe
from magpie_models.runtime import softmax
from magpie_models.train import run
from test_train import trainer


def clusters(rng: np.random.Generator, kinds: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    kind = rng.integers(0, kinds, count)
    return np.eye(8)[kind] * 3 + rng.normal(0, 0.5, (count, 8)), kind


def test_a_head_is_unsure_of_what_no_label_fits():
    rng = np.random.default_rng(0)
    x, kind = clusters(rng, 4, 600)
    # Kinds 2 and 3 are things that the head has no label for.
    target = np.where(kind < 2, kind, data.NO_LABEL)
    for outside, sure_of_others in ((kind >= 2, False), (np.zeros(600, bool), True)):
        weight, bias = fit(x.astype(np.float32), target, outside, 2)
        fresh, fresh_kind = clusters(rng, 4, 400)
        p = softmax(fresh @ weight.T + bias)
        known = fresh_kind < 2
        assert (p.argmax(1) == fresh_kind)[known].mean() > 0.97
        assert p.max(1)[known].mean() > 0.8
        assert (p.max(1)[~known].mean() > 0.75) == sure_of_others


def test_calibration_counts_a_label_of_something_else_as_wrong():
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 2, 400)
    logits = np.eye(2)[kind] * 4 + rng.normal(0, 1, (400, 2))
    inside = Judged(
        {"material": logits}, {"material": [("paper", "steel")[k] for k in kind]}, [str(i) for i in range(400)]
    )
    unknown = Judged(
        {"material": rng.normal(0, 1.5, (400, 2))}, {"material": [OUTSIDE] * 400}, [str(i) for i in range(400)]
    )
    heads = [{"name": "material", "output": "material", "labels": ["paper", "steel"]}]
    calibrate_heads([inside], heads, 0.9)
    alone = heads[0]["threshold"]
    calibrate_heads([inside, unknown], heads, 0.9)
    assert alone == 0.5 and 0.6 < heads[0]["threshold"] < 1.0
    assert heads[0]["temperature"] >= 1.0


def test_weights_between_start_and_end_are_averaged(shop, tmp_path):
    run(trainer(shop), tmp_path / "run", stop_after=1)
    state = checkpoint.load(tmp_path / "run" / checkpoint.FILE)
    name = "backbone.convolutions.3.weight"
    for blend in (0.0, 0.25, 1.0):
        student, _, _ = checkpoint.load_student(tmp_path / "run" / checkpoint.FILE, blend)
        expected = state["before"][name] * (1 - blend) + state["average"][name] * blend
        assert torch.allclose(student.state_dict()[name], expected, atol=1e-6)
    pixels = data.pixels(shop.rows, shop.data, Recipe(32, 32), shop.work / "cache")
    assert pooled_features(student, pixels[:5]).shape == (5, student.backbone.channels)
