"""Debiased CKA of many subsets and permutations of the same images, from inner products that are taken once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from rgbd_insight.metrics.hsic import unbiased_hsic
from rgbd_insight.utils.threads import in_threads

TILE = 32  # rows of the Gram matrices that are gathered together: what they hold fits into a core's own cache
CPU = torch.device("cpu")
MEMORY = 2**31  # bytes that all Gram matrices together may take
CLOSE = 1e-3  # subsets that keep less than this share of a stream's variance are computed afresh
Pair = tuple[np.ndarray, np.ndarray]


def worthwhile(n: int, widths: tuple[Sequence[int], Sequence[int]], count: int, itemsize: int) -> bool:
    """Whether `count` evaluations by inner products of `n` images take less time than by units, and fit in memory.

    Costs in nanoseconds of one thread, measured: .025 an operation of a float64 product of units; .75 to move and .08
    to multiply a single-precision inner product.
    """
    total, levels = [sum(w) for w in widths], [len(w) for w in widths]
    by_units = count * 2 * n * total[0] * total[1] * 0.025
    each = n**2 / 2 * (1.5 * levels[1] + 0.16 * levels[0] * levels[1]) * itemsize / 4
    return n**2 * sum(levels) * itemsize <= MEMORY and count * each + 2 * n**2 * sum(total) * 0.025 < by_units


class Grams:
    """Inner products of the images in every level of two sides.

    Parameters
    ----------
    first, second : sequences of array (N, U)
        Levels, float64, centred over all images.
    dtype : torch.dtype
        Precision of the inner products; sums of their products are float64.
    """

    def __init__(self, first: Sequence[np.ndarray], second: Sequence[np.ndarray], dtype: torch.dtype) -> None:
        self.sides = [_Side(levels, dtype) for levels in (first, second)]
        self.n = len(first[0])
        self.cross = self._summed(self.sides[0].products, self.sides[1].products)
        for side in self.sides:
            side.own = self._summed(side.products, None)

    def _summed(self, a: Tensor, b: Tensor | None) -> np.ndarray:
        """Σ_ij A_ij B_ij (L, M), or Σ_ij A_ij² (L,) without b."""

        def rows(start: int) -> Tensor:
            part = a[start : start + TILE]  # (rows, n, L)
            return _square(part) if b is None else _cross(part, b[start : start + TILE])

        return sum(in_threads(rows, range(0, self.n, TILE), CPU)).numpy()

    def without(self, removed: np.ndarray) -> np.ndarray | None:
        """Debiased CKA (L, M) of all images but `removed`; None where a level hardly varies without them."""
        kept, n = np.setdiff1d(np.arange(self.n), removed), self.n - len(removed)
        index = torch.as_tensor(removed)
        gone = [side.products[index] for side in self.sides]  # (m, n, L)
        both = [part[:, index] for part in gone]  # (m, m, L)
        cross = self.cross - 2 * _cross(*gone).numpy() + _cross(*both).numpy()
        sums = [
            side.sums[kept] - part.sum(0, dtype=torch.float64).numpy()[kept]
            for side, part in zip(self.sides, gone, strict=True)
        ]
        own = []
        for side, total, part, inner in zip(self.sides, sums, gone, both, strict=True):
            squares = side.own - 2 * _square(part).numpy() + _square(inner).numpy()
            found = unbiased_hsic(squares, (total**2).sum(0), total.sum(0) ** 2, n)
            lengths = side.lengths[kept].sum(0)
            trace = lengths - (total.sum(0) + lengths) / n
            if not ((trace > CLOSE * side.lengths.sum(0)) & (found > CLOSE**2 * (trace / n) ** 2)).all():
                return None
            own.append(found)
        hsic = unbiased_hsic(cross, sums[0].T @ sums[1], np.outer(sums[0].sum(0), sums[1].sum(0)), n)
        return hsic / np.sqrt(np.outer(*own))

    def permuted(self, rows: np.ndarray, partners: Sequence[np.ndarray], own: Pair) -> list[np.ndarray]:
        """Debiased CKA (L, M) of the sorted `rows` with the same rows in each of the orders `partners`.

        `own` : HSIC of each level of either side with itself on these rows, which no order changes.
        """
        n, index = len(rows), torch.as_tensor(rows)
        left, right = (s.products if n == self.n else s.products[index][:, index] for s in self.sides)
        sums = [part.sum(1, dtype=torch.float64).numpy() for part in (left, right)]  # (n, L)
        totals, scale = np.outer(sums[0].sum(0), sums[1].sum(0)), np.sqrt(np.outer(*own))
        scale /= np.sqrt(np.outer(*(side.power for side in self.sides)))

        def one(partner: np.ndarray) -> np.ndarray:
            order = np.searchsorted(rows, partner)
            cross = _gathered(left, right, torch.as_tensor(order))
            return unbiased_hsic(cross.numpy(), sums[0].T @ sums[1][order], totals, n) / scale

        return in_threads(one, partners, CPU)


class _Side:
    """The levels of one side: products (N, N, L) with zero diagonals, their row sums and the squared lengths (N, L)."""

    def __init__(self, levels: Sequence[np.ndarray], dtype: torch.dtype) -> None:
        n = len(levels[0])
        self.products = torch.empty((n, n, len(levels)), dtype=dtype)
        self.lengths, self.power = np.empty((n, len(levels))), np.empty(len(levels))

        def fill(number: int) -> None:
            size = np.sqrt((levels[number] ** 2).mean())
            self.power[number] = size**4
            x = torch.as_tensor(levels[number] / size)
            self.lengths[:, number] = (x**2).sum(1).numpy()
            x = x.to(dtype)
            self.products[..., number] = (x @ x.T).fill_diagonal_(0)

        in_threads(fill, range(len(levels)), CPU)
        self.sums = self.products.sum(1, dtype=torch.float64).numpy()
        self.own = np.empty(0)


def _gathered(left: Tensor, right: Tensor, order: Tensor) -> Tensor:
    """Σ_ij left_ij right_order(i)order(j), (L, M): tiles on and right of the diagonal, the latter twice."""
    cross = 0
    for start in range(0, len(order), TILE):
        rows = right.index_select(0, order[start : start + TILE]).index_select(1, order[start:])  # (rows, columns, M)
        part = left[start : start + TILE, start:]  # (rows, columns, L)
        cross = cross + 2 * _cross(part, rows) - _cross(part[:, :TILE], rows[:, :TILE])
    return cross


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Σ_ij a_ij b_ij (L, M); only the sum over j is taken in the precision of the inner products."""
    return torch.bmm(a.transpose(1, 2), b).sum(0, dtype=torch.float64)


