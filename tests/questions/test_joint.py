"""The question of both axes beside naive references; its intervals, its ends, and what it does without one axis."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from rgbd_insight import joint, load, stats
from rgbd_insight.features import read_table, write_quantised
from rgbd_insight.metrics import debiased_cka, joint_score
from rgbd_insight.metrics.probes import decodability
from rgbd_insight.questions.joint import MEASURES, MOVED, PLANE, SCORE, SIMILARITY, UNITS, VARIANCE, axes_of
from rgbd_insight.questions.networks import networks
from tests.metrics.test_joint import naive

BOOK = Path(__file__).resolve().parents[2] / "book"
LEVEL = 3


@pytest.fixture(scope="module")
def scenes():
    return load(BOOK / "features" / "scenes")


@pytest.fixture(scope="module")
def found(scenes):
    return joint(scenes, "twins", levels=[LEVEL])


def responses(features, modality, seed):
    run = features.find(fusion=modality, seed=seed, role="final")[0]
    return features.responses(run, modality, LEVEL, modality).astype(float)


def test_the_similarity_is_that_of_other_seeds_between_its_ends(scenes, found):
    nets = {(m, s): responses(scenes, m, s) for m in ("rgb", "depth") for s in (0, 1)}
    across = np.mean([debiased_cka(nets["rgb", i], nets["depth", 1 - i]) for i in (0, 1)])
    ceiling = np.mean([debiased_cka(nets[m, 0], nets[m, 1]) for m in ("rgb", "depth")])
    raw = found.one(f"{SIMILARITY} raw")
    np.testing.assert_allclose([raw.value, raw.ceiling], [across, ceiling], atol=1e-9)
    np.testing.assert_allclose(found.one(SIMILARITY).value, (across - raw.null) / (ceiling - raw.null), atol=1e-9)


def test_the_variance_is_that_of_what_is_decoded(scenes, found):
    options = {"components": 32, "folds": 5}
    folds = [
        np.stack(
            [decodability(responses(scenes, m, s), scenes.present, scenes.groups, **options).by_fold for s in (0, 1)]
        )
        for m in ("rgb", "depth")
    ]
    known = np.isfinite(folds).all((0, 1, 2))
    between, floor, apart = naive(*(side[..., known] for side in folds))
    raw = found.one(f"{VARIANCE} raw")
    np.testing.assert_allclose([raw.value, raw.ceiling, raw.null], [between, floor, apart], atol=1e-9)
    np.testing.assert_allclose(found.one(VARIANCE).value, (between - floor) / (apart - floor), atol=1e-9)


def test_the_score_joins_both_and_its_interval_knows_that_they_go_together(scenes, found):
    s, v, score = (found.one(name) for name in (SIMILARITY, VARIANCE, SCORE))
    assert np.isclose(score.value, joint_score(s.value, v.value))
    nets = networks(scenes, "twins")
    parts = axes_of(nets, LEVEL, nets.plan()).scaled
    lone = joint_score(parts[SIMILARITY].leave_outs, parts[VARIANCE].leave_outs)
    np.testing.assert_allclose(parts[SCORE].leave_outs, lone)
    assert score.low < score.value < score.high and {s.ceiling_kind, v.ceiling_kind} == {"other seed"}


def test_what_joint_training_moves_is_the_difference_with_its_own_interval(scenes):
    sum_, twins = (joint(scenes, run, levels=[LEVEL]) for run in ("sum", "twins"))
    for name in (SIMILARITY, VARIANCE, SCORE):
        row = sum_.one(MOVED, label=name)
        assert np.isclose(row.value, sum_.one(name).value - twins.one(name).value)
        apart = sum((one.one(name).high - one.one(name).low) ** 2 for one in (sum_, twins)) ** 0.5
        assert 0 < row.high - row.low < 1.2 * apart  # the same images: not wider than two independent ones
    assert MOVED not in set(twins.table["measure"])


def test_levels_beside_levels_hold_the_level_beside_itself_and_are_symmetric(scenes, found):
    pairs = joint(scenes, "twins", levels=[2, LEVEL], measures=[f"{SIMILARITY} of levels", f"{VARIANCE} of levels"])
    for name in (SIMILARITY, VARIANCE):
        rows = pairs.rows(f"{name} of levels")
        wide = rows.assign(place=rows["modality"] + " " + rows["level"].astype(int).astype(str))
        wide = wide.pivot_table(index="place", columns="versus", values=["value", "low", "high"])
        np.testing.assert_allclose(wide["value"], wide["value"].T)
        here, raw = (f"rgb {LEVEL}", f"depth {LEVEL}"), found.one(f"{name} raw")
        np.testing.assert_allclose(wide["value"].loc[here], raw.value, atol=1e-9)
        assert (wide["low"] < wide["value"]).all().all() and (wide["value"] < wide["high"]).all().all()
        own = np.mean([wide["value"].loc[f"{m} {LEVEL}", f"{m} {LEVEL}"] for m in ("rgb", "depth")])
        np.testing.assert_allclose(own, raw.ceiling, atol=1e-9)  # two seeds of one modality


def test_quadrants_are_shares_with_intervals_inside_their_range(scenes):
    rows = joint(scenes, "sum", levels=[4], measures=[UNITS]).rows(UNITS)
    for _, part in rows.groupby("modality"):
        assert np.isclose(part["value"].sum(), 1)
        assert ((0 <= part["low"]) & (part["low"] <= part["value"]) & (part["value"] <= part["high"])).all()
        assert (part["high"] - part["low"] > 0.02).all() and (part["high"] <= 1).all()


def test_one_checkpoint_is_halved_and_says_so(tmp_path):
    write_quantised(load(BOOK / "features" / "scenes"), tmp_path / "one", keep=lambda run, key: run == "sum-s0-e8")
    found = joint(load(tmp_path / "one"), "sum", levels=[4])
    assert set(found.table["ceiling_kind"].dropna()) == {"split half"} and found.missing


def test_the_axis_without_a_scale_is_missing_and_the_score_stands_on_the_other(scenes, monkeypatch):
    nets = networks(scenes, "early")
    plan = nets.plan(21)
    monkeypatch.setattr(
        import_module("rgbd_insight.questions.joint"),  # the package's attribute of that name is the function
        "_similarity",
        lambda *_: (stats.normalised(flat := flat_estimate(nets, plan), 0.0, flat), {"value": 0.0}),
    )
    found = joint(scenes, "early", levels=[2], permutations=21)
    assert SIMILARITY not in set(found.table["measure"])
    score = found.one(SCORE)
    assert score.label == f"{VARIANCE} alone" and np.isclose(score.value, found.one(VARIANCE).value)
    assert any(SIMILARITY in m.what and "nothing to normalise by" in m.why for m in found.missing)


def flat_estimate(nets, plan):
    noise = np.random.default_rng(0).normal(size=len(nets.groups))
    return stats.estimate(lambda rows, _: float(noise[rows].mean()), nets.groups, plan, null=False)


def test_the_committed_table_is_of_this_code(scenes):
    table = read_table(BOOK / "results", "plane")
    assert set(table["measure"]) == set(MEASURES)
    for run in ("twins", "early"):
        now = joint(scenes, run, levels=[1]).table
        then = table[(table["data"] == "scenes") & (table["role"] == "final") & (table["fusion"] == run)]
        then = then[(then["level"] == 1) & then["measure"].isin(PLANE)]
        assert then["measure"].tolist() == now["measure"].tolist()
        for column in ("value", "low", "high"):
            np.testing.assert_allclose(then[column], now[column], atol=1e-6)


def test_a_view_that_is_mostly_other_scenes_has_no_place_in_the_plane(scenes):
    start = scenes.find(fusion="sum", role="untrained")[0]  # its colour stream at level 2 is not its own image's
    asked = joint(scenes, start, levels=[1, 2], measures=[VARIANCE])
    assert np.isfinite(asked.one(VARIANCE, level=1).value)
    assert np.isnan(asked.one(VARIANCE, level=2).value)
    assert any(start in m.what and "other scenes'" in m.why for m in asked.missing)
