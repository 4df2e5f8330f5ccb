"""Two shapes of figure that several questions share: values by level, and a row for each concept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rgbd_insight.plots.style import (
    COLOURS,
    INK,
    MARKERS,
    NETWORKS,
    SHADE,
    absent,
    canvas,
    chosen,
    finish,
    intervals,
    modality_colours,
    ordered_families,
)


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
    for i, (_, rows) in enumerate(series):
        rows = rows.sort_values("level")
        first, k = rows.iloc[0], networks.index(rows["fusion"].iloc[0])
        colour = colours.get(first["modality"], INK) if split else NETWORKS[k % len(NETWORKS)]
        if split and mutual and isinstance(first["versus"], str) and first["versus"] != first["modality"]:
            colour = COLOURS["both"]
        label = ", ".join(([str(first["fusion"])] if several else []) + ([name(first)] if split else []))
        at = rows["level"] + shift[i]
        style = {"ls": ("-", "--", ":", "-.")[k % 4], "lw": 1.3, "marker": MARKERS[k % 8]}
        intervals(ax, at, rows, colour, label=label or "between the modalities", **style)
        _ceiling(ax, rows, colour if len(series) > 1 else INK)
        absent(ax, at, rows)
    _null(ax, table)
    ax.set_xticks(sorted(table["level"].unique()))
    ax.grid(axis="x", visible=False)
    handles, labels = ax.get_legend_handles_labels()
    key = {
        name: Line2D([], [], color=INK, ls="--") if name.startswith("ceiling") else handle
        for handle, name in zip(handles, labels, strict=True)
    }
    return finish(ax, title, x="level of the encoder", y=y, key=key)


def _ceiling(ax: Axes, rows: pd.DataFrame, colour: str) -> None:
    rows = rows[np.isfinite(rows["ceiling"])]
    if len(rows):
        known = ax.get_legend_handles_labels()[1]
        label = f"ceiling ({rows['ceiling_kind'].iloc[0]})"
        ax.plot(rows["level"], rows["ceiling"], ls="--", color=colour, lw=1.4, label="_" if label in known else label)


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


def concept_rows(
    ax: Axes | None,
    table: pd.DataFrame,
    key: str,
    *,
    families: Sequence[str] | None = None,
    top: int | None = None,
    band: str | None = None,
) -> tuple[Axes, dict[str, float], dict[str, str]]:
    """A row for each concept, under the name of its family: a point with interval for each value of column `key`.

    Returns the axes, where each concept's row is, and the colour of each value of `key`. `band` names a column whose
    ± is shaded behind each point; the legend is the caller's.
    """
    table = table.assign(family=table["family"].astype(object).fillna("other"))
    known = ordered_families(table["family"])
    table = table[table["family"].isin(chosen(known, families))]
    values = list(table[key].unique())
    wide = table.pivot_table(index="concept", columns=key, values="value", sort=False)[values]
    gap = (wide[values[0]] - wide[values[1]] if len(values) > 1 else wide[values[0]]).fillna(0)
    if top is not None:
        table = table[table["concept"].isin(gap.abs().nlargest(top).index)]
    rows, heads, line = {}, {}, 0.0
    family_of = table.drop_duplicates("concept").set_index("concept")["family"]
    for family in [f for f in known if f in set(family_of)]:
        heads[family], line = line, line + 0.9
        for concept in gap[family_of.index[family_of == family]].sort_values(ascending=False).index:
            rows[concept], line = line, line + 1
        line += 0.25
    ax = canvas(ax, 1.7 + 0.205 * line)
    colours = {v: COLOURS.get(v) for v in values} if key == "condition" else modality_colours(values)
    colours = {v: c or NETWORKS[(i + 1) % 8] for i, (v, c) in enumerate(colours.items())}
    both = wide.loc[list(rows)]
    ax.hlines(list(rows.values()), both.min(axis=1), both.max(axis=1), color="#b8b8b8", lw=1, zorder=1)
    for i, value in enumerate(values):
        part = table[table[key] == value]
        offset = (i - (len(values) - 1) / 2) * min(0.26, 0.6 / len(values))
        at = part["concept"].map(rows).to_numpy() + offset
        if band and np.isfinite(part[band]).any():
            ax.barh(at, 2 * part[band], left=-part[band], height=0.25, color=SHADE, zorder=0)
        intervals(ax, at, part, colours[value], across=True, label=str(value), ms=4.5, marker=MARKERS[i % 8])
    for family, at in heads.items():
        ax.annotate(
            family,
            (0, at),
            (4, 0),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            style="italic",
        )
    ax.set_yticks(list(rows.values()), list(rows), fontsize=9)
    ax.set_ylim(line - 0.2, -0.6)
    ax.axvline(0, color=INK, lw=0.8, zorder=1)
    ax.grid(axis="y", visible=False)
    return ax, rows, colours
