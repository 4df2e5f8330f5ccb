"""Measures in common use, for comparison only: what they say of unrelated streams depends on widths and images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.baselines import neighbours, subspaces
from rgbd_insight.metrics.baselines.layers import centred_layers, every_pair
from rgbd_insight.metrics.baselines.neighbours import knn_overlap, minibatch_cka, rsa
from rgbd_insight.metrics.baselines.subspaces import procrustes, procrustes_distance, pwcca, svcca
from rgbd_insight.metrics.checks import compress
from rgbd_insight.metrics.cka import _streams, square

__all__ = [
    "cka",
    "knn_overlap",
    "matrix",
    "minibatch_cka",
    "procrustes",
    "procrustes_distance",
    "pwcca",
    "rsa",
    "svcca",
]

# What is computed once a layer, and what of each pair of those.
PAIRS = {
    "svcca": (subspaces.leading, subspaces.mean_correlation),
    "pwcca": (subspaces.spanned, subspaces.weighted_correlation),
    "procrustes": (subspaces.unit_size, subspaces.nuclear_norm),
    "rsa": (neighbours.distance_ranks, neighbours.rank_correlation),
    "knn_overlap": (neighbours.nearest, neighbours.shared),
}


def cka(x: ArrayLike, y: ArrayLike) -> float:
    """Biased linear CKA, from 0 to 1, for comparison only: unrelated wide layers score far above 0 on few images.

    Parameters
    ----------
    x, y : (N, U) and (N, V) responses to the same images.

    Returns
    -------
    float in [0, 1]; 1 means the same up to rotation and scale.

    Raises
    ------
    ValueError
        Where a stream is constant over the images, has NaN, too few rows, or the lengths differ.

    Notes
    -----
    ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) of the centred responses. Unchanged by what leaves `debiased_cka` unchanged. Biased up: for
    unrelated streams it goes to 1 as the units outnumber the images.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton: Similarity of neural network representations revisited. ICML 2019.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(cka(rng.normal(size=(60, 200)), rng.normal(size=(60, 200))), 2)  # unrelated
    0.77
    """
    x, y = (compress(s) for s in _streams(x, y))
    x, y = x - x.mean(0), y - y.mean(0)
    return float(square(x.T @ y) / np.sqrt(square(x.T @ x) * square(y.T @ y)))


def matrix(
    measure: str, first: Sequence[ArrayLike], second: Sequence[ArrayLike] | None = None, **options: float
) -> np.ndarray:
    """One baseline of every level with every level, each level factorised once: (L, M), or (L, L) without `second`.

    Parameters
    ----------
    measure : name of a function of this module.
    first, second : levels, each (N, U), over the same N images; without `second`, `first` is compared with itself.
    options : `kept`, `k` or `batch` of that function.

    Returns
    -------
    float (L, M); element (i, j) is what the function gives for first[i] and second[j].

    Raises
    ------
    ValueError
        Where there is no such measure, and as that function does.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(40, 6))
    >>> matrix("svcca", [x, x[:, :3]], [x, -x]).round(6)
    array([[1., 1.],
           [1., 1.]])
    """
    if measure in PAIRS:
        prepare, score = PAIRS[measure]
        return every_pair(first, second, partial(prepare, **options), score)
    if measure == "procrustes_distance":
        return subspaces.as_distance(matrix("procrustes", first, second, **options))
    if measure not in ("cka", "minibatch_cka"):
        raise ValueError(f"`measure` must be one of {', '.join(n for n in __all__ if n != 'matrix')}; got {measure!r}.")
    count, both = len(first), [*first, *(second or ())]
    names = [f"first[{i}]" if i < count else f"second[{i - count}]" for i in range(len(both))]
    layers = centred_layers(both, names)
    whole = neighbours.batched_matrix(layers, **options) if measure == "minibatch_cka" else _cka(layers, **options)
    return whole[:count, count:] if second is not None else whole


def _cka(layers: Sequence[np.ndarray]) -> np.ndarray:
    """Biased CKA (L, L) of centred layers, from one product of all of them side by side."""
    layers = [compress(layer) for layer in layers]
    starts = np.cumsum([0, *(layer.shape[1] for layer in layers[:-1])])
    rows = np.concatenate(layers, axis=1)  # (N, D)
    total = np.add.reduceat(np.add.reduceat((rows.T @ rows) ** 2, starts, axis=0), starts, axis=1)
    return total / np.sqrt(np.outer(np.diag(total), np.diag(total)))
