"""Intervals, nulls and corrections against slow references, and whether they keep their probabilities."""

import numpy as np
import pytest
from scipy import stats as reference

from rgbd_insight import stats
from rgbd_insight.metrics.soft_matching import matching_statistic


def mean_of(x):
    return lambda rows, partner: x[rows].mean(0)


class Jumps:
    """A statistic that says that it jumps."""

    jumps = True

    def __init__(self, statistic):
        self.statistic = statistic

    def __call__(self, rows, partner):
        return self.statistic(rows, partner)


class Given:
    """A statistic whose value and leave-outs are given."""

    def __init__(self, value, leave_outs):
        self.value, self.given = value, leave_outs

    def __call__(self, rows, partner):
        return self.value

    def leave_outs(self, blocks):
        assert len(np.unique(blocks)) == blocks.max() + 1
        return self.given


def correlation(x, y):
    return lambda rows, partner: np.corrcoef(x[rows], y[partner])[0, 1]


def grouped(rng, groups, within=0.6):
    return np.sqrt(within) * rng.normal(size=groups.max() + 1)[groups] + np.sqrt(1 - within) * rng.normal(
        size=len(groups)
    )


def uneven(rng, count=30, largest=6):
    return rng.permutation(np.repeat(np.arange(count), rng.integers(1, largest + 1, size=count)))


def test_interval_is_the_delete_group_jackknife():
    rng = np.random.default_rng(0)
    groups = uneven(rng, 57)
    x = rng.normal(size=len(groups))
    found = stats.estimate(mean_of(x), groups, null=False, confidence=0.9)
    block = stats.blocks_of(groups, 40)
    left = np.array([x[block != b].mean() for b in range(40)])
    se = np.sqrt(39 / 40 * ((left - left.mean()) ** 2).sum())
    reach = reference.t.ppf(0.95, 39) * se
    np.testing.assert_allclose(found.leave_outs, left)
    assert (found.value, found.se) == pytest.approx((x.mean(), se))
    assert (found.low, found.high) == pytest.approx((x.mean() - reach, x.mean() + reach))
    assert (found.n, found.groups, found.blocks, found.note, found.missing) == (len(x), 57, 40, "", "")
    assert found.null is found.p is found.null_draws is None


def test_interval_covers_when_images_come_in_groups():
    hits = []
    groups = np.arange(240) // 6
    for seed in range(400):
        x = grouped(np.random.default_rng(seed), groups)
        found = stats.estimate(mean_of(x), groups, null=False)
        hits.append(found.low <= 0 <= found.high)
    assert abs(np.mean(hits) - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / len(hits))


@pytest.mark.parametrize("fewer", [6, 12])
def test_interval_with_few_groups_says_so_and_covers(fewer):
    groups = np.arange(5 * fewer) // 5
    found = [stats.estimate(mean_of(grouped(np.random.default_rng(s), groups)), groups, null=False) for s in range(400)]
    assert (
        found[0].blocks == fewer
        and found[0].note == f"only {fewer} groups: {fewer} jackknife blocks instead of 20 or more"
    )
    assert abs(np.mean([e.low <= 0 <= e.high for e in found]) - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / 400)


def test_p_is_uniform_for_unrelated_groups_and_small_for_related_ones():
    p = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        groups = uneven(rng, 24, 4)
        x, y = grouped(rng, groups, 0.9), grouped(rng, groups, 0.9)
        p.append(stats.estimate(correlation(x, y), groups, stats.Resampling(permutations=39)).p)
    share = np.mean(np.array(p) <= 0.1)
    assert abs(share - 0.1) <= 4 * np.sqrt(0.1 * 0.9 / len(p))
    assert stats.estimate(correlation(x, x + 0.3 * y), groups).p == pytest.approx(1 / 201)


