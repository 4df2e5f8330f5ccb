"""What dissection asks of maps and concepts."""

from __future__ import annotations

import torch
from torch import Tensor


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
