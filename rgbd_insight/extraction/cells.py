"""Responses at cells: maps pooled over the cells of one grid, and what lies in the cells that are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rgbd_insight.data import Batch
from rgbd_insight.features import cell_blocks, choose_cells, choose_units
from rgbd_insight.hooks import Tap

Reduce = Callable[[Tensor], Tensor]


def pooled(maps: Tensor) -> Tensor:
    """Means (B, U) of maps (B, U, h, w) over the positions, float64, where the maps are."""
    maps = maps.cpu() if maps.device.type == "mps" else maps  # which knows no float64
    return maps.flatten(2).mean(-1, dtype=torch.float64)


def area_pooled(maps: Tensor, grid: Sequence[int]) -> Tensor:
    """Means over the area of each cell of a grid that covers the maps, which need not divide them.

    Parameters
    ----------
    maps : Tensor (B, U, h, w)
        Any responses.
    grid : sequence of int
        Rows and columns of the grid.

    Returns
    -------
    Tensor (B, U, rows, columns)

    Notes
    -----
    A position that lies in two cells counts in each by the share of its area there.

    Examples
    --------
    >>> area_pooled(torch.tensor([[[[1.5, 3.0, 6.0]]]]), (1, 2)).tolist()  # (1.5 + 3 / 2) / 1.5, (3 / 2 + 6) / 1.5
    [[[[2.0, 5.0]]]]
    """
    (h, w), (rows, columns) = maps.shape[-2:], grid
    if (h, w) == (rows, columns):
        return maps
    if h % rows == 0 and w % columns == 0:
        return F.avg_pool2d(maps, (h // rows, w // columns))
    down, across = (_overlap(many, few).to(maps) for many, few in ((h, rows), (w, columns)))
    return down @ maps @ across.T


def _overlap(many: int, few: int) -> Tensor:
    """Share (few, many) of each of `few` equal parts of a line that each of `many` equal parts of it covers."""
    fine, coarse = torch.arange(many + 1) * few, torch.arange(few + 1) * many  # both in units of 1/(many·few)
    ends = torch.minimum(fine[1:], coarse[1:, None]) - torch.maximum(fine[:-1], coarse[:-1, None])
    return ends.clamp_min(0).double() / many


@dataclass(frozen=True, eq=False)
class CellPlan:
    """Which cells and units are kept of every image.

    Attributes
    ----------
    grid : (int, int)
        Rows and columns of the grid, those of the coarsest tap.
    count : int
        Cells of an image.
    widths : dict of str to int
        Units of every tap ("rgb/2").
    """

    grid: tuple[int, int]
    count: int
    widths: dict[str, int]

    @classmethod
    def of(cls, shapes: dict[Tap, Sequence[int]], count: int) -> CellPlan:
        """The plan for taps whose maps are of `shapes` (units, h, w).

        Raises
        ------
        FeaturesError
            Where their grid has no `count` cells, or is not divided by them.
        """
        grid = min(shape[1] for shape in shapes.values()), min(shape[2] for shape in shapes.values())
        cell_blocks(grid, count)
        return cls(grid, count, {_name(tap): int(shape[0]) for tap, shape in shapes.items()})

    @cached_property
    def units(self) -> dict[str, list[int]]:
        """The units of every tap that are kept."""
        return {name: choose_units(name, width).tolist() for name, width in self.widths.items()}

    def reduces(self, taps: Sequence[Tap]) -> dict[Tap, Reduce]:
        """For every tap, what makes of its maps their means and, behind them, those over the cells of the grid."""
        return dict.fromkeys(taps, partial(_with_cells, grid=self.grid))

    def split(self, tap: Tap, values: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of what `reduces` made: means (B, U), kept units in the cells at `places` (B, count·U'), and all (B, U·g)."""
        width, units = self.widths[_name(tap)], self.units[_name(tap)]
        maps = values[:, width:]
        grid = maps.reshape(len(values), width, *self.grid)  # (B, U, h, w)
        at = grid[np.arange(len(values))[:, None], :, places[..., 0], places[..., 1]]  # (B, count, U)
        return values[:, :width], at[..., units].reshape(len(values), -1), maps

    def places(self, ids: Sequence[str]) -> np.ndarray:
        """Row and column (B, count, 2) of the cells that are kept of the samples `ids`."""
        return choose_cells(ids, self.grid, self.count)

    def contents(self, counts: np.ndarray, sizes: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
        """Row and column (B, count), and shares (B, count·K) in steps of 1/255, of the cells at `places`."""
        cell = places[..., 0] * self.grid[1] + places[..., 1]  # (B, count)
        shares = np.take_along_axis(counts, cell[..., None], 1) / np.maximum(sizes[cell], 1)[..., None]  # (B, count, K)
        rows, columns = (places[..., axis].astype(np.uint8) for axis in (0, 1))
        return {"row": rows, "column": columns, "shares": np.rint(255 * shares).astype(np.uint8).reshape(len(cell), -1)}


def _name(tap: Tap) -> str:
    return f"{tap.stream}/{tap.level}"


def _with_cells(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    means = pooled(maps)  # (B, U)
    cells = area_pooled(maps.to(means.device).float(), grid)  # (B, U, rows, columns)
    return torch.cat([means, cells.flatten(1).double()], 1)


def cell_counts(batch: Batch, count: int, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of every concept in every cell, and of every cell; a pixel is in the cell that its centre is in.

    Parameters
    ----------
    batch : Batch
        B samples.
    count : int
        Number of concepts K.
    grid : (int, int)
        Rows and columns.

    Returns
    -------
    (ndarray of int (B, cells, K), ndarray of int (cells,))
        Cells in rows.
    """
    concepts = batch.concepts
    (b, _, h, w), cells = concepts.shape, grid[0] * grid[1]
    row, column = (torch.arange(n) * 2 + 1 for n in (h, w))
    cell = (row * grid[0] // (2 * h))[:, None] * grid[1] + column * grid[1] // (2 * w)  # (H, W)
    codes = (torch.arange(b, dtype=torch.int32)[:, None, None] * cells + cell.int()) * (count + 1)  # (B, H, W)
    found = codes.to(concepts.device)[:, None] + torch.where(concepts < 0, count, concepts)  # (B, F, H, W)
    counts = torch.bincount(found.flatten(), minlength=b * cells * (count + 1)).reshape(b, cells, count + 1)
    return counts[..., :count].cpu().numpy(), np.bincount(cell.flatten().numpy(), minlength=cells)
