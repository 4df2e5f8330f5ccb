"""The two rankings of units against naive references, on planted units and on worlds where nuisance dominates."""

from dataclasses import replace

import numpy as np
import pytest

from rgbd_insight import stats
from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics import KappaStatistic, PredictedStatistic, bounded, rank_units
from rgbd_insight.metrics.ranking import CONCEPTS, PENALTY
from rgbd_insight.stats import blocks_of, group_folds
from rgbd_insight.validation.ranking import auroc, scored


def estimate(other, same, error=0.001):
    """An estimate of R² (U, 2) of units, hardly uncertain."""
    rng, r2 = np.random.default_rng(0), np.stack([other, same], axis=1).astype(float)
    noise = error * rng.normal(size=(40, *r2.shape))
    statistic = lambda rows, _: r2 + noise[np.setdiff1d(np.arange(40), rows)].sum(0)  # noqa: E731
    return stats.estimate(statistic, np.arange(40), null=False)


def naive_ranks(scores, kept):
    """Half-way ranks among the kept units, by counting."""
    out = []
    for u, score in enumerate(scores):
        below = sum(scores[v] < score for v in kept)
        ties = sum(scores[v] == score for v in kept)
        out.append((below + ties / 2) / len(kept) if u in kept else np.nan)
    return out


def known(values, errors=None):
    """κ as an estimate with given standard errors."""
    found = stats.estimate(lambda rows, _: np.asarray(values, float), np.arange(40), null=False)
    return found if errors is None else replace(found, se=np.asarray(errors, float))


KAPPA, ERROR = np.array([0.8, 0.1, 0.5, np.nan, 0.9, 0.2]), np.array([0.05, 0.1, 0.2, np.nan, 0.1, 0.1])
OTHER, SAME = np.array([0.4, 0.1, 0.3, 0.2, 0.0, 0.5]), np.array([0.8, 0.8, 0.5, 0.8, 0.04, 0.9])
NEAREST, KEPT = np.array([0.7, 0.4, 0.6, 0.3, 0.2, 0.6]), np.array([0, 1, 2, 3, 5])


def ranked(kappa=KAPPA, errors=ERROR, nearest=NEAREST, other=OTHER, same=SAME):
    return rank_units(known(kappa, errors), nearest, estimate(other, same))


def test_ranks_are_those_of_the_formula():
    found, concept, total = ranked(), [], []
    spread = sum((KAPPA[u] - 0.4) ** 2 for u in (0, 1, 2, 5))  # 0.4 is their mean; one is unreliable, one has none
    weight = 0.75 * (1 - (0.05**2 + 0.1**2 + 0.2**2 + 0.1**2) / spread)
    for u in range(6):
        stream = (OTHER[u] / SAME[u] + NEAREST[u] ** 2 / SAME[u]) / 2
        concept.append(1 - stream if u == 3 else 1 - weight * KAPPA[u] - (1 - weight) * stream)
        total.append(1 - OTHER[u] / SAME[u])
    assert found.weight == pytest.approx(weight) and found.unreliable.tolist() == [u == 4 for u in range(6)]
    assert np.allclose(found.concept, naive_ranks(concept, KEPT), equal_nan=True)
    assert np.allclose(found.total, naive_ranks(total, KEPT), equal_nan=True)


def test_a_concept_that_the_other_modality_lacks_makes_its_unit_specific():
    alike = {"other": np.full(3, 0.4), "same": np.full(3, 0.8), "nearest": np.full(3, 0.5)}
    found = ranked([0.9, 0.0, 0.5], np.zeros(3), **alike)
    assert np.allclose(found.concept, [1 / 6, 5 / 6, 1 / 2]) and np.allclose(found.total, 1 / 2)


def test_concepts_weigh_as_much_as_kappa_is_reliable():
    other, same = np.array([0.7, 0.5, 0.3, 0.1]), np.full(4, 0.8)
    rising = {"nearest": np.sqrt(other), "other": other, "same": same}  # by the streams; by the concepts they fall
    sure, unsure = (ranked([0.1, 0.3, 0.5, 0.7], np.full(4, e), **rising) for e in (0, 0.3))
    assert sure.weight == 0.75 and (np.diff(sure.concept) < 0).all()
    assert unsure.weight == 0 and (np.diff(unsure.concept) > 0).all()
    alike = ranked([0.5] * 4, np.zeros(4), **rising)
    assert alike.weight == 0 and np.allclose(alike.concept, unsure.concept)


