"""What a campaign makes, and that it does not make it twice."""

import hashlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rgbd_insight import stats
from rgbd_insight.claims.intervention import COLUMNS
from rgbd_insight.claims.ledger import digest, specification
from rgbd_insight.cli import main
from rgbd_insight.data import Scenes
from rgbd_insight.experiments import (
    JobName,
    campaign,
    copies,
    finished,
    intervention,
    overlap_plans,
    ship,
    steps,
    zoo,
    zoo_jobs,
    zoo_plans,
)
from rgbd_insight.experiments.intervention import (
    Cell,
    best_opponent,
    cells,
    derived_jobs,
    fresh_runs,
    intervention_jobs,
    intervention_table,
    run_cell,
    weights_by_rule,
)
from rgbd_insight.experiments.plans import DEEP, ENCODED, TRACED
from rgbd_insight.features import RunId, load, write_quantised
from rgbd_insight.features.tables import read_table
from rgbd_insight.models import FUSIONS
from rgbd_insight.questions.balance import balance
from rgbd_insight.questions.losses import accuracy_estimate
from tests.book._chapters import of_a_gpu
from tests.claims.test_intervention import outcomes

BOOK = Path(__file__).resolve().parents[2] / "book"


def test_small_is_what_the_book_is_built_on():
    scenes, real = zoo_plans("small", "images")
    wanted = [{RunId(f, s) for f in fusions for s in (0, 1)} for fusions in (DEEP, ("rgb", "depth", "se"))]
    assert [set(scenes.runs), set(real.runs)] == wanted and [len(scenes.runs), len(real.runs)] == [10, 6]
    assert scenes.trajectories == scenes.silenced == (RunId("sum", 0),) and scenes.deep is None
    assert scenes.keeps("sum-s0-e8", "rgb/1/rgb") and not scenes.keeps("sum-s0-e8", "rgb/1/both")


def test_full_is_the_whole_zoo():
    scenes, encoded, real, _ = zoo_plans("full", "images")
    count = {f: sum(run.network == f for run in scenes.runs) for f in FUSIONS}
    assert count.pop("rgb") == count.pop("depth") == 8 and set(count.values()) == {3}
    assert {run.network for run in real.runs} == set(FUSIONS) and all(
        sum(run.network == f for run in real.runs) == 2 for f in FUSIONS
    )
    assert len(TRACED) >= 4 and set(scenes.trajectories) == {RunId(f, s) for f in TRACED for s in (0, 1, 2)}
    assert scenes.draws >= 99 and len(scenes.shares) >= 3 and set(scenes.removals) == {"zero", "mean", "noise"}
    assert set(scenes.deep) == {RunId(f, s) for f in DEEP for s in (0, 1)}
    assert set(scenes.main_runs) == set(scenes.deep) and set(zoo_plans("small", None)[0].main_runs) == set(
        zoo_plans("small", None)[0].runs
    )
    assert encoded.beside == "scenes" and {run.network for run in encoded.runs} == {f"se+{name}" for name in ENCODED}
    assert scenes.keeps("sum-s0-e1-checkpoint", "rgb/1/rgb") and not scenes.keeps("se-s0-e1-checkpoint", "rgb/1/rgb")
    assert encoded.intrinsics == Scenes.intrinsics


def test_the_most_wanted_jobs_come_first_and_need_what_is_there():
    jobs = [job for plan in zoo_plans("full", "images") for job in zoo_jobs(plan, "full", Path("w"))]
    jobs += intervention_jobs("full", Path("w")) + derived_jobs("full", Path("w"))
    names = [job.name for job in jobs]
    assert len(set(names)) == len(names) and all(job.needs <= set(names) for job in jobs)
    assert {JobName.parse(str(name)) for name in names} == set(names)
    ordered = [job.name for job in sorted(jobs, key=lambda job: job.urgency)]
    first = [name.step for name in ordered]
    assert first[:3] == ["samples", "samples", "extract"] and first.index("label") < first.index("cell")
    assert (ordered[-1].step, ordered[-1].plan) == ("extract", "nyuv2-encodings")


