"""Figures of what both modalities say: similarity by level, and the variance partitioning."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rgbd_insight.plots.style import (
    COLOURS,
    INK,
    MARKERS,
    NAMED,
    NETWORKS,
    SHADE,
    absent,
    canvas,
    finish,
    form,
    intervals,
    modality_colours,
    name_ends,
    need,
    one_network,
)
from rgbd_insight.plots.tables import keep, keeps_table
from rgbd_insight.result import Result

TITLES = {
    "cka": ("Similarity of the two modalities", "debiased CKA (0: unrelated, 1: same)"),
    "cka controlled": ("Similarity without the images' means and spreads", "debiased CKA (0: unrelated, 1: same)"),
    "cka within": ("Similarity of the two streams of one network", "debiased CKA (0: unrelated, 1: same)"),
    "cka normalised": ("Similarity between chance (0) and the same modality's seeds (1)", "share of the ceiling"),
    "matching": ("Similarity of matched units", "mean correlation of pairs"),
    "predictivity": ("How well one modality's units predict the other's", "held-out R²"),
    "consistent share": ("Share of the reproducible variance that the other modality has too", "share of variance"),
    "consistent share uncorrected": ("Share that the other modality has too, uncorrected", "share of variance"),
    "share of the known": ("Named and shared, of all that the other network knows", "share of what is known"),
}
OF_ONE = {"cka normalised": "same modality", "share of the known": "all that is known"}  # what 1 is
MARKS = {  # of the yardsticks of the named-consistent share
    "known": {"marker": "_", "ms": 15, "mew": 2.4, "label": "known to the other network at any level"},
    "planted": {"marker": "D", "ms": 6, "mec": "white", "label": "planted in both"},
    "planted with surfaces": {"marker": "D", "ms": 6, "mfc": "none", "label": "planted, and floor, wall, ceiling"},
}


@keeps_table
def similarity(result: Result, measure: str = "cka", ax: Axes | None = None) -> Axes:
    """Similarity of the two modalities level by level, between its null (grey) and its ceiling (dashed).

    Parameters
    ----------
    result : Result
        Answer of `consistency`; results of several networks may be joined (`result.joined`).
    measure : str
        Any measure of `consistency` but "yardstick"; of "consistent share" the named and unnamed parts together, or the
        uncorrected ones where the result holds those alone.
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
    measure = form(result, measure)
    cells = {"label": "all"} if measure.startswith("consistent share") else {}
    table = need(result, "consistency", measure, **cells)
    if measure in OF_ONE:
        table = table.assign(ceiling=1.0, ceiling_kind=OF_ONE[measure])
    title, unit = TITLES.get(measure, (measure, measure))
    if table["fusion"].nunique() == 1:
        title += f": {table['fusion'].iloc[0]}"
    return by_level(ax, table, title, unit, name=_direction)


def _direction(row: pd.Series) -> str:
    return f"{row['modality']}, from {row['versus']}" if isinstance(row["versus"], str) else str(row["modality"])


