"""Which single units of two streams say the same thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from rgbd_insight.metrics.checks import check_lengths, check_rows, from_first_row
from rgbd_insight.stats.groups import group_codes, group_folds
from rgbd_insight.utils.threads import one_thread

CONSTANT = 1e-9  # a unit whose deviation on some images is below this share of its largest value is constant there


@dataclass(frozen=True, eq=False)
class Matching:
    """What `matching` found; indices are units of x unless said otherwise.

    Attributes
    ----------
    mean : float
        Sum of `correlation` over the smaller number of units: 1 where every unit of the narrower stream has its double
        in the other, 0 on average for unrelated streams.
    correlation : array (U,)
        Held-out signed correlation with the partner, in [−1, 1], mean over the images; folds in which the unit is left
        unmatched count 0.
    matched : array (U,)
        Share of the images that were scored by a fold in which the unit had a partner.
    partner : array of int (folds, U)
        Unit of y, −1 where left unmatched.
    sign : array (folds, U)
        Sign of the training correlation, 0 where left unmatched.
    """

    mean: float
    correlation: np.ndarray
    matched: np.ndarray
    partner: np.ndarray
    sign: np.ndarray


def matching(
    x: ArrayLike, y: ArrayLike, groups: ArrayLike, *, folds: int = 5, seed: int = 0, price: float | None = None
) -> Matching:
    """Cross-fitted partial matching of units: held-out correlation of partners that other images chose, in [−1, 1].

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images; the widths may differ.
    groups : array (N,)
        Physical scene of each image; a scene is never on both sides of a split.
    folds : int
        Number of folds; pairs and signs come from all but one, the score from that one.
    seed : int
        Decides the folds.
    price : float, optional
        Absolute training correlation up to which a pair is better left unmatched. Default: 1/√(number of training
        groups), the size of a correlation by chance if a group counts as one image. 0 matches as many as possible.

    Returns
    -------
    Matching

    Raises
    ------
    ValueError
        Where there are fewer groups than folds, NaN, too few rows, or the lengths differ.

    Notes
    -----
    Pairs maximise Σ max(|r| − price, 0) over one-to-one assignments (the Lagrangian of partial matching: the price
    stands for the mass that stays at home), r being the training correlation. The score of a pair in a fold is
    sign·Σ(x − μ)(y − ν) / √(Σ(x − μ)² Σ(y − ν)²) over its held-out images, μ and ν the training means; folds count by
    their images. Constant units correlate 0 with everything.

    Unchanged by shift, scale, sign and order of the units, but not by a rotation: it is about single units. 0 on
    average for unrelated streams; biased towards 0 for related ones, as partners are missed on few images. Needs as
    many groups as folds, and some 100 images to find partners by a correlation of .3. Without a few images some units
    change their partner, so leave-outs jump: for an interval use `stats.estimate` with `matching_statistic`.

    References
    ----------
    Khosla, Williams: Soft matching distance. UniReps 2023 (the matching without folds, sign and price).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 4))
    >>> y = np.c_[-x[:, 2], rng.normal(size=100), 5 * x[:, 0]]  # two units have their double, one with the other sign
    >>> found = matching(x, y, groups=np.arange(100) // 2)
    >>> found.correlation.round(3)
    array([ 1.   , -0.015,  1.   ,  0.   ])
    >>> round(found.mean, 2)
    0.66
    """
    return _matcher(x, y, groups, folds, seed, price)(np.arange(len(x)), np.arange(len(x)))


def matching_statistic(
    x: ArrayLike, y: ArrayLike, groups: ArrayLike, *, folds: int = 5, seed: int = 0, price: float | None = None
) -> MatchingStatistic:
    """The mean of `matching` as a function of the rows of x and their partners in y, for `stats.estimate`.

    It jumps when images are left out, and says so, so that its interval comes from halves.

    The division into folds is made once, so a leave-out changes the folds only by the images it lacks; pairs and signs
    are found anew every time. Parameters and errors are those of `matching`.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> statistic = matching_statistic(x, x, np.arange(60))
    >>> round(statistic(np.arange(50), np.arange(50)), 6), statistic.jumps
    (1.0, True)
    """
    return MatchingStatistic(_matcher(x, y, groups, folds, seed, price))


@dataclass(frozen=True, eq=False)
class MatchingStatistic:
    """What `matching_statistic` returns."""

    match: Callable[[np.ndarray, np.ndarray], Matching]
    jumps: bool = True

    @one_thread
    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> float:
        return self.match(rows, partner).mean


def _matcher(
    x: ArrayLike, y: ArrayLike, groups: ArrayLike, folds: int, seed: int, price: float | None
) -> Callable[[np.ndarray, np.ndarray], Matching]:
    x, y, codes = check_rows(x, "x"), check_rows(y, "y"), group_codes(groups)
    check_lengths(x=x, y=y, groups=codes)
    if price is not None and not 0 <= price < 1:
        raise ValueError(f"`price` must be an absolute correlation in [0, 1); got {price}.")
    fold = group_folds(codes, folds, seed)
    fold_of = fold[np.unique(codes, return_index=True)[1]]  # of each group
    x, y = _unit_range(x), _unit_range(y)

    def match(rows: np.ndarray, partner: np.ndarray) -> Matching:
        at = fold[rows]
        sums = np.stack([_pair_sums(x[rows[at == f]], y[partner[at == f]]) for f in range(folds)])
        total, sizes = sums.sum(0), np.bincount(at, minlength=folds)
        seen = np.bincount(codes[rows], minlength=len(fold_of)) > 0
        groups = seen.sum() - np.bincount(fold_of[seen], minlength=folds)  # (folds,) that are trained on
        found = []
        for f in range(folds):
            cost = 1 / np.sqrt(max(groups[f], 1)) if price is None else price
            found.append(_one_fold(total - sums[f], sums[f], len(rows) - sizes[f], sizes[f], cost))
        return _collect(found, sizes, min(x.shape[1], y.shape[1]))

    return match


def _unit_range(x: np.ndarray) -> np.ndarray:
    """Each unit moved and scaled into [−1, 1], which no correlation notices; constant units become exactly 0."""
    x = from_first_row(x)
    size = np.abs(x).max(0)
    return x / np.where(size > 0, size, 1)


def _pair_sums(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(U + 2, V + 2): products, then squares and sums of each unit in the two last columns and rows."""
    out = np.zeros((x.shape[1] + 2, y.shape[1] + 2))
    out[:-2, :-2] = x.T @ y
    out[:-2, -2:] = np.c_[(x**2).sum(0), x.sum(0)]
    out[-2:, :-2] = (y**2).sum(0), y.sum(0)
    return out


def _one_fold(train: np.ndarray, test: np.ndarray, n: int, m: int, price: float) -> tuple[np.ndarray, ...]:
    """(partner, sign, held-out score) of each unit of x, from training sums over n images and test sums over m."""
    units = len(train) - 2
    partner, sign, score = np.full(units, -1), np.zeros(units), np.zeros(units)
    if n == 0 or m == 0:
        return partner, sign, score
    mean_x, mean_y = train[:-2, -1] / n, train[-1, :-2] / n
    var_x, var_y = train[:-2, -2] / n - mean_x**2, train[-2, :-2] / n - mean_y**2
    r = train[:-2, :-2] / n - np.outer(mean_x, mean_y)  # (U, V)
    for var, of_unit in ((var_x, r), (var_y, r.T)):
        still = var <= CONSTANT**2
        of_unit /= np.sqrt(np.where(still, 1, var))[:, None]
        of_unit[still] = 0
    gain = np.maximum(np.abs(r) - price, 0)
    left, right = linear_sum_assignment(gain, maximize=True)
    worth = gain[left, right] > 0
    i, j = left[worth], right[worth]
    partner[i], sign[i] = j, np.sign(r[i, j])
    a, b = mean_x[i], mean_y[j]
    products = test[i, j] - a * test[-1, j] - test[i, -1] * b + m * a * b
    squares_x = test[i, -2] - 2 * a * test[i, -1] + m * a**2
    squares_y = test[-2, j] - 2 * b * test[-1, j] + m * b**2
    size = np.sqrt(np.maximum(squares_x, 0) * np.maximum(squares_y, 0))
    score[i] = sign[i] * products / np.where(size > m * CONSTANT**2, size, np.inf)
    return partner, sign, np.clip(score, -1, 1)  # rounding may leave 1 + 1e-16


def _collect(found: list[tuple[np.ndarray, ...]], sizes: np.ndarray, narrower: int) -> Matching:
    partner, sign, score = (np.stack(part) for part in zip(*found, strict=True))  # (folds, U) each
    weights = sizes / sizes.sum()
    correlation = weights @ score
    return Matching(float(correlation.sum() / narrower), correlation, weights @ (partner >= 0), partner, sign)


def max_correlation(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Largest absolute correlation of each unit of x with any unit of y, in [0, 1]: for ranking units, not for levels.

    The maximum over many units is above 0 for unrelated streams; compare it with nothing but other units' maxima.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images.

    Returns
    -------
    array (U,)
        1 where a unit of y is a multiple of it, 0 for a constant unit.

    Raises
    ------
    ValueError
        Where there are NaN, too few rows, or the lengths differ.

    Notes
    -----
    max_v |r_uv|, r the Pearson correlation over images. Unchanged by shift, scale, sign and order of the units. Biased
    up by the number of units of y on few images; one outlying image carries it to 1 (`ranking.bounded`).

    References
    ----------
    Li, Yosinski, Clune, Lipson, Hopcroft: Convergent learning. ICLR 2016.

    Examples
    --------
    >>> x = np.array([[0.0, 1], [1, 1], [2, 1], [4, 1]])
    >>> max_correlation(x, -x[:, :1])
    array([1., 0.])
    """
    sides = [check_rows(x, "x"), check_rows(y, "y")]
    n = check_lengths(x=sides[0], y=sides[1])
    standard = []
    for side in map(_unit_range, sides):
        side = side - side.mean(0)
        size = np.sqrt((side**2).sum(0))
        standard.append(side / np.where(size > CONSTANT * np.sqrt(n), size, np.inf))
    return np.minimum(np.abs(standard[0].T @ standard[1]).max(1), 1)
