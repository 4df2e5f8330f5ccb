"""Figures of the claims ledger: the verdicts, and where networks stand between consistency and specificity."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from rgbd_insight.plots._style import INK, canvas, finish
from rgbd_insight.plots.zoo import mark
from rgbd_insight.questions.claims import Ledger, written

COLOURS = {"supported": "#b7dfcb", "not supported": "#f3c3a6", "inconclusive": "#e8e3c8", "not tested": "#ececec",
           "exploratory": "#cfdcec"}  # fmt: skip


def verdicts(found: Ledger, ax: Axes | None = None) -> Axes:
    """A row a claim, a column a kind of data, each with its verdict and effect.

    Parameters
    ----------
    found : of `claims`.
    ax : where to draw; by default a figure of its own, as tall as its rows need.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> from rgbd_insight.questions.claims import claims
    >>> ax = verdicts(claims(ri.load("book/features/scenes"), only=["5", "7"]))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['5  Imbalance', '7  A derived fusion']
    """
    table = found.table
    names, data = list(dict.fromkeys(table.claim)), list(dict.fromkeys(table.data))
    ax = canvas(ax, 0.7 + 0.48 * len(names))
    for row in table.itertuples():
        x, y = data.index(row.data), names.index(row.claim)
        ax.add_patch(Rectangle((x - 0.48, y - 0.44), 0.96, 0.88, color=COLOURS[row.verdict]))
        number = "" if pd.isna(row.value) else f"\n{written(row)}"
        ax.text(x, y, f"{row.verdict}{number}", ha="center", va="center", fontsize=9, color=INK, linespacing=1.15)
    titles = table.drop_duplicates("claim").set_index("claim").name
    ax.set_yticks(range(len(names)), [f"{claim}  {titles[claim]}" for claim in names])
    ax.set_xticks(range(len(data)), data)
    ax.set(xlim=(-0.5, len(data) - 0.5), ylim=(len(names) - 0.5, -0.5))
    ax.grid(False)
    ax.tick_params(length=0)
    return finish(ax, "The ledger", key={})


def plane(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Consistency C against specificity S, one point with both intervals for every seed of every network.

    Parameters
    ----------
    table : rows "C" and "S" of `balance`.
    ax : where to draw; a figure of its own by default.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        Where the table has no such rows.

    Examples
    --------
    >>> rows = [{"measure": m, "fusion": "sum", "run": "sum-s0-e8", "value": v, "low": v - 0.01, "high": v + 0.01}
    ...         for m, v in (("C", 0.1), ("S", 0.6))]
    >>> plane(pd.DataFrame(rows)).get_xlabel()
    'C: named and consistent (share)'
    """
    rows = table[table.measure.isin(["C", "S"])]
    if rows.empty:
        raise ValueError("`table` must have rows C and S of `balance`; got none")
    ax = canvas(ax, 4.2)
    for i, (fusion, part) in enumerate(rows.groupby("fusion", sort=False)):
        wide = part.pivot(index="run", columns="measure", values=["value", "low", "high"])
        c, s = (wide.xs(name, axis=1, level=1) for name in ("C", "S"))
        bars = {"xerr": [c.value - c.low, c.high - c.value], "yerr": [s.value - s.low, s.high - s.value]}
        ax.errorbar(c.value, s.value, **bars, ms=5, lw=1.2, label=fusion, **mark(i))
    return finish(ax, "Between consistency and specificity", x="C: named and consistent (share)",
                  y="S: named and specific (share)")  # fmt: skip
