"""Network dissection: how well the pixels that a unit is most active at cover the pixels of a concept, exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor

import numpy as np
import torch
from torch import Tensor

from rgbd_insight.metrics.checks import checked_concepts, checked_maps
from rgbd_insight.utils.threads import in_threads

TOP = 0.005  # share of a unit's responses that counts as active
CHUNK = 4_000_000  # values of the maps that are looked at together


@dataclass(frozen=True, eq=False)
class TopValues:
    """The largest responses of every unit: a state that adds, for thresholds that are exact whatever the batches.

    Attributes
    ----------
    largest : Tensor (U, ≤ kept)
        The largest responses so far, the largest first.
    n : int
        Responses of each unit so far.
    kept : int
        How many are kept; enough for `top` of all responses that were announced.
    top : float
        Share of the responses that shall lie above the threshold.

    Examples
    --------
    >>> maps = torch.rand(6, 2, 10, 10, generator=torch.Generator().manual_seed(0))
    >>> parts = [TopValues.from_maps(part, positions=600) for part in maps.split(4)]
    >>> threshold = (parts[0] + parts[1]).thresholds()
    >>> (maps > threshold[:, None, None]).sum((0, 2, 3)).tolist()  # .005 of 600
    [3, 3]
    """

    largest: Tensor
    n: int
    kept: int
    top: float

    @classmethod
    def from_maps(cls, maps: Tensor, positions: int | None = None, top: float = TOP) -> TopValues:
        """The state of `maps` (N, U, h, w).

        Parameters
        ----------
        maps : Tensor (N, U, h, w)
            Responses; finite.
        positions : int, optional
            Responses of each unit in all the states that will be added, images x h x w; default: these alone.
        top : float
            Share in (0, 1).

        Raises
        ------
        ValueError
            Where `maps` are not as described or `top` is not a share.
        """
        maps = checked_maps(maps)
        if not 0 < top < 1:
            raise ValueError(f"`top` must be a share in (0, 1); got {top}. For the top half per cent, pass 0.005.")
        n = len(maps) * maps.shape[2] * maps.shape[3]
        kept = floor(top * (positions or n) + 1e-9) + 1  # .005 of 600 is 3, whatever the rounding
        step = max(1, CHUNK // n)

        def largest(start: int) -> Tensor:
            rows = maps[:, start : start + step].transpose(0, 1).flatten(1)  # (units, n)
            return rows.topk(min(kept, n)).values

        return cls(torch.cat(in_threads(largest, range(0, maps.shape[1], step), maps.device)), n, kept, top)

    def __add__(self, other: TopValues) -> TopValues:
        if (self.kept, self.top, len(self.largest)) != (other.kept, other.top, len(other.largest)):
            raise ValueError(
                f"`other` must have {len(self.largest)} units, top={self.top} and the same `positions`; got "
                f"{len(other.largest)} units, top={other.top}. Make every state with the same `positions`."
            )
        both = torch.cat([self.largest, other.largest], 1)  # (U, ≤ 2 kept)
        return TopValues(both.topk(min(self.kept, both.shape[1])).values, self.n + other.n, self.kept, self.top)

    def thresholds(self) -> Tensor:
        """(U,) the value that ⌊top·n⌋ responses of the unit exceed (fewer where several equal it).

        Raises
        ------
        ValueError
            Where more responses were added than announced.
        """
        above = floor(self.top * self.n + 1e-9)
        if above >= self.kept:
            raise ValueError(f"`positions` must announce all {self.n} responses of a unit; fewer were. Start anew.")
        return self.largest[:, above]


@dataclass(frozen=True, eq=False)
class Overlap:
    """Pixels of units and concepts, and of both: integer sums that add and subtract.

    Attributes
    ----------
    both : Tensor of int (U, K)
        Pixels at which the unit is active and the concept present.
    unit : Tensor of int (U,)
        Pixels at which the unit is active.
    concept : Tensor of int (K,)
        Pixels of the concept.

    Examples
    --------
    >>> maps = torch.tensor([[[[0.0, 1.0]]]])
    >>> overlap = Overlap.from_maps(maps, torch.tensor([0.5]), torch.tensor([[[[-1, -1, 0, 0]]]]), count=1)
    >>> overlap.iou().tolist()
    [[1.0]]
    """

    both: Tensor
    unit: Tensor
    concept: Tensor

    @classmethod
    def from_maps(cls, maps: Tensor, thresholds: Tensor, concepts: Tensor, count: int) -> Overlap:
        """The state of some images.

        Parameters
        ----------
        maps : Tensor (N, U, h, w)
            Responses.
        thresholds : Tensor (U,)
            From `TopValues`.
        concepts : Tensor of int (N, F, H, W)
            One plane a family; 0…count − 1, −1 where none; a concept is in one plane only.
        count : int
            Number of concepts K.

        Raises
        ------
        ValueError
            Where shapes or values are not as described.
        """
        maps = checked_maps(maps)
        concepts = checked_concepts(concepts, maps, count)
        units, step = maps.shape[1], max(1, CHUNK // maps[0].numel())

        def some(start: int) -> Overlap:
            part, labels = maps[start : start + step], concepts[start : start + step]
            pixels = active_pixels(part, thresholds, tuple(labels.shape[-2:]))
            both = _meet(pixels, pixels.image, _labels(labels), units, count)
            return cls(both, torch.bincount(pixels.unit, minlength=units), _sizes(labels, count).sum(0))

        first, *rest = in_threads(some, range(0, len(maps), step), maps.device)
        return sum(rest, first)

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.both + other.both, self.unit + other.unit, self.concept + other.concept)

    def __sub__(self, other: Overlap) -> Overlap:
        return Overlap(self.both - other.both, self.unit - other.unit, self.concept - other.concept)

    def iou(self) -> Tensor:
        """(U, K) intersection over union in [0, 1]; 0 also where neither the unit nor the concept has a pixel."""
        union = self.unit[:, None] + self.concept - self.both
        return self.both.double() / union.clamp(min=1)


def dissect(maps: Tensor, concepts: Tensor, count: int, top: float = TOP) -> Tensor:
    """Intersection over union, in [0, 1], of every unit's most active pixels with every concept's pixels.

    Parameters
    ----------
    maps : Tensor (N, U, h, w)
        Responses to N images.
    concepts : Tensor of int (N, F, H, W)
        One plane a family; 0…count − 1, −1 where none; a concept is in one plane only.
    count : int
        Number of concepts K.
    top : float
        Share of each unit's responses that counts as active.

    Returns
    -------
    Tensor (U, K)
        float64, in [0, 1], on the device of `maps`.

    Raises
    ------
    ValueError
        Where shapes or values are not as described.

    Notes
    -----
    A pixel is active where the map, enlarged bilinearly to (H, W) with its edges continued outwards, exceeds the
    (⌊top·n⌋ + 1)-th largest of the unit's n responses. For more images than fit, add `TopValues`, then `Overlap`.

    References
    ----------
    Bau, Zhou, Khosla, Oliva, Torralba: Network dissection. CVPR 2017.

    Examples
    --------
    >>> maps = torch.zeros(1, 1, 4, 4)
    >>> maps[0, 0, 1, 2] = 1
    >>> concepts = torch.where(maps.repeat_interleave(2, 2).repeat_interleave(2, 3) > 0, 0, -1)
    >>> dissect(maps, concepts, count=1, top=1 / 16).round(decimals=2).tolist()  # the peak spreads over 4 x 4 pixels
    [[0.25]]
    """
    return Overlap.from_maps(maps, TopValues.from_maps(maps, top=top).thresholds(), concepts, count).iou()


def iou_statistic(
    maps: Tensor, thresholds: Tensor, concepts: Tensor, count: int
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The IoU of every unit and concept as a function of the images and of those that the labels are taken from.

    For `stats.estimate`: whether a unit covers a concept better than chance is judged by permuting whole scenes (with
    `stats.max_p` over the concepts), not by a fixed IoU. Parameters and errors are those of `Overlap.from_maps`;
    thresholds stay those of all images. Active pixels are found once.

    Returns
    -------
    statistic(rows, partner)
        Gives (U, K); no image may occur twice in `rows`.

    Examples
    --------
    >>> maps = torch.rand(8, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> concepts = torch.where(maps[:, :1] > 0.9, 0, -1)
    >>> statistic = iou_statistic(maps, torch.tensor([0.9, 0.9]), concepts, count=1)
    >>> statistic(np.arange(8), np.arange(8)).round(2).ravel()
    array([1., 0.])
    """
    maps = checked_maps(maps)
    concepts = checked_concepts(concepts, maps, count)
    n, units = maps.shape[:2]
    pixels = active_pixels(maps, thresholds, tuple(concepts.shape[-2:]))
    active = torch.bincount(pixels.image * units + pixels.unit, minlength=n * units).reshape(n, units)
    labels, sizes = _labels(concepts), _sizes(concepts, count)

    def statistic(rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        rows, partner = (torch.as_tensor(a, device=maps.device) for a in (rows, partner))
        source = torch.full((n,), -1, device=maps.device).index_copy(0, rows, partner)  # (N,) whose labels
        at, chosen = source[pixels.image], pixels
        if len(rows) < n:
            used = at >= 0
            at, chosen = at[used], Pixels(pixels.image[used], pixels.unit[used], pixels.pixel[used])
        both = _meet(chosen, at, labels, units, count)
        return Overlap(both, active[rows].sum(0), sizes[partner].sum(0)).iou().cpu().numpy()

    return statistic


def _labels(concepts: Tensor) -> Tensor:
    """Concepts (N, H·W, F) counted from 1, 0 where none, the planes of a pixel side by side."""
    return (concepts.flatten(2).transpose(1, 2) + 1).contiguous()


def _meet(pixels: Pixels, image: Tensor, labels: Tensor, units: int, count: int) -> Tensor:
    """Pixels (U, K) of each unit on each concept, the labels taken from `image` (P,)."""
    found = labels.flatten(0, 1)[image * labels.shape[1] + pixels.pixel]  # (P, F)
    codes = pixels.unit[:, None] * (count + 1) + found
    return torch.bincount(codes.flatten(), minlength=units * (count + 1)).reshape(units, count + 1)[:, 1:]


def _sizes(concepts: Tensor, count: int) -> Tensor:
    """Pixels (N, K) of each concept in each image."""
    n = len(concepts)
    codes = torch.arange(n, device=concepts.device)[:, None] * (count + 1) + concepts.flatten(1) + 1
    return torch.bincount(codes.flatten(), minlength=n * (count + 1)).reshape(n, count + 1)[:, 1:]


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
    maps : Tensor (N, U, h, w)
        Responses.
    thresholds : Tensor (U,)
        One a unit.
    size : pair of int
        (H, W) that the maps are enlarged to, as `interpolate(mode="bilinear", align_corners=False)` does: what lies
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
