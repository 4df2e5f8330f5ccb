"""Measures in common use against plain references, and the whole matrix against its single pairs."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes, subspace_angles
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from rgbd_insight.metrics import baselines
from rgbd_insight.metrics.baselines import cka, pairs
from rgbd_insight.metrics.cka import debiased_cka

PAIRWISE = sorted(pairs.MEASURES)


def streams(seed=0, n=60, widths=(6, 4), noise=1.0, shared=2):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, shared))
    return [common @ rng.normal(size=(shared, w)) + noise * rng.normal(size=(n, w)) for w in widths]


def spread(seed=0, n=60):
    """Streams whose units differ a lot in size, so that a share of the variance matters."""
    x, y = streams(seed, n, (7, 5))
    return x * [8, 6, 4, 2, 1, 0.3, 0.1] + 20, y * [5, 4, 1, 0.5, 0.1]


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99, 1.0])
def test_svcca_is_cca_of_the_principal_components(kept):
    x, y = spread()
    parts = []
    for side in (x, y):
        whole = PCA(svd_solver="full").fit(side)
        count = 1 + np.flatnonzero(np.cumsum(whole.explained_variance_ratio_) >= kept - 1e-9)[0]
        parts.append(whole.transform(side)[:, :count])
    angles = subspace_angles(*parts)
    assert baselines.svcca(x, y, kept) == pytest.approx(np.cos(angles).mean(), rel=1e-9)


def test_a_share_of_the_variance_is_not_a_share_of_the_sizes():
    """Sizes 4, 2, 1: their squares reach .76, .95 and 1, the sizes themselves only .57, .86 and 1."""
    rng = np.random.default_rng(1)
    x = np.linalg.qr(rng.normal(size=(50, 4)) - rng.normal(size=4))[0]
    x = np.linalg.qr(x - x.mean(0))[0][:, :3] * [4, 2, 1]
    assert [baselines.subspaces.leading(x - x.mean(0), kept).shape[1] for kept in (0.7, 0.9, 0.96)] == [1, 2, 3]


def naive_pwcca(x, y):
    """Canonical variates by inverse square roots of the covariances; the weights of x."""
    x, y = x - x.mean(0), y - y.mean(0)

    def whiten(s):
        values, vectors = np.linalg.eigh(s.T @ s)
        return s @ vectors / np.sqrt(values)

    a, b = whiten(x), whiten(y)
    values, turn = np.linalg.eigh(a.T @ b @ b.T @ a)
    count = min(x.shape[1], y.shape[1])
    rho, h = np.sqrt(np.maximum(values[-count:], 0)), (a @ turn)[:, -count:]
    weight = sum(np.abs(h.T @ unit) for unit in x.T)
    return (weight * rho).sum() / weight.sum()


@pytest.mark.parametrize("widths", [(6, 4), (4, 6), (5, 5), (20, 2)])
def test_pwcca_is_the_naive_one_whichever_layer_is_wider(widths):
    x, y = streams(2, widths=widths)
    assert baselines.pwcca(x, y) == pytest.approx(naive_pwcca(x, y), rel=1e-8)


def test_canonical_correlations_are_those_of_scikit_learn():
    x, y = streams(3, 200, (4, 3))
    one, other = CCA(3, max_iter=5000, tol=1e-12).fit_transform(x, y)
    want = np.mean([np.corrcoef(one[:, i], other[:, i])[0, 1] for i in range(3)])
    assert baselines.svcca(x, y, kept=1.0) == pytest.approx(want, abs=1e-5)


def test_dependent_units_do_not_break_the_canonical_correlations():
    x, y = streams(4)
    wide = np.c_[x, x @ np.ones((6, 3)), np.full(60, 0.1)] + 300
    assert baselines.svcca(wide, y, kept=1.0) == pytest.approx(baselines.svcca(x, y, kept=1.0), rel=1e-7)
    assert 0 <= baselines.pwcca(wide, y) <= 1 and baselines.pwcca(y, wide) == pytest.approx(baselines.pwcca(y, x))


@pytest.mark.parametrize("widths", [(6, 4), (4, 6), (90, 70)])
def test_procrustes_is_what_the_best_rotation_leaves(widths):
    x, y = streams(5, widths=widths)
    a, b = (np.pad(s - s.mean(0), ((0, 0), (0, max(widths) - s.shape[1]))) for s in (x, y))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    rotation, scale = orthogonal_procrustes(a, b)
    assert baselines.procrustes_distance(x, y) == pytest.approx(np.linalg.norm(a @ rotation - b), rel=1e-9)
    assert baselines.procrustes(x, y) == pytest.approx(scale, rel=1e-9)


def test_procrustes_distance_keeps_the_triangle_inequality():
    for seed in range(30):
        a, b, c = streams(seed, 20, (5, 3, 8))
        distance = baselines.procrustes_distance
        assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12


@pytest.mark.parametrize("n", [4, 60])
def test_rsa_is_spearman_of_the_distances(n):
    x, y = streams(6, n)
    want = spearmanr(pdist(x, "sqeuclidean"), pdist(y, "sqeuclidean")).statistic
    assert baselines.rsa(x, y) == pytest.approx(want, abs=1e-9)


def test_equal_distances_share_their_rank():
    square = np.array([[0.0, 0], [0, 1], [1, 1], [1, 0]])
    y = np.array([[0.0, 0], [1, 2], [3, 1], [7, 7]])
    want = spearmanr(pdist(square, "sqeuclidean"), pdist(y, "sqeuclidean")).statistic
    assert baselines.rsa(square, y) == pytest.approx(want, abs=1e-12)
    turned = square @ [[0.6, 0.8], [-0.8, 0.6]] + 9
    assert baselines.rsa(turned, y) == pytest.approx(want, abs=1e-12)
    with pytest.raises(ValueError, match="all are equidistant"):
        baselines.rsa(np.eye(4), y)


@pytest.mark.parametrize("k", [1, 5, 59])
def test_knn_overlap_is_that_of_scikit_learn(k):
    x, y = streams(7)
    found = [NearestNeighbors(n_neighbors=k).fit(s).kneighbors(return_distance=False) for s in (x, y)]
    want = np.mean([len(set(a) & set(b)) / k for a, b in zip(*found, strict=True)])
    assert baselines.knn_overlap(x, y, k) == pytest.approx(want, abs=1e-12)


def test_neighbours_are_found_in_parts(monkeypatch):
    x, y = streams(8)
    whole = baselines.knn_overlap(x, y)
    monkeypatch.setattr(baselines.neighbours, "ROWS", 7)
    assert baselines.knn_overlap(x, y) == whole


def test_unrelated_streams_share_neighbours_by_chance():
    values = [baselines.knn_overlap(*np.random.default_rng(s).normal(size=(2, 50, 8)), k=7) for s in range(40)]
    assert np.mean(values) == pytest.approx(7 / 49, abs=4 * np.std(values) / np.sqrt(40))


def naive_minibatch(x, y, cuts):
    """The ratio of weighted sums of U-statistics, each from Gram matrices."""

    def hsic(a, b):
        n = len(a)
        k, l = a @ a.T, b @ b.T  # noqa: E741
        np.fill_diagonal(k, 0)
        np.fill_diagonal(l, 0)
        total = (k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ l).sum()
        return n * total / (n * (n - 3))

    parts = list(zip(np.split(x, cuts), np.split(y, cuts), strict=True))
    sums = [sum(hsic(p[i], p[j]) for p in parts) for i, j in ((0, 1), (0, 0), (1, 1))]
    return sums[0] / np.sqrt(sums[1] * sums[2])


@pytest.mark.parametrize(("n", "batch", "cuts"), [(60, 20, [20, 40]), (61, 20, [16, 31, 46]), (60, 256, [])])
def test_minibatch_cka_is_the_naive_one(n, batch, cuts):
    x, y = streams(9, n, (6, 80))
    assert baselines.minibatch_cka(x, y, batch) == pytest.approx(naive_minibatch(x, y, cuts), rel=1e-9)
    if not cuts:
        assert baselines.minibatch_cka(x, y, batch) == pytest.approx(debiased_cka(x, y), rel=1e-9)


@pytest.mark.parametrize("batch", [4, 50, 100, 400])
def test_single_precision_costs_no_digits_of_minibatch_cka(batch):
    """Offsets, scales that change between batches, and batches too small for an unbiased estimate in float32."""
    x, y = (layer * np.linspace(1, 9, 400)[:, None] + 300 for layer in streams(9, 400, (64, 512)))
    x, y = x.astype(np.float32), y.astype(np.float32)
    want = naive_minibatch(x.astype(float), y.astype(float), range(batch, 400, batch))
    assert baselines.minibatch_cka(x, y, batch) == pytest.approx(want, abs=1e-7)
    small = np.float32(2.0**-60)  # squares of such a size would vanish
    assert baselines.minibatch_cka(small * x, y, batch) == pytest.approx(want, abs=1e-7)


def test_minibatch_cka_says_what_has_no_geometry_within_batches():
    x = np.random.default_rng(1).normal(size=(60, 3))
    with pytest.raises(ValueError, match="more than chance variance within batches of 20; one has none"):
        baselines.minibatch_cka(x, np.repeat(x[:3], 20, 0), batch=20)


@pytest.mark.parametrize("rest", [0, 1, 2, 3, 4])
def test_a_small_remainder_neither_crashes_nor_weighs_more(rest):
    x, y = streams(10, 1024 + rest, (8, 8))
    assert baselines.minibatch_cka(x, y, 64) == pytest.approx(debiased_cka(x, y), abs=0.02)


@pytest.mark.parametrize("measure", PAIRWISE)
def test_matrix_holds_every_pair(measure):
    layers = streams(11, 40, (6, 4, 50))
    others = [layer**2 for layer in layers[:2]]
    function = getattr(baselines, measure)
    want = [[function(a, b) for b in layers] for a in layers]
    np.testing.assert_allclose(baselines.matrix(measure, layers), want, rtol=1e-7, atol=2e-8)
    want = [[function(a, b) for b in others] for a in layers]
    np.testing.assert_allclose(baselines.matrix(measure, layers, others), want, rtol=1e-9)


def test_options_reach_the_measure():
    layers = [layer[:, :4] for layer in spread()]
    for measure, option in (("svcca", {"kept": 0.6}), ("knn_overlap", {"k": 3}), ("minibatch_cka", {"batch": 9})):
        function = getattr(baselines, measure)
        found = baselines.matrix(measure, layers, **option)[0, 1]
        assert found == pytest.approx(function(*layers, **option), rel=1e-9) and found != function(*layers)


def test_each_layer_is_factorised_once(monkeypatch):
    calls = []
    prepare, score = pairs.PAIRS["svcca"]
    monkeypatch.setitem(pairs.PAIRS, "svcca", (lambda layer: (calls.append(1), prepare(layer))[1], score))
    baselines.matrix("svcca", streams(12, widths=(3, 4, 5)), streams(13, widths=(3, 4)))
    assert len(calls) == 5


def test_biased_cka_is_the_one_of_similarity():
    assert baselines.cka is cka


def test_errors_name_the_argument():
    x, y = streams(14)
    for measure in PAIRWISE:
        with pytest.raises(ValueError, match="`y` must have one row for each of the 60 rows of `x`; got 59"):
            getattr(baselines, measure)(x, y[:-1])
        with pytest.raises(ValueError, match="`x` must vary over the images"):
            getattr(baselines, measure)(np.full_like(x, 0.1), y)
        with pytest.raises(ValueError, match=r"`second\[1\]` must be finite"):
            baselines.matrix(measure, [x], [y, np.where(y > 1, np.nan, y)])
    for call, message in (
        (lambda: baselines.svcca(x, y, kept=99), "`kept` must be a share"),
        (lambda: baselines.knn_overlap(x, y, k=60), "`k` must be from 1 to 59"),
        (lambda: baselines.minibatch_cka(x, y, batch=3), "`batch` must be at least 4"),
        (lambda: baselines.matrix("scca", [x]), "`measure` must be one of cka, knn_overlap"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
