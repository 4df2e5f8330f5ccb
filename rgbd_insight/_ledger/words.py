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
    effect : what `value` is, in words and units.
    value, low, high, p : the effect, its 95 % interval and its p; NaN where the test has none.
    verdict : one of `VERDICTS`.
    why : what decided, or what is missing.
    command : what would add it; empty where nothing is missing.
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


def written(value: float) -> str:
    """A number to two places, or to four where two would say nothing.

    Examples
    --------
    >>> written(0.187), written(-0.0011), written(0.0)
    ('0.19', '-0.0011', '0.00')
    """
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.005 else f"{value:.4f}"
