"""One row of the ledger, and what it cannot say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VERDICTS = ("supported", "not supported", "inconclusive", "not tested", "exploratory")


@dataclass(frozen=True)
class Row:
    """What one test found.

    Attributes
    ----------
    effect : str
        What `value` is, in words and units.
    value, low, high, p : float
        The effect, its 95 % interval and its p; NaN where the test has none.
    verdict : str
        One of `VERDICTS`.
    why : str
        What decided, or what is missing.
    command : str
        What would add it; empty where nothing is missing.
    """

    effect: str
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan
    verdict: str = "not tested"
    why: str = ""
    command: str = ""


def untested(why: str, command: str) -> Row:
    """A row that could not be tested: why, and the command that would add what is missing."""
    return Row("", why=why, command=command)


def judged(low: float, high: float, threshold: float = 0.0) -> str:
    """What an interval says of "larger than the threshold"."""
    return "supported" if low > threshold else "not supported" if high < threshold else "inconclusive"


def written(row: Row) -> str:
    """The effect of a row (or of one of the ledger's table) with its interval: two places, three where all are small.

    Examples
    --------
    >>> written(Row("", 0.187, 0.03, 0.34)), written(Row("", -0.0011, -0.0016, -0.0006)), written(Row("", 16.4))
    ('0.19 (0.03 to 0.34)', '-0.001 (-0.002 to -0.001)', '16.40')
    """
    numbers = [row.value, row.low, row.high]
    places = 2 if np.nanmax(np.abs(numbers)) >= 0.005 else 3
    value, low, high = (f"{number:z.{places}f}" for number in numbers)
    return f"{value} ({low} to {high})" if np.isfinite(row.low) else value
