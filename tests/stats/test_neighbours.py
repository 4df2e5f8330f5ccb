"""Groups that follow each other and are alike: seen, left out and moved on together, against naive references."""

from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from rgbd_insight import stats
from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics.cka import cka_statistic

MOVED = stats.Shifts.of(np.arange(30))


def sequence(rng, alike, count=40, size=5, units=12):
    """Responses (N, U) to groups whose common part depends on the group before it, and the groups (N,)."""
    common = rng.normal(size=(count, units))
    for g in range(1, count):
        common[g] = alike * common[g - 1] + np.sqrt(1 - alike**2) * common[g]
    return common.repeat(size, axis=0) + rng.normal(size=(count * size, units)), np.arange(count).repeat(size)


def uneven(seed, count=30):
    sizes = np.random.default_rng(seed).geometric(0.3, size=count)
    return np.arange(count).repeat(sizes)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [2, 7, 20, 30])
def test_stretches_follow_each_other_and_divide_no_group(seed, n):
    groups = uneven(seed)
    found = stats.stretches_of(groups, n)
    assert np.unique(found).tolist() == list(range(n))
    assert (np.diff(found) >= 0).all()  # the order stays, so that every stretch is in one piece
    assert all(len(np.unique(found[groups == g])) == 1 for g in range(30))
    assert np.bincount(found).max() <= len(groups) / n + 2 * np.bincount(groups).max()
    names = np.array([f"{99 - g} hall" for g in groups])  # whose own order is the other way round
    assert (stats.stretches_of(names, n) == found).all()


def test_stretches_of_equal_groups_are_equal():
    found = stats.stretches_of(np.arange(40).repeat(5), 10)
    assert found.tolist() == np.arange(10).repeat(20).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_a_moved_sequence_keeps_every_local_order(seed):
    groups = uneven(seed)
    moved = stats.Shifts.of(groups)
    sizes = np.bincount(groups)
    kept = [g for g in range(30) if sizes[g] >= moved.size]
    first = {g: np.flatnonzero(groups == g)[: moved.size].tolist() for g in kept}
    assert len(kept) >= 20 and list(moved.rows) == sum(first.values(), []) and moved.count == len(kept) - 1
    enough = [m for m in range(1, sizes.max() + 1) if (sizes >= m).sum() >= 20]
    assert len(moved.rows) == max(m * (sizes >= m).sum() for m in enough)
    for shift in (1, 7, moved.count):
        partners = [first[kept[(k + shift) % len(kept)]] for k in range(len(kept))]  # whole groups, in their order
        assert moved.partner(shift).tolist() == sum(partners, [])


def test_equal_groups_are_moved_with_all_of_their_samples():
    assert stats.Shifts.of(np.arange(40).repeat(5)) == stats.Shifts(tuple(range(200)), 5)


def test_interval_and_null_of_a_sequence_are_the_naive_ones():
    rng, groups = np.random.default_rng(0), uneven(3)
    x, y = rng.normal(size=(2, len(groups)))
    moved = stats.Shifts.of(groups)
    plan = stats.Resampling(blocks=20, shifts=moved)
    found = stats.estimate(lambda i, j: np.corrcoef(x[i], y[j])[0, 1], groups, plan)
    rows = np.array(moved.rows)
    own, other = x[rows], y[rows].reshape(-1, moved.size)
    null = [np.corrcoef(own, np.concatenate([other[s:], other[:s]]).ravel())[0, 1] for s in range(1, len(other))]
    assert sorted(found.null_draws) == pytest.approx(sorted(null)) and found.null_n == len(rows)
    value = np.corrcoef(x[rows], y[rows])[0, 1]
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1]) and found.null_value == pytest.approx(value)
    assert found.p == (1 + sum(m >= value for m in null)) / (1 + len(null))
    assert found.note == f"only {len(null)} shifts instead of 200 or more"
    block = stats.stretches_of(groups, 20)
    left = [np.corrcoef(x[block != b], y[block != b])[0, 1] for b in range(20)]
    np.testing.assert_allclose(found.leave_outs, left)
    fewer = replace(plan, permutations=len(null) - 1, seed=1) if len(null) > 20 else plan
    few = stats.estimate(lambda i, j: np.corrcoef(x[i], y[j])[0, 1], groups, fewer)
    assert len(set(few.null_draws)) == fewer.draws and set(few.null_draws) <= set(found.null_draws)  # none twice
    assert plan.made(groups) == {"blocks": 20, "shifts": len(null)}
    fewer = stats.Resampling(permutations=20, seed=1, shifts=MOVED)
    assert fewer.made(np.arange(30)) == {"blocks": 30, "shifts": 20, "seed": 1}


