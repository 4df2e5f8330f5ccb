"""One stream as the other stream predicts it."""

from __future__ import annotations

import numpy as np

from rgbd_insight import stats

COMPONENTS = 32
PENALTIES = 10.0 ** np.arange(-6, 5)  # times the mean variance of the components


def predicted(x: np.ndarray, y: np.ndarray, groups: np.ndarray, *, folds: int = 5) -> np.ndarray:
    """The responses `y` (N, V) as `x` (N, U) predicts them on images of groups that the fit has not seen, (N, V).

    Parameters
    ----------
    x, y : responses to the same images.
    groups : (N,) physical scene of each image.
    folds : outer folds, 3 or more; the penalty is chosen inside the training folds, leaving out one in turn.

    Returns
    -------
    (N, V); the mean of the training images where x says nothing of y.

    Notes
    -----
    Ridge from the leading 32 principal components of the training images; one penalty for all units of y, each of
    which counts by its variance.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> y = x @ np.ones((3, 2))
    >>> bool(np.abs(predicted(x, y, np.arange(100)) - y).max() < 0.01)
    True
    """
    fold = stats.group_folds(groups, folds)
    told = np.empty_like(y, dtype=float)
    for f in range(folds):
        inner = [g for g in range(folds) if g != f]
        error = np.zeros(len(PENALTIES))
        for g in inner:
            train, test = (fold != f) & (fold != g), fold == g
            for i, guess in enumerate(_fits(x[train], y[train], x[test], PENALTIES)):
                error[i] += ((guess - y[test]) ** 2).sum()
        best = PENALTIES[[int(error.argmin())]]
        told[fold == f] = _fits(x[fold != f], y[fold != f], x[fold == f], best)[0]
    return told


def _fits(x: np.ndarray, y: np.ndarray, new: np.ndarray, penalties: np.ndarray) -> list[np.ndarray]:
    """The prediction for `new` under each penalty."""
    mean_x, mean_y = x.mean(0, dtype=float), y.mean(0, dtype=float)
    left, scale, axes = np.linalg.svd(x - mean_x, full_matrices=False)  # (N, r), (r,), (r, U)
    kept = scale[:COMPONENTS] > 1e-9 * max(scale[0], 1e-300)
    left, scale, axes = (part[..., :COMPONENTS][..., kept] for part in (left, scale, axes.T))
    if not len(scale):
        return [np.broadcast_to(mean_y, (len(new), len(mean_y)))] * len(penalties)
    weights, scores = left.T @ (y - mean_y), (new - mean_x) @ axes  # (r, V), (M, r)
    unit = (scale**2).mean()
    return [mean_y + scores @ ((scale / (scale**2 + p * unit))[:, None] * weights) for p in penalties]
