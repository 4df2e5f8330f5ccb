"""What a unit sees: the images that move it most and least, in both modalities, and its best concept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from rgbd_insight.features import USUAL_MODALITIES, Features, in_words
from rgbd_insight.plots.style import INK, PAPER, SHADE, as_written, filled, modality_colours, settings
from rgbd_insight.plots.tables import keep, keeps_table
from rgbd_insight.questions import Unit

if TYPE_CHECKING:
    from rgbd_insight.data import Batch, Dataset
    from rgbd_insight.features import Modality

WIDTH, HEAD, FOOT, GAP = 6.0, 0.62, 0.72, 0.42  # inches: of the figure; of a unit's title, histogram, space below
TITLE, SPACE, LEFT, KEY = 0.5, 0.2, 0.3, 0.3  # inches: of `locations`
KINDS_IN_WORDS = {  # of each kind of concept, for the usual modalities
    **{name: f"planted in {in_words(name)} only" for name in USUAL_MODALITIES},
    "both": "planted in both",
    "neither": "shown by neither",
    "together": "shown by both together only",
    "graded": "planted by degrees",
}


def gallery(
    features: Features, data: Dataset, units: Unit | Iterable[Unit], ax: Axes | None = None, *, count: int = 4
) -> Axes:
    """The images with a unit's strongest and weakest mean responses, colour above depth, and the responses to all.

    Parameters
    ----------
    features : Features
        The responses, which are means over the image: *where* in it a unit responded was not kept.
    data : Dataset
        The images of `features`, for example from `data.redraw`.
    units : Unit or iterable of Unit
        One or several from `questions.best_unit`.
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    count : int
        Number of strongest images, each of another group; half as many weakest stand beside them.

    Returns
    -------
    Axes
        A line goes around the unit's concept wherever it is in the image: full in a modality that shows it there (or
        where it is not known who does), dotted in one that does not. Below, how the responses are spread over the
        images with the concept (in the stream's colour) and without it (grey).

    Raises
    ------
    ValueError
        Where `data` are not the images of `features`, or `count` is not in 1 … number of groups.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> from rgbd_insight.questions import best_unit
    >>> features = ri.load("book/features/scenes")
    >>> ax = gallery(features, ri.data.redraw(features), best_unit(features, "sum", "depth", 4))
    >>> len(ax.images), len(ax.child_axes)  # six images in colour, the same in depth; the responses
    (12, 1)
    """
    units = [units] if isinstance(units, Unit) else list(units)
    _check(features, data, count)
    columns = count + -(-count // 2)
    cell = (WIDTH - 0.45) / (columns + 0.25)  # a quarter of a column parts the strongest from the weakest
    high = cell * data.size[0] / data.size[1]
    each = HEAD + 2 * high + FOOT + GAP
    ax = _sheet(ax, each * len(units))
    for i, unit in enumerate(units):
        top = i * each
        _title(ax, top, features, unit)
        strong, weak = extremes(features, unit, count)
        apart = 0.35 + (count + 0.25) * cell
        for name, x in (("strongest mean response", 0.35), ("weakest", apart)):
            ax.text(x, top + HEAD - 0.06, name, fontsize=9.5, va="bottom")
        columns_at = [0.35 + i * cell for i in range(len(strong))] + [apart + i * cell for i in range(len(weak))]
        _images(ax, features, data, unit, strong + weak, [(x, top + HEAD, cell, high) for x in columns_at])
        _name_rows(ax, features.modalities, 0.2, top + HEAD, high)
        total, below = each * len(units), top + HEAD + 2 * high + FOOT
        box = (0.35 / WIDTH, 1 - below / total, (WIDTH - 0.45) / WIDTH, (FOOT - 0.24) / total)
        _histogram(ax.inset_axes(box), features, unit)
        keep(ax, _listed(features, unit, strong, weak))
    return as_written(ax)


def _listed(features: Features, unit: Unit, strong: list[int], weak: list[int]) -> pd.DataFrame:
    """The images of one unit, a row each, with its response and whether the concept is there."""
    rows, about = strong + weak, ("stream", "level", "unit", "concept", "s", "low", "high")
    return pd.DataFrame(
        {name: getattr(unit, name) for name in about}
        | {
            "image": features.samples["id"].iloc[rows].to_numpy(),
            "shown as": ["strongest"] * len(strong) + ["weakest"] * len(weak),
            "response": unit.responses(features)[rows],
            "present": features.present[rows, _index(features, unit)],
        }
    )


def _sheet(ax: Axes | None, height: float) -> Axes:
    """`ax` or the axes of a new figure, bare and measured in inches from the top left."""
    if ax is None:
        with plt.rc_context(settings()):
            ax = plt.figure(figsize=(WIDTH, height), layout="none").add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    return ax


def extremes(features: Features, unit: Unit, count: int = 4) -> tuple[list[int], list[int]]:
    """Indices of the `count` images with the strongest responses and of half as many with the weakest, one a group.

    Parameters
    ----------
    features : Features
        Where the responses are from.
    unit : Unit
        From `questions.best_unit`.
    count : int
        Number of strongest images.

    Returns
    -------
    strong, weak : list of int

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> from rgbd_insight.questions import best_unit
    >>> features = ri.load("book/features/scenes")
    >>> unit = best_unit(features, "sum", "depth", 4)
    >>> strong, weak = extremes(features, unit)
    >>> bool(unit.responses(features)[strong].min() > unit.responses(features)[weak].max())
    True
    """
    x, groups = unit.responses(features), features.groups

    def first(order: np.ndarray, n: int) -> list[int]:
        _, at = np.unique(groups[order], return_index=True)  # where each group comes first
        return order[np.sort(at)[:n]].tolist()

    return first(np.argsort(-x, kind="stable"), count), first(np.argsort(x, kind="stable"), -(-count // 2))


def gallery_text(features: Features, unit: Unit, count: int = 4) -> str:
    """What `gallery` shows of a unit, in words: its alternative text.

    Parameters
    ----------
    features, unit, count : Features, Unit, int
        As for `gallery`.

    Returns
    -------
    str
    """
    there = features.present[:, _index(features, unit)]
    held = [
        f"{there[part].sum()} of the {len(part)} images with the {name} mean response"
        for part, name in zip(extremes(features, unit, count), ("strongest", "weakest"), strict=True)
    ]
    return (
        f"Unit {unit.unit} of the {unit.stream} stream at level {unit.level}: {held[0]} hold {unit.concept}, and "
        f"{held[1]} do; {_number(unit)}"
    )


def _check(features: Features, data: Dataset, count: int) -> None:
    kept, given = features.manifest["fingerprint"], data.fingerprint()
    if kept != given:
        differing = [k for k in dict.fromkeys([*kept, *given]) if kept.get(k) != given.get(k)]
        one, other = (", ".join(f"{k}={d.get(k)!r}" for k in differing) for d in (given, kept))
        raise ValueError(
            f"`data` must be the images that `features` were extracted from; got {data.name} with {one}, and "
            f"{features.path} is of {features.manifest['name']} with {other}. For planted scenes: "
            "ri.data.redraw(features)"
        )
    if not 1 <= count <= features.groups.max() + 1:
        raise ValueError(f"`count` must be in 1…{features.groups.max() + 1}, the number of groups; got {count}")


def _index(features: Features, unit: Unit) -> int:
    return features.concepts["name"].tolist().index(unit.concept)


def _number(unit: Unit) -> str:
    if not np.isfinite(unit.s):
        return "too few images for s"
    return f"s = {unit.s:.2f} ({unit.low:.2f} to {unit.high:.2f})".replace("-", "\u2212")


def _title(ax: Axes, top: float, features: Features, unit: Unit) -> None:
    kind = features.concepts["kind"][_index(features, unit)]
    known = f" ({KINDS_IN_WORDS[kind]})" if kind in KINDS_IN_WORDS else ""
    colour = modality_colours([unit.stream])[unit.stream]
    ax.text(
        0.05,
        top + 0.06,
        f"{unit.stream} stream, level {unit.level}, unit {unit.unit}",
        fontsize=10.5,
        va="top",
        weight="bold",
        color=colour,
    )
    ax.text(0.05, top + 0.25, f"best at {unit.concept}{known}: {_number(unit)}", fontsize=10, va="top")


def _images(ax: Axes, features: Features, data: Dataset, unit: Unit, indices: Sequence[int], boxes: list) -> None:
    """Columns of images, the first modality above the second, with the concept outlined in both."""
    batch, k = data.batch(indices), _index(features, unit)
    plane = features.families.index(features.concepts["family"][k])
    masks = batch.concepts[:, plane].numpy() == k  # (B, H, W)
    shown = _shown(features, data, indices, masks, k)  # (B, 2)
    for i, box in enumerate(boxes):
        for row, extent in enumerate(pair(ax, batch, i, box)):
            outline(ax, masks[i], extent, full=shown[i, row])


def pair(ax: Axes, batch: Batch, i: int, box: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Draw sample `i`, colour above depth, in a box (x, y, width and height of each; inches); their extents."""
    x, y, wide, high = box
    first, second = list(batch.inputs)[:2]
    reading = batch.inputs[second][i, 0].numpy()  # (H, W)
    if second in batch.valid:
        reading = np.where(batch.valid[second][i, 0].numpy(), reading, np.nan)
    extents = [(x, x + 0.97 * wide, y + (row + 0.97) * high, y + row * high) for row in range(2)]
    for image, extent in zip((batch.inputs[first][i].movedim(0, -1).numpy(), reading), extents, strict=True):
        ax.imshow(image, cmap="viridis_r", interpolation="nearest", aspect="auto", extent=extent)
    return extents


def _name_rows(ax: Axes, modalities: Sequence[Modality], x: float, top: float, high: float) -> None:
    """Name the rows of such pairs."""
    for row, m in enumerate(modalities):
        ax.text(x, top + (row + 0.5) * high, in_words(m.name), fontsize=9.5, rotation=90, ha="center", va="center")


def _shown(features: Features, data: Dataset, indices: Sequence[int], masks: np.ndarray, k: int) -> np.ndarray:
    """Whether each modality shows concept `k` in each image, bool (B, 2); True where nobody knows."""
    planted = [features.concepts[f"visible_{m.name}"][k] for m in features.modalities]
    if np.isnan(planted).any() or not hasattr(data, "visibility"):
        return np.ones((len(indices), 2), bool)
    seen = data.visibility(indices).numpy() & masks[:, None]  # (B, 2, H, W)
    return seen.any((2, 3)) & (np.array(planted) > 0)


def outline(ax: Axes, mask: np.ndarray, extent: tuple[float, ...], full: bool, colour: str = "white") -> None:
    """A line around the pixels of `mask` (H, W) of the image at `extent`: in a dark seam, or dotted."""
    if not mask.any():
        return
    left, right, lower, upper = extent
    (high, wide), padded = mask.shape, np.pad(mask, 1).astype(float)  # a line along the edge of the image too
    across = left + (right - left) * np.clip(np.arange(-1, wide + 1) + 0.5, 0, wide) / wide
    down = upper + (lower - upper) * np.clip(np.arange(-1, high + 1) + 0.5, 0, high) / high
    style = ["-" if full else (0, (1, 1.2))]
    line = ax.contour(across, down, padded, [0.5], colors=colour, linewidths=1.1, linestyles=style)
    if full:
        line.set_path_effects([withStroke(linewidth=2.4, foreground=INK)])


def _histogram(ax: Axes, features: Features, unit: Unit) -> None:
    """Histograms of the responses to images with and without the concept, each as shares of its own number."""
    x, there = unit.responses(features), features.present[:, _index(features, unit)]
    edges, own = np.histogram_bin_edges(x, 40), modality_colours([unit.stream])[unit.stream]
    for rows, name, at, side, fill, line in (
        (~there, "without it", 0, "left", SHADE, "#6a6a6a"),
        (there, f"with {unit.concept}", 1, "right", f"{own}88", own),
    ):
        weights = np.full(rows.sum(), 1 / max(rows.sum(), 1))
        ax.hist(x[rows], edges, weights=weights, histtype="stepfilled", facecolor=fill, edgecolor=line, lw=0.8)
        corner = {"transform": ax.transAxes, "ha": side, "va": "bottom"}
        ax.text(at, 1.0, f"{name} ({rows.sum()})", fontsize=9.5, color=line, **corner)
    ax.set(yticks=[], facecolor=PAPER)
    ax.locator_params(axis="x", nbins=6)
    ax.grid(False)
    for side in ("top", "left", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=9, length=2, pad=1)
    ax.set_xlabel("mean response", fontsize=9.5, labelpad=1)


@keeps_table
def locations(table: pd.DataFrame, data: Dataset, ax: Axes | None = None) -> Axes:
    """The images with a unit's highest peaks, colour above depth, with a line around its most active pixels.

    Parameters
    ----------
    table : DataFrame
        Rows of the table "locations_scenes", those of the units to be drawn; a unit's images are side by side.
    data : Dataset
        The images that it was made from.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        In the colour of the stream: around the pixels at which the unit exceeds all but .005 of its responses. White:
        around its concept, dotted in a modality that does not show it.

    Raises
    ------
    ValueError
        Where there are no rows, or `data` are other images.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> from rgbd_insight.features import read_table
    >>> table = read_table("book/results", "locations_scenes").query("stream == 'rgb' and level == 2 and kind == 'rgb'")
    >>> len(locations(table, ri.data.redraw(ri.load("book/features/scenes"))).images)  # four scenes, colour and depth
    8
    """
    filled(table, "rows of the units to be drawn", "stream", "level", "kind", "concept", "fingerprint", "mask")
    if not all(isinstance(mask, bytes) for mask in table["mask"]):
        raise ValueError("`table` must hold packed bits in its column 'mask', as `read_table` has them")
    for name in set(table["concept"]) - {concept.name for concept in data.concepts}:
        raise ValueError(f"`table` must be of the concepts of `data`; got {name!r} in its column 'concept'")
    if table["fingerprint"].iloc[0] != json.dumps(data.fingerprint(), sort_keys=True):
        raise ValueError(f"`data` must be the images that `table` was made from; got {data.fingerprint()}")
    units = list(table.groupby(["stream", "level", "kind"], sort=False))
    cell = (WIDTH - LEFT) / table.groupby(["stream", "level", "kind"]).size().max()
    high = cell * data.size[0] / data.size[1]
    each = TITLE + 2 * high + SPACE
    total = each * len(units) + KEY
    ax = _sheet(ax, total)
    for i, (_, rows) in enumerate(units):
        _unit(ax, i * each, rows, data, cell, high)
    colours = modality_colours(table["stream"].unique())
    key = {f"unit of {name}": Line2D([], [], color=colour, lw=1.6) for name, colour in colours.items()}
    key |= {
        "its concept": Line2D([], [], color="white", lw=1.4),
        "not shown there": Line2D([], [], color="white", lw=1.4, ls=":"),
    }
    ax.legend(
        key.values(),
        key.keys(),
        loc="lower center",
        ncols=len(key),
        fontsize=9,
        facecolor=INK,
        edgecolor="none",
        labelcolor="white",
        borderaxespad=0.1,
        columnspacing=1.2,
    )
    return as_written(ax)


def _who(row: Any) -> str:
    return f"{row.stream} stream, level {row.level:.0f}, unit {row.unit:.0f}"


def _said(row: Any) -> str:
    planted = f" ({KINDS_IN_WORDS[row.kind]})" if row.kind in KINDS_IN_WORDS else ""
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
        for row, extent in enumerate(pair(ax, batch, i, (LEFT + i * cell, top + TITLE, cell, high))):
            outline(ax, there[i], extent, full=bool(visible[i, row].any()))
            outline(ax, mask, extent, full=True, colour=colour)
    _name_rows(ax, data.modalities, 0.16, top + TITLE, high)
