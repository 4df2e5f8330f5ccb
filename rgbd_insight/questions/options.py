"""Checking what a question was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from rgbd_insight.questions.networks import Networks


def chosen_levels(nets: Networks, levels: Sequence[int] | None, *, whole: bool = False) -> tuple[int, ...]:
    """The levels asked for, or all; with `whole`, 0 (all levels side by side) is one of them."""
    known = (*nets.levels, 0) if whole else nets.levels
    if levels is None:
        return known
    wrong = [level for level in levels if level not in known]
    if wrong or not levels:
        raise ValueError(f"`levels` must be among {', '.join(map(str, known))}; got {list(levels)}")
    return tuple(levels)


def chosen_measures(measures: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The measures asked for; an unknown name lists the nearest."""
    measures = (measures,) if isinstance(measures, str) else tuple(measures)
    for name in measures:
        if name not in known:
            near = ", ".join(get_close_matches(name, known, 3, 0.0))
            raise ValueError(f"`measures` must be among {', '.join(known)}; got {name!r}. Nearest: {near}")
    return measures
