"""Feature similarity and semantic variance on one scale, and the score that joins them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.auroc import checked, enough
from rgbd_insight.metrics.semantic import (
    fold_profiles,
    level_semantic_variance,
    shuffled_concepts,
    shuffled_semantic_variance,
)
from rgbd_insight.metrics.soft_matching import Matching, matching
from rgbd_insight.stats.groups import group_folds

BETWEEN, WITHIN, SHUFFLED = 0, 1, 2  # of `SemanticScale`
QUADRANTS = (
    "alike and agreeing",
    "alike but saying different things",
    "unlike but agreeing",
    "unlike and saying different things",
)
CUT = 0.5  # half-way between two seeds of one modality and unrelated streams


def joint_score(similarity: ArrayLike, variance: ArrayLike) -> np.ndarray:
    """How far apart two streams are, by both axes: 0 for two seeds of one modality, 1 for unrelated streams.

    Parameters
    ----------
    similarity : array (…)
        Feature similarity, 0 at the null and 1 at the noise ceiling; NaN where it is not known.
    variance : array (…)
        Semantic variance, 0 at the floor that two seeds of one modality have and 1 where concepts are shuffled; NaN
        where it is not known.

    Returns
    -------
    array (…)
        NaN where neither is known; the one that is known where the other is not.

    Notes
    -----
    J = ½ (1 − s + v). *Ends*: two seeds of one modality have s = 1 and v = 0, so J = 0; unrelated streams have s = 0
    and v = 1, so J = 1. *Monotone*: ∂J/∂s = −½ < 0 and ∂J/∂v = ½ > 0 everywhere, so that J falls with similarity and
    rises with variance. *Unbiased*: it is linear, so that estimates s and v without bias give J without bias, and its
    error is that of the sum. *Defined where either is*: with s alone J = 1 − s, with v alone J = v, which have the same
    ends and directions. Not clamped: noise carries it beyond 0 and 1.

    Examples
    --------
    >>> joint_score([1.0, 0.0, 0.5, np.nan], [0.0, 1.0, 0.2, 0.3])
    array([0.  , 1.  , 0.35, 0.3 ])
    """
    parts = np.stack(np.broadcast_arrays(1 - np.asarray(similarity, float), np.asarray(variance, float)))
    known = np.isfinite(parts)
    total, count = np.where(known, parts, 0).sum(0), known.sum(0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


class SemanticScale:
    """Semantic variance of two modalities beside its floor and its ceiling, as `stats.estimate` takes it: (3,).

    Parameters
    ----------
    first, second : sequences of arrays (N, U)
        A level of each modality in the same networks, two or more of them, of the same images.
    present : array of bool (N, K)
        Which row shows which concept.
    groups : array (N,)
        Groups that no fold may divide.
    folds, seed : int
        As for `profiles`; `seed` also decides the shuffles.
    shuffles : int
        Orders of concepts for the ceiling, over all pairs of networks.

    Notes
    -----
    Means over pairs of networks i ≠ j of `level_semantic_variance`: *between* the modalities, *within* one modality
    (the floor, over both), and *shuffled* (`shuffled_semantic_variance` between the modalities, the ceiling). Every
    network is profiled once for all of them.

    Examples
    --------
    >>> from rgbd_insight.stats import estimate
    >>> rng, groups = np.random.default_rng(0), np.arange(400)
    >>> present = rng.random((400, 8)) < 0.5
    >>> rgb = [present[:, :4] + noise for noise in rng.normal(size=(2, 400, 4))]
    >>> depth = [present[:, 4:] + noise for noise in rng.normal(size=(2, 400, 4))]
    >>> found = estimate(SemanticScale(rgb, depth, present, groups), groups, null=False)
    >>> bool(found.low[BETWEEN] > found.high[WITHIN])
    True
    """

    def __init__(
        self,
        first: Sequence[ArrayLike],
        second: Sequence[ArrayLike],
        present: ArrayLike,
        groups: ArrayLike,
        *,
        folds: int = 5,
        seed: int = 0,
        shuffles: int = 10,
    ) -> None:
        if shuffles < 1:
            raise ValueError(f"`shuffles` must be 1 or more; got {shuffles}. 10 are usual.")
        if len(first) < 2 or len(first) != len(second):
            raise ValueError(
                f"`first` and `second` must be of the same two networks or more; got {len(first)} and {len(second)}. "
                "Of one checkpoint, pass two halves of its units."
            )
        self.sides = [
            [checked(z, present, groups, name)[0] for z in streams]
            for name, streams in (("first", first), ("second", second))
        ]
        _, present, groups = checked(first[0], present, groups)
        self.folds, self.fold, self.seed = folds, group_folds(groups, folds, seed), seed
        self.present = present[:, enough(present, groups)[0] == ""]
        self.pairs = list(permutations(range(len(first)), 2))
        self.shuffled = self.pairs[:shuffles]
        self.shuffles = -(-shuffles // len(self.shuffled))  # of each of these

    def profiles(self, rows: np.ndarray, partner: np.ndarray) -> list[list[np.ndarray]]:
        """Profiles by fold (F, U, K) of every network of each modality."""
        return [
            [fold_profiles(z[r], self.present[r], self.fold[r], self.folds) for z in side]
            for side, r in zip(self.sides, (rows, partner), strict=True)
        ]

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        a, b = self.profiles(rows, partner)
        between = np.mean([level_semantic_variance(a[i], b[j]) for i, j in self.pairs])
        within = np.mean([level_semantic_variance(z[i], z[j]) for z in (a, b) for i, j in self.pairs if i < j])
        shuffled = np.mean(
            [
                shuffled_semantic_variance(a[i], b[j], shuffles=self.shuffles, seed=self.seed + at)
                for at, (i, j) in enumerate(self.shuffled)
            ]
        )
        return np.array([between, within, shuffled])


def partner_axes(
    x: ArrayLike, y: ArrayLike, first: ArrayLike, second: ArrayLike, found: Matching, fold: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation and semantic variance of every unit and its partner; NaN for a unit that never has one.

    Parameters
    ----------
    x, y : arrays (N, U) and (N, V)
        Responses to the same images.
    first, second : arrays (F, U, K) and (F, V, K)
        Their profiles by fold, finite.
    found : Matching
        The partner of each unit that other images chose in each fold, and its sign.
    fold : array of int (N,)
        Of each image, from 0 to F − 1: the folds of `found` and of the profiles.

    Returns
    -------
    correlation : array (U,)
        With the partner on the images of the fold, by its sign; mean over the folds in which the unit has a partner.
    variance : array (U,)
        ½·mean_k (s_uk − s_vk)² as `semantic_variance` has it, the partner's profile turned by its sign; the same mean.

    Examples
    --------
    >>> x, fold = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 5
    >>> up = np.ones((5, 3, 2)) * [[1.0], [0.5], [0.0]]
    >>> r, v = partner_axes(x, -x[:, ::-1], up, -up[:, ::-1], matching(x, -x[:, ::-1], np.arange(100)), fold)
    >>> r.round(9), v
    (array([1., 1., 1.]), array([0., 0., 0.]))
    """
    x, y, first, second, fold = (np.asarray(z) for z in (x, y, first, second, fold))
    folds, width, concepts = first.shape
    total, count = np.zeros((2, width)), np.zeros(width)
    for f, (partner, sign) in enumerate(zip(found.partner, found.sign, strict=True)):
        units = np.flatnonzero(partner >= 0)
        a, b = _standard(x[fold == f][:, units]), _standard(y[fold == f][:, partner[units]])
        d = first[:, units] - sign[units, None] * second[:, partner[units]]  # (F, pairs, K)
        total[0, units] += sign[units] * (a * b).sum(0)
        total[1, units] += ((d.sum(0) ** 2).sum(1) - (d**2).sum((0, 2))) / (2 * folds * (folds - 1) * concepts)
        count[units] += 1
    correlation, variance = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return correlation, variance


