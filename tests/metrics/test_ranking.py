"""The two rankings of units against naive references, on planted units and on worlds where nuisance dominates."""

import numpy as np
import pytest

from rgbd_insight import stats
from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics import PredictedStatistic, bounded, concept_weights, rank_units
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


WEIGHTS = np.array([[0.6, 0.1, 0.3], [0, 0.5, 0.9], [0.4, -0.4, 0], [0, 0, 0.7], [0.8, 0, 0], [0.1, 0.7, 0.1]])
DELTA, NEAREST = np.array([0.9, 0.1, np.nan]), np.array([0.7, 0.4, 0.6, 0.3, 0.2, 0.6])
OTHER, SAME = np.array([0.4, 0.1, 0.3, 0.2, 0.0, 0.5]), np.array([0.8, 0.8, 0.5, 0.8, 0.04, 0.9])
KEPT = np.array([0, 1, 2, 3, 5])


def ranked(weights=WEIGHTS, delta=DELTA, nearest=NEAREST, other=OTHER, same=SAME):
    return rank_units(weights, delta, nearest, estimate(other, same))


def test_ranks_are_those_of_the_formula():
    found, concept, total, kappas = ranked(), [], [], []
    for u in range(6):
        stream = (OTHER[u] / SAME[u] + NEAREST[u] ** 2 / SAME[u]) / 2
        size = WEIGHTS[u, 0] ** 2 + WEIGHTS[u, 1] ** 2  # the third concept has no value
        kappas.append((WEIGHTS[u, 0] ** 2 * 0.9 + WEIGHTS[u, 1] ** 2 * 0.1) / size if size and u != 4 else np.nan)
        concept.append(1 - 0.6 * kappas[u] - 0.4 * stream if size else 1 - stream)
        total.append(1 - OTHER[u] / SAME[u])
    assert found.unreliable.tolist() == [u == 4 for u in range(6)]
    assert np.allclose(found.kappa, kappas, equal_nan=True)
    assert np.allclose(found.concept, naive_ranks(concept, KEPT), equal_nan=True)
    assert np.allclose(found.total, naive_ranks(total, KEPT), equal_nan=True)


def test_a_concept_that_the_other_modality_lacks_makes_its_unit_specific():
    alike = {"other": np.full(3, 0.4), "same": np.full(3, 0.8), "nearest": np.full(3, 0.5)}
    found = ranked(np.eye(3), [0.9, 0.0, 0.5], **alike)
    assert np.allclose(found.concept, [1 / 6, 5 / 6, 1 / 2]) and np.allclose(found.total, 1 / 2)


def test_how_much_concepts_explain_has_no_weight():
    found = ranked()
    scaled = ranked(WEIGHTS * np.array([0.1, 3, 0.2, 5, 1, 0.01])[:, None])  # as nuisance would make them smaller
    assert np.allclose(scaled.concept, found.concept, equal_nan=True)
    assert np.allclose(scaled.kappa, found.kappa, equal_nan=True)


def test_values_are_added_and_not_ranks():
    # of four units the concepts are alike but for noise: what the streams say decides, the other way round
    weights, other = np.array([[1, 1], [1, 0.99], [1, 0.98], [1, 0.97], [1, 0]]), np.array([0.1, 0.3, 0.5, 0.7, 0.5])
    found = ranked(weights, [0.0, 0.9], np.sqrt(other), other, np.full(5, 0.8))
    assert (np.diff(found.kappa) < 0).all() and (np.diff(found.concept[:4]) < 0).all() and found.concept[4] == 0.9


def test_unreliable_units_have_no_part():
    found = ranked()
    alone = ranked(WEIGHTS[KEPT], nearest=NEAREST[KEPT], other=OTHER[KEPT], same=SAME[KEPT])
    assert np.allclose(found.concept[KEPT], alone.concept) and np.allclose(found.total[KEPT], alone.total)
    none = ranked(other=np.zeros(6), same=np.zeros(6))
    assert none.unreliable.all() and np.isnan([none.concept, none.total, none.kappa]).all()


def test_without_a_known_concept_the_streams_decide():
    found = ranked(delta=[np.nan] * 3)
    assert np.isnan(found.kappa).all() and np.isfinite(found.concept[KEPT]).all()
    assert np.allclose(ranked(np.empty((6, 0)), []).concept, found.concept, equal_nan=True)


def test_weights_are_of_what_a_unit_encodes_and_not_of_its_company():
    rng, nothing = np.random.default_rng(0), np.zeros((800, 1))
    own = rng.normal(size=(800, 1))
    company = 0.8 * own + 0.6 * rng.normal(size=(800, 1))
    x, concepts, groups = 3 * own + rng.normal(size=(800, 1)), np.hstack([own, company, nothing]), np.arange(800)
    weights = concept_weights(x, concepts, groups)
    standard = lambda a: (a - a.mean(0)) / np.maximum(a.std(0), 1e-300)  # noqa: E731
    penalised = np.vstack([standard(concepts), np.sqrt(CONCEPTS * 800) * np.eye(3)])
    want = np.linalg.lstsq(penalised, np.vstack([standard(x), np.zeros((3, 1))]), rcond=None)[0]
    assert np.allclose(weights, want.T) and np.allclose(weights, concept_weights(5 * x - 2, concepts, groups))
    assert abs(np.corrcoef(x[:, 0], company[:, 0])[0, 1]) > 0.7
    assert weights[0, 0] > 0.7 and abs(weights[0, 1]) < 0.2 and weights[0, 2] == 0
    assert (concept_weights(nothing, concepts, groups) == 0).all()


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
    assert rank_units(np.ones((2, 1)), [0.5], [1, 0], found).unreliable.tolist() == [False, True]


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
    with pytest.raises(ValueError, match="units, concepts"):
        rank_units(np.ones((2, 2)), [0.1, 0.2], [0.1], r2)
    with pytest.raises(ValueError, match="as many units"):
        rank_units(np.ones((1, 2)), [0.1, 0.2], [0.1, 0.1], r2)
    with pytest.raises(ValueError, match="finite"):
        rank_units(np.ones((1, 1)), [0.1], [np.nan], r2)
    with pytest.raises(ValueError, match="at least one stream"):
        PredictedStatistic(np.ones((10, 1)), [], [np.ones((10, 1))], np.arange(10))
    with pytest.raises(ValueError, match="finite"):
        concept_weights(np.full((10, 1), np.nan), np.ones((10, 1)), np.arange(10))
