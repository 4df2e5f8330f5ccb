"""Profiles and semantic variance against scikit-learn and explicit loops; unbiasedness on planted units."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import roc_auc_score

from rgbd_insight import stats
from rgbd_insight.metrics.semantic import (
    LevelSemanticVariance,
    _rank_profile,
    concept_variance,
    level_semantic_variance,
    profiles,
    semantic_variance,
)
from rgbd_insight.stats.groups import group_folds


def world(n=300, units=4, concepts=3, seed=0):
    rng = np.random.default_rng(seed)
    present = rng.random((n, concepts)) < 0.4
    x = present @ rng.normal(size=(concepts, units)) + rng.normal(size=(n, units))
    return x.round(1), present, np.arange(n) // 3  # rounding makes ties


def test_profiles_equal_scikit_learn():
    x, present, groups = world()
    ours = profiles(x, present, groups)
    fold = group_folds(groups, 5, 0)
    for u, k in itertools.product(range(4), range(3)):
        assert np.isclose(ours.s[u, k], 2 * roc_auc_score(present[:, k], x[:, u]) - 1)
        for f in range(5):
            expected = 2 * roc_auc_score(present[fold == f, k], x[fold == f, u]) - 1
            assert np.isclose(ours.by_fold[f, u, k], expected)


def test_profiles_invariances_and_rows():
    x, present, groups = world()
    ours = profiles(x, present, groups).s
    assert np.allclose(profiles(np.exp(x) * 5 + 100, present, groups).s, ours)  # any increasing function
    assert np.allclose(profiles(-x, present, groups).s, -ours)
    rows = np.arange(240)
    cut = profiles(x, present, groups, rows=rows)
    assert np.allclose(cut.s, profiles(x[:240], present[:240], groups[:240]).s)
    moved = profiles(x, present, groups, rows=rows, partner=rows + 60).s
    assert np.allclose(moved, profiles(x[:240], present[60:], groups[:240]).s)


def test_profiles_missing_with_a_reason():
    x, present, groups = world()
    present[:, 0] = np.arange(300) < 49
    present[:, 1] = group_folds(groups, 5, 0) > 0  # nowhere in one whole fold
    ours = profiles(np.hstack([x, np.ones((300, 1))]), present, groups)
    assert np.isnan(ours.s[:, :2]).all() and np.isfinite(ours.s[:, 2]).all() and ours.s[-1, 2] == 0
    assert ours.reason[0].startswith("49 positives") and "a fold" in ours.reason[1] and ours.reason[2] == ""
    with pytest.raises(ValueError, match="finite"):
        profiles(np.where(x > 1, np.inf, x), present, groups)


def naive_variance(a, b):
    """½ · mean over concepts and over pairs of different folds of d_f · d_g, by loops; a, b (F, K)."""
    products = [(a[f] - b[f]) * (a[g] - b[g]) for f, g in itertools.permutations(range(len(a)), 2)]
    return 0.5 * np.mean(products)


def test_semantic_variance_equals_loops():
    rng = np.random.default_rng(1)
    a, b = rng.uniform(-1, 1, (5, 3, 7)), rng.uniform(-1, 1, (5, 4, 7))
    b[0, 0, 2] = np.nan  # this concept is left out for every unit
    kept = np.arange(7) != 2
    ours = semantic_variance(a, b)
    assert ours.shape == (3, 4)
    for u, v in itertools.product(range(3), range(4)):
        assert np.isclose(ours[u, v], naive_variance(a[:, u][:, kept], b[:, v][:, kept]))
    assert np.allclose(semantic_variance(b, a), ours.T)
    assert np.allclose(np.diag(semantic_variance(a, a)), 0, atol=1e-12)


def test_level_semantic_variance_equals_loops():
    rng = np.random.default_rng(2)
    a, b = rng.uniform(-1, 1, (5, 4, 6)), rng.uniform(-1, 1, (5, 7, 6))
    scores = []
    for f, g in itertools.permutations(range(5), 2):
        cost = np.array([[((u - v) ** 2).mean() / 2 for v in b[f]] for u in a[f]])
        u, v = linear_sum_assignment(cost)
        scores += [((a[f, i] - b[f, j]) * (a[g, i] - b[g, j])).mean() / 2 for i, j in zip(u, v, strict=True)]
    assert np.isclose(level_semantic_variance(a, b), np.mean(scores))
    assert np.isclose(level_semantic_variance(b, a), level_semantic_variance(a, b))
    assert np.isclose(level_semantic_variance(a[:, [2, 0, 3, 1]], b), level_semantic_variance(a, b))


def test_concept_variance_equals_loops():
    rng = np.random.default_rng(3)
    a, b = rng.uniform(-1, 1, (6, 3)), rng.uniform(-1, 1, (6, 3))
    assert np.allclose(concept_variance(a, b), [naive_variance(a[:, [k]], b[:, [k]]) for k in range(3)])
    a[0, 1] = np.nan
    assert np.isnan(concept_variance(a, b)).tolist() == [False, True, False]


def test_identical_units_have_variance_zero_on_average_at_few_images():
    """Two units that answer to the same concepts, each with its own noise: 50 images in 5 folds of groups."""
    rng, unbiased, plug_in = np.random.default_rng(4), [], []
    for _ in range(300):
        present = np.stack([rng.permuted(np.tile(np.arange(10) < 4, (5, 1)), axis=1).ravel() for _ in range(6)], 1)
        signal = present @ rng.normal(size=(6, 1))
        x = signal + rng.normal(size=(50, 2))
        folds = np.stack([_rank_profile(x[f : f + 10], present[f : f + 10]) for f in range(0, 50, 10)])  # (F, 2, K)
        unbiased.append(semantic_variance(folds[:, :1], folds[:, 1:]).item())
        plug_in.append(0.5 * ((folds[:, 0] - folds[:, 1]).mean(0) ** 2).mean())
    z = np.mean(unbiased) / (np.std(unbiased) / 300**0.5)
    assert abs(z) <= 4 and np.mean(plug_in) > 10 * abs(np.mean(unbiased))


def test_opposite_profiles_reach_the_upper_end():
    up = np.ones((5, 3, 4))
    assert level_semantic_variance(up, -up) == 2.0 and (semantic_variance(up, -up) == 2).all()


def test_semantic_errors():
    a = np.zeros((5, 2, 3))
    with pytest.raises(ValueError, match="5 folds"):
        semantic_variance(a[:4], a[:4])
    with pytest.raises(ValueError, match="one F and K"):
        semantic_variance(a, a[..., :2])
    with pytest.raises(ValueError, match="one F and K"):
        concept_variance(a, a)
    with pytest.raises(ValueError, match="without NaN"):
        semantic_variance(a, a * np.nan)
    with pytest.raises(ValueError, match="have units"):
        level_semantic_variance(a, a[:, :0])


def test_the_statistic_of_two_levels_is_the_plain_function_with_the_folds_of_the_full_set():
    x, present, groups = world(n=600)
    y = x[:, ::-1] + np.random.default_rng(1).normal(size=x.shape)
    statistic, every = LevelSemanticVariance(x, y, present, groups), np.arange(600)
    sides = [profiles(z, present, groups).by_fold for z in (x, y)]
    assert statistic(every, every) == level_semantic_variance(*sides)
    found = stats.estimate(statistic, groups, null=False)
    kept = np.flatnonzero(stats.blocks_of(groups, 40) != 3)
    sides = [profiles(z, present, groups, rows=kept).by_fold for z in (x, y)]
    assert found.blocks == 40 and found.leave_outs[3] == level_semantic_variance(*sides)
