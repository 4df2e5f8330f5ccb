"""The alternatives beyond CKA: against plain references, and on what is planted."""

from itertools import permutations

import numpy as np
import pytest
import torch

from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics.baselines import cka, knn_overlap
from rgbd_insight.metrics.baselines import crosscoder as crosscoders
from rgbd_insight.metrics.baselines.calibrated import calibrated_similarity
from rgbd_insight.metrics.baselines.crosscoder import crosscoder_share
from rgbd_insight.metrics.baselines.sampled import sampled_cka
from rgbd_insight.metrics.cka import debiased_cka
from rgbd_insight.stats.groups import permute_groups


def naive_hsic(a, b):
    """Unbiased HSIC of two units from their Gram matrices (Song et al.)."""
    n = len(a)
    k, m = np.outer(a, a), np.outer(b, b)
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    inner = np.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m).sum()
    return inner / (n * (n - 3))


def naive_sampled(x, y):
    between = np.mean([naive_hsic(a, b) for a in x.T for b in y.T])
    own = [np.mean([naive_hsic(z[:, i], z[:, j]) for i, j in permutations(range(z.shape[1]), 2)]) for z in (x, y)]
    return between / np.sqrt(own[0] * own[1])


def noisy(seed, widths, n=60, noise=2.0, rank=3):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, rank))
    return [latent @ rng.normal(size=(rank, w)) + noise * rng.normal(size=(n, w)) for w in widths]


def test_sampled_cka_is_the_mean_over_pairs_of_different_units():
    x, y = noisy(0, (5, 7))
    assert sampled_cka(x + 100, 3 * y) == pytest.approx(naive_sampled(x, y))


def test_sampled_cka_does_not_depend_on_how_many_units_there_are_and_debiased_cka_does():
    many = [np.median([sampled_cka(*noisy(s, (w, w), 200)) for s in range(60)]) for w in (12, 64)]
    plain = [np.median([debiased_cka(*noisy(s, (w, w), 200)) for s in range(60)]) for w in (12, 64)]
    assert many == pytest.approx([1, 1], abs=0.1) and plain[0] < plain[1] - 0.2


def test_sampled_cka_of_one_unit_or_of_units_with_nothing_in_common_is_refused():
    x, y = noisy(0, (1, 7))
    with pytest.raises(ValueError, match="`x` must have at least 2 units"):
        sampled_cka(x, y)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 4)) - 0.0)[0]
    alone = np.linalg.qr(basis - basis.mean(0))[0]
    with pytest.raises(ValueError, match="something in common"):
        sampled_cka(alone, alone[:, ::-1])


@pytest.mark.parametrize("function", [cka, debiased_cka])
def test_calibration_is_that_of_the_permuted_values(function):
    x, y = noisy(1, (6, 4), noise=3.0)
    groups = np.arange(60) // 3
    rng = np.random.default_rng(5)
    chance = sorted(function(x, y[permute_groups(groups, rng)]) for _ in range(39))
    quantile = chance[37]  # the 38th of 39: .95 of 40
    found = calibrated_similarity([x], [y], groups, measure=function.__name__, permutations=39, seed=5)
    assert found.levels.item() == pytest.approx((function(x, y) - quantile) / (1 - quantile))
    assert found.best == pytest.approx(found.levels.item())
    assert found.p == pytest.approx((1 + sum(c >= function(x, y) for c in chance)) / 40)


def test_the_choice_of_levels_and_their_widths_are_in_the_null():
    rng, found, widest = np.random.default_rng(0), [], []
    for seed in range(60):
        first, second = ([rng.normal(size=(40, w)) for w in (5, 80, 5, 80)] for _ in range(2))
        made = calibrated_similarity(first, second, np.arange(40), permutations=19, seed=seed)
        found.append((made.best > 0, made.p <= 0.05, (made.levels > 0).any()))
        widest.append(np.unravel_index(made.levels.argmax(), (4, 4)))
    best, p, any_level = np.mean(found, axis=0)
    assert best <= 0.15 and p <= 0.15 and any_level > 0.3
    assert np.mean(np.array(widest) % 2) < 0.8  # a wide level is not the best because it is wide


def test_other_measures_can_be_calibrated_and_few_permutations_are_refused():
    x, y = noisy(2, (6, 4))
    found = calibrated_similarity([x], [x, y], np.arange(60), measure="knn_overlap", permutations=19)
    assert found.levels[0, 0] == pytest.approx(1) and found.levels[0, 1] < knn_overlap(x, y)
    same = calibrated_similarity([x], [x], np.arange(60), measure="debiased_cka", permutations=19)
    assert same.best == pytest.approx(1)
    with pytest.raises(ValueError, match="`permutations` must be ≥"):
        calibrated_similarity([x], [y], np.arange(60), permutations=18)
    with pytest.raises(ValueError, match="`measure` must be"):
        calibrated_similarity([x], [y], np.arange(60), measure="procrustes_distance")


def test_a_crosscoder_is_deterministic_and_tells_more_of_what_is_shared():
    shares = []
    for overlap in (0.0, 0.5, 1.0):
        world = World(Knobs(n=400, width=32, other_width=48, noise=0.4, nuisance=0.1, concept_overlap=overlap), 2)
        x, y = world.stream("rgb"), world.stream("depth")
        shares.append(crosscoder_share(x, y))
        assert shares[-1] == pytest.approx(crosscoder_share(4 * x, y), abs=1e-6)
    assert crosscoder_share(x, y) == shares[-1]
    assert shares[0] < shares[1] < shares[2] and 0 <= shares[0] and shares[2] <= 1


def test_exclusive_features_neither_read_nor_write_the_other_stream():
    x, y = (crosscoders._components(z - z.mean(0)) for z in noisy(3, (6, 5)))
    weights = crosscoders._trained([x, y], torch.Generator().manual_seed(0))
    shared, only = crosscoders.SHARED, crosscoders.SHARED + crosscoders.EXCLUSIVE
    for part in ("read", "write"):
        assert not weights[f"{part} x"][:, only:].any() and not weights[f"{part} y"][:, shared:only].any()
        assert weights[f"{part} x"][:, :only].any() and weights[f"{part} y"][:, only:].any()
