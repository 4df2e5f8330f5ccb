"""What units say about concepts, and how differently two units, levels or modalities say it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from rgbd_insight.metrics.auroc import checked, chosen, enough
from rgbd_insight.stats.groups import group_folds
from rgbd_insight.utils.messages import TooFew


@dataclass(frozen=True)
class Profiles:
    """Agreement of every unit with every concept.

    Attributes
    ----------
    s : array (U, K)
        2·AUROC - 1 over all rows, in [-1, 1]; NaN for concepts with a `reason`.
    by_fold : array (F, U, K)
        The same in each of F disjoint folds of groups; NaN also where a fold has no positive or no negative.
    reason : array of str (K,)
        Why a concept has no value; '' where it has one.
    positives : array of int (K,)
        Rows that show the concept.
    """

    s: np.ndarray
    by_fold: np.ndarray
    reason: np.ndarray
    positives: np.ndarray


def profiles(
    x: ArrayLike,
    present: ArrayLike,
    groups: ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
    rows: ArrayLike | None = None,
    partner: ArrayLike | None = None,
) -> Profiles:
    """Profile of every unit: s_uk = 2·AUROC(response of u; k present or absent) - 1, in [-1, 1], 0 = unrelated.

    Parameters
    ----------
    x : array (N, U)
        Responses; finite. A constant unit scores 0.
    present : array of bool (N, K)
        Which row shows which concept.
    groups : array (N,)
        Groups that no fold may divide.
    folds, seed : int
        Disjoint folds for the unbiased measures (5 or more), and their seed.
    rows, partner : arrays of int (n,), optional
        Rows of `x`, and rows of the labels put beside them (default the same): what `stats.estimate` passes. Folds stay
        those of the full set.

    Returns
    -------
    Profiles
        NaN with a reason for concepts with < 50 positives or negatives, or either in < 10 groups, or absent from (or
        everywhere in) a whole fold.

    Raises
    ------
    ValueError
        If shapes disagree or `x` is not finite.

    Notes
    -----
    AUROC = (R - n₊(n₊ + 1)/2) / (n₊ n₋), with R the sum of the positives' ranks (ties share their mean rank). Unbiased;
    unchanged by any increasing function of a unit's responses, turned by its sign.

    References
    ----------
    Bau et al., Network Dissection, CVPR 2017 (units and concepts). Hanley and McNeil, Radiology 1982 (AUROC by ranks).

    Examples
    --------
    >>> present = np.arange(200)[:, None] % 2 == 0
    >>> x = np.hstack([present, ~present, 0 * present]).astype(float)
    >>> profiles(x, present, np.arange(200)).s.ravel()
    array([ 1., -1.,  0.])
    """
    x, present, groups = checked(x, present, groups)
    fold = group_folds(groups, folds, seed)
    reason, positives = enough(present, groups)
    rows, partner = chosen(rows, partner, len(groups))
    x, y, fold = x[rows], present[partner], fold[rows]
    by_fold = fold_profiles(x, y, fold, folds)
    whole = np.isfinite(by_fold[:, 0]).all(0)  # (K,)
    reason = np.where((reason == "") & ~whole, "a fold without positives or without negatives", reason)
    usable = reason == ""
    return Profiles(np.where(usable, _rank_profile(x, y), np.nan), np.where(usable, by_fold, np.nan), reason, positives)


def fold_profiles(x: np.ndarray, present: np.ndarray, fold: np.ndarray, folds: int) -> np.ndarray:
    """Profiles (F, U, K) of every fold; NaN for concepts that do not vary in it."""
    return np.stack([_rank_profile(x[fold == f], present[fold == f]) for f in range(folds)])


def _rank_profile(x: np.ndarray, present: np.ndarray) -> np.ndarray:
    """2·AUROC - 1 (U, K) by rank sums; NaN for concepts that do not vary."""
    ranks = rankdata(x, axis=0) - (len(x) + 1) / 2 if len(x) else x  # (n, U), centred: no large sums to cancel
    positive = present.sum(0, dtype=float)
    pairs = positive * (len(x) - positive)
    pairs[pairs == 0] = np.nan
    return 2 * (ranks.T @ present.astype(float)) / pairs


def semantic_variance(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Semantic variance of every pair of units: ½·mean_k (s_uk - s_vk)², unbiased; 0 = alike, may be < 0 by chance.

    Parameters
    ----------
    first, second : arrays (F, U, K) and (F, V, K)
        Profiles by fold (`Profiles.by_fold`) on the same F >= 5 folds and the same concepts. Concepts that are NaN in
        either are left out.

    Returns
    -------
    array (U, V)
        In [-½, 2]; opposite perfect profiles give 2.

    Raises
    ------
    ValueError
        If there are fewer than 5 folds, shapes disagree, or no concept is left.

    Notes
    -----
    With d_f the difference of the two profiles in fold f: ½·(‖Σ_f d_f‖² - Σ_f ‖d_f‖²) / (F (F - 1) K): only products
    of different folds enter, so that noise, independent between folds, adds nothing on average: unbiased at every
    number of images for which `profiles` has values. Unchanged by any increasing function of a unit's responses.

    References
    ----------
    Hoeffding, A class of statistics with asymptotically normal distribution, Annals of Mathematical Statistics 1948.

    Examples
    --------
    >>> up = np.ones((5, 1, 3))
    >>> semantic_variance(up, np.concatenate([up, -up], axis=1)).tolist()
    [[0.0, 2.0]]
    """
    first, second = _paired(first, second)
    folds, _, concepts = first.shape
    total = _square_distances(first.sum(0), second.sum(0))  # ‖Σ_f d_f‖²
    flat = [a.swapaxes(0, 1).reshape(a.shape[1], -1) for a in (first, second)]  # (U, F·K)
    return (total - _square_distances(*flat)) / (2 * folds * (folds - 1) * concepts)


