"""Comparisons by singular values: SVCCA, PWCCA and Procrustes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.checks import centred_rows, compress

RANK = 1e-10  # directions with less than this share of the largest singular value are rounding


def svcca(x: ArrayLike, y: ArrayLike, kept: float = 0.99) -> float:
    """Mean canonical correlation of the leading principal components, from 0 to 1; unrelated streams are above 0.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images.
    kept : float
        Share in (0, 1] of each stream's variance that its components must reach.

    Returns
    -------
    float
        In [0, 1]; 1 where the components of the narrower span lie in the other.

    Raises
    ------
    ValueError
        Where a stream is constant, has NaN or too few rows, the lengths differ, or `kept` is out of range.

    Notes
    -----
    mean_i ρ_i, ρ the min(d, e) singular values of AᵀB; A (N, d) and B (N, e) are the left singular vectors of the
    centred streams, d and e the smallest numbers with Σ_{i≤d} σ_i² ≥ kept·Σσ_i² (squares, not singular values).

    References
    ----------
    Raghu, Gilmer, Yosinski, Sohl-Dickstein: SVCCA. NeurIPS 2017.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 5))
    >>> round(svcca(x, 3 * x[:, ::-1] + 2), 6)
    1.0
    """
    a, b = (leading(layer, kept) for layer in centred_rows({"x": x, "y": y}))
    return mean_correlation(a, b)[0]


def leading(layer: np.ndarray, kept: float = 0.99) -> np.ndarray:
    """Orthonormal basis (N, d) of the components that reach the share `kept` of the variance."""
    if not 0 < kept <= 1:
        raise ValueError(f"`kept` must be a share of the variance in (0, 1]; got {kept}. For 99 %, pass 0.99.")
    basis, sizes, _ = np.linalg.svd(compress(layer), full_matrices=False)
    reached = np.cumsum(sizes**2)
    count = np.searchsorted(reached, kept * reached[-1] * (1 - 1e-12)) + 1  # a share reached but for rounding counts
    return basis[:, : min(count, np.count_nonzero(sizes > RANK * sizes[0]))]


def mean_correlation(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean canonical correlation of two orthonormal bases, twice."""
    value = float(np.minimum(np.linalg.svd(a.T @ b, compute_uv=False), 1).mean())
    return value, value


def pwcca(x: ArrayLike, y: ArrayLike) -> float:
    """Canonical correlations weighted by how much of x each direction carries, from 0 to 1; directed from x.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images; either may be the wider one. With as many units as images everything correlates
        perfectly.

    Returns
    -------
    float
        In [0, 1]; 1 where the narrower span lies in the other.

    Raises
    ------
    ValueError
        Where a stream is constant, has NaN or too few rows, or the lengths differ.

    Notes
    -----
    Σ_i α_i ρ_i / Σ_i α_i over the min(rank x, rank y) canonical correlations ρ_i, α_i = Σ_j |⟨h_i, x_j⟩| with h_i the
    canonical variates of x (unit length) and x_j its centred units. The weights are always those of x; public
    implementations that take the narrower or the second stream's give other numbers.

    References
    ----------
    Morcos, Raghu, Bengio: Insights on representational similarity in neural networks with canonical correlation.
    NeurIPS 2018, equation 4.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 3)) * [5, 1, 1]
    >>> y = np.c_[x[:, 0] / 5, 5 * rng.normal(size=(200, 2))]  # what is strong in x is weak in y
    >>> pwcca(x, y) > pwcca(y, x)
    True
    """
    a, b = (spanned(layer) for layer in centred_rows({"x": x, "y": y}))
    return weighted_correlation(a, b)[0]


@dataclass(frozen=True, eq=False)
class Spanned:
    """A centred layer as `basis` (N, r), orthonormal, times `loadings` (r, U)."""

    basis: np.ndarray
    loadings: np.ndarray


def spanned(layer: np.ndarray) -> Spanned:
    """The span of a centred layer, rounding left out."""
    basis, sizes, right = np.linalg.svd(layer, full_matrices=False)
    rank = np.count_nonzero(sizes > RANK * sizes[0])
    return Spanned(basis[:, :rank], sizes[:rank, None] * right[:rank])


def weighted_correlation(a: Spanned, b: Spanned) -> tuple[float, float]:
    """Canonical correlations weighted by the units of a, and by those of b."""
    left, rho, right = np.linalg.svd(a.basis.T @ b.basis, full_matrices=False)
    weights = [np.abs(turn @ side.loadings).sum(1) for turn, side in ((left.T, a), (right, b))]  # (c,) each
    return tuple(float(w @ np.minimum(rho, 1) / w.sum()) for w in weights)


def procrustes(x: ArrayLike, y: ArrayLike) -> float:
    """Likeness after the best rotation, from 0 to 1; unrelated streams are above 0.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images; the widths may differ.

    Returns
    -------
    float
        In [0, 1]; 1 means the same up to rotation, offset and scale.

    Raises
    ------
    ValueError
        Where a stream is constant, has NaN or too few rows, or the lengths differ.

    Notes
    -----
    ‖XᵀY‖_* (sum of singular values) of the centred streams of Frobenius norm 1: 1 minus half the squared
    `procrustes_distance`.

    References
    ----------
    Ding, Denain, Steinhardt: Grounding representation similarity through statistical testing. NeurIPS 2021.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 4))
    >>> round(procrustes(x, 7 * x @ np.linalg.qr(rng.normal(size=(4, 4)))[0] + 1), 6)
    1.0
    """
    return nuclear_norm(*(unit_size(layer) for layer in centred_rows({"x": x, "y": y})))[0]


def procrustes_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Distance after the best rotation, from 0 (the same geometry) to √2; keeps the triangle inequality.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        As for `procrustes`, and so are the errors.

    Returns
    -------
    float
        In [0, √2].

    Notes
    -----
    min over rotations R of ‖X − YR‖ = √(2 − 2‖XᵀY‖_*), streams centred and of Frobenius norm 1 (zeros are added to the
    narrower one).

    References
    ----------
    Williams, Kunz, Kornblith, Linderman: Generalized shape metrics on neural representations. NeurIPS 2021.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> procrustes_distance(x, x[:, ::-1]) < 1e-6
    True
    """
    return as_distance(procrustes(x, y))


def unit_size(layer: np.ndarray) -> np.ndarray:
    """A centred layer in the fewest coordinates, of Frobenius norm 1."""
    return compress(layer / np.linalg.norm(layer))


def nuclear_norm(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """‖AᵀB‖_*, twice."""
    value = min(float(np.linalg.svd(a.T @ b, compute_uv=False).sum()), 1.0)
    return value, value


def as_distance(likeness: float | np.ndarray) -> float | np.ndarray:
    """The Procrustes distance of streams whose `procrustes` is `likeness`."""
    distance = np.sqrt(2 - 2 * np.minimum(likeness, 1))
    return float(distance) if np.ndim(distance) == 0 else distance
