"""Figures of both axes: where the two streams of a network stand between two seeds and unrelated streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch

from rgbd_insight.metrics.joint import QUADRANTS
from rgbd_insight.plots.style import (
    INK,
    MARKERS,
    NAMED,
    NETWORKS,
    canvas,
    filled,
    finish,
    intervals,
    name_ends,
    no_formula,
    panels,
)
from rgbd_insight.plots.tables import keeps_table
from rgbd_insight.questions.joint import MOVED, PAIRS, RAW, SCORE, SIMILARITY, UNITS, VARIANCE
from rgbd_insight.result import Result

Rows = Result | pd.DataFrame
SHADES = ("#1d6b4d", "#74b899", "#e4e4e4", "#a17a1e")  # of the quadrants, apart in grey too
LINES = (0.2, 0.4, 0.6, 0.8)  # of one joint discrepancy
WIDE = 0.6  # similarity up to which the plane is drawn where nothing is more alike


@partial(keeps_table, measures=(SIMILARITY, VARIANCE))
def plane(found: Rows | Mapping[str, Rows], ax: Axes | None = None, *, networks: Sequence[str] | None = None) -> Axes:
    """The plane of feature similarity and semantic variance: an arrow a network, from its first level to its last.

    Parameters
    ----------
    found : Result or DataFrame, or a mapping of them
        Answers of `joint`, of one network or several; of a mapping each is a panel, named by its key.
    ax : Axes, optional
        A figure of its own by default; of a mapping, it is divided into panels.
    networks : sequence of str, optional
        Only these, in this order.

    Returns
    -------
    Axes
        Thin lines join places of one joint discrepancy; bars at the last level are 95 % intervals.

    Raises
    ------
    ValueError
        Where either axis is missing.

    Examples
    --------
    >>> rows = [
    ...     {"measure": name, "fusion": "sum", "level": level, "value": level / 4, "low": 0, "high": 1}
    ...     for name in ("feature similarity", "semantic variance")
    ...     for level in (1, 2)
    ... ]
    >>> plane(Result.of("joint", rows, made={})).get_xlabel()
    'feature similarity'
    """
    parts = {str(name): _table(part) for name, part in (found if isinstance(found, Mapping) else {"": found}).items()}
    names = list(dict.fromkeys(name for part in parts.values() for name in part["fusion"]))
    names = [n for n in (networks or names) if n in names]
    ax = canvas(ax, 4.2 if len(parts) == 1 else 3.3)
    axes = [ax] if len(parts) == 1 else panels(ax, list(parts), len(parts))
    highest = max(part.loc[part["measure"] == SIMILARITY, "value"].max() for part in parts.values())
    ends, few = {}, len(names) <= NAMED
    for panel, table in zip(axes, parts.values(), strict=True):
        _ground(panel, WIDE if highest < 0.9 * WIDE else 1.0)
        for name in names:
            last = _arrow(panel, table[table["fusion"] == name], _look(name, names))
            ends[_named(name)] = ends.get(_named(name), np.nan) if np.isnan(last) else last
    key = {} if few else {_shown(name): _arrow_key(*_look(name, names)) for name in names}
    title = "How far apart the two streams are, from the first level of the encoders to the last"
    finish(ax, title, x=SIMILARITY, y=VARIANCE, key=key, room=46 if len(parts) == 1 else 52)
    if few:  # beside the last panel, each at the height of its arrow's head
        name_ends(axes[-1], {_named(n): (ends[_named(n)], _line(*_look(n, names))) for n in names})
    return ax


def _table(found: Rows) -> pd.DataFrame:
    """Both axes, a row a network and level."""
    rows = found.table if isinstance(found, Result) else found
    rows = filled(rows[rows["measure"].isin([SIMILARITY, VARIANCE])], f"{SIMILARITY!r} and {VARIANCE!r}")
    if rows["measure"].nunique() < 2:
        raise ValueError(f"`found` must have {SIMILARITY!r} and {VARIANCE!r}; got {rows['measure'].iloc[0]!r} alone")
    rows = _by_pair(rows.assign(fusion=rows["fusion"].astype(object).fillna("network")))
    return rows.sort_values("level", kind="stable")


def _by_pair(rows: pd.DataFrame) -> pd.DataFrame:
    """Of more than two modalities each pair is a network of its own here: "sum: rgb and thermal"."""
    if not {"modality", "versus"} <= {*rows} or len(rows[["modality", "versus"]].dropna().drop_duplicates()) < 2:
        return rows
    return rows.assign(fusion=rows["fusion"] + ": " + rows["modality"] + " and " + rows["versus"])


def _ground(ax: Axes, right: float) -> None:
    """Lines of one joint discrepancy, and the corner of two seeds of one modality, or the way there."""
    for score in LINES:
        ax.plot([0, right], [2 * score - 1, 2 * score - 1 + right], color="#d0d0d0", lw=0.8, zorder=0)
        end = (2 - 2 * score, 1.0) if 2 * score - 1 + right > 1 else (right, 2 * score - 1 + right)
        if 0 <= end[1]:
            ax.annotate(f"{score:.1f}", end, (2, 1), textcoords="offset points", fontsize=9, color="#8a8a8a")
    ax.set(xlim=(-0.03, right + 0.06), ylim=(-0.06, 1.12), yticks=(0, 0.5, 1))
    ax.set_xticks([x for x in (0, 0.25, 0.5, 1) if x <= right])
    ax.grid(visible=False)
    if right == 1:
        ax.plot(1, 0, marker="D", color=INK, ms=6, zorder=3)
    text = "two seeds of\none modality" if right == 1 else "two seeds of one\nmodality: (1, 0)  →"
    ax.annotate(text, (right, 0), (-7, 3), textcoords="offset points", ha="right", va="bottom", fontsize=9)


def _arrow(ax: Axes, table: pd.DataFrame, look: tuple[str, str, str]) -> float:
    """Draw the arrow of one network; the height of its head, NaN where there is none."""
    colour, marker, line = look
    wide = table.pivot_table(index="level", columns="measure", values=["value", "low", "high"])
    if SIMILARITY not in wide["value"] or VARIANCE not in wide["value"]:
        return np.nan
    wide = wide.dropna(subset=[("value", SIMILARITY), ("value", VARIANCE)])
    x, y = wide["value"][SIMILARITY].to_numpy(), wide["value"][VARIANCE].to_numpy()
    ax.plot(x, y, color=colour, lw=1.8, ls=line, marker=marker, ms=4.5, mfc="white", zorder=4)
    if len(x) > 1:
        tail, head = (x[-2], y[-2]), (x[-1], y[-1])
        ax.add_patch(FancyArrowPatch(tail, head, arrowstyle="-|>", mutation_scale=13, color=colour, lw=0, zorder=5))
    last = wide.iloc[-1]
    ax.hlines(y[-1], last["low"][SIMILARITY], last["high"][SIMILARITY], color=colour, lw=1, zorder=3)
    ax.vlines(x[-1], last["low"][VARIANCE], last["high"][VARIANCE], color=colour, lw=1, zorder=3)
    return float(y[-1])


def _look(name: str, names: Sequence[str]) -> tuple[str, str, str]:
    """Colour, marker and line of a network; the twins are black."""
    if name == "twins":
        return INK, "o", "-"
    others = [n for n in names if n != "twins"]
    at = others.index(name)
    return NETWORKS[at % len(NETWORKS)], MARKERS[(at + 1) % len(MARKERS)], ("-", "--", "-.", ":")[at % 4]


def _shown(name: str) -> str:
    run, _, pair = name.partition(": ")
    shown = "trained alone (twins)" if run == "twins" else f"trained together: {run}"
    return f"{shown}, {pair}" if pair else shown


def _named(name: str) -> str:
    """As `_shown`, in the few words that fit beside a line."""
    run, _, pair = name.partition(": ")
    return ("trained alone" if run == "twins" else run) + (f": {pair}" if pair else "")


def _line(colour: str, marker: str, line: str) -> dict[str, str]:
    return {"color": colour, "marker": marker, "ls": line, "mfc": "white"}


def _arrow_key(colour: str, marker: str, line: str) -> Line2D:
    return Line2D([], [], lw=1.8, **_line(colour, marker, line))


@keeps_table
def axis(found: Rows, ax: Axes | None = None, *, measure: str = SCORE) -> Axes:
    """One axis of the plane, or their join, by level: a line a network.

    Parameters
    ----------
    found : Result or DataFrame
        Answer of `joint`.
    ax : Axes, optional
        A figure of its own by default.
    measure : str
        "feature similarity", "semantic variance", "joint discrepancy", or one of the first two with " raw" appended.

    Returns
    -------
    Axes
        Dashed: the value of two seeds of one modality.

    Examples
    --------
    >>> rows = [{"measure": "joint discrepancy", "fusion": "sum", "level": lv, "value": 0.5} for lv in (1, 2)]
    >>> axis(Result.of("joint", rows, made={})).get_ylabel()
    'joint discrepancy'
    """
    rows = found.table if isinstance(found, Result) else found
    rows = _by_pair(filled(rows[rows["measure"] == measure], repr(measure)))
    names, ax, ends = list(rows["fusion"].unique()), canvas(ax, 3.4), {}
    for i, name in enumerate(names):
        part = rows[rows["fusion"] == name].sort_values("level")
        colour, marker, line = _look(name, names)
        at = part["level"] + 0.07 * (i - (len(names) - 1) / 2)
        intervals(ax, at, part, colour, marker=marker, ls=line, lw=1.3, mfc="white")
        ends[_named(name)] = part["value"].iloc[-1], _line(colour, marker, line)
    seeds = rows.groupby("level")["ceiling"].mean() if "ceiling" in rows else pd.Series(dtype=float)
    key = {_shown(name): _arrow_key(*_look(name, names)) for name in names}
    if seeds.notna().any():
        ax.plot(seeds.index, seeds, ls="--", color=INK, lw=1.4, zorder=1)
        start, side = (seeds.index[0], seeds.iloc[0]), -1 if seeds.iloc[0] > np.mean(ax.get_ylim()) else 1
        look = {"va": "top" if side < 0 else "bottom", "fontsize": 9.5, "textcoords": "offset points"}
        ax.annotate("two seeds of one modality", start, (0, 3 * side), **look)
    ax.set_xticks(sorted(rows["level"].unique()))
    ax.grid(axis="x", visible=False)
    axis_name, as_measured = measure.removesuffix(RAW), ", as measured" if measure.endswith(RAW) else ""
    title = f"{axis_name.capitalize()} of the two modalities{as_measured}"
    few = len(names) <= NAMED
    finish(ax, title, x="level of the encoder", y=axis_name, key={} if few else key)
    if few:
        name_ends(ax, ends)
    return ax


@partial(keeps_table, measures=(MOVED,))
def moved(found: Rows, ax: Axes | None = None) -> Axes:
    """How far joint training moved every network from its twins along either axis: a panel an axis.

    Parameters
    ----------
    found : Result or DataFrame
        Answers of `joint` of fused networks, with "moved by joint training".
    ax : Axes, optional
        Divided into panels; a figure of its own by default.

    Returns
    -------
    Axes
        They hold the panels (`child_axes`).

    Examples
    --------
    >>> rows = [
    ...     {"measure": "moved by joint training", "fusion": "sum", "level": level, "value": 0.1, "label": name}
    ...     for name in ("feature similarity", "semantic variance")
    ...     for level in (1, 2)
    ... ]
    >>> [panel.get_title() for panel in moved(Result.of("joint", rows, made={})).child_axes]
    ['feature similarity', 'semantic variance']
    """
    rows = found.table if isinstance(found, Result) else found
    rows = _by_pair(filled(rows[(rows["measure"] == MOVED) & rows["label"].isin([SIMILARITY, VARIANCE])], repr(MOVED)))
    names, axes = list(rows["fusion"].unique()), list(rows["label"].unique())
    ax, ends = canvas(ax, 3.2), {}
    for panel, label in zip(panels(ax, axes, len(axes)), axes, strict=True):
        panel.axhline(0, color=INK, lw=0.9)
        for i, name in enumerate(names):
            part = rows[(rows["label"] == label) & (rows["fusion"] == name)].sort_values("level")
            colour, marker, line = _look(name, names)
            at = part["level"] + 0.09 * (i - (len(names) - 1) / 2)
            intervals(panel, at, part, colour, marker=marker, ls=line, lw=1.2)
            ends[_named(name)] = part["value"].iloc[-1], _line(colour, marker, line)
        panel.set_xticks(sorted(rows["level"].unique()))
        panel.grid(axis="x", visible=False)
    key = {_shown(name): _arrow_key(*_look(name, names)) for name in names}
    title = "What joint training changes, against the same encoders trained alone"
    few = len(names) <= NAMED
    finish(ax, title, x="level of the encoder", y="fused network − twins", key={} if few else key)
    if few:
        name_ends(panel, ends)
    return ax


@partial(keeps_table, measures=(UNITS,))
def quadrants(found: Rows, ax: Axes | None = None, *, modality: str | None = None, level: int | None = None) -> Axes:
    """The share of units that are alike or not, and agree or not: a bar a network.

    Parameters
    ----------
    found : Result or DataFrame
        Answers of `joint`, with "units in quadrant".
    ax : Axes, optional
        A figure of its own by default.
    modality : str, optional
        Whose units; the first by default.
    level : int, optional
        The last by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> row = {"measure": "units in quadrant", "fusion": "sum", "level": 4, "modality": "rgb", "value": 0.25}
    >>> rows = [row | {"label": name} for name in QUADRANTS]
    >>> [label.get_text() for label in quadrants(Result.of("joint", rows, made={})).get_yticklabels()]
    ['trained together: sum']
    """
    rows = found.table if isinstance(found, Result) else found
    rows = filled(rows[rows["measure"] == UNITS], repr(UNITS))
    level = int(rows["level"].max()) if level is None else level
    modality = rows["modality"].iloc[0] if modality is None else modality
    rows = filled(rows[(rows["level"] == level) & (rows["modality"] == modality)], f"level {level} of {modality}")
    rows = _by_pair(rows)
    names = list(rows["fusion"].unique())
    ax, left = canvas(ax, 2.1 + 0.45 * len(names)), np.zeros(len(names))
    for name, colour in zip(QUADRANTS, SHADES, strict=True):
        part = rows[rows["label"] == name].set_index("fusion").reindex(names)["value"].to_numpy(float)
        ax.barh(range(len(names)), part, left=left, color=colour, edgecolor="white", height=0.62)
        on = "white" if colour == SHADES[0] else INK
        for i, share in enumerate(part):
            if share >= 0.06:
                ax.text(
                    left[i] + share / 2, i, f"{100 * share:.0f} %", ha="center", va="center", fontsize=9.5, color=on
                )
        left += part
    ax.set_yticks(range(len(names)), [_shown(name) for name in names])
    ax.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    key = {name: Patch(color=colour) for name, colour in zip(QUADRANTS, SHADES, strict=True)}
    return finish(ax, f"What units of {modality} find in the other stream, level {level}", x="share of units", key=key)


@keeps_table
def level_pairs(found: Rows, ax: Axes | None = None, *, measure: str = VARIANCE) -> Axes:
    """One axis between every level and every level of either modality, as a heat map with numbers.

    Parameters
    ----------
    found : Result or DataFrame
        Answer of `joint`, one network, with "feature similarity of levels" or "semantic variance of levels".
    ax : Axes, optional
        A figure of its own by default.
    measure : str
        "feature similarity" or "semantic variance".

    Returns
    -------
    Axes
        As measured, between networks of different seeds: on the diagonal stands a level beside itself in another seed.

    Examples
    --------
    >>> row = {"measure": "semantic variance of levels", "modality": "rgb", "level": 1, "value": 0.25}
    >>> rows = [row | {"versus": other} for other in ("rgb 1", "depth 1")]
    >>> [text.get_text() for text in level_pairs(Result.of("joint", rows, made={})).texts]
    ['0.250', '0.250']
    """
    import seaborn as sns  # loads ipywidgets where that is installed

    rows = found.table if isinstance(found, Result) else found
    rows = filled(rows[rows["measure"] == measure + PAIRS], repr(measure + PAIRS))
    if rows["fusion"].nunique() > 1:
        raise ValueError(f"`found` must be of one network; got {', '.join(rows['fusion'].unique())}")
    rows = rows.assign(place=rows["modality"] + " " + rows["level"].astype(int).astype(str))
    wide = rows.pivot_table(index="place", columns="versus", values="value", sort=False)
    wide = wide.reindex(columns=[*wide.index, *wide.columns.difference(wide.index)])
    wide = wide.rename(index=no_formula, columns=no_formula)  # seaborn measures the labels at once
    ax, digits = canvas(ax, 4.8, 6.2), ".2f" if measure == SIMILARITY else ".3f"
    sns.heatmap(wide, ax=ax, annot=True, fmt=digits, cmap="Greys", vmin=0, square=True, linewidths=1, cbar=False)
    ax.grid(visible=False)
    ax.tick_params(axis="x", rotation=45)
    ax.tick_params(axis="y", rotation=0)
    name = rows["fusion"].iloc[0]
    title = (
        f"{measure.capitalize()} of levels: {name}" if isinstance(name, str) else f"{measure.capitalize()} of levels"
    )
    return finish(ax, title, key={})
