"""Figures of values beside a truth that is known, whatever measured them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rgbd_insight.plots.style import INK, NETWORKS, canvas, finish
from rgbd_insight.plots.tables import keep, keeps_table
from rgbd_insight.plots.trust import OURS, measure_name


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
