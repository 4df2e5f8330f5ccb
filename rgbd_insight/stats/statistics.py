"""What a statistic is, how it is evaluated many times, and the average of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from rgbd_insight.stats.estimates import Number, scalar_or_array

Pair = tuple[np.ndarray, np.ndarray]  # rows, partner


class Statistic(Protocol):
    """A number, or an array, of paired samples: what `estimate` takes. A plain function (rows, partner) will do.

    A statistic that can share work, or that needs another interval, says so by further attributes; `estimate` asks for
    each of them and does without.

    Attributes
    ----------
    leave_outs : method, (blocks) -> array (G, …)
        Its values without each block, `blocks` (N,) being codes 0…G−1. It is asked before the value, which may then
        come from the same work.
    many : method, (pairs) -> array (P, …)
        Its values for a list of (rows, partner).
    jumps : bool
        True where it jumps when a few samples are left out (`matching`, whose partners change): leave-outs would add
        the jumps up, so its interval comes from its values on halves and quarters of the blocks.
    bounded : float or array (…)
        Given where it lies within ±1 and its interval shall. Of a share of successes (2·AUROC − 1): how many groups it
        was judged on, which bound a value of ±1 as so many trials without an exception do. Infinite for a ratio (CKA),
        which may be ±1 exactly and whose errors grow with it.
    """

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> Number:
        """The value of one side at `rows` beside the other at `partner`, row numbers of one length; NaN: undefined."""
        ...


def evaluated(statistic: Statistic, pairs: Sequence[Pair]) -> np.ndarray:
    """The statistic (P, …) of every (rows, partner), by its own `many` where it has one."""
    many = getattr(statistic, "many", None)
    values = [statistic(*pair) for pair in pairs] if many is None else many(pairs)
    if any(value is None for value in values):
        raise ValueError("`statistic` must return a number or an array for every (rows, partner); got None")
    return np.stack([np.asarray(value, float) for value in values])


def averaged(parts: Sequence[Statistic]) -> Statistic:
    """The mean of several statistics of the same samples (pairs of networks); it can what all of them can.

    Examples
    --------
    >>> x = np.arange(12.0).reshape(6, 2)
    >>> mean = averaged([lambda i, j: x[i, 0].mean(), lambda i, j: x[j, 1].mean()])
    >>> mean(np.arange(3), np.arange(3)), hasattr(mean, "leave_outs")
    (2.5, False)
    """
    parts = list(parts)
    if all(hasattr(part, "leave_outs") for part in parts):
        return _WithLeaveOuts(parts)
    return _Averaged(parts)


class _Averaged:
    def __init__(self, parts: Sequence[Statistic]) -> None:
        self.parts = parts
        self.jumps = any(getattr(part, "jumps", False) for part in parts)
        bounded = [getattr(part, "bounded", None) for part in parts]
        self.bounded = None if any(b is None for b in bounded) else np.min(bounded, axis=0)

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> Number:
        return scalar_or_array(np.mean([part(rows, partner) for part in self.parts], axis=0))

    def many(self, pairs: Sequence[Pair]) -> np.ndarray:
        return np.mean([evaluated(part, pairs) for part in self.parts], axis=0)


class _WithLeaveOuts(_Averaged):
    def leave_outs(self, blocks: np.ndarray) -> np.ndarray:
        return np.mean([part.leave_outs(blocks) for part in self.parts], axis=0)


SPLITS = 40  # into halves; each gives two stand-ins
RATES = 0.5, 1.0  # share of the variance on half of the groups that is left on all: that of a mean, and all of it


def halved(statistic: Statistic, block: np.ndarray, value: np.ndarray, seed: int) -> np.ndarray:
    """Stand-ins (2 · SPLITS, …) for leave-outs, from the statistic's values on disjoint halves and quarters.

    Parameters
    ----------
    statistic : Statistic
        One that jumps.
    block : array of int (N,)
        Block of each sample.
    value : array (…)
        The statistic of all samples, about which the stand-ins lie.
    seed : int
        Decides the splits.

    Notes
    -----
    Values on two disjoint halves are independent, so half of the square of their difference is their variance, however
    the statistic depends on its samples; quarters give theirs. From halves to all samples the variance is taken to
    fall as from quarters to halves, but by no more than that of a mean (½) and no less than not at all. The stand-ins
    are scaled so that the jackknife's formula gives that variance.

    References
    ----------
    Politis, Romano, Wolf: Subsampling. Springer 1999, chapter 8 (estimated rates).
    """
    rng, parts = np.random.default_rng([seed, 2]), []
    for _ in range(SPLITS):
        quarters = np.array_split(rng.permutation(block.max() + 1), 4)
        parts += [np.concatenate(quarters[:2]), np.concatenate(quarters[2:]), *quarters]
    rows = (np.flatnonzero(np.isin(block, part)) for part in parts)
    found = evaluated(statistic, [(part, part) for part in rows]).reshape(SPLITS, 6, *value.shape)
    gaps = found[:, 0] - found[:, 1]  # (SPLITS, …)
    half, quarter = (gaps**2).mean(0) / 2, found[:, 2:].var(1, ddof=1).mean(0)
    rate = np.clip(np.divide(half, quarter, out=np.ones_like(half), where=quarter > 0), *RATES)
    reach = gaps * np.sqrt(rate / 2 / (2 * SPLITS - 1))
    return value + np.concatenate([reach, -reach])
