"""Banded ridge from sums of products: one penalty for each block of columns, chosen for each target."""

from itertools import product

import numpy as np
import torch

from rgbd_insight.metrics.ridge import deviations, leading


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
        scale = deviations(np.diag(covariance))
        values, vectors = leading(covariance / scale[:, None] / scale, len(band))
        kept[raw, band[0] : band[-1] + 1] = vectors / scale[:, None] / np.sqrt(max(values.mean(), 1e-12))
        kept[0, band] = -mean[raw] @ kept[raw, band[0] : band[-1] + 1]
    return kept


def projected(moments: np.ndarray, kept: np.ndarray, layout: Layout) -> np.ndarray:
    """Rows (I, C) of the inputs in the kept columns' table, mapᵀ · moments · map, without the zeros of the map."""
    half = _inputs(moments, kept, layout).T
    return np.concatenate([_inputs(half, kept, layout), half[:, -layout.targets :]], axis=1)


def _inputs(moments: np.ndarray, kept: np.ndarray, layout: Layout) -> np.ndarray:
    """The inputs' columns of moments · map."""
    found = moments[:, :1] * kept[0, : layout.inputs]
    for raw, band in zip(layout.raw, layout.bands, strict=True):
        found[:, band[0] : band[-1] + 1] += moments[:, raw] @ kept[raw, band[0] : band[-1] + 1]
    return found


class Splits:
    """Divisions into training and test rows, each as two small tables of sums about the training means.

    Parameters
    ----------
    train, test : arrays (S, I, C)
        `projected` sums of products over the training and the test rows of every division.
    squares : array (S, U)
        Sums of squares of the targets over the test rows.
    own : bool
        The components are those of the training rows themselves, so that no two of one band have anything in common.
    """

    def __init__(self, train: np.ndarray, test: np.ndarray, squares: np.ndarray, *, own: bool):
        self.rows, self.inputs, self.own = train[:, 0, 0], train.shape[1], own
        sums, total = train[:, 0], test[:, 0]  # (S, C)
        mean = sums / self.rows[:, None]
        self.train = train - sums[:, : self.inputs, None] * mean[:, None]
        away = mean[:, : self.inputs, None]
        self.test = test - total[:, : self.inputs, None] * mean[:, None] - away * (total - total[:, :1] * mean)[:, None]
        mean, total = mean[:, self.inputs :], total[:, self.inputs :]
        self.total = squares + mean * (test[:, :1, 0] * mean - 2 * total)  # (S, U) of the held-out targets

    def __len__(self) -> int:
        return len(self.rows)


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
        self.one = len(bands) == 1
        widths = [len(band) for band in bands]
        self.penalties = np.array([np.repeat(choice, widths) for choice in product(grid, repeat=len(bands))])  # (P, p)

    def choose(self, splits: Splits) -> np.ndarray:
        """Number (U,) of the combination of penalties with the least error over all of the splits."""
        if self.one:
            penalties = self.penalties[:, :1, None] * np.ones(splits.total.shape[1])  # (P, 1, U)
            return _divided(*self._products(splits), splits, penalties[:, None]).sum(1).argmin(0)
        systems = zip(*self._systems(splits), splits.rows, splits.total, strict=True)
        return sum(self._of_every_choice(*system) for system in systems).argmin(0)

    def error(self, splits: Splits, choice: np.ndarray) -> np.ndarray:
        """Held-out squared error (U,) over all splits, each target under its own penalties, `choice` (S, U)."""
        if self.one:
            return _divided(*self._products(splits), splits, self.penalties[choice, 0][:, None]).sum(0)
        codes = choice + np.arange(len(splits))[:, None] * len(self.penalties)
        used, place, column = _side_by_side(codes.ravel())
        units = np.zeros((len(used), column.max() + 1), int)  # short rows are filled up with target 0
        units[place, column] = np.arange(codes.size) % codes.shape[1]
        split, number = np.divmod(used, len(self.penalties))  # (Q,)

        normal, cross, test, test_cross = self._systems(splits)
        targets = split[:, None], slice(None), units  # last in memory, as solutions want them
        cross, test_cross = (part[targets].swapaxes(1, 2) for part in (cross, test_cross))  # (Q, p, V)
        penalties = splits.rows[split, None] * self.penalties[number]
        errors = splits.total[split[:, None], units] + _solved(normal[split], penalties, cross, test[split], test_cross)
        return errors[place, column].reshape(codes.shape).sum(0)

    def _systems(self, splits: Splits) -> tuple[np.ndarray, ...]:
        """Training products of the columns (S, p, p) and with targets (S, p, U), and the same of the test rows."""
        both = [part[:, self.columns] for part in (splits.train, splits.test)]
        (normal, cross), (test, test_cross) = ((part[..., self.columns], part[..., splits.inputs :]) for part in both)
        return normal, cross, test, test_cross

    def _of_every_choice(self, normal, cross, test, test_cross, rows: float, total: np.ndarray) -> np.ndarray:
        """Held-out squared error (P, U) of all targets in one split."""
        normal, cross = (np.repeat(part[None], len(self.penalties), axis=0) for part in (normal, cross))
        return total + _solved(normal, rows * self.penalties, cross, test, test_cross)

    def _products(self, splits: Splits) -> tuple[np.ndarray, ...]:
        """Of one band: variances (S, p), training and test products with targets (S, p, U), test products (S, p, p).

        In components that have nothing in common in the training rows.
        """
        normal, cross, test, test_cross = self._systems(splits)
        if splits.own:
            return np.diagonal(normal, axis1=1, axis2=2), cross, test, test_cross
        values, axes = (part.numpy() for part in torch.linalg.eigh(torch.from_numpy(normal)))
        back = axes.swapaxes(1, 2)
        return values, back @ cross, back @ test @ axes, back @ test_cross


def _side_by_side(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The codes that occur, and a place for every element: row (of its code) and column (among those of its code)."""
    used, row = np.unique(codes, return_inverse=True)
    order, sizes = np.argsort(row, kind="stable"), np.bincount(row)
    column = np.empty(len(codes), int)
    column[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return used, row, column


def _divided(values, cross, test, test_cross, splits: Splits, penalties: np.ndarray) -> np.ndarray:
    """Held-out squared error (..., S, U) of one band: ridge is a division where components have nothing in common."""
    weights = cross / (values[:, :, None] + splits.rows[:, None, None] * penalties)  # (..., S, p, U)
    return splits.total + np.einsum("...ij,...ij->...j", weights, test @ weights - 2 * test_cross)


def _solved(normal, penalties, cross, test, test_cross) -> np.ndarray:
    """Held-out squared error (Q, V), less the total, of ridge; `normal` (Q, p, p) is given `penalties`."""
    diagonal = np.arange(normal.shape[1])
    normal[:, diagonal, diagonal] += penalties
    # with a penalty on every column they are positive definite: half of the time of a general solution
    lower = torch.linalg.cholesky(torch.from_numpy(normal))
    weights = torch.cholesky_solve(torch.from_numpy(cross), lower).numpy()  # (Q, p, V)
    return np.einsum("ijk,ijk->ik", weights, test @ weights - 2 * test_cross)
