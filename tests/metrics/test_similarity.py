"""Similarity measures against slow references, and what they say about streams whose relation is known."""

import time
from itertools import permutations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from rgbd_insight import metrics as similarity
from rgbd_insight import stats
from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics import baselines
from rgbd_insight.metrics.prediction import PENALTIES
from rgbd_insight.stats.groups import group_folds


def worlds(seed, n=120, shared=3, widths=(6, 5), noise=1.0, size=4, within=0.5):
    """Two streams with `shared` common causes; the images of a group of `size` resemble each other."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // size

    def grouped(width):
        each = rng.normal(size=(n, width))
        return np.sqrt(within) * rng.normal(size=(groups[-1] + 1, width))[groups] + np.sqrt(1 - within) * each

    common = grouped(shared) if shared else np.zeros((n, 1))
    x, y = (common @ rng.normal(size=(common.shape[1], w)) + noise * grouped(w) for w in widths)
    return x, y, groups


def u_centred(s):
    """Gram matrix without its diagonal, centred as Székely and Rizzo do."""
    k = s @ s.T
    np.fill_diagonal(k, 0)
    n = len(k)
    k = k - k.sum(0) / (n - 2) - k.sum(1)[:, None] / (n - 2) + k.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(k, 0)
    return k


def gram_cka(x, y):
    """Debiased CKA from U-centred Gram matrices (Székely and Rizzo's form of Song's U-statistic)."""
    a, b = u_centred(x.astype(np.float64)), u_centred(y.astype(np.float64))
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


@pytest.mark.parametrize(("n", "widths"), [(40, (6, 5)), (30, (100, 4)), (25, (60, 80))])
def test_debiased_cka_is_the_gram_form(n, widths):
    x, y, _ = worlds(n, n=n, widths=widths)
    assert similarity.debiased_cka(x, y) == pytest.approx(gram_cka(x, y), rel=1e-9)
    assert baselines.cka(x, y) == pytest.approx(biased(x, y), rel=1e-9)


def biased(x, y):
    h = np.eye(len(x)) - 1 / len(x)
    k, l = (h @ s @ s.T @ h for s in (x, y))  # noqa: E741
    return (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())


@pytest.mark.parametrize("constant", [0, 10, 30, 100, 300])
@pytest.mark.parametrize("scale", [1e-4, 0.01, 1, 1e4])
def test_offsets_and_scales_change_nothing(constant, scale):
    x, y, groups = worlds(0)
    moved = (x + constant) * scale
    assert similarity.debiased_cka(moved, y - constant) == pytest.approx(similarity.debiased_cka(x, y), rel=1e-7)
    assert baselines.cka(moved, y - constant) == pytest.approx(baselines.cka(x, y), rel=1e-7)
    for function, part in ((similarity.matching, "mean"), (similarity.predictivity, "r2")):
        found = [getattr(function(a, b, groups), part) for a, b in ((moved, y - constant), (x, y))]
        assert found[0] == pytest.approx(found[1], rel=1e-7)


def test_debiased_cka_is_zero_on_average_and_not_clamped():
    values = []
    for seed in range(200):
        x, y, _ = worlds(seed, n=40, shared=0, widths=(30, 20), within=0)
        values.append(similarity.debiased_cka(x, y))
    assert abs(np.mean(values)) <= 4 * np.std(values) / np.sqrt(len(values))
    assert 0.35 < np.mean(np.array(values) < 0) < 0.65
    assert baselines.cka(x, y) > 0.3  # what the debiasing is for


def test_value_minus_null_is_zero_on_average_when_images_come_in_groups():
    gaps, p = [], []
    for seed in range(120):
        x, y, groups = worlds(seed, n=80, shared=0, widths=(10, 8), within=0.7)
        found = stats.estimate(similarity.cka_statistic(x, y), groups, stats.Resampling(permutations=39))
        gaps.append(found.value - found.null)
        p.append(found.p)
    assert abs(np.mean(gaps)) <= 4 * np.std(gaps) / np.sqrt(len(gaps))
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(p))


def test_confounds_are_taken_out():
    rng = np.random.default_rng(1)
    light = rng.normal(size=(150, 1))
    x, y = (light @ rng.normal(size=(1, 6)) * 3 + rng.normal(size=(150, 6)) for _ in "xy")
    assert similarity.debiased_cka(x, y) > 0.8
    assert abs(similarity.debiased_cka(x, y, light)) < 0.05
    repeated = np.c_[light, np.full(150, 0.1), 2 * light + 7]
    assert similarity.debiased_cka(x, y, repeated) == pytest.approx(similarity.debiased_cka(x, y, light), rel=1e-9)


def test_confounds_leave_no_bias():
    """The plain U-statistic of residuals is biased upwards; the factor takes that out."""
    values = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        x, y, confounds = (rng.normal(size=(30, width)) for width in (40, 40, 6))
        values.append(similarity.debiased_cka(x, y, confounds))
    assert abs(np.mean(values)) <= 4 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize("confounded", [False, True])
def test_cka_statistic_is_the_function_on_those_rows(confounded):
    x, y, groups = worlds(2)
    confounds = np.random.default_rng(0).normal(size=(len(x), 2)) + 5 if confounded else None
    statistic = similarity.cka_statistic([x, x[:, :2]], [y, x, y**2], confounds)
    rng = np.random.default_rng(3)
    rows = np.arange(len(x))
    for i, j in ((rows, rows), (rows[:50], rows[:50]), (rows, stats.permute_groups(groups, rng)), (rows[9:], rows[9:])):
        found = statistic(i, j)
        assert found.shape == (2, 3)
        for a, left in enumerate([x, x[:, :2]]):
            for b, right in enumerate([y, x, y**2]):
                if confounds is None:
                    assert found[a, b] == pytest.approx(gram_cka(left[i], right[j]), rel=1e-9)
                    continue
                want, both = corrected(left[i], right[i], confounds[i]), np.c_[confounds[i], confounds[j]]
                if (i != j).any():
                    want += corrected(left[i], right[j], both) - corrected(left[i], right[i], both)
                assert found[a, b] == pytest.approx(want, rel=1e-9)


def test_controlled_permutations_keep_their_level():
    """Permuting residuals, as was done before, finds something far too often in empty worlds of alike images."""
    knobs = Knobs(n=100, width=16, other_width=16, likeness=0.6, concepts=12, related=False)
    ours, before = [], []
    for seed in range(100):
        world, rng = World(knobs, seed), np.random.default_rng(seed)
        x, y, confounds, every = world.stream("rgb"), world.stream("depth"), world.areas[:, :5], np.arange(100)
        partners = [stats.permute_groups(world.groups, rng) for _ in range(19)]
        statistic = similarity.cka_statistic(x, y, confounds)
        ours.append(all(statistic(every, every) > statistic(every, j) for j in partners))
        a, b = (u_centred(residual(s, confounds)) for s in (x, y))
        before.append(all((a * b).sum() > (a * b[np.ix_(j, j)]).sum() for j in partners))
    assert np.mean(ours) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100) < np.mean(before)


def residual(x, confounds):
    design = np.c_[np.ones(len(x)), confounds]
    return x - design @ np.linalg.lstsq(design, x)[0]


def corrected(x, y, confounds):
    """Double sums with the bias scaled to the mean that it has under independence, written out."""
    n, design = len(x), np.c_[np.ones(len(x)), confounds]
    hat = np.eye(n) - design @ np.linalg.pinv(design)
    x, y = hat @ x, hat @ y

    def bias(k, l):  # noqa: E741
        return n / (n - 2) * (np.diag(k) * np.diag(l)).sum() - np.trace(k) * np.trace(l) / ((n - 1) * (n - 2))

    def hsic(a, b):
        k, l = a @ a.T, b @ b.T  # noqa: E741
        return (k * l).sum() - np.trace(hat) / bias(hat, hat) * bias(k, l)

    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


def test_channels_taken_for_rows_would_be_noticed():
    rng = np.random.default_rng(4)
    maps = rng.normal(size=(50, 8, 3, 3)) + rng.normal(size=(1, 8, 1, 1)) * 5
    with pytest.raises(ValueError, match=r"`x` must be \(images, units\); got shape \(50, 8, 3, 3\). Flatten"):
        similarity.debiased_cka(maps, maps)
    flat = maps.reshape(50, -1)
    assert similarity.debiased_cka(flat, rng.permutation(flat)) < 0.2


def naive_matching(x, y, fold, groups):
    """One-to-one partners by trying all, and the held-out correlation from the images themselves."""
    units = x.shape[1]
    score = np.zeros(units)
    for f in np.unique(fold):
        train, test = fold != f, fold == f
        price = 1 / np.sqrt(len(np.unique(groups[train])))
        r = np.corrcoef(x[train].T, y[train].T)[:units, units:]
        gain = np.maximum(np.abs(r) - price, 0)
        best = max(permutations(range(y.shape[1]), units), key=lambda p: gain[range(units), p].sum())  # noqa: B023
        for i, j in enumerate(best):
            if gain[i, j] > 0:
                z, w = x[test, i] - x[train, i].mean(), np.sign(r[i, j]) * (y[test, j] - y[train, j].mean())
                score[i] += test.mean() * z @ w / np.sqrt(z @ z * (w @ w))
    return score


@pytest.mark.parametrize("seed", range(3))
def test_matching_is_the_naive_one(seed):
    x, y, groups = worlds(seed, widths=(4, 6), size=3)
    fold = group_folds(groups, 5, seed)
    found = similarity.matching(x, y, groups, seed=seed)
    np.testing.assert_allclose(found.correlation, naive_matching(x, y, fold, groups), atol=1e-9)
    assert found.mean == pytest.approx(found.correlation.sum() / 4)
    statistic = similarity.matching_statistic(x, y, groups, seed=seed)
    partner = stats.permute_groups(groups, np.random.default_rng(seed))
    want = naive_matching(x, y[partner], fold, groups).sum() / 4
    assert statistic(np.arange(len(x)), partner) == pytest.approx(want, abs=1e-9)
    rows = np.flatnonzero(groups % 7 > 0)
    want = naive_matching(x[rows], y[rows], fold[rows], groups[rows]).sum() / 4
    assert statistic(rows, rows) == pytest.approx(want, abs=1e-9)


def test_matching_finds_doubles_across_widths_signs_and_scales():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(100, 6))
    chosen, signs = np.array([4, 0, 2]), np.array([1, -1, -1])
    y = x[:, chosen] * signs * [1e-3, 1, 1e3] + 50
    groups = np.arange(100) // 2
    found = similarity.matching(y, x, groups)
    assert found.mean == pytest.approx(1)
    assert (found.partner == chosen).all() and (found.sign == signs).all() and (found.matched == 1).all()
    back = similarity.matching(x, y, groups)
    np.testing.assert_allclose(back.correlation, np.isin(np.arange(6), chosen), atol=1e-9)
    assert back.mean == pytest.approx(1)


def test_matching_of_unrelated_streams_is_zero_on_average():
    values = [similarity.matching(*worlds(seed, n=80, shared=0, widths=(8, 8))).mean for seed in range(60)]
    assert abs(np.mean(values)) <= 4 * np.std(values) / np.sqrt(len(values))
    assert np.min(values) < 0


def test_price_leaves_units_unmatched():
    x, y, groups = worlds(6)
    shares = [similarity.matching(x, y, groups, price=price).matched.mean() for price in (0.0, 0.4, 0.99)]
    assert shares[0] == pytest.approx(5 / 6) and shares[0] > shares[1] > shares[2] == 0
    with pytest.raises(ValueError, match="`price` must be an absolute correlation"):
        similarity.matching(x, y, groups, price=1.5)


def test_constant_units_match_nothing():
    x, y, groups = worlds(7)
    x[:, 2], y[:, 0] = 0.1, 300.1
    found = similarity.matching(x, y, groups, price=0)
    assert found.correlation[2] == found.matched[2] == 0 and not (found.partner == 0).any()
    assert similarity.max_correlation(x, y)[2] == 0
    assert similarity.matching(np.ones_like(x), y, groups).mean == 0


def test_max_correlation_is_the_maximum():
    x, y, _ = worlds(8)
    want = np.abs(np.corrcoef(x.T, y.T)[:6, 6:]).max(1)
    np.testing.assert_allclose(similarity.max_correlation(x, y), want, rtol=1e-9)


def naive_predictivity(x, y, fold, components):
    """Principal components and ridge from scikit-learn, run over images."""
    folds = np.unique(fold)
    errors, spread, chosen = 0, 0, []
    for f in folds:
        train, test = fold != f, fold == f
        pca = PCA(min(components, x.shape[1]), svd_solver="full").fit(x[train])
        z = pca.transform(x)

        def error(fit, score, penalty, z=z):
            centred = z[fit] - z[fit].mean(0)
            alpha = penalty * (centred**2).sum() / z.shape[1]
            return (
                (y[score] - Ridge(alpha=alpha).fit(z[fit], y[fit]).predict(z[score]).reshape(y[score].shape)) ** 2
            ).sum(0)

        inner = [sum(error(train & (fold != g), fold == g, p).sum() for g in folds if g != f) for p in PENALTIES]
        chosen.append(PENALTIES[np.argmin(inner)])
        errors = errors + error(train, test, chosen[-1])
        spread = spread + ((y[test] - y[train].mean(0)) ** 2).sum(0)
    return 1 - errors.sum() / spread.sum(), 1 - errors / spread, chosen


@pytest.mark.parametrize(("widths", "components", "noise"), [((6, 5), 32, 1.0), ((20, 3), 4, 3.0), ((3, 1), 32, 0.1)])
def test_predictivity_is_the_naive_one(widths, components, noise):
    x, y, groups = worlds(9, widths=widths, noise=noise)
    fold = group_folds(groups, 5, 1)
    found = similarity.predictivity(x + 100, y, groups, components=components, seed=1)
    r2, units, penalties = naive_predictivity(x, y, fold, components)
    assert found.r2 == pytest.approx(r2, abs=1e-9) and found.components == min(components, widths[0])
    np.testing.assert_allclose(found.units, units, atol=1e-9)
    np.testing.assert_allclose(found.penalty, penalties)
    statistic = similarity.predictivity_statistic(x, y, groups, components=components, seed=1)
    every = np.arange(len(x))
    partner = stats.permute_groups(groups, np.random.default_rng(0))
    for rows, other in ((every, every), (every, partner), (every[groups % 5 > 0],) * 2, (every, every)):
        want = naive_predictivity(x[rows], y[other], fold[rows], components)[0]
        assert statistic(rows, other) == pytest.approx(want, abs=1e-9)


def test_predictivity_of_five_groups_without_one_is_that_of_four_folds():
    x, y, groups = worlds(14, n=60, size=12)
    statistic = similarity.predictivity_statistic(x, y, groups)
    fold = group_folds(groups, 5, 0)  # every group is a fold, of which the leave-out has none
    for group in range(5):
        rows = np.flatnonzero(groups != group)
        four = np.unique(fold[rows], return_inverse=True)[1]
        assert statistic(rows, rows) == pytest.approx(naive_predictivity(x[rows], y[rows], four, 32)[0], abs=1e-9)
    assert np.isfinite(stats.estimate(statistic, groups, null=False).se)


def test_predictivity_is_directed_and_not_clamped():
    rng = np.random.default_rng(10)
    x = rng.normal(size=(200, 6))
    groups = np.arange(200) // 4
    assert (
        similarity.predictivity(x, x[:, :2], groups).r2 > 0.999 > 0.5 > similarity.predictivity(x[:, :2], x, groups).r2
    )
    values = [similarity.predictivity(*worlds(s, n=60, shared=0)).r2 for s in range(40)]
    assert np.mean(values) < 0


def test_predictivity_with_more_units_than_images():
    x, y, groups = worlds(11, n=40, widths=(90, 70))
    fold = group_folds(groups, 5, 0)
    want = naive_predictivity(x, y, fold, 8)[0]
    assert similarity.predictivity(x, y, groups, components=8).r2 == pytest.approx(want, abs=1e-9)
    rows = np.arange(40)
    statistic = similarity.predictivity_statistic(x, y, groups, components=8)
    assert statistic(rows, rows) == pytest.approx(want, abs=1e-9)


def test_undefined_on_a_leave_out_is_reported():
    """A stream that varies in one group only is constant without it."""
    x, y, groups = worlds(12, n=100)
    x[groups != 3] = 1.7
    makers = (similarity.cka_statistic(x, y), similarity.predictivity_statistic(x, y, groups))
    for statistic in makers:
        found = stats.estimate(statistic, groups, null=False)
        assert np.isfinite(found.value) and np.isnan([found.low, found.high, found.se]).all()
        assert "undefined without block" in found.missing


@pytest.mark.parametrize("name", ["debiased_cka", "cka", "matching", "max_correlation", "predictivity"])
def test_errors_name_the_argument(name):
    x, y, groups = worlds(13)
    rest = (groups,) if name in ("matching", "predictivity") else ()
    function = baselines.cka if name == "cka" else getattr(similarity, name)
    with pytest.raises(ValueError, match="`y` must have one row for each of the 120 rows of `x`; got 119"):
        function(x, y[:-1], *rest)
    with pytest.raises(ValueError, match="`y` must be finite; got inf at image 3, unit 1"):
        function(x, np.where(np.arange(600).reshape(120, 5) == 16, np.inf, y), *rest)
    with pytest.raises(ValueError, match="at least 4 images; got 3"):
        function(x[:3], y[:3], *(g[:3] for g in rest))
    if name in ("debiased_cka", "cka", "predictivity"):
        with pytest.raises(ValueError, match="`x` must vary over the images"):
            function(np.full_like(x, 0.1), y, *rest)
    if rest:
        with pytest.raises(ValueError, match=r"`folds` must be from 2 to the number of groups \(1\)"):
            function(x, y, np.zeros(120))


def test_degenerate_geometry_is_an_error():
    with pytest.raises(ValueError, match="equidistant"):
        similarity.debiased_cka(np.eye(10), np.random.default_rng(0).normal(size=(10, 2)))
    x, y, groups = worlds(14)
    with pytest.raises(ValueError, match="`folds` must be at least 3"):
        similarity.predictivity(x, y, groups, folds=2)
    with pytest.raises(ValueError, match="`components` must be at least 1"):
        similarity.predictivity(x, y, groups, components=0)


@pytest.mark.parametrize(("name", "limit"), [("cka", 1.5), ("predictivity", 4.0)])
def test_value_interval_and_null_are_quick(name, limit):
    x, y, groups = worlds(15, n=600, widths=(64, 64))
    rest = () if name == "cka" else (groups,)
    start = time.process_time()
    found = stats.estimate(getattr(similarity, f"{name}_statistic")(x, y, *rest), groups)
    assert time.process_time() - start < limit
    assert found.low < found.value < found.high and found.p < 0.01
