"""The number that every measure becomes: a value with its interval, its null, its p and what it was made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

Number = float | np.ndarray
ROUNDING = 1e-12  # of a value: what differs from it by less is as large
NEAR = 3  # standard errors from 0 within which errors do not grow with the value
FEWEST = 3  # degrees of freedom of an interval's error, however few blocks make it


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value with its interval and its null; every field has the statistic's shape (floats for a plain number).

    Attributes
    ----------
    value, low, high, se : float or array (…)
        The statistic on all samples, its delete-group jackknife interval and standard error.
    missing : str or array of str (…)
        Why a component has no value or no interval (then NaN); "" where it has.
    leave_outs : array (blocks, …)
        The statistic without each block of groups.
    null, null_low, null_high : float or array (…), optional
        Mean and central 95 % of the values under permutation; None where not asked for.
    null_value, p : float or array (…), optional
        The value on the samples that could be permuted (`null_n` of them), and the share
        (1 + #{null ≥ null_value})/(1 + permutations): small where the value is larger than chance.
    null_draws : array (permutations, …), optional
        Values under permutation; the same seed and groups give the same permutations.
    n, groups, blocks, permutations, seed : int
        What it was made from.
    bounded : float or array (…), optional
        Given where values lie within ±1, and the interval with them: `Statistic.bounded`.
    confidence : float
        Of the intervals, in (0, 1).
    key : str
        Names the division into blocks; estimates with the same key can be combined.
    note : str
        In what way this is weaker than the standard (fewer blocks or permutations), or "".
    """

    value: Number
    low: Number
    high: Number
    se: Number
    missing: str | np.ndarray
    leave_outs: np.ndarray
    n: int
    groups: int
    blocks: int
    confidence: float
    seed: int
    key: str
    note: str = ""
    null: Number | None = None
    null_low: Number | None = None
    null_high: Number | None = None
    null_value: Number | None = None
    p: Number | None = None
    null_draws: np.ndarray | None = None
    permutations: int = 0
    null_n: int = 0
    bounded: Number | None = None

    def __getitem__(self, index: int | tuple) -> Estimate:
        """One component, or some of them."""
        names = "value", "low", "high", "se", "missing", "null", "null_low", "null_high", "null_value", "p", "bounded"
        chosen = {k: scalar_or_array(np.asarray(v)[index]) for k in names if (v := getattr(self, k)) is not None}
        behind = (slice(None), *(index if isinstance(index, tuple) else (index,)))
        draws = {k: v[behind] for k in ("leave_outs", "null_draws") if (v := getattr(self, k)) is not None}
        return replace(self, **chosen, **draws)

    def simultaneous(self, m: int | None = None) -> Estimate:
        """The same estimate with intervals that hold for all of `m` (default: its own components) together."""
        m = int(np.size(self.value)) if m is None else m
        if m < 1:
            raise ValueError(f"`m` must be the number of intervals that shall hold together; got {m}.")
        confidence = 1 - (1 - self.confidence) / m
        ends = _ends(np.asarray(self.value), self.leave_outs, np.asarray(self.se), confidence, self.bounded)
        low, high = (scalar_or_array(end) for end in ends)
        return replace(self, low=low, high=high, confidence=confidence)


def with_interval(value: np.ndarray, leave_outs: np.ndarray, made: dict, bounded: Number | None = None) -> Estimate:
    """The estimate of `value` () or (…) with the delete-group jackknife interval of `leave_outs` (blocks, …)."""
    if leave_outs.shape[1:] != value.shape:
        raise ValueError(f"`statistic` must keep its shape {value.shape} on subsets; got {leave_outs.shape[1:]}.")
    if bounded is not None:
        bounded = np.broadcast_to(np.asarray(bounded, float), value.shape)
    se = jackknife_error(leave_outs)
    low, high = _ends(value, leave_outs, se, made["confidence"], bounded)
    missing = np.full(value.shape, "", object)
    for index in np.argwhere(~np.isfinite(se)):
        without = np.flatnonzero(~np.isfinite(leave_outs[(slice(None), *index)]))
        missing[tuple(index)] = f"no interval: undefined without block {', '.join(map(str, without))}"
    missing[~np.isfinite(value)] = "undefined on these samples"
    numbers = (scalar_or_array(np.where(np.isfinite(v), v, np.nan)) for v in (value, low, high, se))
    bounded = None if bounded is None else scalar_or_array(bounded)
    return Estimate(*numbers, scalar_or_array(missing), leave_outs, blocks=len(leave_outs), bounded=bounded, **made)


