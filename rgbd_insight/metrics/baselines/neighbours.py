"""Comparisons by the distances between images: RSA and nearest neighbours. And CKA in batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from rgbd_insight.metrics.baselines.layers import centred_layers
from rgbd_insight.metrics.checks import compress
from rgbd_insight.metrics.moments import Moments, unbiased_hsic

ROWS = 1024  # rows of the distance matrix that are held at a time


def rsa(x: ArrayLike, y: ArrayLike) -> float:
    """Rank correlation of the distances between images in two streams, from −1 to 1; 0 on average for unrelated ones.

    Parameters
    ----------
    x, y : (N, U) and (N, V) responses to the same images.

    Returns
    -------
    float in [−1, 1]; 1 where the distances have the same order.

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
    return rank_correlation(*(distance_ranks(layer) for layer in centred_layers((x, y), "xy")))[0]


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
    x, y : (N, U) and (N, V) responses to the same images.
    k : number of neighbours, from 1 to N − 1; the image itself is not one.

    Returns
    -------
    float in [0, 1]; 1 where every image has the same neighbours.

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
    return shared(*(nearest(layer, k) for layer in centred_layers((x, y), "xy")))[0]


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


def minibatch_cka(x: ArrayLike, y: ArrayLike, batch: int = 256) -> float:
    """Debiased CKA from averages over batches of images, at most 1; with more than one batch the order matters.

    Parameters
    ----------
    x, y : (N, U) and (N, V) responses to the same images.
    batch : images a batch at most, 4 or more; the batches are cut as equal as possible, so none is too small.

    Returns
    -------
    float in [−1, 1], not clamped at 0; `debiased_cka` where one batch holds all images.

    Raises
    ------
    ValueError
        Where a stream is constant, has NaN or too few rows, the lengths differ, `batch` is too small, or a stream has
        no geometry beyond chance in any batch.

    Notes
    -----
    Σ_b n_b HSIC_b(x, y) / √(Σ_b n_b HSIC_b(x, x) Σ_b n_b HSIC_b(y, y)): batches count by their images. It estimates
    the same as `debiased_cka` with more variance; `moments.Moments` has the exact one in one pass.

    References
    ----------
    Nguyen, Raghu, Kornblith: Do wide and deep networks learn the same things? ICLR 2021.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> round(minibatch_cka(x, 2 * x + 300, batch=20), 6)
    1.0
    """
    return float(batched_matrix(centred_layers((x, y), "xy"), batch)[0, 1])


def batched_matrix(layers: Sequence[np.ndarray], batch: int = 256) -> np.ndarray:
    """Minibatch CKA (L, L) of every pair of centred layers."""
    n = len(layers[0])
    if batch < 4:
        raise ValueError(f"`batch` must be at least 4 images for the unbiased estimate; got {batch}.")
    count = min(-(-n // batch), n // 4)
    total = np.zeros((len(layers), len(layers)))
    for rows in np.array_split(np.arange(n), count):
        total += len(rows) * _hsic([layer[rows] - layer[rows].mean(0) for layer in layers])
    own = np.diag(total)
    if not (own > 0).all():
        raise ValueError(
            f"`x` and `y` must each have more than chance variance within batches of {batch}; one has none."
        )
    return total / np.sqrt(np.outer(own, own))


def _hsic(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Unbiased HSIC (L, L) of centred layers, from products of their units or of images, whichever costs less."""
    n, width = len(parts[0]), sum(part.shape[1] for part in parts)
    if n * (width + len(parts) ** 2) > width**2:
        return Moments.from_rows(*map(compress, parts)).hsic()
    grams = np.stack([part @ part.T for part in parts])  # (L, n, n)
    lengths, flat = np.diagonal(grams, axis1=1, axis2=2), grams.reshape(len(parts), -1)
    traces = lengths.sum(1)
    return unbiased_hsic(flat @ flat.T, lengths @ lengths.T, (traces[:, None], traces), n)
