"""What every measure asks of its input, with messages that say how to mend it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rgbd_insight.utils.messages import Constant, TooFew


def check_shape(x: ArrayLike, name: str = "x", least: int = 4) -> np.ndarray:
    """`x` as an (N, U) array of at least `least` rows of real numbers, or a ValueError that says what to do."""
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(
            f"`{name}` must be (images, units); got shape {x.shape}. Flatten maps with {name}.reshape(len({name}), -1)."
        )
    if len(x) < least:
        raise TooFew(f"`{name}` must have at least {least} images; got {len(x)}. Pass more images.")
    if np.iscomplexobj(x):
        raise ValueError(f"`{name}` must be real numbers; got complex ones. Take their real part, or their size.")
    return x


def check_rows(x: ArrayLike, name: str = "x", least: int = 4) -> np.ndarray:
    """`x` as a finite float64 (N, U) array of at least `least` rows, or a ValueError that says what to do."""
    x = check_shape(x, name, least).astype(np.float64)  # (N, U), a copy
    if not np.isfinite(x).all():
        row, unit = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(
            f"`{name}` must be finite; got {x[row, unit]} at image {row}, unit {unit}. Drop that image from every "
            "stream, or find out why the network produced it."
        )
    return x


def check_lengths(**arrays: np.ndarray) -> int:
    """The common length of `arrays`, or a ValueError that names the two that differ."""
    (first, reference), *others = arrays.items()
    for name, other in others:
        if len(other) != len(reference):
            raise ValueError(
                f"`{name}` must have one row for each of the {len(reference)} rows of `{first}`; got {len(other)}. "
                "Pair the rows by sample id."
            )
    return len(reference)


def from_first_row(x: np.ndarray) -> np.ndarray:
    """`x` (N, U) minus its first row: constant units become exactly 0, and large offsets cost no digits later."""
    return x - x[:1]


def varying_rows(streams: Mapping[str, ArrayLike]) -> list[np.ndarray]:
    """The streams, by name, checked, of one length and counted from their first row; each must vary."""
    checked = {name: check_rows(stream, name) for name, stream in streams.items()}
    check_lengths(**checked)
    found = {name: from_first_row(stream) for name, stream in checked.items()}
    for name, stream in found.items():
        if not stream.any():
            raise Constant(f"`{name}` must vary over the images; it is constant. Leave this tap out.")
    return list(found.values())


def centred_rows(streams: Mapping[str, ArrayLike]) -> list[np.ndarray]:
    """`varying_rows` as deviations from their means."""
    return [stream - stream.mean(0) for stream in varying_rows(streams)]


def compress(x: np.ndarray) -> np.ndarray:
    """Coordinates (N, min(N, U)) with the same inner products between rows as `x`, for streams wider than long."""
    # QR of the transpose: x = (QR).T = R.T Q.T and Q only rotates. Unlike an eigendecomposition of the Gram matrix it
    # does not square the condition number.
    return x if x.shape[1] <= len(x) else np.linalg.qr(x.T, mode="r").T


def checked_maps(maps: Tensor) -> Tensor:
    """`maps` as a contiguous (N, U, h, w) tensor of float32 or float64, or a ValueError that says what to do."""
    maps = torch.as_tensor(maps)
    if maps.ndim != 4 or 0 in maps.shape:
        raise ValueError(f"`maps` must be (images, units, h, w); got shape {tuple(maps.shape)}. Don't pool them first.")
    maps = maps.detach().to(maps.dtype if maps.dtype == torch.float64 else torch.float32).contiguous()
    if not bool(torch.isfinite(maps.sum())) and not bool(torch.isfinite(maps).all()):
        image, unit = torch.argwhere(~torch.isfinite(maps))[0, :2].tolist()
        raise ValueError(f"`maps` must be finite; got NaN or infinity at image {image}, unit {unit}. Leave it out.")
    return maps


def checked_concepts(concepts: Tensor, maps: Tensor, count: int) -> Tensor:
    """`concepts` (N, F, H, W) on the device of the maps, or a ValueError that says what to do."""
    concepts = torch.as_tensor(concepts).to(maps.device)
    if concepts.ndim != 4 or len(concepts) != len(maps) or concepts.is_floating_point():
        raise ValueError(
            f"`concepts` must be whole numbers of shape ({len(maps)}, planes, H, W); got {concepts.dtype} "
            f"{tuple(concepts.shape)}. Give one plane as labels[:, None]."
        )
    low, high = (int(v) for v in torch.aminmax(concepts))
    if low < -1 or high >= count:
        raise ValueError(f"`concepts` must be −1 (none) to {count - 1}; got {low} to {high}. Check `count`.")
    return concepts if concepts.dtype.is_signed else concepts.to(torch.int16)


def are_all(rows: np.ndarray, partner: np.ndarray, n: int) -> bool:
    """Whether rows and partners are all `n` rows in their order: then what is known of the whole will do.

    Examples
    --------
    >>> are_all(np.arange(3), np.arange(3), 3), are_all(np.arange(3), np.array([1, 0, 2]), 3)
    (True, False)
    """
    every = np.arange(n)
    return np.array_equal(rows, every) and np.array_equal(partner, every)
