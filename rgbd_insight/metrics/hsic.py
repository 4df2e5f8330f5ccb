"""Unbiased HSIC: its one formula, for all pairs of levels in memory, and from sums over rows that add and subtract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rgbd_insight.metrics.checks import check_lengths, check_rows
from rgbd_insight.utils.messages import TooFew
from rgbd_insight.utils.threads import in_threads

Sums = TypeVar("Sums", float, np.ndarray, Tensor)
ROWS = 64  # rows of the Gram matrices that are made together
FEW = 1e8  # operations up to which a second thread costs more than it saves


def unbiased_hsic(
    products: Sums, sums: Sums, totals: Sums, n: int, *, diagonal: Sums | float = 0.0, factor: float = 1.0
) -> Sums:
    """Unbiased HSIC from sums over two Gram matrices; 0 on average for independent streams, may be negative.

    Parameters
    ----------
    products : float, array or tensor
        Σ_ij K_ij L_ij; all four sums have this shape, or shapes that broadcast to it.
    sums : as `products`
        Σ_i r_i s_i, of the row sums r of K and s of L *without* their diagonals.
    totals : as `products`
        ΣK ΣL, again without diagonals.
    n : int
        Number of rows, at least 4.
    diagonal : as `products`
        Σ_i K_ii L_ii where `products` has it in it; 0 where the diagonals were set to 0.
    factor : float
        Of what takes the bias out; other than 1 for residuals of a regression (`residual_factor`).

    Returns
    -------
    float, array or tensor
        Of the shape of `products`.

    Raises
    ------
    ValueError
        Where there are too few rows.

    Notes
    -----
    The U-statistic Σ_{i≠j} K_ij L_ij − 2/(n−2) Σ_i r_i s_i + ΣK ΣL/((n−1)(n−2)), over n(n−3). Every debiased CKA of
    this package is this function, whichever way its sums are taken.

    References
    ----------
    Song, Smola, Gretton, Bedo, Borgwardt: Feature selection via dependence maximization. JMLR 13, 2012.

    Examples
    --------
    >>> gram = np.outer([-1.0, 0.0, 2.0, -1.0], [-1.0, 0.0, 2.0, -1.0])
    >>> np.fill_diagonal(gram, 0)
    >>> float(unbiased_hsic((gram**2).sum(), (gram.sum(0) ** 2).sum(), gram.sum() ** 2, n=4))
    1.5
    """
    if n < 4:
        raise TooFew(f"`x` must have at least 4 images for the unbiased estimate; got {n}. Pass more images.")
    bias = diagonal + 2 / (n - 2) * sums - totals / ((n - 1) * (n - 2))
    return (products - factor * bias) / (n * (n - 3))


def centred_hsic(cross: Sums, norms: Sums, traces: tuple[Sums, Sums], n: int, factor: float = 1.0) -> Sums:
    """`unbiased_hsic` of *centred* rows x and y with the linear kernel, for which no Gram matrix is formed.

    Parameters
    ----------
    cross : float, array or tensor
        ‖XᵀY‖², the squared Frobenius norm of the cross-product of the centred rows.
    norms : as `cross`
        Σ_i ‖x_i‖²‖y_i‖².
    traces : pair, as `cross`
        Σ_i ‖x_i‖² and Σ_i ‖y_i‖².
    n, factor : int, float
        As for `unbiased_hsic`, and so are result and errors.

    Notes
    -----
    Of centred rows the row sums without diagonals are −‖x_i‖², and their total is −Σ_i ‖x_i‖².

    Examples
    --------
    >>> x = np.array([[-1.0], [0.0], [2.0], [-1.0]])
    >>> float(centred_hsic(((x.T @ x) ** 2).sum(), (x**4).sum(), ((x**2).sum(), (x**2).sum()), n=4))
    1.5
    """
    return unbiased_hsic(cross, norms, traces[0] * traces[1], n, diagonal=norms, factor=factor)


def residual_factor(basis: np.ndarray) -> float:
    """What the bias must be multiplied by for residuals, at least 1: independent streams stay at 0 on average.

    Parameters
    ----------
    basis : array (n, P)
        Orthonormal basis of what was regressed out besides the mean; n ≥ 4 + P.

    Returns
    -------
    float
        1 for P = 0.

    Raises
    ------
    ValueError
        Where too few rows are left.

    Notes
    -----
    With M = I − 11ᵀ/n − BBᵀ and independent homoscedastic rows, E‖XᵀMY‖² is proportional to tr M = n − 1 − P, the
    U-statistic's bias term to n/(n−2) Σ_i M_ii² − (tr M)²/((n−1)(n−2)); the factor is their ratio.

    Examples
    --------
    >>> round(residual_factor(np.empty((10, 0))), 12)
    1.0
    """
    n, lost = basis.shape
    if n < 4 + lost:
        raise TooFew(
            f"`x` must have at least {4 + lost} images to regress out {lost} confounds; got {n}. Pass more images."
        )
    left = 1 - 1 / n - (basis**2).sum(1)  # (n,) diagonal of M
    degrees = n - 1 - lost
    return float(degrees / (n / (n - 2) * (left**2).sum() - degrees**2 / ((n - 1) * (n - 2))))


def hsic_matrix(levels: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Unbiased HSIC of every level with every level, and every level's own trace.

    Parameters
    ----------
    levels : sequence of tensor (N, U)
        Centred, of one device and precision, N ≥ 4. Products are taken in that precision, sums in float64.

    Returns
    -------
    hsic : array (L, L)
    traces : array (L,)
        Σ_i ‖x_i‖².

    Raises
    ------
    ValueError
        Where there are too few rows.

    Examples
    --------
    >>> x = torch.tensor([[-1.0], [0.0], [2.0], [-1.0]])
    >>> hsic_matrix([x, 2 * x])[0].tolist()
    [[1.5, 6.0], [6.0, 24.0]]
    """
    cross = _cross_products(levels)
    lengths = torch.stack([level.square().sum(1, dtype=torch.float64) for level in levels], 1)  # (N, L)
    traces = lengths.sum(0).cpu().numpy()
    return centred_hsic(cross, (lengths.T @ lengths).cpu().numpy(), (traces[:, None], traces), len(lengths)), traces


