"""Where groups that follow each other are alike, every question leaves out and moves them together, and says so."""

from pathlib import Path

import numpy as np
import pytest

from rgbd_insight import load, stats
from rgbd_insight.metrics import matching_statistic
from rgbd_insight.metrics.cka import cka_statistic
from rgbd_insight.questions import balance, collaboration, consistency, evolution, specificity
from rgbd_insight.questions.networks import neighbours_of, networks

BOOK = Path(__file__).resolve().parents[2] / "book"


@pytest.fixture(scope="module")
def rooms():
    return load(BOOK / "features" / "nyuv2")


@pytest.fixture(scope="module")
def scenes():
    return load(BOOK / "features" / "scenes")


def test_scenes_in_any_order_are_as_they_were(scenes):
    found, nets = neighbours_of(scenes), networks(scenes, "twins")
    assert not found.alike and found.p > 0.1 and found.made() == {}
    assert (nets.groups == scenes.groups).all() and nets.plan(50) == stats.Resampling(permutations=50)
    result = consistency(scenes, "twins", levels=[4], measures=["cka"], permutations=20)
    assert result.warnings == () and result.made["permutations"] == 20 and "autocorrelation" not in result.made


def test_rooms_of_one_building_are_left_out_and_moved_together(rooms):
    found, nets = neighbours_of(rooms), networks(rooms, "twins")
    views = [
        rooms.view(rooms.find(fusion=fusion, role="final")[0], modality, level)
        for fusion in sorted(rooms.runs.fusion.unique())
        for modality in ("rgb", "depth")
        for level in (1, 2, 3, 4)
        if any(rooms.has(rooms.find(fusion=fusion, role="final")[0], s, level, modality) for s in (modality, "fused"))
    ]
    again = stats.neighbours(views, rooms.groups)
    assert found.alike and found.correlation == pytest.approx(again.correlation) and found.joined == again.joined > 2
    assert (nets.groups == found.groups).all() and len(np.unique(nets.groups)) == 20
    result = consistency(rooms, "twins", levels=[4], measures=["cka"], permutations=40)
    row = result.one("cka")
    assert (
        row.groups == len(np.unique(found.groups)) and result.made["shifts"] == 40 and "permutations" not in result.made
    )
    assert result.made["blocks"] == len(np.unique(found.groups))
    one = stats.averaged([cka_statistic(*pair) for pair in nets.across(4)])
    want = stats.estimate(one, found.groups, found.plan(permutations=40))
    assert (row.value, row.low, row.high, row.p) == pytest.approx((want.value, want.low, want.high, want.p))


def test_joining_groups_does_not_make_pairs_dearer(rooms):
    value = consistency(rooms, "twins", levels=[4], measures=["matching"], permutations=20).one("matching").value
    nets, every = networks(rooms, "twins"), np.arange(len(rooms))
    same, dearer = (
        np.mean([matching_statistic(*pair, nets.groups, price=price)(every, every) for pair in nets.across(4)])
        for price in ((0.8 * (rooms.groups.max() + 1)) ** -0.5, None)
    )
    assert value == pytest.approx(same) and value > dearer + 0.02


def test_every_question_says_that_groups_were_joined(rooms):
    asked = [
        consistency(
            rooms, "twins", levels=[4], measures=["predictivity", "consistent share uncorrected"], permutations=20
        ),
        specificity(rooms, "twins", levels=[4], measures=["difference", "specific share uncorrected"]),
        evolution(rooms, "twins", levels=[3, 4], measures=["level similarity", "effective dimension"], permutations=20),
        collaboration(rooms, "se", measures=["accuracy", "class accuracy"]),
        balance(rooms, rooms.find(fusion="se", role="final")[:1]),
    ]
    for result in asked:
        assert result.made["groups joined"] == neighbours_of(rooms).joined
        assert any("groups that follow each other are alike" in line for line in result.warnings)
        assert "are alike" in result._repr_html_()
        valued = result.table.dropna(subset=["low"])
        assert len(valued) and set(valued.groups) == {len(np.unique(neighbours_of(rooms).groups))}


def test_permutations_that_no_row_needed_are_not_reported(scenes):
    still = evolution(scenes, "twins", levels=[4], measures=["effective dimension"], permutations=30)
    assert "permutations" not in still.made and "seed" not in still.made and still.made["blocks"] == 40
    named = consistency(scenes, "twins", levels=[4], measures=["cka normalised"], permutations=30)
    assert named.made["permutations"] == 30  # by which the scale of its one row was made


def test_samples_that_stand_apart_are_said_to_be_unknown():
    class Scattered:
        groups = np.tile(np.arange(30), 2)
        whole = property(lambda self: self)

    found = neighbours_of(Scattered())
    assert not found.alike and (found.groups == Scattered.groups).all()
    assert found.made()["warnings"][0].endswith("the samples of a group do not stand together")
