"""The variance partitioning corrected for attenuation: against scikit-learn, on planted units, and what it refuses."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from rgbd_insight import stats
from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics.attenuation import (
    CorrectedStatistic,
    corrected_level_shares,
    corrected_partitioning,
    corrected_partitionings,
)
from rgbd_insight.metrics.partitioning import SHARES, variance_partitioning
from rgbd_insight.metrics.sides import CONCEPTS, PENALTY
from rgbd_insight.stats.groups import blocks_of, group_folds

FEW = range(1, 5)


def planted(seed, networks=4, **knobs):
    world = World(Knobs(pure=True, networks=1 + networks, **knobs), seed)
    nets = range(1, 1 + networks)
    others = (world.streams(m, nets) for m in ("depth", "rgb"))
    return world, (world.stream("rgb"), world.areas, *others, world.groups)


def standard(a):
    return (a - a.mean(0)) / a.std(0)


def cov(a, b):
    return ((a - a.mean(0)) * (b - b.mean(0))).sum(0)


def halves_by_hand(y, nets, concepts, groups, f, test, without, weight, penalty):
    """Held-out units and predictions of both halves, by scikit-learn, for either way round of the two networks."""
    cell = group_folds(groups, 6, 0)
    for nets_of_half in ((0, 1), (1, 0)):
        guesses, units = [], []
        for half, net in enumerate(nets_of_half):
            rows = np.flatnonzero((cell // 2 != f) & (cell % 2 == half))

            def rest(z, rows=rows):
                fit = Ridge(alpha=CONCEPTS * len(rows)).fit(concepts[rows], z[rows], weight[rows])
                return z - fit.predict(concepts) if without else z

            x, target = rest(nets[net]), rest(y)
            alpha = penalty * (len(rows) - without * concepts.shape[1])
            guesses.append(Ridge(alpha).fit(x[rows], target[rows], weight[rows]).predict(x[test]))
            units.append(target[test])
        yield units, guesses


def penalty_by_hand(y, nets, concepts, groups):
    """PENALTY times noise over signal of predictions of the first fold."""
    test, signal, both = np.flatnonzero(group_folds(groups, 6, 0) // 2 == 0), 0, 0
    for _, (a, b) in halves_by_hand(y, nets, concepts, groups, 0, test, False, np.ones(len(y)), PENALTY):
        signal, both = signal + cov(a, b).sum(), both + (cov(a, a) + cov(b, b)).sum() / 2
    return np.clip(PENALTY * (both - signal) / signal, PENALTY / 4, 10 * PENALTY)


def by_hand(y, nets, concepts, groups, without, kept, weight, penalty):
    """Sums of products (2, U) and the units' squares (U,), one half and side after the other.

    There are two networks, one a side. `kept` are the held-out rows that count; `weight` is that of the training rows.
    """
    fold, found, total = group_folds(groups, 6, 0) // 2, np.zeros((2, y.shape[1])), np.zeros(y.shape[1])
    for f in range(3):
        test = np.flatnonzero((fold == f) & kept)
        total += cov(y[test], y[test])
        for units, guesses in halves_by_hand(y, nets, concepts, groups, f, test, without, weight, penalty):
            found[0] += (cov(units[1], guesses[0]) + cov(units[0], guesses[1])) / 4
            found[1] += cov(*guesses) / 2
    return found, total


def small():
    _, (y, concepts, other, same, groups) = planted(3, 2, n=300, width=16, other_width=16, noise=0.5)
    y, concepts, *nets = (standard(a) for a in (y, concepts, *other, *same))
    return y, concepts, nets[:2], nets[2:], groups


def everything_by_hand(y, concepts, other, same, groups, kept, weight):
    """Covariances (2, 2, 2, U), not yet as shares of the units' squares, and these."""
    found = []
    for x in (other, same):
        penalty = penalty_by_hand(y, x, concepts, groups)  # of all rows, whichever are left out
        found.append([by_hand(y, x, concepts, groups, w, kept, weight, penalty) for w in (0, 1)])
    return np.stack([[sums for sums, _ in pair] for pair in found]), found[0][0][1]


def test_it_is_the_stated_formula():
    y, concepts, other, same, groups = small()
    every = np.ones(len(y), bool)
    found = corrected_partitioning(y, concepts, other, same, groups, folds=3)
    sums, total = everything_by_hand(y, concepts, other, same, groups, every, 1.0 * every)
    want = sums / total
    np.testing.assert_allclose(found.covariances, want, atol=1e-9)
    r2 = np.zeros((2, 2, y.shape[1]))  # other or same, named or not
    for i, (whole, rest) in enumerate(want):
        for j, part in enumerate((whole - rest, rest)):
            with_unit, together = part.sum(1) + 0.01 * whole.sum(1)
            assert found.attenuation[i, j] == pytest.approx(together / with_unit, abs=1e-9)
            r2[i, j] = part[0] * with_unit / together
    want = [r2[0, 0], r2[1, 0] - r2[0, 0], r2[0, 1], r2[1, 1] - r2[0, 1]]
    np.testing.assert_allclose(found.shares, np.transpose(want), atol=1e-9)
    np.testing.assert_allclose(found.shares.sum(1), found.ceiling, atol=1e-12)
    np.testing.assert_allclose(found.level, np.sum(want, 1) / found.ceiling.sum(), atol=1e-9)
    assert found.level.sum() == pytest.approx(1) and len(found.level) == len(SHARES)