def level_semantic_variance(first: ArrayLike, second: ArrayLike) -> float:
    """Semantic variance of two levels, units matched one to one: 0 = the same profiles, may be < 0 by chance.

    Parameters
    ----------
    first, second : arrays (F, U, K) and (F, V, K)
        Profiles by fold, as for `semantic_variance`. Of the wider level only the best min(U, V) units are matched.

    Returns
    -------
    float
        Mean over matched pairs and fold pairs, in [-2, 2].

    Raises
    ------
    ValueError
        If there are fewer than 5 folds, shapes disagree, or no concept or no unit is left.

    Notes
    -----
    For each ordered pair of folds (A, B): units are matched on ½·mean_k d_A² (linear assignment), and each matched pair
    scores ½·mean_k d_A·d_B. To match and to score on one product would be biased down; this is biased up where few
    images match units wrongly. Unchanged by the order of units.

    References
    ----------
    Kuhn, The Hungarian method for the assignment problem, 1955. Li et al., Convergent learning, ICLR 2016.

    Examples
    --------
    >>> a = np.random.default_rng(0).uniform(-1, 1, (1, 6, 8)).repeat(5, axis=0)
    >>> level_semantic_variance(a, a[:, ::-1])
    0.0
    """
    first, second = _paired(first, second)
    if 0 in (first.shape[1], second.shape[1]):
        raise ValueError("`first` and `second` must have units; got none in one of them. Choose another level.")
    folds, scores = len(first), []
    for f in range(folds):
        u, v = linear_sum_assignment(_square_distances(first[f], second[f]))
        d = first[:, u] - second[:, v]  # (F, pairs, K)
        scores.append((d[f] * (d.sum(0) - d[f])).mean() / (2 * (folds - 1)))
    return float(np.mean(scores))


