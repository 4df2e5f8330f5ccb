"""Measures against well-kept libraries, where they are installed; naive references stand in the other files.

`pip install --no-deps himalaya POT rsatoolbox` (extra `bench`) makes them run.
"""

from itertools import product

import numpy as np
import pytest

from rgbd_insight.metrics import baselines
from rgbd_insight.metrics.baselines import cka
from rgbd_insight.metrics.partitioning import variance_partitioning
from rgbd_insight.metrics.soft_matching import matching
from rgbd_insight.stats.groups import group_folds
from tests.metrics.test_partitioning import components_of, kept, world


def streams(seed=0, n=60, widths=(6, 4)):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 3))
    return [common @ rng.normal(size=(3, w)) + rng.normal(size=(n, w)) for w in widths]


@pytest.mark.parametrize("price", [0.0, 0.15])
@pytest.mark.parametrize("widths", [(7, 7), (8, 5)])
def test_partners_are_those_of_optimal_transport(widths, price):
    """Partial matching at a price is transport between units of mass 1, those that stay at home going to dummies."""
    ot = pytest.importorskip("ot", reason="POT is not installed")
    x, y = streams(3, 80, widths)
    groups = np.arange(80) // 2
    found, fold = matching(x, y, groups, price=price), group_folds(groups, 5, 0)
    size = max(widths)
    for f in range(5):
        r = np.corrcoef(x[fold != f].T, y[fold != f].T)[: widths[0], widths[0] :]
        gain = np.zeros((size, size))
        gain[: widths[0], : widths[1]] = np.maximum(np.abs(r) - price, 0)
        plan = ot.emd(np.full(size, 1 / size), np.full(size, 1 / size), -gain)[: widths[0], : widths[1]]
        plan = (plan > 0.5 / size) & (gain[: widths[0], : widths[1]] > 0)
        assert np.where(plan.any(1), plan.argmax(1), -1).tolist() == found.partner[f].tolist()


@pytest.fixture
def rdms():
    """Function of a stream: its squared distances, by rsatoolbox."""
    toolbox = pytest.importorskip("rsatoolbox", reason="rsatoolbox is not installed", exc_type=ImportError)
    return lambda x: toolbox.rdm.calc_rdm(toolbox.data.Dataset(x), method="euclidean")


def test_rsa_is_that_of_rsatoolbox(rdms):
    import rsatoolbox

    x, y = streams(1)
    want = rsatoolbox.rdm.compare(rdms(x), rdms(y), method="spearman").item()
    assert baselines.rsa(x, y) == pytest.approx(want, abs=1e-9)


def test_linear_cka_is_the_whitened_cosine_of_rsatoolbox(rdms):
    """Diedrichsen et al. 2021: the cosine of squared distances, whitened by their covariance, is linear CKA."""
    import rsatoolbox

    x, y = streams(2, 30)
    want = rsatoolbox.rdm.compare(rdms(x), rdms(y), method="cosine_cov").item()
    assert cka(x, y) == pytest.approx(want, abs=1e-6)


def himalaya_fit(ridge, blocks, y, train, penalties):
    """Prediction of every row by GroupRidgeCV at one choice of penalties: its α/γ_b is our rows x penalty_b."""
    strength = 1 / np.asarray(penalties, float)
    mean = [b[train].mean(0) for b in blocks]
    centred = [b - m for b, m in zip(blocks, mean, strict=True)]
    alphas = np.array([train.sum() / strength.sum()])
    solver = {"n_iter": strength[None] / strength.sum(), "alphas": alphas, "warn": False, "progress_bar": False}
    model = ridge.GroupRidgeCV(groups="input", solver_params=solver, cv=2, fit_intercept=False)
    model.fit([b[train] for b in centred], y[train] - y[train].mean(0))
    return y[train].mean(0) + model.predict(centred)


def himalaya_r2(ridge, inputs, y, fold, count, grid):
    error = total = np.zeros(y.shape[1])
    for f in np.unique(fold):
        train, test = fold != f, fold == f
        blocks = [components_of(z, train, kept(z, count)) for z in inputs]
        choices, sums = list(product(grid, repeat=len(blocks))), []
        for choice in choices:
            parts = [(train & (fold != h), fold == h) for h in np.unique(fold) if h != f]
            sums.append(sum(((himalaya_fit(ridge, blocks, y, a, choice) - y)[b] ** 2).sum(0) for a, b in parts))
        best = np.argmin(sums, axis=0)
        fits = np.stack([himalaya_fit(ridge, blocks, y, train, choices[c])[:, u] for u, c in enumerate(best)], axis=1)
        error = error + ((fits - y)[test] ** 2).sum(0)
        total = total + ((y[test] - y[train].mean(0)) ** 2).sum(0)
    return 1 - error / total


def test_banded_ridge_is_that_of_himalaya():
    ridge = pytest.importorskip("himalaya.ridge", reason="himalaya is not installed")
    y, named, other, same, groups, _ = world(n=150, units=3, width=10, kinds=3)
    grid, fold = (0.03, 1.0, 30.0), group_folds(groups, 3, 0)
    partitioning = variance_partitioning(y, named, other, same, groups, components=6, folds=3, penalties=grid)
    for number, inputs in enumerate([[named], other, same, [named, *other], [named, *same]]):
        want = himalaya_r2(ridge, inputs, y, fold, 6, grid)
        assert partitioning.r2[:, number] == pytest.approx(want, abs=1e-6)
