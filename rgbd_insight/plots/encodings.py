"""Figures of what depth is given as: shares by level, and what is told of each family of concepts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rgbd_insight.plots.style import COLOURS, INK, canvas, finish, intervals, ordered_families, panels

LOOKS = {
    "metric": ("o", "#0072b2"),
    "inverse": ("s", "#56b4e9"),
    "log": ("v", "#117733"),
    "normals": ("^", "#aa4499"),
    "hha": ("D", "#8c6d1f"),
}


def shares(found: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """How much of the depth stream's reproducible variance colour says too, by level, for every encoding of depth.

    Parameters
    ----------
    found : name of the data -> "encodings_scenes" or "encodings_nyuv2" of `tables.read_table`.
    ax : where to draw; a figure of its own by default.

    Returns
    -------
    Axes; its `child_axes` are the panels, one for each kind of data. Points are means over the networks with their
    intervals over scenes, small marks the single networks, the dotted line the largest share that permuted scenes give.

    Raises
    ------
    ValueError
        Where there are no such rows.

    Examples
    --------
    >>> row = {"measure": "consistent share", "modality": "depth", "level": 1, "encoding": "hha", "versus": None}
    >>> row |= {"seed": "mean", "value": 0.3, "low": 0.2, "high": 0.4, "null_high": 0.05}
    >>> [panel.get_title() for panel in shares({"scenes": pd.DataFrame([row])}).child_axes]
    ['scenes']
    """
    ax = canvas(ax, 3.6, 8.0)
    for panel, table in zip(panels(ax, list(found), 2), found.values(), strict=True):
        _levels(panel, _rows(table, "consistent share", "depth"))
    handles, labels = ax.child_axes[0].get_legend_handles_labels()
    y, key = "share of reproducible variance", dict(zip(labels, handles, strict=True))
    return finish(ax, "What depth says and colour says too", x="level", y=y, key=key)


def _levels(ax: Axes, rows: pd.DataFrame) -> None:
    """One panel of `shares`."""
    names = _encodings(rows)
    for i, name in enumerate(names):
        one, off = rows[rows.encoding == name], 0.14 * (i - (len(names) - 1) / 2)
        marker, colour = LOOKS[name]
        mean, single = one[one.seed == "mean"], one[one.seed != "mean"]
        intervals(ax, mean.level + off, mean, colour, marker=marker, ms=6, label=name)
        ax.plot(single.level + off, single.value, marker=marker, color=colour, ls="", ms=2.5, mfc="white", zorder=5)
    chance = rows.groupby("level").null_high.max()
    ax.plot(chance.index, chance, color=INK, ls=":", lw=1, label="permuted scenes")
    ax.set_xticks(sorted(rows.level.unique()))
    ax.grid(axis="x", visible=False)


def decoded(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What depth tells of every family of concepts, for every encoding, beside what colour tells.

    Parameters
    ----------
    table : "encodings_scenes" or "encodings_nyuv2" of `tables.read_table`.
    ax : where to draw; a figure of its own by default.

    Returns
    -------
    Axes. Points are means over the networks with their intervals over scenes; an open circle is colour.

    Raises
    ------
    ValueError
        Where there are no such rows.

    Examples
    --------
    >>> row = {"measure": "decoded", "modality": "depth", "level": 0, "encoding": "hha", "versus": None, "seed": "mean"}
    >>> row |= {"family": "hue", "value": 0.3, "low": 0.2, "high": 0.4}
    >>> [label.get_text() for label in decoded(pd.DataFrame([row])).get_yticklabels()]
    ['hue']
    """
    rows = _rows(table, "decoded", "depth")
    rows, families = rows[rows.seed == "mean"], ordered_families(rows.family)
    ax = canvas(ax, 1.2 + 0.5 * len(families))
    names = _encodings(rows)
    for i, name in enumerate(names):
        marker, colour = LOOKS[name]
        one = rows[rows.encoding == name]
        at = np.array([families.index(f) for f in one.family]) + 0.17 * (i - (len(names) - 1) / 2)
        intervals(ax, at, one, colour, across=True, marker=marker, ms=5, label=name)
    colour = table[(table.measure == "decoded") & (table.modality == "rgb") & (table.seed == "mean")]
    ax.plot(
        colour.value,
        [families.index(f) for f in colour.family],
        ls="",
        marker="o",
        ms=8,
        mfc="none",
        color=COLOURS["rgb"],
        zorder=2,
    )
    ax.set_yticks(range(len(families)), families)
    ax.set_ylim(len(families) - 0.5, -0.5)
    ax.axvline(0, color=INK, lw=0.8, zorder=1)
    ax.grid(axis="y", visible=False)
    key = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    key["colour network"] = Line2D([], [], color=COLOURS["rgb"], marker="o", mfc="none", ls="", ms=8)
    return finish(ax, "What is told of each family, all levels together", x="mean δ of its concepts", key=key)


def _rows(table: pd.DataFrame, measure: str, modality: str) -> pd.DataFrame:
    """Rows of a measure that are no differences."""
    rows = table[(table.measure == measure) & (table.modality == modality) & table.versus.isna()]
    if rows.empty:
        raise ValueError(
            f"`table` must have rows {measure!r} of {modality!r}; got none. Is it `read_table(…, 'encodings_scenes')`?"
        )
    return rows


def _encodings(rows: pd.DataFrame) -> list[str]:
    return [name for name in LOOKS if name in set(rows.encoding)]