def test_null_permutes_whole_groups_of_equal_size():
    rng = np.random.default_rng(1)
    groups = uneven(rng)
    partner = stats.permute_groups(groups, rng)
    assert sorted(partner) == list(range(len(groups)))
    drew = {(g, h) for g, h in zip(groups, groups[partner], strict=True)}
    assert len(drew) == len(np.unique(groups))  # every group draws exactly one
    sizes = np.bincount(groups)
    assert all(sizes[g] == sizes[h] for g, h in drew) and any(g != h for g, h in drew)
    for g in np.unique(groups):  # the order within a group stays
        assert (np.diff(partner[groups == g]) > 0).all()


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([3] * 7, [3] * 7),
        ([9, 8, 7, 6, 5], [5] * 5),
        ([9] * 5 + [2] * 4, [9] * 5),
        ([9] * 4 + [2], [2] * 5),
        ([9] * 5 + [4] * 2 + [3] * 2 + [1], [9] * 5 + [1] * 5),
        ([9] * 6 + [3] * 4 + [1] * 4, [9] * 6 + [1] * 8),
    ],
)
def test_small_strata_are_cut_to_the_next_smaller_size(sizes, kept):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rows = stats.cut_groups(groups)
    found = np.bincount(groups[rows], minlength=len(sizes))
    assert sorted(found[found > 0]) == sorted(kept)
    for g in np.unique(groups[rows]):
        assert rows[groups[rows] == g].tolist() == np.flatnonzero(groups == g)[: found[g]].tolist()


