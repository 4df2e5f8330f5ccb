"""Figures of what the measures do by chance and at known values, from the tables of `validate`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rgbd_insight._validation import scores
from rgbd_insight.plots._style import COLOURS, INK, MARKERS, NETWORKS, SHADE, canvas, finish

OURS, OTHER = COLOURS["both"], COLOURS["none"]
NAMES = {
    "debiased_cka": "debiased CKA", "cka": "biased CKA", "minibatch_cka": "minibatch CKA", "svcca": "SVCCA",
    "pwcca": "PWCCA", "procrustes": "Procrustes", "rsa": "RSA", "knn_overlap": "k-NN overlap",
    "rank_units": "ranking of units", "semantic_variance": "semantic variance",
    "debiased_cka, controlled": "debiased CKA, controlled",
}  # fmt: skip


def named(measure: str) -> str:
    """A measure's name as a figure writes it.

    Examples
    --------
    >>> named("svcca")
    'SVCCA'
    """
    return NAMES.get(measure, measure)


def need_rows(table: pd.DataFrame, battery: str) -> pd.DataFrame:
    """Rows of one battery of tests, or an error that says where they come from."""
    rows = table[table["battery"] == battery]
    if rows.empty:
        raise ValueError(f"`table` must have rows of {battery!r}; got none. Read it: read_table(folder, 'validation')")
    return rows


def calibration(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Measured value of held-out worlds against the value that follows from how they were made.

    Parameters
    ----------
    table : the table "validation".
    ax : where to draw; a figure of its own by default.

    Returns
    -------
    Axes. On the dashed line a measure is right.

    Examples
    --------
    >>> rows = {"battery": "calibration", "measure": "debiased_cka", "ours": True, "truth": [0.1, 0.4],
    ...         "value": [0.1, 0.5]}
    >>> calibration(pd.DataFrame(rows)).get_xlabel()
    'value in the population'
    """
    rows, ax = need_rows(table, "calibration"), canvas(ax, 4.4)
    ax.axline((0, 0), slope=1, color=INK, ls="--", lw=1.4, label="right")
    for i, (measure, part) in enumerate(rows.groupby("measure", sort=False)):
        ours = bool(part["ours"].iloc[0])
        colour = NETWORKS[i % len(NETWORKS)] if ours else OTHER
        look = {"mfc": colour if ours else "none", "mec": colour, "ms": 6, "zorder": 4 if ours else 3}
        ax.plot(part["truth"], part["value"], MARKERS[i % len(MARKERS)], label=named(measure), **look)
    return finish(ax, "Held-out worlds: measured against planted", x="value in the population", y="measured value")


def null_curves(table: pd.DataFrame, ax: Axes | None = None, *, width: int | None = None) -> Axes:
    """What every measure gives for two streams that have nothing in common, against the number of images.

    Parameters
    ----------
    table : the table "validation".
    ax : where to draw; a figure of its own by default.
    width : units of both streams; by default the widest for which the alternatives were computed.

    Returns
    -------
    Axes. Ours are full lines, the alternatives dashed.

    Raises
    ------
    ValueError
        Where the table has no such rows.

    Examples
    --------
    >>> rows = {"battery": "bias", "measure": "cka", "ours": False, "n": [64, 64, 256, 256], "width": 32,
    ...         "value": [0.5, 0.5, 0.2, 0.2]}
    >>> len(null_curves(pd.DataFrame(rows)).lines)
    2
    """
    means = scores.null_means(need_rows(table, "bias"))
    others = means[~means["ours"].astype(bool)]
    width = int((others if len(others) else means)["width"].max()) if width is None else width
    means, ax = means[means["width"] == width], canvas(ax, 4.4)
    ax.axhline(0, color=INK, lw=1)
    for i, (measure, part) in enumerate(means.groupby("measure", sort=False)):
        part = part.sort_values("n")
        ours = bool(part["ours"].iloc[0])
        look = {"color": NETWORKS[i % len(NETWORKS)], "ls": "-" if ours else "--", "lw": 2 if ours else 1.3}
        ax.plot(part["n"], part["mean"], marker=MARKERS[i % len(MARKERS)], ms=5, label=named(measure), **look)
    ax.set_xscale("log")
    ticks = sorted(means["n"].unique())
    ax.set_xticks(ticks, [f"{n:.0f}" for n in ticks])
    ax.minorticks_off()
    return finish(ax, f"Unrelated streams of {width} units", x="images", y="mean value (nothing is shared)")


def false_positives(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Share of null worlds in which a test finds something at .05: permuting whole groups, and permuting images.

    Parameters
    ----------
    table : the table "validation".
    ax : where to draw; a figure of its own by default.

    Returns
    -------
    Axes. Lines are the corrected 99 % bounds; the dashed line is what was promised.

    Examples
    --------
    >>> rows = {"battery": "null", "measure": "debiased_cka", "condition": ["groups", "images"], "value": [0.0, 1.0]}
    >>> false_positives(pd.DataFrame(rows)).get_xlabel()
    'share of null worlds with p at most .05'
    """
    rates = scores.false_positives(need_rows(table, "null"))
    names = list(dict.fromkeys(rates["measure"]))
    ax = canvas(ax, 0.45 * len(names) + 1.9)
    key = {"promised": ax.axvline(0.05, color=INK, ls="--", lw=1.4)}
    for condition, colour, shift in (("groups", OURS, -0.14), ("images", COLOURS["rgb"], 0.14)):
        part = rates[rates["condition"] == condition]
        at = np.array([names.index(m) for m in part["measure"]]) + shift
        ax.hlines(at, part["low"], part["high"], color=colour, lw=1.7)
        key[f"{condition} permuted"] = ax.plot(part["rate"], at, "o", color=colour, ms=6)[0]
    ax.set_yticks(range(len(names)), [named(n) for n in names])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    return finish(ax, "False positives where images of a group are alike", key=key,
                  x="share of null worlds with p at most .05")  # fmt: skip


def coverage(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How often the 95 % intervals hold what the estimator gives on average at that number of images.

    Parameters
    ----------
    table : the table "validation".
    ax : where to draw; a figure of its own by default.

    Returns
    -------
    Axes. The grey band is .92 to .98; lines are 95 % intervals of the counted share.

    Examples
    --------
    >>> rows = {"battery": "coverage", "measure": "cka", "n": 200, "width": 32, "value": [0.1, 0.12],
    ...         "low": [np.nan, 0.0], "high": [np.nan, 0.2], "condition": ["expectation", "interval"],
    ...         "count": [100, np.nan], "repetition": [0, 0]}
    >>> coverage(pd.DataFrame(rows)).get_xlabel()
    'share of intervals that hold the expectation'
    """
    found = scores.containment(need_rows(table, "coverage"))
    ax = canvas(ax, 0.33 * len(found) + 1.6)
    ax.axvspan(0.92, 0.98, color=SHADE, zorder=0)
    ax.axvline(0.95, color=INK, ls="--", lw=1.2)
    at = np.arange(len(found))
    few = found["repetitions"] < found["repetitions"].max()
    for part, colour in ((~few, OURS), (few, OTHER)):
        ax.hlines(at[part], found["low"][part], found["high"][part], color=colour, lw=1.7)
        ax.plot(found["coverage"][part], at[part], "o", color=colour, ms=6)
    labels = [f"{named(r.measure)}, {r.n:.0f} x {r.width:.0f} ({r.repetitions})" for r in found.itertuples()]
    ax.set_yticks(at, labels)
    ax.invert_yaxis()
    return finish(ax, "Coverage: measure, images x units (repetitions)", key={},
                  x="share of intervals that hold the expectation")  # fmt: skip
