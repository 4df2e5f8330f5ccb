"""Which units of a stream the other modality lacks most: of the concepts that they encode, and of all that they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from rgbd_insight.metrics.banded import checked_streams
from rgbd_insight.metrics.checks import are_all, check_rows
from rgbd_insight.metrics.ridge import ridge
from rgbd_insight.stats import Estimate
from rgbd_insight.stats.groups import checked_blocks, group_folds
from rgbd_insight.utils.threads import one_thread

OTHER, SAME = range(2)  # columns of what `PredictedStatistic` finds
PENALTY = 0.3  # of the ridge, as a share of the columns' variance: ranks hardly depend on it
CONCEPTS = 0.1  # the same of the concepts, of which there are fewer
WEIGHT = 0.6  # of the concepts beside the streams: a modality may show a concept, but not in the way that the unit does


@dataclass(frozen=True)
class Ranking:
    """Units of one stream, ordered from consistent to specific in two ways.

    Attributes
    ----------
    concept : array (U,)
        Rank in (0, 1) by concept specificity: 1 where the other modality lacks the concepts that the unit encodes; NaN
        for unreliable units.
    total : array (U,)
        Rank in (0, 1) by total specificity: 1 where it lacks the unit's reproducible variance, nuisance included; NaN
        for unreliable units.
    kappa : array (U,)
        How well the other modality decodes the concepts that the unit encodes, mostly in [0, 1]; NaN where none is
        known, and for unreliable units.
    unreliable : array of bool (U,)
        Units whose ceiling has its lower bound below the threshold: counted, not ranked.
    """

    concept: np.ndarray
    total: np.ndarray
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


class PredictedStatistic:
    """Held-out R² (U, 2) of every unit from the other modality's streams, and from its own modality's.

    Parameters
    ----------
    x : array (N, U)
        Responses of the units.
    other, same : sequences of arrays (N, D)
        Streams of the other and of the same modality, both of *other* seeds; all of a list predict together.
    groups : array (N,)
        Groups that no fold may divide.
    folds, seed : int
        Number of folds, and their seed.

    Attributes
    ----------
    whole : array (U, 2)
        Of all rows: at most 1, below 0 where worse than the mean, NaN for constant units.

    Raises
    ------
    ValueError
        If shapes disagree, a value is not finite, or there are fewer groups than folds.

    Notes
    -----
    R² = 1 - ΣSSE / ΣSST over held-out folds, about the training means, of a ridge of fixed penalty: a quick form of R²
    of "other" and "same" of `variance_partitioning`, for ranks. A leave-out leaves a block out of the held-out rows and
    keeps the fits. Rows are those of `other`, partners those of all else.

    Examples
    --------
    >>> from rgbd_insight.stats import estimate
    >>> shared, private = np.random.default_rng(0).normal(size=(2, 300, 1))
    >>> x, groups = np.hstack([shared, private]), np.arange(300)
    >>> estimate(PredictedStatistic(x, [shared], [x], groups), groups, null=False).low.round(1) + 0.0
    array([[0.9, 0.9],
           [0. , 0.9]])
    """

    def __init__(
        self,
        x: ArrayLike,
        other: Sequence[ArrayLike],
        same: Sequence[ArrayLike],
        groups: ArrayLike,
        *,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        (self.x, *streams), self.groups = checked_streams(x, {"other": other, "same": same}, groups)
        self.other, self.same = np.hstack(streams[: len(other)]), np.hstack(streams[len(other) :])
        self.fold = group_folds(self.groups, folds, seed)

    @cached_property
    def whole(self) -> np.ndarray:
        return _r2(*(part.sum(-2) for part in self._squares))

    @cached_property
    def _squares(self) -> tuple[np.ndarray, np.ndarray]:
        every = np.arange(len(self.fold))
        return self._held_out(every, every)

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        if are_all(rows, partner, len(self.fold)):
            return self.whole
        return _r2(*(part.sum(-2) for part in self._held_out(rows, partner)))

    def leave_outs(self, blocks: np.ndarray) -> np.ndarray:
        """R² (G, U, 2) without each block."""
        codes = checked_blocks(blocks, self.groups)
        kept = np.arange(codes.max() + 1)[:, None] != codes  # (G, N)
        return np.stack([_r2(*(part[..., some, :].sum(-2) for part in self._squares)) for some in kept])

    @one_thread
    def _held_out(self, rows: np.ndarray, partner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared errors (2, n, U) of every held-out response, and its squared distance (n, U) from the mean."""
        x, fold, inputs = self.x[partner], self.fold[rows], (self.other[rows], self.same[partner])
        errors, total = np.empty((2, *x.shape)), np.empty(x.shape)
        for f in range(fold.max() + 1):
            train, test = fold != f, fold == f
            mean = x[train].mean(0)
            total[test] = (x[test] - mean) ** 2
            for z, error in zip(inputs, errors, strict=True):
                centre = z[train].mean(0)
                weights = ridge(z[train] - centre, x[train] - mean, PENALTY)
                error[test] = (x[test] - mean - (z[test] - centre) @ weights) ** 2
        return errors, total


def _r2(errors: np.ndarray, total: np.ndarray) -> np.ndarray:
    """R² (U, 2) from sums of errors (2, U) and totals (U,)."""
    return 1 - np.divide(errors, total, out=np.full_like(errors, np.nan), where=total > 0).T


