"""Figures of what one modality encodes alone, and of how often there is something to encode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rgbd_insight.features import Features
from rgbd_insight.plots.consistency import by_level
from rgbd_insight.plots.style import (
    COLOURS,
    INK,
    MARKERS,
    PLANTED,
    SHADE,
    at_level,
    canvas,
    concept_rows,
    filled,
    finish,
    form,
    intervals,
    level_title,
    modality_colours,
    modality_key,
    need,
    one_network,
    ordered_families,
)
from rgbd_insight.plots.tables import keep, keeps_table
from rgbd_insight.questions.balance import UNCORRECTED
from rgbd_insight.questions.positions import AT
from rgbd_insight.result import Result

DELTA = "decodability δ (0: chance, 1: perfect)"


@keeps_table
def concepts(
    result: Result,
    level: int | None = None,
    ax: Axes | None = None,
    *,
    families: Sequence[str] | None = None,
    top: int | None = None,
    positions: bool = False,
) -> Axes:
    """How well every concept is decoded from each modality: a row a concept, a point with its interval a modality.

    Parameters
    ----------
    result : Result
        Answer of `specificity`, one network, with "decodability"; the "label" is printed on the right if it is there.
    level : int, optional
        0 for all levels together, which is the default where it was computed.
    ax : Axes, optional
        Where to draw; by default a figure of its own, as tall as its rows need.
    families : sequence of str, optional
        Only concepts of these families; planted ones are "planted: rgb" and so on.
    top : int, optional
        Only this many concepts, those on which the modalities differ most.
    positions : bool, optional
        Of cells of the images ("decodability at positions", "label at positions"), not of whole images.

    Returns
    -------
    Axes
        Open diamonds are planted visibilities; the grey band is the margin within which a concept counts as absent.

    Raises
    ------
    ValueError
        Where the measure, level or family is absent, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "decodability", "level": 0, "concept": "rug", "family": "planted: rgb"}
    >>> rows = [row | {"modality": m, "value": v} for m, v in (("rgb", 0.9), ("depth", 0.0))]
    >>> ax = concepts(Result.of("specificity", rows, made={}))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['rug']
    """
    where = AT if positions else ""
    table, level = at_level(need(result, "specificity", "decodability" + where), level)
    network = one_network(table)
    ax, rows, colours = concept_rows(ax, table, "modality", families=families, top=top)
    margin = float(result.made.get("margin", 0.1))
    ax.axvspan(-margin, margin, color=SHADE, zorder=0)
    for modality, colour in colours.items():
        known = table[(table["modality"] == modality) & table["concept"].isin(rows) & np.isfinite(table["planted"])]
        at = known["concept"].map(rows).to_numpy(float) + (-0.13 if modality == next(iter(colours)) else 0.13)
        ax.plot(known["planted"], at, "D", mfc="none", mec=colour, ms=8, mew=1.2, zorder=2)
    labels = result.rows("label" + where, level=level)
    for concept, label in zip(labels["concept"], labels["label"], strict=True):
        if concept in rows:
            ax.annotate(
                label,
                (1, rows[concept]),
                (5, 0),
                xycoords=ax.get_yaxis_transform(),
                textcoords="offset points",
                va="center",
                fontsize=9,
                annotation_clip=False,
            )
    if len(labels):
        ax.annotate(
            "label",
            (1, 1),
            (5, -4),
            xycoords="axes fraction",
            textcoords="offset points",
            weight="bold",
            va="top",
            fontsize=9,
        )
    ax.set_xlim(min(-0.25, ax.get_xlim()[0]), max(1.1, ax.get_xlim()[1]))
    key = modality_key(colours)
    if table["planted"].notna().any():
        key["planted visibility"] = Line2D([], [], color=INK, marker="D", mfc="none", ls="none", ms=7)
    key[f"within ±{margin:g}: absent"] = Patch(color=SHADE)
    title = f"What is decoded from each modality{where}: {network}, {level_title(level)}"
    return finish(ax, title, x=DELTA, key=key)


@keeps_table
def visibility(result: Result, level: int | None = None, ax: Axes | None = None) -> Axes:
    """Measured against planted visibility of every planted concept in both modalities; the dashed line is equality.

    Parameters
    ----------
    result : Result
        Answer of `specificity` on planted data, one network, with "decodability".
    level : int, optional
        0 for all levels together, which is the default where it was computed.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Concepts planted alike are drawn side by side; the shape of a point is its planted kind.

    Raises
    ------
    ValueError
        Where the measure or level is absent, nothing was planted, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "decodability", "level": 1, "family": "planted: rgb", "modality": "rgb", "planted": 1}
    >>> visibility(Result.of("specificity", [row | {"concept": "rug", "value": 0.9}], made={})).get_xlabel()
    'planted visibility (0: nothing shows it, 1: always seen)'
    """
    table, level = at_level(need(result, "specificity", "decodability"), level)
    table = table[np.isfinite(table["planted"])]
    if table.empty:
        raise ValueError("`result` must be of planted data: nothing in it has a known visibility. See `concepts`.")
    network, ax = one_network(table), canvas(ax, 4.6)
    colours = modality_colours(table["modality"])
    kinds = [family for family in ordered_families(table["family"]) if family.startswith(PLANTED)]
    shapes = dict(zip(kinds, MARKERS, strict=False))
    fill = {m: c if m == next(iter(colours)) else "white" for m, c in colours.items()}  # apart in grey too
    for i, ((modality, _), rows) in enumerate(table.groupby(["modality", "planted"], sort=False)):
        side = -1 if modality == next(iter(colours)) else 1
        step = min(0.012, 0.055 / len(rows))
        rows = rows.assign(at=rows["planted"] + side * (0.008 + step * np.arange(len(rows))))
        for family, same in rows.groupby("family"):
            look = {"marker": shapes.get(family, "o"), "mfc": fill[modality], "label": f"_{i}"}
            intervals(ax, same["at"], same, colours[modality], **look)
    ax.plot([0, 1], [0, 1], ls="--", color=INK, lw=1.2, zorder=1)
    key = {f"δ from {m}": Line2D([], [], color=c, marker="o", ls="", mfc=fill[m]) for m, c in colours.items()}
    key |= {"equality": Line2D([], [], color=INK, ls="--")}
    key |= {f: Line2D([], [], color="#666666", marker=shape, ls="none") for f, shape in shapes.items()}
    title = f"Measured against planted visibility: {network}, {level_title(level)}"
    return finish(ax, title, x="planted visibility (0: nothing shows it, 1: always seen)", y=DELTA, key=key)


@keeps_table
def contributions(result: Result, level: int | None = None, ax: Axes | None = None, *, top: int = 16) -> Axes:
    """Whose concepts make the semantic variance of a level: its largest V, with intervals, from the largest down.

    Parameters
    ----------
    result : Result
        Answer of `specificity`, one network, with "semantic variance" and "difference".
    level : int, optional
        0 for all levels together, which is the default where it was computed.
    ax : Axes, optional
        Where to draw; a figure of its own by default, as tall as its rows need.
    top : int
        How many concepts.

    Returns
    -------
    Axes
        The colour of a point is that of the modality from which the concept is decoded better.

    Raises
    ------
    ValueError
        Where a measure or the level is absent, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"level": 1, "concept": "rug", "modality": "rgb", "versus": "depth"}
    >>> pairs = (("difference", 0.8), ("semantic variance", 0.32))
    >>> rows = [row | {"measure": measure, "value": value} for measure, value in pairs]
    >>> [label.get_text() for label in contributions(Result.of("specificity", rows, made={})).get_yticklabels()]
    ['rug']
    """
    table, level = at_level(need(result, "specificity", "semantic variance"), level)
    network = one_network(table)
    gaps = need(result, "specificity", "difference", level=level)
    ends = [gaps["modality"].iloc[0], gaps["versus"].iloc[0]]
    colours = modality_colours(ends)
    better = dict(zip(gaps["concept"], np.where(gaps["value"] > 0, *ends), strict=True))
    table = table.nlargest(top, "value")
    ax = canvas(ax, 1.5 + 0.23 * len(table))
    at = np.arange(len(table))
    for i, modality in enumerate(ends):
        mine = (table["concept"].map(better) == modality).to_numpy()
        intervals(ax, at[mine], table[mine], colours[modality], across=True, marker=MARKERS[i], ms=4.5)
    ax.axvline(0, color=INK, lw=0.9)
    ax.set_yticks(at, table["concept"])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    key = {f"better from {m}": Line2D([], [], color=colours[m], marker=MARKERS[i]) for i, m in enumerate(ends)}
    title = f"Concepts that make the semantic variance: {network}, {level_title(level)}"
    return finish(ax, title, x="semantic variance of the concept, V = ½ Δ²", key=key)


@keeps_table
def dissimilarity(result: Result, measure: str = "specific share", ax: Axes | None = None) -> Axes:
    """A measure of levels, by level and modality: the specific share, or the level semantic variance.

    Parameters
    ----------
    result : Result
        Answer of `specificity`; results of several networks may be joined.
    measure : str
        "specific share" (named and unnamed together; uncorrected where the result holds that alone) or "level semantic
        variance" (the line of a modality with itself is two seeds of it).
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Lines are intervals of 95 %.

    Raises
    ------
    ValueError
        Where the result lacks the measure.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "specific share", "label": "all", "modality": "rgb", "level": 1, "value": 0.3}
    >>> dissimilarity(Result.of("specificity", [row], made={})).get_ylabel()
    'share of the reproducible variance'
    """
    measure = form(result, measure)
    share = measure.startswith("specific share")
    table = need(result, "specificity", measure, **({"label": "all"} if share else {}))
    title = "What the other modality lacks" if share else "Semantic variance of matched units"
    title += "," + UNCORRECTED if measure.endswith(UNCORRECTED) else ""
    unit = "share of the reproducible variance" if share else "½ · mean squared difference of profiles"
    return by_level(ax, table, title, unit, name=_pair, mutual=True)


def _pair(row: pd.Series) -> str:
    if not isinstance(row["versus"], str):
        return str(row["modality"])
    same = row["versus"] == row["modality"]
    return f"two seeds of {row['modality']}" if same else f"{row['modality']} and {row['versus']}"


def presence(features: Features, ax: Axes | None = None, *, family: str = "class", fewest: int = 10) -> Axes:
    """In how many groups each concept of a family is present, most first.

    Parameters
    ----------
    features : Features
        What `rgbd_insight.load` gives.
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    family : str
        The family of concepts.
    fewest : int
        Groups below which a concept is not probed (dashed).

    Returns
    -------
    Axes
        The table that it keeps has the columns concept and groups.

    Raises
    ------
    ValueError
        Where the features have no concept of this family.

    Examples
    --------
    >>> from rgbd_insight.features import load
    >>> ax = presence(load("book/features/nyuv2"))
    >>> ax.get_ylabel()
    'groups with the concept'
    """
    known = features.concepts["family"]
    listed = ", ".join(dict.fromkeys(known))
    wanted = filled(features.concepts[known == family], f"concepts of the family {family!r} (it has {listed})")
    there = pd.DataFrame(features.present[:, wanted.index], columns=list(wanted["name"]))
    counts = there.groupby(np.asarray(features.groups)).any().sum().sort_values(ascending=False)
    counts = counts.rename_axis("concept").rename("groups").reset_index()
    ax, at = keep(canvas(ax, 3.4), counts), np.arange(len(counts))
    ax.bar(at, counts["groups"], color=COLOURS["none"])
    ax.axhline(fewest, ls="--", color=INK, lw=1)
    ax.set_xticks(at, counts["concept"], rotation=90)
    ax.grid(visible=False, axis="x")
    rare = (counts["groups"] < fewest).sum()
    title = f"{rare} of {len(counts)} concepts are present in fewer than {fewest} groups"
    return finish(ax, title, y="groups with the concept", key={})