@keeps_table
def partitioning(consistency: Result, specificity: Result, modality: str, ax: Axes | None = None) -> Axes:
    """The variance partitioning of one modality's stream, level by level, as stacked bars.

    Parameters
    ----------
    consistency, specificity : Result
        Results of one network with "consistent share" and "specific share", or the uncorrected ones alone; the first
        also with "yardstick".
    modality : str
        Whose units are partitioned.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        1 is what other seeds of the same modality predict; negative parts hang below 0. The line is the 95 % interval
        of the consistent share, a circle the same uncorrected where the result holds both, other marks the yardsticks
        of its named part, each with its interval.

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
    measure = form(consistency, "consistent share")
    shared = need(consistency, "consistency", measure, modality=modality)
    own = need(specificity, "specificity", measure.replace("consistent", "specific"), modality=modality)
    network, ax = one_network(shared), canvas(ax, 4.6)
    one_network(own)
    colour = modality_colours([modality])[modality]
    levels = sorted(shared["level"].unique())
    above, below, key = np.zeros(len(levels)), np.zeros(len(levels)), {}
    parts = [(shared, "consistent", COLOURS["both"], "///"), (own, "specific", colour, "\\\\\\")]
    for table, kind, shade, hatched in parts:
        for label, alpha, hatch in (("named", 1.0, ""), ("unnamed", 0.45, hatched)):
            value = table[table["label"] == label].set_index("level")["value"].reindex(levels).fillna(0).to_numpy()
            look = {"facecolor": shade, "alpha": alpha, "hatch": hatch, "edgecolor": "white"}
            ax.bar(levels, value, 0.6, bottom=np.where(value >= 0, above, below), zorder=2, **look)
            above, below = above + value.clip(0), below + value.clip(None, 0)
            key[f"{label}, {kind}"] = Patch(**look)
    every = shared[shared["label"] == "all"]
    seen = every[np.isfinite(every["low"])]
    key["consistent, 95 %"] = ax.vlines(seen["level"] + 0.12, seen["low"], seen["high"], color=INK, lw=2, zorder=4)
    if measure == "consistent share":
        key |= _beside(ax, consistency, modality)
    key["ceiling: other seeds of the modality"] = ax.axhline(1, ls="--", color=INK, lw=1.4)
    ax.axhline(0, color=INK, lw=0.8)
    ax.set_xticks(levels)
    ax.grid(axis="x", visible=False)
    form_of = "" if measure == "consistent share" else ", uncorrected"
    title = f"What is reproducible in the {modality} stream: {network}{form_of}"
    return keep(finish(ax, title, x="level of the encoder", y="share of the reproducible variance", key=key), own)


def _beside(ax: Axes, consistency: Result, modality: str) -> dict:
    """Draw the uncorrected consistent share and the yardsticks where the result holds them; their key."""
    key = {}
    plain = consistency.rows("consistent share uncorrected", modality=modality, label="all")
    if len(plain):
        look = {"marker": "o", "ls": "", "ms": 6, "mfc": "white", "mec": INK, "zorder": 6}
        key["consistent, uncorrected"] = ax.plot(plain["level"] + 0.12, plain["value"], **look)[0]
    for i, (label, look) in enumerate(MARKS.items()):
        rows = consistency.rows("yardstick", modality=modality, label=label)
        if len(rows):
            at = rows["level"] - 0.2 + 0.09 * i
            ax.vlines(at, rows["low"], rows["high"], color="black", lw=1, zorder=4)
            style = {"color": "black", "ls": "", "zorder": 5} | look
            key[look["label"]] = ax.plot(at, rows["value"], **style)[0]
    return key


def by_level(
    ax: Axes | None, table: pd.DataFrame, title: str, y: str, *, name: Callable = str, mutual: bool = False
) -> Axes:
    """Value by level, a line for each network and modality, with intervals, the null and the ceiling.

    `name` labels a line by its first row; in a `mutual` measure a line between two modalities belongs to both.
    """
    ax, table = canvas(ax), table.assign(fusion=table["fusion"].astype(object).fillna("network"))
    networks, several = list(table["fusion"].unique()), table["fusion"].nunique() > 1
    split = table["modality"].nunique() > 1 or table.groupby(["fusion", "level"], dropna=False).size().max() > 1
    colours = modality_colours(table["modality"].dropna())
    series = list(table.groupby(["fusion", "modality", "versus"] if split else "fusion", dropna=False, sort=False))
    shift = dict(zip(range(len(series)), np.linspace(-1, 1, len(series)) * 0.045 * (len(series) - 1), strict=True))
    ends: dict[str, tuple[float, dict]] = {}
    for i, (_, rows) in enumerate(series):
        rows = rows.sort_values("level")
        first, k = rows.iloc[0], networks.index(rows["fusion"].iloc[0])
        colour = colours.get(first["modality"], INK) if split else NETWORKS[k % len(NETWORKS)]
        if split and mutual and isinstance(first["versus"], str) and first["versus"] != first["modality"]:
            colour = COLOURS["both"]
        label = ", ".join(([str(first["fusion"])] if several else []) + ([name(first)] if split else []))
        at = rows["level"] + shift[i]
        line = k if several else i
        look = {"ls": ("-", "-.", ":")[line % 3], "lw": 1.3, "marker": MARKERS[line % 8]}  # dashed is the ceiling
        intervals(ax, at, rows, colour, label=label or "between the modalities", **look)
        ends[label] = rows["value"].iloc[-1], look | {"color": colour}
        of_many = {"color": colour, "marker": look["marker"], "ms": 4, "mfc": "white"}
        _ceiling(ax, rows, of_many if len(series) > 1 else {"color": INK})
        absent(ax, at, rows)
    _null(ax, table)
    ax.set_xticks(sorted(table["level"].unique()))
    ax.grid(axis="x", visible=False)
    handles, labels = ax.get_legend_handles_labels()
    key = {
        name: Line2D([], [], color=INK, ls="--") if name.startswith("ceiling") else handle
        for handle, name in zip(handles, labels, strict=True)
    }
    named = 1 < len(series) <= NAMED
    finish(ax, title, x="level of the encoder", y=y, key={n: a for n, a in key.items() if not (named and n in ends)})
    if named:
        name_ends(ax, ends)
    return ax


def _ceiling(ax: Axes, rows: pd.DataFrame, look: Mapping[str, object]) -> None:
    rows = rows[np.isfinite(rows["ceiling"])]
    if len(rows):
        known = ax.get_legend_handles_labels()[1]
        label = f"ceiling ({rows['ceiling_kind'].iloc[0]})"
        ax.plot(rows["level"], rows["ceiling"], ls="--", lw=1.4, label="_" if label in known else label, **look)


def _null(ax: Axes, table: pd.DataFrame) -> None:
    """Grey up to the value that permuted scenes stay below; the widest of all series."""
    high = table.groupby("level")["null_high"].max().dropna()
    lower, upper = ax.get_ylim()
    lower = min(lower, -0.03 * upper)  # 0 is always in the picture
    if len(high):
        lower = min(lower, table["null"].min() - 0.05 * (upper - lower))
        at = [high.index[0] - 0.3, *high.index, high.index[-1] + 0.3]
        ax.fill_between(
            at,
            lower,
            [high.iloc[0], *high, high.iloc[-1]],
            color=SHADE,
            lw=0,
            zorder=0,
            label="chance (permuted scenes)",
        )
        upper = max(upper, high.max() * 1.05)
    ax.set_ylim(lower, upper)
