"""P-values that stay honest when many tests are made."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control

from rgbd_insight.stats.estimates import Estimate, Number, p_value


def max_p(found: Estimate, axis: int = -1) -> Number:
    """P-value, in (0, 1], of the largest component along `axis`: corrected for having looked at all of them.

    Parameters
    ----------
    found : Estimate
        One with a null and an array value.
    axis : int
        Of the value, over which the maximum is taken (a unit's concepts, for example).

    Returns
    -------
    float or array
        Without that axis: (1 + #{max null ≥ max value})/(1 + permutations).

    Raises
    ------
    ValueError
        Where `found` has no null or no axis.

    References
    ----------
    Westfall, Young: Resampling-based multiple testing. Wiley 1993.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> from rgbd_insight.stats.resampling import estimate
    >>> both = estimate(lambda i, j: x[i].T @ x[j, 0] / len(i), np.arange(100))
    >>> round(max_p(both), 3)
    0.005
    """
    if found.null_draws is None or np.ndim(found.value) == 0:
        raise ValueError("`found` must be an array estimate with a null; estimate it with `null=True`.")
    axis = range(np.ndim(found.value))[axis]
    draws = np.where(np.isnan(found.null_draws), np.inf, found.null_draws).max(axis + 1)
    return p_value(np.max(found.null_value, axis), draws)


def holm(p: ArrayLike) -> np.ndarray:
    """P-values, in [0, 1], adjusted so that the chance of any false rejection stays below the level.

    Parameters
    ----------
    p : array
        Any shape, all of them one family.

    Returns
    -------
    array
        Floats of the same shape, never smaller than `p`.

    Raises
    ------
    ValueError
        Where a value is not in [0, 1] (NaN included).

    Notes
    -----
    The i-th smallest of m becomes max over j ≤ i of (m − j + 1) p_j, at most 1.

    References
    ----------
    Holm: A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6, 1979.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = _check_p(p)
    order = np.argsort(p, axis=None)
    stepped = np.maximum.accumulate(p.flat[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted.reshape(p.shape)


def benjamini_hochberg(p: ArrayLike) -> np.ndarray:
    """P-values, in [0, 1], adjusted so that the expected share of false rejections stays below the level.

    Parameters
    ----------
    p : array
        Any shape, all of them one family.

    Returns
    -------
    array
        Floats of the same shape, never smaller than `p`.

    Raises
    ------
    ValueError
        Where a value is not in [0, 1] (NaN included).

    Notes
    -----
    The i-th smallest of m becomes min over j ≥ i of m p_j / j.

    References
    ----------
    Benjamini, Hochberg: Controlling the false discovery rate. JRSS B 57, 1995.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    array([0.03, 0.04, 0.04])
    """
    return false_discovery_control(_check_p(p), axis=None)


def _check_p(p: ArrayLike) -> np.ndarray:
    p = np.asarray(p, float)
    if p.size == 0 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"`p` must be values in [0, 1]; got {p}. Leave out tests that were not made.")
    return p