def jackknife_error(leave_outs: np.ndarray) -> np.ndarray:
    """Standard error (…) from values without each block (blocks, …)."""
    blocks, deviations = len(leave_outs), leave_outs - leave_outs.mean(0)
    return np.sqrt((blocks - 1) / blocks * (deviations**2).sum(0))


def _ends(
    value: np.ndarray, leave_outs: np.ndarray, se: np.ndarray, confidence: float, bounded: Number | None
) -> tuple[np.ndarray, np.ndarray]:
    """Ends (…) of the interval; NaN where the error (…) is."""
    reach = student(confidence, len(leave_outs)) * se
    low, high = value - reach, value + reach
    if bounded is None:
        return low, high
    edge = 1 - np.maximum(1 / np.square(bounded), ROUNDING)  # half a pair of groups in the wrong order, or rounding
    beyond = np.isinf(bounded) & ((np.abs(value) >= edge) | (np.abs(leave_outs) >= edge).any(0))  # debiased values can
    inside = _within(np.clip(value, -edge, edge), np.clip(leave_outs, -edge, edge), np.isinf(bounded), confidence)
    none = 2 * ((1 - confidence) / 2) ** (1 / np.asarray(bounded)) - 1  # where no group was an exception
    lower = np.where(value >= edge, np.minimum(inside[0], none), np.where(value <= -edge, -1, inside[0]))
    upper = np.where(value <= -edge, np.maximum(inside[1], -none), np.where(value >= edge, 1, inside[1]))
    known = np.isfinite(se)
    return np.where(beyond | ~known, low, lower), np.where(beyond | ~known, high, upper)