def test_leave_outs_are_exact_in_the_held_out_rows_and_of_first_order_in_the_fits():
    y, concepts, other, same, groups = small()
    blocks, every = blocks_of(groups, 20), np.ones(len(y), bool)
    found = CorrectedStatistic(y, concepts, other, same, groups, folds=3).leave_outs(blocks)
    assert found.shape == (20, 2, 2, 2, y.shape[1])
    kept, step = blocks != 7, 1e-4
    held_out, total = everything_by_hand(y, concepts, other, same, groups, kept, 1.0 * every)
    more, less = (
        everything_by_hand(y, concepts, other, same, groups, every, every + sign * step * ~kept)[0] for sign in (1, -1)
    )
    slope, fitted = (more - less) / (2 * step), held_out - found[7] * total
    np.testing.assert_allclose(fitted, slope, atol=0.03 * np.abs(slope).max())
    assert np.abs(slope).sum() > 0.1 * np.abs(held_out).sum() / 20  # which is not nothing


def test_two_modalities_together_are_what_each_is_alone():
    y, concepts, other, same, groups = small()
    both = corrected_partitionings([y, other[0][:, :3]], concepts, [same, other], groups)
    blocks, given = blocks_of(groups, 20), ((y, other, same), (other[0][:, :3], same, other))
    for one, (units, theirs, mine) in zip(both, given, strict=True):
        alone = CorrectedStatistic(units, concepts, theirs, mine, groups)
        np.testing.assert_allclose(one.whole, alone.whole, atol=1e-12)
        np.testing.assert_allclose(one.leave_outs(blocks), alone.leave_outs(blocks), atol=1e-12)
        order = np.random.default_rng(0).permutation(len(y))
        np.testing.assert_allclose(one(order, np.arange(len(y))), alone(order, np.arange(len(y))), atol=1e-12)


def test_noise_of_the_other_modality_no_longer_reads_as_specific():
    errors = {"corrected": [], "pooled": []}
    for seed in range(6):
        world, given = planted(seed, n=1000, noise=1.0, noise_ratio=3.0)
        kind, found, pooled = world.types("rgb"), corrected_partitioning(*given), variance_partitioning(*given)
        tables = {"corrected": (found.shares, found.ceiling), "pooled": (pooled.shares, pooled.r2[:, 2])}
        for name, (shares, ceiling) in tables.items():
            errors[name].append([shares[kind == t].sum(0) / ceiling[kind == t].sum() - np.eye(4)[t] for t in range(4)])
    worst = {name: np.abs(np.mean(e, 0)).max() for name, e in errors.items()}
    assert worst["corrected"] < 0.1 < 0.5 < worst["pooled"]


def test_reliable_networks_need_no_correction():
    world, given = planted(1, n=1000, noise=0.3)
    found, plain = corrected_partitioning(*given), variance_partitioning(*given)
    np.testing.assert_allclose(found.level, plain.level, atol=0.04)
    noiseless = 1 / (1 + world.knobs.noise**2)  # what can be predicted of a unit at all
    assert np.median(found.ceiling) == pytest.approx(noiseless, abs=0.03)


def test_nothing_in_common_is_nothing_after_correction():
    levels = []
    for seed in range(8):
        world = World(Knobs(pure=True, networks=5, n=600, noise=0.5, related=False), seed)
        nets = [world.streams(m, FEW) for m in ("depth", "rgb")]
        levels.append(corrected_partitioning(world.stream("rgb"), world.areas, *nets, world.groups).level)
    assert abs(np.mean(levels, 0)[2]) < 0.02  # of what no concept names, nothing is consistent


def test_units_may_be_moved_scaled_turned_over_and_ordered_anew():
    _, (y, concepts, other, same, groups) = planted(2, 3, n=200, width=8, other_width=8)
    first = corrected_partitioning(y, concepts, other, same, groups)
    order = np.random.default_rng(0).permutation(8)
    moved = corrected_partitioning(
        (3 - 2 * y)[:, order], concepts * 5, [5 * x[:, order] + 1 for x in other], same, groups
    )
    np.testing.assert_allclose(moved.shares, first.shares[order], atol=1e-9)
    again = corrected_partitioning(y, concepts, other, same, groups)
    assert (again.shares == first.shares).all()


