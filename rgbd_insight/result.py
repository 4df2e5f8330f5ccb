"""What a question answers with: one tidy table, what is missing and why, and how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from rgbd_insight.stats import Estimate
from rgbd_insight.utils.messages import unknown

COLUMNS = (
    "question",
    "measure",
    "run",
    "fusion",
    "seed",
    "epoch",
    "modality",
    "level",
    "versus",
    "condition",
    "concept",
    "family",
    "unit",
    "value",
    "low",
    "high",
    "null",
    "null_high",
    "p",
    "ceiling",
    "ceiling_kind",
    "label",
    "planted",
    "n",
    "groups",
)
NUMBERS = ("seed", "epoch", "level", "unit", "value", "low", "high", "null", "null_high", "p", "ceiling", "planted")


@dataclass(frozen=True)
class Missing:
    """Something a question could not say: what, why, and the call that would add it."""

    what: str
    why: str
    call: str


@dataclass(frozen=True)
class Result:
    """The answer to one of the four questions.

    Attributes
    ----------
    question : str
        "consistency", "specificity", "evolution" or "collaboration".
    table : DataFrame
        One row a number; the columns are always `COLUMNS`. A cell is empty where it does not apply.
    missing : tuple of Missing
        What could not be computed, why, and the call that would add it.
    made : mapping
        How: data, runs, devices, package version, permutations, blocks; `warnings` among them, if any.

    Examples
    --------
    >>> rows = [{"measure": "cka", "level": 1, "value": 0.5, "low": 0.4, "high": 0.6}]
    >>> result = Result.of("consistency", rows, made={})
    >>> float(result.one("cka", level=1).value)
    0.5
    """

    question: str
    table: pd.DataFrame
    missing: tuple[Missing, ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, question: str, rows: Iterable[dict], *, missing: Iterable[Missing] = (), made: Mapping) -> Result:
        """A result from rows of a table; an unknown column is an error."""
        rows = [{"question": question} | row for row in rows]
        others = {key for row in rows for key in row} - set(COLUMNS)
        if others:
            raise ValueError(f"`rows` may only have the columns {', '.join(COLUMNS)}; got {', '.join(sorted(others))}")
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        for name in NUMBERS:
            table[name] = pd.to_numeric(table[name])
        return cls(question, table, tuple(missing), dict(made))

    def rows(self, measure: str | None = None, **where: Any) -> pd.DataFrame:
        """The rows of one measure in which every named column has the given value (or one of a list of values)."""
        table = self.table
        if measure is not None:
            where = {"measure": measure} | where
        for column, wanted in where.items():
            if column not in COLUMNS:
                raise ValueError(unknown("column", column, COLUMNS))
            wanted = wanted if isinstance(wanted, (list, tuple, set, range)) else [wanted]
            table = table[table[column].isin(list(wanted))]
        return table

    def one(self, measure: str, **where: Any) -> pd.Series:
        """The single row that matches; an error that says what there is where none or several do."""
        found = self.rows(measure, **where)
        if len(found) != 1:
            known = ", ".join(sorted(self.table.measure.unique()))
            raise ValueError(
                f"one row must match measure={measure!r}, {where}; got {len(found)}. Measures here: {known}. "
                "Name further columns, or use `rows`."
            )
        return found.iloc[0]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What weakens every number, such as groups that are not independent of each other; usually empty."""
        return tuple(self.made.get("warnings", ()))

    def to_frame(self) -> pd.DataFrame:
        """The table to go on with, in a figure or an analysis of one's own: a copy without columns that are empty.

        Returns
        -------
        DataFrame
            One row a number (tidy, as seaborn takes it): the number in `value`, its 95 % interval in `low` and `high`,
            chance in `null`, the ceiling in `ceiling`; the other columns say what the number is of. Columns that are
            empty throughout are left out.

        Examples
        --------
        >>> rows = [{"measure": "cka", "level": level, "value": 0.5} for level in (1, 2)]
        >>> Result.of("consistency", rows, made={}).to_frame()
              question measure  level  value
        0  consistency     cka      1    0.5
        1  consistency     cka      2    0.5
        """
        return self.table.dropna(axis="columns", how="all").reset_index(drop=True)

    def to_csv(self, path: str) -> None:
        """Write the table of `to_frame`."""
        self.to_frame().to_csv(path, index=False)

    def _repr_html_(self) -> str:
        shown = self.to_frame().drop(columns="question", errors="ignore")
        said = [*self.warnings, *(f"{m.what}: {m.why}" for m in self.missing)]
        notes = "".join(f"<li>{escape(line)}</li>" for line in said)
        return f"<b>{escape(self.question)}</b>{shown.to_html(index=False, float_format='%.3f')}<ul>{notes}</ul>"


def numbers(estimate: Estimate, index: Any = ()) -> dict:
    """The columns value … groups of one component of an estimate."""

    def at(values: Any) -> float:
        return float(np.asarray(values)[index]) if values is not None else np.nan

    cells = {name: at(getattr(estimate, name)) for name in ("value", "low", "high", "null", "null_high", "p")}
    return cells | {"n": estimate.n, "groups": estimate.groups}


def joined(results: Iterable[Result]) -> Result:
    """Several results of one question as one, for example of several runs."""
    results = list(results)
    questions = {r.question for r in results}
    if len(questions) != 1:
        raise ValueError(f"`results` must answer one question; got {', '.join(sorted(questions)) or 'none'}")
    table = pd.concat([r.table for r in results], ignore_index=True)
    missing = tuple(dict.fromkeys(m for r in results for m in r.missing))
    return Result(results[0].question, table, missing, results[0].made)
