"""What is made from a run: a pack, official figures, a comparison, a page of results."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, SHARED_WEIGHTS
from PIL import Image
from test_train import SMALL, trainer

from magpie_models import compare, data, frontier, page, places
from magpie_models.config import Config
from magpie_models.evaluate import head_numbers, official, official_score
from magpie_models.export import calibration_rows, export
from magpie_models.holdout import Holdout
from magpie_models.pack import EMBEDDING
from magpie_models.preprocess import Recipe
from magpie_models.record import read_config, read_metrics
from magpie_models.runtime import Network
from magpie_models.train import run

RENDERS = ROOT / "cli" / "demo"
MAGPIE = [ROOT / "target" / profile / "magpie" for profile in ("debug", "release")]
SCORE = SHARED_WEIGHTS.parent / "data" / "products" / "score.py"


@pytest.fixture
def trained(shop):
    """Two runs with different objectives, and the pack of the first."""
    options = {"keep_out_products": "0/3", "keep_out_kinds": "Sock"}
    folders = {}
    for name, objective in (("first", "multitask"), ("second", "contrastive")):
        folders[name] = places.run_folder(shop.work, name)
        run(trainer(shop, objective=objective, **options), folders[name], stop_after=1)
    pixels = data.pixels(shop.rows, shop.data, Recipe(SMALL.side, SMALL.side), places.cache(shop.work))
    export(folders["first"], folders["first"] / "pack", shop.rows, pixels, RENDERS, calibration=16)
    return folders, pixels


def command(module: str, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"magpie_models.{module}", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "models"), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_packs_figures_match_those_of_the_run(shop, trained):
    folders, pixels = trained
    shutil.copy(SCORE, shop.data) if SCORE.exists() else pytest.skip(f"{SCORE} not found")
    where = ("--data", shop.data, "--work", shop.work, "--run", "first")
    command("evaluate", *where, "--f32", folders["first"] / "f32.onnx", "--json", shop.work / "found.json")
    found = json.loads((shop.work / "found.json").read_text())
    for part in ("G1/all", "G1/seen products", "G1/unseen products", "G2/unseen products", "C1/unseen kinds"):
        assert 0 <= found["pack"][part]["hit@1"] <= 1
    assert (found["pack"]["G1/seen products"]["n"], found["pack"]["G1/unseen products"]["n"]) == (4, 2)
    assert found["pack"]["C1/unseen kinds"]["n"] == 6 and found["pack"]["C1/unseen senders and kinds"]["n"] == 2
    assert found["cosine"]["mean"] > 0.95
    # With so few photos, the small index has all of the seen queries.
    last = read_metrics(folders["first"])[-1]
    assert found["f32 val"]["G1/seen/hit@1"] == pytest.approx(last["G1/seen/hit@1"], abs=1e-4)
    assert len(np.load(folders["first"] / "embeddings.npy")) == len(shop.rows)

    command("evaluate", *where, "--val", "--json", shop.work / "val.json")
    assert "pack" in json.loads((shop.work / "val.json").read_text())
    assert not isinstance(json.loads((shop.work / "val.json").read_text())["pack"], dict)


def test_official_figures_of_subsets_match_their_queries(shop):
    if not SCORE.exists():
        pytest.skip(f"{SCORE} not found")
    score = official_score(SCORE.parent)
    holdout = Holdout.parse(shop.rows, "0/3", "Sock")
    # Embeddings that are right for everything in training, and wrong for what was held out.
    names = [row["class_id"] or row["coarse"] for row in shop.rows]
    embeddings = (np.array(names)[:, None] == np.unique(names)[None]).astype(np.float32)
    lost = [i for i, row in enumerate(shop.rows) if holdout.has(row) and row["domain"] == "user"]
    embeddings[lost] = np.random.default_rng(0).normal(size=(len(lost), embeddings.shape[1]))
    embeddings[lost, 0] = 9
    found = official(score, shop.rows, embeddings, holdout)
    assert found["G1/seen products"]["hit@1"] == 1 and found["C1/unseen senders"]["hit@1"] == 1
    assert found["G1/unseen products"]["hit@1"] < 1
    share = (4 + 2 * found["G1/unseen products"]["hit@1"]) / 6
    assert found["G1/all"]["hit@1"] == pytest.approx(share, abs=1e-3)


def test_calibration_photos_are_training_photos(shop):
    config = replace(SMALL, keep_out_products="0/3", keep_out_kinds="Sock").resolved()
    chosen = [shop.rows[i] for i in calibration_rows(shop.rows, config, 20)]
    assert len(chosen) == 20 and {row["split"] for row in chosen} <= {"train", "gallery"}
    assert not any(Holdout.parse(shop.rows, "0/3", "Sock").has(row) for row in chosen)


def test_heads_are_evaluated_only_on_labels_that_they_have(shop):
    numbers = head_numbers(shop.rows, [{"name": "colour", "output": "tint", "labels": ["blue", "red"]}])["tint"]
    expected = {"blue": 0, "red": 1, "green": data.NO_LABEL}
    assert numbers.tolist() == [expected[row["colour"]] for row in shop.rows]


def test_the_comparison_shows_every_run_and_what_differs(shop, trained):
    out = shop.work / "compare"
    assert command("compare", "--work", shop.work).strip() == str(out / "index.html")
    text = (out / "index.html").read_text()
    assert "first" in text and "second" in text and "<th>objective</th>" in text and "contrastive" in text
    assert "<th>seed</th>" not in text and "G1 unseen @1" in text
    picture = np.asarray(Image.open(out / "curves.png").convert("L"))
    assert picture.shape[0] > 500 and (picture < 128).mean() > 0.005

    runs = {"good": [{"epoch": 1, "G1/seen/hit@1": 0.8, "cost/cpu_seconds": 60}]}
    runs["dear"] = [{"epoch": 1, "G1/seen/hit@1": 0.7, "cost/cpu_seconds": 600}]
    table = compare.table(runs)
    assert '<td class="best">80.0</td>' in table and '<td class="best">1.0</td>' in table
    assert "<td>70.0</td>" in table and "<td>10.0</td>" in table
    same = Config().resolved().to_json()
    assert "have the same options" in compare.differences({"a": same, "b": same})
    assert "<th>rate</th>" in compare.differences({"a": same, "b": {**same, "rate": 1.0}})


def test_a_run_without_figures_is_named(shop):
    with pytest.raises(AssertionError, match="no metrics are recorded for nobody"):
        command("compare", "nobody", "--work", shop.work)


def test_the_frontier_has_packs_that_nothing_faster_beats(tmp_path):
    points = [
        frontier.Point(name, {"G1/unseen/hit@1": unseen, "G1/seen/hit@1": 80.0}, milliseconds, size)
        for name, unseen, milliseconds, size in (
            ("slow", 45.0, 2.0, 2_000_000),
            ("fast", 40.0, 1.0, 1_000_000),
            ("worse", 39.0, 1.5, 1_500_000),
            ("same", 40.0, 1.2, 1_000_000),
        )
    ]
    assert [p.name for p in frontier.frontier(points, "G1/unseen/hit@1")] == ["fast", "slow"]
    rows = frontier.table(points).splitlines()
    assert rows[0].count("|") == 7 and rows[2] == "| fast | 1.00 | 1.00 | 40.0 | 80.0 | yes |"
    assert [row.split(" ")[1] for row in rows[2:]] == ["fast", "same", "worse", "slow"]
    assert rows[3].endswith("| no |")


def test_the_frontier_is_measured_with_the_program(shop, trained):
    program = next((path for path in MAGPIE if path.exists()), None)
    if not program:
        pytest.skip("the program is not built: cargo build")
    where = ("--work", shop.work)
    with pytest.raises(AssertionError, match="run `evaluate --run first --val` first"):
        command("frontier", "first", *where)
    command("evaluate", "--data", shop.data, *where, "--run", "first", "--val")
    out = shop.work / "frontier.png"
    measuring = ("--magpie", program, "--rounds", 1, "--runs", 2)
    text = command("frontier", "first", *where, *measuring, "--out", out)
    unseen = json.loads((trained[0]["first"] / places.FIGURES).read_text())["pack val"]["G1/unseen/hit@1"]
    row = text.splitlines()[2].split(" | ")
    assert row[0] == "| first" and float(row[1]) > 0 and row[3] == f"{100 * unseen:.1f}" and row[5] == "yes |"
    picture = np.asarray(Image.open(out).convert("L"))
    assert picture.shape[0] > 400 and (picture < 128).mean() > 0.002


def test_the_page_marks_right_and_wrong(shop, trained):
    folders, pixels = trained
    command("page", "--data", shop.data, "--work", shop.work, "--run", "first", "--each", 3, "--results", 4)
    text = (folders["first"] / "results.html").read_text()
    assert text.count("<h2>") == 4 and text.count('class="query"') == 12
    assert text.count("data:image/jpeg;base64,") == 12 * 5

    config = read_config(folders["first"])
    holdout = Holdout.parse(shop.rows, config.keep_out_products, config.keep_out_kinds)
    sections = page.sections(shop.rows, holdout, 3)
    embedding = Network.of_pack(folders["first"] / "pack")(pixels)[EMBEDDING]
    right = sum(
        shop.rows[row][s.same] == shop.rows[query][s.same]
        for s in sections
        for query, best in zip(s.queries, page.ranked(s, shop.rows, embedding, 4))
        for row, _ in best
    )
    assert text.count('<figure class="right">') == right and text.count('<figure class="wrong">') == 48 - right
    for section in sections:
        assert {shop.rows[q]["split"] for q in section.queries} <= {"train", "val"}


def test_queries_of_the_page_are_of_many_categories(shop):
    candidates = np.array([i for i, row in enumerate(shop.rows) if row["set"] == "grocery" and row["split"] == "val"])
    chosen = page.pick_diverse(np.random.default_rng(0), shop.rows, candidates, 4, "class_id")
    assert len({shop.rows[i]["class_id"] for i in chosen}) == 4


def test_photos_are_not_written_among_tracked_files(shop, tmp_path):
    with pytest.raises(SystemExit, match="photos must not be copied there"):
        places.refuse_tracked(ROOT / "models" / "results.html")
    places.refuse_tracked(ROOT / "models" / ".work" / "runs" / "x" / "results.html")
    places.refuse_tracked(tmp_path / "results.html")
