"""Networks of another making: how they are called, and where the published ones and your own can be tapped."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rgbd_insight.hooks import Tap, at_level
from rgbd_insight.utils.messages import unknown

INPUTS = ("pair", "list", "stacked", "keywords")

LEVELS = (1, 2, 3, 4)
PLACE = ("module", "item", "call", "when", "layout", "tokens", "rows", "values", "levels")
CALL = ("inputs", "names", "depth_channels", "logits")
ABOUT = ("paper", "how", "purity", "note")


@dataclass(frozen=True)
class Adapter:
    """A callable for `adapt`: hands colour and depth over as a network wants them, brings its scores to their size.

    Parameters
    ----------
    inputs : str, optional
        "pair" calls model(rgb, depth), "list" model([rgb, depth]), "stacked" model of one tensor (B, 3 + c, H, W),
        "keywords" ``model(first=rgb, second=depth)`` with the two `names`.
    names : (str, str), optional
        The keywords.
    depth_channels : int, optional
        Depth is repeated to as many channels.
    logits : tuple of (int or str), optional
        Keys of the scores in what the model returns, outermost first; () where it returns them alone.
    rgb_scale, depth_scale : (object, object), optional
        (mean, standard deviation), numbers or one a channel, that the network was trained with; None leaves values as
        they are, colour in [0, 1] and depth in metres. Missing depth stays 0.

    Raises
    ------
    ValueError
        For another `inputs`.

    Examples
    --------
    >>> class Other(nn.Module):
    ...     def forward(self, images):
    ...         return {"scores": [F.avg_pool2d(images[0] + images[1], 4)]}
    >>> adapt = Adapter("list", depth_channels=3, logits=("scores", 0))
    >>> adapt(Other(), torch.rand(2, 3, 8, 12), torch.rand(2, 1, 8, 12)).shape
    torch.Size([2, 3, 8, 12])
    """

    inputs: str = "pair"
    names: tuple[str, str] = ("rgb", "depth")
    depth_channels: int = 1
    logits: tuple[int | str, ...] = ()
    rgb_scale: tuple[Any, Any] | None = None
    depth_scale: tuple[Any, Any] | None = None

    def __post_init__(self) -> None:
        if self.inputs not in INPUTS:
            raise ValueError(
                f"`inputs` must be one of {', '.join(INPUTS)}; got {self.inputs!r}: choose how it is called"
            )

    def __call__(self, model: nn.Module, rgb: Tensor, depth: Tensor) -> Tensor:
        """Scores (B, C, H, W) of `model` for colour (B, 3, H, W) and depth (B, 1, H, W)."""
        size = rgb.shape[-2:]
        valid = depth != 0
        if self.rgb_scale is not None:
            rgb = (rgb - _column(self.rgb_scale[0], rgb)) / _column(self.rgb_scale[1], rgb)
        depth = depth.expand(-1, self.depth_channels, -1, -1)  # (B, c, H, W)
        if self.depth_scale is not None:
            scaled = (depth - _column(self.depth_scale[0], depth)) / _column(self.depth_scale[1], depth)
            depth = torch.where(valid, scaled, 0)
        if self.inputs == "keywords":
            found = model(**dict(zip(self.names, (rgb, depth), strict=True)))
        elif self.inputs == "pair":
            found = model(rgb, depth)
        else:
            found = model([rgb, depth] if self.inputs == "list" else torch.cat([rgb, depth], 1))
        return _resized(self._scores(found), size)

    def _scores(self, found: Any) -> Tensor:
        for key in self.logits:
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError) as error:
                kind = type(found).__name__
                raise ValueError(f"`logits` must lead to the scores; got {key!r} for a {kind}: name another") from error
        if not isinstance(found, Tensor) or found.ndim != 4:
            got = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ValueError(f"`logits` must lead to scores (B, C, h, w); got {got}: name the key of the scores")
        return found


def _column(values: float | Sequence[float], like: Tensor) -> Tensor:
    """A number a channel as (C, 1, 1), or one number."""
    column = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    return column[:, None, None] if column.ndim else column


def _resized(scores: Tensor, size: torch.Size) -> Tensor:
    """Scores (B, C, H, W) at `size`."""
    if scores.shape[-2:] == size:
        return scores
    return F.interpolate(scores, size, mode="bilinear", align_corners=False)


class TapMap(list):
    """The taps of a network, with what else is known of it.

    Attributes
    ----------
    name : str
        The network.
    adapt : Adapter
        An `Adapter` that calls it.
    about : dict
        Paper, how the map was established, purity (from which level on depth moves "rgb"; 0: never), note.
    """

    def __init__(self, name: str, taps: list[Tap], adapt: Adapter, about: dict) -> None:
        super().__init__(taps)
        self.name, self.adapt, self.about = name, adapt, about


def published(name: str) -> TapMap:
    """Where the streams of a published network can be read: its taps, and how it is called.

    Parameters
    ----------
    name : str
        A name in `published_networks()`.

    Returns
    -------
    TapMap
        The taps, a list with `adapt` and `about`. The network itself is not part of this package.

    Raises
    ------
    ValueError
        For an unknown name; it lists the nearest.

    Examples
    --------
    >>> taps = published("CEN")
    >>> taps[0].module, taps[0].item, taps.adapt.inputs
    ('layer1', 0, 'list')
    >>> published("Sigma")[5].call, published("Sigma")[5].item
    (1, 1)
    """
    maps = _shipped()
    if name not in maps:
        raise ValueError(unknown("name", name, maps))
    return _tap_map(name, maps[name])


def published_networks() -> tuple[str, ...]:
    """The names that `published` knows.

    Returns
    -------
    tuple of str
        In the order of published.toml.

    Examples
    --------
    >>> "ESANet" in published_networks(), len(published_networks())
    (True, 13)
    """
    return tuple(_shipped())


def read_tap_map(path: str | Path) -> TapMap:
    """A tap map of your own: a .toml file with one table, in the form of the package's published.toml.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    TapMap
        Of the network that the table is named after.

    Raises
    ------
    ValueError
        Where it is no such file; it names the key.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.toml"
    >>> _ = path.write_text('mine.rgb = {module = "colour.stage{level}"}')
    >>> [tap.module for tap in read_tap_map(path)[:2]]
    ['colour.stage1', 'colour.stage2']
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"`taps` must be a .toml file; there is none at {path}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} must be TOML; {error}") from None
    if len(tables) != 1 or not all(isinstance(table, dict) for table in tables.values()):
        raise ValueError(f"{path} must hold one table, [NAME]; got {', '.join(tables) or 'nothing'}")
    ((name, table),) = tables.items()
    return _tap_map(name, table)


