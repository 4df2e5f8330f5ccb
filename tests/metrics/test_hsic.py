"""Unbiased HSIC against Gram-matrix formulas, whichever way its sums are taken; moments as states that add."""

import numpy as np
import pytest
import torch

from rgbd_insight.metrics import hsic
from rgbd_insight.metrics.hsic import Moments, centred_hsic, hsic_matrix, residual_factor, unbiased_hsic


def song(x, y):
    """The U-statistic of Song et al. 2012, equation 4, from n x n Gram matrices."""
    n = len(x)
    k, l = (s @ s.T for s in (x.astype(np.float64), y.astype(np.float64)))  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    one = np.ones(n)
    total = (
        np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ l @ one)
    )
    return total / (n * (n - 3))


def draw(seed, n=37, widths=(5, 3, 8)):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 2))
    return [common @ rng.normal(size=(2, w)) + rng.standard_t(4, size=(n, w)) for w in widths]


def fields(state):
    return np.concatenate([np.ravel(v) for v in (state.n, state.first, state.second, state.cubic, state.quartic)])


@pytest.mark.parametrize("n", [4, 5, 37])
def test_hsic_is_the_u_statistic(n):
    streams = draw(n, n)
    want = [[song(a, b) for b in streams] for a in streams]
    np.testing.assert_allclose(Moments.from_rows(*streams).hsic(), want, rtol=1e-9, atol=1e-12)
    centred = [torch.from_numpy(s - s.mean(0)) for s in streams]
    np.testing.assert_allclose(hsic_matrix(centred)[0], want, rtol=1e-9, atol=1e-12)


def test_both_ways_to_the_products_are_the_same(monkeypatch):
    monkeypatch.setattr(hsic, "ROWS", 7)
    centred = [torch.from_numpy(s - s.mean(0)) for s in draw(3)]
    np.testing.assert_allclose(hsic._by_units(centred), hsic._by_images(centred), rtol=1e-9)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_arrays_and_tensors_have_one_formula(kind):
    x, y, _ = draw(9)
    x, y = (kind(s - s.mean(0)) for s in (x, y))
    lengths = (x**2).sum(1), (y**2).sum(1)
    traces = lengths[0].sum(), lengths[1].sum()
    found = centred_hsic(((x.T @ y) ** 2).sum(), lengths[0] @ lengths[1], traces, len(x))
    assert type(found) is type(traces[0]) and float(found) == pytest.approx(song(np.asarray(x), np.asarray(y)))


@pytest.mark.parametrize("cuts", [[36], [1], [3, 4, 34], [10, 20, 30], list(range(1, 37))], ids=str)
def test_state_of_parts_is_state_of_whole(cuts):
    """Any remainder counts by its rows: a last batch of one to three samples is no special case."""
    streams = draw(1)
    whole = Moments.from_rows(*streams)
    parts = [Moments.from_rows(*part) for part in zip(*(np.split(s, cuts) for s in streams), strict=True)]
    together = Moments.total(*parts)
    np.testing.assert_allclose(fields(together.moved(whole.shift)), fields(whole), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(together.hsic(), whole.hsic(), rtol=1e-10)
    rest = whole
    for part in parts[1:]:
        rest = rest - part
    np.testing.assert_allclose(fields(rest.moved(parts[0].shift)), fields(parts[0]), atol=1e-8)


@pytest.mark.parametrize("batch", [1, 3, 10, 37])
def test_one_pass_over_batches_is_the_state_of_all(batch):
    streams = [s.astype(np.float32) + np.float32(30) for s in draw(8)]
    whole = Moments.from_rows(*streams)
    found = Moments.from_batches([s[i : i + batch] for s in streams] for i in range(0, 37, batch))
    np.testing.assert_allclose(fields(found.moved(whole.shift)), fields(whole), rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(found.hsic(), whole.hsic(), rtol=1e-9)
    with pytest.raises(ValueError, match=r"widths .5, 3, 8.; got .5, 3"):
        Moments.from_batches([streams, streams[:2]])
    with pytest.raises(ValueError, match="at least one batch"):
        Moments.from_batches([])


def test_subtraction_gives_the_leave_outs():
    streams = draw(2, 60)
    whole = Moments.from_rows(*streams)
    for block in np.split(np.arange(60), 20):
        left = [np.delete(s, block, 0) for s in streams]
        found = whole - Moments.from_rows(*(s[block] for s in streams))
        np.testing.assert_allclose(found.hsic(), Moments.from_rows(*left).hsic(), rtol=1e-9)
        np.testing.assert_allclose(found.mean, np.concatenate([s.mean(0) for s in left]))
        scatter = np.cov(np.hstack(left).T) * (len(left[0]) - 1)
        np.testing.assert_allclose(found.moved(found.mean).second, scatter, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-4, 0.01, 1, 1e4])
@pytest.mark.parametrize("constant", [0, 10, 30, 100, 300])
def test_offsets_and_scales_cost_no_digits(constant, scale):
    x, y, _ = draw(3, 200)
    want = song(x - x.mean(0), y - y.mean(0))
    batches = [slice(i, i + 23) for i in range(0, 200, 23)]
    state = Moments.total(*(Moments.from_rows((x[b] + constant) * scale, y[b] - constant) for b in batches))
    assert state.hsic()[0, 1] / scale**2 == pytest.approx(want, rel=1e-7)


def test_single_precision_rows_are_summed_in_double():
    x, y = (s.astype(np.float32) + np.float32(300) for s in draw(4, 100)[:2])
    want = song(x.astype(float) - x.astype(float).mean(0), y.astype(float) - y.astype(float).mean(0))
    assert Moments.from_rows(x, y).hsic()[0, 1] == pytest.approx(want, rel=1e-9)


def test_negative_values_are_kept():
    rng = np.random.default_rng(5)
    values = [Moments.from_rows(*rng.normal(size=(2, 20, 4))).hsic()[0, 1] for _ in range(200)]
    assert 0.3 < np.mean(np.array(values) < 0) < 0.8


def test_sums_about_another_shift_are_the_same_rows():
    streams = draw(6)
    state, other = Moments.from_rows(*streams), np.linspace(-2, 2, 16)
    np.testing.assert_allclose(fields(state.moved(other)), fields(Moments.from_rows(*streams, shift=other)), atol=1e-8)
    np.testing.assert_allclose(state.moved(other).mean, state.mean)


def test_errors_name_the_argument():
    x, y, _ = draw(7)
    with pytest.raises(ValueError, match="at least 4 images"):
        Moments.from_rows(x[:3], y[:3]).hsic()
    with pytest.raises(ValueError, match=r"streams\[1\]` must have one row"):
        Moments.from_rows(x, y[:-1])
    with pytest.raises(ValueError, match=r"`streams\[0\]` must be finite; got nan at image 2, unit 1"):
        Moments.from_rows(np.where(np.arange(37 * 5).reshape(37, 5) == 11, np.nan, x))
    with pytest.raises(ValueError, match="widths"):
        Moments.from_rows(x, y) + Moments.from_rows(y, x)
    with pytest.raises(ValueError, match="at most the 3 rows"):
        Moments.from_rows(x[:3]) - Moments.from_rows(x)
    with pytest.raises(ValueError, match="at least 4 images"):
        unbiased_hsic(1.0, 1.0, 1.0, n=3)
    with pytest.raises(ValueError, match="at least 6 images to regress out 2 confounds; got 5"):
        residual_factor(np.eye(5)[:, :2])
