"""Figures of how representations change from level to level, and in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rgbd_insight.plots.consistency import by_level
from rgbd_insight.plots.style import (
    INK,
    MARKERS,
    at_level,
    canvas,
    chosen,
    finish,
    intervals,
    modality_colours,
    modality_key,
    need,
    one_network,
    ordered_families,
    panels,
)
from rgbd_insight.plots.tables import keeps_table
from rgbd_insight.result import Result


@keeps_table
def families_by_level(result: Result, ax: Axes | None = None, *, families: Sequence[str] | None = None) -> Axes:
    """At which level each family of concepts appears: a panel a family, a line with intervals a modality.

    Parameters
    ----------
    result : Result
        Answer of `evolution`, one network, with "family".
    ax : Axes, optional
        Divided into panels; a figure of its own by default.
    families : sequence of str, optional
        Only these; planted ones are "planted: rgb" and so on.

    Returns
    -------
    Axes
        They hold the panels (`child_axes`).

    Raises
    ------
    ValueError
        Where the measure or a family is absent, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> rows = [{"measure": "family", "family": "hue", "modality": "rgb", "level": lv, "value": 0.5} for lv in (1, 2)]
    >>> [panel.get_title() for panel in families_by_level(Result.of("evolution", rows, made={})).child_axes]
    ['hue']
    """
    table = need(result, "evolution", "family")
    title = f"Where each family of concepts is decoded: {one_network(table)}"
    names = chosen(ordered_families(table["family"]), families)
    ax = _lines(ax, table, "family", names, "level")
    return _labelled(ax, table, title, x="level of the encoder", y="mean decodability δ")


def _lines(ax: Axes | None, table: pd.DataFrame, facet: str, names: Sequence, along: str) -> Axes:
    """A panel for each name, with a line for each modality over the column `along`."""
    columns = min(4, len(names)) if len(names) != 6 else 3
    ax = canvas(ax, 1.6 + 1.35 * -(-len(names) // columns))
    colours = modality_colours(table["modality"])
    titles = [f"level {int(n)}" if facet == "level" else str(n) for n in names]
    for panel, name in zip(panels(ax, titles, columns), names, strict=True):
        panel.axhline(0, color=INK, lw=0.7)
        for i, (modality, colour) in enumerate(colours.items()):
            rows = table[(table[facet] == name) & (table["modality"] == modality)].sort_values(along)
            at = rows[along] if along == "epoch" else rows[along] + 0.08 * (2 * i - 1)
            intervals(panel, at, rows, colour, ls="-", lw=1.2, ms=4, marker=MARKERS[i % 8], label=modality)
            if along == "epoch" and np.isfinite(rows["ceiling"]).any():
                mark = {"marker": MARKERS[i % 8], "ms": 4, "mfc": "white"}
                panel.axhline(rows["ceiling"].mean(), ls="--", color=colour, lw=1.2, **mark)
        if along == "epoch":
            panel.set_xscale("symlog", linthresh=1)
            ticks = sorted(table["epoch"].unique())
            panel.set_xticks([t for t in ticks if t < 1 or np.log2(t) % 2 == 0] or ticks)
            panel.xaxis.set_major_formatter("{x:.0f}")
            panel.minorticks_off()
        else:
            panel.set_xticks(sorted(table[along].unique()))
        panel.grid(axis="x", visible=False)
    return ax


def _labelled(ax: Axes, table: pd.DataFrame, title: str, *, x: str, y: str, ceiling: str = "") -> Axes:
    key = modality_key(modality_colours(table["modality"]))
    if ceiling:
        key[ceiling] = Line2D([], [], color=INK, ls="--")
    return finish(ax, title, x=x, y=y, key=key)


@keeps_table
def centre_of_mass(result: Result, ax: Axes | None = None) -> Axes:
    """The level about which each family of concepts is decoded (centre of mass), with intervals.

    Parameters
    ----------
    result : Result
        Answer of `evolution`, one network, with "centre of mass".
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Families are in the order of their mean centre; one that is hardly decoded from a modality has no point.

    Raises
    ------
    ValueError
        Where the measure is absent, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "centre of mass", "family": "hue", "modality": "rgb", "value": 1.8}
    >>> centre_of_mass(Result.of("evolution", [row], made={})).get_xlabel()
    'centre of mass over the levels of the encoder'
    """
    table = need(result, "evolution", "centre of mass")
    network = one_network(table)
    order = table.groupby("family")["value"].mean().sort_values().index
    at = {family: i for i, family in enumerate(order)}
    ax = canvas(ax, 1.6 + 0.27 * len(order))
    for i, (modality, colour) in enumerate(modality_colours(table["modality"]).items()):
        rows = table[table["modality"] == modality]
        y = rows["family"].map(at) + 0.24 * (i - 0.5)
        intervals(ax, y, rows, colour, across=True, label=modality, marker=MARKERS[i % 8])
    ax.set_yticks(list(at.values()), list(at))
    ax.set_ylim(len(at) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    title = f"At which level each family is decoded: {network}"
    return finish(ax, title, x="centre of mass over the levels of the encoder")


@keeps_table
def level_similarity(result: Result, modality: str, ax: Axes | None = None) -> Axes:
    """Similarity of every level with every other one of a modality, as a heat map with numbers and intervals.

    Parameters
    ----------
    result : Result
        Answer of `evolution`, one network, with "level similarity".
    modality : str
        Whose levels are compared.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        A cell has the debiased CKA and below it the 95 % interval; 1 on the diagonal holds by definition.

    Raises
    ------
    ValueError
        Where the measure or the modality is absent, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "level similarity", "modality": "rgb", "value": 0.5, "low": 0.4, "high": 0.6}
    >>> rows = [row | {"level": 1, "versus": "2"}, row | {"level": 2, "versus": "1"}]
    >>> [t.get_text() for t in level_similarity(Result.of("evolution", rows, made={}), "rgb").texts][0]
    '1'
    """
    import seaborn as sns  # loads ipywidgets where that is installed

    table = need(result, "evolution", "level similarity", modality=modality)
    network, ax = one_network(table), canvas(ax, 4.3, 5.4)
    names = sorted(int(level) for level in table["level"].unique())
    value, text = np.eye(len(names)), np.full((len(names), len(names)), "1", dtype=object)
    for row in table.itertuples():
        cell = names.index(int(row.level)), names.index(int(row.versus))
        value[cell] = row.value
        text[cell] = f"{row.value:.2f}" + (f"\n{row.low:.2f} … {row.high:.2f}" if np.isfinite(row.low) else "")
    shades = sns.light_palette(modality_colours([modality])[modality], as_cmap=True)
    sns.heatmap(
        value,
        ax=ax,
        annot=text,
        fmt="",
        cmap=shades,
        vmin=0,
        vmax=1,
        square=True,
        linewidths=1,
        annot_kws={"fontsize": 9},
        xticklabels=names,
        yticklabels=names,
        cbar_kws={"label": "debiased CKA (0: unrelated, 1: same)"},
    )
    return finish(ax, f"Similarity of levels, {modality}: {network}", x="level", y="level", key={})


@keeps_table
def training(
    result: Result,
    measure: str = "to final",
    ax: Axes | None = None,
    *,
    level: int | None = None,
    families: Sequence[str] | None = None,
) -> Axes:
    """When in training: similarity to the end (a panel a level), or families of concepts (a panel a family).

    Parameters
    ----------
    result : Result
        Answer of `evolution`, one network, with checkpoints.
    measure : str
        "to final", or "family in training".
    ax : Axes, optional
        Divided into panels; a figure of its own by default.
    level : int, optional
        Level of "family in training"; the last by default.
    families : sequence of str, optional
        Families of "family in training"; all by default.

    Returns
    -------
    Axes
        They hold the panels (`child_axes`). The dashed line of "to final" is the similarity of the ends of two seeds.

    Raises
    ------
    ValueError
        Where the measure, level or family is absent, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "to final", "modality": "rgb", "level": 1, "ceiling": 0.8, "ceiling_kind": "other seed"}
    >>> rows = [row | {"epoch": epoch, "value": epoch / 8} for epoch in (0, 1, 4)]
    >>> [panel.get_title() for panel in training(Result.of("evolution", rows, made={})).child_axes]
    ['level 1']
    """
    table = need(result, "evolution", measure)
    network = one_network(table)
    if measure == "to final":
        ax = _lines(ax, table, "level", sorted(table["level"].unique()), "epoch")
        title, y = f"Similarity to the end of training: {network}", "debiased CKA"
        ceiling = f"ceiling ({table['ceiling_kind'].dropna().iloc[0]})" if table["ceiling"].notna().any() else ""
        return _labelled(ax, table, title, x="epoch (log scale)", y=y, ceiling=ceiling)
    table, level = at_level(table, level)
    names = chosen(ordered_families(table["family"]), families)
    ax = _lines(ax, table, "family", names, "epoch")
    title = f"When each family of concepts is learnt: {network}, level {level}"
    return _labelled(ax, table, title, x="epoch (log scale)", y="mean decodability δ")


@keeps_table
def dimension(result: Result, ax: Axes | None = None) -> Axes:
    """Effective dimension of each modality's stream by level, with intervals.

    Parameters
    ----------
    result : Result
        Answer of `evolution`, with "effective dimension"; results of several networks may be joined.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        Where the measure is absent.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "effective dimension", "modality": "rgb", "level": 1, "value": 7.0}
    >>> dimension(Result.of("evolution", [row], made={})).get_ylabel()
    'participation ratio (1 … number of units)'
    """
    table = need(result, "evolution", "effective dimension")
    return by_level(
        ax,
        table,
        "Effective dimension of each stream",
        "participation ratio (1 … number of units)",
        name=lambda row: str(row["modality"]),
    )
