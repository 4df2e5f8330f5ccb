"""Which units of a stream the other modality lacks most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from rgbd_insight.metrics.checks import check_rows
from rgbd_insight.metrics.partitioning import CONCEPTS, OTHER, SAME
from rgbd_insight.stats import Estimate

MOST = 0.75  # weight of the concepts' rank at most: a stream may show a concept, but not in the way that the unit does


@dataclass(frozen=True)
class Ranking:
    """Units of one stream, ordered from consistent to specific.

    Attributes
    ----------
    j : array (U,)
        J_u in (0, 1): 0 the most consistent, 1 the most specific unit of this stream; NaN for unreliable units.
    kappa : array (U,)
        Decodability, from the other stream, of the concepts that the unit encodes; NaN where it encodes none of them.
    unreliable : array of bool (U,)
        Units whose ceiling has its lower bound below the threshold: counted, not ranked.
    """

    j: np.ndarray
    kappa: np.ndarray
    unreliable: np.ndarray


def bounded(x: ArrayLike, reach: float = 3.0) -> np.ndarray:
    """Responses with every unit held within `reach` robust standard deviations of its median.

    One image on which everything is far out correlates all units with all others, and then their order says nothing.
    What is ranked, and what it is ranked by, should pass through this first.

    Parameters
    ----------
    x : array (N, U)
        Responses; finite.
    reach : float
        In units of 1.4826 times the median absolute deviation, which is the standard deviation of normal responses.

    Returns
    -------
    array (N, U)
        A unit that has one value on half of the images or more keeps its responses as they are.

    Raises
    ------
    ValueError
        If `x` is not finite or `reach` is not above 0.

    Examples
    --------
    >>> bounded(np.array([[0.0], [1], [2], [3], [400]])).max().round(2)
    np.float64(6.45)
    """
    x = check_rows(x, "x")
    if not reach > 0:
        raise ValueError(f"`reach` must be above 0; got {reach}. 3 hardly touches normal responses.")
    middle = np.median(x, axis=0)
    spread = 1.4826 * np.median(np.abs(x - middle), axis=0)
    half = np.where(spread > 0, reach * spread, np.inf)
    return np.clip(x, middle - half, middle + half)


def rank_units(
    correlation: ArrayLike,
    profile: ArrayLike,
    delta: ArrayLike,
    r2: Estimate,
    *,
    least: float = 0.05,
    named: float = 0.1,
) -> Ranking:
    """Order the units of one stream by specificity: J_u in (0, 1), 1 the most specific; says nothing about a level.

    Take all arguments from responses that went through `bounded`.

    Parameters
    ----------
    correlation : array (U,)
        Largest absolute correlation with any unit of the other stream.
    profile : array (U, K)
        s_uk, the unit's profile; concepts with NaN here or in `delta` are left out.
    delta : array (K,)
        δ of each concept from the *other* stream.
    r2 : Estimate (U, 5)
        Of these units, from `stats.estimate(PartitioningStatistic(...), groups, null=False)`.
    least : float
        Units whose R²(same) has a lower bound below this are unreliable.
    named : float
        κ is missing where R²(concepts) / R²(same) is below this; such units are ranked by the other stream alone.

    Returns
    -------
    Ranking

    Raises
    ------
    ValueError
        If lengths disagree, a correlation is NaN, or no concept has a value.

    Notes
    -----
    J_u = (1 - w_u)·½[rank(-correlation) + rank(-R²(other)/R²(same))] + w_u·rank(1 - κ_u), ranks (r - ½)/n over the
    reliable units (for κ: those that have one), ties shared; κ_u = Σ_k s_uk² δ_k / Σ_k s_uk². The concepts have as much
    to say as they explain: w_u = R²(concepts)/R²(same), at most ¾, and 0 where κ is missing.

    Examples
    --------
    >>> from rgbd_insight.stats import estimate
    >>> r2 = np.full((3, 5), 0.8)
    >>> r2[:, 1] = [0.7, 0.0, 0.4]  # what the other stream explains of each unit
    >>> found = estimate(lambda rows, partner: r2, np.arange(40), null=False)
    >>> rank_units([0.9, 0.2, 0.5], np.eye(3), [0.9, 0.0, 0.5], found).j.round(2)
    array([0.17, 0.83, 0.5 ])
    """
    correlation, profile, delta = (np.asarray(a, float) for a in (correlation, profile, delta))
    if profile.shape != (len(correlation), len(delta)) or len(r2.value) != len(correlation):
        raise ValueError(
            f"`profile` must be (units, concepts) = ({len(correlation)}, {len(delta)}) and `r2` "
            f"of as many units; got {profile.shape} and {len(r2.value)}. Pass one level of one stream."
        )
    valued = np.isfinite(profile).all(0) & np.isfinite(delta)
    if not valued.any() or not np.isfinite(correlation).all():
        raise ValueError("`correlation` must be finite and some concept have a value; got NaN. Drop constant units.")
    concepts, other, same = (r2.value[:, model] for model in (CONCEPTS, OTHER, SAME))
    unreliable = ~(r2.low[:, SAME] >= least)  # a constant unit has no ceiling
    weight = profile[:, valued] ** 2
    encodes = (concepts >= named * same) & (weight.sum(1) > 0) & ~unreliable
    kappa = np.divide(weight @ delta[valued], weight.sum(1), out=np.full(len(weight), np.nan), where=encodes)
    ceiling = np.where(unreliable, 1, same)
    by_stream = (_ranks(-correlation, ~unreliable) + _ranks(-other / ceiling, ~unreliable)) / 2
    share = np.where(encodes, np.clip(concepts / ceiling, 0, MOST), 0)
    by_concept = np.where(encodes, _ranks(1 - kappa, encodes), 0)
    return Ranking((1 - share) * by_stream + share * by_concept, kappa, unreliable)


def _ranks(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Ranks in (0, 1) among some units, NaN for the others."""
    out = np.full(len(values), np.nan)
    out[among] = (rankdata(values[among]) - 0.5) / max(among.sum(), 1)
    return out