class LevelSemanticVariance:
    """Semantic variance of two levels as `stats.estimate` takes it: rows are those of `x`, partners those of `y`.

    Parameters
    ----------
    x, y : arrays (N, U) and (N, V)
        Responses to the same images; finite.
    present : array of bool (N, K)
        Which row shows which concept.
    groups : array (N,)
        Groups that no fold may divide.
    folds, seed : int
        As for `profiles`. Folds stay those of the full set, and so do the concepts that are too rare.

    Examples
    --------
    >>> from rgbd_insight.stats import estimate
    >>> rng, groups = np.random.default_rng(0), np.arange(400)
    >>> present = rng.random((400, 4)) < 0.5
    >>> x, y = (present + noise for noise in rng.normal(size=(2, 400, 4)))
    >>> found = estimate(LevelSemanticVariance(x, y, present, groups), groups, null=False)
    >>> found.low < 0 < found.high  # the same profiles
    True
    """

    def __init__(
        self, x: ArrayLike, y: ArrayLike, present: ArrayLike, groups: ArrayLike, *, folds: int = 5, seed: int = 0
    ) -> None:
        self.x, self.present, groups = checked(x, present, groups)
        self.y = checked(y, present, groups, "y")[0]
        self.folds, self.fold = folds, group_folds(groups, folds, seed)
        self.present = self.present[:, enough(self.present, groups)[0] == ""]

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> float:
        sides = ((self.x, rows), (self.y, partner))
        return level_semantic_variance(
            *(fold_profiles(z[r], self.present[r], self.fold[r], self.folds) for z, r in sides)
        )


def concept_variance(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Semantic variance of every concept between two streams: V_k = ½·(δ_1k - δ_2k)², unbiased; may be < 0 by chance.

    Parameters
    ----------
    first, second : arrays (F, K)
        δ by held-out fold (`Decodability.by_fold`) of two streams on the same F >= 5 folds.

    Returns
    -------
    array (K,)
        In [-½, 2]; NaN for concepts without a value in every fold of both (their `reason` says why).

    Raises
    ------
    ValueError
        If there are fewer than 5 folds or shapes disagree.

    Notes
    -----
    With Δ_f the difference in fold f: ½·((Σ_f Δ_f)² - Σ_f Δ_f²) / (F (F - 1)). The folds' probes share training images,
    so that it is unbiased up to their common error; invariances and sample needs are those of `decodability`.

    References
    ----------
    Hoeffding 1948, as `semantic_variance`.

    Examples
    --------
    >>> concept_variance(np.ones((5, 2)), np.array([[1.0, 0.0]]).repeat(5, axis=0)).tolist()
    [0.0, 0.5]
    """
    first, second = _same_folds(first, second, dimensions=2)
    d = first - second
    return (d.sum(0) ** 2 - (d**2).sum(0)) / (2 * len(d) * (len(d) - 1))


def _square_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """‖a_u - b_v‖² (U, V) by matrix algebra."""
    return (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T


def _same_folds(first: ArrayLike, second: ArrayLike, *, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of float with the same folds (first axis, >= 5) and the same concepts (last axis)."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    if {first.ndim, second.ndim} != {dimensions} or first.shape[:: dimensions - 1] != second.shape[:: dimensions - 1]:
        shape = "(F, K)" if dimensions == 2 else "(F, units, K)"
        raise ValueError(
            f"`first` and `second` must have shape {shape} with one F and K; got {first.shape} and {second.shape}. "
            "Pass the `by_fold` of both."
        )
    if len(first) < 5:
        raise ValueError(f"`first` must hold at least 5 folds; got {len(first)}. Ask for folds=5 or more.")
    return first, second


def _paired(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Profiles by fold, cut to the concepts that both have."""
    first, second = _same_folds(first, second, dimensions=3)
    valued = np.isfinite(first).all((0, 1)) & np.isfinite(second).all((0, 1))
    if not valued.any():
        raise TooFew("`first` and `second` must share a concept; got none without NaN. Their `reason` says why.")
    return first[..., valued], second[..., valued]