@pytest.mark.parametrize("mark", ["extract-two", "extract_one-two"])
def test_what_is_shipped_gives_the_same_tables(tmp_path, mark):
    features = load(BOOK / "features" / "scenes")
    home = tmp_path / "extracted" / "scenes" / "two"
    write_quantised(features, home, keep=["rgb", "depth"])
    (home.parent / "finished").mkdir()
    (home.parent / "finished" / "extract-other").touch()
    assert ship(tmp_path, tmp_path / "out") == []
    (home.parent / "finished" / mark).touch()
    (copy,) = ship(tmp_path, tmp_path / "out")
    assert ship(tmp_path, tmp_path / "out") == [] and (copy.parent / "finished" / mark).exists()
    again = load(copy)
    for run in again.runs.index:
        assert again.entry(run)["units"] == features.entry(run)["units"]
        modality = again.runs.fusion[run]
        x, y = (f.view(run, modality, 3) for f in (again, features))
        assert np.abs(x - y).max() <= 1.01 * (y.max(0) - y.min(0)).max() / 255
    assert all(again.has(run, again.runs.fusion[run], 1, again.runs.fusion[run]) for run in again.runs.index)


def test_a_finished_step_is_not_done_again_even_without_weights(tmp_path):
    done, name = [], JobName("extract", "scenes", "sum-s0")
    for _ in range(2):
        steps.once(name, tmp_path, partial(done.append, name))
    assert done == [name] and finished(tmp_path, "scenes") == {name} and not (tmp_path / "weights").exists()

    def fails():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        steps.once(JobName("locate", "scenes", "sum-s0"), tmp_path, fails)
    assert finished(tmp_path, "scenes") == {name}


def test_marks_and_tables_of_earlier_campaigns_are_honoured(tmp_path):
    plan, work = zoo_plans("tiny", None)[0], tmp_path
    marks = work / "extracted" / "scenes" / "finished"
    marks.mkdir(parents=True)
    for job in zoo_jobs(plan, "tiny", work)[1:]:
        former = {new: old for old, new in steps.FORMER.items()}[job.name.step]
        (marks / f"{former}-{job.name.run}").touch()
    before = sorted(path.name for path in marks.iterdir())
    assert "extract_one-se-s1" in before and "where_one-sum-s0" in before
    for job in zoo_jobs(plan, "tiny", work):
        job.do()  # nothing is left to do, nor samples to be made
    assert sorted(path.name for path in marks.iterdir()) == before and len(list(work.rglob("*"))) == len(before) + 3
    home = work / "extracted" / "scenes" / "sum-s0"
    home.with_name("sum-s0.where.parquet").touch()
    assert steps.locations_of(home).name == "sum-s0.locations.parquet" and steps.locations_of(home).exists()


def test_what_is_extracted_says_which_claims_stood_by_then(tmp_path):
    torch.set_num_threads(1)
    plan = replace(zoo_plans("tiny", None)[0], fusions=("rgb",), seeds=(0,), trajectories=())
    plan = replace(plan, data=partial(scenes_of, n=32), recipe=plan.recipe | {"epochs": 1, "batch_size": 16})
    sample, run = zoo_jobs(plan, "tiny", tmp_path)[:2]
    sample.do()
    run.do()
    about = json.loads((tmp_path / "extracted" / "scenes" / "rgb-s0" / "execution.json").read_text())
    assert [one["claims"] for one in about["runs"]] == [digest()] and len(digest()) == 64
    assert (
        main(["extract", "--model", str(tmp_path / "weights/scenes/rgb-s0"), "--n", "4", "--out", str(tmp_path / "f")])
        == 0
    )
    about = json.loads((tmp_path / "f" / "execution.json").read_text())
    assert [one["claims"] for one in about["runs"]] == [digest()]


def scenes_of(split, n):
    return Scenes(n, split=split)


def test_every_cell_of_the_intervention_is_there():
    spec = specification()["6b"]
    made = cells(spec)
    assert len(made) * len(spec["seeds"]) - sum(c.placebo for c in made) * len(spec["seeds"]) == 162
    assert len(set(map(str, made))) == len(made)
    assert {c.common for c in made if c.placebo} == {0.3, 1.0}


def test_the_rule_takes_the_best_cell_at_half_redundancy():
    table = outcomes()
    table.loc[(table.common == 0.3) & (table.private == 1.0) & (table.redundancy == 0.5), "accuracy"] += 1
    table.loc[table.redundancy == 1.0, "accuracy"] += 5
    assert weights_by_rule(table) == (0.3, 1.0)


