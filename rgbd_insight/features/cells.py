"""Cells: the places of one grid common to all taps at which responses are kept, and where they lie. Use `features`."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.features.checks import refuse, wrong_codes, wrong_places
from rgbd_insight.features.files import BlockFile, dequantise, encode, read_tensors
from rgbd_insight.features.schema import FeaturesError

UNITS = 64  # of a tap, at most, whose responses at cells are kept
IMAGES = 256  # whose cells are quantised together


def cell_blocks(grid: Sequence[int], count: int) -> tuple[int, int]:
    """Rows and columns of the blocks that a grid is cut into, one a cell that is chosen.

    Parameters
    ----------
    grid : sequence of int
        Rows and columns of cells.
    count : int
        Cells to choose, from 1.

    Returns
    -------
    (int, int)
        Their product is `count`, neither is more than the grid has; as nearly equal as can be.

    Raises
    ------
    FeaturesError
        Where there is no such division; it names the nearest number that has one.

    Examples
    --------
    >>> cell_blocks((6, 8), 16), cell_blocks((3, 4), 12)
    ((4, 4), (3, 4))
    """
    found = _divisions(grid, count)
    if found:
        return min(found, key=lambda sides: (abs(sides[0] - sides[1]), sides[0]))
    h, w = grid
    possible = [n for n in range(1, h * w + 1) if _divisions(grid, n)]
    near = min(possible, key=lambda n: abs(n - count))
    raise FeaturesError(
        f"`cells` must be at most {h * w}, the cells of the coarsest tap's grid ({h} x {w}), and divide it into "
        f"blocks; got {count}: ask for {near}, or leave out the coarsest tap"
    )


def _divisions(grid: Sequence[int], count: int) -> list[tuple[int, int]]:
    return [(a, count // a) for a in range(1, grid[0] + 1) if count % a == 0 and count // a <= grid[1]]


def choose_cells(ids: Sequence[str], grid: Sequence[int], count: int) -> np.ndarray:
    """The cells of each image, one at random in each block; the same for the same id, whatever else is extracted.

    Parameters
    ----------
    ids : sequence of str
        Of B samples.
    grid : sequence of int
        Rows and columns of cells.
    count : int
        Cells of an image.

    Returns
    -------
    ndarray of int (B, count, 2)
        Row and column of each, blocks in rows from the upper left.

    Raises
    ------
    FeaturesError
        As `cell_blocks`.

    Examples
    --------
    >>> choose_cells(["a", "b"], (4, 8), 16)[0, :3].tolist()
    [[0, 1], [0, 2], [0, 4]]
    """
    blocks = cell_blocks(grid, count)
    cuts = [np.arange(parts + 1) * side // parts for side, parts in zip(grid, blocks, strict=True)]
    block = np.stack(np.meshgrid(*map(np.arange, blocks), indexing="ij"), -1).reshape(-1, 2)  # (count, 2)
    low = np.stack([cuts[axis][block[:, axis]] for axis in (0, 1)], 1)  # (count, 2)
    high = np.stack([cuts[axis][block[:, axis] + 1] for axis in (0, 1)], 1)
    draws = [np.random.default_rng([zlib.crc32(name.encode()), *grid, count]).random((count, 2)) for name in ids]
    return low + np.floor(np.array(draws) * (high - low)).astype(int)


def choose_units(tap: str, width: int, units: int = UNITS, seed: int = 0) -> np.ndarray:
    """At most `units` of the `width` units of a tap, rising; of two numbers the smaller one's are among the larger's.

    Parameters
    ----------
    tap : str
        Its stream and level, "rgb/2".
    width, units, seed : int
        How many there are, and how many are kept; of the draw.

    Returns
    -------
    ndarray of int (≤ units,)

    Examples
    --------
    >>> few, more = choose_units("rgb/1", 100, 8), choose_units("rgb/1", 100, 16)
    >>> set(few) < set(more), choose_units("rgb/1", 3).tolist()
    (True, [0, 1, 2])
    """
    random = np.random.default_rng([seed, zlib.crc32(tap.encode()), width])
    return np.sort(random.permutation(width)[:units])


def cell_table(places: dict[str, np.ndarray], cells: dict, groups: np.ndarray) -> pd.DataFrame:
    """Where each cell lies: sample and group (numbers), row and column of its centre, in (0, 1)."""
    sample = np.repeat(np.arange(len(groups)), cells["count"])
    h, w = cells["grid"]
    centre = {"row": (places["row"].ravel() + 0.5) / h, "column": (places["column"].ravel() + 0.5) / w}
    return pd.DataFrame({"sample": sample, "group": groups[sample], **centre})


def read_codes(path: Path, key: str, rows: int, count: int, units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The codes (rows, count·units) of a tensor at `count` cells of `rows` images, and scale and offset (units,)."""
    codes, scale, offset = read_tensors(path, [key, f"{key}#scale", f"{key}#offset"])
    wrong = wrong_codes(key, (codes, scale, offset), (rows, count * units), units)
    refuse(path, wrong, "restore it from its source or extract the run again")
    return codes, scale, offset


def read_places(path: Path, rows: int, cells: dict, concepts: int) -> dict[str, np.ndarray]:
    """Row and column (N, count), and shares (N, count·K) of the cells of `rows` images, bytes."""
    names = ["row", "column", "shares"]
    places = dict(zip(names, read_tensors(path, names), strict=True))
    refuse(path, wrong_places(places, rows, cells, concepts), "restore it from its source or extract again")
    return places


def quantise_cells(source: BlockFile, target: Path, units: dict[str, int]) -> dict[str, float]:
    """Write the responses at cells in `source` to `target`, one byte each; returns the loss of every tensor.

    Parameters
    ----------
    source : BlockFile
        Tensors (N, count·U) of float32, complete.
    target : Path
        The file; every tensor in it has a scale and an offset a unit, "KEY#scale" and "KEY#offset".
    units : dict of str to int
        U of every tensor.

    Notes
    -----
    As `quantise`, some images at a time: what is held does not grow with N.
    """

    def parts(key: str) -> Iterator[np.ndarray]:
        for start in range(0, source.rows, IMAGES):
            yield source.read(key, start, start + IMAGES).reshape(-1, units[key])  # (cells, U)

    fixed, means = {}, {}
    for key in source.widths:
        seen = [(x.min(0), x.max(0), x.sum(0, dtype=np.float64), len(x)) for x in parts(key)]
        low, high = np.min([s[0] for s in seen], 0), np.max([s[1] for s in seen], 0)  # (U,)
        fixed |= {f"{key}#scale": ((high - low) / 255).astype(np.float32), f"{key}#offset": low}
        means[key] = sum(s[2] for s in seen) / sum(s[3] for s in seen)  # (U,)
    file = BlockFile(target, source.widths, source.rows, "U8", fixed)
    file.create()
    errors, spreads = dict.fromkeys(source.widths, 0.0), dict.fromkeys(source.widths, 0.0)
    for start in range(0, source.rows, IMAGES):
        block = {}
        for key in source.widths:
            x = source.read(key, start, start + IMAGES).reshape(-1, units[key])  # (cells, U)
            scale, offset = fixed[f"{key}#scale"], fixed[f"{key}#offset"]
            codes = encode(x, scale, offset)
            errors[key] += float(((dequantise(codes, scale, offset).astype(np.float64) - x) ** 2).sum())
            spreads[key] += float(((x - means[key]) ** 2).sum())
            block[key] = codes.reshape(-1, source.widths[key])
        file.write(start, block)
    return {key: round(math.sqrt(e / spreads[key]), 6) if spreads[key] > 0 else 0.0 for key, e in errors.items()}
