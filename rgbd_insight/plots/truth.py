"""What measures are judged by: values beside a truth that is known, and the criteria that were set beforehand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rgbd_insight.plots.style import COLOURS, INK, MODALITIES, NETWORKS, canvas, filled, finish
from rgbd_insight.plots.tables import keep, keeps_table
from rgbd_insight.plots.trust import OURS, measure_name

MET, SHORT = COLOURS["both"], MODALITIES[0]
# How the name of a score begins → the property that it belongs to.
PROPERTIES = {
    "false positives": "chance: tests keep their level",
    "bias": "chance: no value from nothing",
    "degenerate": "chance: no value from nothing",
    "coverage": "intervals cover",
    "calibration": "values are the planted ones",
    "variance partitioning": "shares are the planted ones",
    "absent concepts": "labels of concepts are right",
    "a true δ": "labels of concepts are right",
    "concept labels": "labels of concepts are right",
    "ranking": "units are ranked as planted",
    "joint score": "joint score beats alternatives",
    "synergy": "synergy beats alternatives",
    "numbers made": "numbers belong to this code",
}
# How the name of a score begins, and what its subject contains → why it is missed where it is. What holds by the
# numbers alone is found from them, see `_reason`.
REASONS = {
    ("variance partitioning", "noise ratio"): "the correction takes all units of a part to be hidden by noise alike, "
    "and the other modality's three times noisier networks hide some more than others",
    ("joint score", "semantic variance alone"): "similarity, its other half, counts all that varies; the planted share "
    "is one of concepts",
    ("numbers made", ""): "the code changed after the table was made: `rgbd-insight validate` makes it again",
}


def against_truth(values: Mapping[str, np.ndarray], truth: float, ax: Axes | None = None, *, x: str = "value") -> Axes:
    """Values that several procedures give for one truth: a dot for each repetition, a bar for their mean.

    Parameters
    ----------
    values : mapping of str to array
        Procedure → values of the repetitions.
    truth : float
        What all of them should give on average (dashed).
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    x : str
        What is measured.

    Returns
    -------
    Axes

    Examples
    --------
    >>> against_truth({"greedy": np.array([0.4, 0.5]), "cross-fitted": np.array([0.0, 0.1])}, 0.0).get_xlabel()
    'value'
    """
    if empty := [name for name, found in values.items() if not np.size(found)]:
        raise ValueError(f"`values` must have repetitions of each procedure; {empty[0]!r} has none")
    rows = [{"procedure": name, "value": v, "planted": truth} for name, found in values.items() for v in found]
    ax = keep(canvas(ax, 0.5 * len(values) + 1.5), pd.DataFrame(rows))
    ax.axvline(truth, color=INK, ls="--", lw=1.4)
    for at, (name, found) in enumerate(values.items()):
        colour, found = NETWORKS[at % len(NETWORKS)], np.asarray(found, float)
        ax.plot(found, at + np.linspace(-0.2, 0.2, len(found)), "o", color=colour, ms=3.5, alpha=0.5, label=name)
        ax.plot([found.mean()] * 2, [at - 0.33, at + 0.33], color=colour, lw=3)
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    means = ", ".join(f"{name} {np.mean(found):.2f}" for name, found in values.items())
    return finish(ax, f"Planted {truth:.2f}; on average {means}", x=x, key={})


@keeps_table
def beside_truth(rows: pd.DataFrame, ax: Axes | None = None, *, title: str = "One world") -> Axes:
    """Measures of one world with their intervals, each beside its planted value.

    Parameters
    ----------
    rows : DataFrame
        Columns measure, value, low, high, truth (NaN where nothing is planted for it).
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    title : str
        Title of the figure.

    Returns
    -------
    Axes

    Examples
    --------
    >>> row = {"measure": "debiased_cka", "value": 0.3, "low": 0.2, "high": 0.4, "truth": 0.31}
    >>> len(beside_truth(pd.DataFrame([row])).lines)
    2
    """
    ax, at = canvas(ax, 0.5 * len(rows) + 1.6), np.arange(len(rows))
    ax.hlines(at, rows["low"], rows["high"], color=OURS, lw=2)
    key = {"measured": ax.plot(rows["value"], at, "o", color=OURS, ms=7)[0]}
    key["planted"] = ax.plot(rows["truth"], at, "D", color="black", mfc="none", ms=9)[0]
    ax.set_yticks(at, [measure_name(m) for m in rows["measure"]])
    ax.set_xlim(-0.15, 1.05)
    ax.invert_yaxis()
    return finish(ax, title, x="value", key=key)


def _asked(bars: pd.DataFrame) -> pd.DataFrame:
    """The criteria that were asked of, each with its property."""
    rows = filled(bars[bars["met"].notna()], "criteria (validation.bars has them)", "score", "about", "value")
    found = rows["score"].map(
        lambda score: next((p for start, p in PROPERTIES.items() if score.startswith(start)), score)
    )
    return rows.assign(property=found, met=rows["met"].astype(bool))


def criteria(bars: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How many of the criteria that were set beforehand are met, property by property.

    Parameters
    ----------
    bars : DataFrame
        What `validation.bars` gives.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        A bar a property: green what is met, orange what is missed, the counts beside it.

    Raises
    ------
    ValueError
        Where nothing was asked.

    Examples
    --------
    >>> rows = {"score": ["coverage of 95 % intervals", "bias"], "about": "", "value": 0.9, "met": [False, True]}
    >>> criteria(pd.DataFrame(rows)).get_title("left")
    '1 of 2 criteria set beforehand are met'
    """
    counts = _asked(bars).groupby("property", sort=False)["met"].agg(asked="size", met="sum").reset_index()
    ax, at = keep(canvas(ax, 0.36 * len(counts) + 1.2), counts), np.arange(len(counts))
    missed = counts["asked"] - counts["met"]
    ax.barh(at, counts["met"], color=MET, height=0.62)
    ax.barh(at, missed, left=counts["met"], color=SHORT, height=0.62, hatch="////", edgecolor="white")
    for y, row in enumerate(counts.itertuples()):
        short = f", {row.asked - row.met} missed" if row.asked > row.met else ""
        ax.annotate(f"{row.met} of {row.asked}{short}", (row.asked, y), (5, 0), textcoords="offset points", va="center")
    ax.set_yticks(at, counts["property"])
    ax.set_xlim(0, 1.25 * counts["asked"].max())
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    title = f"{counts['met'].sum()} of {counts['asked'].sum()} criteria set beforehand are met"
    return finish(ax, title, x="criteria", key={})


