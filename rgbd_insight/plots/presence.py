"""In how many physical scenes a concept is present: what can be probed at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rgbd_insight.features import Features
from rgbd_insight.plots.style import COLOURS, INK, canvas, filled, finish
from rgbd_insight.plots.tables import keep


def presence(features: Features, ax: Axes | None = None, *, family: str = "class", fewest: int = 10) -> Axes:
    """In how many groups each concept of a family is present, most first.

    Parameters
    ----------
    features : Features
        What `rgbd_insight.load` gives.
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    family : str
        The family of concepts.
    fewest : int
        Groups below which a concept is not probed (dashed).

    Returns
    -------
    Axes
        The table that it keeps has the columns concept and groups.

    Raises
    ------
    ValueError
        Where the features have no concept of this family.

    Examples
    --------
    >>> from rgbd_insight.features import load
    >>> ax = presence(load("book/features/nyuv2"))
    >>> ax.get_ylabel()
    'groups with the concept'
    """
    known = features.concepts["family"]
    listed = ", ".join(dict.fromkeys(known))
    wanted = filled(features.concepts[known == family], f"concepts of the family {family!r} (it has {listed})")
    there = pd.DataFrame(features.present[:, wanted.index], columns=list(wanted["name"]))
    counts = there.groupby(np.asarray(features.groups)).any().sum().sort_values(ascending=False)
    counts = counts.rename_axis("concept").rename("groups").reset_index()
    ax, at = keep(canvas(ax, 3.4), counts), np.arange(len(counts))
    ax.bar(at, counts["groups"], color=COLOURS["none"])
    ax.axhline(fewest, ls="--", color=INK, lw=1)
    ax.set_xticks(at, counts["concept"], rotation=90)
    ax.grid(visible=False, axis="x")
    rare = (counts["groups"] < fewest).sum()
    title = f"{rare} of {len(counts)} concepts are present in fewer than {fewest} groups"
    return finish(ax, title, y="groups with the concept", key={})
