"""Two audits side by side, from their JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from rgbd_insight.features import SCORES
from rgbd_insight.report.page import html_table, render, write
from rgbd_insight.utils.messages import checked_path
from rgbd_insight.utils.reading import Unreadable, read_json

FORMAT = "rgbd_insight.audit/1"
KEYS = ("measure", "level", "modality", "versus", "concept", "family", "label", "condition", "epoch")
ALIKE = (
    "data",
    "drawn from",
    "images",
    "groups",
    "size (H x W)",
    "modalities",
    "channels",
    "crop",
    "encoding",
    "conditions",
    "task",
    "own concepts",
    "draws of the partner",
    "guests",
    "ceiling",
    "permutations",
)
TEXT = {
    "joint": ("feature similarity", "semantic variance", "joint discrepancy"),
    "consistency": ("cka",),
    "specificity": ("specific share", "specific share uncorrected"),
    "evolution": ("centre of mass",),
    "collaboration": (*SCORES, "utilisation"),
}


@dataclass(frozen=True)
class Comparison:
    """Two audits side by side.

    Attributes
    ----------
    runs : (str, str)
        Their runs.
    differences : dict of str to (str, str)
        Entries of the cards that differ and that numbers depend on: key -> (first, second).
    table : DataFrame
        Question, measure and its cells, value, low and high of both (suffixes _a and _b), apart.
    """

    runs: tuple[str, str]
    differences: dict[str, tuple[str, str]]
    table: pd.DataFrame

    def __str__(self) -> str:
        a, b = self.runs
        parts = [f"A is {a}, B is {b}"]
        if self.differences:
            items = [f"  - {key}: {x} | {y}" for key, (x, y) in self.differences.items()]
            parts.append("\n".join(["THE NUMBERS DO NOT COMPARE: the cards differ in", *items]))
        for question, measures in TEXT.items():
            rows = self.table[(self.table["question"] == question) & self.table["measure"].isin(measures)]
            if len(rows):
                parts.append("\n".join([question.upper(), *map(_line, rows.to_dict("records"))]))
        parts.append(
            fill(
                "* marks 95 % intervals that do not overlap. Of two runs on the same images a test of the "
                "difference could be finer; overlap does not show that they are alike.",
                100,
            )
        )
        return "\n\n".join(parts) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write all rows to `path`, a page of its own (.html) or .json; returns the path."""
        return write(path, self._page, self.to_dict)

    def to_dict(self) -> dict[str, Any]:
        """Runs, differences and all rows, as the .json holds them."""
        rows = [{k: v for k, v in row.items() if pd.notna(v)} for row in self.table.to_dict("records")]
        return {
            "format": f"{FORMAT}/comparison",
            "runs": self.runs,
            "differences": self.differences,
            "table": rows,
        }

    def _page(self) -> str:
        title = f"{self.runs[0]} beside {self.runs[1]}"
        return render("comparison.html", title=title, text=str(self), table=html_table(self.table))


def compare_reports(a: dict[str, Any], b: dict[str, Any]) -> Comparison:
    """Two audits side by side, as their JSON holds them.

    Parameters
    ----------
    a, b : dict
        From `Audit.to_dict` or `read_report`.

    Returns
    -------
    Comparison
    """
    cards = a["card"], b["card"]
    texts = {key: tuple(str(card.get(key, "not recorded")) for card in cards) for key in ALIKE}
    differences = {key: pair for key, pair in texts.items() if pair[0] != pair[1]}
    joined = []
    for question in a["tables"]:
        x, y = (_frame(report["tables"].get(question, [])) for report in (a, b))
        both = x.merge(y, on=list(KEYS), suffixes=("_a", "_b"))
        joined.append(both.assign(question=question))
    table = pd.concat(joined, ignore_index=True) if joined else pd.DataFrame()
    apart = (table["low_a"] > table["high_b"]) | (table["low_b"] > table["high_a"])
    table["apart"] = apart & (not differences)
    numbers = [f"{column}_{side}" for side in "ab" for column in ("value", "low", "high")]
    return Comparison((a["run"], b["run"]), differences, table[["question", *KEYS, *numbers, "apart"]])


def read_report(path: Path) -> dict[str, Any]:
    """An audit's JSON from an unknown hand, checked.

    Parameters
    ----------
    path : Path
        Of a file that `Audit.save` wrote.

    Returns
    -------
    dict
        As from `Audit.to_dict`.

    Raises
    ------
    ValueError
        Where it is none; it names what is wrong.
    """
    path = checked_path("path", path)
    try:
        found = read_json(path)
    except FileNotFoundError:
        raise ValueError(
            f"there is no report at {path}; make it with rgbd-insight audit FEATURES --json {path}"
        ) from None
    except Unreadable as error:
        raise ValueError(f"{path} must be a report saved as .json; {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{path} must be a report of format {FORMAT}, saved by rgbd-insight audit --json; it is none")
    tables, card = found.get("tables"), found.get("card")
    rows = [row for rows in tables.values() for row in rows] if _lists(tables) else [None]
    kinds = ("value", "low", "high")
    known = all(isinstance(row, dict) and all(isinstance(row.get(k, 0.0), float | int) for k in kinds) for row in rows)
    flat = known and all(isinstance(v, str | float | int) for row in rows for v in row.values())
    if not flat or not isinstance(card, dict) or not isinstance(found.get("run"), str):
        raise ValueError(
            f"{path} is damaged: its card, run or tables are not as they were written; save the report again"
        )
    return found


def _lists(tables: Any) -> bool:
    return isinstance(tables, dict) and all(isinstance(rows, list) for rows in tables.values())


def _frame(rows: list[dict]) -> pd.DataFrame:
    """A question's rows, each once; what they are about is text, so that they can be joined on it."""
    table = pd.DataFrame(rows, columns=[*KEYS, "value", "low", "high"])
    for key in KEYS:
        table[key] = ["" if pd.isna(v) else f"{v:g}" if isinstance(v, float | int) else str(v) for v in table[key]]
    table = table[table["value"].notna()].drop_duplicates(list(KEYS))
    return table.astype(dict.fromkeys(["value", "low", "high"], np.float64))


def _line(row: dict) -> str:
    about = ", ".join(str(row[key]) if key != "level" else f"level {row[key]}" for key in KEYS if row[key])
    sides = [f"{row[f'value_{s}']:.3f} ({row[f'low_{s}']:.3f} to {row[f'high_{s}']:.3f})" for s in "ab"]
    return f"  {'*' if row['apart'] else ' '} {about:58}A {sides[0]}   B {sides[1]}"
