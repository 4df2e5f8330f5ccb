"""Figures of the inputs: what planted scenes show, what each input moves, and what depth is given as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rgbd_insight.features import USUAL_MODALITIES, in_words
from rgbd_insight.plots.style import (
    COLOURS,
    INK,
    MODALITIES,
    PAPER,
    WIDTH,
    as_written,
    canvas,
    filled,
    finish,
    intervals,
    modality_colours,
    ordered_families,
    panels,
)
from rgbd_insight.plots.tables import keeps_table

if TYPE_CHECKING:
    from torch import Tensor

    from rgbd_insight.data import Scenes

WHO, CHANGES, FAR = "who shows what", "without it, changes", " (dark: far)"
NEITHER = "#c9c9c9"
OF = USUAL_MODALITIES[1]  # whose encodings are compared
WHOLLY = 2**0.5  # what two unrelated maps of one size differ by
PURITY = ("stream", "level", "modality", "moved")
ENCODINGS = {
    "metric": ("o", "#0072b2"),
    "inverse": ("s", "#56b4e9"),
    "log": ("v", "#117733"),
    "normals": ("^", "#aa4499"),
    "hha": ("D", "#8c6d1f"),
}


def scenes(data: Scenes, indices: Sequence[int], ax: Axes | None = None) -> Axes:
    """Planted scenes, a row each: colour, depth, and the things in them in the colour of the modality that shows them.

    Parameters
    ----------
    data : Scenes
        From `data.Scenes`.
    indices : sequence of int
        Indices of the scenes.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Things bear the name of their class; without a name is half of a conjunction, which is none. A dotted window is
        a tag: a concept that nothing shows. Depth is darker where it is farther.

    Raises
    ------
    ValueError
        Where an index is out of range.

    Examples
    --------
    >>> from rgbd_insight.data import Scenes
    >>> ax = scenes(Scenes(n=2), [0, 1])
    >>> len(ax.child_axes)
    6
    """
    indices = list(indices)
    batch, seen = data.batch(indices), data.visibility(indices).numpy()  # seen bool (B, 2, H, W)
    labels, tags = batch.labels.numpy(), batch.concepts[:, data.families.index("tag")].numpy()
    surfaces = sum(concept.kind == "unknown" and concept.family == "class" for concept in data.concepts)
    ax = canvas(ax, 1.7 * len(indices) + 0.5)
    ax.set_axis_off()
    titles = [*map(_title, batch.inputs), WHO]
    high, count, wide = 1 / len(indices), len(titles), 1 / len(titles)
    for i in range(len(indices)):
        below = 1 - (i + 1) * high
        boxes = [ax.inset_axes((column * wide, below, 0.975 * wide, 0.96 * high)) for column in range(count)]
        for box, images in zip(boxes, batch.inputs.values(), strict=False):
            _image(box, images[i])
        _who(boxes[-1], np.where(labels[i] >= surfaces, labels[i], -1), tags[i], seen[i], data)
        for box, title in zip(boxes, titles, strict=True):
            box.set(xticks=[], yticks=[])
            box.set_title(title if i == 0 else "", fontsize=9.5, pad=4)
    key = {f"by {who}": Patch(color=colour) for who, colour in shown_by([m.name for m in data.modalities]).items()}
    return finish(ax, "", key=key, room=6)


def cues(data: Scenes, ax: Axes | None = None) -> Axes:
    """One thing a row: the scene with it, and what changes in colour and in depth where it is left out.

    Parameters
    ----------
    data : Scenes
        `data.Scenes` with `toggle`; of each thing its first pair is drawn.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        A changed pixel has the colour of its modality; "nothing" stands where no pixel changes.

    Raises
    ------
    ValueError
        Where `data` draws no pairs.

    Examples
    --------
    >>> from rgbd_insight.data import Scenes
    >>> ax = cues(Scenes(n=1, toggle=["rug", "dome"]))
    >>> [box.get_ylabel() for box in ax.child_axes[::4]]
    ['rug', 'dome']
    """
    if not data.toggle:
        raise ValueError('`data` must draw pairs; got scenes without `toggle`: Scenes(n=1, toggle=["rug", "dome"])')
    first = [2 * data.n * i for i in range(len(data.toggle))]
    there, gone = data.batch(first), data.batch([i + 1 for i in first])
    changes = [(x != gone.inputs[name]).any(1).numpy() for name, x in there.inputs.items()]  # (B, H, W) each
    ax = canvas(ax, 1.27 * len(first) + 0.3)
    ax.set_axis_off()
    titles = [title for name in there.inputs for title in (_title(name), CHANGES)]
    high, count, wide, colours = 1 / len(first), len(titles), 1 / len(titles), modality_colours(there.inputs)
    for i, thing in enumerate(data.toggle):
        below = 1 - (i + 1) * high
        boxes = [ax.inset_axes((column * wide, below, 0.96 * wide, 0.94 * high)) for column in range(count)]
        for box, images in zip(boxes[::2], there.inputs.values(), strict=True):
            _image(box, images[i])
        for box, changed, modality in zip(boxes[1::2], changes, there.inputs, strict=True):
            box.imshow(changed[i], cmap=ListedColormap([PAPER, colours[modality]]), vmin=0, vmax=1)
            if not changed[i].any():
                box.text(0.5, 0.5, "nothing", ha="center", va="center", fontsize=9, transform=box.transAxes)
        for box, title in zip(boxes, titles, strict=True):
            box.set(xticks=[], yticks=[])
            box.set_title(title if i == 0 else "", fontsize=9.5, pad=4)
        boxes[0].set_ylabel(thing, fontsize=9.5)
    return as_written(ax)


def shown_by(modalities: Sequence[str]) -> dict[str, str]:
    """The colour of what each modality alone shows, of what several show, and of what none shows.

    Examples
    --------
    >>> list(shown_by(["rgb", "thermal"]))
    ['colour only', 'thermal only', 'both', 'neither']
    """
    words = ("both", "neither") if len(modalities) == 2 else ("several", "none")
    alone = {f"{in_words(name)} only": colour for name, colour in modality_colours(modalities).items()}
    return alone | dict(zip(words, (COLOURS["both"], NEITHER), strict=True))


def _title(modality: str) -> str:
    """Of an image: what it shows, and how a map of distances is read."""
    return in_words(modality) + (FAR if modality == OF else "")


def _image(ax: Axes, image: Tensor) -> None:
    """A picture of three channels (C, H, W) as it is, or the first channel of anything else."""
    if len(image) == 3:
        ax.imshow(image.movedim(0, -1).numpy())
    else:
        ax.imshow(image[0].numpy(), cmap="viridis_r")


def _who(ax: Axes, things: np.ndarray, tags: np.ndarray, seen: np.ndarray, data: Scenes) -> None:
    """Things (H, W) in the colour of who shows them, with their names; -1 where there is none."""
    colours = list(shown_by([m.name for m in data.modalities]).values())  # of each alone, of several, of none
    alone = np.where(seen.sum(0) > 1, len(seen) + 1, 1 + seen.argmax(0))
    who = np.where(seen.any(0), alone, np.where(things >= 0, len(colours), 0))
    ax.imshow(who, cmap=ListedColormap([PAPER, *colours]), vmin=0, vmax=len(colours))
    for tag in np.unique(tags[tags >= 0]):
        rows, columns = np.nonzero(tags == tag)
        corner, size = (columns.min(), rows.min()), (np.ptp(columns), np.ptp(rows))
        ax.add_patch(plt.Rectangle(corner, *size, fill=False, ls=":", ec="#8a8a8a", lw=0.9))
        box = {"boxstyle": "round,pad=0.1", "fc": PAPER, "ec": "none", "alpha": 0.85}
        ax.text(
            corner[0] + size[0] / 2,
            corner[1] + size[1] - 0.5,
            data.concepts[tag].name,
            ha="center",
            va="bottom",
            fontsize=9,
            color="#5a5a5a",
            bbox=box,
            zorder=4,
        )
    for thing in np.unique(things[things >= 0]):
        rows, columns = np.nonzero(things == thing)
        text = data.classes[thing].replace(" ", "\n")
        box = {"boxstyle": "round,pad=0.15", "fc": PAPER, "ec": "none", "alpha": 0.85}
        ax.text(columns.mean(), rows.mean(), text, ha="center", va="center", fontsize=9, color=INK, bbox=box)


@keeps_table
def purity(rows: pd.DataFrame | Iterable[Mapping], ax: Axes | None = None, *, title: str = "") -> Axes:
    """How far each stream moves, level by level, when one input is swapped for another scene's.

    Parameters
    ----------
    rows : DataFrame or iterable of mapping
        From `rgbd_insight.purity`, or `features.purity(run)`.
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    title : str
        Title of the figure.

    Returns
    -------
    Axes
        Bars are in the colour of the modality that was swapped; "0" stands where it moves nothing at all. Dashed: √2,
        where the swapped input drives everything.

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
    if table.empty or not set(PURITY) <= set(table.columns):
        raise ValueError(f"`rows` must have {', '.join(PURITY)}; got {', '.join(table.columns) or 'none'}: ri.purity")
    streams = list(dict.fromkeys(table["stream"]))
    ax = canvas(ax, 3.2, 5.2 if len(streams) < 3 else WIDTH)
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


