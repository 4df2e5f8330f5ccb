"""How alike two streams of responses are: CKA of whole layers; pairs of units; prediction of one from the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from rgbd_insight.metrics._check import check_lengths, check_rows, compress, from_first_row
from rgbd_insight.metrics._cka import CkaStatistic, Side, square
from rgbd_insight.metrics.pairing import Matching, matching, matching_statistic, max_correlation
from rgbd_insight.metrics.ridge import Prediction, predictivity, predictivity_statistic

__all__ = [
    "Matching", "Prediction", "Statistic", "cka", "cka_statistic", "debiased_cka", "matching", "matching_statistic",
    "max_correlation", "predictivity", "predictivity_statistic",
]  # fmt: skip

Statistic = Callable[[np.ndarray, np.ndarray], float | np.ndarray]


def debiased_cka(x: ArrayLike, y: ArrayLike, confounds: ArrayLike | None = None) -> float:
    """Likeness of the geometry of two streams: 1 for the same up to rotation and scale, 0 on average for unrelated.

    Estimates are not clamped: unrelated streams give negative values half of the time.

    Parameters
    ----------
    x, y : (N, U) and (N, V) responses to the same N ≥ 4 images, in the same order; maps are flattened first.
    confounds : (N, P) image properties (brightness, mean depth…) to regress out of both streams first; N ≥ 4 + P.

    Returns
    -------
    float, at most about 1.

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
    statistic = cka_statistic(x, y, confounds)
    rows = np.arange(len(x))
    value = statistic(rows, rows)
    if np.isnan(value):
        raise ValueError(
            "`x` and `y` must each have more than chance variance once the confounds are out; one has none (its images "
            "are equidistant, or explained by the confounds). Pass more images or fewer confounds."
        )
    return value


def cka(x: ArrayLike, y: ArrayLike) -> float:
    """Biased linear CKA, from 0 to 1, for comparison only: unrelated wide layers score far above 0 on few images.

    Parameters
    ----------
    x, y : (N, U) and (N, V) responses to the same images.

    Returns
    -------
    float in [0, 1]; 1 means the same up to rotation and scale.

    Raises
    ------
    ValueError
        Where a stream is constant over the images, has NaN, too few rows, or the lengths differ.

    Notes
    -----
    ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) of the centred responses. Unchanged by what leaves `debiased_cka` unchanged. Biased up: for
    unrelated streams it goes to 1 as the units outnumber the images.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton: Similarity of neural network representations revisited. ICML 2019.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(cka(rng.normal(size=(60, 200)), rng.normal(size=(60, 200))), 2)  # unrelated
    0.77
    """
    x, y = (compress(s) for s in _streams(x, y))
    x, y = x - x.mean(0), y - y.mean(0)
    return float(square(x.T @ y) / np.sqrt(square(x.T @ x) * square(y.T @ y)))


def cka_statistic(
    x: ArrayLike | Sequence[ArrayLike], y: ArrayLike | Sequence[ArrayLike], confounds: ArrayLike | None = None
) -> Statistic:
    """Debiased CKA as a function of the rows of x and their partners in y, for `stats.estimate`.

    Parameters
    ----------
    x, y : (N, U) responses, or a list of such arrays (levels): then every level of x is compared with every level of
        y in one product.
    confounds : (N, P) image properties to regress out of both streams; they go with their images. Permutations need
        4 + 2P images.

    Returns
    -------
    statistic(rows, partner) : a float, or (levels of x, levels of y). NaN where a stream is constant on those rows.

    Raises
    ------
    ValueError
        As for `debiased_cka`.

    Notes
    -----
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
    checked = _streams(*levels[0], *levels[1], names=("x", "y") if single else names)
    if confounds is not None:
        confounds = from_first_row(check_rows(confounds, "confounds"))
        check_lengths(x=checked[0], confounds=confounds)
    sides = [Side(part, confounds) for part in (checked[: len(levels[0])], checked[len(levels[0]) :])]

    given = {np.asarray(level).dtype for side in levels for level in side}
    exact = torch.float32 if given == {np.dtype(np.float32)} else torch.float64
    return CkaStatistic(sides, single, exact if confounds is None else None)


def _streams(*streams: ArrayLike, names: Sequence[str] = ("x", "y")) -> list[np.ndarray]:
    """The checked streams, counted from their first row; each must vary."""
    checked = [check_rows(s, name) for s, name in zip(streams, names, strict=True)]
    check_lengths(**dict(zip(names, checked, strict=True)))
    checked = [from_first_row(s) for s in checked]
    for s, name in zip(checked, names, strict=True):
        if not s.any():
            raise ValueError(f"`{name}` must vary over the images; it is constant. Leave this tap out.")
    return checked
