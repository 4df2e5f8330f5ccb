"""Cells: the places of one grid common to all taps at which responses are kept, and where they lie. Use `features`."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.features.checks import refuse, wrong_codes, wrong_images, wrong_places, wrong_profiles
from rgbd_insight.features.directory import steady
from rgbd_insight.features.files import CELLS, GRID, BlockFile, dequantise, encode, inside, read_tensors
from rgbd_insight.features.schema import FeaturesError, TensorKey

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
    if len(grid) != 2 or min(*grid, count) < 1:
        raise FeaturesError(f"`grid` must be rows and columns, and `count` 1 or more; got {tuple(grid)} and {count}")
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


class AtCells:
    """What `Features` has of responses at cells."""

    path: Path
    manifest: dict
    groups: np.ndarray
    concepts: pd.DataFrame
    entry: Callable[[str], dict]
    resolve: Callable[[str], str]
    _home: dict[str, Path]
    _folders: list[Path]
    _cache: dict[tuple[str, str], np.ndarray]

    def has_cells(self, run: str) -> bool:
        """Whether responses at cells were recorded for this run."""
        return bool(self.cell_files(run))

    def cells(self, run: str, modality: str, level: int, condition: str | None = None) -> np.ndarray:
        """What the run makes of one modality at a level in each cell, float32 (C, U), rows as in `cell_table`.

        Parameters
        ----------
        run, modality, level : str, str, int
            Run id or fusion name; whose stream is read, or the fused one where it has none; the level.
        condition : str, optional
            None is `modality`: the other input is another scene's, as for `view`; else "both".

        Returns
        -------
        ndarray (C, U)
            Means over a cell of the grid of up to 64 units (`entry(run)["cells"]["units"]`), one byte of precision.

        Raises
        ------
        FeaturesError
            Where they were not recorded; it names the call that adds them.
        """
        run, condition = self.resolve(run), condition or modality
        index = self.cell_files(run)
        own, fused = (str(TensorKey(condition, stream, level)) for stream in (modality, "fused"))
        key = own if own in index or fused not in index else fused
        if key not in index:
            near = f"has, at cells, {', '.join(sorted(index))}" if index else "has no responses at cells"
            raise FeaturesError(
                f"run {run!r} in {self._home[run]} {near}, and not {key!r}; to add them: "
                f"ri.extract(model, data, taps, out={str(self._home[run])!r}, cells=16, conditions=({condition!r},))"
            )
        if (run, f"{key} at cells") not in self._cache:
            codes, scale, offset = self.cell_codes(run, key)
            values = dequantise(codes.reshape(-1, len(scale)), scale, offset)  # (C, U)
            values.setflags(write=False)
            self._cache[run, f"{key} at cells"] = values
        return self._cache[run, f"{key} at cells"]

    def cell_files(self, run: str) -> dict[str, Path]:
        """The file of each tensor ("stream/level/condition") of responses at cells; empty where there are none."""
        files = (self.entry(run).get("cells") or {"files": {}})["files"]
        return {key: inside(self._home[self.resolve(run)], name) for name, keys in files.items() for key in keys}

    def cell_codes(self, run: str, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is stored of a tensor at cells: codes (N, cells·U), a byte each, and scale and offset (U,)."""
        path, units = self.cell_files(run)[key], self.entry(run)["cells"]["units"][TensorKey.parse(key).tap]
        count = self.manifest["cells"]["count"]
        return steady([path.parent], lambda: read_codes(path, key, len(self.groups), count, len(units)))

    @cached_property
    def cell_table(self) -> pd.DataFrame:
        """Where the cells are: sample and group (numbers), row and column of the centre, in (0, 1), of the image."""
        return cell_table(self.cell_places, self.manifest["cells"], self.groups)

    @cached_property
    def cell_shares(self) -> np.ndarray:
        """Share of each cell that carries each concept, float32 (C, K), in steps of 1/255; .5 or more is present."""
        return self.cell_places["shares"].reshape(-1, len(self.manifest["concepts"])) / np.float32(255)

    @cached_property
    def cell_places(self) -> dict[str, np.ndarray]:
        """As stored, a byte each: row and column (N, cells) in the grid of `manifest["cells"]`, shares (N, cells·K)."""
        home = next((folder for folder in self._folders if (folder / CELLS).is_file()), None)
        if "cells" not in self.manifest or home is None:
            raise FeaturesError(
                f"{self.path} has no responses at cells; to add them to a run: "
                f"ri.extract(model, data, taps, out={str(self.path)!r}, cells=16)"
            )
        path, cells = inside(home, CELLS), self.manifest["cells"]
        return steady([home], lambda: read_places(path, len(self.groups), cells, len(self.manifest["concepts"])))

    def position_profiles(self, run: str, modality: str, level: int) -> np.ndarray:
        """How units of what the run makes of one modality agree with concepts over all cells, float32 (F, U, K).

        Parameters
        ----------
        run, modality, level : str, str, int
            As for `view`.

        Returns
        -------
        ndarray (F, U, K)
            2·AUROC − 1 in [-1, 1] of every unit of the tap (also of those that a small copy left out), for cells of
            which half or more carry the concept against the others, in each of 5 folds of groups; NaN where all cells
            of a fold do, or none. In steps of half precision. Context is in it: nothing is held constant.

        Raises
        ------
        FeaturesError
            Where they were not recorded; it names the call that adds them.
        """
        return self._profiles(run, modality, level, "")

    def position_iou(self, run: str, modality: str, level: int) -> np.ndarray:
        """Intersection over union, float32 (U, K), of a unit's .5 % most active cells with those of each concept.

        Parameters and errors as for `position_profiles`; thresholds are exact. What Network Dissection does, on the
        grid of cells in place of pixels.
        """
        return self._profiles(run, modality, level, "#iou")

    def grids(self, run: str, modality: str, level: int) -> np.ndarray:
        """Images by what stands where in their maps: coordinates (n, R) with the inner products of centred maps.

        Parameters
        ----------
        run, modality, level : str, str, int
            As for `view`.

        Returns
        -------
        ndarray (n, R)
            float32, of the images `grid_samples`. Their inner products are those of the maps of all units of the tap,
            averaged over the cells of the grid (features: units x cells), but for one factor and the relative error
            `entry(run)["cells"]["grids"]` of all products together, below .002. Columns are principal components.

        Raises
        ------
        FeaturesError
            Where they were not recorded; it names the call that adds them.
        """
        return self._over_cells(run, modality, level, GRID)

    @cached_property
    def grid_samples(self) -> np.ndarray:
        """The images of the rows of `grids`, numbers of samples (n,), rising: whole groups, all up to a thousand."""
        for run in self.manifest["runs"]:
            for path in {*self.profile_files(run).values()} if self.entry(run).get("cells", {}).get("grids") else ():
                chosen = steady([path.parent], lambda p=path: read_tensors(p, [GRID])[0])
                refuse(path, wrong_images(chosen, len(self.groups)), "restore it or extract the run again")
                return chosen
        raise FeaturesError(
            f"{self.path} has no images on grids; to add them to a run: "
            f"ri.extract(model, data, taps, out={str(self.path)!r}, cells=16)"
        )

    def profile_files(self, run: str) -> dict[str, Path]:
        """The file of the profiles over cells of each tensor ("stream/level/condition"); empty where there are none."""
        files = (self.entry(run).get("cells") or {}).get("profiles", {})
        return {key: inside(self._home[self.resolve(run)], name) for name, keys in files.items() for key in keys}

    def _profiles(self, run: str, modality: str, level: int, part: str) -> np.ndarray:
        return self._over_cells(run, modality, level, part)

    def _over_cells(self, run: str, modality: str, level: int, part: str) -> np.ndarray:
        run = self.resolve(run)
        index = self.profile_files(run)
        own, fused = (str(TensorKey(modality, stream, level)) for stream in (modality, "fused"))
        key = own if own in index or fused not in index else fused
        if key not in index or (part == GRID and key not in self.entry(run)["cells"].get("grids", {})):
            what = "images on grids" if part == GRID else "profiles at positions"
            raise FeaturesError(
                f"run {run!r} in {self._home[run]} has no {what} for {key!r}; to add them: "
                f"ri.extract(model, data, taps, out={str(self._home[run])!r}, cells=16), of 5 groups or more"
            )
        name, path = key + part, index[key]
        if (run, f"{name} over cells") not in self._cache:
            values = steady([path.parent], lambda: read_tensors(path, [name])[0])
            refuse(path, wrong_profiles(name, values, len(self.manifest["concepts"])), "restore it or extract again")
            values = values.astype(np.float32)
            values.setflags(write=False)
            self._cache[run, f"{name} over cells"] = values
        return self._cache[run, f"{name} over cells"]
