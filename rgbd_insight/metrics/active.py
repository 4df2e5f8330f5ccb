"""Where a bilinearly enlarged map is above its threshold, without enlarging it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rgbd_insight.utils.threads import in_threads

CHUNK = 4_000_000  # values of the maps that are looked at together


@dataclass(frozen=True, eq=False)
class Pixels:
    """A list of P pixels: of which image, under which unit, and which pixel of the image (row by row)."""

    image: Tensor
    unit: Tensor
    pixel: Tensor


def active_pixels(maps: Tensor, thresholds: Tensor, size: tuple[int, int]) -> Pixels:
    """The pixels of the enlarged `maps` that are above their unit's threshold, images in order.

    Parameters
    ----------
    maps : (N, U, h, w).
    thresholds : (U,).
    size : (H, W) that the maps are enlarged to, as `interpolate(mode="bilinear", align_corners=False)` does: what lies
        outside the outermost centres has the value of the nearest edge.

    Notes
    -----
    A bilinear value is a mean of its cell's four corners, so it exceeds the threshold only where a corner does; other
    cells, and in the rest the rows without such an end, are left out. In float64: products of float32 values with
    weights of an enlargement by a power of two are exact, so no pixel is counted wrongly by rounding.
    """
    step = max(1, CHUNK // max(1, maps[:1].numel()))
    axes = [_axis(few, many, maps.device) for few, many in zip(maps.shape[-2:], size, strict=True)]
    thresholds = thresholds.to(maps)

    def chunk(start: int) -> tuple[Tensor, ...]:
        return _chunk(maps[start : start + step], thresholds, axes, size[1], start)

    parts = in_threads(chunk, range(0, len(maps), step), maps.device)
    return Pixels(*(torch.cat(part) for part in zip(*parts, strict=True)))


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis of the enlargement: cell i of few + 1 lies between the centres i − 1 and i, at the ends beyond them."""

    first: Tensor  # (few + 1,) first pixel of the cell
    count: Tensor  # (few + 1,) pixels in the cell
    weight: Tensor  # (few + 1 or 1, most) weight of the farther centre, float64; one row where all cells are alike


def _axis(few: int, many: int, device: torch.device) -> _Axis:
    place = (torch.arange(many, dtype=torch.float64) + 0.5) * few / many + 0.5  # in cells
    cell = place.floor().long()  # 0…few
    count = torch.bincount(cell, minlength=few + 1)
    first = count.cumsum(0) - count
    pixel = first[:, None] + torch.arange(int(count.max()))  # (few + 1, most)
    weight = (place[pixel.clamp(max=many - 1)] - torch.arange(few + 1)[:, None]).clamp(0, 1)
    inner = weight[1:-1]
    if few > 1 and bool((inner == inner[:1]).all()):  # both centres of the outermost cells are one: any weight will do
        weight = inner[:1]
    return _Axis(first.to(device), count.to(device), weight.to(device))


def _chunk(maps: Tensor, thresholds: Tensor, axes: list[_Axis], width: int, offset: int) -> tuple[Tensor, ...]:
    """(image, unit, pixel) of some of the images, the first of which is number `offset`."""
    units, h, w = maps.shape[1:]
    cell = _touched(maps, thresholds)  # (L,)
    index, place = cell // ((h + 1) * (w + 1)), cell % ((h + 1) * (w + 1))
    i, j = place // (w + 1), place % (w + 1)
    unit = index % units
    columns = (j - 1).clamp(min=0), j.clamp(max=w - 1)
    flat, limit = maps.reshape(-1), thresholds.double()[unit]
    upper, lower = (index * (h * w) + k * w for k in ((i - 1).clamp(min=0), i.clamp(max=h - 1)))
    left, right = (_between(flat[upper + c], flat[lower + c], axes[0], i) for c in columns)  # (L, m)
    kept, r = torch.nonzero(torch.maximum(left, right) > limit[:, None], as_tuple=True)
    inside = r < axes[0].count[i[kept]]
    kept, r = kept[inside], r[inside]  # (R,) rows of cells
    row, c = torch.nonzero(_between(left[kept, r], right[kept, r], axes[1], j[kept]) > limit[kept, None], as_tuple=True)
    inside = c < axes[1].count[j[kept]][row]
    row, c = row[inside], c[inside]  # (P,) pixels
    start = (axes[0].first[i[kept]] + r) * width + axes[1].first[j[kept]]  # (R,) first pixel of the row in the cell
    return (index // units)[kept][row] + offset, unit[kept][row], start[row] + c


def _between(near: Tensor, far: Tensor, axis: _Axis, cell: Tensor) -> Tensor:
    """Values (L, m) between two ends (L,) of their cells along an axis."""
    near, far = near.double()[:, None], far.double()[:, None]
    return torch.addcmul(near, far - near, axis.weight if len(axis.weight) == 1 else axis.weight[cell])


def _touched(maps: Tensor, thresholds: Tensor) -> Tensor:
    """Numbers (L,), in an array (N, U, h + 1, w + 1), of the cells with a corner above."""
    n, units, h, w = maps.shape
    above = maps.new_zeros((n, units, h + 1, w + 1), dtype=torch.bool)  # a row and a column of False part the maps
    torch.gt(maps, thresholds[:, None, None], out=above[..., :h, :w])
    for step in (1, w + 1):
        flat = above.reshape(-1)
        above = flat.clone()
        above[step:] |= flat[:-step]
    return torch.nonzero(above)[:, 0]