def test_opponents():
    runs = fresh_runs(specification()["7"])
    assert len(runs) == 40 and min(run.seed for run in runs) >= 300 and RunId("best", 309) in runs


def test_the_best_of_the_zoo_is_the_most_accurate_but_for_those_that_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(intervention, "FUSIONS", {f: FUSIONS[f] for f in ("rgb", "sum", "se", "early")})
    features = load(BOOK / "features" / "scenes")
    seeds = [features.entry(run)["seed"] for run in features.find(fusion="sum", role="final")]
    monkeypatch.setattr(intervention, "ZOO_SEEDS", seeds)
    for run in ("sum", "se", "early"):
        for seed in seeds:
            write_quantised(
                features,
                tmp_path / "extracted" / "scenes" / f"{run}-s{seed}",
                keep=features.find(fusion=run, seed=seed, role="final"),
            )
    mean = {
        f: np.mean([accuracy_estimate(features, r, "both").value for r in features.find(fusion=f, role="final")])
        for f in ("sum", "se")
    }
    assert best_opponent(tmp_path, ["early"]) == max(mean, key=mean.get)
    assert best_opponent(tmp_path, ["sum", "se"]) == "early"


def test_one_run_of_a_cell(tmp_path):
    torch.set_num_threads(1)
    cell = Cell("late", 1.0, 0.3, 0.5, placebo=True)
    out = run_cell("tiny", tmp_path, cell, 200)
    found = load(out)
    assert found.entry("late-s200-e1")["about"]["cell"]["placebo"] is True and found.manifest["fingerprint"]
    assert set(found.conditions("late")) == {"both", "rgb", "depth"}
    (tmp_path / "weights").rename(tmp_path / "gone")
    assert run_cell("tiny", tmp_path, cell, 200) == out and not (tmp_path / "weights").exists()


def test_the_table_of_a_small_intervention(tmp_path):
    torch.set_num_threads(1)
    spec = {"operators": ["late"], "common": [0.0, 1.0], "private": [0.0], "redundancies": [0.5], "seeds": [200, 201]}
    table = intervention_table("tiny", tmp_path, spec)
    assert set(COLUMNS) <= set(table) and np.isfinite(table[["accuracy", "C", "S"]].to_numpy(float)).all()
    count = table.groupby(["common", "placebo"]).size()
    assert count.to_dict() == {(0.0, False): 2, (0.0, True): 2, (1.0, False): 2, (1.0, True): 2}
    zero = table[table.common == 0].drop(columns="placebo")
    assert zero.duplicated().sum() == 2  # with nothing to align, a placebo is the run itself


def test_a_command_takes_only_the_options_that_it_has_a_use_for(capsys):
    for words in (["intervention", "derived"], ["balance", "--profile", "full"], ["ship"], ["runs", "--workers", "0"]):
        assert main(["campaign", *words]) == 2
    assert main(["campaign", "runs", "--scheduler", "tcp://somewhere:1"]) == 1
    assert "for the backend dask" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["scenes", "nyuv2"])
def test_the_zoo_has_every_operator(data):
    table = read_table(BOOK / "results", f"zoo_{data}")
    joint = {f for f, operator in FUSIONS.items() if len(operator.modalities) == 2}
    for measure in ("accuracy", "cka", "consistent share", "decodability", "retention", "C", "S"):
        assert joint <= set(table.fusion[table.measure == measure]), measure
    rows = table[table.measure.isin(["cka", "consistent share", "C", "S"])]
    assert ((rows.low <= rows.value) & (rows.value <= rows.high)).all()
    dose = table[table.measure == "dose"]
    assert set(dose.fusion) == {f for f in joint if len(FUSIONS[f].encoders) == 2} and dose.p.between(0.01, 1).all()


