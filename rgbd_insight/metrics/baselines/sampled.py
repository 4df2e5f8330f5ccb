"""CKA as it would be of all units, of which a network's are a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.checks import centred_rows
from rgbd_insight.metrics.hsic import Moments, centred_hsic


def sampled_cka(x: ArrayLike, y: ArrayLike) -> float:
    """CKA corrected for sampling of images and of units: what infinitely many units like these would give.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same N ≥ 4 images of two or more units each. The units of x and of y are drawn independently:
        of a stream and itself this is more than 1.

    Returns
    -------
    float
        0 on average for unrelated streams; beyond 1 by chance.

    Raises
    ------
    ValueError
        Where a stream has one unit, is constant, has NaN or too few rows, the lengths differ, or its units have
        nothing in common.

    Notes
    -----
    The population's kernel is K(i, j) = E_u x_iu x_ju. With h(u, v) the unbiased HSIC of two units, its HSIC with
    another kernel is the mean of h over pairs of units, and with itself that over pairs of *different* units: a pair
    of one unit with itself has the unit's noise in it, twice. So the value is a / √(b c) with a = Σ_uv h(x_u, y_v) / UV
    and b = (Σ_uu′ h(x_u, x_u′) − Σ_u h(x_u, x_u)) / (U(U − 1)), c likewise. Numerator and the terms under the root are
    unbiased over images and units (derived here; for the same purpose as Chun et al.); the ratio is not.

    References
    ----------
    Chun, Canatar, Chung, Lee: Estimating neural representation alignment from sparsely sampled inputs and features.
    2025.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> latent = rng.normal(size=(500, 3))
    >>> x, y = (latent @ rng.normal(size=(3, 40)) + 3 * rng.normal(size=(500, 40)) for _ in range(2))
    >>> round(sampled_cka(x, y), 1)  # 0.4 without the correction
    1.0
    """
    pair = centred_rows({"x": x, "y": y})
    for name, side in zip("xy", pair, strict=True):
        if side.shape[1] < 2:
            raise ValueError(f"`{name}` must have at least 2 units, a sample; got {side.shape[1]}. Use `debiased_cka`.")
    whole = Moments.from_rows(*pair).hsic()
    (u, v), own = (side.shape[1] for side in pair), []
    for side, total in zip(pair, np.diag(whole), strict=True):
        squares, units = side**2, side.shape[1]
        power = squares.sum(0)  # (U,)
        alone = centred_hsic(power**2, (squares**2).sum(0), (power, power), len(side)).sum()
        own.append((total - alone) / (units * (units - 1)))
    if min(own) <= 0:
        raise ValueError("`x` and `y` must each have units with something in common; in one each has only its own.")
    return float(whole[0, 1] / (u * v) / np.sqrt(own[0] * own[1]))