def test_values_are_added_and_not_ranks():
    other = np.array([0.7, 0.5, 0.3, 0.1, 0.7])  # of four the concepts are nearly alike: what the streams say decides
    found = ranked([0.50, 0.51, 0.52, 0.53, 0.0], np.zeros(5), np.sqrt(other), other, np.full(5, 0.8))
    assert (np.diff(found.concept[:4]) > 0).all() and found.concept[4] == 0.9


def test_unreliable_units_have_no_part():
    found = ranked()
    alone = ranked(KAPPA[KEPT], ERROR[KEPT], NEAREST[KEPT], OTHER[KEPT], SAME[KEPT])
    assert alone.weight == found.weight
    assert np.allclose(found.concept[KEPT], alone.concept) and np.allclose(found.total[KEPT], alone.total)
    none = ranked(other=np.zeros(6), same=np.zeros(6))
    assert none.unreliable.all() and np.isnan([none.concept, none.total]).all() and none.weight == 0


def test_without_a_known_concept_the_streams_decide():
    found = ranked(np.full(6, np.nan))
    assert found.weight == 0 and np.isfinite(found.concept[KEPT]).all()


def test_kappa_is_that_of_a_loop_and_not_of_company():
    rng = np.random.default_rng(0)
    own = rng.normal(size=(800, 1))
    company, groups = 0.8 * own + 0.6 * rng.normal(size=(800, 1)), np.arange(800) // 4
    concepts = np.hstack([own, company, rng.normal(size=(800, 1)), np.zeros((800, 1))])
    x = np.hstack([3 * own, concepts[:, 2:3] - own]) + rng.normal(size=(800, 2))
    statistic = KappaStatistic(5 * x - 2, concepts, [0.1, 0.9, np.nan, 0.5], groups)
    blocks, standard = blocks_of(groups, 20), lambda a: (a - a.mean(0)) / np.maximum(a.std(0), 1e-300)
    a, y = standard(concepts), standard(x)

    def slow(rows):
        kappas = []
        for u in range(2):
            z, target = a[rows] - a[rows].mean(0), y[rows, u] - y[rows, u].mean()
            penalised = np.vstack([z, np.sqrt(CONCEPTS * len(rows)) * np.eye(4)])
            w = np.linalg.lstsq(penalised, np.r_[target, np.zeros(4)], rcond=None)[0]
            kappas.append((w[0] ** 2 * 0.1 + w[1] ** 2 * 0.9 + w[3] ** 2 * 0.5) / (w[0] ** 2 + w[1] ** 2 + w[3] ** 2))
        return kappas

    found = stats.estimate(statistic, groups, stats.Resampling(blocks=20), null=False)
    assert np.allclose(found.value, slow(np.arange(800)))
    assert np.allclose(statistic.leave_outs(blocks)[7], slow(np.flatnonzero(blocks != 7)))
    assert abs(np.corrcoef(x[:, 0], company[:, 0])[0, 1]) > 0.7 and found.value[0] < 0.2  # 0.1 is its own concept's δ
    assert np.isnan(KappaStatistic(x, concepts, [np.nan] * 4, groups)(np.arange(800), np.arange(800))).all()
    flat = KappaStatistic(np.hstack([x, np.ones((800, 1))]), concepts, np.ones(4), groups)
    assert np.isnan(flat(np.arange(800), np.arange(800))[2])


def test_the_error_of_kappa_is_its_spread_over_draws():
    rng, values, errors = np.random.default_rng(0), [], []
    for _ in range(60):
        concepts = rng.normal(size=(300, 6))
        x = concepts @ np.r_[np.eye(2), np.eye(2), np.zeros((2, 2))] * 0.4 + rng.normal(size=(300, 2))
        statistic = KappaStatistic(x, concepts, [0.9, 0.5, 0.1, 0.2, 0.6, 0.3], np.arange(300))
        found = stats.estimate(statistic, np.arange(300), stats.Resampling(blocks=20), null=False)
        values.append(found.value)
        errors.append(found.se)
    ratio = np.mean(errors, axis=0) / np.std(values, axis=0)
    assert (ratio > 0.8).all() and (ratio < 1.3).all()