def _tap_map(name: str, table: dict) -> TapMap:
    """The `TapMap` that a table of such a file describes."""
    taps = []
    try:
        for stream, place in table.items():
            if stream not in (*CALL, *ABOUT):
                if not isinstance(place, dict):
                    raise TypeError(f"{stream} is no table")
                taps += _taps(stream, dict(place))
        call = {key: tuple(v) if isinstance(v := table[key], list) else v for key in CALL if key in table}
        return TapMap(name, taps, Adapter(**call), {key: table[key] for key in ABOUT if key in table})
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"the tap map {name!r} is not as it must be ({type(error).__name__}: {error}); a stream is a table of "
            f"{', '.join(PLACE)}, and beside streams there may be {', '.join(CALL)} and {', '.join(ABOUT)}"
        ) from None


def _taps(stream: str, place: dict) -> list[Tap]:
    """One tap a level."""
    for key in place:
        if key not in PLACE:
            raise ValueError(unknown(f"key of {stream}", key, PLACE))
    levels, found = place.pop("levels", LEVELS), []
    for level in levels:
        filled = {key: _filled(value, level) for key, value in place.items()}
        if isinstance(filled.get("item"), str) and filled["item"].isdecimal():
            filled["item"] = int(filled["item"])
        found.append(Tap(stream, int(level), **filled))
    return found


def _filled(value: object, level: int) -> object:
    """`value` with {level} filled in."""
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    return at_level(value, level)


@cache
def _shipped() -> dict[str, dict]:
    return tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
