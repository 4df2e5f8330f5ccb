"""Decodability against scikit-learn and double loops; co-occurrence, controls, leave-outs, labels on planted data."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from rgbd_insight import stats
from rgbd_insight.metrics import probes, ridge
from rgbd_insight.metrics.auroc import pair_counts
from rgbd_insight.metrics.labels import concept_labels
from rgbd_insight.metrics.probes import DecodabilityStatistic, decodability
from rgbd_insight.metrics.strata import _leave_own_columns_out, cooccurrence_strata
from rgbd_insight.stats.groups import blocks_of, checked_blocks, counted_once, group_folds


def world(n=600, concepts=6, units=48, noise=2.0, seed=0, size=5):
    """Groups of five; the first half of the concepts is written into the responses, the others are not."""
    rng = np.random.default_rng(seed)
    present = rng.random((n, concepts)) < 0.3
    written = present[:, : concepts // 2].astype(float)
    x = written @ rng.normal(size=(concepts // 2, units)) + noise * rng.normal(size=(n, units))
    return x, present, np.arange(n) // size


def naive_delta(x, present, fold, components=32):
    """scikit-learn, one concept and one fold at a time; (K,) of 2·AUROC - 1 weighted by pairs."""
    wins, pairs = np.zeros(present.shape[1]), np.zeros(present.shape[1])
    for f in np.unique(fold):
        train, test = fold != f, fold == f
        scaler = StandardScaler().fit(x[train])
        pca = PCA(components, svd_solver="full").fit(scaler.transform(x[train]))
        alpha = 0.01 * np.mean(pca.singular_values_**2)
        a, b = (pca.transform(scaler.transform(x[rows])) for rows in (train, test))
        for k in range(present.shape[1]):
            scores = Ridge(alpha=alpha).fit(a, 2.0 * present[train, k] - 1).predict(b)
            count = present[test, k].sum() * (~present[test, k]).sum()
            wins[k] += count * roc_auc_score(present[test, k], scores)
            pairs[k] += count
    return 2 * wins / pairs - 1


def test_equals_scikit_learn():
    x, present, groups = world()
    ours = decodability(x, present, groups, controls=3)  # which take nothing off
    assert np.allclose(ours.delta, naive_delta(x, present, group_folds(groups, 5, 0)), atol=1e-9)
    assert ours.control.shape == (3, 6)
    assert (ours.reason == "").all() and ours.components == 32
    assert np.array_equal(ours.positives, present.sum(0))


def test_pair_counts_with_ties_and_strata_equal_double_loops():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 6, (4, 40)).astype(float), rng.random((4, 40)) < 0.4
    for strata in (None, rng.integers(0, 3, (4, 40))):
        wins, pairs = pair_counts(scores, positive, strata)
        for k in range(4):
            cells = np.zeros(40) if strata is None else strata[k]
            both = [
                (scores[k, i], scores[k, j])
                for i in np.flatnonzero(positive[k])
                for j in np.flatnonzero(~positive[k])
                if cells[i] == cells[j]
            ]
            assert pairs[k] == len(both)
            assert wins[k] == sum((a > b) + 0.5 * (a == b) for a, b in both)


@pytest.mark.parametrize("with_strata", [False, True])
def test_leave_outs_are_the_procedure_on_the_other_rows(with_strata, monkeypatch):
    monkeypatch.setattr(probes, "counted_once", lambda leave_outs, traded: leave_outs)
    x, present, groups = world(n=400)
    blocks = blocks_of(groups, 8)
    options = {"controls": 0, "strata": present if with_strata else None}
    leave_outs = DecodabilityStatistic(x, present, groups, **options).leave_outs(blocks)
    for g in (0, 7):
        again = decodability(x, present, groups, rows=np.flatnonzero(blocks != g), **options)
        assert np.allclose(leave_outs[g], again.delta, atol=1e-10)


@pytest.mark.parametrize("with_strata", [False, True])
def test_what_a_block_in_the_fit_changes_in_every_block_that_is_judged(with_strata, monkeypatch):
    kept = []
    monkeypatch.setattr(probes, "counted_once", lambda leave_outs, traded: kept.append(traded) or leave_outs)
    x, present, groups = world(n=300, units=6)
    present = present[:, :2]
    strata = present if with_strata else None
    block, fold = blocks_of(groups, 6), group_folds(groups, 5, 0)
    DecodabilityStatistic(x, present, groups, strata=strata, components=4).leave_outs(block)
    code = np.zeros(present.shape, int) if strata is None else cooccurrence_strata(strata, present, groups)
    x = x - x.mean(0)

    def won(f, gone):  # by the block of each member of a pair, half to each
        train = (fold != f) & ~gone
        scale, middle = x[train].std(0), x[train].mean(0)
        z = (x[train] - middle) / scale
        values, vectors = np.linalg.eigh(z.T @ z / len(z))
        values, vectors = values[-4:], vectors[:, -4:]
        target = present[train] - present[train].mean(0)
        shrunk = vectors.T @ z.T @ target / len(z) / (values + ridge.PROBE * values.mean())[:, None]
        scores, parts = x @ (vectors @ shrunk / scale[:, None]), np.zeros((6, 2))
        for k in range(2):
            for i in np.flatnonzero((fold == f) & present[:, k]):
                for j in np.flatnonzero((fold == f) & ~present[:, k] & (code[:, k] == code[i, k])):
                    for member in (i, j):
                        parts[block[member], k] += 0.5 * (scores[i, k] > scores[j, k])
        return parts

    none = np.zeros(len(x), bool)
    expected = [sum(won(f, block == g) - won(f, none) for f in range(5)) for g in (0, 3)]
    pairs = sum(
        present[(fold == f) & (code[:, 0] == c), 0].sum() * (~present[(fold == f) & (code[:, 0] == c), 0]).sum()
        for f in range(5)
        for c in range(code.max() + 1)
    )
    np.testing.assert_allclose(kept[0][[0, 3], :, 0] * pairs / 2, np.array(expected)[:, :, 0], atol=1e-9)


def test_what_hangs_on_two_groups_is_counted_once():
    rng, ratios = np.random.default_rng(0), []
    g, worlds = 40, 400
    u, v = rng.normal(size=(2, g, worlds))  # what a group brings to the fit, and to the judgement
    traded = -u[:, None] * v[None] / (g - 1) ** 2  # without i in the fit
    whole = u.sum(0) * v.sum(0) / g**2
    out = (u.sum(0) - u) * (v.sum(0) - v) / (g - 1) ** 2
    for leave_outs in (out, counted_once(out, traded)):
        error = (g - 1) / g * ((leave_outs - leave_outs.mean(0)) ** 2).sum(0)
        ratios.append(error.mean() / whole.var())
    assert 1.7 < ratios[0] < 2.4 and 0.85 < ratios[1] < 1.2
    same = counted_once(out, np.zeros_like(traded))
    assert np.allclose(same, out)
    assert np.allclose(counted_once(out, 1e3 * traded).mean(0), out.mean(0))
    assert np.isfinite(counted_once(np.zeros((5, 2)), np.zeros((5, 5, 2)))).all()
    out[3, 0] = np.nan  # undefined without block 3, and only without it
    assert np.isnan(counted_once(out, traded)).sum() == 1


def test_what_goes_both_ways_between_two_groups_is_counted_once():
    u = np.random.default_rng(1).normal(size=(40, 400))  # what a group fits is what it is judged by
    out = np.array([others.sum(0) ** 2 - (others**2).sum(0) for others in (np.delete(u, i, 0) for i in range(40))])
    out, traded = out / (39 * 38), -u[:, None] * u[None] / (39 * 38)
    traded[np.arange(40), np.arange(40)] = 0
    errors = [39 * leave_outs.var(0).mean() for leave_outs in (out, counted_once(out, traded))]
    true = 2 / (40 * 39)  # variance of the mean of u_i u_j over pairs
    assert 1.7 < errors[0] / true < 2.4 and 0.8 < errors[1] / true < 1.25


def test_jackknife_error_matches_the_spread_over_worlds():
    plan, results = stats.Resampling(blocks=20), []
    for seed in range(16):
        data = world(n=400, noise=4, seed=seed, units=16)
        results.append(stats.estimate(DecodabilityStatistic(*data), data[2], plan, null=False))
    spread = np.std([r.value[3:] for r in results])  # concepts that are not there: the same truth in every world
    errors = np.mean([np.sqrt(19 * r.leave_outs[:, 3:].var(0)) for r in results])
    assert 0.8 < errors / spread < 1.6  # near δ = 0 the jackknife is wide (1.3 times), never narrow


def test_absent_concepts_and_permuted_groups_score_zero():
    x, present, groups = world(n=1500)
    probe = decodability(x, present, groups, controls=10)
    assert (probe.delta[:3] > 0.5).all() and np.abs(probe.delta[3:]).max() < 0.12
    assert np.abs(probe.control.mean(0)).max() < 0.05
    partner = (np.arange(1500) + 500) % 1500  # whole groups change places
    assert np.abs(decodability(x, present, groups, rows=np.arange(1500), partner=partner).delta).max() < 0.12


@pytest.mark.parametrize("with_strata", [False, True])
def test_shuffled_labels_score_zero_on_average_and_spread_as_groups_do(with_strata):
    rng, groups = np.random.default_rng(5), np.repeat(np.arange(60), 5)
    of_group, values = rng.random((60, 3)) < 0.5, rng.normal(size=(60, 12))
    present, x = of_group[groups], values[groups] + 0.1 * rng.normal(size=(300, 12))  # images of a group are alike
    options = {"components": 6, "strata": present if with_strata else None}
    control = decodability(x, present, groups, controls=200, **options).control
    error = control.std(0) / np.sqrt(len(control))
    assert (np.abs(control.mean(0)) < 4 * error).all()
    new = [rng.permutation(60) for _ in range(100)]  # other concepts of such groups, which the responses do not show
    spread = np.std([decodability(x, of_group[order][groups], groups, **options).delta for order in new], axis=0)
    assert ((control.std(0) / spread > 0.75) & (control.std(0) / spread < 1.33)).all()  # by image it is half


def interval_of(world, folds=5):
    x, present, groups = world
    return stats.estimate(DecodabilityStatistic(x, present, groups, folds=folds, components=8), groups, null=False)


def test_intervals_of_present_weak_and_absent_concepts_cover():
    def draw(seed):
        rng = np.random.default_rng([9, seed])
        present = rng.random((200, 6)) < 0.5
        written = present[:, :4] * [4.0, 2.0, 0.6, 0.3]
        mixing = np.linalg.qr(np.random.default_rng(9).normal(size=(10, 10)))[0][:4]
        return written @ mixing + rng.normal(size=(200, 10)), present, np.arange(200) // 5

    options = {"components": 8}
    truth = np.mean([decodability(*draw(10**6 + seed), **options).delta for seed in range(120)], axis=0)
    assert truth[0] > 0.95 and 0.05 < truth[3] < 0.3 and np.abs(truth[4:]).max() < 0.02
    found = [interval_of(draw(seed)) for seed in range(40)]
    inside = np.array([(f.low <= truth) & (truth <= f.high) for f in found])
    assert 0.92 <= inside.mean() <= 0.995 and inside.mean(0).min() >= 0.9
    assert min(f.low.min() for f in found) > -1 and max(f.high.max() for f in found) <= 1


def test_perfect_decodability_is_bounded_by_groups_without_an_exception():
    rng = np.random.default_rng(6)
    present = np.zeros((400, 2), bool)
    present[:, 0], present[:60, 1] = rng.random(400) < 0.5, True
    x = np.hstack([20.0 * present, rng.normal(size=(400, 4))])
    groups = np.arange(400) // 4
    found = interval_of((x, present, groups))
    assert (found.value == 1).all() and (found.high == 1).all()
    # 50 pairs of groups, of each of which both show and lack the first concept; 15 groups show the second
    expected = 2 * 0.025 ** (1 / np.array([50, 15])) - 1
    np.testing.assert_allclose(found.low, expected)
    assert (found.simultaneous().low < found.low).all()
    single = interval_of((x, present, groups), folds=1)
    assert (single.low < found.low).all()  # two thirds of the groups judge


@pytest.mark.parametrize("rate", [0.3, 0.1])
def test_cooccurrence_gives_no_credit_inside_strata(rate):
    rng, n, half = np.random.default_rng(2), 3000, 8
    colour = rng.random((n, half)) < rate  # visible in colour only
    shape = np.where(rng.random((n, half)) < 0.5, colour, rng.random((n, half)) < rate)  # half copied from colour
    present = np.hstack([colour, shape])
    depth = shape @ rng.normal(size=(half, 40)) + 0.3 * rng.normal(size=(n, 40))
    groups = np.arange(n) // 5
    plain = decodability(depth, present, groups).delta
    fair = decodability(depth, present, groups, strata=present).delta
    assert plain[:half].min() > 0.35
    assert abs(fair[:half].mean()) < 0.04 and np.abs(fair[:half]).max() < 0.12
    assert fair[half:].min() > 0.9  # what is there keeps its credit


@pytest.mark.parametrize("own", [1, 2])
def test_strata_never_use_the_own_columns(own):
    rng = np.random.default_rng(3)
    covariates, present = rng.normal(size=(90, 8)), rng.random((90, 3)) < 0.5
    ours = _leave_own_columns_out(covariates[:60], present[:60], covariates[60:], own)
    scaler = StandardScaler().fit(covariates[:60])
    for k in range(3):
        rest = ~np.isin(np.arange(8), [k, k + 3][:own])
        ridge = Ridge(alpha=0.6, fit_intercept=False).fit(
            scaler.transform(covariates[:60])[:, rest], present[:60, k] - present[:60, k].mean()
        )
        assert np.allclose(ours[:, k], ridge.predict(scaler.transform(covariates[60:])[:, rest]), atol=1e-10)
    with pytest.raises(ValueError, match="one for each of the 3 concepts"):
        cooccurrence_strata(covariates[:, :2], present, np.arange(90))


def test_invariant_to_order_shift_and_scale_of_units():
    x, present, groups = world(n=400, units=20)
    rng = np.random.default_rng(4)
    other = (x * 10.0 ** rng.integers(-3, 4, 20) + 100)[:, rng.permutation(20)]
    assert np.allclose(decodability(x, present, groups).delta, decodability(other, present, groups).delta, atol=1e-6)
    for scale in (1e-200, 1e200):
        assert np.allclose(decodability(x, present, groups).delta, decodability(scale * x, present, groups).delta)


def test_rare_concepts_are_missing_with_a_reason():
    x, present, groups = world()
    present[:, 0] = np.arange(600) < 40  # 40 positives
    present[:, 1] = np.arange(600) >= 40  # 40 negatives, in 8 groups
    grouped = np.where(np.arange(600) < 300, np.arange(600) // 60, groups + 100)
    present[:, 2] = np.arange(600) < 300  # many positives, in 5 groups
    present[:, 4] = present[:, 5]  # each determines the other
    probe = decodability(x, present, grouped, strata=present)
    assert np.isnan(probe.delta[[0, 1, 2, 4]]).all() and np.isfinite(probe.delta[3])
    assert probe.reason[0].startswith("40 positives") and "40 negatives" in probe.reason[1]
    assert "in 5 groups" in probe.reason[2] and "co-variables" in probe.reason[4] and probe.reason[3] == ""


def test_constant_units_and_wrong_input():
    x, present, groups = world()
    assert np.array_equal(decodability(np.ones((600, 3)), present, groups).delta, np.zeros(6))
    half = decodability(np.hstack([x, np.full((600, 2), 7.0)]), present, groups, components=48).delta
    assert np.allclose(half, decodability(x, present, groups, components=48).delta)
    with pytest.raises(ValueError, match="finite"):
        decodability(np.where(x > 3, np.nan, x), present, groups)
    with pytest.raises(ValueError, match="one row for each"):
        decodability(x[:-1], present, groups)
    with pytest.raises(ValueError, match="boolean"):
        decodability(x, present * 0.3, groups)
    with pytest.raises(ValueError, match="components"):
        decodability(x, present, groups, components=0)
    with pytest.raises(ValueError, match="folds"):
        decodability(x, present, groups // 60)
    with pytest.raises(ValueError, match="whole groups"):
        DecodabilityStatistic(x, present, groups).leave_outs(np.arange(600) % 40)
    with pytest.raises(ValueError, match="one length"):
        decodability(x, present, groups, rows=np.arange(9), partner=np.arange(8))


def probe(*delta, error=0.01, seed=0):
    """An estimate of these δ whose leave-outs are spread by error / √40."""
    rng = np.random.default_rng(seed)
    delta, groups = np.array(delta, float), np.arange(40)
    leave_outs = delta + error / 40**0.5 * rng.normal(size=(40, len(delta)))
    block = stats.blocks_of(groups, 40)

    def statistic(rows, _):
        without = np.setdiff1d(groups, rows)
        return leave_outs[block[without[0]]] if len(without) else delta

    return stats.estimate(statistic, groups, null=False)


def test_every_label_and_its_order():
    first = probe(0.6, 0.0, 0.6, 0.0, 0.1, 0.0, np.nan)
    second = probe(0.0, 0.6, 0.5, 0.0, 0.0, 0.1, 0.0, seed=1)
    names = ["colour", "range", "both", "neither", "undecided", "undecided", "undecided"]
    assert concept_labels(first, second, names=("colour", "range")).tolist() == names
    joint, pair = probe(0.6, 0.6, 0.6, 0.6, 0.1, 0.6, 0.6, seed=2), probe(*[0.0] * 7, seed=3)
    labels = concept_labels(first, second, joint, probe(0.6, 0.6, 0.6, 0, 0, 0.6, 0, seed=4), pair)
    assert labels.tolist() == ["first", "second", "both", "together", "undecided", "undecided", "undecided"]


def test_wide_intervals_are_undecided_and_bounds_simultaneous():
    assert concept_labels(probe(0.3, 0.0, error=0.2), probe(0.0, 0.0, error=0.2)).tolist() == ["undecided"] * 2
    one = concept_labels(probe(0.3, error=0.07), probe(0.0, error=0.01, seed=1))
    many = concept_labels(probe(*[0.3] * 400, error=0.07), probe(*[0.0] * 400, error=0.01, seed=1))
    assert one[0] == "first" and (many == "undecided").mean() > 0.3


def test_label_errors():
    with pytest.raises(ValueError, match="belong together"):
        concept_labels(probe(0.1), probe(0.1), joint=probe(0.1))
    with pytest.raises(ValueError, match="agree in blocks"):
        concept_labels(probe(0.1), probe(0.1, 0.2))
    with pytest.raises(ValueError, match="margin"):
        concept_labels(probe(0.1), probe(0.1), margin=1.5)


def test_value_and_leave_outs_are_those_of_the_plain_function():
    x, present, groups = world(n=400)
    statistic = DecodabilityStatistic(x, present, groups, controls=2)
    found = stats.estimate(statistic, groups, null=False)
    plain = decodability(x, present, groups, controls=2)
    assert np.allclose(found.value, plain.delta, atol=1e-12)
    for field in ("delta", "by_fold", "control"):
        assert np.allclose(getattr(statistic.whole, field), getattr(plain, field), atol=1e-12)
    with pytest.raises(ValueError, match="at least 2 blocks"):
        checked_blocks([1, 1], [0, 1])


@pytest.mark.parametrize("n", [20, 90])
def test_fewer_rows_than_units_are_fitted_the_same(n, monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 150)), rng.random((n, 7)) < 0.4
    x[:, 3] = 2.0  # a unit that never answers
    left = np.hstack([np.ones((n, 1)), x - x.mean(0)])
    moments = left.T @ np.hstack([left, y])
    few, usual = ridge.weights_of_few(x, y, 32), ridge.probe_weights(moments, 32)
    np.testing.assert_allclose(few, usual, atol=1e-9 * np.abs(usual).max())
    groups, blocks = np.arange(200), np.arange(200) % 20
    x, y = rng.normal(size=(200, 300)), rng.random((200, 3)) < 0.5
    x[:, :5] += y[:, :1]
    found = DecodabilityStatistic(x, y, groups).leave_outs(blocks)
    monkeypatch.setattr(ridge, "FEW", 0)
    again = DecodabilityStatistic(x, y, groups).leave_outs(blocks)
    np.testing.assert_allclose(found, again, atol=1e-9)