def _square(a: Tensor) -> Tensor:
    return a.square().sum((0, 1), dtype=torch.float64)


def evaluated(
    grams: Grams, pairs: Sequence[Pair], own: Callable[[np.ndarray], Pair], one: Callable[..., np.ndarray]
) -> list[np.ndarray]:
    """Debiased CKA for every (rows, partner): leave-outs by subtraction, permutations by gathering, the rest by `one`.

    `own` gives HSIC of each level of either side with itself on a set of rows.
    """
    found: list[np.ndarray | None] = [None] * len(pairs)
    removed: dict[int, np.ndarray] = {}
    permuted: dict[bytes, list[tuple[int, np.ndarray]]] = {}
    for number, (rows, partner) in enumerate(pairs):
        order = np.argsort(rows, kind="stable")
        if len(np.unique(rows)) < len(rows) or not np.array_equal(rows[order], np.sort(partner)):
            continue
        gone = np.setdiff1d(np.arange(grams.n), rows)
        if np.array_equal(rows, partner) and len(gone) <= grams.n / 3:
            removed[number] = gone
        else:
            permuted.setdefault(rows[order].tobytes(), []).append((number, partner[order]))
    for number, value in zip(removed, in_threads(grams.without, list(removed.values()), CPU), strict=True):
        found[number] = value
    for members in permuted.values():
        rows = np.sort(members[0][1])
        values = grams.permuted(rows, [partner for _, partner in members], own(rows))
        for (number, _), value in zip(members, values, strict=True):
            found[number] = value
    return [one(*pair) if value is None else value for value, pair in zip(found, pairs, strict=True)]
