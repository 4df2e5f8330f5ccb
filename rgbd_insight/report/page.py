"""The report's files: pages from templates, self-contained, every word from the data escaped; or their numbers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import pyplot as plt

from rgbd_insight import plots
from rgbd_insight.features import SCORES
from rgbd_insight.result import Result
from rgbd_insight.utils.files import write_json, write_text

NOTHING = "nothing that it would show has a value; what is missing, below, says why."
HIDDEN = ("question", "run", "fusion", "seed")  # the same in every row of an audit, and on its card
MAIN = {
    "joint": ("joint discrepancy", "moved by joint training"),
    "consistency": ("cka", "cka controlled", "cka normalised"),
    "specificity": ("specific share", "specific share uncorrected", "label"),
    "evolution": ("centre of mass", "level similarity"),
    "collaboration": (*SCORES, "utilisation"),
}
FIGURES = {  # beside the question's main one
    "joint": (),
    "consistency": (),
    "specificity": (plots.dissimilarity,),
    "evolution": (plots.centre_of_mass,),
    "collaboration": (plots.utilisation,),
}


def check_suffix(path: str | Path) -> Path:
    """The path of a report.

    Parameters
    ----------
    path : str or Path
        Must end in .html (a page of its own) or .json (its numbers).

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        Where it ends neither in .html nor in .json.
    """
    path = Path(path)
    if path.suffix not in (".html", ".json"):
        raise ValueError(f"`path` must end in .html or .json; got {path.name!r}: write {path.stem or 'report'}.html")
    return path


def write(path: str | Path, page: Callable[[], str], numbers: Callable[[], dict]) -> Path:
    """Write the page (.html) or the numbers (.json) to `path`, whole or not at all; returns the path."""
    path = check_suffix(path)
    if path.suffix == ".html":
        write_text(path, page())
    else:
        write_json(path, numbers(), sort=False)
    return path


def render(template: str, **values: Any) -> str:
    """The HTML of one of the templates beside this module.

    Examples
    --------
    >>> "<h1>&lt;b&gt; beside c</h1>" in render("comparison.html", title="<b> beside c", text="", table="")
    True
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    loader = PackageLoader("rgbd_insight.report")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def figures(result: Result) -> list[dict[str, str]]:
    """The question's figures: each an embedded PNG with its alternative text, or why there is none.

    Returns
    -------
    list of {"png": base64, "alt": text} or {"why": text}
    """
    found = []
    for draw in (plots.plot, *FIGURES[result.question]):
        try:
            ax = draw(result)
        except ValueError:  # the result holds nothing that it could draw; "Missing" says why
            found += [{"why": NOTHING}] if draw is plots.plot else []
            continue
        drawn = BytesIO()
        ax.figure.savefig(drawn, format="png", dpi=110, bbox_inches="tight")
        plt.close(ax.figure)
        alt = f"{ax.get_title('left')}. Its numbers are in the table below the figures."
        found.append({"png": base64.b64encode(drawn.getvalue()).decode(), "alt": alt})
    return found


def tables(result: Result) -> dict[str, str | int]:
    """The question's main rows and all of its rows as HTML, and how many those are."""
    table = result.table.drop(columns=list(HIDDEN))
    main = table["measure"].isin(MAIN[result.question]) & ((table["measure"] != "label") | (table["level"] == 0))
    return {"main": html_table(table[main]), "every": html_table(table), "count": len(table)}


def html_table(table: pd.DataFrame) -> str:
    """A table as HTML, its texts escaped, without the columns that are empty throughout."""
    shown = table.dropna(axis="columns", how="all")
    return shown.to_html(index=False, float_format=lambda x: f"{x:.3g}", na_rep="", border=0, escape=True)
