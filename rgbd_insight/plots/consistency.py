"""Figures of what both modalities say: similarity by level, and the variance partitioning."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from rgbd_insight.plots.style import (
    COLOURS,
    INK,
    by_level,
    canvas,
    finish,
    modality_colours,
    need,
    one_network,
)
from rgbd_insight.result import Result

TITLES = {
    "cka": ("Similarity of the two modalities", "debiased CKA (0: unrelated, 1: same)"),
    "cka controlled": ("Similarity with brightness and depth regressed out", "debiased CKA (0: unrelated, 1: same)"),
    "cka within": ("Similarity of the two streams of one network", "debiased CKA (0: unrelated, 1: same)"),
    "cka normalised": ("Similarity between chance (0) and the same modality's seeds (1)", "share of the ceiling"),
    "matching": ("Similarity of matched units", "mean correlation of pairs"),
    "predictivity": ("How well one modality's units predict the other's", "held-out R²"),
    "consistent share": ("Share of the reproducible variance that the other modality has too", "share of variance"),
}


def similarity(result: Result, measure: str = "cka", ax: Axes | None = None) -> Axes:
    """Similarity of the two modalities level by level, between its null (grey) and its ceiling (dashed).

    Parameters
    ----------
    result : Result
        Answer of `consistency`; results of several networks may be joined (`result.joined`).
    measure : str
        Any measure of `consistency`; of "consistent share" the named and unnamed parts together.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Lines are intervals of 95 %. A level whose value is undefined says "n/a".

    Raises
    ------
    ValueError
        Where the result lacks the measure.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> rows = [{"measure": "cka", "fusion": "sum", "level": level, "value": 0.5} for level in (1, 2)]
    >>> similarity(Result.of("consistency", rows, made={})).get_ylabel()
    'debiased CKA (0: unrelated, 1: same)'
    """
    cells = {"label": "all"} if measure == "consistent share" else {}
    table = need(result, "consistency", measure, **cells)
    if measure == "cka normalised":
        table = table.assign(ceiling=1.0, ceiling_kind="same modality")
    title, unit = TITLES.get(measure, (measure, measure))
    if table["fusion"].nunique() == 1:
        title += f": {table['fusion'].iloc[0]}"
    return by_level(ax, table, title, unit, name=_direction)


def _direction(row: pd.Series) -> str:
    return f"{row['modality']}, from {row['versus']}" if isinstance(row["versus"], str) else str(row["modality"])


def partitioning(consistency: Result, specificity: Result, modality: str, ax: Axes | None = None) -> Axes:
    """The variance partitioning of one modality's stream, level by level, as stacked bars.

    Parameters
    ----------
    consistency, specificity : Result
        Results of one network with "consistent share" and "specific share".
    modality : str
        Whose units are partitioned.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        1 is what other seeds of the same modality predict; negative parts hang below 0. The line is the 95 % interval
        of the consistent share, a black diamond the named-consistent share that was planted, where it is known.

    Raises
    ------
    ValueError
        Where a share or the modality is absent, or the results are of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> def of(question, measure):
    ...     rows = [{"measure": measure, "label": part, "modality": "rgb", "level": 1, "value": 0.25}
    ...             for part in ("named", "unnamed", "all")]
    ...     return Result.of(question, rows, made={})
    >>> ax = partitioning(of("consistency", "consistent share"), of("specificity", "specific share"), "rgb")
    >>> len(ax.patches)  # the four parts of one level
    4
    """
    shared = need(consistency, "consistency", "consistent share", modality=modality)
    own = need(specificity, "specificity", "specific share", modality=modality)
    network, ax = one_network(shared), canvas(ax, 4.6)
    one_network(own)
    colour = modality_colours([modality])[modality]
    levels = sorted(shared["level"].unique())
    above, below, key = np.zeros(len(levels)), np.zeros(len(levels)), {}
    parts = [(shared, "consistent", COLOURS["both"]), (own, "specific", colour)]
    for table, kind, shade in parts:
        for label, alpha, hatch in (("named", 1.0, ""), ("unnamed", 0.45, "///")):
            value = table[table["label"] == label].set_index("level")["value"].reindex(levels).fillna(0).to_numpy()
            look = {"facecolor": shade, "alpha": alpha, "hatch": hatch, "edgecolor": "white"}
            ax.bar(levels, value, 0.6, bottom=np.where(value >= 0, above, below), zorder=2, **look)
            above, below = above + value.clip(0), below + value.clip(None, 0)
            key[f"{label}, {kind}"] = Patch(**look)
    every = shared[shared["label"] == "all"]
    seen = every[np.isfinite(every["low"])]
    key["consistent, 95 %"] = ax.vlines(seen["level"] + 0.12, seen["low"], seen["high"], color=INK, lw=2, zorder=4)
    planted = shared[(shared["label"] == "named") & np.isfinite(shared["planted"])]
    if len(planted):
        key["planted, named consistent"] = ax.plot(
            planted["level"] - 0.12, planted["planted"], "D", color="black", mec="white", ms=7, zorder=5
        )[0]
    key["ceiling: other seeds of the modality"] = ax.axhline(1, ls="--", color=INK, lw=1.4)
    ax.axhline(0, color=INK, lw=0.8)
    ax.set_xticks(levels)
    ax.grid(axis="x", visible=False)
    title = f"What is reproducible in the {modality} stream: {network}"
    return finish(ax, title, x="level of the encoder", y="share of the reproducible variance", key=key)
