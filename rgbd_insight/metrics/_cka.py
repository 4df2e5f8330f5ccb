"""Debiased CKA of levels as a function of the images: one value at a time, or many that share their work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from rgbd_insight.metrics._check import compress
from rgbd_insight.metrics._grams import Grams, evaluated, worthwhile
from rgbd_insight.metrics._threads import one_thread
from rgbd_insight.metrics.moments import residual_factor, unbiased_hsic

ONE_THREAD = 1e8  # multiplications in a comparison up to which a second thread costs more than it saves
FLAT = 1e-20  # a stream with less than this share of its variance left, on some subset of the images, is constant there
SIMPLEX = 1e-12  # … and one with less than this share of its squared variance in HSIC(x, x) has no geometry to compare


class CkaStatistic:
    """What `cka_statistic` returns: one value by calling it, and many at once, which `stats.estimate` asks for."""

    def __init__(self, sides: list[Side], single: bool, dtype: torch.dtype | None) -> None:
        self.sides, self.single, self.dtype = sides, single, dtype
        small = len(sides[0].values) * sides[0].values.shape[1] * sides[1].values.shape[1] < ONE_THREAD
        self.compare = one_thread(self._matrix) if small else self._matrix

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> float | np.ndarray:
        matrix = self.compare(rows, partner)
        return float(matrix[0, 0]) if self.single else matrix

    def _matrix(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        left, right = self.sides[0].at(rows), self.sides[1].at(partner)
        return left.hsic(right) / np.sqrt(np.outer(left.own, right.own))  # (Lx, Ly)

    def many(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """The values for every (rows, partner), (P,) or (P, Lx, Ly).

        Where that is faster, from inner products of the images, in single precision where all levels are.
        """
        widths = [np.diff([*side.starts, side.values.shape[1]]).tolist() for side in self.sides]
        n = len(self.sides[0].values)
        size = 8 if self.dtype == torch.float64 else 4
        if self.dtype is None or not worthwhile(n, widths, len(pairs), size):
            found = [self.compare(*pair) for pair in pairs]
        else:
            levels = [np.split(s.values - s.values.mean(0), s.starts[1:], axis=1) for s in self.sides]
            own = lambda rows: tuple(side.at(rows).own for side in self.sides)  # noqa: E731
            found = evaluated(Grams(*levels, self.dtype), pairs, own, self.compare)
        return np.stack(found)[:, 0, 0] if self.single else np.stack(found)


class Side:
    """The levels of one side side by side, with what depends on the chosen rows as a set but not on their order."""

    def __init__(self, levels: Sequence[np.ndarray], confounds: np.ndarray | None) -> None:
        levels = [compress(level) for level in levels]
        self.values = np.concatenate(levels, axis=1)  # (N, D)
        self.starts = np.cumsum([0, *(level.shape[1] for level in levels[:-1])])
        self.confounds = confounds
        self.total = np.add.reduceat(((self.values - self.values.mean(0)) ** 2).sum(0), self.starts)  # (L,)
        self.last: tuple[bytes, _Rows] = (b"", None)

    def at(self, rows: np.ndarray) -> _Rows:
        """The centred `rows`. The last set is kept: permutations only reorder it."""
        ordered = np.sort(rows)
        if self.last[0] != (key := ordered.tobytes()):
            self.last = key, self._prepared(ordered)
        return self.last[1] if np.array_equal(rows, ordered) else self.last[1].taken(np.searchsorted(ordered, rows))

    def _prepared(self, rows: np.ndarray) -> _Rows:
        centred = self.values[rows]
        centred -= centred.mean(0)
        factor = 1.0
        if self.confounds is not None:
            basis = _basis(self.confounds[rows])
            centred -= basis @ (basis.T @ centred)
            factor = residual_factor(basis)
        lengths = np.add.reduceat(centred**2, self.starts, axis=1)
        chosen = _Rows(centred, lengths, self.starts, factor, np.empty(0))
        own, traces = chosen.within(), lengths.sum(0)
        defined = (traces > FLAT * self.total) & (own > SIMPLEX * (traces / len(rows)) ** 2)
        return replace(chosen, own=np.where(defined, own, np.nan))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Centred rows of the L levels of one side."""

    values: np.ndarray  # (n, D)
    lengths: np.ndarray  # (n, L) ‖x_i‖²
    starts: np.ndarray  # (L,) first column of each level
    factor: float  # of the bias, for residuals
    own: np.ndarray  # (L,) HSIC of each level with itself, NaN where undefined

    def taken(self, order: np.ndarray) -> _Rows:
        return replace(self, values=self.values[order], lengths=self.lengths[order])

    def hsic(self, other: _Rows) -> np.ndarray:
        """(L, L') unbiased HSIC."""
        cross = np.add.reduceat((self.values.T @ other.values) ** 2, self.starts, axis=0)
        cross = np.add.reduceat(cross, other.starts, axis=1)
        traces = self.lengths.sum(0)[:, None], other.lengths.sum(0)
        return unbiased_hsic(cross, self.lengths.T @ other.lengths, traces, len(self.values), self.factor)

    def within(self) -> np.ndarray:
        """(L,) unbiased HSIC of each level with itself."""
        cross = np.array([square(level.T @ level) for level in np.split(self.values, self.starts[1:], axis=1)])
        traces = self.lengths.sum(0)
        return unbiased_hsic(cross, (self.lengths**2).sum(0), (traces, traces), len(self.values), self.factor)


def _basis(confounds: np.ndarray) -> np.ndarray:
    """Orthonormal (n, rank) basis of the centred confounds; constant and repeated ones take no degree of freedom."""
    centred = confounds - confounds.mean(0)
    scale = np.sqrt((centred**2).sum(0))
    centred /= np.where(scale > 1e-12 * np.sqrt((confounds**2).sum(0)), scale, np.inf)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, sizes > 1e-9]


def square(a: np.ndarray) -> float:
    """Squared Frobenius norm."""
    return float(np.vdot(a, a))
