"""Depth given in several ways: the plan, the table, what is said of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rgbd_insight.cli import main
from rgbd_insight.experiments import encoding_plans, encodings, zoo_plans
from rgbd_insight.experiments.plans import GIVEN, given
from rgbd_insight.experiments.steps import called
from rgbd_insight.features import RunId, load, write_quantised
from rgbd_insight.features.tables import read_table
from rgbd_insight.models import build
from rgbd_insight.questions.consistency import consistency
from rgbd_insight.questions.losses import iou_estimate
from rgbd_insight.validation.scenes import encoding_changes

BOOK = Path(__file__).resolve().parents[2] / "book"


def test_the_plan_has_every_encoding_of_the_depth_twin_and_of_a_fusion():
    scenes, real = encoding_plans("small", "images")
    twins = ("rgb", *given("depth"))
    assert given("depth") == ("depth", *(f"depth+{name}" for name in GIVEN))
    assert set(scenes.runs) == {RunId(f, s) for f in (*twins, *given("se")) for s in (0, 1)} and len(scenes.runs) == 18
    assert real.runs == scenes.runs
    assert (scenes.name, real.name) == ("scenes-given", "nyuv2-given")
    assert not scenes.trajectories and not scenes.silenced and scenes.recipe["epochs"] < 8 > real.recipe["epochs"]
    full = [plan for plan in zoo_plans("full", "images") if plan.beside is None]
    assert [plan.recipe for plan in encoding_plans("full", "images")] == [plan.recipe for plan in full]
    for name in GIVEN:
        for fusion in ("depth", "se"):
            build(fusion, classes=3, seed=0, encoding=name, intrinsics=scenes.intrinsics, **scenes.model)


def test_a_twin_stays_a_twin_whatever_depth_is_given_as():
    assert called(RunId("depth+hha", 0)) == {"fusion": "depth", "encoding": "hha"}
    assert called(RunId("se+hha", 0)) == {"fusion": "se+hha", "encoding": "hha"}
    assert called(RunId("depth", 0)) == {"fusion": "depth"}


def test_an_encoding_that_is_metric_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "GIVEN", ("inverse",))
    features = load(BOOK / "features" / "scenes")
    seeds = tuple(features.entry(run)["seed"] for run in features.find(fusion="rgb", role="final")[:2])
    plan = replace(encoding_plans("small", None)[0], seeds=seeds)
    for run in plan.runs:
        home = tmp_path / "extracted" / plan.name / str(run)
        home.parent.mkdir(parents=True, exist_ok=True)
        write_quantised(features, home, keep=features.find(fusion=run.fusion, seed=run.seed, role="final"))
    monkeypatch.setattr(encodings.Networks, "levels", (4,))
    table = encodings.encoding_table(plan, tmp_path)
    differences = table[table.versus == "metric"]
    assert len(differences) and (differences.value == 0).all() and set(differences.encoding) == {"inverse"}
    asked = consistency(features, "twins", levels=[4], measures=["consistent share uncorrected"]).one(
        "consistent share uncorrected", modality="depth", label="all"
    )
    own = table[(table.measure == "consistent share") & table.versus.isna() & (table.encoding == "metric")]
    first = own.set_index("seed").value[str(seeds[0])]
    assert first == pytest.approx(asked.value, abs=0.02)  # of other quantised units
    assert set(table.seed) == {*map(str, seeds), "mean"} and table.epochs.nunique() == table.device.nunique() == 1
    fused = table[table.measure.str.startswith("fused") & table.versus.isna()]
    assert set(fused.measure) == {"fused accuracy", "fused IoU"} and set(fused.modality) == {"both", "rgb", "depth"}
    both = fused[(fused.measure == "fused IoU") & (fused.modality == "both") & (fused.encoding == "metric")]
    run = features.find(fusion="se", seed=seeds[1], role="final")[0]
    assert both.set_index("seed").value[str(seeds[1])] == iou_estimate(features, run, "both").value[0]
    assert both.set_index("seed").value["mean"] == pytest.approx(both[both.seed != "mean"].value.mean())
    colour = table[(table.measure == "decoded") & (table.modality == "rgb")]
    assert set(colour.encoding) == {"metric"} and "planted: rgb" in set(colour.family)


def rows(encoding, values, reach, **more):
    cells = {"encoding": encoding, "measure": "consistent share", "modality": "depth", "level": 4, "family": None}
    named = zip(("0", "1", "mean"), (*values, np.mean(values)), strict=True)
    return [cells | {"seed": s, "value": v, "low": v - reach, "high": v + reach} | more for s, v in named]


@pytest.mark.parametrize(
    ("values", "reach", "verdict"),
    [
        ((0.2, 0.3), 0.1, "more"),
        ((-0.2, -0.3), 0.1, "less"),
        ((0.2, 0.3), 0.4, "no clear change"),
        ((0.5, -0.1), 0.1, "no clear change"),
        ((0.5, 0.0), 0.1, "no clear change"),
    ],
)
def test_a_change_is_clear_where_its_interval_and_both_networks_say_so(values, reach, verdict):
    table = pd.DataFrame(rows("hha", values, reach, versus="metric") + rows("hha", (0.9, 0.9), 0.1, versus=None))
    found = encoding_changes(table, "consistent share", 4)
    assert found.verdict.to_dict() == {"hha": verdict} and found.value["hha"] == pytest.approx(np.mean(values))
    with pytest.raises(ValueError, match="level 3; got none"):
        encoding_changes(table, "consistent share", 3)


@pytest.mark.parametrize(
    ("what", "folder", "jobs"), [("encodings", "given", (19, 19)), ("overlaps", "overlaps", (34, 33))]
)
def test_one_command_makes_the_tables(tmp_path, monkeypatch, what, folder, jobs):
    asked, (of, _) = [], encodings.COMPARED[what]
    monkeypatch.setattr(
        encodings, "do_all", lambda jobs, pool: asked.append(([job.name for job in jobs], pool.workers))
    )
    monkeypatch.setitem(encodings.COMPARED, what, (of, lambda plan, work: pd.DataFrame({"plan": [plan.name]})))
    (tmp_path / "splits.json").write_text("{}")
    home = str(tmp_path)
    assert main(["campaign", what, "--profile", "tiny", "--book", home, "--nyuv2", home, "--workers", "1"]) == 0
    assert [str(names[0]) for names, _ in asked] == [f"scenes-{folder}/samples", f"nyuv2-{folder}/samples"]
    assert [(len(names), workers) for names, workers in asked] == [(count, 1) for count in jobs]
    assert read_table(tmp_path / "results", f"{what}_nyuv2").scale.tolist() == ["tiny"]
    assert (
        f"rgbd-insight campaign {what} --profile tiny --nyuv2 PATH" in (tmp_path / "results" / "index.json").read_text()
    )


@pytest.mark.parametrize("data", ["scenes", "nyuv2"])
def test_the_committed_tables_say_how_they_were_made(data):
    table = read_table(BOOK / "results", f"encodings_{data}")
    assert set(table.encoding) == {"metric", *GIVEN} and set(table.device) == {"cpu"} and set(table.scale) == {"small"}
    assert set(table.epochs) == {encoding_plans("small", None)[0].recipe["epochs"] if data == "scenes" else 4}
    assert ((table.low <= table.value) & (table.value <= table.high)).all()