def _cross_products(levels: Sequence[Tensor]) -> np.ndarray:
    """‖XᵀY‖² (L, L) of every pair of centred levels (N, U), each pair once.

    From the units' cross-products or from the images' inner products, whichever costs less for these widths.
    """
    n, widths = len(levels[0]), np.array([level.shape[1] for level in levels])
    by_units = n * (widths.sum() ** 2 + (widths**2).sum())  # operations
    by_images = n**2 * (2 * widths.sum() + len(levels) ** 2)
    return _by_units(levels, by_units) if by_units <= by_images else _by_images(levels)


def _by_units(levels: Sequence[Tensor], operations: float = np.inf) -> np.ndarray:
    """‖XᵀY‖² (L, L) from cross-products of units; for few `operations` it is not worth to start threads."""
    count = len(levels)
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    pairs.sort(key=lambda pair: -levels[pair[0]].shape[1] * levels[pair[1]].shape[1])  # the longest first
    cross = np.empty((count, count))

    def fill(pair: tuple[int, int]) -> None:
        i, j = pair
        product = levels[i].T @ levels[j]  # (U, V)
        cross[i, j] = cross[j, i] = float(product.square_().sum(dtype=torch.float64))

    if operations > FEW:
        in_threads(fill, pairs, levels[0].device)
    else:
        for pair in pairs:
            fill(pair)
    return cross


def _by_images(levels: Sequence[Tensor]) -> np.ndarray:
    """‖XᵀY‖² = Σ_ij K_ij L_ij (L, L) from inner products of images, some rows at a time."""
    n = len(levels[0])

    def block(start: int) -> Tensor:
        stop = min(start + ROWS, n)
        rows = torch.stack([level[start:stop] @ level[start:].T for level in levels], 1)  # (rows, L, n − start)
        square = rows[..., : stop - start]  # on the diagonal: counted once, all to the right of it twice
        whole, once = (torch.bmm(k, k.transpose(1, 2)).sum(0, dtype=torch.float64) for k in (rows, square))
        return 2 * whole - once

    return sum(in_threads(block, range(0, n, ROWS), levels[0].device)).cpu().numpy()