def naive(streams, groups):
    """Autocorrelations of the groups' means, unit by unit and group by group, mean over streams."""
    count, found = groups.max() + 1, []
    for x in streams:
        means = np.array([x[groups == g].mean(0) for g in range(count)])
        means = (means - means.mean(0)) / means.std(0)
        found.append([(means[:-k] * means[k:]).sum() / (count - k) / means.shape[1] for k in range(1, count // 2 + 1)])
    return np.mean(found, axis=0)


def test_how_alike_neighbours_are_is_the_stated_formula():
    x, groups = sequence(np.random.default_rng(0), 0.6)
    streams = [x, 9 * x[:, :3] + 5]
    found, r = stats.neighbours(streams, groups), naive(streams, groups)
    assert found.correlation == pytest.approx(r[0]) and found.alike and found.p == 1 / 1000
    rng, null = np.random.default_rng(1), []
    for _ in range(300):
        order = rng.permutation(40)
        null.append(naive([s.reshape(40, 5, -1)[order].reshape(200, -1) for s in streams], groups)[0])
    last = next(k for k, value in enumerate(r) if value <= np.quantile(null, 0.95))
    tau, gamma = 1 + 2 * sum(r[:last]), 2 * sum((k + 1) * r[k] for k in range(last))
    assert found.length == ceil((1.5 * gamma**2 / tau**2 * 40) ** (1 / 3)) == 4
    assert found.joined == 2 and len(np.unique(found.groups)) == 20  # 4 would leave 10 blocks
    assert (found.groups == stats.stretches_of(groups, 20)).all() and found.shifts.count == 39


def test_an_order_that_says_nothing_changes_nothing():
    x, groups = sequence(np.random.default_rng(0), 0.9)
    order = np.random.default_rng(1).permutation(40)
    found = stats.neighbours([x.reshape(40, 5, -1)[order].reshape(200, -1)], groups)
    assert not found.alike and found.p > 0.01 and found.made() == {}
    assert (found.groups == groups).all() and found.plan(permutations=99) == stats.Resampling(permutations=99)


def test_neighbours_are_seen_where_they_are_alike_and_hardly_ever_where_not():
    seen = {rho: [] for rho in (0.0, 0.3, 0.6)}
    for rho, kept in seen.items():
        for seed in range(60):
            world = World(Knobs(n=200, width=16, related=False, networks=1, likeness=0.5, neighbours=rho), seed)
            kept.append(stats.neighbours([world.stream("rgb"), world.stream("depth")], world.groups).alike)
    assert sum(seen[0.0]) <= 4 and sum(seen[0.3]) >= 50 and sum(seen[0.6]) == 60


def test_p_keeps_its_level_where_neighbours_are_alike():
    """Of 80 worlds without anything in common p <= .05 may come out in 10: more have a probability below .01."""
    hits = np.zeros(2, int)
    for seed in range(80):
        world = World(
            Knobs(n=200, width=16, other_width=16, related=False, networks=1, neighbours=0.6, likeness=0.8), seed
        )
        x, y, groups = world.stream("rgb"), world.stream("depth"), world.groups
        statistic, found = cka_statistic(x, y), stats.neighbours([x, y], groups)
        for way, (divided, plan) in enumerate(
            [(found.groups, found.plan()), (groups, stats.Resampling(permutations=39))]
        ):
            rows, draws = stats.exchanged(statistic, divided, plan)
            hits[way] += stats.p_value(statistic(rows, rows), draws) <= 0.05
    assert hits[0] <= 10 and hits[1] >= 24  # permuting groups, which takes the slowness away


def test_few_groups_and_no_responses_are_said():
    x, groups = sequence(np.random.default_rng(0), 0.9, count=12)
    few = stats.neighbours([x], groups)
    assert not few.alike and few.made()["warnings"][0].endswith("only 12 groups, of 20 that it takes")
    still = stats.neighbours([np.ones((200, 3))], np.arange(200) // 5)
    assert "no stream responds" in still.made()["warnings"][0] and np.isnan(still.p)


def test_a_warning_says_what_was_done_instead():
    x, groups = sequence(np.random.default_rng(0), 0.6)
    made = stats.neighbours([x], groups).made()
    assert made["groups joined"] == 2 and 0.3 < made["autocorrelation"] < 0.7
    assert "2 in a row (4 would be right, but leave too few blocks) are left out together" in made["warnings"][0]


@pytest.mark.parametrize(("count", "left"), [(20, 10), (30, 15), (120, 20), (400, None)])
def test_as_many_are_joined_as_leave_twenty_blocks(count, left):
    x, groups = sequence(np.random.default_rng(1), 0.6, count=count)
    found = stats.neighbours([x], groups)
    assert len(np.unique(found.groups)) == (left or count // found.length)
    assert (found.joined < found.length) == (left is not None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.stretches_of([0, 1, 0, 2], 2), "got 0 in 2 places"),
        (lambda: stats.stretches_of([0, 0, 1, 1], 1), "from 2 stretches to the number of groups"),
        (lambda: stats.stretches_of([0, 0, 1, 1], 3), r"number of groups \(2\); got 3"),
        (lambda: stats.neighbours([np.ones((6, 2))], [0, 1, 0, 1, 2, 3]), "must be in order"),
        (lambda: stats.neighbours([np.ones((9, 2))], np.arange(30)), r"`streams` must each be \(30, units\)"),
        (lambda: stats.Shifts.of([0, 1, 2, 0, 3] * 6), "must be in order"),
        (lambda: stats.Shifts.of(np.arange(19)), "at least 20 groups to move their sequence; got 19"),
        (
            lambda: stats.exchanged(lambda i, j: 0.0, np.arange(29), stats.Resampling(shifts=MOVED)),
            "`plan` must move a sequence of these 29 samples; got sample 29",
        ),
        (
            lambda: stats.estimate(lambda i, j: 0.0, [0, 1, 2, 3, 4, 0], stats.Resampling(shifts=MOVED)),
            "`groups` must be in order",
        ),
        (
            lambda: stats.estimate(lambda i, j: 0.0, np.zeros(9), stats.Resampling(shifts=MOVED)),
            "at least 5 groups; got 1",
        ),
    ],
)
def test_what_cannot_be_done_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_estimates_with_other_blocks_or_another_exchange_are_not_combined():
    x, groups = np.random.default_rng(0).normal(size=200), np.arange(200) // 5
    mean = lambda i, j: x[i].mean()  # noqa: E731
    whole = stats.estimate(mean, groups, null=False)
    with pytest.raises(ValueError, match="a leave-out for each of their 40 blocks; got 20"):
        stats.combine(np.subtract, whole, replace(whole, leave_outs=whole.leave_outs[::2]))
    with pytest.raises(ValueError, match="a leave-out for each of their 40 blocks; got 20"):
        stats.combine(np.negative, replace(whole, leave_outs=whole.leave_outs[::2]))
    half = stats.estimate(mean, groups, stats.Resampling(blocks=20), null=False)
    with pytest.raises(ValueError, match="must share their blocks"):
        stats.combine(np.subtract, whole, replace(half, blocks=40))  # whatever it says of itself
    moved = stats.estimate(mean, groups, stats.Resampling(permutations=39, shifts=stats.Shifts.of(groups)))
    permuted = stats.estimate(mean, groups, stats.Resampling(permutations=39))
    assert moved.leave_outs == pytest.approx(permuted.leave_outs)  # here the blocks are the same
    with pytest.raises(ValueError, match="must share their blocks"):
        stats.combine(np.subtract, moved, permuted, null=True)
