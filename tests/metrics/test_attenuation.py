"""The variance partitioning corrected for attenuation: against scikit-learn, on planted units, and what it refuses."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from rgbd_insight import stats
from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics.attenuation import PENALTY, corrected_partitioning
from rgbd_insight.metrics.partitioning import SHARES, variance_partitioning
from rgbd_insight.stats.groups import group_folds

FEW = range(1, 5)


def planted(seed, networks=4, **knobs):
    world = World(Knobs(pure=True, networks=1 + networks, **knobs), seed)
    nets = range(1, 1 + networks)
    others = (world.streams(m, nets) for m in ("depth", "rgb"))
    return world, (world.stream("rgb"), world.areas, *others, world.groups)


def standard(a):
    return (a - a.mean(0)) / a.std(0)


def covariances_by_hand(y, nets, concepts, groups, without):
    """Σ cov(y, û) and Σ cov(û_A, û_B) of two networks, by scikit-learn, one side and half after the other."""
    n, cell = len(y), group_folds(groups, 6, 0)
    fold = cell // 2
    found = np.zeros((2, y.shape[1]))
    for f in range(3):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        half = cell[train] % 2
        for a, b in ((0, 1), (1, 0)):
            guesses, units = [], []
            for net, h in ((a, 0), (b, 1)):
                rows = train[half == h]

                def rest(z, rows=rows):
                    fit = Ridge(alpha=1e-3 * len(rows)).fit(concepts[rows], z[rows])
                    return z - fit.predict(concepts) if without else z

                x, target = rest(nets[net]), rest(y)
                guess = Ridge(alpha=PENALTY * len(rows)).fit(x[rows], target[rows]).predict(x[test])
                guesses.append(guess - guess.mean(0)), units.append(target[test] - target[test].mean(0))
            found[0] += (units[1] * guesses[0] + units[0] * guesses[1]).sum(0) / 4
            found[1] += (guesses[0] * guesses[1]).sum(0) / 2
    total = sum(((y[fold == f] - y[fold == f].mean(0)) ** 2).sum(0) for f in range(3))
    assert n == len(groups)
    return found / total


def test_it_is_the_stated_formula():
    world, (y, concepts, other, same, groups) = planted(3, 2, n=300, width=16, other_width=16, noise=0.5)
    found = corrected_partitioning(y, concepts, other, same, groups, folds=3)
    parts = {}
    for name, nets in (("other", other), ("same", same)):
        arrays = [standard(a) for a in (y, *nets, concepts)]
        whole, rest = (covariances_by_hand(arrays[0], arrays[1:-1], arrays[-1], groups, w) for w in (False, True))
        named = whole - rest
        attenuation = [part[1].sum() / part[0].sum() for part in (named, rest)]
        parts[name] = [named[0] / attenuation[0], rest[0] / attenuation[1]]
        assert found.attenuation[("other", "same").index(name)] == pytest.approx(attenuation, abs=1e-9)
    (named, unnamed), (named_too, unnamed_too) = parts["other"], parts["same"]
    want = [named, named_too - named, unnamed, unnamed_too - unnamed]
    np.testing.assert_allclose(found.shares, np.transpose(want), atol=1e-9)
    np.testing.assert_allclose(found.shares.sum(1), found.ceiling, atol=1e-12)
    assert found.level.sum() == pytest.approx(1) and len(found.level) == len(SHARES)


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


def test_it_has_an_interval_over_groups():
    _, (y, concepts, other, same, groups) = planted(4, 2, n=200, width=8, other_width=8, noise=0.5)

    def level(i, _):
        return corrected_partitioning(y[i], concepts[i], [x[i] for x in other], [x[i] for x in same], groups[i]).level

    found = stats.estimate(level, groups, stats.Resampling(blocks=20), null=False)
    assert (found.low < found.value).all() and (found.value < found.high).all()


def test_what_it_refuses_and_what_it_leaves_undefined():
    _, (y, concepts, other, same, groups) = planted(0, 2, n=200, width=8, other_width=8)
    with pytest.raises(ValueError, match="two or more networks each; got 1 and 2"):
        corrected_partitioning(y, concepts, other[:1], same, groups)
    with pytest.raises(ValueError, match="`folds` must be >= 3; got 2"):
        corrected_partitioning(y, concepts, other, same, groups, folds=2)
    with pytest.raises(ValueError, match="finite"):
        corrected_partitioning(y * np.nan, concepts, other, same, groups)
    still = np.c_[y, np.ones(len(y))]
    found = corrected_partitioning(still, concepts, other, same, groups)
    assert np.isnan(found.shares[-1]).all() and np.isfinite(found.level).all()
    constant = [np.ones((len(y), 3))] * 2
    none = corrected_partitioning(y, concepts, constant, constant, groups)
    assert np.isnan(none.level).all() and "predict none" in none.reason
