"""Training end to end on a small data set: every objective learns, and a resumed run ends with the same weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from magpie_models import checkpoint
from magpie_models.config import Config
from magpie_models.objectives import OBJECTIVES, Objective
from magpie_models.record import read_metrics
from magpie_models.sources import Sample, assemble
from magpie_models.train import Trainer, run

SMALL = Config(
    backbone="mobilenetv1-0.5",
    start="random",
    freeze=0,
    side=32,
    dim=8,
    batch=12,
    virtual_pairs=4,
    goods_pairs=3,
    virtual_goods_pairs=2,
    epochs=2,
    rate=1e-3,
    warm_up=2,
    average=0.5,
)
NOWHERE = "no-weights-are-read"


def trainer(shop, **options) -> Trainer:
    return Trainer(replace(SMALL, **options).resolved(), shop.data, shop.work / NOWHERE, shop.work, shop.goods)


def weights_of(folder) -> dict[str, torch.Tensor]:
    state = checkpoint.load(folder / checkpoint.FILE)
    return {f"{part}/{name}": v for part in ("student", "average", "objective") for name, v in state[part].items()}


def test_a_resumed_run_ends_with_the_same_weights(shop, tmp_path):
    run(trainer(shop), tmp_path / "through")
    run(trainer(shop), tmp_path / "stopped", stop_after=1)
    assert checkpoint.load(tmp_path / "stopped" / checkpoint.FILE)["progress"][0] == 1
    run(trainer(shop), tmp_path / "stopped")
    through, stopped = weights_of(tmp_path / "through"), weights_of(tmp_path / "stopped")
    assert through.keys() == stopped.keys()
    for name, value in through.items():
        assert torch.equal(value, stopped[name]), name

    first, second = read_metrics(tmp_path / "through"), read_metrics(tmp_path / "stopped")
    for a, b in zip(first, second, strict=True):
        assert {k: v for k, v in a.items() if "cost" not in k} == {k: v for k, v in b.items() if "cost" not in k}
    assert [line["epoch"] for line in second] == [0, 1, 2]
    assert second[2]["cost/cpu_seconds"] > second[1]["cost/cpu_seconds"] > 0


def test_a_run_cannot_be_resumed_with_another_configuration(shop, tmp_path):
    run(trainer(shop), tmp_path / "run", stop_after=1)
    with pytest.raises(SystemExit, match=r"rate: 0.001 -> 0.1"):
        run(trainer(shop, rate=0.1), tmp_path / "run")


def test_a_run_continues_from_the_weights_of_another(shop, tmp_path):
    first, second, third = (tmp_path / "runs" / name for name in ("first", "second", "third"))
    run(trainer(shop), first)

    def continued(**options) -> Trainer:
        made = trainer(shop, **{"continues": "first", **options})
        made.work = tmp_path
        return made

    run(continued(), second, stop_after=1)
    a, b = (checkpoint.load(folder / checkpoint.FILE) for folder in (first, second))
    assert all(torch.equal(a["before"][name], value) for name, value in b["before"].items())
    assert not all(torch.equal(a["average"][name], value) for name, value in b["average"].items())
    ended, started = read_metrics(first)[-1], read_metrics(second)[0]
    assert {k: v for k, v in started.items() if "hit" in k} == {k: v for k, v in ended.items() if "hit" in k}

    for options in ({"keep_out_products": "0/3"}, {"continues": "none"}, {"dim": 16}):
        with pytest.raises(SystemExit, match="--continues"):
            run(continued(**options), third)


def test_tensorboard_reads_the_record(shop, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(trainer(shop), tmp_path / "run", stop_after=1)
    run(trainer(shop), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    found = {e.step: e.value for e in events.Scalars("loss/total")}
    written = {line["epoch"]: line["loss/total"] for line in read_metrics(tmp_path / "run")[1:]}
    assert found == pytest.approx(written)
    described = json.loads((tmp_path / "run" / "config.json").read_text())
    assert Config.from_json(described["config"]) == SMALL.resolved()
    assert described["git"] and described["config"]["terms"]["teacher/products"] == 4.0


@pytest.mark.parametrize("teacher_weight", [0.0, 1.0])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_lowers_its_loss(shop, objective, teacher_weight):
    made = trainer(shop, objective=objective, teacher_weight=teacher_weight, sampler="class", keep_out_products="0/3")
    assert ("teacher/goods" in made.objective.terms) == (teacher_weight > 0)
    made.start()
    rng = np.random.default_rng(0)
    rows = made.sampler.epoch(rng, 12)[0]
    batch = assemble(made.samples(rows, rng), 32, rng)
    losses = [made.take_step(batch, 100)["total"] for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_scores_of_seen_and_unseen_are_recorded(shop, tmp_path):
    run(trainer(shop, keep_out_products="0/3", keep_out_kinds="Sock"), tmp_path / "run", stop_after=1)
    names = read_metrics(tmp_path / "run")[1].keys()
    for name in ("catalogue/hit@1", "G1/seen/hit@1", "G1/unseen/hit@5", "G2/unseen/hit@1", "C1/unseen/hit@1"):
        assert name in names
    for name in ("loss/cosine/product", "head/category", "distance/unseen/positive", "cost/watt_hours"):
        assert name in names
    trained = json.loads((tmp_path / "run" / "split.json").read_text())["trained_on"]
    assert not [p for p in trained if p.startswith(("c0", "p0-", "c3", "p3-", "k2-"))]


def test_only_unfrozen_layers_are_trained(shop, tmp_path):
    made = trainer(shop, freeze=9)
    before = [conv.weight.clone() for conv in made.student.backbone.convolutions]
    run(made, tmp_path / "run", stop_after=1)
    moved = [not torch.equal(a, c.weight) for a, c in zip(before, made.student.backbone.convolutions)]
    assert moved == [False] * 9 + [True] * 18


def test_catalogue_photos_of_weight_0_are_left_out_of_class_terms(shop):
    rng = np.random.default_rng(0)
    made = trainer(shop, catalogue_weight=0.0, heads="probe", teacher_weight=0.0, goods_pairs=0, virtual_goods_pairs=0)
    made.start()
    rows = np.array([i for i in made.train if made.photos.is_catalogue[i]])
    batch = assemble(made.samples(rows, rng), 32, rng)
    parts = made.objective(made.student, batch)
    assert all(value == 0 for name, value in parts.items() if name.startswith("cosine/"))
    assert parts["head/category"] > 0
    mixed = assemble(made.samples(made.train[:20], rng), 32, rng)
    assert made.objective(made.student, mixed)["cosine/product"] > 0


class Twins:
    """A source of two views of each of three synthetic objects, without teacher features."""

    def draw(self, rng: np.random.Generator) -> list[Sample]:
        things = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
        return [Sample(things[i], {"scene": i}, skip_jitter=view == 0) for i in range(3) for view in range(2)]


def test_an_additional_source_adds_samples_with_its_own_labels(shop):
    run_config = replace(SMALL, virtual_pairs=0, goods_pairs=0, virtual_goods_pairs=0).resolved(
        {"contrastive/scene": 0.5}
    )
    made = Trainer(run_config, shop.data, shop.work, shop.work, shop.goods)
    made.sources.append(Twins())
    made.start()
    rng = np.random.default_rng(0)
    batch = assemble(made.samples(made.train[:12], rng), 32, rng)
    assert batch.pixels.shape == (18, 3, 32, 32)
    assert batch.labels["scene"].tolist() == [-1] * 12 + [0, 0, 1, 1, 2, 2]
    assert batch.labels["product"].tolist()[12:] == [-1] * 6
    assert {name: numbers.tolist() for name, (_, numbers) in batch.taught.items()} == {"products": list(range(12))}
    assert 0 < made.take_step(batch, 10)["contrastive/scene"] < 10


@pytest.mark.parametrize("term", ["cosine/scene", "nonsense/product", "product"])
def test_invalid_terms_are_rejected(shop, term):
    made = trainer(shop)
    with pytest.raises(ValueError, match=term):
        Objective({term: 1.0}, made.labels, 8, SMALL.losses())