def concept_weights(x: ArrayLike, concepts: ArrayLike, groups: ArrayLike) -> np.ndarray:
    """Weight (U, K) of every concept in every unit: which concepts a unit encodes, beside all others.

    Parameters
    ----------
    x : array (N, U)
        Responses of the units.
    concepts : array (N, K)
        Areas or presence of the concepts.
    groups : array (N,)
        The scene of each image; only checked.

    Returns
    -------
    array (U, K)
        By how many of its standard deviations a unit moves where the concept moves by one of its own and all others
        stay; 0 for constant units and constant concepts.

    Raises
    ------
    ValueError
        If shapes disagree or a value is not finite.

    Notes
    -----
    A ridge regression on all concepts at once, so that a unit gets no weight for what merely occurs together with its
    concepts. Fitted to all images: weights say what goes into κ, not how well it predicts.

    Examples
    --------
    >>> concepts = np.random.default_rng(0).normal(size=(300, 2))
    >>> concept_weights(concepts[:, :1], concepts, np.arange(300)).round(1) + 0.0
    array([[0.9, 0. ]])
    """
    (units, areas), _ = checked_streams(x, {"concepts": [concepts]}, groups)
    return ridge(areas, units, CONCEPTS).T


def rank_units(
    weights: ArrayLike, delta: ArrayLike, nearest: ArrayLike, r2: Estimate, *, least: float = 0.05
) -> Ranking:
    """Order the units of one stream by concept and by total specificity; says nothing about a level.

    Take all arguments from responses that went through `bounded`.

    Parameters
    ----------
    weights : array (U, K)
        Of the concepts in the units, from `concept_weights`.
    delta : array (K,)
        δ of each concept from the *other* modality, the mean over its networks where there are several. Concepts of
        which it is NaN are left out.
    nearest : array (U,)
        Largest absolute correlation with any unit of the other modality's networks.
    r2 : Estimate (U, 2)
        Of these units, from `stats.estimate(PredictedStatistic(...), groups, null=False)`.
    least : float
        Units whose R²(same) has a lower bound below this are unreliable.

    Returns
    -------
    Ranking

    Raises
    ------
    ValueError
        If the lengths disagree, or a weight or a correlation is NaN.

    Notes
    -----
    Three shares say what the other modality has of a unit: κ_u = Σ_k w_uk² δ_k / Σ_k w_uk² of the concepts that it
    encodes, q_u = R²(other)/R²(same) of its reproducible variance, and t_u = r_u²/R²(same) the same by the nearest unit
    alone. The concept score is 1 - .6 κ_u - .2 (q_u + t_u), the total score 1 - q_u, the unit's specific share. Ranks
    are (r - ½)/n over the reliable units, ties shared. A unit of which no concept is known has 1 - ½(q_u + t_u).

    κ weighs itself by how well it is known, as values are added and not ranks: where a unit's weights are little but
    noise, κ_u is a mean of many δ, much the same for all such units, and hardly decides; as ranks, these small
    differences would be as large as any other. How much of a unit its concepts explain has no weight: that is small
    where nuisance dominates as well as where the concepts have no name. A weight of κ that grows with
    its reliability (1 - squared error / variance) did no better on average, and worse where nuisance dominates.

    Examples
    --------
    >>> from rgbd_insight.stats import estimate
    >>> r2 = np.array([[0.7, 0.8], [0.0, 0.8], [0.4, 0.8]])
    >>> found = estimate(lambda rows, partner: r2, np.arange(40), null=False)
    >>> ranking = rank_units(np.eye(3), [0.9, 0.6, 0.0], [0.8, 0.3, 0.3], found)
    >>> ranking.concept.round(2), ranking.total.round(2)
    (array([0.17, 0.5 , 0.83]), array([0.17, 0.83, 0.5 ]))
    """
    weights, delta, nearest = (np.asarray(a, float) for a in (weights, delta, nearest))
    if weights.shape != (len(r2.value), len(delta)) or nearest.shape != (len(r2.value),):
        raise ValueError(
            f"`weights` must be (units, concepts) = ({len(r2.value)}, {len(delta)}) and `nearest` of as many units as "
            f"`r2`; got {weights.shape} and {nearest.shape}. Pass one level of one stream."
        )
    if not (np.isfinite(weights).all() and np.isfinite(nearest).all()):
        raise ValueError("`weights` and `nearest` must be finite; got NaN. Take them from finite responses.")
    unreliable = ~(r2.low[:, SAME] >= least)  # a constant unit has no ceiling
    valued = np.isfinite(delta)
    square = weights[:, valued] ** 2
    known = (square.sum(1) > 0) & ~unreliable
    kappa = np.divide(square @ delta[valued], square.sum(1), out=np.full(len(square), np.nan), where=known)
    ceiling = np.where(unreliable, 1, r2.value[:, SAME])
    predicted, matched = r2.value[:, OTHER] / ceiling, nearest**2 / ceiling
    by_stream = (predicted + matched) / 2
    concept = 1 - np.where(known, WEIGHT * kappa + (1 - WEIGHT) * by_stream, by_stream)
    return Ranking(_ranks(concept, ~unreliable), _ranks(1 - predicted, ~unreliable), kappa, unreliable)


def _ranks(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Ranks in (0, 1) among some units, NaN for the others."""
    out = np.full(len(values), np.nan)
    out[among] = (rankdata(values[among]) - 0.5) / max(among.sum(), 1)
    return out
