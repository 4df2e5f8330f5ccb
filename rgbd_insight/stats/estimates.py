"""The number that every measure becomes: a value with its interval, its null and what it was made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

Number = float | np.ndarray


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value with its interval and its null; every field has the statistic's shape (floats for a plain number).

    Attributes
    ----------
    value, low, high, se : the statistic on all samples, its delete-group jackknife interval and standard error.
    missing : why a component has no value or no interval (then NaN); "" where it has.
    leave_outs : (blocks, …) the statistic without each block of groups.
    null, null_low, null_high : mean and central 95 % of the values under permutation; None where not asked for.
    null_value, p : the value on the samples that could be permuted (`null_n` of them), and the share
        (1 + #{null ≥ null_value})/(1 + permutations): small where the value is larger than chance.
    null_draws : (permutations, …) values under permutation; the same seed and groups give the same permutations.
    n, groups, blocks, permutations, confidence, seed : what it was made from.
    key : names the division into blocks; estimates with the same key can be combined.
    note : in what way this is weaker than the standard (fewer blocks or permutations), or "".
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

    def __getitem__(self, index: int | tuple) -> Estimate:
        """One component, or some of them."""
        names = ("value", "low", "high", "se", "missing", "null", "null_low", "null_high", "null_value", "p")
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
        reach = _t(confidence, self.blocks) * np.asarray(self.se)
        low, high = np.asarray(self.value) - reach, np.asarray(self.value) + reach
        return replace(self, low=scalar_or_array(low), high=scalar_or_array(high), confidence=confidence)


def with_interval(value: np.ndarray, leave_outs: np.ndarray, made: dict) -> Estimate:
    """The estimate of `value` () or (…) with the delete-group jackknife interval of `leave_outs` (blocks, …)."""
    if leave_outs.shape[1:] != value.shape:
        raise ValueError(f"`statistic` must keep its shape {value.shape} on subsets; got {leave_outs.shape[1:]}.")
    blocks = len(leave_outs)
    deviations = leave_outs - leave_outs.mean(0)
    se = np.sqrt((blocks - 1) / blocks * (deviations**2).sum(0))
    reach = _t(made["confidence"], blocks) * se
    missing = np.full(value.shape, "", object)
    for index in np.argwhere(~np.isfinite(se)):
        without = np.flatnonzero(~np.isfinite(leave_outs[(slice(None), *index)]))
        missing[tuple(index)] = f"no interval: undefined without block {', '.join(map(str, without))}"
    missing[~np.isfinite(value)] = "undefined on these samples"
    numbers = (scalar_or_array(np.where(np.isfinite(v), v, np.nan)) for v in (value, value - reach, value + reach, se))
    return Estimate(*numbers, scalar_or_array(missing), leave_outs, blocks=blocks, **made)


def with_null(found: Estimate, reference: np.ndarray, draws: np.ndarray, n: int) -> Estimate:
    """`found` with the null `draws` (permutations, …) and the p-value of `reference` on the same `n` samples."""
    defined = np.isfinite(draws)
    count = np.maximum(defined.sum(0), 1)
    mean = np.where(defined.any(0), np.where(defined, draws, 0).sum(0) / count, np.nan)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    # An undefined draw is counted against the claim; an undefined value has no p.
    p = (1 + (~(draws < reference)).sum(0)) / (1 + len(draws))
    p = np.where(np.isfinite(reference), p, np.nan)
    numbers = dict(null=mean, null_low=low, null_high=high, null_value=reference, p=p)
    numbers = {name: scalar_or_array(np.asarray(number)) for name, number in numbers.items()}
    return replace(found, **numbers, null_draws=draws, permutations=len(draws), null_n=n)


def scalar_or_array(a: np.ndarray) -> Number | str:
    """A Python number (or string) for an array without axes, the array itself otherwise."""
    return a.item() if np.ndim(a) == 0 and isinstance(a, (np.ndarray, np.generic)) else a


def _t(confidence: float, blocks: int) -> float:
    return float(stdtrit(blocks - 1, (1 + confidence) / 2))
