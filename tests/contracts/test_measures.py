"""Every registered measure keeps what its entry in `MEASURES` promises."""

import numpy as np
import pytest

from rgbd_insight.metrics import INVARIANCES, MEASURES

GROUPS = np.arange(80) // 4

pytestmark = pytest.mark.parametrize("name", MEASURES)


def streams(seed=0, related=True):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(80, 3)) * related
    return tuple(common @ rng.normal(size=(3, w)) + 0.5 * rng.normal(size=(80, w)) for w in (6, 5))


def value(name, x, y, groups=GROUPS):
    found = MEASURES[name].function(x, y, groups)
    assert isinstance(found, float)
    return found


def changed(x, how, rng):
    width = x.shape[1]
    if how == "shift":
        return x + rng.normal(size=width) * 100
    if how == "scale":
        return x * 1e3
    if how == "unit_scale":
        return x * 10.0 ** rng.uniform(-3, 3, size=width)
    if how == "sign":
        return x * rng.choice([-1, 1], size=width)
    if how == "permutation":
        return x[:, rng.permutation(width)]
    return x @ np.linalg.qr(rng.normal(size=(width, width)))[0]


@pytest.mark.parametrize("how", INVARIANCES)
def test_invariances_are_those_documented(name, how):
    x, y = streams()
    rng = np.random.default_rng(1)
    before = value(name, x, y)
    after = value(name, changed(x, how, rng), y), value(name, x, changed(y, how, rng))
    if how in MEASURES[name].invariances:
        assert after == pytest.approx((before, before), rel=1e-7, abs=1e-9)
    else:
        assert max(abs(a - before) for a in after) > 1e-6


def test_range(name):
    measure = MEASURES[name]
    for seed in range(12):
        x, y = streams(seed, related=seed % 2)
        for found in (value(name, x, y), value(name, x, x)):
            assert measure.lower is None or found >= measure.lower
            assert measure.upper is None or found <= measure.upper + 1e-9


def test_identical_streams(name):
    x, y = streams()
    same, other = value(name, x, x), value(name, x, y)
    assert same == pytest.approx(MEASURES[name].identical, abs=1e-3)
    assert same < other if MEASURES[name].kind == "distance" else same > other


def test_symmetry(name):
    x, y = streams()
    alike = value(name, x, y) == pytest.approx(value(name, y, x), rel=1e-9)
    assert alike == MEASURES[name].symmetric


def test_order_of_samples_does_not_matter(name):
    x, y = streams()
    order = np.random.default_rng(2).permutation(80)
    assert value(name, x[order], y[order], GROUPS[order]) == pytest.approx(value(name, x, y), rel=1e-9)


def test_pairing_matters(name):
    x, y = streams()
    away = np.roll(np.arange(80), 8)
    assert abs(value(name, x, y) - value(name, x, y[away])) > 0.1


def test_names_of_groups_do_not_matter(name):
    x, y = streams()
    names = np.char.add("scene ", np.char.zfill(GROUPS.astype(str), 3))
    assert value(name, x, y, names) == value(name, x, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_rejected(name, bad):
    x, y = streams()
    x[7, 2] = bad
    with pytest.raises(ValueError, match=f"`x` must be finite; got {bad} at image 7, unit 2"):
        value(name, x, y)
    with pytest.raises(ValueError, match="`y` must be finite"):
        value(name, y, x)


def test_constant_units_are_defined(name):
    x, y = streams()
    x[:, 1] = y[:, 3] = 0.1
    found = value(name, x, y)
    assert np.isfinite(found)
    assert MEASURES[name].upper is None or found <= MEASURES[name].upper + 1e-9


def test_inputs_are_left_alone(name):
    x, y = streams()
    copies = x.copy(), y.copy()
    value(name, x, y)
    assert (x == copies[0]).all() and (y == copies[1]).all()


def test_precision_of_the_input_hardly_matters(name):
    x, y = streams()
    assert value(name, x.astype(np.float32), y.astype(np.float32)) == pytest.approx(value(name, x, y), abs=1e-5)


def test_entry_is_well_formed(name):
    measure = MEASURES[name]
    assert set(measure.invariances) <= set(INVARIANCES)
    assert None in (measure.lower, measure.upper) or measure.lower < measure.upper
    assert measure.kind in ("similarity", "directed", "distance")


def test_statistic_is_the_measure_on_those_rows(name):
    x, y = streams()
    statistic = MEASURES[name].statistic(x, y, GROUPS)
    every, away = np.arange(80), np.roll(np.arange(80), 8)
    assert statistic(every, every) == pytest.approx(value(name, x, y), rel=1e-9)
    # folds go with the images of x
    assert statistic(every, away) == pytest.approx(value(name, x, y[away]), rel=1e-9)
