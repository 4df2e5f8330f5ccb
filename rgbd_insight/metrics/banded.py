"""Banded ridge from sums of products: one penalty for each block of columns, chosen for each target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from numpy.typing import ArrayLike

from rgbd_insight.metrics.checks import check_rows
from rgbd_insight.metrics.ridge import deviations, leading
from rgbd_insight.stats.groups import group_folds
from rgbd_insight.utils.threads import in_threads


class Layout:
    """Where the constant, the blocks of inputs and the targets stand in one table of sums of products.

    Parameters
    ----------
    widths : list of int
        Columns of every block of inputs, in order.
    targets : int
        Columns of the targets, which come last.
    components : list of int
        Principal components kept of every block (all columns where it has fewer).
    """

    def __init__(self, widths: list[int], targets: int, components: list[int]):
        edges = np.cumsum([1, *widths])
        self.raw = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        edges = np.cumsum([1, *map(min, widths, components)])
        self.bands = [np.arange(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        self.inputs, self.targets = int(edges[-1]), targets


def _projection(moments: np.ndarray, layout: Layout) -> np.ndarray:
    """Map (raw columns, kept columns) that centres, standardises and turns every block to its principal components.

    All components of one block share a scale that makes their mean variance 1, so that penalties mean the same in every
    block. Constant columns map to 0; the targets are kept as they are.
    """
    middle = moments[0] / moments[0, 0]
    kept = np.zeros((len(moments), layout.inputs + layout.targets))
    kept[0, 0] = 1
    kept[len(kept) - layout.targets :, layout.inputs :] = np.eye(layout.targets)
    for raw, band in zip(layout.raw, layout.bands, strict=True):
        covariance = moments[raw, raw] / moments[0, 0] - np.outer(middle[raw], middle[raw])
        scale = deviations(np.diag(covariance))
        values, vectors = leading(covariance / scale[:, None] / scale, len(band))
        mean = values.sum() / max(min(len(band), np.isfinite(scale).sum()), 1)  # of those that can vary
        kept[raw, band[0] : band[-1] + 1] = vectors / scale[:, None] / np.sqrt(max(mean, 1e-12))
        kept[0, band] = -middle[raw] @ kept[raw, band[0] : band[-1] + 1]
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


class _Splits:
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
        self.rows, self.inputs, self.own, self.given = train[:, 0, 0], train.shape[1], own, (train, test)
        sums, total = train[:, 0], test[:, 0]  # (S, C)
        mean = sums / self.rows[:, None]
        self.train = train - sums[:, : self.inputs, None] * mean[:, None]
        away = mean[:, : self.inputs, None]
        self.test = test - total[:, : self.inputs, None] * mean[:, None] - away * (total - total[:, :1] * mean)[:, None]
        mean, total = mean[:, self.inputs :], total[:, self.inputs :]
        self.total = squares + mean * (test[:, :1, 0] * mean - 2 * total)  # (S, U) of the held-out targets

    def __len__(self) -> int:
        return len(self.rows)


class _Division:
    """Ridge on one band from training to test rows, of any targets, from sums of products of either rows.

    Parameters
    ----------
    train, test, penalties, own : arrays (1 + p, 1 + p) twice, array (P,), bool
        Sums of products of [1 | inputs]; penalties as shares of a variance of 1; `own` as for `_Splits`.
    """

    def __init__(self, train: np.ndarray, test: np.ndarray, penalties: np.ndarray, *, own: bool) -> None:
        self.n, self.m = train[0, 0], test[0, 0]
        mean = train[0, 1:] / self.n
        self.turn = np.hstack([-mean[:, None], np.eye(len(mean))])  # (p, 1 + p): [1 | x] -> x less its training mean
        normal = train[1:, 1:] - np.outer(train[0, 1:], mean)
        self.values = np.diagonal(normal)
        if not own:  # into components that have nothing in common in the training rows
            values, axes = torch.linalg.eigh(torch.from_numpy(normal))
            self.values, self.turn = values.numpy(), axes.numpy().T @ self.turn
        self.test = self.turn @ test @ self.turn.T  # (p, p)
        self.away = self.turn @ test[:, 0]  # (p,)
        self.penalties = self.n * penalties

    @cached_property
    def _guesses(self) -> tuple[np.ndarray, np.ndarray]:
        """What cross-products (p, U) are multiplied by to give weights, and guesses, under every penalty."""
        shrink = 1 / (self.values + self.penalties[:, None])  # (P, p)
        sizes, axes = (part.numpy() for part in torch.linalg.eigh(torch.from_numpy(self.test)))
        root = np.sqrt(np.maximum(sizes, 0))[:, None] * axes.T  # wᵀ test w = ‖root w‖²
        return shrink, (root * shrink[:, None]).reshape(-1, len(sizes))  # (P p, p)

    def _products(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of training and test rows (p, U) about the training means, from sums of products (1 + p, U) with targets."""
        return self.turn @ train, self.turn @ test - self.away[:, None] * (train[0] / self.n)

    def of_every_penalty(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Squared error (P, U) on the test rows, less the total, where all targets have one penalty."""
        (cross, test_cross), (shrink, guesses) = self._products(train, test), self._guesses
        guess = (guesses @ cross).reshape(len(shrink), -1, cross.shape[1])
        return np.einsum("piu,piu->pu", guess, guess) - 2 * (shrink @ (cross * test_cross))

    def error(self, train: np.ndarray, test: np.ndarray, penalties: np.ndarray) -> np.ndarray:
        """Squared error (U,) on the test rows, less the total, each target under its own penalty (U,)."""
        cross, test_cross = self._products(train, test)
        weights = cross / (self.values[:, None] + self.n * penalties)
        return np.einsum("iu,iu->u", weights, self.test @ weights - 2 * test_cross)


class Banded:
    """Ridge of every target on one band or two, with the penalties of each target chosen on inner splits.

    Parameters
    ----------
    bands : list of one or two int arrays
        Columns of every band; they share no column.
    grid : sequence of float
        Penalties tried for each band, as a share of the band's mean variance: every combination of them.
    """

    def __init__(self, bands: list[np.ndarray], grid: Sequence[float]) -> None:
        self.bands, self.columns = bands, np.concatenate(bands)
        self.penalties = np.array(list(product(grid, repeat=len(bands))), float)  # (P, bands)

    def choose(self, splits: _Splits) -> np.ndarray:
        """Number (U,) of the combination of penalties with the least error over all of the splits."""
        if len(self.bands) == 1:
            return sum(one.of_every_penalty(*sums) for one, *sums in self._divisions(splits)).argmin(0)
        products = self._products(splits)
        errors = (_solved(products.of(s), rows * self.penalties) for s, rows in enumerate(splits.rows))
        return sum(errors).argmin(0)

    def error(self, splits: _Splits, choice: np.ndarray) -> np.ndarray:
        """Held-out squared error (U,) over all splits, each target under its own penalties, `choice` (S, U)."""
        errors = splits.total.sum(0)
        if len(self.bands) == 1:
            for (one, *sums), penalties in zip(self._divisions(splits), self.penalties[choice, 0], strict=True):
                errors += one.error(*sums, penalties)
            return errors
        products = self._products(splits)
        for s, rows in enumerate(splits.rows):
            used, place, column = _side_by_side(choice[s])
            targets = np.zeros((len(used), column.max() + 1), int)  # short rows are filled up with target 0
            targets[place, column] = np.arange(len(place))
            errors += _solved(products.of(s, targets), rows * self.penalties[used])[place, column]
        return errors

    def _divisions(self, splits: _Splits) -> Iterator[tuple[_Division, np.ndarray, np.ndarray]]:
        """Of one band: every split, and the sums of products of its training and test rows with the targets."""
        columns = np.concatenate([[0], self.columns])
        for train, test in zip(*splits.given, strict=True):
            train, test = train[columns], test[columns]
            sums = train[:, splits.inputs :], test[:, splits.inputs :]
            yield _Division(train[:, columns], test[:, columns], self.penalties[:, 0], own=splits.own), *sums

    def _products(self, splits: _Splits) -> _Products:
        """Of two bands, in components of each that have nothing in common in the training rows."""
        both = [part[:, self.columns] for part in (splits.train, splits.test)]
        (normal, cross), (test, test_cross) = ((part[..., self.columns], part[..., splits.inputs :]) for part in both)
        values = np.diagonal(normal, axis1=1, axis2=2)
        edges = np.cumsum([0, *map(len, self.bands)])
        bands = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        if not splits.own:
            turn = np.zeros_like(normal)
            for band in bands:
                own = torch.from_numpy(np.ascontiguousarray(normal[:, band, band]))
                turn[:, band, band] = torch.linalg.eigh(own)[1].numpy().swapaxes(1, 2)
            normal, test = (turn @ part @ turn.swapaxes(1, 2) for part in (normal, test))
            values, cross, test_cross = np.diagonal(normal, axis1=1, axis2=2), turn @ cross, turn @ test_cross
        return _Products(values, normal[:, bands[0], bands[1]], cross, test, test_cross)


@dataclass(frozen=True, eq=False)
class _Products:
    """Variances (S, p), products of two bands (S, p1, p2) and with targets (S, p, U); the same of the test rows."""

    values: np.ndarray
    between: np.ndarray
    cross: np.ndarray
    test: np.ndarray
    test_cross: np.ndarray

    def of(self, s: int, targets: np.ndarray | None = None) -> _Products:
        """Those of one split, with all targets or with some of them (Q, V) side by side."""
        cross, test_cross = self.cross[s], self.test_cross[s]
        if targets is not None:
            cross, test_cross = (part.T[targets].swapaxes(1, 2) for part in (cross, test_cross))  # (Q, p, V)
        return _Products(self.values[s], self.between[s], cross, self.test[s], test_cross)


def _side_by_side(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The codes that occur, and a place for every element: row (of its code) and column (among those of its code)."""
    used, row = np.unique(codes, return_inverse=True)
    order, sizes = np.argsort(row, kind="stable"), np.bincount(row)
    column = np.empty(len(codes), int)
    column[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return used, row, column


def _solved(of: _Products, penalties: np.ndarray) -> np.ndarray:
    """Held-out squared error (Q, V), less the total, of two bands in one split under their `penalties` (Q, 2).

    The first band is eliminated, in whose components that is a division (Schur complement).
    """
    cut = len(of.between)
    first, second = of.cross[..., :cut, :], of.cross[..., cut:, :]  # (Q or 1, p1, V), (Q or 1, p2, V)
    shrink = 1 / (of.values[:cut] + penalties[:, :1])[..., None]  # (Q, p1, 1)
    scaled = shrink * of.between  # (Q, p1, p2)
    inner = of.between.T @ -scaled
    diagonal = np.arange(inner.shape[1])
    inner[:, diagonal, diagonal] += of.values[cut:] + penalties[:, 1:]
    # with a penalty on every column it is positive definite: half of the time of a general solution
    lower = torch.linalg.cholesky(torch.from_numpy(inner))
    known = torch.from_numpy(second - scaled.swapaxes(1, 2) @ first)
    second = torch.cholesky_solve(known, lower).numpy()  # (Q, p2, V)
    weights = np.concatenate([shrink * first - scaled @ second, second], axis=1)
    return np.einsum("ijk,ijk->ik", weights, of.test @ weights - 2 * of.test_cross)


def checked_folds(components: int, penalties: Sequence[float], folds: int, groups: ArrayLike, seed: int) -> np.ndarray:
    """The fold of every row."""
    grid = np.asarray(penalties, float)
    if folds < 3 or not len(grid) or not (grid > 0).all():
        raise ValueError(f"`folds` must be >= 3 and `penalties` > 0; got {folds} and {grid}. Choose them so.")
    if components < 1:
        raise ValueError(f"`components` must be >= 1; got {components}. 32 is the default.")
    return group_folds(groups, folds, seed)


def checked_streams(
    y: ArrayLike, inputs: dict[str, Sequence[ArrayLike]], groups: ArrayLike
) -> tuple[list[np.ndarray], np.ndarray]:
    """The array `y` and the streams of every input, in order, centred, of variance 1 (0: constant); the groups."""
    groups = np.asarray(groups)
    counts = {name: len(streams) for name, streams in inputs.items()}
    if not all(counts.values()):
        raise ValueError(
            f"each of `{'`, `'.join(inputs)}` must hold at least one stream; got "
            f"{', '.join(map(str, counts.values()))}. Pass lists of (N, D) arrays from another seed."
        )
    arrays = []
    for name, a in [("y", y), *((name, z) for name, streams in inputs.items() for z in streams)]:
        a = check_rows(a, name, least=0)
        if len(a) != len(groups):
            raise ValueError(f"`{name}` must have shape ({len(groups)}, columns); got {a.shape}. Pair rows by sample.")
        a = a - a[:1]  # a constant column becomes exactly 0
        a = a - a.mean(0) * a.any(0)
        arrays.append(a / np.maximum(a.std(0), 1e-300))
    return arrays, groups


def _moments(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Sums of products (F, C, C) of the rows of every part."""
    return np.stack([part.T @ part for part in parts])


def _maps(sums: np.ndarray, layout: Layout) -> list[np.ndarray]:
    """The projection of every fold's training rows, which are those of the other folds."""
    everything = sums.sum(0)
    return [_projection(everything - part, layout) for part in sums]


class Fits:
    """Held-out R² of the targets by several models, from sums of products of each fold, of all rows and without some.

    Parameters
    ----------
    table : array (n, C)
        Columns [1 | inputs | targets]; targets have variance 1.
    fold : array of int (n,)
        Outer folds, each of which is an inner one of the others. Penalties are chosen once, with all rows.
    layout : Layout
        Of the table.
    models : list of Banded
        One for each column of `r2`, in that order.
    """

    def __init__(self, table: np.ndarray, fold: np.ndarray, layout: Layout, models: list[Banded]) -> None:
        self.table, self.fold, self.folds, self.layout = table, fold, range(fold.max() + 1), layout
        self.models = models
        self.sums = _moments([table[fold == f] for f in self.folds])
        self.maps = _maps(self.sums, layout)
        found = in_threads(self._chosen, self.folds)
        self.choices = [np.stack(of_model) for of_model in zip(*found, strict=True)]  # (F, U) for every model

    def _chosen(self, f: int) -> list[np.ndarray]:
        """Penalties (U,) of every model for outer fold f: each of the other folds is the validation set once."""
        parts = np.delete(self.sums, f, axis=0)
        test = np.stack([projected(part, self.maps[f], self.layout) for part in parts])  # (F - 1, I, C)
        splits = _Splits(test.sum(0) - test, test, self._squares(parts), own=False)
        return [model.choose(splits) for model in self.models]

    def _squares(self, sums: np.ndarray) -> np.ndarray:
        """Sums of squares (F, U) of the targets."""
        return np.diagonal(sums, axis1=1, axis2=2)[:, -self.layout.targets :]

    def r2(self, without: np.ndarray | None = None) -> np.ndarray:
        """R² (U, models) over the held-out folds, of all rows or of those but `without`, bool (N,)."""
        sums, maps = self.sums, self.maps
        if without is not None:
            sums = sums - _moments([self.table[without & (self.fold == f)] for f in self.folds])
            maps = _maps(sums, self.layout)
        everything, pairs = sums.sum(0), list(zip(sums, maps, strict=True))
        train = np.stack([projected(everything - part, kept, self.layout) for part, kept in pairs])  # (F, I, C)
        test = np.stack([projected(part, kept, self.layout) for part, kept in pairs])
        splits = _Splits(train, test, self._squares(sums), own=True)
        error = np.stack([model.error(splits, choice) for model, choice in zip(self.models, self.choices, strict=True)])
        return _r2(error, splits.total.sum(0), everything[0, 0])


class OneBlock:
    """Held-out R² of any targets by ridge on one block of columns: what hangs on these alone is computed once.

    Parameters
    ----------
    x : array (n, D)
        Centred columns of variance 1.
    fold : array of int (n,)
        Outer folds, as for `Fits`.
    components : int
        Principal components of `x` that are kept.
    penalties : sequence of float
        As for `Banded`.
    """

    def __init__(self, x: np.ndarray, fold: np.ndarray, components: int, penalties: Sequence[float]) -> None:
        table, self.penalties = np.hstack([np.ones((len(x), 1)), x]), np.asarray(penalties, float)
        self.rows = [np.flatnonzero(fold == f) for f in range(fold.max() + 1)]
        layout = Layout([x.shape[1]], 0, [components])
        maps = _maps(_moments([table[rows] for rows in self.rows]), layout)
        self.parts = [[np.ascontiguousarray((table[rows] @ kept).T) for rows in self.rows] for kept in maps]  # (I, n_h)
        self.outer, self.inner = [], []  # divisions by outer fold, and by outer and inner fold
        for f, parts in enumerate(self.parts):
            sums = np.stack([part @ part.T for part in parts])  # (F, I, I)
            rest = sums.sum(0) - sums[f]
            self.outer.append(_Division(rest, sums[f], self.penalties, own=True))
            inner = {
                h: _Division(rest - sums[h], sums[h], self.penalties, own=False) for h in range(len(sums)) if h != f
            }
            self.inner.append(inner)

    def r2(self, y: np.ndarray) -> np.ndarray:
        """Held-out R² (U,) of targets (n, U) of variance 1; NaN for constant ones."""
        targets, error, total = [y[rows] for rows in self.rows], np.zeros(y.shape[1]), np.zeros(y.shape[1])
        for f, (outer, inner) in enumerate(zip(self.outer, self.inner, strict=True)):
            cross = [part @ target for part, target in zip(self.parts[f], targets, strict=True)]  # F of (I, U)
            rest = sum(cross) - cross[f]
            best = sum(division.of_every_penalty(rest - cross[h], cross[h]) for h, division in inner.items()).argmin(0)
            mean = rest[0] / outer.n
            varies = (targets[f] ** 2).sum(0) + mean * (outer.m * mean - 2 * cross[f][0])  # about the training mean
            total += varies
            error += varies + outer.error(rest, cross[f], self.penalties[best])
        return _r2(error, total, len(y))


def _r2(error: np.ndarray, total: np.ndarray, rows: float) -> np.ndarray:
    """R² (U,) or (U, models) from held-out errors (U,) or (models, U) and totals (U,); NaN for constant targets."""
    varies = total > 1e-9 * rows  # targets have variance 1, so less is what a subtraction leaves of 0
    return 1 - np.divide(error, total, out=np.full_like(error, np.nan), where=varies).T
