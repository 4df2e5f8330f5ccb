"""One look for all figures: colours that keep their meaning, points with intervals, a legend aside; shared shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike

from rgbd_insight.features import USUAL_MODALITIES
from rgbd_insight.questions.balance import UNCORRECTED
from rgbd_insight.result import Result

INK, SHADE, PAPER = "#262626", "#dcdcdc", "#fdfdfb"  # of ceilings and planted values, of nulls, of the background
COLOURS = {"fused": "#2f8f6b", "both": "#2f8f6b", "none": "#8c8c8c"}
MODALITIES = ("#d55e00", "#0072b2", "#aa4499", "#8c6d1f", "#56b4e9", "#7a7a7a", "#cc79a7", "#44337a", "#117733")
NETWORKS = ("#2f8f6b", "#aa4499", "#8c6d1f", "#56b4e9", "#7a7a7a", "#cc79a7", "#44337a", "#117733")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
KINDS = ("both", "graded", "together", "neither")  # of concepts, beside those that some modalities alone show
SETS = {
    "specific": {"marker": "D"},
    "consistent": {"marker": "o", "mfc": "white", "mew": 1.6},
}  # of units that are silenced
PLANTED = "planted: "  # how the family of a concept begins whose visibility was planted
WIDTH = 6.5  # inches
TITLE, SHORT = 76, 6  # letters of a title in one line, and of names beside the axes that leave it its place
NAMED = 4  # series at most whose names stand beside their lines
FORMULA = re.compile(r"(?<!\\)\$")  # what opens one


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
    titled(ax, title)
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
            ncols=max(1, min(len(key), (90 - _taken(ax)) // (lengths + 5))),
            frameon=False,
            borderaxespad=0,
            fontsize=9.5,
        )
    return as_written(ax)


def titled(ax: Axes, message: str) -> Axes:
    """Title a figure with what it says, in lines that fit it.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> titled(plt.figure().subplots(), "Depth is decoded early.").get_title(loc="left")
    'Depth is decoded early'
    """
    lines = (fill(line, TITLE - _taken(ax)) for line in message.removesuffix(".").split("\n"))
    ax.set_title("\n".join(lines), loc="left", fontsize=11, pad=10 if ax.axison else 24, parse_math=False)
    return ax


def _taken(ax: Axes) -> int:
    """Letters of a line that long names beside the axes take from what stands above or below."""
    names = [label.get_text() for label in ax.get_yticklabels()] if ax.axison else []
    return max(0, max((len(line) for name in names for line in name.split("\n")), default=0) - SHORT)


def no_formula(label: object) -> str:
    """A label in which nothing is taken for a formula, as it stands in tables that seaborn draws."""
    return FORMULA.sub(r"\\$", str(label))


def as_written(ax: Axes) -> Axes:
    """Names of concepts, classes and networks are no formulas: what stands between two $ is drawn as it is written."""
    for axes in ax.findobj(Axes):
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter):  # others write powers of ten
                labels = [label.get_text() for label in axis.get_ticklabels()]
                if any(map(FORMULA.search, labels)):
                    axis.set_ticks(axis.get_ticklocs(), list(map(no_formula, labels)))
    ticks = {text for axes in ax.findobj(Axes) for text in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    for text in set(ax.findobj(Text)) - ticks:
        text.set_parse_math(False)
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


def form(result: Result, measure: str) -> str:
    """`measure`, or its uncorrected form where the result holds that alone; titles tell which."""
    held = set(result.table["measure"])
    return f"{measure}{UNCORRECTED}" if measure not in held and f"{measure}{UNCORRECTED}" in held else measure


def filled(table: pd.DataFrame, what: str, *columns: str) -> pd.DataFrame:
    """The table, or an error that says what it must have where it is empty, or lacks one of some columns."""
    if table.empty:
        raise ValueError(f"`table` must have {what}; got none")
    if missing := [name for name in columns if name not in table.columns]:
        raise ValueError(f"`table` must have the column {missing[0]!r}; it has {', '.join(map(str, table.columns))}")
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
    """The colour of each modality: the usual ones have their own, others take those that are left.

    The first colour is that of the first usual modality alone, so that a second one has the same with and without it.
    Conditions that keep several have the colour of the first.
    """
    names = list(dict.fromkeys(names))
    own = dict(zip(USUAL_MODALITIES, MODALITIES, strict=False))
    spare = [colour for colour in MODALITIES[1:] if colour not in {own.get(m) for m in names}]
    fixed = COLOURS | own
    alone = {m: fixed[m] if m in fixed else spare.pop(0) for m in names if "+" not in m}
    return {m: alone.get(m) or alone.get(m.partition("+")[0], INK) for m in names}


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
    """Planted kinds first: of the usual modalities, of others, then `KINDS`; then the other families as they come."""
    names = list(dict.fromkeys(names))
    known = {kind: place for place, kind in enumerate((*USUAL_MODALITIES, None, *KINDS))}
    planted = [name for name in names if name.startswith(PLANTED)]
    planted.sort(key=lambda name: known.get(name.removeprefix(PLANTED), known[None]))
    return planted + [n for n in names if n not in planted]


def chosen(known: Sequence[str], wanted: Sequence[str] | str | None, name: str = "families") -> list[str]:
    """Those of `known` that are wanted; an unknown one is an error."""
    if wanted is None:
        return list(known)
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    wrong = [w for w in wanted if w not in known]
    if wrong or not wanted:
        raise ValueError(f"`{name}` must be among {', '.join(map(str, known))}; got {wrong or wanted}")
    return [k for k in known if k in wanted]


def name_ends(ax: Axes, ends: Mapping[str, tuple[float, Mapping[str, object]]]) -> None:
    """Write the names of series beside the right ends of their lines, apart enough to be read.

    `ends` has the end and the look of each line (colour, marker, line): a piece of it stands before the name, so that
    series can be distinguished without their colours.
    """
    lower, upper = ax.get_ylim()
    ends = {name: end for name, end in sorted(ends.items(), key=lambda item: item[1][0]) if np.isfinite(end[0])}
    places, gap = np.array([y for y, _ in ends.values()], float), 0.085 * (upper - lower)
    for _ in range(50):  # neighbours push each other until all are apart
        for i in range(1, len(places)):
            lack = gap - (places[i] - places[i - 1])
            if lack > 1e-9:
                places[i - 1 : i + 1] += -lack / 2, lack / 2
    across, off = ax.get_yaxis_transform(), {"textcoords": "offset points", "va": "center", "fontsize": 9.5}
    for (name, (_, look)), y in zip(ends.items(), places, strict=True):
        shift = ScaledTranslation(5 / 72, 0, ax.figure.dpi_scale_trans)
        width = 22 / 72 / (ax.figure.get_size_inches()[0] * ax.get_position().width)  # of the axes, in inches
        piece = {"transform": across + shift, "clip_on": False, "lw": 1.3, "markevery": [1], "ms": 5} | dict(look)
        ax.plot([1, 1 + width / 2, 1 + width], [y] * 3, scalex=False, scaley=False, **piece)
        ax.annotate(no_formula(name), (1, y), (31, 0), xycoords=across, color=look["color"], **off)


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
    ax = canvas(ax, 1.6 + 0.165 * line)
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
