"""Profiles and overlaps of 2,048 units over many images: time grows as the images do, memory up to 25,000 does not.

RGBD_INSIGHT_IMAGES="6250 25000 100000" tries more, where memory is not flat: 100,000 images took 87 s and 2 GB.
"""

import os
import shutil
import time

import numpy as np
import pandas as pd

from rgbd_insight.extraction.profiles import profiles_of
from rgbd_insight.features.cell_writing import MAPS, PRESENT, WritesCells
from rgbd_insight.features.files import BlockFile
from tests.benchmarks._race import _peak, exponent
from tests.benchmarks._results import SCALING

IMAGES = tuple(int(n) for n in os.environ.get("RGBD_INSIGHT_IMAGES", "6250 25000").split())
UNITS, GRID, K = 2048, (2, 2), 40
KEY, BLOCK = "fused/4/both", 500


class Written(WritesCells):
    """What a writer of features has on the disk when an extraction of noise at the cells of a grid is at its end."""

    def __init__(self, folder, images, units=UNITS, grid=GRID, seed=0):
        rng, cells = np.random.default_rng(seed), grid[0] * grid[1]
        self.partial, self.head = folder, {"concepts": [{}] * K}
        self._state = {"cells": {"grid": grid}, "widths": {MAPS: {KEY: units * cells}}}
        self._files = {
            MAPS: BlockFile(folder / MAPS, {KEY: units * cells}, images),
            PRESENT: BlockFile(folder / PRESENT, {"present": cells * K}, images, "U8"),
        }
        for file in self._files.values():
            file.create()
        seen = 0.1 * rng.normal(size=(K, units)).astype(np.float32)  # by how much a concept raises a unit
        for start in range(0, images, BLOCK):
            there = rng.random((BLOCK, cells, K), np.float32) < 0.1
            maps = rng.standard_normal((BLOCK, cells, units), np.float32) + there.astype(np.float32) @ seen
            maps = np.maximum(maps, 0).swapaxes(1, 2)[: images - start].reshape(-1, units * cells)
            self._files[MAPS].write(start, {KEY: maps})
            self._files[PRESENT].write(
                start, {"present": there[: images - start].reshape(-1, cells * K).view(np.uint8)}
            )


def test_time_grows_as_the_images_do_and_memory_does_not(tmp_path):
    """Seconds are the processor's: it runs for minutes, in which other work would count as well."""
    rows = []
    for images in IMAGES:
        folder = tmp_path / str(images)
        folder.mkdir()
        writer, groups = Written(folder, images), [str(i // 5) for i in range(images)]
        begun = time.process_time()
        found, peak = _peak(lambda writer=writer, groups=groups: profiles_of(writer, groups))
        seconds = time.process_time() - begun
        assert found[KEY].shape == (5, UNITS, K) and np.isfinite(found[KEY]).all()
        shutil.rmtree(folder)
        print(f"  {images} images x {UNITS} units: {seconds:.1f} s, {peak:.0f} MB more")
        rows.append({"size": images, "seconds": seconds, "peak_mb": peak})
    table = pd.DataFrame(rows)
    power = exponent(table, "size", "seconds")
    print(f"  profiles: time grows like images^{power:.2f}")
    fixed = {"workload": "scaling", "work": "profiles at positions by images", "axis": "images", "runs": 1}
    SCALING.extend(table.assign(**fixed, exponent=power).to_dict("records"))
    assert power <= 1.15  # sorting is a little more than linear
    if len(rows) > 1:
        assert table["peak_mb"].iloc[-1] - table["peak_mb"].iloc[0] <= 100
