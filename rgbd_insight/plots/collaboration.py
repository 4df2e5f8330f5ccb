"""Figures of what training together changed in the streams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rgbd_insight.features import AGREEMENT, SCORES, USUAL_SHARE, AblationName, in_words
from rgbd_insight.plots.style import (
    COLOURS,
    INK,
    MARKERS,
    NETWORKS,
    PLANTED,
    SETS,
    SHADE,
    at_level,
    canvas,
    concept_rows,
    finish,
    intervals,
    level_title,
    modality_colours,
    modality_key,
    need,
    one_network,
)
from rgbd_insight.plots.tables import keeps_table
from rgbd_insight.result import Result
from rgbd_insight.stats import central_interval


@keeps_table
def retention(
    result: Result,
    level: int | None = None,
    ax: Axes | None = None,
    *,
    families: Sequence[str] | None = None,
    top: int | None = None,
    measure: str = "retention",
) -> Axes:
    """What joint training gave to (right) and took from (left) each concept in each modality's stream.

    Parameters
    ----------
    result : Result
        Answer of `collaboration`, one network, with "retention".
    level : int, optional
        0 for all levels together, which is the default where it was computed.
    ax : Axes, optional
        Where to draw; by default a figure of its own, as tall as its rows need.
    families : sequence of str, optional
        Only concepts of these families; planted ones are "planted: rgb" and so on.
    top : int, optional
        Only this many concepts, those on which the modalities differ most.
    measure : str
        "retention", or "exchanged" (what the true partner adds to the stream).

    Returns
    -------
    Axes
        Grey bars are as long as the difference of two seeds of the twin, to either side.

    Raises
    ------
    ValueError
        Where the measure, level or family is absent, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "retention", "level": 0, "concept": "rug", "family": "planted: rgb", "modality": "rgb"}
    >>> ax = retention(Result.of("collaboration", [row | {"value": -0.2, "null_high": 0.05}], made={}))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['rug']
    """
    table, level = at_level(need(result, "collaboration", measure), level)
    network = one_network(table)
    twin = measure == "retention"
    ax, _, colours = concept_rows(ax, table, "modality", families=families, top=top, band="null_high" if twin else None)
    key = modality_key(colours)
    if twin and table["null_high"].notna().any():
        key["two seeds of the twin"] = Patch(color=SHADE)
    title = "What joint training changed" if twin else "What the true partner adds"
    unit = "δ in the joint network − δ in the twin" if twin else "δ with the true partner − δ with another's"
    return finish(ax, f"{title}: {network}, {level_title(level)}", x=unit, key=key)


@keeps_table
def gradients(result: Result, ax: Axes | None = None) -> Axes:
    """Cosine of the two encoders' gradients in training.

    Parameters
    ----------
    result : Result
        Answer of `collaboration`, with "gradient cosine"; results of several networks may be joined.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        The cosine is of one training run each, of every pair of its encoders, and has no interval.

    Raises
    ------
    ValueError
        Where the measure is absent.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> rows = [{"measure": "gradient cosine", "fusion": "sum", "epoch": e, "value": 0.1} for e in (1, 2)]
    >>> gradients(Result.of("collaboration", rows, made={})).get_xlabel()
    'epoch'
    """
    table, ax = need(result, "collaboration", "gradient cosine"), canvas(ax, 3.4)
    for i, ((name, *pair), rows) in enumerate(
        table.groupby(["fusion", "modality", "versus"], sort=False, dropna=False)
    ):
        label = str(name) if pd.isna(pair[0]) else f"{name}, {' and '.join(map(in_words, pair))}"
        ax.plot(rows["epoch"], rows["value"], color=NETWORKS[i % 8], marker=MARKERS[i % 8], ms=4, label=label)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.axhline(0, color=INK, lw=0.8)
    return finish(ax, "Do the two encoders pull the same way?", x="epoch", y="cosine of gradients (−1 … 1)")


@keeps_table
def accuracy(result: Result, ax: Axes | None = None, *, chance: float | None = None) -> Axes:
    """The network's score under each condition, and that of its unimodal twins, with intervals.

    Parameters
    ----------
    result : Result
        Answer of `collaboration`, with "accuracy" (or what its task has in its place), one network and its twins.
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    chance : float, optional
        Score of guessing; by default 1 / number of classes for an accuracy, where the result knows it, and 0 for R².

    Returns
    -------
    Axes
        Twins are hatched.

    Raises
    ------
    ValueError
        Where the measure is absent.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "accuracy", "fusion": "sum"}
    >>> rows = [row | {"condition": c, "value": v} for c, v in (("both", 0.6), ("rgb", 0.4))]
    >>> [label.get_text() for label in accuracy(Result.of("collaboration", rows, made={})).get_xticklabels()]
    ['both', 'rgb']
    """
    score = score_of(result)
    table = need(result, "collaboration", score)
    twin = (table["fusion"] == table["condition"]).to_numpy()
    network, ax = one_network(table[~twin]), canvas(ax, 3.6)
    kept = table["condition"].str.partition(":")[0]  # what is kept, where the rest is replaced
    colours = modality_colours(kept)
    at = np.arange(len(table)) + 0.5 * twin
    for x, row, name, alone in zip(at, table.itertuples(), kept, twin, strict=True):
        look = {"hatch": "///", "alpha": 0.55} if alone else {"alpha": 1 if name == row.condition else 0.7}
        ax.bar(x, row.value, 0.7, color=colours[name], edgecolor="white", zorder=2, **look)
    seen = np.isfinite(table["low"].to_numpy())
    ax.vlines(at[seen], table["low"][seen], table["high"][seen], color=INK, lw=2, zorder=4)
    if chance is None and score != AGREEMENT:
        chance = 0.0 if score != "accuracy" else 1 / result.made["classes"] if result.made.get("classes") else None
    if chance is not None:
        ax.axhline(chance, color=INK, ls=":", lw=1.4, label="chance", zorder=5)
    names = table["condition"].str.replace(":", " + ")
    ax.set_xticks(at, [f"{c} twin" if alone else c for c, alone in zip(names, twin, strict=True)])
    tilted = len(table) > 8
    if tilted:  # side by side, the names would run into each other
        ax.set_xticks(ax.get_xticks(), ax.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    ax.grid(axis="x", visible=False)
    return finish(
        ax,
        f"Accuracy with and without each modality: {network}",
        x="what the network was given",
        y=f"{SCORES[score]}{' (0 … 1)' if score == 'accuracy' else ''}",
        room=88 if tilted else 42,
    )


def score_of(result: Result) -> str:
    """The measure that is the score of the network's task: "accuracy" where the result does not say.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> score_of(Result.of("collaboration", [{"measure": "agreement", "value": 1.0}], made={}))
    'agreement'
    """
    held = set(result.table["measure"])
    return next((score for score in SCORES if score in held), "accuracy")


@keeps_table
def utilisation(result: Result, ax: Axes | None = None) -> Axes:
    """What each modality contributes to the accuracy: what is lost without it, its Shapley value, the interaction.

    Parameters
    ----------
    result : Result
        Answer of `collaboration`, with "utilisation", one network.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        An interaction above 0: the two together bring more than the sum of each.

    Raises
    ------
    ValueError
        Where the measure is absent, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "utilisation", "modality": "rgb", "label": "Shapley", "value": 0.2}
    >>> utilisation(Result.of("collaboration", [row], made={})).get_ylabel()
    'mean class accuracy'
    """
    table = need(result, "collaboration", "utilisation")
    network, ax = one_network(table), canvas(ax, 3.6)
    labels = [name for name in ("conditional", "Shapley", "interaction") if name in set(table["label"])]
    shared = table["label"] == "interaction"
    own = list(table[~shared].groupby("modality", sort=False))
    pairs = list(table[shared].groupby(["modality", "versus"], dropna=False, sort=False))
    colours = modality_colours(modality for modality, _ in own)
    bars = [(modality, rows, {"color": colours[modality]}, i, len(own)) for i, (modality, rows) in enumerate(own)]
    for i, (pair, rows) in enumerate(pairs):
        name = "both together" if pd.isna(pair[0]) else " and ".join(pair)
        bars.append((name, rows, {"color": COLOURS["both"], "alpha": 1 - 0.7 * i / len(pairs)}, i, len(pairs)))
    for name, rows, look, i, count in bars:
        step = 0.34 if count < 3 else 0.8 / count
        at = rows["label"].map(labels.index).to_numpy() + step * (i - (count - 1) / 2)
        ax.bar(at, rows["value"], step - 0.02, zorder=2, label=name, **look)
        seen = np.isfinite(rows["low"].to_numpy())
        ax.vlines(at[seen], rows["low"][seen], rows["high"][seen], color=INK, lw=2, zorder=4)
    names = {"conditional": "lost without it", "Shapley": "Shapley value", "interaction": "interaction"}
    ax.set_xticks(range(len(labels)), [names[name] for name in labels])
    ax.axhline(0, color=INK, lw=0.8)
    ax.grid(axis="x", visible=False)
    return finish(ax, f"What each modality contributes: {network}", y=SCORES[score_of(result)], room=28)


@keeps_table
def ablation(result: Result, ax: Axes | None = None) -> Axes:
    """Accuracy lost by silencing specific or consistent units, against equally many units at random.

    Parameters
    ----------
    result : Result
        Answer of `collaboration`, with "ablation", one network.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Small grey points are random sets, the grey bar their central 95 %.

    Raises
    ------
    ValueError
        Where the measure is absent, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> rows = [{"measure": "ablation", "label": f"{kind} rgb", "condition": "both", "value": 0.1}
    ...         for kind in ("specific", "consistent")]
    >>> [label.get_text() for label in ablation(Result.of("collaboration", rows, made={})).get_yticklabels()]
    ['rgb units']
    """
    table = need(result, "collaboration", "ablation")
    network = one_network(table)
    names = table["label"].map(AblationName.parse).dropna()  # a user may silence sets of other names
    table = table.loc[names.index].assign(
        kind=[name.kind for name in names],
        modality=[name.modality for name in names],
        share=["" if name.share == USUAL_SHARE else f" at {name.percent}" for name in names],
    )
    sets = list(table.groupby(["modality", "share", "condition"], sort=False))
    ax = canvas(ax, 1.7 + 0.7 * len(sets))
    several = table["condition"].nunique() > 1
    colours = modality_colours(table["modality"])
    for i, ((modality, _, _), rows) in enumerate(sets):
        draws = rows.loc[rows["kind"] == "random", "value"].to_numpy()
        if len(draws):
            low, high = central_interval(draws)
            ax.barh(i, high - low, 0.7, left=low, color=SHADE, zorder=0)
            ax.plot(draws, i + np.linspace(-0.28, 0.28, len(draws)), "o", color="#8c8c8c", ms=3.5, zorder=2)
        for kind, up in (("specific", -0.15), ("consistent", 0.15)):
            one = rows[rows["kind"] == kind]
            intervals(ax, np.full(len(one), i + up), one, colours[modality], across=True, ms=8, **SETS[kind])
    labels = [f"{m} units{share}" + (f"\nunder {c}" if several else "") for (m, share, c), _ in sets]
    ax.set_yticks(range(len(sets)), labels)
    ax.set_ylim(len(sets) - 0.4, -0.6)
    ax.axvline(0, color=INK, lw=0.8, zorder=1)
    ax.grid(axis="y", visible=False)
    key = {
        **{f"{kind} units": Line2D([], [], color=INK, ms=8, **look) for kind, look in SETS.items()},
        "random units, 95 %": Patch(color=SHADE),
    }
    return finish(ax, f"What is lost when units are silenced: {network}", x="mean class accuracy lost", key=key)


@keeps_table
def class_accuracy(result: Result, ax: Axes | None = None, *, families: Sequence[str] | None = None) -> Axes:
    """Accuracy of each class under each condition, with intervals: a row a class.

    Parameters
    ----------
    result : Result
        Answer of `collaboration`, with "class accuracy", one network.
    ax : Axes, optional
        Where to draw; by default a figure of its own, as tall as its rows need.
    families : sequence of str, optional
        Only classes of these kinds, as "planted: rgb".

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        Where the measure or a family is absent, or the result is of several networks.

    Examples
    --------
    >>> from rgbd_insight.result import Result
    >>> row = {"measure": "class accuracy", "condition": "both", "concept": "rug", "family": "rgb", "value": 0.9}
    >>> class_accuracy(Result.of("collaboration", [row], made={})).get_xlabel()
    "share of the class's pixels that are found"
    """
    table = need(result, "collaboration", "class accuracy")
    network = one_network(table)
    planted = table["family"].notna() & (table["family"] != "unknown")
    kinds = (PLANTED + table["family"].astype(str)).where(planted, "not planted")
    ax, _, colours = concept_rows(ax, table.assign(family=kinds), "condition", families=families)
    title = f"Which classes need which modality: {network}"
    return finish(ax, title, x="share of the class's pixels that are found", key=modality_key(colours))
