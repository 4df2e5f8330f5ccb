"""Tap maps of published networks, read from published.toml, and tap maps of your own in the same form."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

from rgbd_insight.hooks.tap import Tap
from rgbd_insight.models.adapter import Adapter
from rgbd_insight.utils.messages import unknown

LEVELS = (1, 2, 3, 4)
PLACE = ("module", "item", "call", "when", "layout", "levels")
CALL = ("inputs", "names", "depth_channels", "logits")
ABOUT = ("paper", "how", "purity", "note")
LEVEL = re.compile(r"\{level\s*([+-]\s*\d+)?\}")


class TapMap(list):
    """The taps of a network, with what else is known of it.

    Attributes
    ----------
    name : the network.
    adapt : an `Adapter` that calls it.
    about : paper, how the map was established, purity (from which level on depth moves "rgb"; 0: never), note.
    """

    def __init__(self, name: str, taps: list[Tap], adapt: Adapter, about: dict) -> None:
        super().__init__(taps)
        self.name, self.adapt, self.about = name, adapt, about


def published(name: str) -> TapMap:
    """Where the streams of a published network can be read: its taps, and how it is called.

    Parameters
    ----------
    name
        A name in `networks()`.

    Returns
    -------
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
    return tap_map(name, maps[name])


def networks() -> tuple[str, ...]:
    """The names that `published` knows.

    Examples
    --------
    >>> "ESANet" in networks(), len(networks())
    (True, 13)
    """
    return tuple(_shipped())


def read_tap_map(path: str | Path) -> TapMap:
    """A tap map of your own: a .toml file with one table, in the form of the package's published.toml.

    Raises
    ------
    ValueError
        Where it is no such file; it names the key.
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
    return tap_map(name, table)


def tap_map(name: str, table: dict) -> TapMap:
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
    return LEVEL.sub(lambda m: str(level + int((m[1] or "0").replace(" ", ""))), value)


@cache
def _shipped() -> dict[str, dict]:
    return tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
