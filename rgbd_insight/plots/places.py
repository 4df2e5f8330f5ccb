"""Where in the image a unit responds: its most active pixels beside the concept that they cover best."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rgbd_insight.plots._style import INK, modality_colours, settings
from rgbd_insight.plots.units import WORDS, name_rows, outline, pair

if TYPE_CHECKING:
    from rgbd_insight.data import Dataset

WIDTH, HEAD, GAP, LEFT, KEY = 6.0, 0.5, 0.2, 0.3, 0.3  # inches


def places(table: pd.DataFrame, data: Dataset, ax: Axes | None = None) -> Axes:
    """The images with a unit's highest peaks, colour above depth, with a line around its most active pixels.

    Parameters
    ----------
    table : rows of the table "where_scenes", those of the units to be drawn; a unit's images are side by side.
    data : the images that it was made from.
    ax : where to draw; a figure of its own by default.

    Returns
    -------
    Axes. In the colour of the stream: around the pixels at which the unit exceeds all but .005 of its responses. White:
    around its concept, dotted in a modality that does not show it.

    Raises
    ------
    ValueError
        Where there are no rows, or `data` are other images.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> from rgbd_insight.tables import read_table
    >>> table = read_table("book/results", "where_scenes").query("stream == 'rgb' and level == 2 and kind == 'rgb'")
    >>> len(places(table, ri.data.redraw(ri.load("book/features/scenes"))).images)  # four scenes, colour and depth
    8
    """
    if table.empty:
        raise ValueError("`table` must have rows of the units to be drawn; got none")
    if json.loads(table["fingerprint"].iloc[0]) != json.loads(json.dumps(data.fingerprint())):
        raise ValueError(f"`data` must be the images that `table` was made from; got {data.fingerprint()}")
    units = list(table.groupby(["stream", "level", "kind"], sort=False))
    cell = (WIDTH - LEFT) / table.groupby(["stream", "level", "kind"]).size().max()
    high = cell * data.size[0] / data.size[1]
    each = HEAD + 2 * high + GAP
    total = each * len(units) + KEY
    if ax is None:
        with plt.rc_context(settings()):
            ax = plt.figure(figsize=(WIDTH, total), layout="none").add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, WIDTH), ylim=(total, 0), autoscale_on=False)  # inches, from the top
    for i, (_, rows) in enumerate(units):
        _unit(ax, i * each, rows, data, cell, high)
    colours = modality_colours(table["stream"].unique())
    key = {f"unit of {name}": Line2D([], [], color=colour, lw=1.6) for name, colour in colours.items()}
    key |= {"its concept": Line2D([], [], color="white", lw=1.4),
            "not shown there": Line2D([], [], color="white", lw=1.4, ls=":")}  # fmt: skip
    ax.legend(key.values(), key.keys(), loc="lower center", ncols=len(key), fontsize=9, facecolor=INK, edgecolor="none",
              labelcolor="white", borderaxespad=0.1, columnspacing=1.2)  # fmt: skip
    return ax


def _who(row) -> str:
    return f"{row.stream} stream, level {row.level:.0f}, unit {row.unit:.0f}"


def _said(row) -> str:
    planted = f" ({WORDS[row.kind]})" if row.kind in WORDS else ""
    numbers = f"{row.value:.2f} ({row.low:.2f} to {row.high:.2f}; chance up to {row.null_high:.2f})"
    numbers = numbers.replace("-0.00", "0.00").replace("-", "\u2212")
    return f"covers {row.concept}{planted}, IoU {numbers}"


def _unit(ax: Axes, top: float, rows: pd.DataFrame, data: Dataset, cell: float, high: float) -> None:
    """The title and the images of one unit."""
    first = next(rows.itertuples())
    colour = modality_colours([first.stream])[first.stream]
    ax.text(0.05, top + 0.05, _who(first), fontsize=10.5, va="top", weight="bold", color=colour)
    ax.text(0.05, top + 0.25, _said(first), fontsize=9.5, va="top")
    indices = rows["image"].tolist()
    k = [concept.name for concept in data.concepts].index(first.concept)
    batch = data.batch(indices)
    there = batch.concepts[:, data.families.index(data.concepts[k].family)].numpy() == k  # (B, H, W)
    visible = data.visibility(indices).numpy() & there[:, None]  # (B, 2, H, W)
    for i, packed in enumerate(rows["mask"]):
        mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=np.prod(data.size)).reshape(data.size).astype(bool)
        for row, extent in enumerate(pair(ax, batch, i, (LEFT + i * cell, top + HEAD, cell, high))):
            outline(ax, there[i], extent, full=bool(visible[i, row].any()))
            outline(ax, mask, extent, full=True, colour=colour)
    name_rows(ax, data.modalities, 0.16, top + HEAD, high)
