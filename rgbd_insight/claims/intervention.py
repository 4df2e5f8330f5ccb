"""Row 6b of the ledger: does accuracy follow consistency and specificity when these are moved on purpose?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rgbd_insight import stats

COLUMNS = ("operator", "common", "private", "redundancy", "seed", "placebo", "accuracy", "C", "S")
TERMS = ("C", "S", "C²", "C x redundancy", "S x redundancy")
ENDS = ("value", "low", "high")


@dataclass(frozen=True)
class Answer:
    """What the intervention says.

    Attributes
    ----------
    manipulated : DataFrame
        Index C, S, placebo: p of "C rises with the common weight", "S rises with the private weight" and, of the
        placebo, "C rises with the common weight" (NaN where there was none), with the slopes.
    terms : DataFrame
        Index TERMS: value, low, high, p.
    slopes : DataFrame
        Index redundancy: value, low, high of ∂y/∂S, and `best` C (NaN where C has no maximum).
    """

    manipulated: pd.DataFrame
    terms: pd.DataFrame
    slopes: pd.DataFrame

    def verdict(self, level: float = 0.05) -> str:
        """What `claims.toml` says of these numbers: "supported", "not supported" or "inconclusive"."""
        check = self.manipulated
        if not (check.loc[["C", "S"], "p"] < level).all() or not (check.loc[["C", "S"], "slope"] > 0).all():
            return "inconclusive"
        if not check.loc["placebo", "p"] >= level:  # it worked too, or was not run
            return "inconclusive"
        return self.verdict_but_for_the_check()

    def verdict_but_for_the_check(self) -> str:
        """What the regression says where nobody asks whether the weights moved C and S, and the placebo did not."""
        rises, s = self.terms.loc["C x redundancy"], self.slopes
        if rises.low > 0 and (s.low > 0).all():
            return "supported"
        return "not supported" if rises.high < 0 or (s.high < 0).any() else "inconclusive"


def answer(table: pd.DataFrame, *, permutations: int = 1000, seed: int = 0) -> Answer:
    """The manipulation check and the regression of the intervention's runs.

    Parameters
    ----------
    table : DataFrame
        One row a run, the columns `COLUMNS`; accuracy, C and S in shares.
    permutations : int, optional
        Of the check and of the terms.
    seed : int, optional
        Of the permutations.

    Returns
    -------
    Answer

    Raises
    ------
    ValueError
        Where a column is absent, a value is not finite, or there are fewer than three redundancies or weights.

    Notes
    -----
    Check: slope of C (of S) on the weight, centred within operator, redundancy and the other weight; weights are
    permuted within them. Regression: y ~ operator + redundancy + C + S + C² + C·redundancy + S·redundancy by least
    squares, C and S centred; intervals and p as `stats.Regression` has them (HC3; Freedman and Lane).
    """
    _check(table)
    rng = np.random.default_rng(seed)
    real, placebo = table[~table.placebo.astype(bool)], table[table.placebo.astype(bool)]
    rows = {
        "C": _moved(real, "C", "common", "private", permutations, rng),
        "S": _moved(real, "S", "private", "common", permutations, rng),
        "placebo": _moved(placebo, "C", "common", "private", permutations, rng)
        if placebo.common.nunique() > 1
        else {"slope": np.nan, "p": np.nan},
    }
    return Answer(pd.DataFrame(rows).T, *_regression(real, permutations, rng))


def _check(table: pd.DataFrame) -> None:
    absent = [c for c in COLUMNS if c not in table]
    if absent:
        raise ValueError(f"`table` must have the columns {', '.join(COLUMNS)}; got none of {', '.join(absent)}")
    if not np.isfinite(table[["accuracy", "C", "S"]].to_numpy(float)).all():
        raise ValueError("`table` must hold finite accuracy, C and S; got NaN: leave out runs that were not finished")
    for name in ("redundancy", "common", "private"):
        if table[name].nunique() < 3:
            raise ValueError(f"`table` must have three values of {name!r}; got {table[name].unique().tolist()}")


def _moved(
    table: pd.DataFrame, outcome: str, weight: str, other: str, permutations: int, rng: np.random.Generator
) -> dict[str, float]:
    """Slope of an outcome on a weight within cells of everything else, and its two-sided permutation p."""
    cell = table.groupby(["operator", "redundancy", other]).ngroup()

    def centred(column: str) -> np.ndarray:
        values = table[column].astype(float)
        return (values - values.groupby(cell.to_numpy()).transform("mean")).to_numpy()

    y, x = centred(outcome), centred(weight)
    slope = x @ y / (x @ x)
    members = [np.flatnonzero(cell == c) for c in range(cell.max() + 1)]
    draws = []
    for _ in range(permutations):
        drawn = np.empty(len(x))  # a permutation within the cells leaves their means and the sum of squares as they are
        for rows in members:
            drawn[rows] = x[rng.permutation(rows)]
        draws.append(abs(drawn @ y / (x @ x)))
    return {"slope": slope, "p": stats.p_value(abs(slope), draws)}


def _design(table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    c, s = (table[name].to_numpy(float) - table[name].mean() for name in ("C", "S"))
    r = table.redundancy.to_numpy(float)
    columns = {"constant": np.ones(len(table)), "redundancy": r}
    columns |= {f"operator {o}": (table.operator == o).to_numpy(float) for o in sorted(table.operator.unique())[1:]}
    columns |= dict(zip(TERMS, (c, s, c**2, c * r, s * r), strict=True))
    return np.stack(list(columns.values()), 1), list(columns)


def _regression(table: pd.DataFrame, permutations: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    x, names = _design(table)
    y = table.accuracy.to_numpy(float)
    fit, rows = stats.Regression.of(x, y), {}
    for term in TERMS:
        k = names.index(term)
        rows[term] = dict(zip(ENDS, fit.along(np.eye(len(names))[k]), strict=True)) | {"p": fit.p(k, permutations, rng)}
    levels = np.sort(table.redundancy.unique())
    return pd.DataFrame(rows).T, _slopes(fit, names, levels, table.C.mean())


def _slopes(fit: stats.Regression, names: Sequence[str], levels: np.ndarray, mean_c: float) -> pd.DataFrame:
    """∂y/∂S at each redundancy with its interval, and the C at which y is largest."""
    at, beta = {term: names.index(term) for term in TERMS}, fit.coefficients
    rows = {}
    for r in levels:
        direction = np.zeros(len(beta))
        direction[at["S"]], direction[at["S x redundancy"]] = 1, r
        bend, rise = beta[at["C²"]], beta[at["C"]] + beta[at["C x redundancy"]] * r
        best = mean_c - rise / (2 * bend) if bend < 0 else np.nan  # a parabola that opens upwards has no best C
        rows[r] = dict(zip(ENDS, fit.along(direction), strict=True)) | {"best": best}
    return pd.DataFrame(rows).T.rename_axis("redundancy")
