"""The two axes and their join: proofs as tests, naive references, planted pairs of streams."""

import itertools
from dataclasses import astuple

import numpy as np
import pytest

from rgbd_insight.metrics import QuadrantShares, joint_score, matching, partner_axes, profiles, semantic_scale
from rgbd_insight.metrics.joint import CUT, QUADRANTS, plug_in_scale
from rgbd_insight.stats.groups import group_folds


def test_the_score_is_monotone_in_both_parts():
    s, v = np.random.default_rng(0).uniform(-2, 3, (2, 1000))
    step = np.geomspace(1e-3, 2, 1000)
    assert (joint_score(s + step, v) < joint_score(s, v)).all() and (joint_score(s, v) < joint_score(s, v + step)).all()


def test_the_ends_of_the_score_and_what_it_does_with_one_part():
    assert joint_score(1.0, 0.0) == 0 and joint_score(0.0, 1.0) == 1  # two seeds of a modality; unrelated streams
    for end in (0.0, 1.0):  # either part alone has the same ends
        assert joint_score(1 - end, np.nan) == joint_score(np.nan, end) == end
    assert np.isnan(joint_score(np.nan, np.nan))
    np.testing.assert_allclose(joint_score([0.2, np.nan], [0.4, 0.4]), [0.6, 0.4])


def test_the_score_of_means_is_the_mean_of_scores():
    s, v = np.random.default_rng(0).normal(size=(2, 20))  # linear: unbiased parts give an unbiased score
    assert np.isclose(joint_score(s.mean(), v.mean()), joint_score(s, v).mean())


def naive(first, second):
    """The three numbers of the scale by loops over pairs of networks, of folds, and concepts."""
    nets, folds, concepts = first.shape

    def u(a, b):
        pairs = list(itertools.permutations(range(folds), 2))
        return np.mean([0.5 * (a[f, k] - b[f, k]) * (a[g, k] - b[g, k]) for f, g in pairs for k in range(concepts)])

    every = list(itertools.permutations(range(nets), 2))
    between = np.mean([u(first[i], second[j]) for i, j in every])
    floor = np.mean([u(side[i], side[j]) for side in (first, second) for i, j in every])
    apart = np.mean([u(first[i], 0 * first[i]) for i in range(nets)]) + np.mean(
        [u(second[i], 0 * second[i]) for i in range(nets)]
    )
    return between, floor, apart


@pytest.mark.parametrize("nets", [2, 3])
def test_the_scale_equals_loops(nets):
    first, second = np.random.default_rng(nets).normal(size=(2, nets, 5, 4))
    found = semantic_scale(first, second)
    np.testing.assert_allclose((found.between, found.floor, found.apart), naive(first, second), atol=1e-12)
    assert np.isclose(found.scaled, (found.between - found.floor) / (found.apart - found.floor))


def test_concepts_without_a_value_are_left_out_of_all_networks():
    first, second = np.random.default_rng(0).normal(size=(2, 2, 5, 4))
    want = semantic_scale(first[..., 1:], second[..., 1:])
    first[1, 3, 0] = np.nan
    np.testing.assert_allclose(astuple(semantic_scale(first, second)), astuple(want))
    first[:] = np.nan
    with pytest.raises(ValueError, match="must share a concept"):
        semantic_scale(first, second)
    for bad in (second[:1], second[0], second[..., :2]):
        with pytest.raises(ValueError, match="two networks or more"):
            semantic_scale(bad, second if bad.ndim == 3 and len(bad) == 2 else bad)


def test_the_scale_is_unbiased_where_the_plug_in_is_not():
    rng, truth = np.random.default_rng(0), np.linspace(-0.5, 0.5, 30)
    found = []
    for _ in range(200):  # the two modalities encode the same: the expectation is 0
        noisy = truth + 0.3 * rng.normal(size=(2, 2, 5, 30))
        plain = plug_in_scale(*noisy.mean(2))
        found.append((semantic_scale(*noisy).between, plain.between))
    mean, error = np.mean(found, 0), np.std(found, 0) / np.sqrt(len(found))
    assert abs(mean[0]) < 3 * error[0]
    assert np.isclose(mean[1], 0.3**2 / 5, rtol=0.05)  # ½ · 2 · σ²/F