def test_its_interval_is_as_wide_as_worlds_differ():
    values, errors = [], []
    for draw in range(12):
        world = World(Knobs(networks=5, n=600, width=32, other_width=32, uneven=1.0), 1, draw)
        nets = [world.streams(m, FEW) for m in ("depth", "rgb")]
        statistic = CorrectedStatistic(world.stream("rgb"), world.areas, *nets, world.groups)
        found = stats.combine(corrected_level_shares, stats.estimate(statistic, world.groups, null=False))
        values.append(found.value), errors.append(found.se)
    ratio = np.mean(errors, 0) / np.std(values, 0, ddof=1)
    assert (0.6 < ratio).all() and (ratio < 2).all() and 0.85 < ratio.mean() < 1.6


def test_many_concepts_that_say_nothing_name_nothing():
    rng = np.random.default_rng(0)
    for measure in (corrected_partitioning, variance_partitioning):
        levels = []
        for seed in range(4):
            _, (y, _, other, same, groups) = planted(seed, 2, n=300, width=32, other_width=32, noise=0.5)
            levels.append(measure(y, rng.normal(size=(len(y), 57)), other, same, groups).level)
        assert np.abs(np.mean(levels, 0)[:2]).max() < 0.04


def test_labels_of_two_annotators_make_up_for_wrong_ones():
    errors = {"one": [], "two": []}
    for seed in range(4):
        world = World(Knobs(networks=5, n=800, width=32, other_width=32, noise=0.5, label_noise=0.4), seed)
        nets = [world.streams(m, FEW) for m in ("depth", "rgb")]
        planted_shares = world.unit_shares("rgb", beside=FEW).sum(0)
        labels = [world.rated(annotator)[0] for annotator in (0, 1)]
        for name, given in {"one": labels[0], "two": labels}.items():
            level = corrected_partitioning(world.stream("rgb"), given, *nets, world.groups).level
            errors[name].append((level - planted_shares / planted_shares.sum())[:2].sum())  # of what is named
    assert np.mean(errors["one"]) < -0.15 and abs(np.mean(errors["two"])) < 0.025


def test_unequal_widths_are_corrected_for():
    errors = []
    for seed in range(6):
        world = World(Knobs(networks=5, n=1000, width=48, other_width=96), seed)
        nets = [world.streams(m, FEW) for m in ("depth", "rgb")]
        planted_shares = world.unit_shares("rgb", beside=FEW).sum(0)
        found = corrected_partitioning(world.stream("rgb"), world.areas, *nets, world.groups).level
        errors.append(found - planted_shares / planted_shares.sum())
    assert np.abs(np.mean(errors, 0)).max() < 0.02 and np.abs(errors).max() < 0.06


def test_where_networks_are_mostly_noise_shares_are_not():
    """Networks of depth whose noise is six times their signal; a penalty of .2 throughout was off by .13 (rms .05)."""
    knobs = {"polysemy": 3, "cooccurrence": 0.12, "layout": 0.07, "nuisance": 0.23, "imbalance": 0.2, "unit_noise": 0.3}
    knobs = Knobs(n=1000, networks=8, noise=0.83, noise_ratio=3.0, **knobs)
    errors = []
    for draw in range(6):
        world, nets = World(knobs, 1001, draw), range(1, 8)
        planted_shares = world.unit_shares("depth", beside=nets).sum(0)
        streams = [world.streams(m, nets) for m in ("rgb", "depth")]
        level = corrected_partitioning(world.stream("depth"), world.areas, *streams, world.groups).level
        errors.append(level - planted_shares / planted_shares.sum())
    assert np.abs(errors).max() < 0.1 and np.sqrt(np.mean(np.square(errors))) < 0.045


def test_what_it_refuses_and_what_it_leaves_undefined():
    _, (y, concepts, other, same, groups) = planted(0, 2, n=200, width=8, other_width=8)
    with pytest.raises(ValueError, match="two or more networks each; got 1 and 2"):
        corrected_partitioning(y, concepts, other[:1], same, groups)
    with pytest.raises(ValueError, match="`folds` must be >= 3; got 2"):
        corrected_partitioning(y, concepts, other, same, groups, folds=2)
    with pytest.raises(ValueError, match="one or two sets of labels; got 3"):
        corrected_partitioning(y, [concepts] * 3, other, same, groups)
    with pytest.raises(ValueError, match="finite"):
        corrected_partitioning(y * np.nan, concepts, other, same, groups)
    still = np.c_[y, np.ones(len(y))]
    found = corrected_partitioning(still, concepts, other, same, groups)
    assert np.isnan(found.shares[-1]).all() and np.isfinite(found.level).all()
    constant = [np.ones((len(y), 3))] * 2
    none = corrected_partitioning(y, concepts, constant, constant, groups)
    assert np.isnan(none.level).all() and "predict none" in none.reason
