"""Networks on disk: safetensors with the config in the metadata, never pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from rgbd_insight.data import ENCODINGS
from rgbd_insight.models.network import ENCODERS, IMAGENET, RANDOM, SEEDS, Network
from rgbd_insight.utils.tensors import read_tensors, write_tensors

FORMAT = "rgbd_insight.network/1"


def save(model: Network, path: str | Path) -> Path:
    """Write `model` to `path` (.safetensors) with all that :func:`load` needs; the file appears whole or not at all.

    Parameters
    ----------
    model : Network
        A network from ``build`` or ``load``; its `epoch` is kept.
    path : str or Path
        The file; its folder is made where there is none.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ValueError
        Where the path does not end in .safetensors, or `load` would refuse the network's config.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from rgbd_insight.models import build
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(build("se", classes=3, width=8), pathlib.Path(folder) / "se.safetensors")
    ...     load(path).config["fusion"]
    'se'
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"`path` must end in .safetensors; got {path.name!r}: write {path.stem}.safetensors")
    about = {"config": model.config, "epoch": model.epoch}
    checked(json.loads(json.dumps(about)), path.name)  # what load would refuse is not written
    about = json.dumps(about)
    write_tensors(path, model.state_dict(), FORMAT, about)
    return path


def load(path: str | Path) -> Network:
    """The network written by :func:`save`, on the CPU, in evaluation mode.

    Parameters
    ----------
    path : str or Path
        A .safetensors file.

    Returns
    -------
    Network
        The network with its `epoch`.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is none of ours, its weights do not fit its config, or a byte has changed since it was written.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path` must be a file written by save(); there is none at {path}")
    try:
        text, tensors = read_tensors(path, FORMAT)
    except SafetensorError as error:
        raise ValueError(f"`path` must be a safetensors file; {path.name} is none ({error}): save it again") from error
    if text is None:
        raise ValueError(
            f"`path` must be a network of format {FORMAT!r}; {path.name} is none: for weights of another program, "
            "build the network there and pass it with its taps"
        )
    config, epoch = checked(_parsed(text, path.name), path.name)
    model = Network(config)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"`path` must hold the weights of its config; {path.name} does not: {error}") from error
    model.epoch = epoch
    return model.eval()


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"`path` must say its config as JSON; {name} is damaged: save it again") from None


WIDEST, DEEPEST = 8192, 64  # more is no network that was trained here, but would fill the memory


def _whole(value: Any, low: int = 0, high: int = 2**64) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < high


def _numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(x, int | float) and not isinstance(x, bool) and isfinite(x) for x in value)
    )


def _wholes(value: Any, high: int) -> bool:
    return isinstance(value, list) and 0 < len(value) <= DEEPEST and all(_whole(x, 1, high) for x in value)


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "fusion": (lambda v: isinstance(v, str), "a name"),
    "classes": (lambda v: _whole(v, 1, WIDEST), "a number of classes"),
    "seed": (lambda v: _whole(v, 0, SEEDS), f"a whole number from 0 to {SEEDS - 1}"),
    "widths": (lambda v: _wholes(v, WIDEST), "a list of channels"),
    "encoder": (lambda v: isinstance(v, str) and v in ENCODERS, f"one of {', '.join(ENCODERS)}"),
    "weights": (lambda v: v in (IMAGENET, RANDOM), f"{IMAGENET} or {RANDOM}"),
    "blocks": (lambda v: _whole(v, 1, DEEPEST), "a number of blocks"),
    "levels": (lambda v: v is None or _wholes(v, DEEPEST), "a list of levels or null"),
    "rgb_scale": (lambda v: _numbers(v, 2) and v[1] > 0, "mean and standard deviation"),
    "depth_scale": (lambda v: _numbers(v, 2) and v[1] > 0, "mean and standard deviation"),
    "encoding": (lambda v: isinstance(v, str) and v in ENCODINGS, f"one of {', '.join(ENCODINGS)}"),
    "intrinsics": (lambda v: v is None or _numbers(v, 4), "fx, fy, cx, cy or null"),
}


def checked(about: Any, name: str) -> tuple[dict, int | None]:
    """Config and epoch (None is unknown), or a ValueError that names the file and what is wrong in it."""
    config = about.get("config") if isinstance(about, dict) else None
    if not isinstance(config, dict) or not (about.get("epoch", "") is None or _whole(about.get("epoch"))):
        raise ValueError(f"`path` must say its config and epoch; {name} is damaged: save it again")
    for key, (right, what) in KINDS.items():
        if key not in config or not right(config[key]):
            raise ValueError(f"`path` must be a network with {key}, {what}; {name} has {str(config.get(key))[:60]!r}")
    for name, other in dict(config.get("others") or {}).items():
        if not (isinstance(other, dict) and _whole(other.get("channels"), 1, 17) and _numbers(other.get("scale"), 2)):
            raise ValueError(f"`path` must say channels and scale of {name!r}; it says {str(other)[:60]!r}")
    return config, about["epoch"]