@pytest.mark.parametrize("data", ["scenes", "nyuv2"])
def test_tables_of_the_zoo_are_those_of_the_deep_runs(data, monkeypatch):
    """Rows for runs whose responses are committed, computed again from these."""
    monkeypatch.setattr(zoo, "PERMUTATIONS", 20)
    monkeypatch.setattr(zoo, "ASKED", {"consistency": ("cka",), "collaboration": ("accuracy",)})
    features = load(BOOK / "features" / data)
    if not of_a_gpu(data):
        pytest.skip("the features were made anew, and the zoo's table is of the runs of a GPU")
    again = pd.concat([zoo.asked(features, "sum", question) for question in ("consistency", "collaboration")])
    keys = ["run", "measure", "level", "modality", "condition", "fusion"]
    stored = read_table(BOOK / "results", f"zoo_{data}").merge(again, on=keys, suffixes=("", "_again"))
    exact = stored.measure == "accuracy"
    assert exact.any() and not exact.all()
    np.testing.assert_allclose(stored.value[exact], stored.value_again[exact], atol=1e-9)
    # of other units, and two seeds of the three
    np.testing.assert_allclose(stored.value[~exact], stored.value_again[~exact], atol=0.1)


@pytest.mark.parametrize("data", ["scenes", "nyuv2"])
def test_points_in_the_plane_are_of_the_committed_features(data):
    sums = hashlib.sha256((BOOK / "features" / data / "SHA256SUMS").read_bytes()).hexdigest()
    table = read_table(BOOK / "results", f"balance_{data}")
    assert set(table.features) == {sums}, "rgbd-insight campaign balance"
    found = balance(load(BOOK / "features" / data), [table[table.fusion == "se"].run.iloc[0]]).table
    again = table.merge(found, on=["run", "measure"], suffixes=("", "_again"))
    assert len(again) == 2
    np.testing.assert_allclose(again.value, again.value_again, atol=1e-6)


def test_copies_leave_no_twins_of_an_earlier_campaign(tmp_path, monkeypatch):
    monkeypatch.setattr(campaign, "load", lambda *folders: None)
    monkeypatch.setattr(campaign, "write_quantised", lambda _, small, **__: small.mkdir(parents=True, exist_ok=True))
    left = []
    for profile in ("full", "small"):
        copies(zoo_plans(profile, None), tmp_path / "work", tmp_path)
        left.append(sorted(path.name for path in (tmp_path / "features").iterdir()))
    assert left == [["scenes", "scenes-twins"], ["scenes"]]


def test_overlaps_of_every_operator_are_compared_with_one_on_the_same_images(tmp_path):
    features = load(BOOK / "features" / "scenes")
    seeds = tuple(sorted(features.runs[features.runs.fusion == "sum"].seed.unique().tolist()))
    plan = replace(overlap_plans("small", None)[0], fusions=("rgb", "sum", "se", "early"), seeds=seeds)
    for run in plan.runs:
        home = tmp_path / "extracted" / plan.name / str(run)
        home.parent.mkdir(parents=True, exist_ok=True)
        write_quantised(features, home, keep=features.find(fusion=run.network, seed=run.seed, role="final"))
    table = zoo.overlap_table(plan, tmp_path)
    gaps = table[table.versus.notna()].set_index("fusion")
    assert set(gaps.index) == {"sum", "early"} and set(gaps.versus) == {"se"}
    runs = {name: features.find(fusion=name, role="final") for name in ("sum", "se")}

    def mean_iou(run, rows):
        counts = features.predictions(run, "both")
        hit, target, guess = (counts[part][rows].sum(0) for part in ("hit", "target", "guess"))
        return np.mean([h / (t + g - h) for h, t, g in zip(hit, target, guess, strict=True) if t])

    def gap(rows):
        return np.subtract(*(np.mean([mean_iou(run, rows) for run in runs[name]]) for name in ("sum", "se")))

    groups = features.groups
    found = stats.estimate(lambda rows, _: gap(rows), groups, null=False).simultaneous(2)
    row = gaps.loc["sum"]
    np.testing.assert_allclose([row.value, row.low, row.high], [found.value, found.low, found.high], atol=1e-9)
    each = table[(table.measure == "class IoU") & (table.run == runs["se"][0]) & (table.condition == "both")]
    whole = table[(table.measure == "IoU") & (table.run == runs["se"][0]) & (table.condition == "both")]
    assert each.value.mean() == pytest.approx(whole.value.item()) and set(each.concept) <= set(features.classes)
    assert set(table[table.fusion == "rgb"].condition) == {"rgb"}  # a twin has one input
