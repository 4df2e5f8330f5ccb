"""Sums of products, side by side and only where they are not known from symmetry."""

from __future__ import annotations

import numpy as np
import torch

from rgbd_insight.metrics._threads import spread

COLUMNS = 256  # units whose products with all units before them are summed together


def add_products(second: np.ndarray, rows: np.ndarray) -> None:
    """Add rowsᵀ rows to `second` in place, in and above the blocks on its diagonal."""
    total, z = torch.as_tensor(second), torch.as_tensor(rows)

    def add(start: int) -> None:
        stop = start + COLUMNS
        total[:stop, start:stop].addmm_(z[:, :stop].T, z[:, start:stop])

    spread(add, range(0, len(second), COLUMNS)[::-1], z.device)  # the tallest first


def mirror(second: np.ndarray) -> None:
    """Copy what lies above the blocks on the diagonal to below them, in place."""
    for start in range(0, len(second), COLUMNS):
        stop = start + COLUMNS
        second[stop:, start:stop] = second[start:stop, stop:].T