def missed(bars: pd.DataFrame) -> pd.DataFrame:
    """Every criterion that is missed: what was measured, what was asked, and why it is short.

    Parameters
    ----------
    bars : DataFrame
        What `validation.bars` gives.

    Returns
    -------
    DataFrame
        One row a criterion, columns criterion, measured (with its 95 % interval, where it has one), asked and why;
        no rows where all are met.

    Examples
    --------
    >>> rows = {"score": ["coverage of 95 % intervals"], "about": ["matching, n 200"], "value": 0.99, "low": 0.98,
    ...         "high": 1.0, "bar": "from .92 to .98", "met": [False]}
    >>> missed(pd.DataFrame(rows)).loc[0, "why"]
    'wider than promised: it errs on the safe side'
    """
    rows = _asked(bars)
    rows = rows[~rows["met"]]
    ends = rows.reindex(columns=["low", "high"])
    interval = [f" ({a:.3f} to {b:.3f})" if np.isfinite(a) else "" for a, b in ends.to_numpy(float)]
    return pd.DataFrame(
        {
            "criterion": rows["score"] + ": " + rows["about"],
            "measured": [f"{value:.3f}{text}" for value, text in zip(rows["value"], interval, strict=True)],
            "asked": rows.get("bar", ""),
            "why": [_reason(row) for row in rows.itertuples()],
        }
    ).reset_index(drop=True)


def _reason(row: object) -> str:
    """Why one criterion is missed."""
    for (start, part), reason in REASONS.items():
        if row.score.startswith(start) and part in row.about:
            return reason
    if row.score.startswith("coverage"):
        wide = row.value > 0.95
        return "wider than promised: it errs on the safe side" if wide else "narrower than promised: it hides doubt"
    if row.low <= 0 <= row.high:
        return "better or worse by no more than chance: the worlds are too few to tell the two apart"
    return "see the section on it"