def test_value_has_all_samples_and_null_the_cut_ones():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(24), [5] * 12 + [7] * 11 + [30])
    x, y = grouped(rng, groups), grouped(rng, groups)
    seen = []

    def statistic(rows, partner):
        seen.append((rows, partner))
        return np.corrcoef(x[rows], y[partner])[0, 1]

    found = stats.estimate(statistic, groups, stats.Resampling(permutations=50))
    rows = stats.cut_groups(groups)
    assert found.n == len(x) and found.null_n == len(rows) == 12 * 5 + 12 * 7
    assert found.value == np.corrcoef(x, y)[0, 1]
    assert found.null_value == np.corrcoef(x[rows], y[rows])[0, 1] != found.value
    draws = found.null_draws
    assert len(draws) == found.permutations == 50 and found.note == "only 50 permutations instead of 200 or more"
    assert found.p == (1 + (draws >= found.null_value).sum()) / 51
    assert found.null == pytest.approx(draws.mean())
    assert (found.null_low, found.null_high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
    for i, j in seen[-50:]:
        assert (i == rows).all() and (np.sort(j) == rows).all()
        drew = {(g, h) for g, h in zip(groups[i], groups[j], strict=True)}
        assert len(drew) == 24


def test_many_components_at_once_are_each_its_own():
    rng = np.random.default_rng(3)
    groups = np.arange(60) // 2
    x, y = rng.normal(size=(60, 2, 3)), rng.normal(size=(60, 2, 3))
    y[:, 0, 0] = x[:, 0, 0]
    plan = stats.Resampling(permutations=40, seed=5)
    found = stats.estimate(lambda i, j: (x[i] * y[j]).mean(0), groups, plan)
    assert found.value.shape == found.p.shape == found.missing.shape == (2, 3)
    for a in range(2):
        for b in range(3):
            one = stats.estimate(lambda i, j, a=a, b=b: (x[i, a, b] * y[j, a, b]).mean(), groups, plan)
            part = found[a, b]
            for name in ("value", "low", "high", "se", "null", "null_low", "null_high", "null_value", "p"):
                assert getattr(part, name) == pytest.approx(getattr(one, name)), name
            assert isinstance(part.value, float) and part.missing == ""
            np.testing.assert_allclose(part.leave_outs, one.leave_outs)
    assert found[0].value.shape == (3,) and found[0].leave_outs.shape == (30, 3)


def test_same_seed_same_numbers():
    rng = np.random.default_rng(4)
    x, y, groups = rng.normal(size=60), rng.normal(size=60), np.arange(60) // 2
    draws = [
        stats.estimate(correlation(x, y), groups, stats.Resampling(permutations=20, seed=s)).null_draws
        for s in (1, 1, 2)
    ]
    assert (draws[0] == draws[1]).all() and (draws[0] != draws[2]).any()


def test_undefined_components_are_reported():
    groups = np.arange(40)
    x = np.ones((40, 3))

    def statistic(rows, partner):
        out = x[rows].mean(0)
        out[1] = np.nan
        if 0 not in rows:
            out[2] = np.nan
        return out

    found = stats.estimate(statistic, groups, stats.Resampling(permutations=20))
    assert found.missing.tolist() == ["", "undefined on these samples", "no interval: undefined without block 0"]
    assert np.isfinite(found.value).tolist() == [True, False, True]
    assert np.isfinite(found.low).tolist() == np.isfinite(found.high).tolist() == [True, False, False]
    assert np.isfinite(found.p).tolist() == [True, False, True]
    calls = iter([1.0] * 41 + [np.nan, 0.0] * 10)
    assert (
        stats.estimate(lambda i, j: next(calls), groups, stats.Resampling(permutations=20)).p == 11 / 21
    )  # undefined draws count against


def test_statistic_must_keep_its_shape():
    with pytest.raises(ValueError, match=r"`statistic` must keep its shape \(40,\)"):
        stats.estimate(lambda i, j: np.ones(len(i)), np.arange(40), null=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": [0, 1, 2, 3] * 5}, "`groups` must hold at least 5 groups; got 4"),
        ({"groups": np.zeros((4, 2))}, "`groups` must be one name or number a sample"),
        ({"groups": [0.0, np.nan, 1, 2, 3, 4]}, "`groups` must name the scene of every sample; got NaN"),
        ({"blocks": 10}, "`blocks` must be at least 20; got 10"),
        ({"permutations": 5}, "`permutations` must be a whole number from 20 to 1,000,000; got 5"),
        ({"permutations": 10**9}, "`permutations` must be a whole number from 20 to 1,000,000; got 1000"),
        ({"permutations": 200.5}, "`permutations` must be a whole number from 20 to 1,000,000; got 200.5"),
        ({"seed": -1}, "`seed` must be a whole number from 0"),
        ({"confidence": 95}, "`confidence` must be between 0 and 1; got 95"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        plan = stats.Resampling(**{k: options.pop(k) for k in ("blocks", "permutations", "seed") if k in options})
        stats.estimate(lambda i, j: 0.0, options.pop("groups", np.arange(30)), plan, **options)


def test_folds_and_blocks_keep_groups_whole_and_balanced():
    rng = np.random.default_rng(5)
    groups = uneven(rng, 40)
    for parts, count in ((stats.group_folds(groups, 5, seed=3), 5), (stats.blocks_of(groups, 20), 20)):
        assert all(len(np.unique(parts[groups == g])) == 1 for g in np.unique(groups))
        sizes = np.bincount(parts, minlength=count)
        assert sizes.min() > 0 and sizes.max() - sizes.min() <= 6
    order = rng.permutation(len(groups))
    assert (stats.group_folds(groups[order], 5) == stats.group_folds(groups, 5)[order]).all()
    assert (stats.group_folds(groups, 5, seed=1) != stats.group_folds(groups, 5, seed=2)).any()
    names = np.array(["abcdefghijklmnopqrstuvwxyz"[g % 26] * (1 + g // 26) for g in groups])
    assert len(np.unique(stats.blocks_of(names, 40))) == 40
    with pytest.raises(ValueError, match=r"`folds` must be from 2 to the number of groups \(40\); got 41"):
        stats.group_folds(groups, 41)
    with pytest.raises(ValueError, match=r"`blocks` must be from 2 to the number of groups \(40\); got 1"):
        stats.blocks_of(groups, 1)


def pair(seed=6, n=120):
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // 2
    base = rng.normal(size=n)
    x = np.stack([base + rng.normal(size=n) + 1, base + rng.normal(size=n) + 2], 1)
    y = x + rng.normal(size=(n, 2))
    return x, y, groups


def test_combined_is_the_estimate_of_the_combined_statistic():
    x, y, groups = pair()
    parts = [stats.estimate(lambda i, j, k=k: (x[i, k] * y[j, k]).mean(), groups) for k in range(2)]
    found = stats.combine(lambda a, b, c: c * (a + b) / 2, *parts, 2.0, null=True)
    whole = stats.estimate(lambda i, j: (x[i] * y[j]).mean(0).sum(), groups)
    for name in ("value", "low", "high", "se", "null", "null_low", "null_high", "null_value", "p"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name)), name
    assert found.key == whole.key and found.n == whole.n
    ratio = stats.combine(np.divide, *parts)
    want = stats.estimate(lambda i, j: (x[i, 0] * y[j, 0]).mean() / (x[i, 1] * y[j, 1]).mean(), groups, null=False)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((want.value, want.low, want.high))
    assert ratio.p is None
    both = stats.combine(lambda a, b: np.array([a, b]), *parts)
    assert both.value.shape == (2,) and both[1].se == pytest.approx(parts[1].se)


def test_joint_interval_is_narrower_than_independent_ones():
    x, _, groups = pair()
    a, b = (stats.estimate(mean_of(x[:, k]), groups, null=False) for k in range(2))
    assert stats.combine(np.subtract, b, a).se < 0.9 * np.hypot(a.se, b.se)


def test_combining_needs_the_same_blocks():
    x, _, groups = pair()
    a = stats.estimate(mean_of(x), groups, null=False)
    b = stats.estimate(mean_of(x), groups[::-1] // 2, null=False)
    with pytest.raises(ValueError, match="`estimates` must share their blocks"):
        stats.combine(np.add, a, b)
    with pytest.raises(ValueError, match="at least one Estimate"):
        stats.combine(np.add, 1.0, 2.0)
    with pytest.raises(ValueError, match="must all have a null"):
        stats.combine(np.negative, a, null=True)
    other = stats.estimate(mean_of(x), groups, stats.Resampling(permutations=20, seed=1))
    with pytest.raises(ValueError, match="must all have a null"):
        stats.combine(np.add, stats.estimate(mean_of(x), groups, stats.Resampling(permutations=20)), other, null=True)


def test_normalised_is_a_ratio_of_sums():
    x, _, groups = pair()
    e = stats.estimate(mean_of(x), groups, null=False)
    found = stats.normalised(e[0], 0.25, e[1])
    assert found.value == pytest.approx((e.value[0] - 0.25) / (e.value[1] - 0.25))
    left = (e.leave_outs[:, 0] - 0.25) / (e.leave_outs[:, 1] - 0.25)
    np.testing.assert_allclose(found.leave_outs, left)
    assert found.low < found.value < found.high and found.missing == ""
    pooled = stats.normalised([e[0], e[1]], [0.0, 0.5], e[1])
    assert pooled.value == pytest.approx((e.value.mean() - 0.25) / (e.value[1] - 0.25))
    levels = stats.normalised(e, np.array([0.1, 0.2]), e, axis=0)
    assert levels.value == pytest.approx(1) and levels.se == pytest.approx(0)
    each = stats.normalised(e, e[0], e)
    assert each.missing[1] == "" and each.value[1] == pytest.approx(1)
    assert "ceiling - null is 0, less than 3 standard errors" in each.missing[0]
    assert np.isnan([each.value[0], each.low[0], each.high[0], each.se[0]]).all()


def test_normalised_is_missing_where_the_ceiling_is_no_higher_than_chance():
    rng = np.random.default_rng(7)
    groups = np.arange(100)
    low, high = (stats.estimate(mean_of(rng.normal(m, 1, size=100)), groups, null=False) for m in (0.1, 2))
    assert np.isnan(stats.normalised(high, 0.0, low).value)
    assert "nothing to normalise by" in stats.normalised(high, 0.0, low).missing
    assert np.isnan(stats.normalised(low, 5.0, high).value)  # a ceiling far below the null is no ceiling either
    broken = stats.estimate(lambda i, j: np.nan, groups, null=False)
    assert stats.normalised(broken, 0.0, high).missing == "undefined on these samples"


def test_normalised_interval_covers():
    hits = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        groups = np.arange(120) // 3
        base = grouped(rng, groups)
        x = np.stack([1 + base + rng.normal(size=120), 2 + base + rng.normal(size=120)], 1)
        e = stats.estimate(mean_of(x), groups, null=False)
        found = stats.normalised(e[0], 0.0, e[1])
        hits.append(found.low <= 0.5 <= found.high)
    assert abs(np.mean(hits) - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / 200)


def test_simultaneous_is_bonferroni():
    x, _, groups = pair()
    e = stats.estimate(mean_of(x), groups, null=False)
    together = e.simultaneous()
    assert together.confidence == pytest.approx(0.975)
    np.testing.assert_allclose(together.high - e.value, reference.t.ppf(1 - 0.0125, 39) * e.se)
    np.testing.assert_allclose(e.simultaneous(m=1).low, e.low)
    assert e[0].simultaneous(m=2).low == pytest.approx(together.low[0])
    with pytest.raises(ValueError, match="`m` must be the number of intervals"):
        e.simultaneous(m=0)


def test_corrections_are_the_textbook_ones():
    p = np.random.default_rng(8).uniform(size=(4, 5)) ** 3
    flat = p.ravel()
    holm = [max(min(1, (20 - (flat < q).sum()) * q) for q in flat if q <= own) for own in flat]
    np.testing.assert_allclose(stats.holm(p).ravel(), holm)
    bh = [min(min(1, 20 * q / (flat <= q).sum()) for q in flat if q >= own) for own in flat]
    np.testing.assert_allclose(stats.benjamini_hochberg(p).ravel(), bh)
    assert stats.holm(0.2) == stats.benjamini_hochberg(0.2) == 0.2
    for function in (stats.holm, stats.benjamini_hochberg):
        for bad in ([0.1, np.nan], [1.1], []):
            with pytest.raises(ValueError, match=r"`p` must be values in \[0, 1\]"):
                function(bad)


def test_p_of_the_maximum_pays_for_looking_everywhere():
    rng = np.random.default_rng(9)
    groups = np.arange(60)
    x, y = rng.normal(size=60), rng.normal(size=(60, 3, 10))
    found = stats.estimate(lambda i, j: np.einsum("n,nab->ab", x[i], y[j]) / len(i), groups)
    p = stats.max_p(found)
    assert p.shape == (3,) and (p >= found.p.min(1)).all()
    draws = found.null_draws.max(2)
    np.testing.assert_allclose(p, (1 + (draws >= found.null_value.max(1)).sum(0)) / 201)
    with pytest.raises(ValueError, match="`found` must be an array estimate with a null"):
        stats.max_p(found[0, 0])


def test_halves_give_a_mean_its_standard_error():
    rng = np.random.default_rng(3)
    groups = np.arange(400) // 5
    x = rng.normal(size=(400, 3)) + rng.normal(size=(80, 3))[groups]
    mean = [stats.estimate(f, groups, null=False) for f in (mean_of(x), Jumps(mean_of(x)))]
    np.testing.assert_allclose(mean[1].se, mean[0].se, rtol=0.35)  # their rate is estimated
    assert (mean[1].se >= 0.85 * mean[0].se).all()  # but never below that of a mean, up to the choice of the splits
    np.testing.assert_allclose(mean[1].leave_outs.mean(0), mean[1].value)
    with pytest.raises(ValueError, match="share their blocks"):
        stats.combine(np.subtract, *mean)


def test_halves_are_the_stated_formula():
    x, block = np.random.default_rng(4).normal(size=120) ** 3, np.arange(120) // 3
    statistic = lambda rows, _: float(np.median(x[rows]))  # noqa: E731
    found = stats.estimate(Jumps(statistic), block, stats.Resampling(seed=5), null=False)
    rng, half, quarter = np.random.default_rng([5, 2]), [], []
    for _ in range(40):
        parts = np.array_split(rng.permutation(40), 4)
        value = [np.median(x[np.isin(block, part)]) for part in (np.r_[parts[0], parts[1]], np.r_[parts[2], parts[3]])]
        half.append((value[0] - value[1]) ** 2 / 2)
        quarter.append(np.var([np.median(x[np.isin(block, part)]) for part in parts], ddof=1))
    rate = np.clip(np.mean(half) / np.mean(quarter), 0.5, 1)
    assert found.se == pytest.approx(np.sqrt(rate * np.mean(half)))


def test_halves_hold_what_jumps_where_leave_outs_are_far_too_wide():
    """Of each of many draws, the pairs that 30 units choose: the spread over draws is known."""
    groups, values, spans = np.arange(200) // 5, [], {True: [], False: []}
    for draw in range(24):
        rng = np.random.default_rng(draw)
        shared = rng.normal(size=(200, 8))
        x, y = (shared @ np.random.default_rng(k).normal(size=(8, 30)) + 8 * rng.normal(size=(200, 30)) for k in (1, 2))
        statistic = matching_statistic(x, y, groups)
        for jumps, kept in spans.items():
            found = stats.estimate(statistic if jumps else statistic.__call__, groups, null=False)
            kept.append(found.se)
        values.append(found.value)
    spread = np.std(values, ddof=1)
    assert 0.6 < np.sqrt(np.mean(np.square(spans[True]))) / spread < 1.5
    assert np.sqrt(np.mean(np.square(spans[False]))) / spread > 1.6


def test_what_jumps_is_left_out_where_there_are_few_groups():
    x, groups = np.random.default_rng(0).normal(size=45), np.arange(45) // 5
    found = stats.estimate(Jumps(mean_of(x)), groups, null=False)
    assert found.blocks == 9 and "9 jackknife blocks" in found.note
    np.testing.assert_allclose(found.leave_outs[0], x[stats.blocks_of(groups, 9) != 0].mean())


def test_leave_outs_that_share_work_are_taken_as_they_are():
    values = np.random.default_rng(5).normal(size=40)
    leave_outs = (values.sum() - values) / 39
    found = stats.estimate(Given(values.mean(), leave_outs), np.arange(40), null=False)
    assert found.high - found.low == pytest.approx(2 * reference.t.ppf(0.975, 39) * values.std(ddof=1) / 40**0.5)
    np.testing.assert_array_equal(found.leave_outs, leave_outs)
    with pytest.raises(ValueError, match="must give one for each of 40 blocks; got 39"):
        stats.estimate(Given(values.mean(), leave_outs[1:]), np.arange(40), null=False)


def test_an_average_can_what_all_of_its_parts_can():
    rng = np.random.default_rng(6)
    x, groups = rng.normal(size=(60, 2)), np.arange(60)
    parts = [stats.estimate(f, groups, null=False) for f in (mean_of(x[:, 0]), mean_of(x[:, 1]))]
    given = [Given(part.value, part.leave_outs) for part in parts]
    shared, plain = stats.averaged(given), stats.averaged([mean_of(x[:, 0]), given[1]])
    assert hasattr(shared, "leave_outs") and not hasattr(plain, "leave_outs")
    found, want = (stats.estimate(f, groups, null=False) for f in (shared, mean_of(x.mean(1))))
    assert (found.value, found.se) == pytest.approx((want.value, want.se))
    assert not shared.jumps and stats.averaged([mean_of(x), Jumps(mean_of(x))]).jumps
    y = rng.normal(size=(60, 2))
    both = [correlation(x[:, k], y[:, k]) for k in range(2)]
    draws = stats.estimate(stats.averaged(both), groups, stats.Resampling(permutations=20)).null_draws
    assert draws == pytest.approx(sum(stats.permuted(one, groups, 20) for one in both) / 2)


def test_draws_made_otherwise_stand_beside_an_estimate():
    x, groups = np.random.default_rng(7).normal(size=(80, 2)), np.arange(80)
    found = stats.estimate(mean_of(x), groups, null=False)
    draws = np.random.default_rng(8).normal(size=(99, 2))
    beside = stats.against(found, draws)
    np.testing.assert_allclose(beside.null_high, np.quantile(draws, 0.975, axis=0))
    np.testing.assert_allclose(beside.p, (1 + (draws >= found.value).sum(0)) / 100)
    assert (beside.low == found.low).all() and beside.permutations == 99
    with pytest.raises(ValueError, match="`draws` must be one or more values of shape"):
        stats.against(found, draws[:, :1])


def test_p_counts_ties_but_for_rounding_and_what_is_undefined():
    assert stats.p_value(0.3, [0.1 + 0.2, 0.0, 0.0]) == 2 / 4
    assert stats.p_value(0.3, [0.1, np.nan, 0.0]) == 2 / 4
    assert stats.p_value(1.0, [1.0, 0.0, 0.5, 0.2], exact=True) == 1 / 4
    assert np.isnan(stats.p_value(np.nan, [1.0, 0.0]))


def test_what_is_made_is_what_was_used():
    plan = stats.Resampling(permutations=50, seed=3)
    assert plan.made(np.arange(25)) == {"blocks": 25, "permutations": 50, "seed": 3}
    assert plan.made(np.arange(600) // 2, null=False) == {"blocks": 40}


def test_classical_intervals_and_tests_against_scipy():
    values = np.random.default_rng(9).normal(0.4, 1, size=12)
    low, high = stats.student_interval(values.mean(), values.std(ddof=1), 12)
    want = reference.t.interval(0.95, 11, values.mean(), reference.sem(values))
    assert (low, high) == pytest.approx(want)
    assert stats.student_p(values) == pytest.approx(reference.ttest_1samp(values, 0).pvalue)
    hits, count = np.array([0, 3, 10]), np.array([10, 10, 10])
    bounds = np.transpose(stats.proportion_interval(hits, count))
    want = [reference.binomtest(h, n).proportion_ci(0.95, "exact") for h, n in zip(hits, count, strict=True)]
    np.testing.assert_allclose(bounds, [(ci.low, ci.high) for ci in want])
    table = np.random.default_rng(0).normal(size=(5, 4)) + np.arange(4)
    up = reference.page_trend_test(table).pvalue
    assert stats.page_trend(table) == pytest.approx(2 * up) == pytest.approx(stats.page_trend(-table))


def test_sign_flips():
    assert stats.sign_flip(np.array([1.0, -1.0])) == 1.0
    assert stats.sign_flip(np.linspace(0.9, 1.1, 20)) == pytest.approx(1 / 4097, rel=0.5)