@dataclass(frozen=True, eq=False)
class Moments:
    """Additive and subtractive float64 sums over paired rows of one or more streams.

    ``state(A) + state(B)`` is ``state(A ∪ B)`` and ``state(A ∪ B) - state(B)`` is ``state(A)``, whatever the sizes.

    Attributes
    ----------
    widths : tuple of int
        Number of units of each of the B streams; D in all.
    shift : array (D,)
        What was taken from every row before anything was summed. It is part of the state: two states with different
        shifts still add, because the sums can be moved to another shift exactly.
    n : int
        Number of rows.
    first : array (D,)
        Σ z, of the shifted rows z = [x | y | …].
    second : array (D, D)
        Σ z zᵀ.
    cubic : array (B, D)
        Σ ‖z_b‖² z, the squared length of stream b times the row.
    quartic : array (B, B)
        Σ ‖z_b‖² ‖z_c‖².

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 2)) + 300
    >>> parts = Moments.from_rows(x[:48], y[:48]) + Moments.from_rows(x[48:], y[48:])
    >>> bool(np.allclose(parts.hsic(), Moments.from_rows(x, y).hsic(), rtol=1e-9))
    True
    """

    widths: tuple[int, ...]
    shift: np.ndarray
    n: int
    first: np.ndarray
    second: np.ndarray
    cubic: np.ndarray
    quartic: np.ndarray

    @classmethod
    def from_rows(cls, *streams: ArrayLike, shift: np.ndarray | None = None) -> Moments:
        """The state of paired rows of `streams`, each (N, U); a batch may have any number of rows from 1.

        Raises
        ------
        ValueError
            Where a stream is not a finite (N, U) array or the lengths differ.
        """
        rows, widths = _side_by_side(streams)
        shift = rows.mean(0) if shift is None else np.asarray(shift, np.float64)
        rows -= shift
        lengths = np.add.reduceat(rows**2, _starts(widths), axis=1)  # (N, B)
        sums = rows.sum(0), rows.T @ rows, lengths.T @ rows, lengths.T @ lengths
        return cls(widths, shift, len(rows), *sums)

    @classmethod
    def from_batches(cls, batches: Iterable[Sequence[ArrayLike]]) -> Moments:
        """The state of all rows of `batches` of paired streams, in one pass; what is held does not grow with them.

        Raises
        ------
        ValueError
            As for `from_rows`, and where there is no batch.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> Moments.from_batches([x[i : i + 16]] for i in range(0, 50, 16)).n
        50
        """
        shift, n, sums, second = None, 0, 0, None
        for streams in batches:
            rows, widths = _side_by_side(streams)
            if shift is None:
                shift, known = rows.mean(0), widths
                second = np.zeros((len(shift), len(shift)))
            if widths != known:
                raise ValueError(f"`batches` must all have the streams' widths {known}; got {widths}.")
            rows -= shift
            _add_products(second, rows)
            lengths = np.add.reduceat(rows**2, _starts(widths), axis=1)  # (n, B)
            more = np.vstack([rows.sum(0), lengths.T @ rows]), lengths.T @ lengths
            sums, n = more if n == 0 else tuple(a + b for a, b in zip(sums, more, strict=True)), n + len(rows)
        if shift is None:
            raise ValueError("`batches` must hold at least one batch; got none.")
        _mirror(second)
        return cls(known, shift, n, sums[0][0], second, sums[0][1:], sums[1])

    def moved(self, shift: np.ndarray) -> Moments:
        """The same rows summed about another `shift` (D,)."""
        step = self.shift - shift  # (D,): every shifted row z becomes z + step
        pick = np.repeat(np.eye(len(self.widths)), self.widths, axis=1)  # (B, D), 1 where the unit is of the stream
        along = pick * step  # (B, D)
        size = along @ step  # (B,) squared length of the step
        lengths = pick @ np.diag(self.second)  # (B,) Σ‖z_b‖²
        dots = along @ self.first  # (B,) Σ step_b·z_b
        first = self.first + self.n * step
        second = np.stack([self.first, step], 1) @ np.stack([step, first])  # (D, D)
        second += self.second
        products = along @ self.second  # (B, D) Σ (step_b·z_b) z
        cubic = self.cubic + 2 * products + np.outer(size, first) + np.outer(lengths + 2 * dots, step)
        mixed = 2 * self.cubic @ along.T + np.outer(lengths + 2 * dots, size)  # (B, B)
        quartic = self.quartic + mixed + mixed.T + 4 * products @ along.T + self.n * np.outer(size, size)
        return Moments(self.widths, np.asarray(shift, np.float64), self.n, first, second, cubic, quartic)

    def _merged(self, other: Moments, sign: int) -> Moments:
        if self.widths != other.widths:
            raise ValueError(f"`other` must have the streams' widths {self.widths}; got {other.widths}.")
        other = other if np.array_equal(other.shift, self.shift) else other.moved(self.shift)
        names = ("n", "first", "second", "cubic", "quartic")
        return Moments(self.widths, self.shift, *(getattr(self, k) + sign * getattr(other, k) for k in names))

    def __add__(self, other: Moments) -> Moments:
        return self._merged(other, 1)

    def __sub__(self, other: Moments) -> Moments:
        if other.n > self.n:
            raise ValueError(f"`other` must have at most the {self.n} rows it is taken from; got {other.n}.")
        return self._merged(other, -1)

    @classmethod
    def total(cls, *states: Moments) -> Moments:
        """The state of all rows of `states`, added in the order given."""
        return reduce(cls.__add__, states)

    @property
    def mean(self) -> np.ndarray:
        """(D,) mean row, the shift put back."""
        return self.shift + self.first / self.n

    def hsic(self) -> np.ndarray:
        """(B, B) unbiased HSIC (linear kernel) of every pair of streams; may be negative; needs 4 rows.

        Raises
        ------
        ValueError
            Where the state has fewer than 4 rows.
        """
        central = self.moved(self.shift + self.first / max(self.n, 1))
        starts = _starts(self.widths)
        traces = np.add.reduceat(np.diag(central.second), starts)  # (B,)
        squares = np.square(central.second, out=central.second)
        cross = np.add.reduceat(np.add.reduceat(squares, starts, axis=0), starts, axis=1)  # (B, B)
        return centred_hsic(cross, central.quartic, (traces[:, None], traces), self.n)


