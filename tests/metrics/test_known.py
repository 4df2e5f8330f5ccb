"""What networks know of the named part of units: beside a naive reference, and where the answer is planted."""

import numpy as np
import pytest

from rgbd_insight import stats
from rgbd_insight.metrics.known import KnownStatistic, _Regression, known_r2
from rgbd_insight.metrics.sides import CONCEPTS, PENALTY
from rgbd_insight.stats.groups import group_folds


def naive_known(y, concepts, sides, groups, penalty):
    """(Σ cov(n, g))² / Σ cov(g, g'), each over the unit's variance about the means of the folds, term by term."""

    def scaled(x):
        x = np.asarray(x, float)
        x = x[:, x.std(0) > 0]
        return (x - x.mean(0)) / x.std(0)

    def fitted(x, y, strength):
        x1 = np.hstack([x, np.ones((len(x), 1))])
        pull = strength * len(x) * np.diag([1.0] * x.shape[1] + [0.0])  # the mean is not shrunk
        return np.linalg.solve(x1.T @ x1 + pull, x1.T @ y)[:-1]

    y, concepts, sides = scaled(y), scaled(concepts), [np.hstack([scaled(x) for x in side]) for side in sides]
    cell = group_folds(groups, 10, 0)
    named_told = told_told = total = 0.0
    for f in range(5):
        test = cell // 2 == f
        weights, guesses, named = {}, {}, {}
        for h in (0, 1):
            half = ~test & (cell % 2 == h)
            weights[h] = fitted(concepts[half], y[half], CONCEPTS)
            named[h] = concepts[test] @ weights[h]
            for s in (0, 1):
                guesses[h, s] = sides[s][test] @ fitted(sides[s][half], concepts[half], penalty) @ weights[h]

        def covariance(a, b):
            return ((a - a.mean(0)) * (b - b.mean(0))).sum(0)

        for h in (0, 1):
            for s in (0, 1):
                named_told += covariance(named[1 - h], guesses[h, s]) / 4
        total += covariance(y[test], y[test])
        told_told += (covariance(guesses[0, 0], guesses[1, 1]) + covariance(guesses[0, 1], guesses[1, 0])) / 2
    return (named_told / total).sum() ** 2 / (told_told / total).sum()


def world(seed=0, n=600, count=12, known=4, noise=1.0, nets=6, private=1.0):
    """Units that read all concepts, networks that hold some of them; and the share of the named part that these are."""
    rng = np.random.default_rng(seed)
    concepts, weights = rng.normal(size=(n, count)), rng.normal(size=(count, 10))
    y = concepts @ weights + private * rng.normal(size=(n, 10))
    held = np.hstack([concepts[:, :known], rng.normal(size=(n, 3))])
    streams = [held @ rng.normal(size=(known + 3, 20)) + noise * rng.normal(size=(n, 20)) for _ in range(nets)]
    variance = (weights**2).sum(0) + private**2
    return y, concepts, streams, np.arange(n) // 2, ((weights[:known] ** 2).sum(0) / variance).sum()


def test_the_value_is_that_of_the_naive_reference():
    y, concepts, streams, groups, _ = world()
    for given, penalty in ((streams, PENALTY), (streams[:5], PENALTY), ([concepts[:, :3]], CONCEPTS)):
        found = KnownStatistic(y, concepts, given, groups, penalty=penalty).whole
        sides = [given[::2], given[1::2] or given]
        assert known_r2(found) == pytest.approx(naive_known(y, concepts, sides, groups, penalty), rel=1e-9)


@pytest.mark.parametrize("noise", [0.3, 2.0, 4.0])
def test_noise_of_the_networks_is_corrected_for(noise):
    ratio, plain = [], []
    for seed in range(6):
        y, concepts, streams, groups, truth = world(seed, noise=noise)
        found = KnownStatistic(y, concepts, streams, groups).whole
        ratio.append(known_r2(found) / truth)
        plain.append(found[0].sum() / truth)
    assert np.mean(ratio) == pytest.approx(1, abs=0.06)
    assert np.mean(plain) < 0.95 * np.mean(ratio) or noise < 1


def test_what_networks_hold_beside_the_concepts_is_not_known_of_them():
    """Networks that share much with the units, but no concept, know nothing of what the concepts name."""
    rng = np.random.default_rng(3)
    concepts, other = rng.normal(size=(2, 600, 6))
    y = concepts @ rng.normal(size=(6, 8)) + other @ rng.normal(size=(6, 8))
    streams = [other @ rng.normal(size=(6, 12)) + 0.1 * rng.normal(size=(600, 12)) for _ in range(4)]
    found = KnownStatistic(y, concepts, streams, np.arange(600)).whole
    assert not known_r2(found) > 0.05 * 8


def test_an_interval_holds_its_truth():
    inside = []
    for seed in range(20):
        y, concepts, streams, groups, truth = world(100 + seed, n=400)
        found = stats.estimate(KnownStatistic(y, concepts, streams, groups), groups, null=False)
        known = stats.combine(known_r2, found)
        inside.append(known.low < truth < known.high)
        assert known.se < 0.3 * truth
    assert sum(inside) >= 17


def test_a_leave_out_changes_a_fit_half_of_the_way_to_the_fit_without_these_rows():
    rng = np.random.default_rng(0)
    for width in (5, 50):  # fewer columns than rows, and more
        x, y, new = rng.normal(size=(40, width)), rng.normal(size=(40, 3)), rng.normal(size=(7, width))
        fit = _Regression(x, y, 0.3, new)

        def refitted(kept, x=x, y=y, new=new, width=width):
            x1 = np.hstack([x[kept], np.ones((kept.sum(), 1))])
            pull = 0.3 * 40 * np.diag([1.0] * width + [0.0])
            found = np.linalg.solve(x1.T @ x1 + pull, x1.T @ y[kept])
            return (new - x.mean(0)) @ found[:-1]

        whole = np.ones(40, bool)
        np.testing.assert_allclose(fit.value, refitted(whole), atol=1e-10)
        for row in (0, 7):
            out = np.arange(40) == row
            exact, h = refitted(~out) - fit.value, 1 - fit.rest[row, row]
            np.testing.assert_allclose(fit.without(out) - fit.value, np.sqrt(1 - h) * exact, atol=1e-10)
        assert fit.without(~whole) is fit.value


def test_invariances_and_what_is_constant():
    y, concepts, streams, groups, _ = world()
    whole = KnownStatistic(y, concepts, streams, groups).whole
    moved = KnownStatistic(3 - 2 * y, 5 * concepts + 1, [10 * x - 3 for x in streams], groups).whole
    np.testing.assert_allclose(moved, whole, atol=1e-9)
    constant = KnownStatistic(np.hstack([y, np.ones((len(y), 1))]), concepts, streams, groups).whole
    assert np.isnan(constant[:, -1]).all() and known_r2(constant) == pytest.approx(known_r2(whole))
    assert np.isnan(known_r2(np.array([[-0.1], [0.1]])))


def test_clear_errors():
    y, concepts, streams, groups, _ = world(n=60)
    with pytest.raises(ValueError, match="`folds` must be >= 3"):
        KnownStatistic(y, concepts, streams, groups, folds=2)
    with pytest.raises(ValueError, match="at least one stream"):
        KnownStatistic(y, concepts, [], groups)