def _standard(x: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and length 1; of a constant one, of length 0."""
    x = x - x.mean(0)
    size = np.sqrt((x**2).sum(0))
    return x / np.where(size > 0, size, np.inf)


class QuadrantShares:
    """The share of units in each quadrant of the plane of both axes, as `stats.estimate` takes it: (4,), `QUADRANTS`.

    A unit's partner in the other modality is the one that it correlates with on other images, whatever they say.
    It is *alike* where their held-out correlation is more than half of what partners in two seeds of one modality have
    on average, and they *agree* where their semantic variance is nearer to that of such partners than to that of
    partners whose concepts are shuffled.

    Parameters
    ----------
    first, second, present, groups, folds, seed, shuffles
        As for `SemanticScale`; the shares are of units of `first`.

    Notes
    -----
    Partners are chosen once, from all images: the interval is about what these pairs do on other images. A unit
    without a partner in any fold is unlike, and says something different.

    Examples
    --------
    >>> rng, groups = np.random.default_rng(0), np.arange(400)
    >>> present = rng.random((400, 4)) < 0.5
    >>> nets = [present + 0.5 * noise for noise in rng.normal(size=(4, 400, 4))]
    >>> QuadrantShares(nets[:2], nets[2:], present, groups)(groups, groups)  # all that one says the other says too
    array([1., 0., 0., 0.])
    """

    def __init__(
        self,
        first: Sequence[ArrayLike],
        second: Sequence[ArrayLike],
        present: ArrayLike,
        groups: ArrayLike,
        *,
        folds: int = 5,
        seed: int = 0,
        shuffles: int = 10,
    ) -> None:
        self.scale = SemanticScale(first, second, present, groups, folds=folds, seed=seed, shuffles=shuffles)
        self.shuffles = shuffles
        a, b = self.scale.sides
        pairs = self.scale.pairs
        self.between = {(i, j): matching(a[i], b[j], groups, folds=folds, seed=seed) for i, j in pairs}
        self.within = {
            (side, i, j): matching(z[i], z[j], groups, folds=folds, seed=seed)
            for side, z in enumerate((a, b))
            for i, j in pairs
            if i < j
        }

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        return np.mean([_shares(*one) for one in self.placed(rows, partner)], axis=0)

    def placed(self, rows: np.ndarray, partner: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Both axes (U,) of the first modality's units, on the scale of `joint_score`, for each pair of networks."""
        (a, b), fold = self.scale.sides, self.scale.fold[rows]
        p, q = self.scale.profiles(rows, partner)
        count = p[0].shape[2]
        valued = np.flatnonzero(np.isfinite([*p, *q]).all((0, 1, 2)))

        def axes(x: np.ndarray, y: np.ndarray, s: np.ndarray, t: np.ndarray, found: Matching) -> tuple:
            return partner_axes(x[rows], y[partner], s[..., valued], t[..., valued], found, fold)

        own = [
            axes(side[i], side[j], said[i], said[j], found)
            for (which, i, j), found in self.within.items()
            for side, said in (((a, p), (b, q))[which],)
        ]
        ceiling, floor = (np.nanmean([one[axis] for one in own]) for axis in (0, 1))
        unrelated = []
        for k, other in shuffled_concepts(valued, count, self.shuffles, self.scale.seed):
            for (i, j), found in self.between.items():
                sides = p[i][..., k], q[j][..., other]
                unrelated.append(np.nanmean(partner_axes(a[i][rows], b[j][partner], *sides, found, fold)[1]))
        across = [axes(a[i], b[j], p[i], q[j], found) for (i, j), found in self.between.items()]
        return [(r / ceiling, (v - floor) / (np.mean(unrelated) - floor)) for r, v in across]


def _shares(similarity: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Share of units in each of `QUADRANTS`."""
    unlike, apart = ~(similarity > CUT), ~(variance < CUT)
    return np.bincount(2 * unlike + apart, minlength=4) / len(unlike)
