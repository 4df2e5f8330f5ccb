"""The campaign of three modalities at its smallest, and what the committed table of it holds."""

import numpy as np
import pytest

from rgbd_insight.experiments import three, three_modalities
from rgbd_insight.features import read_table
from rgbd_insight.questions.joint import SIMILARITY, VARIANCE
from rgbd_insight.result import Result

PAIRS = {("rgb", "depth"), ("rgb", "thermal"), ("depth", "thermal")}


def test_it_runs_at_its_smallest_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setitem(three.SIZES, "tiny", three.Size(width=8, train=16, epochs=1, test=24, labels=24))
    monkeypatch.setattr(three, "RUNS", tuple(run for run in three.RUNS if run.seed == 0))
    monkeypatch.setattr(three, "TWIN_RUNS", three.RUNS[:3])
    # the plane has tests of its own, as have labels, of which so few scenes hold none
    monkeypatch.setattr(three, "joint", lambda *_, **__: Result.of("joint", [], made={}))
    monkeypatch.setattr(
        three, "labels", lambda features: features.runs.reset_index()[["fusion"]].assign(measure="label")
    )
    three_modalities("tiny", tmp_path / "work", tmp_path / "book")
    table = read_table(tmp_path / "book" / "results", three.TABLE)
    assert set(table["device"]) <= {"cpu", "cuda"} and set(table["profile"]) == {"tiny"} and set(table["epochs"]) == {1}
    of_sum = table[(table["measure"] == "accuracy") & (table["fusion"] == "sum")]
    assert len(of_sum) == 8  # all subsets of three modalities
    assert set(table.loc[table["measure"] == "label", "fusion"]) == set(three.NAMES)
    monkeypatch.setattr(three, "train", lambda *_, **__: pytest.fail("it is trained already"))
    three_modalities("tiny", tmp_path / "work", tmp_path / "book")
    with pytest.raises(ValueError, match="`profile` must be one of"):
        three_modalities("huge", tmp_path / "work", tmp_path / "book")


def test_the_committed_table_meets_its_bar_and_adds_up():
    table = read_table("book/results", three.TABLE)
    assert set(table["device"]) == {"cpu"} and set(table["profile"]) == {"small"}
    labels = table[table["measure"] == "label"]
    judged = labels[labels["verdict"] != ""]
    assert len(judged) > 60 and (judged["verdict"] == "wrong").mean() <= three.BAR
    assert ((judged["label"] == judged["expected"]) == (judged["verdict"] == "right")).all()
    score = table[(table["measure"] == "accuracy") & (table["fusion"] == three.FUSION)].set_index("condition")["value"]
    worth = table[(table["measure"] == "utilisation") & (table["label"] == "Shapley")]
    assert np.isclose(worth["value"].sum(), score["both"] - score["none"])  # Shapley values share out the whole
    plane = table[table["measure"].isin([SIMILARITY, VARIANCE])]
    assert {*zip(plane["modality"], plane["versus"], strict=True)} == PAIRS
