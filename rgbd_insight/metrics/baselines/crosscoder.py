"""A crosscoder: one sparse dictionary of two streams, with features that both may use and features of one alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rgbd_insight.metrics.checks import centred_rows
from rgbd_insight.utils.threads import one_thread

COMPONENTS, SHARED, EXCLUSIVE = 32, 64, 32  # principal components of a stream; features of both, and of each alone
STEPS, BATCH, RATE, SPARSITY = 200, 128, 1e-2, 0.1


@one_thread
def crosscoder_share(x: ArrayLike, y: ArrayLike, *, seed: int = 0) -> float:
    """Share of a dedicated-feature crosscoder's dictionary that both streams use, from 0 to 1.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images.
    seed : int
        Of the weights that it starts from and of the order of the images: the same seed gives the same value.

    Returns
    -------
    float
        In [0, 1]; unrelated streams are above 0, and a stream with itself below 1: nothing forces what both have into
        the shared features.

    Raises
    ------
    ValueError
        Where a stream is constant, has NaN or too few rows, or the lengths differ.

    Notes
    -----
    Features z = ReLU(x A + y B + c) of the 32 leading principal components of the streams, each of total variance 1;
    x̂ = z D, ŷ = z E, where 32 features read and write x alone, 32 y alone, and 64 both. Adam minimises
    ‖x − x̂‖² + ‖y − ŷ‖² + .1 Σ_k z_k (‖D_k‖ + ‖E_k‖), 200 steps of 128 images. With a_k the mean of z_k, the value is
    Σ_k a_k 2 min(‖D_k‖, ‖E_k‖) / Σ_k a_k (‖D_k‖ + ‖E_k‖): a shared feature that writes one stream only counts as its
    own. Unchanged by shift and scale of a stream; not by rotation, as training starts from its components.

    References
    ----------
    Lindsey et al.: Sparse crosscoders for cross-layer features and model diffing. Transformer Circuits 2024.
    Jiralerspong, Bricken: Cross-architecture model diffing with crosscoders. 2026 (dedicated features).

    Examples
    --------
    >>> x, y = np.random.default_rng(0).normal(size=(2, 300, 4))
    >>> crosscoder_share(x, x) > crosscoder_share(x, y)
    True
    """
    sides = [_components(side) for side in centred_rows({"x": x, "y": y})]
    weights = _trained(sides, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        active = _features(weights, *sides).mean(0)  # (K,)
        first, second = (weights[f"write {name}"].norm(dim=0) for name in "xy")
        shared = 2 * torch.minimum(first, second)
        return float((active * shared).sum() / (active * (first + second)).sum().clamp_min(1e-12))


def _components(x: np.ndarray) -> Tensor:
    """(N, d) leading principal components, of total variance 1, the sign of each such that its skew is positive."""
    left, sizes, _ = np.linalg.svd(x, full_matrices=False)
    scores = (left * sizes)[:, : min(COMPONENTS, int((sizes > 1e-10 * sizes[0]).sum()))]
    scores = scores * np.where((scores**3).sum(0) < 0, -1, 1)
    return torch.as_tensor(scores / np.sqrt((scores**2).sum() / len(x)), dtype=torch.float64)


Weights = dict[str, Tensor]


def _masked(weights: Weights) -> Weights:
    """Weights, 0 where a feature does not touch a stream: features of both come first, then those of x, then of y."""
    features = torch.arange(SHARED + 2 * EXCLUSIVE)
    touched = {"x": features < SHARED + EXCLUSIVE, "y": (features < SHARED) | (features >= SHARED + EXCLUSIVE)}
    return {name: w * touched[name[-1]] if name[-1] in touched else w for name, w in weights.items()}


def _features(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """(N, K) activity."""
    return torch.relu(x @ weights["read x"] + y @ weights["read y"] + weights["bias"])


def _trained(sides: list[Tensor], rng: torch.Generator) -> Weights:
    """Weights after training; reading weights start as the writing ones."""
    weights: Weights = {"bias": torch.zeros(SHARED + 2 * EXCLUSIVE, dtype=torch.float64)}
    for name, side in zip("xy", sides, strict=True):
        start = torch.randn(side.shape[1], SHARED + 2 * EXCLUSIVE, generator=rng, dtype=torch.float64)
        start /= start.norm(dim=0)
        weights |= {f"read {name}": start.clone(), f"write {name}": 0.1 * start}
    for weight in weights.values():
        weight.requires_grad_(True)
    optimiser = torch.optim.Adam(weights.values(), lr=RATE)
    order, batch = torch.empty(0, dtype=torch.long), min(BATCH, len(sides[0]))
    for _ in range(STEPS):
        if len(order) < batch:
            order = torch.randperm(len(sides[0]), generator=rng)
        rows, order = order[:batch], order[batch:]
        x, y = (side[rows] for side in sides)
        masked = _masked(weights)
        z, first, second = _features(masked, x, y), masked["write x"], masked["write y"]
        errors = ((x - z @ first.T) ** 2).sum(1) + ((y - z @ second.T) ** 2).sum(1)
        sparse = z @ (first.norm(dim=0) + second.norm(dim=0))
        loss = (errors + SPARSITY * sparse).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return _masked(weights)
