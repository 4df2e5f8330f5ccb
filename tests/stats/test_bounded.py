"""Intervals of values within ±1: against loops, at the edges, of a ratio to which few images bring the most."""

import math

import numpy as np
import pytest
from scipy import stats as distributions

from rgbd_insight import stats
from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics.cka import cka_statistic


class Made:
    """A statistic with these leave-outs (G, …)."""

    def __init__(self, value, leave_outs, bounded=None):
        self.value, self.made, self.bounded = np.asarray(value, float), np.asarray(leave_outs, float), bounded

    def __call__(self, rows, partner):
        return self.value

    def leave_outs(self, blocks):
        return self.made


def found(value, leave_outs, bounded, confidence=0.95):
    groups = np.arange(len(leave_outs))
    return stats.estimate(Made(value, leave_outs, bounded), groups, null=False, confidence=confidence)


def naive(value, leave_outs, ratio, confidence=0.95):
    """Ends of one value's interval, by loops over its leave-outs."""
    count, z = len(leave_outs), [math.atanh(v) for v in leave_outs]

    def error(values):
        mean = sum(values) / count
        return math.sqrt((count - 1) / count * sum((v - mean) ** 2 for v in values))

    to, back, freedom = (lambda v: v), (lambda v: v), count - 1
    if ratio:
        size = 3 * error(z)
        to, back = (lambda v: math.asinh(v / size)), (lambda v: size * math.sinh(v))
        kurtosis = 3 + distributions.kurtosis([to(v) for v in z], bias=False)
        freedom = min(max(2 * count / (kurtosis - 1), 3), count - 1)
    reach = distributions.t.ppf((1 + confidence) / 2, freedom) * error([to(v) for v in z])
    middle = to(math.atanh(value))
    return math.tanh(back(middle - reach)), math.tanh(back(middle + reach))


@pytest.mark.parametrize("ratio", [True, False])
def test_ends_are_those_of_loops_for_one_and_for_many(ratio):
    rng = np.random.default_rng(0)
    value, spread = np.array([0.0, 0.3, -0.6, 0.97]), np.array([0.1, 0.2, 0.1, 0.003])
    leave_outs = value + spread / 39**0.5 * rng.standard_t(4, size=(40, 4))
    bounded = np.inf if ratio else np.full(4, 200.0)
    estimated = found(value, leave_outs, bounded)
    for confidence, one in ((0.95, estimated), (1 - 0.05 / 7, estimated.simultaneous(7))):
        ends = np.array([naive(v, out, ratio, confidence) for v, out in zip(value, leave_outs.T, strict=True)])
        np.testing.assert_allclose(np.stack([one.low, one.high], 1), ends, atol=1e-12)
    alone = estimated[1].simultaneous(7)
    assert alone.low == estimated.simultaneous(7).low[1]
    np.testing.assert_allclose(estimated.se, found(value, leave_outs, None).se)


def test_edges():
    all_right = found([1.0, -1.0], np.tile([1.0, -1.0], (40, 1)), [20.0, 50.0])
    bounds = 2 * 0.025 ** (1 / np.array([20, 50])) - 1
    np.testing.assert_allclose([*all_right.low, *all_right.high], [bounds[0], -1, 1, -bounds[1]])
    one_wrong = np.r_[1.0, np.full(39, 0.995)]  # one pair of twenty groups each
    some = found(0.995, one_wrong, 20.0)
    assert bounds[0] < some.low < 0.99 and 0.995 < some.high < 1
    same = found(1.0, np.ones(40), np.inf)  # a stream beside itself is alike exactly
    assert same.low == same.high == 1
    beyond = np.r_[0.999, np.full(39, 1.003)]  # a debiased ratio may be: the interval is as ever
    assert found(1.002, beyond, np.inf).low == found(1.002, beyond, None).low
    gone = found([0.2, np.nan], np.stack([np.linspace(0.1, 0.3, 40), np.full(40, np.nan)], 1), np.inf)
    assert gone.low[0] < 0.2 and np.isnan([gone.low[1], gone.high[1], gone.simultaneous().low[1]]).all()


def test_a_mean_of_bounded_statistics_is_bounded():
    x, groups = np.random.default_rng(0).normal(size=(3, 60, 4)), np.arange(60) // 3
    parts = [cka_statistic(x[0], x[1]), cka_statistic(x[0], x[2])]
    assert stats.averaged(parts).bounded == np.inf
    assert stats.averaged([*parts, lambda rows, partner: 0.0]).bounded is None
    value = stats.estimate(parts[0], groups, null=False)
    assert value.bounded == np.inf and value.low != pytest.approx(2 * value.value - value.high)


def test_cka_of_streams_that_few_images_make_is_covered():
    knobs = Knobs(
        n=200, width=32, other_width=32, law="lognormal", imbalance=0.25, relu=True, tails=4.0, uneven=1.0, concepts=12
    )

    def value(draw):
        world = World(knobs, 3, draw)
        return cka_statistic(world.stream("rgb", 0), world.stream("depth", 1)), world.groups

    every = np.arange(len(World(knobs, 3).groups))
    truth = np.mean([value(10**6 + draw)[0](every, every) for draw in range(120)])
    usual, plain = [], []
    for draw in range(60):
        one = stats.estimate(*value(draw), null=False)
        usual.append(one.low <= truth <= one.high)
        plain.append(abs(one.value - truth) <= 2.02 * one.se)
    assert np.mean(usual) >= 0.92 and np.mean(usual) >= np.mean(plain) + 0.03
