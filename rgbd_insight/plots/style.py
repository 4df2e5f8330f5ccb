"""One look for all figures: colours that keep their meaning, points that carry their interval, a legend aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike

from rgbd_insight.result import Result

INK, SHADE, PAPER = "#262626", "#dcdcdc", "#fdfdfb"  # of ceilings and planted values, of nulls, of the background
COLOURS = {"rgb": "#d55e00", "depth": "#0072b2", "fused": "#2f8f6b", "both": "#2f8f6b", "none": "#8c8c8c"}
NETWORKS = ("#2f8f6b", "#aa4499", "#8c6d1f", "#56b4e9", "#7a7a7a", "#cc79a7", "#44337a", "#117733")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
KINDS = ("rgb", "depth", "both", "graded", "together", "neither")
SETS = {
    "specific": {"marker": "D"},
    "consistent": {"marker": "o", "mfc": "white", "mew": 1.6},
}  # of units that are silenced
WIDTH = 6.5  # inches


@cache
def settings() -> dict:
    """The look of axes; seaborn is imported here because it loads ipywidgets where that is installed."""
    import seaborn as sns

    plt.draw_if_interactive()  # loads the backend: inside a context, that it turns interactive mode on would be undone
    return sns.axes_style("whitegrid") | {
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "axes.edgecolor": "#b0b0b0",
        "grid.color": "#ececec",
        "text.color": INK,
        "axes.labelcolor": INK,
        "font.size": 10,
        "axes.labelsize": 10,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "legend.fontsize": 9.5,
        "figure.max_open_warning": 0,
    }


def canvas(ax: Axes | None, height: float = 4.0, width: float = WIDTH) -> Axes:
    """`ax`, or the axes of a new figure on an opaque light ground (also where the page is dark)."""
    if ax is not None:
        return ax
    with plt.rc_context(settings()):
        return plt.subplots(figsize=(width, height), layout="constrained")[1]


def panels(ax: Axes, names: Sequence[str], columns: int = 4) -> list[Axes]:
    """A grid of small axes with common limits inside `ax`, one for each name, titled with it."""
    ax.set_axis_off()
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    wide, high = 1 / (columns - 0.08), 1 / (rows - 0.24)
    found: list[Axes] = []
    with plt.rc_context(settings()):
        for i, name in enumerate(names):
            row, column = divmod(i, columns)
            box = (column * wide, 1 - row * high - 0.76 * high, 0.92 * wide, 0.76 * high)
            small = ax.inset_axes(box, sharex=found[0] if found else None, sharey=found[0] if found else None)
            small.set_title(name, fontsize=9.5, pad=3)
            small.tick_params(labelleft=column == 0, labelbottom=i + columns >= len(names), labelsize=9)
            found.append(small)
    return found


def finish(ax: Axes, title: str, *, x: str = "", y: str = "", key: dict | None = None, room: int = 42) -> Axes:
    """Title and labels; `key` (label → artist) becomes a legend below the axes, where it covers no data."""
    ax.set_title(title, loc="left", fontsize=11, pad=10 if ax.axison else 24)
    ax.set(xlabel=x, ylabel=y)
    if not ax.axison:  # labels of panels belong to all of them
        down, left = (ScaledTranslation(dx / 72, dy / 72, ax.figure.dpi_scale_trans) for dx, dy in ((0, -30), (-40, 0)))
        ax.text(0.5, 0, x, transform=ax.transAxes + down, ha="center", fontsize=10)
        ax.text(0, 0.5, y, transform=ax.transAxes + left, va="center", ha="center", rotation=90, fontsize=10)
    if key is None:
        handles, labels = ax.get_legend_handles_labels()
        key = dict(zip(labels, handles, strict=True))
    if key:
        lower = ax.transAxes + ScaledTranslation(0, -room / 72, ax.figure.dpi_scale_trans)
        lengths = max(map(len, key))
        ax.legend(
            key.values(),
            key.keys(),
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            bbox_transform=lower,
            ncols=max(1, min(len(key), 90 // (lengths + 5))),
            frameon=False,
            borderaxespad=0,
            fontsize=9.5,
        )
    return ax


def need(result: Result, question: str, measure: str, **cells: object) -> pd.DataFrame:
    """Rows of a measure; where there are none, an error with the call that computes them."""
    found = result.rows(measure, **cells) if result.question == question else result.table[:0]
    if len(found):
        return found
    call = f"ri.{question}(features, run, measures=[{measure!r}])"
    if result.question != question:
        raise ValueError(f"`result` must answer {question!r}; got {result.question!r}. Compute it: {call}")
    with_ = "".join(f", {name} {value!r}" for name, value in cells.items())
    why = "" if cells else "".join(f" Missing: {m.what}, because {m.why}; {m.call}." for m in result.missing)
    known = ", ".join(sorted(result.table.measure.unique())) or "nothing"
    raise ValueError(f"`result` must hold the measure {measure!r}{with_}; it holds {known}. Compute it: {call}.{why}")


def filled(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """The table, or an error that says what it must have where it is empty."""
    if table.empty:
        raise ValueError(f"`table` must have {what}; got none")
    return table


def one_network(table: pd.DataFrame) -> str:
    """The network that all rows are about."""
    found = list(table["fusion"].dropna().unique())
    if len(found) > 1:
        raise ValueError(f"`result` must be of one network here; got {', '.join(found)}. Plot one after the other.")
    return found[0] if found else "this network"


def at_level(table: pd.DataFrame, level: int | None) -> tuple[pd.DataFrame, int]:
    """Rows of one level; by default all levels together (0) where that was computed, else the last level."""
    known = sorted(int(lv) for lv in table["level"].dropna().unique())
    if level is None:
        level = 0 if 0 in known else known[-1]
    if level not in known:
        raise ValueError(f"`level` must be among {', '.join(map(str, known))} here; got {level}")
    return table[table["level"] == level], level


def level_title(level: int) -> str:
    """How a title names a level."""
    return "all levels together" if level == 0 else f"level {level}"


def modality_colours(names: Iterable[str]) -> dict[str, str]:
    """A fixed colour for colour and depth; other modalities take those that are left."""
    names = list(dict.fromkeys(names))
    spare = [COLOURS[m] for m in ("rgb", "depth") if m not in names] + list(NETWORKS[1:])
    return {m: COLOURS[m] if m in COLOURS else spare.pop(0) for m in names}


def modality_key(colours: Mapping[str, str]) -> dict[str, Line2D]:
    """Legend of modalities (or conditions) that are drawn in these colours, each with its own marker."""
    marks = zip(colours.items(), MARKERS, strict=False)
    return {name: Line2D([], [], color=colour, marker=marker, lw=1.7) for (name, colour), marker in marks}


def intervals(ax: Axes, at: ArrayLike, table: pd.DataFrame, colour: str, *, across: bool = False, **marks) -> None:
    """Points at `value`, each with a line from `low` to `high`; `across` draws them along x."""
    at, (value, low, high) = np.asarray(at, float), (table[c].to_numpy(float) for c in ("value", "low", "high"))
    seen = np.isfinite(low) & np.isfinite(high)
    (ax.hlines if across else ax.vlines)(at[seen], low[seen], high[seen], color=colour, lw=1.7, zorder=3)
    xy = (value, at) if across else (at, value)
    ax.plot(*xy, **({"color": colour, "marker": "o", "ms": 5, "ls": "none", "zorder": 4} | marks))


def absent(ax: Axes, at: ArrayLike, table: pd.DataFrame) -> None:
    """Say "n/a" where there is a row without a value."""
    for x in np.asarray(at, float)[~np.isfinite(table["value"].to_numpy(float))]:
        ax.text(x, 0.02, "n/a", transform=ax.get_xaxis_transform(), ha="center", fontsize=9)


def ordered_families(names: Iterable[str]) -> list[str]:
    """Planted kinds first, in the order of `KINDS`; then the others as they come."""
    names = list(dict.fromkeys(names))
    planted = [f"planted: {kind}" for kind in KINDS]
    return [n for n in planted if n in names] + [n for n in names if n not in planted]


def chosen(known: Sequence[str], wanted: Sequence[str] | str | None, name: str = "families") -> list[str]:
    """Those of `known` that are wanted; an unknown one is an error."""
    if wanted is None:
        return list(known)
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    wrong = [w for w in wanted if w not in known]
    if wrong or not wanted:
        raise ValueError(f"`{name}` must be among {', '.join(map(str, known))}; got {wrong or wanted}")
    return [k for k in known if k in wanted]
