"""Intervals and tests of numbers that are independent of each other: one a run, a seed or a world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from rgbd_insight.stats.estimates import Number, p_value, scalar_or_array, student
from rgbd_insight.utils.values import shown

FLIPS = 4096  # sign flips; all there are where there are no more


def student_interval(
    mean: ArrayLike, deviation: ArrayLike, count: ArrayLike, confidence: float = 0.95
) -> tuple[Number, Number]:
    """Ends of Student's interval of a mean, in its units; NaN where there is one value only.

    Parameters
    ----------
    mean, deviation, count : array
        Of the values: mean, standard deviation (with n − 1) and number, of any one shape.
    confidence : float
        Of the interval, in (0, 1).

    Returns
    -------
    low, high : float or array
        Of that shape.

    Examples
    --------
    >>> low, high = student_interval(1.0, 0.5, 4)
    >>> round(low, 3), round(high, 3)
    (0.204, 1.796)
    """
    mean, count = np.asarray(mean, float), np.asarray(count, float)
    half = student(confidence, np.maximum(count, 2)) * np.asarray(deviation, float) / np.sqrt(np.maximum(count, 1))
    return scalar_or_array(mean - half), scalar_or_array(mean + half)


def student_p(values: ArrayLike) -> float:
    """Two-sided p of Student's test that values (n,) have the mean 0.

    Parameters
    ----------
    values : array (n,)
        Two or more.

    Raises
    ------
    ValueError
        Where there are fewer.

    Examples
    --------
    >>> round(student_p([0.9, 1.1, 1.3]), 3)
    0.011
    """
    if np.ndim(values) != 1 or np.size(values) < 2:
        raise ValueError(f"`values` must be two or more numbers; got shape {np.shape(values)}")
    return float(distributions.ttest_1samp(values, 0).pvalue)


def proportion_interval(hits: ArrayLike, count: ArrayLike, wrong: float = 0.025) -> tuple[np.ndarray, np.ndarray]:
    """Clopper and Pearson's bounds of a rate, in [0, 1].

    Parameters
    ----------
    hits, count : array
        How often it happened, and of how many, of one shape.
    wrong : float
        Probability that the rate is below the lower bound, and the same for the upper one: .025 for 95 %.

    Returns
    -------
    low, high : array
        Of that shape; 0 where it never happened, 1 where it always did.

    Examples
    --------
    >>> [float(end.round(3)) for end in proportion_interval(3, 10)]
    [0.067, 0.652]
    """
    hits, count = np.asarray(hits, float), np.asarray(count, float)
    if not ((hits >= 0) & (hits <= count)).all() or not 0 < wrong < 1:
        given = f"{shown(hits)} of {shown(count)}, and {wrong}"
        raise ValueError(f"`hits` must be 0 to `count`, and `wrong` in (0, 1); got {given}")
    low, high = (
        distributions.beta.ppf(wrong, hits, count - hits + 1),
        distributions.beta.ppf(1 - wrong, hits + 1, count - hits),
    )
    return np.where(hits > 0, low, 0), np.where(hits < count, high, 1)


def sign_flip(gains: ArrayLike, *, seed: int = 0) -> float:
    """Two-sided p of the mean of paired differences when each may as well have had the other sign; exact for few.

    Parameters
    ----------
    gains : array (n,)
        Differences, one a pair.
    seed : int
        Of the signs, where there are too many to try all.

    Examples
    --------
    >>> sign_flip(np.ones(10)) == 2 / 1024
    True
    """
    gains = np.asarray(gains, float)
    n, exact = len(gains), 2 ** len(gains) <= FLIPS
    if exact:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)  # (2^n, n)
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], (FLIPS, n))
    return p_value(abs(gains.sum()), np.abs(signs @ gains), exact=exact)


def page_trend(table: ArrayLike) -> float:
    """Two-sided p of Page's test that the columns of (blocks, conditions) rise or fall in order: twice the smaller one.

    Parameters
    ----------
    table : array (blocks, conditions)
        Two or more rows, three or more columns.

    Raises
    ------
    ValueError
        Where there are fewer.

    References
    ----------
    Page: Ordered hypotheses for multiple treatments. JASA 58, 1963.

    Examples
    --------
    >>> page_trend([[1, 2, 3, 4], [1, 2, 3, 4], [2, 1, 3, 4]]) < 0.01
    True
    """
    if np.ndim(table) != 2 or np.shape(table)[0] < 2 or np.shape(table)[1] < 3:
        raise ValueError(f"`table` must have 2 or more rows and 3 or more columns; got shape {np.shape(table)}")
    ranks = np.arange(1, np.shape(table)[1] + 1)
    p = (distributions.page_trend_test(table, predicted_ranks=r).pvalue for r in (ranks, ranks[::-1]))
    return min(1.0, 2 * float(min(p)))


@dataclass(frozen=True, eq=False)
class Regression:
    """Least squares of y (n,) on the columns of x (n, k), with standard errors that allow for unequal variances (HC3).

    Attributes
    ----------
    coefficients, covariance : array (k,), array (k, k)
        One coefficient a column of `x`, and their covariance.
    x, y : array (n, k), array (n,)
        What it was made from.

    References
    ----------
    Long, Ervin: Using heteroscedasticity consistent standard errors. The American Statistician 54, 2000.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = np.c_[np.ones(50), rng.normal(size=(50, 2))]
    >>> fit = Regression.of(x, x @ [1.0, 2.0, 0.0] + 0.1 * rng.normal(size=50))
    >>> value, low, high = fit.along([0, 1, 0])
    >>> low < 2 < high, fit.p(1, 99, rng), fit.p(2, 99, rng) > 0.05
    (True, 0.01, True)
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Regression:
        """The regression of y (n,) on the columns of x (n, k), a constant one among them where there shall be one."""
        inverse = np.linalg.pinv(x.T @ x)
        coefficients = inverse @ x.T @ y
        leverage = np.clip(((x @ inverse) * x).sum(1), 0, 0.999)
        scaled = x * ((y - x @ coefficients) / (1 - leverage))[:, None]
        return cls(coefficients, inverse @ (scaled.T @ scaled) @ inverse, x, y)

    def along(self, direction: ArrayLike) -> tuple[float, float, float]:
        """A sum of coefficients, weighted by `direction` (k,), with the ends of its interval of ± 1.96 errors."""
        direction = np.asarray(direction, float)
        value, se = direction @ self.coefficients, np.sqrt(direction @ self.covariance @ direction)
        return float(value), float(value - 1.96 * se), float(value + 1.96 * se)

    def p(self, k: int, permutations: int, rng: np.random.Generator) -> float:
        """Two-sided p of coefficient k: residuals of the model without it are permuted.

        References
        ----------
        Freedman, Lane: A nonstochastic interpretation of reported significance levels. JBES 1, 1983.
        """
        rest = np.delete(self.x, k, 1)
        fitted = rest @ np.linalg.lstsq(rest, self.y, rcond=None)[0]
        residual, solve = self.y - fitted, np.linalg.pinv(self.x)[k]
        draws = [abs(solve @ (fitted + rng.permutation(residual))) for _ in range(permutations)]
        return p_value(abs(solve @ self.y), draws)
