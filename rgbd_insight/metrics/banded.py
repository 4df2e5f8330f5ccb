"""Banded ridge from sums of products: one penalty for each block of columns, chosen for each target."""

from itertools import product

import numpy as np
import torch

from rgbd_insight.metrics._eigen import leading


class Layout:
    """Where the constant, the blocks of inputs and the targets stand in one table of sums of products.

    Parameters
    ----------
    widths : list of int
        Columns of every block of inputs, in order.
    targets : int
        Columns of the targets, which come last.
    components : int
        Principal components kept of every block (all columns where it has fewer).
    """

    def __init__(self, widths: list[int], targets: int, components: int):
        edges = np.cumsum([1, *widths])
        self.raw = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        edges = np.cumsum([1, *(min(width, components) for width in widths)])
        self.bands = [np.arange(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        self.inputs, self.targets = int(edges[-1]), targets


def projection(moments: np.ndarray, layout: Layout) -> np.ndarray:
    """Map (raw columns, kept columns) that centres, standardises and turns every block to its principal components.

    All components of one block share a scale that makes their mean variance 1, so that penalties mean the same in every
    block. Constant columns map to 0; the targets are kept as they are.
    """
    mean = moments[0] / moments[0, 0]
    kept = np.zeros((len(moments), layout.inputs + layout.targets))
    kept[0, 0] = 1
    kept[-layout.targets :, layout.inputs :] = np.eye(layout.targets)
    for raw, band in zip(layout.raw, layout.bands, strict=True):
        covariance = moments[raw, raw] / moments[0, 0] - np.outer(mean[raw], mean[raw])
        variance = np.diag(covariance)
        scale = np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 1e-12)), np.inf)
        values, vectors = leading(covariance / scale[:, None] / scale, len(band))
        kept[raw, band[0] : band[-1] + 1] = vectors / scale[:, None] / np.sqrt(max(values.mean(), 1e-12))
        kept[0, band] = -mean[raw] @ kept[raw, band[0] : band[-1] + 1]
    return kept


def projected(moments: np.ndarray, kept: np.ndarray, layout: Layout) -> np.ndarray:
    """The kept columns' table, mapᵀ · moments · map, without multiplying by the zeros of the map."""
    half = np.concatenate([_kept_columns(moments, kept, layout), moments[:, -layout.targets :]], axis=1)
    return np.concatenate([_kept_columns(half.T, kept, layout).T, half[-layout.targets :]])


def _kept_columns(moments: np.ndarray, kept: np.ndarray, layout: Layout) -> np.ndarray:
    """The inputs' columns of moments · map."""
    found = np.empty((len(moments), layout.inputs))
    found[:, 0] = moments[:, 0]
    for raw, band in zip(layout.raw, layout.bands, strict=True):
        found[:, band] = moments[:, raw] @ kept[raw, band[0] : band[-1] + 1] + np.outer(moments[:, 0], kept[0, band])
    return found


def about(moments: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Sums of products about `mean` (the training means), from sums of products about 0."""
    cross = np.outer(moments[0], mean)
    return moments - cross - cross.T + moments[0, 0] * np.outer(mean, mean)


class Split:
    """One division into training and test rows, as two small tables of sums about the training means."""

    def __init__(self, train: np.ndarray, test: np.ndarray, layout: Layout):
        mean = train[0] / train[0, 0]
        self.rows = train[0, 0]
        self.train, test = about(train, mean), about(test, mean)
        self.test, self.inputs = test[:, : layout.inputs], layout.inputs  # (C, I)
        self.total = np.diag(test)[layout.inputs :]  # (U,) total sum of squares of the held-out targets

    def errors(self, columns: np.ndarray, penalties: np.ndarray, units: np.ndarray | None = None) -> np.ndarray:
        """Held-out squared error (P, V) of ridge on `columns` (p,), with penalties (P, p), of `units` (P, V) or all."""
        place = np.ix_(columns, columns)
        normal = np.repeat(self.train[place][None], len(penalties), axis=0)  # (P, p, p)
        diagonal = np.arange(len(columns))
        normal[:, diagonal, diagonal] += self.rows * penalties
        known, told = self.train[columns, self.inputs :], self.test[self.inputs :, columns].T  # (p, U)
        if units is None:
            known, told, total = (np.broadcast_to(a, (len(penalties), *a.shape)) for a in (known, told, self.total))
        else:
            known, told, total = known[:, units].swapaxes(0, 1), told[:, units].swapaxes(0, 1), self.total[units]
        # with a penalty on every column they are positive definite: half of the time of a general solution
        lower = torch.linalg.cholesky(torch.from_numpy(normal))
        weights = torch.cholesky_solve(torch.from_numpy(np.ascontiguousarray(known)), lower).numpy()  # (P, p, V)
        fitted = self.test[place] @ weights - 2 * told
        return total + np.einsum("ijk,ijk->ik", weights, fitted)


class Banded:
    """Ridge of every target on some bands, with the penalties of each target chosen on inner splits.

    Parameters
    ----------
    bands : list of int arrays
        Columns of every band; they share no column.
    grid : sequence of float
        Penalties tried for each band, as a share of the band's mean variance: every combination of them.
    """

    def __init__(self, bands: list[np.ndarray], grid):
        self.columns = np.concatenate(bands)
        widths = [len(band) for band in bands]
        self.penalties = np.array([np.repeat(choice, widths) for choice in product(grid, repeat=len(bands))])  # (P, p)

    def choose(self, splits: list[Split]) -> np.ndarray:
        """Number (U,) of the combination of penalties with the least error over the inner splits."""
        return sum(split.errors(self.columns, self.penalties) for split in splits).argmin(0)

    def error(self, split: Split, choice: np.ndarray) -> np.ndarray:
        """Held-out squared error (U,), each target under its own chosen penalties."""
        used, place = np.unique(choice, return_inverse=True)
        order = np.argsort(place, kind="stable")
        sizes = np.bincount(place)
        column = np.empty(len(choice), int)  # the targets of one choice stand side by side in a row of `units`
        column[order] = np.arange(len(choice)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        units = np.zeros((len(used), sizes.max()), int)  # short rows are filled up with target 0
        units[place, column] = np.arange(len(choice))
        return split.errors(self.columns, self.penalties[used], units)[place, column]
