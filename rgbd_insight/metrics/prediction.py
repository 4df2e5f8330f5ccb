"""Predictivity: how well one stream predicts the other on images it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.checks import check_lengths, compress, varying_rows
from rgbd_insight.metrics.ridge import leading, shrinkage
from rgbd_insight.stats.groups import group_codes, group_folds
from rgbd_insight.utils.threads import one_thread

# Times the mean variance of the components; a tie goes to the largest. Four a decade: of one a decade, 1 or 10 was
# chosen where 3 is best, which cost a third of a small R² and made it jump.
PENALTIES = 10.0 ** np.arange(4, -6.25, -0.25)
FLAT = 1e-20  # a stream with less than this share of its variance left on some images is constant there


@dataclass(frozen=True, eq=False)
class Prediction:
    """What `predictivity` found.

    Attributes
    ----------
    r2 : float
        Held-out R² pooled over the units of y, each by its variance; at most 1, below 0 where the mean is better.
    units : array (V,)
        Held-out R² of each unit of y; 0 for a constant unit.
    penalty : array (folds,)
        Chosen ridge penalty, in mean variances of the components.
    components : int
        Number of principal components of x that were used.
    """

    r2: float
    units: np.ndarray
    penalty: np.ndarray
    components: int


def predictivity(
    x: ArrayLike, y: ArrayLike, groups: ArrayLike, *, components: int = 32, folds: int = 5, seed: int = 0
) -> Prediction:
    """Directed likeness: share of the variance of y that x predicts on held-out scenes, at most 1.

    Unrelated streams score slightly below 0; subtract the null before comparing levels, and compare levels only at
    the same number of images and components.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images; y is predicted from x.
    groups : array (N,)
        Physical scene of each image; a scene is never on both sides of a split.
    components : int
        Principal components of x (of the training folds), at most; fewer where x has fewer units.
    folds : int
        Outer folds, at least 3: the penalty is chosen inside the training folds, leaving out one of them in turn.
    seed : int
        Decides the folds.

    Returns
    -------
    Prediction

    Raises
    ------
    ValueError
        Where a stream is constant, there are fewer groups than folds, NaN, too few rows, or the lengths differ.

    Notes
    -----
    1 − ΣSSE/ΣSST over folds and units, SST about the training means. Ridge on the scores of the leading principal
    components; inner folds use the components of their outer training folds (which see no held-out image) and one
    penalty for all units, the best of `PENALTIES` by the pooled inner error. Everything follows from each fold's sums
    and cross-products, so no regression is ever run over images.

    Unchanged by shift, one factor and rotation of either stream. Biased down: it rises with the images towards the
    population's value for these components, and is close to it from 20 images a unit. With streams of little noise it
    is the share of variance in common; noise of x lowers it.

    References
    ----------
    Hastie, Tibshirani, Friedman: The elements of statistical learning, section 3.4 (ridge and principal components).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> y = x @ rng.normal(size=(5, 3))
    >>> groups = np.arange(200) // 4
    >>> round(predictivity(x, y, groups).r2, 3), predictivity(y, x, groups).r2 < 0.8
    (1.0, True)
    """
    rows = np.arange(len(x))
    found = _predictor(x, y, groups, components, folds, seed, rotate=False)(rows, rows)
    if np.isnan(found.r2):
        raise ValueError(
            f"`folds` must leave at least 2 images to train on when two are left out; got {folds}. Use more."
        )
    return found


def predictivity_statistic(
    x: ArrayLike, y: ArrayLike, groups: ArrayLike, *, components: int = 32, folds: int = 5, seed: int = 0
) -> Callable[[np.ndarray, np.ndarray], float]:
    """The pooled R² of `predictivity` as a function of the rows of x and their partners in y, for `stats.estimate`.

    The division into folds is made once, so a leave-out changes the folds only by the images it lacks; components,
    penalties and weights are found anew every time (for a permutation of y the components of x are the same and are
    kept). Parameters and errors are those of `predictivity`; NaN where a stream is constant on the rows given.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> statistic = predictivity_statistic(x, -x, np.arange(60))
    >>> round(statistic(np.arange(50), np.arange(50)), 3)
    1.0
    """
    predict = _predictor(x, y, groups, components, folds, seed, rotate=True)
    return one_thread(lambda rows, partner: predict(rows, partner).r2)


def _predictor(
    x: ArrayLike, y: ArrayLike, groups: ArrayLike, components: int, folds: int, seed: int, *, rotate: bool
) -> Callable[[np.ndarray, np.ndarray], Prediction]:
    codes = group_codes(groups)
    x, y = varying_rows({"x": x, "y": y})
    check_lengths(x=x, groups=codes)
    if folds < 3:
        raise ValueError(f"`folds` must be at least 3 (one to test on, the others to choose the penalty); got {folds}.")
    if components < 1:
        raise ValueError(f"`components` must be at least 1; got {components}.")
    fold = group_folds(codes, folds, seed)
    x, y = compress(x), (compress(y) if rotate else y)
    x, y = x - x.mean(0), y - y.mean(0)
    known: dict[bytes, _Inputs] = {}

    def predict(rows: np.ndarray, partner: np.ndarray) -> Prediction:
        # Nulls keep the rows of x, leave-outs keep none: remembering the last is enough.
        key = rows.tobytes()
        if key not in known:
            known.clear()
            known[key] = _Inputs(x[rows], fold[rows], folds, components, float(np.vdot(x, x)))
        return known[key].predict(y[partner], float(np.vdot(y, y)))

    return predict


class _Inputs:
    """Everything that depends on x alone: components, and for every (outer f, inner g) pair the ridge in closed form.

    The pair (f, g) trains on all folds but f and g and tests on g; (f, f) is the outer fold itself. Shapes: F folds,
    d components, A penalties, V units of y.
    """

    def __init__(self, x: np.ndarray, fold: np.ndarray, folds: int, components: int, scale: float) -> None:
        self.rows = [np.flatnonzero(fold == f) for f in range(folds)]
        self.size = np.bincount(fold, minlength=folds)  # (F,)
        self.n = _left_out(np.broadcast_to(self.size, (folds, folds)))  # (F, F) training images
        deviations = x - x.mean(0)
        self.count = min(components, x.shape[1], int(self.n.min()) - 1)
        self.defined = bool(self.count > 0 and np.vdot(deviations, deviations) > FLAT * scale)
        if self.defined:
            axes = np.concatenate([_leading(x[fold != f], self.count) for f in range(folds)], axis=1)  # (U, F d)
            self.scores = [x[rows] @ axes for rows in self.rows]  # F of (n_g, F d)
            self._solve()

    def _solve(self) -> None:
        folds = len(self.rows)
        stacked = [s.reshape(len(s), folds, self.count).swapaxes(0, 1) for s in self.scores]  # F of (F, n_g, d)
        self.first = np.stack([s.sum(1) for s in stacked], axis=1)  # (F, F, d)
        second = np.stack([s.swapaxes(1, 2) @ s for s in stacked], axis=1)  # (F, F, d, d)
        train = _left_out(self.first)
        self.mean = train / self.n[..., None]  # (F, F, d)
        gram = _left_out(second) - _outer(train, self.mean)  # (F, F, d, d)
        values, vectors = np.linalg.eigh(gram)
        self.turn = vectors.swapaxes(-1, -2)  # (F, F, d, d), rows are the axes in which the ridge is diagonal
        self.shrink = shrinkage(values, PENALTIES)  # (F, F, A, d)
        test = second + _about(self.first, self.mean, self.first, self.mean, self.size)
        self.test = self.turn @ test @ vectors  # (F, F, d, d)

    def predict(self, y: np.ndarray, scale: float) -> Prediction:
        """Prediction of the rows (n, V) of y that are paired with these rows of x; `scale` is ‖y‖² over all rows."""
        folds = len(self.rows)
        parts = [y[rows] for rows in self.rows]
        first = np.broadcast_to(np.stack([p.sum(0) for p in parts]), (folds, folds, y.shape[1]))  # (F, F, V)
        squares = np.stack([(p**2).sum(0) for p in parts])  # (F, V)
        if not self.defined or (squares.sum(0) - first[0].sum(0) ** 2 / len(y)).sum() <= FLAT * scale:
            return Prediction(np.nan, np.full(y.shape[1], np.nan), np.full(folds, np.nan), self.count)
        cross = [(s.T @ p).reshape(folds, -1, y.shape[1]) for s, p in zip(self.scores, parts, strict=True)]
        cross = np.stack(cross, axis=1)  # (F, F, d, V)
        mean = _left_out(first) / self.n[..., None]  # (F, F, V)
        train = self.turn @ (_left_out(cross) - _outer(self.n[..., None] * self.mean, mean))  # (F, F, d, V)
        test = self.turn @ (cross + _about(self.first, self.mean, first, mean, self.size))  # (F, F, d, V)
        total = squares - 2 * mean * first + self.size[:, None] * mean**2  # (F, F, V) about the training mean
        best = self._best((train * test).sum(-1), self.test * (train @ train.swapaxes(-1, -2)))
        own = np.arange(folds)
        weights = self.shrink[own, own, best][..., None] * train[own, own]  # (F, d, V)
        errors = total[own, own] + (weights * (self.test[own, own] @ weights - 2 * test[own, own])).sum(1)  # (F, V)
        errors, total = errors.sum(0), total[own, own].sum(0)  # (V,)
        units = np.where(total > 0, 1 - errors / np.where(total > 0, total, 1), 0.0)
        return Prediction(float(1 - errors.sum() / total.sum()), units, PENALTIES[best], self.count)

    def _best(self, linear: np.ndarray, quadratic: np.ndarray) -> np.ndarray:
        """(F,) the penalty with the least inner error, from the error's linear and quadratic part in the weights."""
        errors = (self.shrink * (self.shrink @ quadratic - 2 * linear[..., None, :])).sum(-1)  # (F, F, A)
        own = np.arange(len(errors))
        errors[own, own] = 0  # the outer fold has no say
        return errors.sum(1).argmin(-1)


def _leading(x: np.ndarray, count: int) -> np.ndarray:
    """(U, count) leading principal axes of the rows of x."""
    centred = x - x.mean(0)
    return leading(centred.T @ centred, count)[1]


def _left_out(sums: np.ndarray) -> np.ndarray:
    """Sums [f, g] of all folds but f and g, from sums [f, h] of fold h seen on the axes of f."""
    own = np.arange(len(sums))
    outer = (sums.sum(1) - sums[own, own])[:, None]
    inner = sums.copy()
    inner[own, own] = 0
    return outer - inner


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., :, None] * b[..., None, :]


def _about(sum_a: np.ndarray, mean_a: np.ndarray, sum_b: np.ndarray, mean_b: np.ndarray, n: np.ndarray) -> np.ndarray:
    """What to add to Σ a bᵀ to have Σ (a − mean_a)(b − mean_b)ᵀ, over the n[g] images of each test fold g."""
    return _outer(n[:, None] * mean_a - sum_a, mean_b) - _outer(mean_a, sum_b)
