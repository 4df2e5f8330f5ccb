"""Decodability at positions: against a naive count of pairs, its leave-outs, and what strata are for."""

from collections.abc import Iterator

import numpy as np
import pytest

from rgbd_insight.metrics import positions
from rgbd_insight.metrics.joint import semantic_scale
from rgbd_insight.metrics.positions import PositionDecodability, _without, no_less_certain
from rgbd_insight.metrics.probes import DecodabilityStatistic
from rgbd_insight.metrics.ridge import weights_of_few
from rgbd_insight.metrics.strata import cooccurrence_strata
from rgbd_insight.stats import blocks_of, estimate, group_folds
from rgbd_insight.stats.estimates import jackknife_error, student

GROUPS = np.arange(1200) // 12


def _cells(seed: int = 0, units: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    present = rng.random((len(GROUPS), 3)) < 0.3
    x = np.round(rng.normal(size=(len(GROUPS), units)) + present[:, :1] + 0.5 * present[:, 1:2], 1)
    return x, present, rng.integers(0, 4, present.shape)


def _naive(x: np.ndarray, present: np.ndarray, strata: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """2·AUROC − 1 (K,), every pair looked at; the probes are those of all cells."""
    fold = group_folds(GROUPS, 5, 0)
    wins, pairs = np.zeros((2, present.shape[1]))
    for f in range(5):
        train = fold != f
        scores = (x - x.mean(0)) @ weights_of_few(x[train] - x.mean(0), present[train].astype(float), 32)
        rows = np.flatnonzero((fold == f) & ~left_out)
        for k in range(present.shape[1]):
            for i in rows[present[rows, k]]:
                same = rows[~present[rows, k] & (strata[rows, k] == strata[i, k])]
                ahead = np.round(scores[i, k] - scores[same, k], 12)
                wins[k] += (ahead > 0).sum() + (ahead == 0).sum() / 2
                pairs[k] += len(same)
    return 2 * wins / pairs - 1


def test_delta_and_its_leave_outs_are_those_of_every_pair_looked_at():
    x, present, strata = _cells()
    one = PositionDecodability(x, present, GROUPS, strata=strata)
    blocks = blocks_of(GROUPS, 40)
    every = np.arange(len(x))
    assert one(every, every)[0] == pytest.approx(_naive(x, present, strata, np.zeros(len(x), bool)), abs=1e-9)
    kept = [_without(*inside, blocks[rows], 40) for rows, *inside in _folds(one)]  # with the probe as it is
    wins, pairs = np.sum(kept, axis=0)
    for g in (0, 17):
        assert 2 * wins[g] / pairs[g] - 1 == pytest.approx(_naive(x, present, strata, blocks == g), abs=1e-9)


def _folds(one: PositionDecodability) -> Iterator[tuple[np.ndarray, ...]]:
    for f in range(5):
        test = one.fold == f
        weights = weights_of_few(one.x[~test], one.present[~test].astype(float), 32)
        yield test, (one.x[test] @ weights).T, one.present[test].T, one.strata[test].T


def test_leave_outs_are_nearly_those_of_probes_fitted_anew():
    x, present, strata = _cells(3, units=8)
    one, anew = PositionDecodability(x, present, GROUPS, strata=0 * strata), DecodabilityStatistic(x, present, GROUPS)
    blocks = blocks_of(GROUPS, 40)
    found, wanted = one.leave_outs(blocks)[:, 0], anew.leave_outs(blocks)
    every = np.arange(len(x))
    assert one(every, every)[0] == pytest.approx(anew(every, every), abs=1e-9)
    assert jackknife_error(found) == pytest.approx(jackknife_error(wanted), rel=0.2)
    assert (np.diag(np.corrcoef(found.T, wanted.T)[:3, 3:]) > 0.95).all()


def test_no_block_makes_a_perfect_order_doubtful():
    """Where one group holds all errors, the interval is that of a few errors, not of none and of all."""
    x, present, strata = _cells(4)
    x[:, 0] = present[:, 0]
    x[:6, 0] = 1 - x[:6, 0]
    found = estimate(PositionDecodability(x, present, GROUPS, strata=0 * strata), GROUPS, null=False)[0]
    assert 0.9 < found.low[0] < found.value[0] < 1


def test_folds_add_up_and_the_order_of_cells_does_not_matter():
    x, present, strata = _cells(1)
    one = PositionDecodability(x, present, GROUPS, strata=strata)
    every = np.arange(len(x))
    order = np.random.default_rng(0).permutation(len(x))
    other = PositionDecodability(3 - 2 * x[order], present[order], GROUPS[order], strata=strata[order])
    assert other(every, every) == pytest.approx(one(every, every), abs=1e-9)
    whole, *folds = one(every, every)
    assert (np.min(folds, 0) <= whole).all() and (whole <= np.max(folds, 0)).all()


def test_what_merely_stands_beside_a_thing_gets_no_credit_inside_strata():
    """A hidden thing that fills places which visible things leave free: without strata it is "seen", with them not."""
    rng = np.random.default_rng(2)
    groups = np.arange(24000) // 12
    what = rng.choice(4, len(groups), p=[0.4, 0.2, 0.2, 0.2])  # nothing, hidden, two that are seen; one a place
    present = what[:, None] == [1, 2, 3]
    x = rng.normal(size=(len(groups), 6)) + 3 * (what >= 2)[:, None]
    anywhere = np.zeros(present.shape, int)
    plain = PositionDecodability(x, present, groups, strata=anywhere)
    strata = cooccurrence_strata(present, present, groups)
    inside = PositionDecodability(x, present, groups, strata=strata)
    assert estimate(plain, groups, null=False)[0].low[0] > 0.3
    found = estimate(inside, groups, null=False)[0]
    assert found.low[0] < 0 < found.high[0] < 0.1
    assert found.low[1] > 0.9  # what is seen stays seen


def test_looking_empty_is_no_evidence_for_a_hidden_thing_where_rivals_are_named():
    """Things without a label at some places: without `rivals` the hidden thing gains by their being seen."""
    rng = np.random.default_rng(5)
    groups = np.arange(24000) // 12
    what = rng.choice(4, len(groups), p=[0.5, 0.1, 0.2, 0.2])  # nothing, hidden, two that are seen
    present = what[:, None] == [1, 2, 3]
    unnamed = (what == 0) & (rng.random(len(groups)) < 0.3)  # looks as the third, and has no label
    looks = np.stack([what == 2, (what == 3) | unnamed], 1)
    x = rng.normal(size=(len(groups), 6)) + np.pad(6.0 * looks, [(0, 0), (0, 4)])
    strata = cooccurrence_strata(present, present, groups)
    plain, judged = (
        estimate(PositionDecodability(x, present, groups, strata=strata, rivals=rivals), groups, null=False)[0]
        for rivals in (None, [True] * 3)
    )
    assert plain.low[0] > 0.2
    assert judged.high[0] < 0
    assert judged.value[1] == pytest.approx(0.5, abs=0.03)  # what is seen reads lower: 1 - 2 · .15 / .6
    with pytest.raises(ValueError, match="`rivals` must say of each of 3 concepts"):
        PositionDecodability(x, present, groups, strata=strata, rivals=[True])


def test_the_interval_covers_what_new_scenes_would_give():
    """Of a concept that is not there: δ is 0 whatever the probe."""
    covered = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        groups = np.arange(1200) // 12
        scene = rng.normal(size=(100, 1, 4)).repeat(12, 1).reshape(1200, 4)  # cells of one image are alike
        present = (scene[:, :1] * 0 + rng.normal(size=(100, 1)).repeat(12, 1).reshape(1200, 1)) > 0.4
        present = np.hstack([present, rng.random((1200, 1)) < 0.3])
        x = scene + rng.normal(size=(1200, 4))
        one = PositionDecodability(x, present, groups, strata=np.zeros(present.shape, int))
        found = estimate(one, groups, null=False)[0]
        covered.append((found.low <= 0) & (0 <= found.high))
    assert (np.mean(covered, axis=0) >= 0.88).all()


def test_why_a_concept_has_no_value():
    x, present, strata = _cells()
    present[:, 1] = False
    present[:20, 1] = True
    strata[:, 2] = present[:, 2]
    one = PositionDecodability(x, present, GROUPS, strata=strata)
    assert one.reason[0] == ""
    assert one.reason[1].startswith("20 positives")
    assert one.reason[2].startswith("determined by what else is there")
    every = np.arange(len(x))
    assert np.isnan(one(every, every)[:, 1:]).all()


@pytest.mark.parametrize(
    ("wrong", "said"), [({"strata": np.zeros((3, 3), int)}, "strata"), ({"components": 0}, "components")]
)
def test_arguments_out_of_range_are_named(wrong, said):
    x, present, strata = _cells()
    with pytest.raises(ValueError, match=f"`{said}`|{said}"):
        PositionDecodability(x, present, GROUPS, **{"strata": strata} | wrong)


class _Given:
    """A statistic with this value, and 40 leave-outs that swing between two."""

    bounded = 500.0

    def __init__(self, value: float, low: float, high: float, *, mended: bool) -> None:
        self.value, self.left = value, np.tile([low, high], 20)
        self.left = no_less_certain(self.left, np.array(value)) if mended else self.left

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> float:
        return self.value

    def leave_outs(self, blocks: np.ndarray) -> np.ndarray:
        return self.left


def test_an_order_that_is_nearly_perfect_is_no_less_certain_than_a_count_of_one():
    groups, perfect = np.arange(80), (0.99999, 0.9999, 1.0)
    assert estimate(_Given(*perfect, mended=False), groups, null=False).low < 0  # what this is for
    found = estimate(_Given(*perfect, mended=True), groups, null=False)
    assert 1 - found.low == pytest.approx(1e-5 * np.exp(student(0.95, 40)), rel=0.25)
    assert found.low < 0.99999 < found.high < 1
    one, other = (estimate(_Given(0.3, 0.297, 0.304, mended=m), groups, null=False) for m in (False, True))
    assert [other.low, other.high, other.se] == pytest.approx([one.low, one.high, one.se], abs=1e-9)


def test_leave_outs_of_a_nearly_perfect_concept_are_mended(monkeypatch):
    """Four of some 60,000 pairs are out of order: without the bound their number would be less certain than a count."""
    rng = np.random.default_rng(0)
    present = rng.random((len(GROUPS), 2)) < 0.3
    x = rng.normal(size=(len(GROUPS), 3)) + 2.9 * present[:, :1]
    every, blocks = np.arange(len(x)), blocks_of(GROUPS, 40)

    def error() -> float:
        one = PositionDecodability(x, present, GROUPS, strata=np.zeros(present.shape, int))
        left = one.leave_outs(blocks)[:, 0, 0]
        return jackknife_error(np.log((1 - left) / (1 - one(every, every)[0, 0])))

    assert error() == pytest.approx(1, abs=1e-9)
    monkeypatch.setattr(positions, "no_less_certain", lambda left, whole: left)
    assert error() > 1.3


def test_semantic_variance_within_strata_is_what_was_planted():
    """A thing a cell: one stream shows the first eight, the other the last eight, so that half of the variance is left.

    Who sees another thing knows that the hidden one is not there: without strata the streams seem to agree.
    """
    rng, groups = np.random.default_rng(5), np.arange(6000) // 12
    thing = np.where(rng.random(6000) < 0.7, rng.integers(0, 12, 6000), -1)
    present = thing[:, None] == np.arange(12)
    shows = [np.arange(12) < 8, np.arange(12) >= 4]
    context = cooccurrence_strata(np.hstack([present, present]), present, groups, own=2)
    found = {}
    for name, strata in (("within", context), ("without", np.zeros(present.shape, int))):
        sides = [
            np.stack([_by_fold(rng.normal(0, 0.2, present.shape) + present * seen, present, groups, strata)] * 2)
            for seen in shows
        ]
        found[name] = semantic_scale(*sides).scaled
    assert found["within"] == pytest.approx(0.5, abs=0.03)
    assert found["without"] < 0.4


def _by_fold(x: np.ndarray, present: np.ndarray, groups: np.ndarray, strata: np.ndarray) -> np.ndarray:
    every = np.arange(len(x))
    return PositionDecodability(x, present, groups, strata=strata)(every, every)[1:]
