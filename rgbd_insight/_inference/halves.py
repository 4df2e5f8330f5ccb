"""How much a statistic varies that jumps when a few samples are left out. Use `stats.estimate` instead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SPLITS = 40  # into halves; each gives two stand-ins
RATES = 0.5, 1.0  # share of the variance on half of the groups that is left on all: that of a mean, and all of it


def halved(
    values: Callable[[list[tuple[np.ndarray, np.ndarray]]], np.ndarray], block: np.ndarray, value: np.ndarray, seed: int
) -> np.ndarray:
    """Stand-ins (2 · SPLITS, …) for leave-outs, from the statistic's values on disjoint halves and quarters.

    Parameters
    ----------
    values : gives the statistic of every (rows, partner), stacked.
    block : (N,) block of each sample.
    value : (…) the statistic of all samples, about which the stand-ins lie.
    seed : decides the splits.

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
    found = values([(part, part) for part in rows]).reshape(SPLITS, 6, *value.shape)
    gaps = found[:, 0] - found[:, 1]  # (SPLITS, …)
    half, quarter = (gaps**2).mean(0) / 2, found[:, 2:].var(1, ddof=1).mean(0)
    rate = np.clip(np.divide(half, quarter, out=np.ones_like(half), where=quarter > 0), *RATES)
    reach = gaps * np.sqrt(rate / 2 / (2 * SPLITS - 1))
    return value + np.concatenate([reach, -reach])
