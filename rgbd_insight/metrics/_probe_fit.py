"""How a linear probe is fitted: ridge regression on the leading principal components of standardised responses."""

from collections.abc import Callable

import numpy as np

from rgbd_insight.metrics._eigen import leading

PENALTY = 1e-2  # of the mean variance of the principal components that the probe is given
FEW = 0.7  # rows a unit below which their inner products are the smaller eigenproblem


def fitter(
    x: np.ndarray, y: np.ndarray, left: np.ndarray, right: np.ndarray, train: np.ndarray, components: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Weights (U, K) of the probe that is fitted to the training rows but for some, by the quicker of two ways."""
    if train.sum() < FEW * x.shape[1]:
        return lambda gone: weights_of_few(x[train & ~gone], y[train & ~gone], components)
    total = left[train].T @ right[train]

    def fit(gone: np.ndarray) -> np.ndarray:
        out = train & gone
        return weights(total - left[out].T @ right[out] if out.any() else total, components)

    return fit


def weights_of_few(x: np.ndarray, y: np.ndarray, components: int) -> np.ndarray:
    """As `_weights`, from fewer rows (n, U) than units: the inner products of n rows have the same eigenvalues."""
    z = x - x.mean(0)
    scale = np.sqrt((z**2).mean(0))
    scale = np.where(scale**2 > 1e-12, scale, np.inf)
    z = z / scale / np.sqrt(len(x))  # (n, U), and z.T @ z is the correlation of the units
    values, vectors = leading(z @ z.T, min(components, x.shape[1]))
    values = np.maximum(values, 0)
    told = vectors.T @ (y - y.mean(0)) / np.sqrt(len(x))  # (components, K)
    mean = values.sum() / min(components, x.shape[1])  # where there are fewer rows than components, the rest is 0
    shrunk = told / (values + PENALTY * max(mean, 1e-300))[:, None]
    return z.T @ (vectors @ shrunk) / scale[:, None]


def weights(moments: np.ndarray, components: int) -> np.ndarray:
    """Weights (U, K) of the ridge probe on principal components, from sums of products (1 + U, 1 + U + K)."""
    units = len(moments) - 1
    moments = moments / moments[0, 0]
    covariance = moments[1:, 1:] - np.outer(moments[1:, 0], moments[0, 1:])  # (U, U + K)
    variance = np.diag(covariance)
    scale = np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 1e-12)), np.inf)  # a constant unit gets no weight
    correlation = covariance[:, :units] / scale[:, None] / scale  # (U, U)
    values, vectors = leading(correlation, components)
    values = np.maximum(values, 0)
    shrunk = vectors / (values + PENALTY * max(values.mean(), 1e-300))
    return shrunk @ (vectors.T @ (covariance[:, units:] / scale[:, None])) / scale[:, None]
