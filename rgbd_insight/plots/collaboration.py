"""Figures of what training together changed in the streams."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rgbd_insight.plots._rows import concept_rows
from rgbd_insight.plots._style import INK, MARKERS, NETWORKS, SHADE, at_level, canvas, finish, need, one_network, place
from rgbd_insight.result import Result


def retention(
    result: Result, level: int | None = None, ax: Axes | None = None, *, families: Sequence[str] | None = None,
    top: int | None = None, measure: str = "retention",
) -> Axes:  # fmt: skip
    """What joint training gave to (right) and took from (left) each concept in each modality's stream.

    Parameters
    ----------
    result : of `collaboration`, one network, with "retention".
    level : 0 for all levels together, which is the default where it was computed.
    ax : where to draw; by default a figure of its own, as tall as its rows need.
    families : only concepts of these families; planted ones are "planted: rgb" and so on.
    top : only this many concepts, those on which the modalities differ most.
    measure : "retention", or "exchanged" (what the true partner adds to the stream).

    Returns
    -------
    Axes. Grey bars are as long as the difference of two seeds of the twin, to either side.

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
    marks = zip(colours.items(), MARKERS, strict=False)
    key = {m: Line2D([], [], color=c, marker=mark, lw=1.7) for (m, c), mark in marks}
    if twin and table["null_high"].notna().any():
        key["two seeds of the twin"] = Patch(color=SHADE)
    title = "What joint training changed" if twin else "What the true partner adds"
    unit = "δ in the joint network − δ in the twin" if twin else "δ with the true partner − δ with another's"
    return finish(ax, f"{title}: {network}, {place(level)}", x=unit, key=key)


def gradients(result: Result, ax: Axes | None = None) -> Axes:
    """Cosine of the two encoders' gradients in training.

    Parameters
    ----------
    result : of `collaboration`, with "gradient cosine"; results of several networks may be joined.
    ax : where to draw; a figure of its own by default.

    Returns
    -------
    Axes. The cosine is of one training run each and has no interval.

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
    for i, (name, rows) in enumerate(table.groupby("fusion", sort=False, dropna=False)):
        ax.plot(rows["epoch"], rows["value"], color=NETWORKS[i % 8], marker=MARKERS[i % 8], ms=4, label=str(name))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.axhline(0, color=INK, lw=0.8)
    return finish(ax, "Do the two encoders pull the same way?", x="epoch", y="cosine of gradients (−1 … 1)")
