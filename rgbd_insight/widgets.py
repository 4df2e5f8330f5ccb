"""Figures to switch between: widgets that work in a notebook and, without any kernel, in the static page.

All pictures are drawn beforehand and linked in the browser; this is what the static page can do.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from rgbd_insight import plots
from rgbd_insight.features import Features
from rgbd_insight.questions import best_unit
from rgbd_insight.questions.units import levels_of
from rgbd_insight.result import Result

if TYPE_CHECKING:
    from rgbd_insight.data import Dataset

SHORTEST = 20  # characters of an alternative text
LARGEST = 60_000  # bytes of a picture, beyond which it is drawn more coarsely
RESOLUTIONS = (100, 85, 70)  # dots per inch
BUTTONS = 40  # characters of all labels together up to which they are buttons

Drawing = Figure | Axes | Callable[[], Figure | Axes]


def switch(pages: Mapping[str, Drawing], *, alt: Mapping[str, str], description: str = "Show") -> widgets.VBox:
    """One figure at a time, chosen by buttons or (where the labels are long) from a list.

    Parameters
    ----------
    pages : mapping of str to Drawing
        Label → figure, axes, or a function that draws one. The figures are closed.
    alt : mapping of str to str
        Label → text that says what is in the figure to those who do not see it, at least 20 characters.
    description : str
        Name of the control.

    Returns
    -------
    VBox
        The control and a `Stack` of pictures, linked in the browser.

    Raises
    ------
    ValueError
        Where there is no page, or a page without a sufficient alternative text.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> figures = {name: plt.figure(figsize=(1, 1)) for name in ("left", "right")}
    >>> box = switch(figures, alt={name: f"an empty figure on the {name}" for name in figures})
    >>> box.children[0].options, box.children[1].selected_index
    (('left', 'right'), 0)
    """
    _check(pages, alt)
    return _linked([str(label) for label in pages], [_page(page, alt[k]) for k, page in pages.items()], description)


def grid(
    pages: Mapping[tuple[str, ...], Drawing],
    *,
    alt: Mapping[tuple[str, ...], str],
    description: tuple[str, ...] = ("Row", "Column"),
) -> widgets.VBox:
    """One figure at a time out of a table of figures: a control for each of its two dimensions or more.

    Parameters
    ----------
    pages : mapping of tuples of str to Drawing
        (row, column, …) → figure, axes, or a function that draws one. Rows may have different columns.
    alt : mapping of tuples of str to str
        (row, column, …) → alternative text, at least 20 characters.
    description : tuple of str
        Names of the controls, the outermost first.

    Returns
    -------
    VBox
        The first control and a `Stack` of what the others choose from, down to those of `switch`.

    Raises
    ------
    ValueError
        As for `switch`, and where a label does not have one part for each control.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> cells = [("a", "1"), ("a", "2"), ("b", "1")]
    >>> text = {cell: "an empty figure, number " + cell[1] for cell in cells}
    >>> box = grid({cell: plt.figure(figsize=(1, 1)) for cell in cells}, alt=text)
    >>> [len(row.children[1].children) for row in box.children[1].children]
    [2, 1]
    """
    _check(pages, alt)
    for label in pages:
        if not isinstance(label, tuple) or len(label) != len(description) or len(label) < 2:
            names = ", ".join(description)
            raise ValueError(f"`pages` must have labels of one part for each of {names}, two or more; got {label!r}")
    rows = list(dict.fromkeys(label[0] for label in pages))
    parts = []
    for row in rows:
        inner = {label[1:]: page for label, page in pages.items() if label[0] == row}
        texts = {label: alt[row, *label] for label in inner}
        if len(description) > 2:
            parts.append(grid(inner, alt=texts, description=description[1:]))
        else:
            one, text = ({label[0]: found for label, found in some.items()} for some in (inner, texts))
            parts.append(switch(one, alt=text, description=description[1]))
    return _linked([str(row) for row in rows], parts, description[0])


def explore(
    results: Result | Iterable[Result], by: str = "level", *, alt: Mapping[str, str] | None = None
) -> widgets.VBox:
    """Switch between the figures of a result's levels or modalities, or between networks.

    Parameters
    ----------
    results : Result or iterable of Result
        One result; several, one for each network, with `by="run"`; or a consistency and a specificity result of one
        network with `by="modality"`.
    by : str
        "level" (specificity: every concept; collaboration: what joint training changed; evolution: families in
        training), "modality" (evolution: similarity of levels; consistency with specificity: variance partitioning), or
        "run" (the main figure of each result).
    alt : mapping of str to str, optional
        Label → alternative text; by default the title and the range of the values.

    Returns
    -------
    VBox
        As from `switch`.

    Raises
    ------
    ValueError
        For an unknown `by`, or results without such figures.

    Examples
    --------
    >>> row = {"measure": "decodability", "concept": "rug", "family": "hue", "modality": "rgb", "value": 0.5}
    >>> result = Result.of("specificity", [row | {"level": level} for level in (1, 2)], made={})
    >>> explore(result).children[0].options
    ('level 1', 'level 2')
    """
    results = [results] if isinstance(results, Result) else list(results)
    ways = {"level": _by_level, "modality": _by_modality, "run": _by_run}
    if by not in ways:
        raise ValueError(f"`by` must be one of {', '.join(ways)}; got {by!r}")
    if not results:
        raise ValueError("`results` must hold at least one result; got none")
    drawn, texts = {}, {}
    for label, (draw, table) in ways[by](results).items():
        drawn[label] = draw()
        texts[label] = (alt or {}).get(label) or _describe(drawn[label], table)
    return switch(drawn, alt=texts, description={"level": "Level", "modality": "Modality", "run": "Network"}[by])


def gallery(
    features: Features, data: Dataset, run: str, kinds: Iterable[str] = ("rgb", "depth", "both"), *, count: int = 3
) -> widgets.VBox:
    """What units see: for each kind of concept and each level, each modality's unit that encodes one of them best.

    Parameters
    ----------
    features, data : Features, Dataset
        The responses, and their images (`data.redraw` for planted scenes).
    run : str
        A run id, a fusion, or "twins".
    kinds : iterable of str
        Of concepts, as in `features.concepts["kind"]`: "rgb" are those that colour alone shows.
    count : int
        Number of images with the strongest responses; see `plots.gallery`.

    Returns
    -------
    VBox
        As from `grid`: a list of kinds, and buttons for the levels.

    Raises
    ------
    ValueError
        Where `features` have no concept of a kind, the run no stream of a modality, or `plots.gallery` refuses.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> features = ri.load("book/features/scenes")
    >>> box = gallery(features, ri.data.redraw(features), "sum", ["depth"])
    >>> box.children[0].options, box.children[1].children[0].children[0].options
    (('planted in depth only',), ('1', '2', '3', '4'))
    """
    pages, texts = {}, {}
    for kind in kinds:
        names = features.concepts["name"][features.concepts["kind"] == kind].tolist()
        if not names:
            known = ", ".join(features.concepts["kind"].unique())
            raise ValueError(f"`kinds` must be among {known}, those of {features.path}; got {kind!r}")
        for level in levels_of(features, run):
            found = [best_unit(features, run, m.name, level, concepts=names) for m in features.modalities]
            cell = plots.KINDS_IN_WORDS.get(kind, kind), str(level)
            pages[cell] = partial(plots.gallery, features, data, found, count=count)
            texts[cell] = ". ".join(plots.gallery_text(features, unit, count) for unit in found) + "."
    return grid(pages, alt=texts, description=("Concepts", "Level"))


Pages = dict[str, tuple[Callable[[], Axes], pd.DataFrame]]


def _by_level(results: list[Result]) -> Pages:
    figures = {
        "specificity": ("decodability", plots.concepts),
        "collaboration": ("retention", plots.retention),
        "evolution": ("family in training", partial(plots.training, measure="family in training")),
    }
    result = results[0]
    if len(results) > 1 or result.question not in figures:
        asked = ", ".join(r.question for r in results)
        raise ValueError(f'`results` must be one of {", ".join(figures)} with by="level"; got {asked}. Try by="run".')
    measure, figure = figures[result.question]
    table = result.rows(measure)
    levels = sorted(table["level"].dropna().unique().astype(int)) or [None]  # without any, the figure says what to do
    names = ["all levels" if level == 0 else f"level {level}" for level in levels]
    return {
        name: (partial(figure, result, level=level), table[table["level"] == level])
        for name, level in zip(names, levels, strict=True)
    }


def _by_modality(results: list[Result]) -> Pages:
    given = {r.question: r for r in results}
    if set(given) == {"evolution"}:
        (result,) = given.values()
        table, figure = result.rows("level similarity"), partial(plots.level_similarity, result)
    elif set(given) == {"consistency", "specificity"}:
        table = given["consistency"].rows(["consistent share", "consistent share uncorrected"], label="all")
        figure = partial(plots.partitioning, given["consistency"], given["specificity"])
    else:
        raise ValueError(
            '`results` must be one evolution result, or a consistency and a specificity result, with by="modality"; '
            f"got {', '.join(r.question for r in results)}"
        )
    names = table["modality"].unique()
    if not len(names):
        raise ValueError("`results` must hold 'level similarity', or 'consistent share' and 'specific share'; got none")
    return {m: (partial(figure, m), table[table["modality"] == m]) for m in names}


def _by_run(results: list[Result]) -> Pages:
    names = [str(r.table["fusion"].iloc[0]) if len(r.table) else "nothing" for r in results]
    if len(set(names)) < len(names):
        raise ValueError(f"`results` must be of different networks, one a result; got {', '.join(names)}")
    shown = map(plots.main_measure, results)
    return {
        name: (partial(plots.plot, r), r.rows(measure)) for name, r, measure in zip(names, results, shown, strict=True)
    }


def _describe(ax: Axes, table: pd.DataFrame) -> str:
    """Alternative text: the title, and of each modality the number, range and mean of the values."""
    parts = [ax.get_title("left")]
    for modality, rows in table.groupby("modality", sort=False):
        v = rows["value"].dropna()
        if len(v):
            parts.append(f"{modality}: {len(v)} values from {v.min():.2f} to {v.max():.2f}, mean {v.mean():.2f}")
    return ". ".join(parts) + "."


def _check(pages: Mapping, alt: Mapping) -> None:
    if not pages:
        raise ValueError("`pages` must hold at least one figure; got none")
    for label in pages:
        text = alt.get(label)
        if not isinstance(text, str) or len(text.strip()) < SHORTEST:
            raise ValueError(
                f"`alt` must say in at least {SHORTEST} characters what each figure shows; got {text!r} for {label!r}"
            )


def _linked(labels: list[str], children: list[widgets.Widget], description: str) -> widgets.VBox:
    few = sum(map(len, labels)) <= BUTTONS
    kind = widgets.ToggleButtons if few else widgets.Dropdown
    layout = widgets.Layout(width="auto", max_width="100%")
    style = {"description_width": "initial"} | ({"button_width": "auto"} if few else {})
    control = kind(options=tuple(labels), index=0, description=description, layout=layout, style=style)
    stack = widgets.Stack(children=children, selected_index=0)
    box = widgets.VBox([control, stack])
    box.link = widgets.jslink((control, "index"), (stack, "selected_index"))
    return box


def _page(page: Drawing, alt: str) -> widgets.HTML:
    drawn = page() if callable(page) else page
    figure = drawn.figure if isinstance(drawn, Axes) else drawn
    picture, wide = _png(figure)
    data = base64.b64encode(picture).decode()
    plt.close(figure)
    text, style = html.escape(alt.strip(), quote=True), f"width:{wide}px;max-width:100%;height:auto"
    return widgets.HTML(f'<img alt="{text}" style="{style}" src="data:image/png;base64,{data}">')


def _png(figure: Figure) -> tuple[bytes, int]:
    """The figure in 128 colours, a third of the bytes, coarser where it is still large; as wide as it is to be shown.

    A coarser picture is shown as large as a fine one, so that its text keeps its size.
    """
    for dpi in RESOLUTIONS:
        raw, small = io.BytesIO(), io.BytesIO()
        options = {"facecolor": figure.get_facecolor(), "pil_kwargs": {"compress_level": 0}}  # it is read again at once
        figure.savefig(raw, format="png", dpi=dpi, bbox_inches="tight", **options)
        drawn = Image.open(raw).convert("RGB").quantize(128, Image.Quantize.FASTOCTREE)
        drawn.save(small, "PNG", optimize=True)
        if small.tell() <= LARGEST:
            break
    return small.getvalue(), round(drawn.width * RESOLUTIONS[0] / dpi)
