"""Figures of the measures beside what was planted, and beside each other, from the tables of `validate`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rgbd_insight._validation import scores
from rgbd_insight.plots._style import COLOURS, INK, NETWORKS, canvas, finish
from rgbd_insight.plots.trust import OTHER, OURS, named, need_rows


def account_errors(table: pd.DataFrame, ax: Axes | None = None, *, noise: float | None = None) -> Axes:
    """Largest error of the variance account's shares against the number of images, by how many networks are pooled.

    Parameters
    ----------
    table : the table "validation".
    ax : where to draw; a figure of its own by default.
    noise : of the first modality's units; by default the smallest in the table.

    Returns
    -------
    Axes. Full lines: both modalities equally noisy; dashed: the other three times as noisy.

    Examples
    --------
    >>> rows = {"battery": "account", "world": 0, "condition": "1", "noise": 0.3, "noise_ratio": [1.0, 3.0], "n": 300,
    ...         "part": "a -> a", "value": [0.9, 0.6], "truth": 1.0}
    >>> account_errors(pd.DataFrame(rows)).get_ylabel()
    'largest error of a share'
    """
    found = scores.shares(need_rows(table, "account"))
    noise = found["noise"].min() if noise is None else noise
    found, ax = found[found["noise"] == noise], canvas(ax, 4.2)
    conditions, ratios = list(dict.fromkeys(found["condition"])), sorted(found["noise_ratio"].unique())
    for (condition, ratio), part in found.groupby(["condition", "noise_ratio"], sort=False):
        colour, part = NETWORKS[conditions.index(condition) % len(NETWORKS)], part.sort_values("n")
        ax.plot(part["n"], part["error"], "-" if ratio == ratios[0] else "--", color=colour, lw=1.8, marker="o", ms=5)
    key = {c if not c.isdigit() else f"{c} network{'s' * (c != '1')}": Line2D([], [], color=NETWORKS[i % len(NETWORKS)])
           for i, c in enumerate(conditions)}  # fmt: skip
    styles = zip(ratios, ("-", "--"), strict=False)
    key |= {f"noise ratio {r:g}": Line2D([], [], color=INK, ls=style) for r, style in styles}
    ax.set_ylim(bottom=0)
    return finish(ax, "Variance account of pure units", x="images", y="largest error of a share", key=key)


def advantages(differences: pd.DataFrame, score: str, ax: Axes | None = None, *, where: str = "all") -> Axes:
    """By how much ours is better than each alternative, paired world by world, with 95 % intervals.

    Parameters
    ----------
    differences : the table "validation_differences".
    score : what is scored: "concept", "total", "CKA", "unrelated", "variance" or "dimension".
    ax : where to draw; a figure of its own by default.
    where : which worlds.

    Returns
    -------
    Axes. Right of 0 ours is better. The best alternative is a diamond.

    Raises
    ------
    ValueError
        Where the table has no such rows.

    Examples
    --------
    >>> row = {"score": "concept", "where": "all", "ours": "rank_units", "alternative": "cka", "value": 0.9,
    ...        "other": 0.8, "difference": 0.1, "low": 0.05, "high": 0.15, "worlds": 24, "best": True}
    >>> advantages(pd.DataFrame([row]), "concept").get_title("left")
    'ranking of units against the alternatives (24 worlds)'
    """
    rows = differences[(differences["score"] == score) & (differences["where"] == where)].sort_values("difference")
    if rows.empty:
        known = ", ".join(sorted(set(differences["score"])))
        raise ValueError(f"`score` must be one of {known}, and `where` one of its worlds; got {score!r}, {where!r}")
    ax = canvas(ax, 0.36 * len(rows) + 1.5)
    ax.axvline(0, color=INK, lw=1.2)
    for at, row in enumerate(rows.itertuples()):
        colour = OURS if row.low > 0 else COLOURS["rgb"] if row.high < 0 else OTHER
        ax.hlines(at, row.low, row.high, color=colour, lw=1.8)
        ax.plot(row.difference, at, "D" if row.best else "o", color=colour, ms=6)
    ax.set_yticks(range(len(rows)), [f"{named(r.alternative)} ({r.other:.2f})" for r in rows.itertuples()])
    first = rows.iloc[0]
    title = f"{named(first['ours'])} against the alternatives ({rows['worlds'].max():.0f} worlds)"
    return finish(ax, title, x=f"advantage of ours, which scores {first['value']:.2f}", key={})


def against_truth(values: Mapping[str, np.ndarray], truth: float, ax: Axes | None = None, *, x: str = "value") -> Axes:
    """Values that several procedures give for one truth: a dot for each repetition, a bar for the mean.

    Parameters
    ----------
    values : procedure → values of the repetitions.
    truth : what all of them should give on average (dashed).
    ax : where to draw; a figure of its own by default.
    x : what is measured.

    Examples
    --------
    >>> against_truth({"greedy": np.array([0.4, 0.5]), "cross-fitted": np.array([0.0, 0.1])}, 0.0).get_xlabel()
    'value'
    """
    ax = canvas(ax, 0.5 * len(values) + 1.5)
    ax.axvline(truth, color=INK, ls="--", lw=1.4)
    for at, (name, found) in enumerate(values.items()):
        colour, found = NETWORKS[at % len(NETWORKS)], np.asarray(found, float)
        ax.plot(found, at + np.linspace(-0.2, 0.2, len(found)), "o", color=colour, ms=3.5, alpha=0.5, label=name)
        ax.plot([found.mean()] * 2, [at - 0.33, at + 0.33], color=colour, lw=3)
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    return finish(ax, "Each dot is one repetition, each bar their mean", x=x, key={})


def beside_truth(rows: pd.DataFrame, ax: Axes | None = None, *, title: str = "One world") -> Axes:
    """Measures of one world with their intervals, each beside its planted value.

    Parameters
    ----------
    rows : columns measure, value, low, high, truth (NaN where nothing is planted for it).
    ax : where to draw; a figure of its own by default.
    title : of the figure.

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
    ax.set_yticks(at, [named(m) for m in rows["measure"]])
    ax.set_xlim(-0.15, 1.05)
    ax.invert_yaxis()
    return finish(ax, title, x="value", key=key)
