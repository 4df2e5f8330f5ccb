"""The variance partitioning against a row-by-row banded ridge, on planted units."""

from itertools import product

import numpy as np
import pytest

from rgbd_insight import stats
from rgbd_insight.metrics import (
    ConsistentShare,
    PartitioningStatistic,
    consistent_share,
    explained,
    level_shares,
    partitionings,
    unit_shares,
    variance_partitioning,
)
from rgbd_insight.metrics.partitioning import SHARES
from rgbd_insight.stats import blocks_of, group_folds


def world(n=650, units=32, width=64, concepts=24, kinds=4, noise=0.3, seed=0):
    """Units of four kinds in groups of five: (y, concepts, other, same, groups, kind)."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // 5

    def latents(d):  # the images of a group are alike
        return np.sqrt(0.3) * rng.normal(size=(n // 5, d)).repeat(5, 0) + np.sqrt(0.7) * rng.normal(size=(n, d))

    named = latents(concepts)
    in_both, in_own, in_other = named[:, :6], named[:, 6:12], named[:, 12:18]
    shared, own, others = latents(6), latents(6), latents(6)

    def network(*parts):
        z = np.hstack(parts)
        return z @ rng.normal(size=(z.shape[1], width)) / 5 + noise * rng.normal(size=(n, width))

    other, same = [network(in_both, shared, in_other, others)], [network(in_both, shared, in_own, own)]
    kind = np.arange(units) % kinds
    y = np.empty((n, units))
    for u, source in enumerate(kind):
        weights = rng.normal(size=6)
        y[:, u] = (in_both, in_own, shared, own)[source] @ weights / np.linalg.norm(weights)
    return y + 0.5 * rng.normal(size=y.shape), named, other, same, groups, kind


def components_of(z, train, count):
    """Principal components of standardised columns, mean variance 1, by SVD of the training rows."""
    mean, scale = z[train].mean(0), z[train].std(0)
    _, values, axes = np.linalg.svd((z[train] - mean) / scale, full_matrices=False)
    scores = (z - mean) / scale @ axes[:count].T
    return scores / np.sqrt(np.mean(values[:count] ** 2) / train.sum())


def kept(z, count):
    """How many components of an input are kept: of the concepts, of which there are 24, all."""
    return 24 if z.shape[1] == 24 else count


def naive_error(blocks, y, train, test, penalties):
    """Squared error on test rows of one target, by augmented least squares about the training means."""
    z, mean = np.hstack(blocks), y[train].mean()
    centre = z[train].mean(0)
    rows = np.sqrt(train.sum() * np.repeat(penalties, [b.shape[1] for b in blocks]))
    a = np.vstack([z[train] - centre, np.diag(rows)])
    weights = np.linalg.lstsq(a, np.concatenate([y[train] - mean, np.zeros(len(rows))]), rcond=None)[0]
    return ((y[test] - mean - (z[test] - centre) @ weights) ** 2).sum()


def naive_r2(inputs, y, fold, count, grid):
    """Banded ridge of one target, penalties chosen inside the training folds, R² over all held-out folds."""
    error = total = 0.0
    for f in np.unique(fold):
        train, test = fold != f, fold == f
        blocks = [components_of(z, train, kept(z, count)) for z in inputs]
        inner = [(train & (fold != h), fold == h) for h in np.unique(fold) if h != f]
        choices = list(product(grid, repeat=len(blocks)))
        sums = [sum(naive_error(blocks, y, a, b, choice) for a, b in inner) for choice in choices]
        error += naive_error(blocks, y, train, test, choices[int(np.argmin(sums))])
        total += ((y[test] - y[train].mean()) ** 2).sum()
    return 1 - error / total


def test_equals_a_plain_banded_ridge():
    y, named, other, same, groups, _ = world(n=150, units=2, width=10, kinds=2)
    grid, fold = (0.03, 1.0, 30.0), group_folds(groups, 3, 0)
    partitioning = variance_partitioning(y, named, other, same, groups, components=6, folds=3, penalties=grid)
    sets = [[named], other, same, [named, *other], [named, *same]]
    for u in range(2):
        expected = [naive_r2(inputs, y[:, u], fold, 6, grid) for inputs in sets]
        assert np.allclose(partitioning.r2[u], expected, atol=1e-9)


def test_leave_outs_equal_the_plain_ridge_on_the_other_rows():
    y, named, other, same, groups, _ = world(n=150, units=2, width=10, kinds=2)
    fold, blocks = group_folds(groups, 3, 0), blocks_of(groups, 5)
    statistic = PartitioningStatistic(y, named, other, same, groups, components=6, folds=3, penalties=(0.3,))
    r2 = statistic.leave_outs(blocks)
    keep = blocks != 3
    sets = [[named], other, same, [named, *other], [named, *same]]
    expected = [naive_r2([z[keep] for z in inputs], y[keep, 1], fold[keep], 6, (0.3,)) for inputs in sets]
    assert np.allclose(r2[3, 1], expected, atol=1e-9) and r2.shape == (5, 2, 5)
    assert unit_shares(r2).shape == (5, 2, 4) and np.allclose(unit_shares(r2).sum(-1), r2[..., 2], atol=1e-12)
    afresh = statistic(np.flatnonzero(keep), np.flatnonzero(keep))  # with one penalty there is nothing that stays
    assert np.allclose(r2[3], afresh, atol=1e-9)


def test_two_modalities_together_are_what_each_is_alone():
    y, named, other, same, groups, _ = world(n=200, units=4, width=12)
    rng = np.random.default_rng(1)
    second, blocks = other[0][:, :3] + rng.normal(size=(200, 3)), blocks_of(groups, 20)
    both = partitionings([y, second], named, [same, other], groups)
    for one, units, mine, theirs in zip(both, (y, second), (same, other), (other, same), strict=True):
        alone = PartitioningStatistic(units, named, theirs, mine, groups)
        assert np.allclose(one.whole, alone.whole, atol=1e-12)
        assert np.allclose(one.leave_outs(blocks), alone.leave_outs(blocks), atol=1e-12)


def test_the_consistent_share_and_its_null():
    y, named, other, same, groups, kind = world(n=300, units=8, width=12)
    groups = np.sort(np.random.default_rng(0).permutation(300) % 70)  # of unequal sizes, some of them rare
    statistic = PartitioningStatistic(y, named, other, same, groups)
    plan = stats.Resampling(permutations=20)
    found = stats.estimate(ConsistentShare(statistic), groups, plan)
    r2 = stats.estimate(statistic, groups, plan, null=False)
    level = stats.combine(lambda r2: level_shares(r2)[[0, 2]].sum(), r2)
    assert (found.value, found.low, found.high) == pytest.approx((level.value, level.low, level.high))
    assert found.value == pytest.approx(consistent_share(r2.value)) and found.p == 1 / 21
    rows = stats.cut_groups(groups)
    partner = rows[stats.permute_groups(groups[rows], np.random.default_rng(0))]
    fold = group_folds(groups, 5, 0)[rows]
    scale = [(z - z.mean(0)) / z.std(0) for z in (y, other[0], same[0])]
    grid = (0.01, 0.1, 1.0, 10.0, 1000.0)
    draw = sum(naive_r2([scale[1][rows]], scale[0][partner, u], fold, 32, grid) for u in range(8))
    ceiling = sum(naive_r2([scale[2][rows]], scale[0][rows, u], fold, 32, grid) for u in range(8))
    assert found.null_draws[0] == pytest.approx(draw / ceiling, abs=1e-9)
    unrelated = PartitioningStatistic(y, named, [np.random.default_rng(2).normal(size=(300, 12))], same, groups)
    assert stats.estimate(ConsistentShare(unrelated), groups, plan).p > 0.05


def test_one_block_alone_is_the_same_model():
    y, named, other, same, groups, _ = world(n=200, units=4, width=12)
    r2 = variance_partitioning(y, named, other, same, groups).r2
    assert np.allclose(explained(y, other, groups), r2[:, 1], atol=1e-9)
    assert np.allclose(explained(y, same, groups), r2[:, 2], atol=1e-9)


def test_four_planted_kinds_are_recovered():
    recovered = []
    for seed in range(4):
        y, named, other, same, groups, kind = world(seed=seed)
        partitioning = variance_partitioning(y, named, other, same, groups)
        assert np.allclose(partitioning.shares.sum(1), partitioning.r2[:, 2], rtol=0, atol=1e-14)
        recovered.append(
            [partitioning.shares[kind == t].sum(0) / partitioning.r2[kind == t, 2].sum() for t in range(4)]
        )
        assert np.abs(partitioning.level - 0.25).max() < 0.05 and np.isclose(partitioning.level.sum(), 1)
    assert np.abs(np.array(recovered) - np.eye(len(SHARES))).max() < 0.05


def test_the_interval_of_the_level_holds_the_planted_shares():
    y, named, other, same, groups, _ = world(units=16)
    r2 = stats.estimate(PartitioningStatistic(y, named, other, same, groups), groups, null=False)
    ours = stats.combine(level_shares, r2)
    assert (ours.se < 0.02).all() and (np.abs(ours.value - 0.25) < 4 * ours.se + 0.02).all()


def test_units_of_pure_noise_leave_the_level_missing_with_a_reason():
    rng = np.random.default_rng(0)
    y, named, x, x2 = rng.normal(size=(4, 200, 4))
    partitioning = variance_partitioning(y, named, [x], [x2], np.arange(200))
    assert np.abs(partitioning.shares).max() < 0.1
    if partitioning.r2[:, 2].sum() <= 0:
        assert np.isnan(partitioning.level).all() and "none" in partitioning.reason


def test_constant_units_are_left_out_and_columns_may_be_constant():
    y, named, other, same, groups, _ = world(n=300, units=4)
    partitioning = variance_partitioning(y, named, other, same, groups, components=16)
    still = np.hstack([y, np.full((300, 1), 3.3)]), np.hstack([named, np.ones((300, 1))])
    more = variance_partitioning(*still, other, same, groups, components=16)
    assert np.isnan(more.shares[4]).all() and more.constant.tolist() == [False] * 4 + [True]
    r2 = stats.estimate(PartitioningStatistic(*still, other, same, groups, components=16), groups, null=False)
    level = stats.combine(level_shares, r2)
    assert np.allclose(more.level, partitioning.level, atol=1e-9) and np.isfinite(level.leave_outs).all()
    assert np.isnan(r2.leave_outs[:, 4]).all() and np.isfinite(r2.leave_outs[:, :4]).all()


def test_shift_scale_and_order_do_not_matter():
    y, named, other, same, groups, _ = world(n=200, units=4, width=12)
    rng = np.random.default_rng(5)
    order = rng.permutation(12)
    partitioning = variance_partitioning(y, named, other, same, groups)
    moved = variance_partitioning(1e4 * y + 300, named * 0.01, [other[0][:, order] + 100], [-1e-3 * same[0]], groups)
    assert np.allclose(partitioning.shares, moved.shares, atol=1e-8)


def test_errors():
    y, named, other, same, groups, _ = world(n=100, units=4, width=6)
    with pytest.raises(ValueError, match="at least one stream"):
        variance_partitioning(y, named, [], same, groups)
    with pytest.raises(ValueError, match="`same` must have shape"):
        variance_partitioning(y, named, other, [same[0][:-1]], groups)
    with pytest.raises(ValueError, match="`y` must be finite"):
        variance_partitioning(y * np.nan, named, other, same, groups)
    with pytest.raises(ValueError, match="penalties"):
        variance_partitioning(y, named, other, same, groups, penalties=(0.0, 1.0))
    with pytest.raises(ValueError, match="folds"):
        variance_partitioning(y, named, other, same, groups, folds=2)
    with pytest.raises(ValueError, match="whole groups"):
        PartitioningStatistic(y, named, other, same, groups).leave_outs(np.arange(100) % 7)
