"""The geometry of streams: debiased CKA of a pair, of all levels at once, as a statistic; and how many dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rgbd_insight.metrics.checks import centred_rows, check_lengths, check_rows, compress, from_first_row, varying_rows
from rgbd_insight.metrics.grams import Grams, evaluated, worthwhile
from rgbd_insight.metrics.hsic import centred_hsic, hsic_matrix, residual_factor
from rgbd_insight.utils.threads import in_threads, one_thread

Statistic = Callable[[np.ndarray, np.ndarray], float | np.ndarray]
ONE_THREAD = 1e8  # multiplications in a comparison up to which a second thread costs more than it saves
FLAT = 1e-20  # a stream with less than this share of its variance left, on some subset of the images, is constant there
SIMPLEX = 1e-12  # … and one with less than this share of its squared variance in HSIC(x, x) has no geometry to compare


def debiased_cka(x: ArrayLike, y: ArrayLike, confounds: ArrayLike | None = None) -> float:
    """Likeness of the geometry of two streams: 1 for the same up to rotation and scale, 0 on average for unrelated.

    Estimates are not clamped: unrelated streams give negative values half of the time.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same N ≥ 4 images, in the same order; maps are flattened first.
    confounds : array (N, P), optional
        Image properties (brightness, mean depth…) to regress out of both streams first; N ≥ 4 + P.

    Returns
    -------
    float
        At most about 1.

    Raises
    ------
    ValueError
        Where a stream is constant over the images, has NaN, too few rows, or the lengths differ.

    Notes
    -----
    HSIC_u(x, y) / √(HSIC_u(x, x) HSIC_u(y, y)) with the linear kernel and `unbiased_hsic`. The estimate is unbiased for
    independent images; views of one scene resemble each other in every stream, which raises it even where the streams
    are unrelated. `stats.estimate` permutes whole scenes and so has the same rise in its null: judge by that. With
    confounds, the bias of the residuals is corrected as well (`residual_factor`).

    Unchanged by a constant added to each unit, one factor for the stream, and any rotation (so by signs and the order
    of units). Between unrelated streams its standard deviation is about √2/N whatever the widths, N counting images
    that are independent: a likeness of .05 needs 100 of them or more. It weighs a direction by its squared variance:
    neither the share of dimensions nor that of variance in common.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton: Similarity of neural network representations revisited. ICML 2019.
    Song et al. 2012 (see `unbiased_hsic`).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 30))
    >>> turned = 3 * x @ np.linalg.qr(rng.normal(size=(30, 30)))[0] + 5
    >>> round(debiased_cka(x, turned), 6)
    1.0
    >>> round(debiased_cka(x, rng.normal(size=(60, 30))), 2)
    0.04
    """
    if confounds is None:
        pair = [torch.from_numpy(stream) for stream in centred_rows({"x": x, "y": y})]
        value = _normalised(*hsic_matrix(pair), len(pair[0]))[0, 1]
    else:
        value = cka_statistic(x, y, confounds)(*2 * [np.arange(len(x))])
    if np.isnan(value):
        raise ValueError(
            "`x` and `y` must each have more than chance variance once the confounds are out; one has none (its images "
            "are equidistant, or explained by the confounds). Pass more images or fewer confounds."
        )
    return float(value)


def cka_matrix(first: Sequence[ArrayLike | Tensor], second: Sequence[ArrayLike | Tensor] | None = None) -> np.ndarray:
    """`debiased_cka` of every level with every level at once, in the precision and on the device they come in.

    Parameters
    ----------
    first, second : sequences of array or tensor (N, U)
        Levels over the same N ≥ 4 images; without `second`, `first` is compared with itself. Products are taken in the
        precision of the levels (float32 errs by about 1e-8), sums in float64; no copy of all levels in float64 is made.

    Returns
    -------
    array (L, M)
        float64; NaN never.

    Raises
    ------
    ValueError
        Where a level is constant or has no more than chance variance, has NaN or too few rows, or the lengths differ.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> cka_matrix([x, x**2], [x]).round(2)
    array([[1.  ],
           [0.12]])
    """
    count, other = len(first), [] if second is None else list(second)
    names = [f"first[{i}]" for i in range(count)] + [f"second[{i}]" for i in range(len(other))]
    named = list(zip([*first, *other], names, strict=True))
    device = next((level.device for level, _ in named if isinstance(level, Tensor)), torch.device("cpu"))
    levels = in_threads(lambda pair: _centred(*pair), named, device)
    check_lengths(**dict(zip(names, levels, strict=True)))
    if len({level.dtype for level in levels}) > 1:
        levels = [level.double() for level in levels]
    whole = _normalised(*hsic_matrix(levels), len(levels[0]))
    for name, undefined in zip(names, np.isnan(np.diag(whole)), strict=True):
        if undefined:
            raise ValueError(f"`{name}` must have more than chance variance; its images are equidistant. Pass more.")
    return whole if second is None else whole[:count, count:]


def _centred(level: ArrayLike | Tensor, name: str) -> Tensor:
    """(N, U) deviations from the mean, scaled to be of the order of 1, float32 or float64 as they came."""
    x = level.detach() if isinstance(level, Tensor) else torch.as_tensor(np.asarray(level))
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"`{name}` must be (images, units); got shape {tuple(x.shape)}. Flatten maps first.")
    if len(x) < 4:
        raise ValueError(f"`{name}` must have at least 4 images; got {len(x)}. Pass more images.")
    dtype = torch.float32 if x.dtype in (torch.float32, torch.float16, torch.bfloat16) else torch.float64
    wide = x.double() - x[:1].double()  # the only copy in float64, of one level
    wide -= wide.mean(0)
    size = wide.square().mean().sqrt()
    if not bool(torch.isfinite(size)):
        raise ValueError(f"`{name}` must be finite; got NaN or infinity. Drop such images from every stream.")
    if not bool(size > 0):
        raise ValueError(f"`{name}` must vary over the images; it is constant. Leave this tap out.")
    return (wide / size).to(dtype)


def _normalised(hsic: np.ndarray, traces: np.ndarray, n: int) -> np.ndarray:
    """CKA (L, L) of levels whose HSIC is (L, L); NaN where a level has no more than chance variance."""
    own = np.where(_has_geometry(np.diag(hsic), traces, n), np.diag(hsic), np.nan)
    return hsic / np.sqrt(np.outer(own, own))


def _has_geometry(own: np.ndarray, traces: np.ndarray, n: int) -> np.ndarray:
    """Whether HSIC of levels (L,) with themselves is more than rounding beside their variance."""
    return own > SIMPLEX * (traces / n) ** 2


def cka_statistic(
    x: ArrayLike | Sequence[ArrayLike], y: ArrayLike | Sequence[ArrayLike], confounds: ArrayLike | None = None
) -> Statistic:
    """Debiased CKA as a function of the rows of x and their partners in y, for `stats.estimate`.

    Parameters
    ----------
    x, y : array (N, U), or sequences of them
        Responses. Of lists (levels) every level of x is compared with every level of y in one product.
    confounds : array (N, P), optional
        Image properties to regress out of both streams; they go with their images. Permutations need 4 + 2P images.

    Returns
    -------
    statistic(rows, partner)
        Gives a float, or (levels of x, levels of y). NaN where a stream is constant on those rows.

    Raises
    ------
    ValueError
        As for `debiased_cka`.

    Notes
    -----
    Where few images bring most of what two streams share, CKA and its error rise and fall together, and a symmetric
    interval ends below the truth too often (it covered .85 to .93 where latents were sparse and log-normal, .92 to .96
    with the one that `bounded` asks for; .95 to .98 where they were normal).

    With confounds C, and C′ those of the partners, other partners y′ give CKA(x, y | C) + CKA(x, y′ | C, C′) −
    CKA(x, y | C, C′). To permute the residuals of y is not enough: the value has lost the space of C on both sides, a
    permuted one two different spaces. In empty worlds of 30 to 40 groups of five alike images such a test at .05 found
    something in 9 % (2 confounds) and 18 % (5); permuted residuals regressed once more (Freedman and Lane) 7 % and
    10 %; the comparison within both spaces, which both lose, keeps its level.

    References
    ----------
    Freedman, Lane: A nonstochastic interpretation of reported significance levels. JBES 1, 1983.
    Wen, Wang, Wang: Residual permutation test for regression coefficient testing. 2022.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 3))
    >>> statistic = cka_statistic([x, x**2], [x])
    >>> statistic(np.arange(40), np.arange(40)).round(2)
    array([[1.  ],
           [0.12]])
    """
    single = not isinstance(x, (list, tuple)) and not isinstance(y, (list, tuple))
    levels = [list(s) if isinstance(s, (list, tuple)) else [s] for s in (x, y)]
    names = [f"{name}[{i}]" for name, s in zip("xy", levels, strict=True) for i in range(len(s))]
    checked = varying_rows(dict(zip(("x", "y") if single else names, [*levels[0], *levels[1]], strict=True)))
    if confounds is not None:
        confounds = from_first_row(check_rows(confounds, "confounds"))
        check_lengths(x=checked[0], confounds=confounds)
    sides = [_Side(part, confounds) for part in (checked[: len(levels[0])], checked[len(levels[0]) :])]

    given = {np.asarray(level).dtype for side in levels for level in side}
    exact = torch.float32 if given == {np.dtype(np.float32)} else torch.float64
    return CkaStatistic(sides, single, exact if confounds is None else None)


class CkaStatistic:
    """What `cka_statistic` returns: one value by calling it, and many at once, which `stats.estimate` asks for."""

    bounded = np.inf  # 1 may be exact: the same stream but for a rotation

    def __init__(self, sides: list[_Side], single: bool, dtype: torch.dtype | None) -> None:
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


class _Side:
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
        """The centred `rows`, in their order, but for what the orthonormal `basis` (n, P) explains."""
        centred = self.values[rows]
        centred -= centred.mean(0)
        factor = 1.0
        if basis is not None:
            centred -= basis @ (basis.T @ centred)
            factor = residual_factor(basis)
        lengths = np.add.reduceat(centred**2, self.starts, axis=1)
        chosen = _Rows(centred, lengths, self.starts, factor, np.empty(0))
        own, traces = chosen.within(), lengths.sum(0)
        defined = (traces > FLAT * self.total) & _has_geometry(own, traces, len(rows))
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
        return centred_hsic(cross, self.lengths.T @ other.lengths, traces, len(self.values), self.factor)

    def within(self) -> np.ndarray:
        """(L,) unbiased HSIC of each level with itself."""
        products = (level.T @ level for level in np.split(self.values, self.starts[1:], axis=1))
        cross = np.array([np.vdot(product, product) for product in products])
        traces = self.lengths.sum(0)
        return centred_hsic(cross, (self.lengths**2).sum(0), (traces, traces), len(self.values), self.factor)


def _basis(confounds: np.ndarray) -> np.ndarray:
    """Orthonormal (n, rank) basis of the centred confounds; constant and repeated ones take no degree of freedom."""
    centred = confounds - confounds.mean(0)
    scale = np.sqrt((centred**2).sum(0))
    centred /= np.where(scale > 1e-12 * np.sqrt((confounds**2).sum(0)), scale, np.inf)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, sizes > 1e-9]


def effective_dimension(x: ArrayLike) -> float:
    """Participation ratio of the covariance's eigenvalues: from 1 (one direction) to U (all alike).

    Parameters
    ----------
    x : array (N, U)
        Responses; finite, N >= 4.

    Returns
    -------
    float
        NaN where no unit varies.

    Raises
    ------
    ValueError
        Where `x` is not finite or has too few rows.

    Notes
    -----
    (Σλ)² / Σλ² = tr(C)² / tr(C²). Biased down where N is not much larger than U. Unchanged by shift, one factor for the
    stream and rotation.

    References
    ----------
    Gao and Ganguli, On simplicity and complexity in the brave new world of large-scale neuroscience, 2015.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(effective_dimension(rng.normal(size=(4000, 5))), 1)
    5.0
    >>> round(effective_dimension(np.outer(rng.normal(size=50), np.ones(5))), 1)
    1.0
    """
    x = check_rows(x, "x")
    x -= x.mean(0)
    covariance = x.T @ x
    total = np.trace(covariance)
    return float(total**2 / (covariance**2).sum()) if total > 0 else np.nan
