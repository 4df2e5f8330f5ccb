"""What a writer of features does with responses at cells. Use `features` instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rgbd_insight.features.cells import quantise_cells
from rgbd_insight.features.checks import wrong_images, wrong_profiles
from rgbd_insight.features.directory import check_same
from rgbd_insight.features.files import CELLS, GRID, BlockFile, json_value
from rgbd_insight.features.schema import TensorKey

QUANTISED = "quantised.safetensors"
MAPS, PRESENT = "maps.safetensors", "present.safetensors"  # all cells of the grid, for profiles; not published
BESIDE = {CELLS: "places", PRESENT: "present", MAPS: "maps"}  # file to part of a block's cells


class WritesCells:
    """The part of `FeatureWriter` that is about cells: where they are, maps for profiles, and one byte a value."""

    out: Path
    partial: Path
    head: dict
    run: dict
    _manifest: dict | None
    _state: dict
    _files: dict[str, BlockFile]
    _save: Callable[[dict], None]
    _name: Callable[[str], str]

    def place_cells(self, grid: Sequence[int], units: dict[str, Sequence[int]]) -> None:
        """Say, before the first block, of which grid the cells are and which units of every tap ("rgb/2") are kept.

        Raises
        ------
        FeaturesError
            Where the directory, or what an earlier attempt left, has cells of another grid.
        """
        cells = json_value({"grid": list(grid), "count": self.run["cells"], "units": units})
        common = {part: cells[part] for part in ("grid", "count")}
        fix = "give taps of the same coarsest grid, or extract into another `out`"
        for path, found in ((self.out, (self._manifest or {}).get("cells")), (self.partial, self._state.get("cells"))):
            if found is not None:
                check_same(path, {part: found[part] for part in common}, common, fix)
        if "cells" not in self._state:
            self._save(self._state | {"cells": cells})

    @property
    def map_units(self) -> dict[str, int]:
        """Units of every tensor ("stream/level/condition") of maps that were written for profiles."""
        maps, (h, w) = self._state["widths"].get(MAPS, {}), self._state.get("cells", {"grid": (1, 1)})["grid"]
        return {key: width // (h * w) for key, width in maps.items()}

    def maps(self, key: str, units: slice, images: np.ndarray | None = None) -> np.ndarray:
        """Of the maps of a tensor those of some units, float32 (N, u, g), of all images or some, read from the disk."""
        rows = self._files[MAPS].mapped(key)
        found = rows.reshape(len(rows), self.map_units[key], -1)[:, units]
        return np.array(found if images is None else found[images])

    def present(self) -> np.ndarray:
        """Whether each concept is present in each cell of the grid, bool (N, g, K), as it lies on the disk."""
        rows = self._files[PRESENT].mapped("present")
        return rows.view(bool).reshape(len(rows), -1, len(self.head["concepts"]))

    def _wrong_profiles(self, profiles: dict[str, np.ndarray]) -> str | None:
        """What is wrong with profiles over cells and images on grids; None where nothing is."""
        images, concepts = self.head["samples"], len(self.head["concepts"])
        found = (
            wrong_images(values, images) if key == GRID else wrong_profiles(key, values, concepts)
            for key, values in profiles.items()
        )
        return next(filter(None, found), None)

    def _quantise(self) -> dict[str, float]:
        """Make one byte a value of the responses at cells; returns the loss of each tensor."""
        file = self._files.get(self._name("cells.safetensors"))
        if file is None:
            return {}
        units = {key: len(self._state["cells"]["units"][TensorKey.parse(key).tap]) for key in file.widths}
        return quantise_cells(file, self.partial / QUANTISED, units)