def _within(
    value: np.ndarray, leave_outs: np.ndarray, grows: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Ends (…) of an interval inside ±1, made of z = atanh(value), of which ±1 is as far away as it should be.

    Where errors grow with the value (`grows`), as of a ratio to which few images may bring the most, the scale is
    asinh(z/3s), s being the standard error of z: as z near 0, logarithmic farther out; and a few blocks that bring most
    of the variance leave it fewer degrees of freedom.
    """
    at, without = np.arctanh(value), np.arctanh(leave_outs)
    size = NEAR * jackknife_error(without)
    size = np.where(size > 0, size, 1)
    at, without = (np.where(grows, np.arcsinh(z / size), z) for z in (at, without))
    freedom = np.where(grows, _freedom(without), len(without) - 1)
    reach = student(confidence, freedom + 1) * jackknife_error(without)
    return tuple(np.tanh(np.where(grows, size * np.sinh(end), end)) for end in (at - reach, at + reach))


def _freedom(leave_outs: np.ndarray) -> np.ndarray:
    """Degrees of freedom (…) of the variance of 5 or more leave-outs: fewer where few blocks bring most of it.

    2G/(κ − 1) with their kurtosis κ (its unbiased estimate), which of normal ones is 3.
    """
    count = len(leave_outs)
    squares = (leave_outs - leave_outs.mean(0)) ** 2
    second, fourth = squares.mean(0), (squares**2).mean(0)
    excess = np.divide(fourth, second**2, out=np.full_like(second, 3.0), where=second > 0) - 3
    excess = (count - 1) / ((count - 2) * (count - 3)) * ((count + 1) * excess + 6)
    return np.clip(2 * count / np.maximum(excess + 2, 1e-9), min(FEWEST, count - 1), count - 1)


def against(found: Estimate, draws: ArrayLike, *, reference: Number | None = None, n: int | None = None) -> Estimate:
    """`found` beside values that were drawn where there is nothing to find: its null and its p-value.

    Parameters
    ----------
    found : Estimate
        Of any shape.
    draws : array (permutations, …)
        Values of the same shape; NaN where one is undefined.
    reference : float or array (…), optional
        What the draws are compared with where that is not `found.value`, and `n` the samples that it is of.
    n : int, optional
        As many as `found` has, where left out.

    Returns
    -------
    Estimate
        With null, null_low, null_high, null_value, p and null_draws.

    Raises
    ------
    ValueError
        Where there are no draws, or they have another shape.

    Examples
    --------
    >>> from rgbd_insight.stats.resampling import estimate
    >>> lost = estimate(lambda i, _: 5.0 + i.mean() / 100, np.arange(40), null=False)
    >>> against(lost, [1.0, 2.0, 6.0]).p
    0.5
    """
    draws = np.asarray(draws, float)
    reference = np.asarray(found.value if reference is None else reference, float)
    if len(draws) == 0 or draws.shape[1:] != reference.shape:
        raise ValueError(f"`draws` must be one or more values of shape {reference.shape}; got shape {draws.shape}.")
    defined = np.isfinite(draws)
    count = np.maximum(defined.sum(0), 1)
    mean = np.where(defined.any(0), np.where(defined, draws, 0).sum(0) / count, np.nan)
    low, high = central_interval(draws)
    numbers = dict(null=mean, null_low=low, null_high=high, null_value=reference, p=p_value(reference, draws))
    numbers = {name: scalar_or_array(np.asarray(number)) for name, number in numbers.items()}
    return replace(found, **numbers, null_draws=draws, permutations=len(draws), null_n=found.n if n is None else n)


def p_value(value: ArrayLike, draws: ArrayLike, *, exact: bool = False) -> Number:
    """Share, in (0, 1], of values as large as this one where there is nothing to find: small where it is larger.

    Parameters
    ----------
    value : float or array (…)
        What was found; for a two-sided test its absolute value. NaN has no p.
    draws : array (D, …)
        Values drawn under the null; NaN counts as larger.
    exact : bool
        The draws are all there are, the value itself among them, and not some of them.

    Returns
    -------
    float or array (…)
        (1 + #{draws ≥ value})/(1 + D), or the plain share where `exact`. What is equal but for rounding counts as
        equal.

    References
    ----------
    Phipson, Smyth: Permutation p-values should never be zero. SAGMB 9, 2010.

    Examples
    --------
    >>> p_value(0.3, [0.1, 0.1 + 0.2, 0.5, 0.0]), p_value(2.0, [0.0, 1.0, 2.0, 1.5], exact=True)
    (0.6, 0.25)
    """
    value, draws = np.asarray(value, float), np.asarray(draws, float)
    beyond = (~(draws < value - ROUNDING * np.abs(value))).sum(0)
    p = beyond / len(draws) if exact else (1 + beyond) / (1 + len(draws))
    return scalar_or_array(np.where(np.isfinite(value), p, np.nan))


def central_interval(draws: ArrayLike, confidence: float = 0.95) -> tuple[Number, Number]:
    """Between which values the central `confidence` of draws (D, …) lie, each (…); NaN where a draw is.

    Parameters
    ----------
    draws : array (D, …)
        One value, or array of them, a draw.
    confidence : float
        Between 0 and 1.

    Examples
    --------
    >>> [round(end, 9) for end in central_interval(np.arange(101.0), 0.9)]
    [5.0, 95.0]
    """
    ends = (1 - confidence) / 2, (1 + confidence) / 2
    low, high = np.quantile(np.asarray(draws, float), ends, axis=0)
    return scalar_or_array(low), scalar_or_array(high)


def scalar_or_array(a: np.ndarray) -> Number | str:
    """A Python number (or string) for an array without axes, the array itself otherwise."""
    return a.item() if np.ndim(a) == 0 and isinstance(a, (np.ndarray, np.generic)) else a


def student(confidence: float, count: ArrayLike) -> Number:
    """How many standard errors an interval reaches to either side, from `count` values (2 or more)."""
    return scalar_or_array(stdtrit(np.asarray(count) - 1.0, (1 + confidence) / 2))
