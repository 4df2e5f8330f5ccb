"""The validation: worlds kept apart, work that goes on, scores against independent formulas, the committed tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, ttest_1samp, ttest_rel
from sklearn.metrics import roc_auc_score

from rgbd_insight.cli import main
from rgbd_insight.data import Knobs, World
from rgbd_insight.features.tables import read_table
from rgbd_insight.metrics.cka import cka_statistic
from rgbd_insight.validation import errors, inputs, scores, work
from rgbd_insight.validation.plan import best_iou, held_out_knobs, outside, read_plan, tasks
from rgbd_insight.validation.ranking import auroc
from rgbd_insight.validation.truth import MARGIN, THIN, absence, carried_on
from rgbd_insight.validation.validate import COLUMNS, bars
from tests.book._chapters import of_a_gpu

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"
PLAN = read_plan()


def test_tuning_and_held_out_worlds_are_apart():
    tuned, held = PLAN["seeds"]["tuning"], PLAN["seeds"]["held_out"]
    assert tuned[1] < held[0]
    for task in tasks(PLAN):
        assert held[0] <= task[1]["seed"] <= held[1]
    for seed in range(held[0], held[0] + 40):
        knobs = held_out_knobs(PLAN, seed)
        assert outside(PLAN, knobs) and knobs == held_out_knobs(PLAN, seed)
    with pytest.raises(ValueError, match="`seed` must be from"):
        held_out_knobs(PLAN, tuned[1])


def test_outside_names_the_knobs():
    assert outside(PLAN, Knobs(n=400, width=32, other_width=32, noise=0.9, polysemy=3)) == ["noise", "polysemy"]


def test_the_plan_is_as_large_as_what_is_asked():
    count = pd.Series([battery for battery, _ in tasks(PLAN)]).value_counts()
    assert count["ranking"] >= 24 and count["null"] >= 400 and count["calibration"] >= 24
    assert PLAN["coverage"]["repetitions"] >= 400 and PLAN["coverage"]["draws"] >= 2000
    keys = [work._key(task) for task in tasks(PLAN)]
    assert len(keys) == len(set(keys))
    quick = [battery for battery, _ in tasks(read_plan(quick=True))]
    assert set(quick) == set(count.index) and len(quick) < 30


def test_quick_run_writes_its_tables_within_a_minute(tmp_path, capsys):
    assert main(["validate", "--quick", "--out", str(tmp_path)]) == 0
    assert "their numbers mean nothing" in capsys.readouterr().out
    table = read_table(tmp_path, "validation")
    assert tuple(table.columns) == COLUMNS
    assert set(table["battery"]) == set(work.BATTERIES)
    found = bars(table)
    assert {"score", "about", "value", "bar", "met"} <= set(found.columns) and found["met"].notna().any()
    assert len(read_table(tmp_path, "validation_differences")) > 20
    assert not list(tmp_path.glob("*.partial"))


def test_a_killed_run_goes_on_and_a_changed_plan_begins_anew(tmp_path, monkeypatch):
    file, made = tmp_path / "validation.partial", []
    pieces = [("first", {"seed": 1}), ("second", {"seed": 2})]

    def one(task, plan):
        if made == ["first"]:
            made.append("killed")
            raise KeyboardInterrupt
        made.append(task[0])
        return [{"battery": task[0]}]

    monkeypatch.setattr(work, "tasks", lambda plan: iter(pieces))
    monkeypatch.setattr(work, "one", one)
    with pytest.raises(KeyboardInterrupt):
        work.run({"a": 1}, file, workers=1, progress=False)
    with file.open("a") as cut:
        cut.write('{"task": "cut o')  # as a run leaves it that is killed while it writes
    wanted = [{"battery": "first"}, {"battery": "second"}]
    assert work.run({"a": 1}, file, workers=1, progress=False) == wanted
    assert work.run({"a": 1}, file, workers=1, progress=False) == wanted
    assert made == ["first", "killed", "second"]
    work.run({"a": 2}, file, workers=1, progress=False)
    assert made[3:] == ["first", "second"]


def test_rates_have_exact_bounds():
    hits = {"a": 3, "b": 0, "c": 40}
    rows = [
        {"battery": "null", "measure": m, "condition": "groups", "value": float(i < h)}
        for m, h in hits.items()
        for i in range(40)
    ]
    found = scores.false_positives(pd.DataFrame(rows)).set_index("measure")
    for m, h in hits.items():
        bound = binomtest(h, 40, alternative="greater").proportion_ci(1 - 0.01 / 3, "exact")
        assert found.loc[m, "rate"] == h / 40 and found.loc[m, "low"] == pytest.approx(bound.low)
    assert found.loc["c", "high"] == 1 and found.loc["b", "high"] < 0.2


def test_null_means_and_calibration_are_what_numpy_gives():
    rng = np.random.default_rng(0)
    values = rng.normal(0.1, 1, 50)
    table = pd.DataFrame({"battery": "bias", "measure": "m", "ours": True, "n": 64, "width": 32, "value": values})
    assert scores.null_means(table)["z"].item() == pytest.approx(values.mean() / values.std(ddof=1) * 50**0.5)
    truth = rng.random(30)
    table = pd.DataFrame({"battery": "calibration", "measure": "m", "truth": truth, "value": 0.1 + 0.5 * truth})
    found = scores.calibrated(table).iloc[0]
    assert found["slope"] == pytest.approx(0.5) and found["intercept"] == pytest.approx(0.1)
    assert found["rmse"] == pytest.approx(np.sqrt(((0.1 - 0.5 * truth) ** 2).mean()))


def test_intervals_are_counted_against_the_mean_of_all_fresh_draws():
    base = {"battery": "coverage", "measure": "m", "n": 200, "width": 32}
    rows = [base | {"condition": "expectation", "value": v, "count": c} for v, c in ((0.0, 100), (1.0, 300))]
    limits = [(0.7, 0.8), (0.76, 0.9), (0.1, 0.75), (0.2, 0.3)]
    rows += [
        base | {"condition": "interval", "value": 0.5, "low": a, "high": b, "repetition": i}
        for i, (a, b) in enumerate(limits)
    ]
    found = scores.containment(pd.DataFrame(rows)).iloc[0]
    assert found["expectation"] == 0.75 and found["coverage"] == 0.5 and found["repetitions"] == 4


def test_intervals_of_several_concepts_are_counted_each_against_its_own_mean():
    base = {"battery": "coverage", "measure": "m", "n": 200, "width": 32}
    rows = [
        base | {"condition": "expectation", "part": f"{kind} {k}", "value": float(k), "count": 10}
        for k, kind in enumerate(("both", "rgb", "both"))
    ]
    rows += [
        base
        | {
            "condition": "interval",
            "part": f"{kind} {k}",
            "repetition": draw,
            "value": k,
            "low": k - reach,
            "high": k + 0.1,
        }
        for draw, reach in enumerate((0.1, -0.05))
        for k, kind in enumerate(("both", "rgb", "both"))
    ]
    found = scores.containment(pd.DataFrame(rows)).iloc[0]
    assert found["coverage"] == 0.5 and found["repetitions"] == 2  # draws, not concepts
    kinds = scores.containment(pd.DataFrame(rows), kinds=True)
    assert kinds["part"].tolist() == ["both", "rgb"] and (kinds["coverage"] == 0.5).all()


def test_differences_are_paired_and_say_who_is_better():
    rng = np.random.default_rng(0)
    ours = rng.random(20)
    close, worse = ours + 0.01 * rng.normal(size=20), ours - 0.2 + 0.01 * rng.normal(size=20)
    base = {
        "battery": "ranking",
        "condition": "held-out",
        "coverage": 0.5,
        "nuisance": 0.2,
        "outlier": 0.0,
        "part": "concept",
    }
    rows = [
        base | {"world": w, "measure": m, "value": v[w], "ours": m == "rank_units"}
        for w in range(20)
        for m, v in (("rank_units", ours), ("close", close), ("worse", worse))
    ]
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    found = scores.differences(table).query("where == 'all'").set_index("alternative")
    expected = ttest_rel(ours, worse).confidence_interval()
    assert found.loc["worse", ["low", "high"]].tolist() == pytest.approx([expected.low, expected.high])
    assert found.loc["worse", "verdict"] == "ours is better" and found.loc["close", "verdict"] == "not certain"
    assert found["best"].to_dict() == {"close": True, "worse": False}
    flipped = table.assign(value=-table["value"])
    verdicts = scores.differences(flipped).query("where == 'all'").set_index("alternative")["verdict"]
    assert verdicts["worse"] == "the alternative is better"


def test_thin_concepts_tell_what_is_said_and_are_counted_by_their_label():
    rng = np.random.default_rng(0)
    area, noise = rng.normal(size=(2, 400_000))
    delta = 2 * roc_auc_score(area > 0, THIN * area + np.sqrt(1 - THIN**2) * noise) - 1
    assert delta == pytest.approx(MARGIN, abs=0.006)
    rows = pd.DataFrame(absence(read_plan(quick=True), 5, 800, 5)).assign(battery="absence")
    assert rows["part"].isin(["rgb", "undecided", "both"]).all() and (rows["truth"] == MARGIN).all()
    table = rows.assign(part=["rgb"] * 3 + ["both", "undecided"] * 4 + ["neither"] + ["depth"] * 12)
    found = scores.called_absent(table).set_index("condition")
    assert found["rate"].to_dict() == {"dimmed": 4 / 12, "thin": 0.0} and found.loc["thin", "high"] > 0.2
    assert found.loc["dimmed", "low"] == pytest.approx(binomtest(4, 12).proportion_ci(0.95, "exact").low)


def test_the_error_of_a_share_has_the_interval_of_its_mean_over_worlds():
    rng = np.random.default_rng(0)
    values = {"a -> a": 1 + rng.normal(-0.2, 0.1, 12), "a -> b": rng.normal(0.05, 0.1, 12)}
    base = {"battery": "partitioning", "condition": "1", "noise": 0.3, "noise_ratio": 1.0, "n": 600}
    rows = [
        base | {"part": part, "world": w, "value": v[w], "truth": float(part == "a -> a")}
        for part, v in values.items()
        for w in range(12)
    ]
    found, wanted = scores.shares(pd.DataFrame(rows)).iloc[0], ttest_1samp(1 - values["a -> a"], 0)
    interval = wanted.confidence_interval()
    assert found["error"] == pytest.approx((1 - values["a -> a"]).mean())
    assert [found["low"], found["high"]] == pytest.approx([interval.low, interval.high])


def test_auroc_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    score, truth = rng.normal(size=60).round(1), rng.random(60)
    truth[:5] = 0.5
    assert auroc(score, truth, 0.5) == pytest.approx(roc_auc_score(truth[5:] > 0.5, score[5:]))
    assert np.isnan(auroc(score, np.ones(60), 0.5))
    assert np.isnan(auroc(score[:0], truth[:0], 0.5))


def test_extrapolation_is_exact_where_the_error_falls_with_the_number_of_networks():
    value = {m: 0.7 - 0.3 / m for m in (2, 4)}
    assert carried_on(value[2], value[4], [2, 4]) == pytest.approx(0.7)


def test_iou_of_a_unit_that_is_the_concept():
    present = np.arange(100)[:, None] < 10
    x = np.hstack([present, ~present]).astype(float) + np.arange(100)[:, None] * 1e-3
    assert best_iou(x, present)[:, 0].tolist() == [1.0, 0.0]


def test_no_answer_is_silent():
    found = pd.DataFrame(inputs.inputs(PLAN, 0))
    assert not (found["part"] == "silent").any()
    kinds = found.pivot(index="measure", columns="condition", values="part")
    assert (kinds["a value that is not finite"] == "error").all() and (kinds["three images"] == "error").all()
    assert (kinds["identical streams"] == "value").all()
    assert kinds.loc[["profiles", "decodability"], "a concept that never occurs"].eq("reason").all()
    same = found[found["condition"] == "identical streams"].set_index("measure")["value"]
    assert same["debiased_cka"] == pytest.approx(1) and same["procrustes_distance"] == pytest.approx(0, abs=1e-6)


def test_a_silent_answer_would_be_noticed():
    case = inputs.cases()["identical streams"]
    assert inputs.answer(lambda *_: (np.nan, ""), case)[0] == "silent"
    assert inputs.answer(lambda *_: ([1.0, np.nan], "why"), case) == ("reason", 1.0, "why")


def test_image_permutation_finds_what_is_not_there():
    knobs = Knobs(n=150, width=16, other_width=16, likeness=0.8, related=False, concepts=12, networks=1)
    world = World(knobs, 3)
    statistic = cka_statistic(world.stream("rgb"), world.stream("depth"))
    by_images = errors._permutation(statistic, np.arange(150), 99, 0)
    by_groups = errors._permutation(statistic, world.groups, 99, 0)
    assert by_images == 0.01 and by_groups > by_images


def test_committed_differences_are_those_of_the_committed_rows():
    table, committed = read_table(RESULTS, "validation"), read_table(RESULTS, "validation_differences")
    pd.testing.assert_frame_equal(scores.differences(table), committed, check_dtype=False)


def test_bars_say_what_was_asked_of_the_committed_rows_and_of_the_scenes():
    table = read_table(RESULTS, "validation")
    found = bars(table, RESULTS)
    assert {"concept labels, spearman", "ranking, paired difference", "degenerate input"} <= set(found["score"])
    assert found["value"].notna().all()
    absent = found[found["score"] == "a true δ of .1 called absent"]
    scenes = absent["about"].str.startswith("scenes")
    asked = absent if of_a_gpu("scenes") else absent[~scenes]  # a reader's own networks may be worse
    assert scenes.sum() == 2 and asked["met"].dropna().all()
    shown = found["bar"].str.startswith(("shown", "reported"))
    assert (found["met"].isna() == shown).all()
