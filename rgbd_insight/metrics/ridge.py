"""Ridge regression from sums of products: principal components, how much of each is kept, and the weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.linalg import eigh

SMALL = 256  # columns up to which all eigenvectors are found sooner than some (measured on one thread)


def leading(symmetric: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest eigenvalues (count,), ascending, and their eigenvectors (n, count); all where n is less.

    Examples
    --------
    >>> values, vectors = leading(np.diag([3.0, 1.0, 2.0]), 2)
    >>> values.tolist(), np.abs(vectors).tolist()
    ([2.0, 3.0], [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    """
    first = max(len(symmetric) - count, 0)
    if len(symmetric) <= SMALL:  # by torch, whose library needs two thirds of numpy's time
        return tuple(part.numpy()[..., first:] for part in torch.linalg.eigh(torch.from_numpy(symmetric)))
    return eigh(symmetric, subset_by_index=[first, len(symmetric) - 1], check_finite=False)


def shrinkage(values: np.ndarray, penalty: ArrayLike, count: int | None = None) -> np.ndarray:
    """What cross-products with principal components are multiplied by in ridge regression: 1 / (λ + penalty · mean λ).

    Parameters
    ----------
    values : array (..., d)
        Eigenvalues λ of the components; negative ones are rounding and count as 0.
    penalty : float or array (A,)
        As a share of the components' mean eigenvalue, > 0.
    count : int, optional
        Number of components that the mean is over, where those that are 0 were not computed; default d.

    Returns
    -------
    array (..., d) or (..., A, d)
        0 where no component has any variance: what is to be predicted is then predicted by its mean.

    Examples
    --------
    >>> shrinkage(np.array([1.0, 3.0]), [0.5, 1.0])
    array([[0.5       , 0.25      ],
           [0.33333333, 0.2       ]])
    """
    values = np.maximum(values, 0)
    mean = values.sum(-1) / (values.shape[-1] if count is None else count)  # (...)
    if np.ndim(penalty):
        values, mean = values[..., None, :], mean[..., None]
    total = values + (penalty * mean)[..., None]
    return 1 / np.where(total > 0, total, np.inf)


def _component_ridge(products: np.ndarray, cross: np.ndarray, count: int, penalty: float) -> np.ndarray:
    """Weights (U, V) of ridge regression on the `count` leading principal components.

    Parameters
    ----------
    products : array (U, U)
        Covariance of the inputs. Or, where there are fewer rows than inputs, inner products (n, n) of the centred rows.
    cross : array (U, V)
        Covariance of inputs and targets. Or the centred targets (n, V): weights are then those of the rows, so that
        Xᵀ times them are those of the inputs.
    count : int
        Number of components, at most that of the inputs.
    penalty : float
        As a share of the components' mean variance.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 6))
    >>> y = x[:, :1]
    >>> by_inputs = _component_ridge(x.T @ x, x.T @ y, 3, 0.1)
    >>> bool(np.allclose(by_inputs, x.T @ _component_ridge(x @ x.T, y, 3, 0.1)))
    True
    """
    values, vectors = leading(products, count)
    return vectors @ (shrinkage(values, penalty, count)[:, None] * (vectors.T @ cross))


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Weights (U, V) of ridge regression of centred y (n, V) on centred x (n, U), on all components.

    Parameters
    ----------
    x, y : array (n, U), array (n, V)
        Centred. Whichever is fewer, rows or inputs, decides the size of the system that is solved.
    penalty : float
        As a share of a variance of 1, which the columns of x should have.

    Examples
    --------
    >>> x = np.array([[-1.0], [1.0]])
    >>> ridge(x, 3 * x, 0.5)
    array([[2.]])
    """
    n, units = x.shape
    if n < units:
        return x.T @ np.linalg.solve(x @ x.T + penalty * n * np.eye(n), y)
    return np.linalg.solve(x.T @ x + penalty * n * np.eye(units), x.T @ y)


LEAST = 1e-12  # variance up to which a column is constant


def deviations(variance: np.ndarray) -> np.ndarray:
    """Standard deviations; infinite for constant columns, which thus become 0 where they are divided by it."""
    return np.where(variance > LEAST, np.sqrt(np.maximum(variance, LEAST)), np.inf)


PROBE = 1e-2  # penalty of a probe
FEW = 0.7  # rows a unit below which their inner products are the smaller eigenproblem


def probe_fitter(
    x: np.ndarray, y: np.ndarray, left: np.ndarray, right: np.ndarray, train: np.ndarray, components: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Weights (U, K) of the probe that is fitted to the training rows but for some, by the quicker of two ways.

    Parameters
    ----------
    x, y : array (n, U), array (n, K)
        Responses and targets.
    left, right : array (n, 1 + U), array (n, 1 + U + K)
        [1 | x] and [1 | x | y], of which sums of products are taken.
    train : array of bool (n,)
        Training rows.
    components : int
        Principal components given to the probe, at most.

    Returns
    -------
    fit(gone)
        Function of rows (n,) of bool that are left out.
    """
    if train.sum() < FEW * x.shape[1]:
        return lambda gone: weights_of_few(x[train & ~gone], y[train & ~gone], components)
    total = left[train].T @ right[train]

    def fit(gone: np.ndarray) -> np.ndarray:
        out = train & gone
        return probe_weights(total - left[out].T @ right[out] if out.any() else total, components)

    return fit


def weights_of_few(x: np.ndarray, y: np.ndarray, components: int) -> np.ndarray:
    """As `probe_weights`, from fewer rows (n, U) than units: the inner products of n rows have the same eigenvalues."""
    z = x - x.mean(0)
    scale = deviations((z**2).mean(0))
    z = z / scale / np.sqrt(len(x))  # (n, U), and z.T @ z is the correlation of the units
    targets = (y - y.mean(0)) / np.sqrt(len(x))
    return z.T @ _component_ridge(z @ z.T, targets, min(components, x.shape[1]), PROBE) / scale[:, None]


def probe_weights(moments: np.ndarray, components: int) -> np.ndarray:
    """Weights (U, K) of the ridge probe on principal components, from sums of products (1 + U, 1 + U + K)."""
    units = len(moments) - 1
    moments = moments / moments[0, 0]
    covariance = moments[1:, 1:] - np.outer(moments[1:, 0], moments[0, 1:])  # (U, U + K)
    scale = deviations(np.diag(covariance))  # a constant unit gets no weight
    covariance /= scale[:, None]
    correlation = covariance[:, :units] / scale  # (U, U)
    return _component_ridge(correlation, covariance[:, units:], min(components, units), PROBE) / scale[:, None]
