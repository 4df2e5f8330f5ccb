"""What a question says of how it was made is what was used, and what several questions ask for is made once."""

from pathlib import Path

import numpy as np
import pytest

from rgbd_insight import load, stats
from rgbd_insight.metrics import level_shares, variance_partitioning
from rgbd_insight.questions import balance, consistency, evolution, specificity
from rgbd_insight.questions.balance import level_partitioning
from rgbd_insight.questions.networks import networks
from rgbd_insight.questions.specificity import decoded, probe

BOOK = Path(__file__).resolve().parents[2] / "book"


@pytest.fixture(scope="module")
def scenes():
    return load(BOOK / "features" / "scenes")


def test_made_says_what_was_used(scenes):
    used = {"blocks": 40, "permutations": 30, "seed": 0}
    for question, measure in ((consistency, "cka within"), (evolution, "level similarity")):
        made = question(scenes, "sum", levels=[1, 4], measures=[measure], permutations=30).made
        assert {name: made[name] for name in used} == used
    made = specificity(scenes, "sum", levels=[4], measures=["specific share"]).made
    assert made["blocks"] == 40 and "permutations" not in made and "seed" not in made
    assert balance(scenes, scenes.find(fusion="sum", role="final")[:1]).made["blocks"] == 40


def test_the_permutations_asked_for_are_those_of_the_consistent_share(scenes):
    options = {"levels": [4], "measures": ["consistent share uncorrected"]}
    few, more = (consistency(scenes, "twins", permutations=n, **options) for n in (20, 50))
    assert set(few.rows(label="all").p) == {1 / 21} and set(more.rows(label="all").p) == {1 / 51}
    assert few.rows(label="named").p.isna().all() and few.rows(label="named").null.isna().all()
    assert (few.rows(label="all").null_high < few.rows(label="all").low).all()
    np.testing.assert_array_equal(few.table.low, more.table.low)


def test_both_modalities_are_what_each_is_alone(scenes):
    nets = networks(scenes, "twins")
    both = [level_partitioning(nets, m, 4) for m in nets.modalities]
    assert both[0] is level_partitioning(nets, "rgb", 4)
    alone = variance_partitioning(
        nets.view(0, "depth", 4), scenes.areas, [nets.view(1, "rgb", 4)], [nets.view(1, "depth", 4)], scenes.groups
    )
    np.testing.assert_allclose(both[1].whole, alone.r2, atol=1e-12)
    found = consistency(scenes, "twins", levels=[4], measures=["consistent share uncorrected"])
    row = found.one("consistent share uncorrected", modality="depth", label="all")
    assert row.value == pytest.approx(alone.level[[0, 2]].sum())
    r2 = stats.estimate(both[1], scenes.groups, null=False)
    want = stats.combine(lambda r2: level_shares(r2)[[0, 2]].sum(), r2)
    assert (row.low, row.high) == pytest.approx((want.low, want.high))


def test_a_probe_is_fitted_once_and_decodes_the_same_without_interval(scenes):
    nets = networks(scenes, "twins")
    x = nets.view(0, "rgb", 4)
    found = probe(nets, x)
    assert probe(nets, x.copy()) is found and found.delta.blocks == 40
    np.testing.assert_allclose(decoded(nets, x), found.delta.value, atol=1e-12)
