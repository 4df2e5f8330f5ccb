"""What a file of weights says of its network, checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

from rgbd_insight.data.encodings import FUNCTIONS

WIDEST, DEEPEST = 8192, 64  # more is no network that was trained here, but would fill the memory


def _whole(value: Any, low: int = 0, high: int = 2**64) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < high


def _numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list) and len(value) == count
        and all(isinstance(x, int | float) and not isinstance(x, bool) and isfinite(x) for x in value)
    )  # fmt: skip


def _wholes(value: Any, high: int) -> bool:
    return isinstance(value, list) and 0 < len(value) <= DEEPEST and all(_whole(x, 1, high) for x in value)


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "fusion": (lambda v: isinstance(v, str), "a name"),
    "classes": (lambda v: _whole(v, 1, WIDEST), "a number of classes"),
    "seed": (_whole, "a whole number"),
    "widths": (lambda v: _wholes(v, WIDEST), "a list of channels"),
    "blocks": (lambda v: _whole(v, 1, DEEPEST), "a number of blocks"),
    "levels": (lambda v: v is None or _wholes(v, DEEPEST), "a list of levels or null"),
    "rgb_scale": (lambda v: _numbers(v, 2) and v[1] > 0, "mean and spread"),
    "depth_scale": (lambda v: _numbers(v, 2) and v[1] > 0, "mean and spread"),
    "encoding": (lambda v: isinstance(v, str) and v in FUNCTIONS, f"one of {', '.join(FUNCTIONS)}"),
    "intrinsics": (lambda v: v is None or _numbers(v, 4), "fx, fy, cx, cy or null"),
}


def checked(about: Any, name: str) -> tuple[dict, int]:
    """Config and epoch, or a ValueError that names the file and what is wrong in it."""
    config = about.get("config") if isinstance(about, dict) else None
    if not isinstance(config, dict) or not _whole(about.get("epoch")):
        raise ValueError(f"`path` must say its config and epoch; {name} is damaged: save it again")
    for key, (right, what) in KINDS.items():
        if key not in config or not right(config[key]):
            raise ValueError(f"`path` must be a network with {key}, {what}; {name} has {str(config.get(key))[:60]!r}")
    return config, about["epoch"]