@keeps_table
def shares_by_encoding(found: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """How much of the depth stream's reproducible variance colour shares, by level, for every encoding of depth.

    Parameters
    ----------
    found : mapping of str to DataFrame
        Name of the data -> "encodings_scenes" or "encodings_nyuv2" of `features.read_table`.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Its `child_axes` are the panels, one for each kind of data. Points are means over the networks with their
        intervals over scenes, small marks the single networks, the dotted line the largest share that permuted scenes
        give.

    Raises
    ------
    ValueError
        Where there are no such rows.

    Examples
    --------
    >>> row = {"measure": "consistent share", "modality": "depth", "level": 1, "encoding": "hha", "versus": None}
    >>> row |= {"seed": "mean", "value": 0.3, "low": 0.2, "high": 0.4, "null_high": 0.05}
    >>> [panel.get_title() for panel in shares_by_encoding({"scenes": pd.DataFrame([row])}).child_axes]
    ['scenes']
    """
    if not found:
        raise ValueError("`found` must hold a table of one kind of data or more; got none")
    ax = canvas(ax, 3.6)
    for panel, table in zip(panels(ax, list(found), 2), found.values(), strict=True):
        _shares_by_level(panel, _encoding_rows(table, "consistent share", OF))
    handles, labels = ax.child_axes[0].get_legend_handles_labels()
    y, key = "share of reproducible variance", dict(zip(labels, handles, strict=True))
    return finish(ax, f"What {OF} says and {in_words(USUAL_MODALITIES[0])} says too", x="level", y=y, key=key)


def _shares_by_level(ax: Axes, rows: pd.DataFrame) -> None:
    """One panel of `shares_by_encoding`."""
    names = _encodings(rows)
    for i, name in enumerate(names):
        one, off = rows[rows.encoding == name], 0.14 * (i - (len(names) - 1) / 2)
        marker, colour = ENCODINGS[name]
        mean, single = one[one.seed == "mean"], one[one.seed != "mean"]
        intervals(ax, mean.level + off, mean, colour, marker=marker, ms=6, label=name)
        ax.plot(single.level + off, single.value, marker=marker, color=colour, ls="", ms=2.5, mfc="white", zorder=5)
    chance = rows.groupby("level").null_high.max()
    ax.plot(chance.index, chance, color=INK, ls=":", lw=1, label="permuted scenes")
    ax.set_xticks(sorted(rows.level.unique()))
    ax.grid(axis="x", visible=False)


@keeps_table
def decodability_by_encoding(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How well every family of concepts is decoded from depth, for every encoding, and from colour.

    Parameters
    ----------
    table : DataFrame
        "encodings_scenes" or "encodings_nyuv2" of `features.read_table`.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Points are means over the networks with their intervals over scenes; an open circle is colour.

    Raises
    ------
    ValueError
        Where there are no such rows.

    Examples
    --------
    >>> row = {"measure": "decoded", "modality": "depth", "level": 0, "encoding": "hha", "versus": None, "seed": "mean"}
    >>> row |= {"family": "hue", "value": 0.3, "low": 0.2, "high": 0.4}
    >>> [label.get_text() for label in decodability_by_encoding(pd.DataFrame([row])).get_yticklabels()]
    ['hue']
    """
    rows = _encoding_rows(table, "decoded", OF)
    rows, families = rows[rows.seed == "mean"], ordered_families(rows.family)
    ax = canvas(ax, 1.2 + 0.5 * len(families))
    names = _encodings(rows)
    for i, name in enumerate(names):
        marker, colour = ENCODINGS[name]
        one = rows[rows.encoding == name]
        at = np.array([families.index(f) for f in one.family]) + 0.17 * (i - (len(names) - 1) / 2)
        intervals(ax, at, one, colour, across=True, marker=marker, ms=5, label=name)
    first = USUAL_MODALITIES[0]
    colour = table[(table.measure == "decoded") & (table.modality == first) & (table.seed == "mean")]
    ax.plot(
        colour.value,
        [families.index(f) for f in colour.family],
        ls="",
        marker="o",
        ms=8,
        mfc="none",
        color=MODALITIES[0],
        zorder=2,
    )
    ax.set_yticks(range(len(families)), families)
    ax.set_ylim(len(families) - 0.5, -0.5)
    ax.axvline(0, color=INK, lw=0.8, zorder=1)
    ax.grid(axis="y", visible=False)
    key = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    key[f"{in_words(first)} network"] = Line2D([], [], color=MODALITIES[0], marker="o", mfc="none", ls="", ms=8)
    return finish(ax, "How well each family is decoded, all levels together", x="mean δ of its concepts", key=key)


def _encoding_rows(table: pd.DataFrame, measure: str, modality: str) -> pd.DataFrame:
    """Rows of a measure that are no differences."""
    rows = table[(table.measure == measure) & (table.modality == modality) & table.versus.isna()]
    return filled(rows, f"rows {measure!r} of {modality!r} (read_table(folder, 'encodings_scenes') has them)")


def _encodings(rows: pd.DataFrame) -> list[str]:
    return [name for name in ENCODINGS if name in set(rows.encoding)]
