"""Figures of the networks themselves: what moves each stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rgbd_insight.plots.style import INK, canvas, finish, modality_colours, panels

WHOLLY = 2**0.5  # what two unrelated maps of one size differ by
COLUMNS = ("stream", "level", "modality", "moved")


def purity(rows: pd.DataFrame | Iterable[Mapping], ax: Axes | None = None, *, title: str = "") -> Axes:
    """How far each stream moves, level by level, when one input is swapped for another scene's.

    Parameters
    ----------
    rows : from `rgbd_insight.purity`, or `features.purity(run)`.
    ax : where to draw; a figure of its own by default.
    title : of the figure.

    Returns
    -------
    Axes. Bars are in the colour of the modality that was swapped; "0" stands where it moves nothing at all. Dashed:
    √2, where the swapped input drives everything.

    Raises
    ------
    ValueError
        Where the rows are none, or lack a column.

    Examples
    --------
    >>> rows = [{"stream": "rgb", "level": 1, "modality": m, "moved": v} for m, v in (("rgb", 1.2), ("depth", 0.0))]
    >>> [panel.get_title() for panel in purity(rows).child_axes]
    ['stream rgb']
    """
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    if table.empty or not set(COLUMNS) <= set(table.columns):
        raise ValueError(f"`rows` must have {', '.join(COLUMNS)}; got {', '.join(table.columns) or 'none'}: ri.purity")
    streams = list(dict.fromkeys(table["stream"]))
    ax = canvas(ax, 3.2, max(5.2, 2.7 * len(streams)))
    colours = modality_colours(table["modality"])
    for panel, stream in zip(panels(ax, [f"stream {s}" for s in streams]), streams, strict=True):
        _bars(panel, table[table["stream"] == stream], colours)
    key = {f"{m} swapped": Patch(color=c) for m, c in colours.items()}
    key["wholly driven by it"] = Line2D([], [], color=INK, ls="--", lw=1)
    return finish(ax, title or "What moves each stream", x="level", y="moved (0: not at all)", key=key, room=44)


def _bars(ax: Axes, table: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Two bars a level."""
    levels = sorted(table["level"].unique())
    width = 0.8 / len(colours)
    for i, (modality, colour) in enumerate(colours.items()):
        rows = table[table["modality"] == modality].set_index("level")["moved"].reindex(levels)
        at = np.arange(len(levels)) + (i - (len(colours) - 1) / 2) * width
        ax.bar(at, rows, width, color=colour)
        for x, moved in zip(at, rows, strict=True):
            if moved == 0:
                ax.text(x, 0.02, "0", ha="center", va="bottom", fontsize=9, color=colour)
    ax.axhline(WHOLLY, ls="--", color=INK, lw=1)
    ax.set_xticks(range(len(levels)), [f"{level:.0f}" for level in levels])
    ax.set_ylim(0, max(1.6, 1.08 * table["moved"].max()))
