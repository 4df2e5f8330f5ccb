"""All levels at once, and many subsets and permutations at once, against one comparison at a time."""

import numpy as np
import pytest
import torch

from rgbd_insight import stats
from rgbd_insight.metrics import cka as _cka
from rgbd_insight.metrics import grams as _grams
from rgbd_insight.metrics.cka import cka_matrix, cka_statistic, debiased_cka


def draw(seed=0, n=60, widths=(6, 4, 30), dtype=np.float64):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 3))
    return [(common @ rng.normal(size=(3, w)) + rng.normal(size=(n, w))).astype(dtype) for w in widths]


@pytest.mark.parametrize("widths", [(6, 4, 30), (100, 80, 5), (300, 200, 90)])
def test_matrix_is_that_of_single_pairs(widths):
    found, others = draw(1, widths=widths), draw(2, widths=widths[:2])
    want = [[debiased_cka(a, b) for b in found] for a in found]
    np.testing.assert_allclose(cka_matrix(found), want, atol=1e-9)
    want = [[debiased_cka(a, b) for b in others] for a in found]
    np.testing.assert_allclose(cka_matrix(found, others), want, atol=1e-9)


@pytest.mark.parametrize("constant", [0, 30, 300])
@pytest.mark.parametrize("scale", [1e-4, 1, 1e4])
def test_single_precision_errs_little_whatever_the_offset(constant, scale):
    given = [((x + constant) * scale).astype(np.float32) for x in draw(4, 400, (64, 32, 500))]
    want = [[debiased_cka(a, b) for b in given] for a in given]
    np.testing.assert_allclose(cka_matrix(given), want, atol=1e-7)


def test_tensors_and_mixed_precision_are_taken():
    x, y, z = draw(5)
    want = cka_matrix([x.astype(np.float32), y, z])
    np.testing.assert_allclose(cka_matrix([torch.tensor(x, dtype=torch.float32), torch.tensor(y), z]), want, atol=1e-12)
    np.testing.assert_allclose(want, cka_matrix([x, y, z]), atol=1e-6)
    before = torch.get_num_threads()
    cka_matrix([x, y, z])
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_on_a_gpu():
    given = draw(6, 300, (64, 32, 100), np.float32)
    found = cka_matrix([torch.tensor(x).cuda() for x in given])
    np.testing.assert_allclose(found, cka_matrix([x.astype(float) for x in given]), atol=1e-6)


def test_matrix_errors_name_the_level():
    x, y, z = draw(7)
    for call, words in (
        (lambda: cka_matrix([x, y[:-1]]), r"`first\[1\]` must have one row for each of the 60 rows of `first\[0\]`"),
        (lambda: cka_matrix([x], [np.full_like(y, 7.0)]), r"`second\[0\]` must vary over the images"),
        (lambda: cka_matrix([x, np.where(y > 1, np.nan, y)]), r"`first\[1\]` must be finite"),
        (lambda: cka_matrix([x[:3]]), "at least 4 images; got 3"),
        (lambda: cka_matrix([x[:, :, None]]), r"must be .images, units.; got shape .60, 6, 1."),
        (lambda: cka_matrix([np.eye(10)]), "more than chance variance"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(_cka, "worthwhile", lambda *_: True)
    monkeypatch.setattr(_grams, "TILE", 7)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-7)])
def test_leave_outs_and_permutations_are_those_made_afresh(always, dtype, tolerance):
    x, y = draw(8, 66, dtype=dtype), [level**2 for level in draw(9, 66, (5, 4), dtype)]
    groups = np.r_[np.arange(60) // 3, 20, 20, 21, 21, 22, 23]
    statistic = cka_statistic(x, y)
    rng, rows = np.random.default_rng(0), stats.cut_groups(groups)
    pairs = [(kept, kept) for kept in (np.flatnonzero(groups != g) for g in range(24))]
    pairs += [(rows, rows[stats.permute_groups(groups[rows], rng)]) for _ in range(5)]
    mixed = rng.permutation(66)
    pairs += [(np.arange(66), mixed), (mixed, np.arange(66)), (np.arange(20), np.arange(20)), (rows[:20], rows[-20:])]
    found = statistic.many(pairs)
    assert found.shape == (len(pairs), 3, 2)
    np.testing.assert_allclose(found, [statistic(*pair) for pair in pairs], atol=tolerance)
    single = cka_statistic(x[0], y[1])
    np.testing.assert_allclose(single.many(pairs), found[:, 0, 1], atol=tolerance)


def test_estimates_are_the_same_either_way(monkeypatch):
    x, y = draw(10, 80, (20, 30)), draw(11, 80, (10, 40))
    statistic = cka_statistic(x, y)
    found = []
    for answer in (True, False):
        monkeypatch.setattr(_cka, "worthwhile", lambda *_, answer=answer: answer)
        found.append(stats.estimate(statistic, np.arange(80) // 4, stats.Resampling(permutations=30)))
    for name in ("value", "low", "high", "null", "p", "leave_outs", "null_draws"):
        np.testing.assert_allclose(getattr(found[0], name), getattr(found[1], name), atol=1e-10)


def test_subsets_without_variance_are_computed_afresh(always):
    x, y = draw(12, 60, (4, 5), np.float32)
    x[3:] = 1.7  # varies in the first three images only
    kept = np.arange(3, 60)
    found = cka_statistic([x], [y]).many([(kept, kept)])
    assert np.isnan(found).all()
    nearly = x.copy()
    nearly[3:] += 1e-3 * np.random.default_rng(0).normal(size=(57, 4)).astype(np.float32)
    statistic = cka_statistic([nearly], [y])
    np.testing.assert_allclose(statistic.many([(kept, kept)])[0], statistic(kept, kept), atol=1e-9)


def test_inner_products_are_used_where_they_pay():
    wide = ([64, 128, 256, 512, 512] * 2,) * 2
    assert _grams.worthwhile(2000, wide, 240, 4)
    assert not _grams.worthwhile(2000, wide, 1, 4)  # not for one value
    assert not _grams.worthwhile(2000, ([16], [16]), 240, 4)  # few units: their products are cheaper
    assert not _grams.worthwhile(20000, wide, 240, 4)  # 16 GB