def test_what_two_modalities_predict_is_that_of_a_loop():
    rng, groups = np.random.default_rng(3), np.arange(120) // 4
    z = rng.normal(size=(120, 4))
    x, other, same = z @ rng.normal(size=(4, 3)), [z[:, :2] + rng.normal(size=(120, 2))], [z[:, 2:], z[:, :1]]
    blocks = blocks_of(groups, 10)
    statistic = PredictedStatistic(x, other, same, groups)
    fold, standard = group_folds(groups, 5, 0), lambda a: (a - a.mean(0)) / a.std(0)
    y, want = standard(x), {g: np.zeros((3, 2)) for g in (-1, 4)}
    for i, block in enumerate((standard(other[0]), standard(np.hstack(same)))):
        for u in range(3):
            errors, totals = np.zeros(120), np.zeros(120)
            for f in range(5):
                train, test = fold != f, fold == f
                design, target = block[train] - block[train].mean(0), y[train, u] - y[train, u].mean()
                penalised = np.vstack([design, np.sqrt(PENALTY * train.sum()) * np.eye(design.shape[1])])
                slope = np.linalg.lstsq(penalised, np.r_[target, np.zeros(design.shape[1])], rcond=None)[0]
                left = y[test, u] - y[train, u].mean()
                errors[test], totals[test] = (left - (block[test] - block[train].mean(0)) @ slope) ** 2, left**2
            for g, found in want.items():
                found[u, i] = 1 - errors[blocks != g].sum() / totals[blocks != g].sum()
    assert np.allclose(statistic.whole, want[-1]) and np.allclose(statistic.leave_outs(blocks)[4], want[4])
    order = np.random.default_rng(0).permutation(30)[groups] * 4 + np.arange(120) % 4  # groups change places
    every = np.arange(120)
    assert np.allclose(statistic(every, every), statistic.whole)
    shuffled = statistic(every, order)
    assert shuffled[:, 0].max() < 0.1 and np.allclose(shuffled[:, 1], statistic.whole[:, 1], atol=0.2)


def test_what_is_constant_is_predicted_by_nobody():
    x = np.random.default_rng(0).normal(size=(60, 2)) * [1, 0]
    found = stats.estimate(PredictedStatistic(x, [x], [x], np.arange(60)), np.arange(60), null=False)
    assert np.isnan(found.value[1]).all()
    assert rank_units(known([0.5, np.nan]), [1, 0], found).unreliable.tolist() == [False, True]


def test_concepts_count_where_nuisance_dominates():
    values = []
    for seed in range(6):
        knobs = Knobs(n=400, width=48, other_width=48, networks=3, noise=0.9, nuisance=0.8)
        world = World(knobs, seed)
        ours, others = scored(world)
        ways = ours.concept, ours.total, others["concepts alone"], others["maximum correlation and concepts"]
        values.append([auroc(way, world.concept_specificity("rgb"), 0.5) for way in ways])
    concept, total, alone, planned = np.mean(values, axis=0)
    assert concept > 0.9 and concept > total + 0.1 and concept > alone - 0.02 and concept > planned + 0.1


def test_bounded_holds_back_the_one_image_and_nothing_else():
    rng = np.random.default_rng(0)
    x = rng.normal([0, 5], [1, 10], size=(500, 2))
    far = x.copy()
    far[7] = 1e6
    held = bounded(far)
    assert (np.delete(held, 7, 0) == np.delete(bounded(x), 7, 0)).mean() > 0.98
    assert held[7, 0] == pytest.approx(3, abs=0.6) and held[7, 1] == pytest.approx(35, abs=6)
    assert np.abs(bounded(x) - x).max(1).astype(bool).mean() < 0.02
    sparse = (rng.random((100, 1)) < 0.2) * 7.0
    assert (bounded(sparse) == sparse).all()
    with pytest.raises(ValueError, match="`reach` must be above 0"):
        bounded(x, 0)


def test_errors():
    r2 = estimate([0.5], [0.8])
    with pytest.raises(ValueError, match="as many units"):
        rank_units(known([0.1, 0.2]), [0.1], r2)
    with pytest.raises(ValueError, match="as many units"):
        rank_units(known([0.1]), [0.1, 0.2], r2)
    with pytest.raises(ValueError, match="finite"):
        rank_units(known([0.1]), [np.nan], r2)
    with pytest.raises(ValueError, match="at least one stream"):
        PredictedStatistic(np.ones((10, 1)), [], [np.ones((10, 1))], np.arange(10))
    with pytest.raises(ValueError, match="finite"):
        KappaStatistic(np.full((10, 1), np.nan), np.ones((10, 1)), [0.5], np.arange(10))
    with pytest.raises(ValueError, match="one for each concept"):
        KappaStatistic(np.ones((10, 1)), np.ones((10, 2)), [0.5], np.arange(10))
