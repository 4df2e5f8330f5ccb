"""Pictures of planted scenes: what was drawn, and which modality shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from rgbd_insight.plots.style import COLOURS, INK, PAPER, finish, settings

if TYPE_CHECKING:
    from rgbd_insight.data import Scenes

TITLES = ("colour", "depth (dark: far)", "what is there, and who shows it")
CUES = ("colour", "without it, changes", "depth (dark: far)", "without it, changes")
SHOWN = {"colour only": COLOURS["rgb"], "depth only": COLOURS["depth"], "both": COLOURS["both"], "neither": "#c9c9c9"}
ROW = 2.15  # inches


def scenes(data: Scenes, indices: Sequence[int], ax: Axes | None = None) -> Axes:
    """Planted scenes, a row each: colour, depth, and the things in them in the colour of the modality that shows them.

    Parameters
    ----------
    data : from `data.Scenes`.
    indices : of the scenes.
    ax : where to draw; a figure of its own by default.

    Returns
    -------
    Axes. Things bear the name of their class; without a name is half of a conjunction, which is none. A dotted window
    is a tag: a concept that nothing shows. Depth is darker where it is farther.

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
    if ax is None:
        with plt.rc_context(settings()):
            ax = plt.subplots(figsize=(8.4, ROW * len(indices) + 0.5), layout="constrained")[1]
    ax.set_axis_off()
    high = 1 / len(indices)
    for i in range(len(indices)):
        boxes = [ax.inset_axes((column / 3, 1 - (i + 1) * high, 0.325, 0.96 * high)) for column in range(3)]
        boxes[0].imshow(batch.rgb[i].movedim(0, -1).numpy())
        boxes[1].imshow(batch.depth[i, 0].numpy(), cmap="viridis_r")
        _who(boxes[2], np.where(labels[i] >= surfaces, labels[i], -1), tags[i], seen[i], data)
        for box, title in zip(boxes, TITLES, strict=True):
            box.set(xticks=[], yticks=[])
            box.set_title(title if i == 0 else "", fontsize=9.5, pad=4)
    return finish(ax, "", key={f"by {who}": Patch(color=c) for who, c in SHOWN.items()}, room=6)


def cues(data: Scenes, ax: Axes | None = None) -> Axes:
    """One thing a row: the scene with it, and what changes in colour and in depth where it is left out.

    Parameters
    ----------
    data : `data.Scenes` with `toggle`; of each thing its first pair is drawn.
    ax : where to draw; a figure of its own by default.

    Returns
    -------
    Axes. A changed pixel has the colour of its modality; "nothing" stands where no pixel changes.

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
    changes = [(a != b).any(1).numpy() for a, b in ((there.rgb, gone.rgb), (there.depth, gone.depth))]  # (B, H, W) each
    if ax is None:
        with plt.rc_context(settings()):
            ax = plt.subplots(figsize=(8.4, 1.62 * len(first) + 0.3), layout="constrained")[1]
    ax.set_axis_off()
    high = 1 / len(first)
    for i, thing in enumerate(data.toggle):
        boxes = [ax.inset_axes((column / 4, 1 - (i + 1) * high, 0.24, 0.94 * high)) for column in range(4)]
        boxes[0].imshow(there.rgb[i].movedim(0, -1).numpy())
        boxes[2].imshow(there.depth[i, 0].numpy(), cmap="viridis_r")
        for box, changed, modality in zip(boxes[1::2], changes, ("rgb", "depth"), strict=True):
            box.imshow(changed[i], cmap=ListedColormap([PAPER, COLOURS[modality]]), vmin=0, vmax=1)
            if not changed[i].any():
                box.text(0.5, 0.5, "nothing", ha="center", va="center", fontsize=9, transform=box.transAxes)
        for box, title in zip(boxes, CUES, strict=True):
            box.set(xticks=[], yticks=[])
            box.set_title(title if i == 0 else "", fontsize=9.5, pad=4)
        boxes[0].set_ylabel(thing, fontsize=9.5)
    return ax


def _who(ax: Axes, things: np.ndarray, tags: np.ndarray, seen: np.ndarray, data: Scenes) -> None:
    """Things (H, W) in the colour of who shows them, with their names; -1 where there is none."""
    who = np.where(seen[0] & seen[1], 3, np.where(seen[0], 1, np.where(seen[1], 2, np.where(things >= 0, 4, 0))))
    ax.imshow(who, cmap=ListedColormap([PAPER, *SHOWN.values()]), vmin=0, vmax=4)
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
            fontsize=6.5,
            color="#5a5a5a",
            bbox=box,
            zorder=4,
        )
    for thing in np.unique(things[things >= 0]):
        rows, columns = np.nonzero(things == thing)
        text = data.classes[thing].replace(" ", "\n")
        box = {"boxstyle": "round,pad=0.15", "fc": PAPER, "ec": "none", "alpha": 0.85}
        ax.text(columns.mean(), rows.mean(), text, ha="center", va="center", fontsize=7, color=INK, bbox=box)