@pytest.mark.parametrize("common", [0, 2, 5, 10])
def test_the_scale_is_the_share_of_concepts_that_one_stream_lacks(common):
    first, second = np.zeros((2, 2, 5, 20))
    first[..., :10], second[..., 10 - common : 20 - common] = 0.6, 0.6
    assert np.isclose(semantic_scale(first, second).scaled, 1 - common / 10)


def streams(shared, n=600, units=12, noise=0.5, seed=0):
    """Two networks of either modality whose units encode one concept each, `shared` of them the other's too."""
    rng = np.random.default_rng(seed)
    present = rng.random((n, 2 * units)) < 0.5
    of = [np.arange(units), np.r_[np.arange(shared), np.arange(units, 2 * units - shared)]]
    x = [[present[:, k] + noise * rng.normal(size=(n, units)) for _ in range(2)] for k in of]
    return *x, present, np.arange(n) // 3


@pytest.mark.parametrize("shared", [0, 3, 12])
def test_quadrants_are_the_planted_ones(shared):
    first, second, present, groups = streams(shared)
    rows = np.arange(len(groups))
    found = QuadrantShares(first, second, present, groups)(rows, rows)
    want = np.zeros(4)
    want[0], want[3] = shared / 12, 1 - shared / 12
    np.testing.assert_allclose(found, want, atol=1e-9)
    assert len(found) == len(QUADRANTS) and 0 < CUT < 1


def test_an_alike_unit_may_say_something_different():
    first, second, present, groups = streams(12, noise=0.2)
    rng = np.random.default_rng(1)
    for x, y in zip(first, second, strict=True):  # a large signal that no concept names, and labels turned round
        common = 3 * rng.normal(size=x.shape[0])
        x[:, 0], y[:, 0] = common + present[:, 0], common - present[:, 0]
    for side in (first, second):
        side[1][:, 0] = side[0][:, 0]
    second[1][:, 0] = second[0][:, 0]
    placed = QuadrantShares(first, second, present, groups).placed(*2 * [np.arange(len(groups))])
    assert placed[0][0][0] > CUT and placed[0][1][0] > placed[0][1][1:].max()


def test_partners_equal_loops_over_folds():
    first, second, present, groups = streams(4)
    x, y, fold = first[0], second[1], group_folds(groups, 5, 0)
    p, q = (profiles(z, present, groups).by_fold for z in (x, y))
    found = matching(x, y, groups, price=0.0)
    r, v = partner_axes(x, y, p, q, found, fold)
    for u in range(x.shape[1]):
        rs, vs = [], []
        for f in range(5):
            j, sign = found.partner[f, u], found.sign[f, u]
            at = fold == f
            rs.append(sign * np.corrcoef(x[at, u], y[at, j])[0, 1])
            d = p[:, u] - sign * q[:, j]
            vs.append(np.mean([0.5 * (d[a] * d[b]).mean() for a, b in itertools.permutations(range(5), 2)]))
        assert np.isclose(r[u], np.mean(rs)) and np.isclose(v[u], np.mean(vs))


def test_wider_streams_are_cut_and_networks_must_be_two():
    first, second, present, groups = streams(12)
    wide = [np.hstack([x, np.random.default_rng(2).normal(size=x.shape)]) for x in second]
    shares = QuadrantShares(first, wide, present, groups)
    assert {z.shape[1] for side in shares.sides for z in side} == {12}
    with pytest.raises(ValueError, match="two halves of its units"):
        QuadrantShares(first[:1], second[:1], present, groups)