def _side_by_side(streams: Sequence[ArrayLike]) -> tuple[np.ndarray, tuple[int, ...]]:
    """The checked rows of all streams (N, D), float64, a copy; and the streams' widths."""
    checked = [check_rows(s, f"streams[{i}]", least=1) for i, s in enumerate(streams)]
    check_lengths(**{f"streams[{i}]": s for i, s in enumerate(checked)})
    return np.concatenate(checked, axis=1), tuple(s.shape[1] for s in checked)


def _starts(widths: tuple[int, ...]) -> np.ndarray:
    """The first column of each stream."""
    return np.cumsum((0, *widths[:-1]))


COLUMNS = 256  # units whose products with all units before them are summed together


def _add_products(second: np.ndarray, rows: np.ndarray) -> None:
    """Add rowsᵀ rows to `second` in place, in and above the blocks on its diagonal."""
    total, z = torch.as_tensor(second), torch.as_tensor(rows)

    def add(start: int) -> None:
        stop = start + COLUMNS
        total[:stop, start:stop].addmm_(z[:, :stop].T, z[:, start:stop])

    in_threads(add, range(0, len(second), COLUMNS)[::-1], z.device)  # the tallest first


def _mirror(second: np.ndarray) -> None:
    """Copy what lies above the blocks on the diagonal to below them, in place."""
    for start in range(0, len(second), COLUMNS):
        stop = start + COLUMNS
        second[stop:, start:stop] = second[start:stop, stop:].T
