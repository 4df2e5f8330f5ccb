"""The tables on guests: their numbers are those of the features, and the same guests are the same."""

from pathlib import Path

import numpy as np
import pytest

from rgbd_insight.data import Scenes
from rgbd_insight.experiments import isolation
from rgbd_insight.features import guests, load, partners, read_table
from rgbd_insight.models import build

BOOK = Path(__file__).resolve().parents[2] / "book"


@pytest.mark.parametrize(("run", "modality", "level"), [("sum-s0-e8", "rgb", 4), ("early-s1-e8", "depth", 1)])
def test_the_committed_table_is_what_its_code_makes_of_the_committed_features(run, modality, level):
    table = read_table(BOOK / "results", "isolation")
    kept = table[(table.data == "scenes") & (table.run == run) & (table.modality == modality) & (table.level == level)]
    kept = kept.set_index(["measure", "state"])
    (other,) = {"rgb", "depth"} - {modality}
    again = list(isolation._of_view(load(BOOK / "features" / "scenes"), run, modality, other, level))
    assert len(again) == len(kept) == 9
    for row in again:
        found = kept.loc[(row["measure"], row["state"])]
        ends = [row[end] for end in ("value", "low", "high")]
        np.testing.assert_allclose(found[["value", "low", "high"]].astype(float), ends, atol=1e-5)


def test_every_impure_view_of_the_committed_features_is_in_the_table():
    table = read_table(BOOK / "results", "isolation")
    for name in isolation.COMMITTED:
        features, part = load(BOOK / "features" / name), table[table.data == name]
        assert {*part.fusion} == {"sum", "se", "early"}
        impure = {(f, "rgb", level) for f in ("sum", "se") for level in (2, 3, 4)}
        impure |= {("early", m, level) for m in ("rgb", "depth") for level in (1, 2, 3, 4)}
        final = part[part.role == "final"]
        assert {*zip(final.fusion, final.modality, final.level, strict=True)} == impure
        assert {*part.run} == {r for r in features.runs.index if features.runs.fusion[r] in ("sum", "se", "early")}


def test_the_same_guests_agree_where_others_do_not():
    """Random weights and the least of networks: depth is added to colour before level 2."""
    data = Scenes(80, split="test")
    model, same = build("sum", data.classes, width=8), guests(data.groups, 8)
    kept = (same.table == same.first[:, None]).all(0)  # images that have no reserve
    found = {}
    for name, table in (("old", partners(data.groups, 8)), ("new", same.table)):
        sides = [isolation._views(model, data, "rgb", part) for part in (table[:4], table[4:])]
        first, second = ({level: x[kept] for level, x in side.items()} for side in sides)
        found[name] = [(first[k] - second[k]).std(0).mean() / first[k].std(0).mean() for k in (1, 2, 3)]
    assert kept.sum() == 72 and found["old"][0] == found["new"][0] == 0  # pure
    assert (np.array(found["new"][1:]) < 0.5 * np.array(found["old"][1:])).all(), found
