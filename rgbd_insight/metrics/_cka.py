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
        matrix = self._matrix if sides[0].confounds is None else self._controlled
        self.compare = one_thread(matrix) if small else matrix
        self.unpermuted: tuple[bytes, np.ndarray] = (b"", np.empty(0))

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> float | np.ndarray:
        matrix = self.compare(rows, partner)
        return float(matrix[0, 0]) if self.single else matrix

    def _matrix(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        return self.sides[0].at(rows).cka(self.sides[1].at(partner))

    def _controlled(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        """The value; for other partners, the value plus what exchanging them changes once both sides lost the same.

        Residuals of a stream cannot be exchanged: the value has lost one space on both sides, a permuted one two, and
        where the images of a group are alike the second loss is large. So the confounds of the rows and those of their
        partners are regressed out of the streams as they are and as they are exchanged, and the two are compared.
        """
        if self.unpermuted[0] != (key := rows.tobytes()):
            self.unpermuted = key, self._matrix(rows, rows)
        value = self.unpermuted[1]
        if np.array_equal(rows, partner):
            return value
        first, second = self.sides
        basis = _basis(np.hstack([first.confounds[rows], first.confounds[partner]]))
        left, right, exchanged = first.without(rows, basis), second.without(rows, basis), second.without(partner, basis)
        return value + left.cka(exchanged) - left.cka(right)

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
        return self.without(rows, None if self.confounds is None else _basis(self.confounds[rows]))

    def without(self, rows: np.ndarray, basis: np.ndarray | None) -> _Rows:
        """The centred `rows`, in their order, but for what the orthonormal `basis` (n, P) tells of them."""
        centred = self.values[rows]
        centred -= centred.mean(0)
        factor = 1.0
        if basis is not None:
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

    def cka(self, other: _Rows) -> np.ndarray:
        """(L, L') debiased CKA; NaN where a level is constant."""
        return self.hsic(other) / np.sqrt(np.outer(self.own, other.own))

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
