"""Debiased CKA of every level with every level at once, from features in memory, in the precision that they come in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rgbd_insight.metrics.checks import check_lengths
from rgbd_insight.metrics.moments import unbiased_hsic
from rgbd_insight.utils.threads import in_threads

ROWS = 64  # rows of the Gram matrices that are made together


def cka_matrix(first: Sequence[ArrayLike | Tensor], second: Sequence[ArrayLike | Tensor] | None = None) -> np.ndarray:
    """Debiased CKA of every level with every level: 1 for the same up to rotation and scale, 0 on average by chance.

    Parameters
    ----------
    first, second : levels, each (N, U) over the same N ≥ 4 images, arrays or tensors on any device; without `second`,
        `first` is compared with itself. Products are taken in the precision of the levels (float32 errs by about
        1e-8), sums in float64; no copy of all levels in float64 is made.

    Returns
    -------
    float64 (L, M); NaN never.

    Raises
    ------
    ValueError
        Where a level is constant or has no more than chance variance, has NaN or too few rows, or the lengths differ.

    Notes
    -----
    The measure is `debiased_cka`. ‖XᵀY‖² is taken from the units' cross-products or from the images' inner
    products, whichever costs less for these widths; each pair once.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton: Similarity of neural network representations revisited. ICML 2019.
    Song et al. 2012 (see `moments.unbiased_hsic`).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> cka_matrix([x, x**2], [x]).round(2)
    array([[1.  ],
           [0.12]])
    """
    count, other = len(first), [] if second is None else list(second)
    names = [f"first[{i}]" for i in range(count)] + [f"second[{i}]" for i in range(len(other))]
    named = list(zip([*first, *other], names, strict=True))
    device = next((level.device for level, _ in named if isinstance(level, Tensor)), torch.device("cpu"))
    levels = in_threads(lambda pair: _centred(*pair), named, device)
    check_lengths(**dict(zip(names, levels, strict=True)))
    if len({level.dtype for level in levels}) > 1:
        levels = [level.double() for level in levels]
    n, widths = len(levels[0]), np.array([level.shape[1] for level in levels])
    pairs = n * (widths.sum() ** 2 + (widths**2).sum())  # operations on pairs of units …
    images = n**2 * (2 * widths.sum() + len(levels) ** 2)  # … and of images
    cross = _by_units(levels) if pairs <= images else _by_images(levels)  # (L, L)
    lengths = in_threads(lambda level: level.square().sum(1, dtype=torch.float64), levels, device)
    lengths = torch.stack(lengths, 1)  # (N, L)
    traces = lengths.sum(0).cpu().numpy()
    hsic = unbiased_hsic(cross, (lengths.T @ lengths).cpu().numpy(), (traces[:, None], traces), n)
    own = np.diag(hsic)
    for name, value, trace in zip(names, own, traces, strict=True):
        if not value > 1e-12 * (trace / n) ** 2:
            raise ValueError(f"`{name}` must have more than chance variance; its images are equidistant. Pass more.")
    whole = hsic / np.sqrt(np.outer(own, own))
    return whole if second is None else whole[:count, count:]


def _centred(level: ArrayLike | Tensor, name: str) -> Tensor:
    """(N, U) deviations from the mean, scaled to be of the order of 1, float32 or float64 as they came."""
    x = level.detach() if isinstance(level, Tensor) else torch.as_tensor(np.asarray(level))
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"`{name}` must be (images, units); got shape {tuple(x.shape)}. Flatten maps first.")
    if len(x) < 4:
        raise ValueError(f"`{name}` must have at least 4 images; got {len(x)}. Pass more images.")
    dtype = torch.float32 if x.dtype in (torch.float32, torch.float16, torch.bfloat16) else torch.float64
    wide = x.double() - x[:1].double()  # the only copy in float64, of one level
    wide -= wide.mean(0)
    size = wide.square().mean().sqrt()
    if not bool(torch.isfinite(size)):
        raise ValueError(f"`{name}` must be finite; got NaN or infinity. Drop such images from every stream.")
    if not bool(size > 0):
        raise ValueError(f"`{name}` must vary over the images; it is constant. Leave this tap out.")
    return (wide / size).to(dtype)


def _by_units(levels: list[Tensor]) -> np.ndarray:
    """‖XᵀY‖² (L, L) from cross-products of units."""
    count = len(levels)
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    pairs.sort(key=lambda pair: -levels[pair[0]].shape[1] * levels[pair[1]].shape[1])  # the longest first
    cross = np.empty((count, count))

    def fill(pair: tuple[int, int]) -> None:
        i, j = pair
        product = levels[i].T @ levels[j]  # (U, V)
        cross[i, j] = cross[j, i] = float(product.square_().sum(dtype=torch.float64))

    in_threads(fill, pairs, levels[0].device)
    return cross


def _by_images(levels: list[Tensor]) -> np.ndarray:
    """‖XᵀY‖² = Σ_ij K_ij L_ij (L, L) from inner products of images, some rows at a time."""
    n = len(levels[0])

    def block(start: int) -> Tensor:
        stop = min(start + ROWS, n)
        rows = torch.stack([level[start:stop] @ level[start:].T for level in levels], 1)  # (rows, L, n − start)
        square = rows[..., : stop - start]  # on the diagonal: counted once, all to the right of it twice
        whole, once = (torch.bmm(k, k.transpose(1, 2)).sum(0, dtype=torch.float64) for k in (rows, square))
        return 2 * whole - once

    return sum(in_threads(block, range(0, n, ROWS), levels[0].device)).cpu().numpy()
