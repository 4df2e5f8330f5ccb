"""What positions certify: the plans, a small campaign from start to finish, and what the committed tables say."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rgbd_insight.experiments import position_plans, position_tables, positions
from rgbd_insight.experiments.positions import (
    BARS,
    EMPTY,
    HELD_OUT,
    IMAGES,
    PLACES,
    PLAIN,
    SCENES,
    clear_differences,
    hidden_bound,
    label_shares,
    planted_table,
)
from rgbd_insight.features.tables import read_entry, read_table, table_names
from rgbd_insight.questions.positions import CERTIFIED
from rgbd_insight.questions.specificity import MARGIN

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"
PLANTED, REAL = (f"positions_{data}" for data in ("scenes", "nyuv2"))


def test_what_is_asked_is_of_scenes_that_nobody_tuned_on():
    scenes, real = position_plans("small", "images")
    assert len(scenes.data("test")) == SCENES == 4000
    assert scenes.data("test").fingerprint()["seed"] == HELD_OUT >= 30000
    assert scenes.data("train").fingerprint()["seed"] == 0
    assert [len(scenes.runs), len(real.runs)] == [4, 2]
    assert real.recipe["epochs"] == positions.PASSES
    assert BARS == {"wrong": 0.05, "undecided": 0.25}


def test_a_small_campaign_is_kept_and_not_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(positions, "planted_table", partial(planted_table, levels=(4,)))
    plans = position_plans("tiny", None, scenes=260)
    position_tables(plans, "tiny", tmp_path / "work", tmp_path / "book")
    table = read_table(tmp_path / "book" / "results", PLANTED)
    assert read_entry(tmp_path / "book" / "results", PLANTED)["command"] == "rgbd-insight campaign positions"
    assert set(table.place) == {IMAGES, PLACES, PLAIN, EMPTY}
    assert set(table.seed) == {0, 1}
    assert set(table.profile) == {"tiny"}
    delta = table[table.measure == "decodability"]
    assert delta[["value", "low", "high", "se", "planted"]].notna().all(axis=None)
    labels = table[table.measure == "label"]
    assert set(labels.place) == {IMAGES, PLACES, PLAIN}
    assert labels[labels.family == "planted: together"].verdict.eq("").all()
    shown = labels[labels.verdict.isin(["right", "wrong"])]
    assert (shown.verdict == np.where(shown.label == shown.expected, "right", "wrong")).all()

    def never(*_: object) -> None:
        raise AssertionError("what is finished was done again")

    monkeypatch.setattr(positions, "_extract", never)
    monkeypatch.setattr(positions, "planted_table", lambda features: features.runs)
    position_tables(plans, "tiny", tmp_path / "work", tmp_path / "book")
    assert set(read_table(tmp_path / "book" / "results", PLANTED).fusion) == {"rgb", "depth"}


def _committed(name: str) -> pd.DataFrame:
    if name not in table_names(RESULTS):
        pytest.skip(f"{name} was not made")
    return read_table(RESULTS, name)


def test_the_committed_scenes_say_how_far_positions_can_be_trusted():
    table = _committed(PLANTED)
    for level in (0, 4):  # the code judges absence as the table allows
        assert (level in CERTIFIED) == (hidden_bound(table, level=level)[1] < MARGIN)
    found = label_shares(table).loc[(PLACES, 0)]
    assert (found.wrong <= BARS["wrong"]).all()
    assert found.met.all()
    assert hidden_bound(table, PLAIN)[0] > hidden_bound(table, PLACES)[0] > hidden_bound(table, EMPTY)[0]


def test_the_committed_photographs_gain_by_positions():
    found = clear_differences(_committed(REAL))
    images, places = (found.xs(place, level="place") for place in (IMAGES, PLACES))
    assert (places.clear >= 2 * images.clear).all()
    assert (places.se.loc[4] <= images.se.loc[4] / 2).all()
