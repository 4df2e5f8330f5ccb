"""Comparisons by the distances between images: RSA and nearest neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from rgbd_insight.metrics.checks import centred_rows

ROWS = 1024  # rows of the distance matrix that are held at a time


def rsa(x: ArrayLike, y: ArrayLike) -> float:
    """Rank correlation of the distances between images in two streams, from −1 to 1; 0 on average for unrelated ones.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images.

    Returns
    -------
    float
        In [−1, 1]; 1 where the distances have the same order.

    Raises
    ------
    ValueError
        Where a stream is constant, has NaN or too few rows, the lengths differ, or all images are equidistant.

    Notes
    -----
    Spearman's correlation (ties share their mean rank) of the N(N − 1)/2 squared Euclidean distances. Unlike the
    correlation distance, which is also in use, they do not change with a unit's offset.

    References
    ----------
    Kriegeskorte, Mur, Bandettini: Representational similarity analysis. Frontiers in Systems Neuroscience 2, 2008.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> round(rsa(x, 2 * x + 300), 6)
    1.0
    """
    return rank_correlation(*(distance_ranks(layer) for layer in centred_rows({"x": x, "y": y})))[0]


def distance_ranks(layer: np.ndarray) -> np.ndarray:
    """Centred ranks (N(N − 1)/2,) of the distances between the rows of a centred layer, of length 1."""
    upper = np.triu_indices(len(layer), 1)
    ranks = rankdata(np.round(_distances(layer, slice(None))[upper] / (layer**2).sum(), 14))  # ties but for rounding
    ranks -= ranks.mean()
    if not ranks.any():
        raise ValueError("`x` and `y` must have images at different distances; in one all are equidistant.")
    return ranks / np.linalg.norm(ranks)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Correlation of centred ranks of length 1, twice."""
    value = float(np.clip(a @ b, -1, 1))
    return value, value


def knn_overlap(x: ArrayLike, y: ArrayLike, k: int = 10) -> float:
    """Share of an image's k nearest neighbours that two streams agree on, from 0 to 1; k/(N − 1) by chance.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images.
    k : int
        Number of neighbours, from 1 to N − 1; the image itself is not one.

    Returns
    -------
    float
        In [0, 1]; 1 where every image has the same neighbours.

    Raises
    ------
    ValueError
        Where a stream is constant, has NaN or too few rows, the lengths differ, or `k` is out of range.

    Notes
    -----
    mean_i |kNN_x(i) ∩ kNN_y(i)| / k by Euclidean distance. (The reference takes the cosine, which a unit's offset
    changes.) Which of several equidistant images counts is arbitrary.

    References
    ----------
    Huh, Cheung, Wang, Isola: The platonic representation hypothesis. ICML 2024 (mutual k-nearest neighbours).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> knn_overlap(x, 2 * x + 300)
    1.0
    """
    return shared(*(nearest(layer, k) for layer in centred_rows({"x": x, "y": y})))[0]


def nearest(layer: np.ndarray, k: int = 10) -> np.ndarray:
    """The k nearest rows of every row of a centred layer as numbers row·N + neighbour, int (N·k,)."""
    n = len(layer)
    if not 1 <= k < n:
        raise ValueError(f"`k` must be from 1 to {n - 1}, the number of other images; got {k}.")
    found = []
    for start in range(0, n, ROWS):
        rows = np.arange(start, min(start + ROWS, n))
        distances = _distances(layer, slice(start, start + ROWS))  # (rows, N)
        distances[rows - start, rows] = np.inf
        found.append(np.argpartition(distances, k - 1, axis=1)[:, :k] + n * rows[:, None])
    return np.concatenate(found).ravel()


def shared(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Share of the neighbours that both have, twice."""
    value = float(np.isin(a, b, assume_unique=True).mean())
    return value, value


def _distances(layer: np.ndarray, rows: slice) -> np.ndarray:
    """Squared Euclidean distances (rows, N) of some rows of a centred layer to all."""
    lengths = (layer**2).sum(1)
    return lengths[rows, None] + lengths - 2 * layer[rows] @ layer.T
