"""Strata of images in which a concept is about equally expected from everything that occurs with it."""

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.auroc import checked
from rgbd_insight.stats.groups import group_folds

_PENALTY = 1e-2  # of the number of training rows; covariates have variance 1


def cooccurrence_strata(
    covariates: ArrayLike,
    present: ArrayLike,
    groups: ArrayLike,
    *,
    own: int = 1,
    levels: int = 10,
    folds: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """Sort the rows, concept by concept, into at most `levels` classes of equal expectation: int codes (N, K) from 0.

    Parameters
    ----------
    covariates : array (N, P), P >= own · K
        Column k < K belongs to concept k (its presence or area) and is never used for concept k itself; nor are columns
        k + K, … of further such blocks. The columns after these (position, brightness...) serve every concept. Areas
        that add up to a constant determine each other: pass presence for such families.
    present : array of bool (N, K)
        Which row shows which concept.
    groups : array (N,)
        Groups that no fold may divide.
    own : int
        Number of blocks of K columns, one a concept, that come first.
    levels, folds, seed : int
        Number of strata in each fold, number of folds, seed of the folds.

    Returns
    -------
    array of int8 (N, K)
        Codes run anew in every fold, so compare rows only inside one fold.

    Raises
    ------
    ValueError
        If P < own · K or a covariate is not finite.

    Notes
    -----
    A ridge probe given only the other covariates scores the held-out fold; its scores are cut where the variance inside
    the strata is least (one-dimensional k-means). Quantile cuts would often mix the presence and the absence of the one
    covariate that matters. The probe without the columns S of concept k follows from the full one: w - B[:, S] · B_SS⁻¹
    · w_S, with B the inverse of the regularised covariance.

    References
    ----------
    Rosenbaum and Rubin, Reducing bias in observational studies using subclassification on the propensity score,
    JASA 1984.

    Examples
    --------
    from numpy.typing import ArrayLike
    >>> present = np.random.default_rng(0).random((200, 3)) < 0.5
    >>> cooccurrence_strata(present, present, np.arange(200)).shape
    (200, 3)
    """
    covariates, present, groups = checked(covariates, present, groups, "covariates")
    concepts = present.shape[1]
    if own < 1 or covariates.shape[1] < own * concepts:
        raise ValueError(
            f"`covariates` must have {max(own, 1)} x {concepts} columns first, one for each of the {concepts} concepts"
            f"; got {covariates.shape[1]} columns. Pass np.hstack([present, position])."
        )
    codes = np.empty(present.shape, np.int8)
    fold = group_folds(groups, folds, seed)
    for f in range(folds):
        train = fold != f
        scores = _leave_own_columns_out(covariates[train], present[train], covariates[~train], own)
        codes[~train] = _split(scores, levels)
    return codes


def _leave_own_columns_out(train: np.ndarray, present: np.ndarray, test: np.ndarray, own: int) -> np.ndarray:
    """Scores (n, K) of test rows by ridge probes of concept k not given columns k, k + K, … of `own` blocks."""
    mean, scale = train.mean(0), train.std(0)
    scale[scale <= 1e-12 * np.abs(mean)] = np.inf  # a constant covariate says nothing
    z, targets = (train - mean) / scale, present - present.mean(0)  # (n, P), (n, K)
    inverse = np.linalg.inv(z.T @ z + _PENALTY * len(z) * np.eye(z.shape[1]))  # (P, P)
    weights = inverse @ (z.T @ targets)  # (P, K)
    concepts = np.arange(targets.shape[1])
    columns = concepts[:, None] + len(concepts) * np.arange(own)  # (K, own)
    inner = inverse[columns[:, :, None], columns[:, None, :]]  # (K, own, own)
    given = np.linalg.solve(inner, weights[columns, concepts[:, None]][..., None])[..., 0]  # (K, own)
    weights -= np.einsum("pko,ko->pk", inverse[:, columns], given)
    return ((test - mean) / scale) @ weights


def _split(scores: np.ndarray, levels: int, rounds: int = 10) -> np.ndarray:
    """Cut every column of (n, K) into at most `levels` classes by one-dimensional k-means; codes int8."""
    # round: equal covariates must fall into one stratum whatever the order of summation
    scores = np.round(scores / np.maximum(np.abs(scores).max(0), 1e-300), 9)
    centres = np.quantile(scores, (np.arange(levels) + 0.5) / levels, axis=0)  # (levels, K)
    for _ in range(rounds):
        cuts = (centres[1:] + centres[:-1]) / 2
        codes = (scores > cuts[:, None]).sum(0, dtype=np.int8)  # (n, K)
        for c in range(levels):
            inside = codes == c
            count = inside.sum(0)
            centres[c] = np.where(count > 0, np.where(inside, scores, 0).sum(0) / np.maximum(count, 1), centres[c])
    return codes
