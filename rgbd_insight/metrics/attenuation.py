"""The variance partitioning without the part of its error that comes from few, or noisy, networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.banded import checked_streams
from rgbd_insight.metrics.ridge import ridge
from rgbd_insight.stats.groups import group_folds
from rgbd_insight.utils.threads import one_thread

PENALTY = 1.0  # of the ridge, as a share of the columns' mean variance: any is right, this one is sharp
CONCEPTS = 1e-3  # the same where concepts are taken out: as good as none
SPLITS = 3  # of the networks into two sides
OWN = 0.1  # of what a stream predicts: a part that is smaller has no attenuation of its own


@dataclass(frozen=True)
class Corrected:
    """What `corrected_partitioning` found.

    Attributes
    ----------
    shares : array (U, 4)
        R² in the order of `SHARES`, as if the networks of either modality had no noise; a row sums to `ceiling`.
        NaN for constant units.
    ceiling : array (U,)
        R² of the same modality's networks, corrected alike.
    level : array (4,)
        Σ_u share / Σ_u ceiling; sums to 1. NaN with a reason where that ceiling is not positive.
    attenuation : array (2, 2)
        By how much too small predictions are: of `other` and of `same` (rows), in what concepts name and in the rest.
    reason : str
        Why `level` is NaN, or ''.
    """

    shares: np.ndarray
    ceiling: np.ndarray
    level: np.ndarray
    attenuation: np.ndarray
    reason: str


@one_thread
def corrected_partitioning(
    y: ArrayLike,
    concepts: ArrayLike,
    other: Sequence[ArrayLike],
    same: Sequence[ArrayLike],
    groups: ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Corrected:
    """The variance partitioning of `variance_partitioning`, corrected for what noise of the other networks hides.

    Parameters
    ----------
    y : array (N, U)
        Responses of the units whose variance is divided.
    concepts : array (N, K)
        Areas or presence of the concepts.
    other, same : sequences of arrays (N, D)
        Streams of the other and of the same modality, of *other* seeds: two or more of each.
    groups : array (N,)
        Groups that no fold may divide; at least 2 · folds.
    folds, seed : int
        Number of folds (3 or more); seed of folds, halves and sides.

    Returns
    -------
    Corrected

    Raises
    ------
    ValueError
        If shapes disagree, a value is not finite, there is only one network of a modality, or too few groups.

    Notes
    -----
    The classical correction for attenuation, of predictions. The networks are divided into two sides and the training
    groups into two halves; a ridge of each side on a half of its own predicts the held-out unit. Errors of the two
    predictions û_A, û_B have nothing in common, so that with the part t that can be predicted, û = a·t + error has
    cov(y, û) = a·var(t) and cov(û_A, û_B) = a²·var(t). Hence a = Σ_u cov(û_A, û_B) / Σ_u cov(y, û) and
    R² = cov(y, û)/a, means over sides, halves and folds; covariances are about the held-out fold's own means, since the
    two halves err in opposite directions about the training mean. The same is done with units and streams from which
    the concepts were taken out (as estimated in each half), which gives u(X); the rest is c(X).
    Each part has an attenuation of its own; one below a tenth of what the stream predicts has the stream's.

    Assumes that noise of different networks is independent, and that within a part units are attenuated alike: it is
    meant for levels and sets of units, and single units are the noisier. Negative parts are kept. Where networks are
    reliable it agrees with `variance_partitioning`, which varies less then. Needs some 600 images, and more where
    noise is large. For an interval: `stats.estimate(lambda i, _: corrected_partitioning(y[i], …).level, groups,
    null=False)`.

    Unchanged by shift and factor of each unit.

    References
    ----------
    Spearman, The proof and measurement of association between two things, American Journal of Psychology 1904.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared, concepts = rng.normal(size=(2, 600, 4))
    >>> noisy = [shared @ rng.normal(size=(4, 30)) + 6 * rng.normal(size=(600, 30)) for _ in range(4)]
    >>> clean = [shared + 0.1 * rng.normal(size=(600, 4)) for _ in range(2)]
    >>> corrected_partitioning(shared, concepts, noisy, clean, np.arange(600)).level.round(1) + 0.0
    array([0., 0., 1., 0.])
    """
    (y, concepts, *streams), groups = checked_streams(y, {"concepts": [concepts], "other": other, "same": same}, groups)
    if min(len(other), len(same)) < 2:
        raise ValueError(
            f"`other` and `same` must hold two or more networks each; got {len(other)} and {len(same)}. With one, use "
            "`variance_partitioning`."
        )
    if folds < 3:
        raise ValueError(f"`folds` must be >= 3; got {folds}. Choose more.")
    fold, varies = group_folds(groups, folds, seed), y.any(0)
    # of other or same, whole or without concepts, with y or with each other, and unit
    covariances = np.zeros((2, 2, 2, y.shape[1]))
    for f in range(folds):
        test, train = fold == f, np.flatnonzero(fold != f)
        half = group_folds(groups[train], 2, seed + 1 + f)
        halves = [train[half == h] for h in (0, 1)]
        rest = [[a - _predicted(concepts[rows], a[rows], CONCEPTS, concepts) for a in (y, *streams)] for rows in halves]
        for without, (first, second) in enumerate((([y, *streams], [y, *streams]), rest)):
            for which, mine in enumerate((slice(1, 1 + len(other)), slice(1 + len(other), None))):
                sides = [(one[0], one[mine], rows) for one, rows in zip((first, second), halves, strict=True)]
                covariances[which, without] += _covariances(*sides, test, seed)
    total = sum(((y[fold == f] - y[fold == f].mean(0)) ** 2).sum(0) for f in range(folds))
    return _corrected(covariances / np.where(varies, total, np.nan))


def _covariances(first: tuple, second: tuple, test: np.ndarray, seed: int) -> np.ndarray:
    """(2, U) sums over the test rows of unit · prediction and of prediction · prediction of the other side.

    `first` and `second` are (y, networks, training rows) of either half, each without what that half took out of it: a
    prediction is compared with the unit of the other half: both lack the same concepts, but not by the same error.
    """
    found, count = np.zeros((2, first[0].shape[1])), len(first[1])
    own = [y[test] - y[test].mean(0) for y, _, _ in (first, second)]
    ways = [side for way in _sides(count, seed) for side in (way, tuple(i for i in range(count) if i not in way))]
    for side in ways:
        a = _of_side(*first, side, test)
        b = _of_side(*second, [i for i in range(count) if i not in side], test)
        found += np.stack([(own[1] * a + own[0] * b).sum(0) / 2, (a * b).sum(0)])
    return found / len(ways)


def _of_side(y: np.ndarray, nets: list, rows: np.ndarray, side: Sequence[int], test: np.ndarray) -> np.ndarray:
    """What the networks of a side, having learnt from `rows`, say of the test rows, about their mean."""
    x = np.hstack([nets[i] for i in side])
    guess = _predicted(x[rows], y[rows], PENALTY, x[test])
    return guess - guess.mean(0)


def _sides(count: int, seed: int) -> list[tuple[int, ...]]:
    """Some of the ways to put `count` networks on two sides, each once."""
    half = count // 2
    ways = [way for way in combinations(range(count), half) if 2 * half < count or 0 in way]
    chosen = np.random.default_rng([seed, 3]).permutation(len(ways))[:SPLITS]
    return [ways[i] for i in sorted(chosen)]


def _predicted(x: np.ndarray, y: np.ndarray, penalty: float, new: np.ndarray) -> np.ndarray:
    """Predictions (n, U) for the rows of `new`, by ridge regression of y on x, whose columns have a variance of 1.

    A column is not scaled again when concepts were taken out: it would be shrunk otherwise than with them.
    """
    mean, level = x.mean(0), y.mean(0)
    return (new - mean) @ ridge(x - mean, y - level, penalty) + level


def _corrected(covariances: np.ndarray) -> Corrected:
    """Shares from covariances (other or same, whole or without concepts, with y or with each other, U)."""
    parts = np.stack([covariances[:, 0] - covariances[:, 1], covariances[:, 1]], axis=1)  # (2, named or not, 2, U)
    sums, whole = np.nansum(parts, axis=-1), np.nansum(covariances[:, 0], axis=-1)  # (2, 2, 2), (2, 2)
    alone = (sums[..., 0] > OWN * whole[:, :1]) & (sums[..., 1] > 0)
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing predicted at all: no ceiling, and the reason says so
        attenuation = np.where(alone, sums[..., 1] / sums[..., 0], (whole[:, 1] / whole[:, 0])[:, None])
        r2 = parts[:, :, 0] / attenuation[..., None]  # (other or same, named or not, U)
    other, same = r2
    shares = np.stack([other[0], same[0] - other[0], other[1], same[1] - other[1]], axis=-1)
    ceiling = same.sum(0)
    top = np.nansum(ceiling)
    enough = whole[1].min() > 0 and top > 0
    level = np.nansum(shares, axis=0) / top if enough else np.full(4, np.nan)
    reason = "" if enough else "the same modality's other seeds predict none of the level's variance"
    return Corrected(shares, ceiling, level, attenuation, reason)
