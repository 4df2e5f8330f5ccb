"""Feature similarity and semantic variance on one scale, and the score that joins them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.auroc import checked, enough
from rgbd_insight.metrics.checks import check_rows
from rgbd_insight.metrics.semantic import concept_variance, fold_profiles, semantic_variance
from rgbd_insight.metrics.soft_matching import Matching, matching
from rgbd_insight.stats.groups import group_folds

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
        Semantic variance, 0 at the floor that two seeds of one modality have and 1 where no concept can be decoded from
        both streams; NaN where it is not known.

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


@dataclass(frozen=True, eq=False)
class SemanticScale:
    """Semantic variance of two modalities at a level, and the two ends of its scale.

    Attributes
    ----------
    between : float
        Of the two modalities, in different networks.
    floor : float
        Of one modality in two networks that differ in their seed, mean over both modalities: about 0.
    apart : float
        What it would be if no concept could be decoded from both.
    """

    between: float
    floor: float
    apart: float

    @property
    def scaled(self) -> float:
        """0 at the floor and 1 where the modalities are apart; NaN where these are equal."""
        return (self.between - self.floor) / (self.apart - self.floor) if self.apart != self.floor else np.nan


def semantic_scale(first: ArrayLike, second: ArrayLike) -> SemanticScale:
    """Semantic variance of two levels, by what can be decoded from them: V = mean_k ½ (δ_1k − δ_2k)², unbiased.

    Parameters
    ----------
    first, second : arrays (networks, F, K)
        δ of every concept by held-out fold (`Decodability.by_fold`) in the same two networks or more of either
        modality. Concepts that are NaN in any of them are left out.

    Returns
    -------
    SemanticScale
        Means over pairs of networks i ≠ j.

    Raises
    ------
    ValueError
        If there are fewer than two networks or 5 folds, shapes disagree, or no concept is left.

    Notes
    -----
    *Between* is the mean over concepts of `concept_variance` of the first modality in network i and the second in j;
    the *floor* is the same of one modality in i and j; *apart* is mean_k ½ (δ_1k² + δ_2k²), to which ½ (δ_1k − δ_2k)²
    adds up where in every concept one of both δ is 0. Unit by unit no partner need be found, so that a rotation of a
    stream changes nothing, and a level's variance is the sum of its concepts'.

    References
    ----------
    Hoeffding 1948, as `semantic_variance`.

    Examples
    --------
    >>> rgb, depth = np.zeros((2, 2, 5, 4))  # two networks, five folds, four concepts
    >>> rgb[..., :2], depth[..., 1:3] = 0.8, 0.8  # they have one of three in common
    >>> round(semantic_scale(rgb, depth).scaled, 3)
    0.5
    """
    first, second = (np.asarray(side, float) for side in (first, second))
    if first.shape != second.shape or first.ndim != 3 or len(first) < 2:
        raise ValueError(
            "`first` and `second` must have one shape (networks, folds, concepts) with two networks or more; got "
            f"{first.shape} and {second.shape}. Of one checkpoint, pass two halves of its units."
        )
    known = np.isfinite(first).all((0, 1)) & np.isfinite(second).all((0, 1))
    if not known.any():
        raise ValueError("`first` and `second` must share a concept; got none without NaN. Their `reason` says why.")
    return SemanticScale(*_scale(first[..., known], second[..., known], concept_variance))


def plug_in_scale(first: np.ndarray, second: np.ndarray) -> SemanticScale:
    """`semantic_scale` of δ (networks, K) without folds: biased up, but smooth, for leave-outs."""
    return SemanticScale(*_scale(first, second, lambda a, b: (a - b) ** 2 / 2))


def _scale(first: np.ndarray, second: np.ndarray, variance: Callable[..., np.ndarray]) -> tuple[float, ...]:
    pairs = list(permutations(range(len(first)), 2))
    none = np.zeros_like(first[0])
    between = np.mean([variance(first[i], second[j]) for i, j in pairs])
    floor = np.mean([variance(side[i], side[j]) for side in (first, second) for i, j in pairs if i < j])
    apart = np.mean([variance(side[i], none) for side in (first, second) for i in range(len(first))]) * 2
    return float(between), float(floor), float(apart)


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

    Raises
    ------
    ValueError
        Where a profile is not finite, or `fold` is none of these folds or leaves one empty.

    Examples
    --------
    >>> x, fold = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 5
    >>> up = np.ones((5, 3, 2)) * [[1.0], [0.5], [0.0]]
    >>> r, v = partner_axes(x, -x[:, ::-1], up, -up[:, ::-1], matching(x, -x[:, ::-1], np.arange(100)), fold)
    >>> r.round(9), v
    (array([1., 1., 1.]), array([0., 0., 0.]))
    """
    x, y = check_rows(x, "x"), check_rows(y, "y")
    first, second, fold = (np.asarray(z) for z in (first, second, fold))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("`first` and `second` must be finite; got NaN or infinity. Leave those concepts out.")
    folds, width, concepts = first.shape
    if folds < 2 or set(np.unique(fold).tolist()) != set(range(folds)) or len(fold) != len(x):
        raise ValueError(
            f"`fold` must give each of the {len(x)} images one of the {folds} folds (2 or more) of the profiles, none "
            f"of them empty; got {len(fold)} images in {', '.join(map(str, np.unique(fold)[:9])) or 'none'}"
        )
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
    on average. They *agree* where the semantic variance of their profiles is less than half of the way from that of
    such partners to that of units with no concept in common.

    Parameters
    ----------
    first, second : sequences of arrays (N, U) and (N, V)
        A level of each modality in the same networks, two or more of them, of the same images. Of wider streams only
        as many units, chosen by the seed, as the narrowest has: partners are then as easily found in all.
    present : array of bool (N, K)
        Which row shows which concept.
    groups : array (N,)
        Groups that no fold may divide.
    folds, seed : int
        As for `profiles`.

    Notes
    -----
    Partners are chosen once, from all images: the interval is about what these pairs do on other images. A unit
    without a partner in any fold is unlike, and says something different. The shares are of units of `first`.

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
    ) -> None:
        if len(first) < 2 or len(first) != len(second):
            raise ValueError(
                f"`first` and `second` must be of the same two networks or more; got {len(first)} and {len(second)}. "
                "Of one checkpoint, pass two halves of its units."
            )
        self.sides = [
            [checked(z, present, groups, name)[0] for z in streams]
            for name, streams in (("first", first), ("second", second))
        ]
        width, rng = min(z.shape[1] for side in self.sides for z in side), np.random.default_rng(seed)
        self.sides = [[z[:, np.sort(rng.permutation(z.shape[1])[:width])] for z in side] for side in self.sides]
        _, present, groups = checked(first[0], present, groups)
        self.folds, self.fold = folds, group_folds(groups, folds, seed)
        self.present = present[:, enough(present, groups)[0] == ""]
        pairs, (a, b) = list(permutations(range(len(first)), 2)), self.sides
        options = {"folds": folds, "seed": seed}
        self.between = {(i, j): matching(a[i], b[j], groups, **options) for i, j in pairs}
        self.within = {
            (side, i, j): matching(z[i], z[j], groups, **options)
            for side, z in enumerate((a, b))
            for i, j in pairs
            if i < j
        }

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        return np.mean([_shares(*one) for one in self.placed(rows, partner)], axis=0)

    def placed(self, rows: np.ndarray, partner: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Both axes (U,) of the first modality's units, on the scale of `joint_score`, for each pair of networks."""
        (a, b), fold = self.sides, self.fold[rows]
        p, q = (
            np.stack([fold_profiles(z[r], self.present[r], self.fold[r], self.folds) for z in side])
            for side, r in zip(self.sides, (rows, partner), strict=True)
        )  # (networks, F, U, K)
        known = np.isfinite(p).all((0, 1, 2)) & np.isfinite(q).all((0, 1, 2))
        p, q = p[..., known], q[..., known]
        own = [
            partner_axes(side[i][rows], side[j][rows], said[i], said[j], found, fold)
            for (which, i, j), found in self.within.items()
            for side, said in (((a, p), (b, q))[which],)
        ]
        ceiling, floor = (np.nanmean([one[axis] for one in own]) for axis in (0, 1))
        apart = np.mean([semantic_variance(z, 0 * z[:, :1]) for side in (p, q) for z in side]) * 2
        across = [
            partner_axes(a[i][rows], b[j][partner], p[i], q[j], found, fold) for (i, j), found in self.between.items()
        ]
        return [(r / ceiling, (v - floor) / (apart - floor)) for r, v in across]


def _shares(similarity: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Share of units in each of `QUADRANTS`."""
    unlike, distinct = ~(similarity > CUT), ~(variance < CUT)
    return np.bincount(2 * unlike + distinct, minlength=4) / len(unlike)
