"""Latents that are not normal, signals that are not linear, and the large draw that tells what is true of them."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from rgbd_insight.data.latents import Knobs, Net, Plan

IMAGES = 20_000  # independent images of a reference draw: a share of variance is then known to about .005
SPREAD = 0.8  # standard deviation of the logarithm of a sparse latent's size
FAR = 10**9  # keeps the seeds of what is drawn beside the images apart from those of any draw


def sparse_lognormal(normal: np.ndarray, share: float) -> np.ndarray:
    """Sparse log-normal values with mean 0 and variance 1, each an increasing function of a standard normal one.

    Parameters
    ----------
    normal : ndarray
        Standard normal values.
    share : float
        Probability in (0, 1) that something is present; elsewhere the value is the same smallest one.

    Returns
    -------
    ndarray
        Of the same shape.

    Notes
    -----
    Of v = exp(.8 h) where something is present and 0 elsewhere, h standard normal, the mean p exp(.32) and the second
    moment p exp(1.28) are known, p the share.

    Examples
    --------
    >>> sparse_lognormal(np.array([-1.0, 0.0, 1.0, 2.0]), share=0.25).round(2)
    array([-0.39, -0.39,  0.47,  2.9 ])
    """
    size = np.exp(-SPREAD * ndtri(np.minimum(ndtr(-normal) / share, 1)))  # exp(-inf) where nothing is present
    mean, second = share * np.exp(SPREAD**2 / 2), share * np.exp(2 * SPREAD**2)
    return (size - mean) / np.sqrt(second - mean**2)


class Reference:
    """Many independent images of a world's networks without noise, from which shares and covariances are read.

    Parameters
    ----------
    knobs : Knobs
        Of the world.
    seed : int
        Of the world.

    Attributes
    ----------
    latents : ndarray
        (20000, D) independent latents.

    Examples
    --------
    >>> made = Reference(Knobs(relu=True, width=4), seed=0)
    >>> made.signal(("rgb", 0), made.latents).std(0).round(6)
    array([1., 1., 1., 1.])
    """

    def __init__(self, knobs: Knobs, seed: int) -> None:
        self.knobs, self.plan = knobs, Plan(knobs, seed)
        self.moments: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}  # of rectified units
        self.latents = np.random.default_rng([seed, FAR]).normal(size=(IMAGES, self.plan.size))
        if knobs.law == "lognormal":
            self.latents = sparse_lognormal(self.latents, knobs.imbalance)

    @cached_property
    def thresholds(self) -> np.ndarray:
        """(K,) area above which a named concept counts as present, in `imbalance` of the images."""
        areas = self.latents @ self.plan.concepts[:, self.plan.named]
        return np.quantile(areas, 1 - self.knobs.imbalance, axis=0) + 1e-9  # above the value where nothing is present

    def signal(self, net: tuple[str, int], latents: np.ndarray) -> np.ndarray:
        """(N, U) standardised signal of the units of a network (modality, number) for some latents (N, D)."""
        made = self.plan.net(*net)
        if not self.knobs.relu:
            return latents @ made.mixing
        if net not in self.moments:
            own = _rectified(made, self.latents)
            self.moments[net] = own.mean(0), np.maximum(own.std(0), 1e-9)
        mean, deviation = self.moments[net]
        return (_rectified(made, latents) - mean) / deviation


@lru_cache(maxsize=4)
def reference(knobs: Knobs, seed: int) -> Reference:
    """The reference draw of a world, made once for all its draws."""
    return Reference(knobs, seed)


def _rectified(net: Net, latents: np.ndarray) -> np.ndarray:
    return np.maximum(latents @ net.mixing + net.bias, 0)


def sampled_r2(targets: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """(U,) R² in the population of targets (N, U) from inputs (N, P), adjusted for the number of inputs."""
    y, x = (z - z.mean(0) for z in (targets, inputs))
    sizes, vectors = np.linalg.eigh(x.T @ x)
    kept = sizes > 1e-10 * max(sizes.max(initial=0), 1e-300)
    fitted = ((vectors[:, kept].T @ (x.T @ y)) ** 2 / sizes[kept, None]).sum(0)
    total = np.maximum((y**2).sum(0), 1e-300)
    return 1 - (1 - fitted / total) * (len(y) - 1) / (len(y) - 1 - kept.sum())
