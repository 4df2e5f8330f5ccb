"""Networks of another making: how they are called, and where the published ones and your own can be tapped."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from rgbd_insight.hooks import Tap, at_level
from rgbd_insight.models.inputs import Adapter, Inputs
from rgbd_insight.utils.messages import checked_path, unknown
from rgbd_insight.utils.reading import Unreadable, read_toml

LEVELS = (1, 2, 3, 4)
PLACE = ("module", "item", "call", "when", "layout", "tokens", "rows", "values", "levels")
CALL = ("inputs", "names", "logits")
ABOUT = ("paper", "how", "purity", "note", "code", "make")
BESIDE = (*CALL, *ABOUT, "images", "like", "second")
DEPTH = "depth"  # what maps call the second modality, unless they say what it is


class TapMap(list):
    """The taps of a network, with what else is known of it.

    Attributes
    ----------
    name : str
        The network.
    adapt : Adapter
        An `Adapter` that calls it and, as `images`, gives it its images as it wants them; `extract` takes it where no
        other is given, and fits it to the data.
    about : dict
        Paper, how the map was established, purity (from which level on depth moves "rgb"; 0: never), note; code, the
        repository on GitHub, and make, a factory to be written into its folder.
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
    (True, 20)
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
    path = checked_path("path", path)
    try:
        tables = read_toml(path)
    except FileNotFoundError:
        raise ValueError(f"`taps` must be a .toml file; there is none at {path}") from None
    except Unreadable as error:
        raise ValueError(f"{path} must be TOML; {error}") from None
    if len(tables) != 1 or not all(isinstance(table, dict) for table in tables.values()):
        raise ValueError(f"{path} must hold one table, [NAME]; got {', '.join(tables) or 'nothing'}")
    ((name, table),) = tables.items()
    return _tap_map(name, table)


def _tap_map(name: str, table: dict) -> TapMap:
    """The `TapMap` that a table of such a file describes."""
    try:
        table = _completed(table)
        taps, second = [], table.get("second", DEPTH)
        for stream, places in table.items():
            if stream not in BESIDE:
                for place in places if isinstance(places, list) else [places]:
                    if not isinstance(place, dict):
                        raise TypeError(f"{stream} is no table")
                    taps += _taps(second if stream == DEPTH else stream, dict(place))
        call = {key: _plain(table[key]) for key in CALL if key in table}
        images = Inputs(**{key: _plain(value) for key, value in table.get("images", {}).items()})
        about = {key: table[key] for key in ABOUT if key in table}
        return TapMap(name, taps, Adapter(**call, images=images), about)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"the tap map {name!r} is not as it must be ({type(error).__name__}: {error}); a stream is a table of "
            f"{', '.join(PLACE)}, or a list of them, and beside streams there may be {', '.join(BESIDE)}"
        ) from None


def _completed(table: dict) -> dict:
    """The table with what it takes over from the shipped one that it is like."""
    if "like" not in table:
        return table
    maps = _shipped()
    if table["like"] not in maps:
        raise ValueError(unknown("like", str(table["like"]), maps))
    first = _completed(maps[table["like"]])
    images = first.get("images", {}) | table.get("images", {})
    return first | table | {"images": images}


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


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
    return at_level(value, level) if isinstance(value, str) else _plain(value)


@cache
def _shipped() -> dict[str, dict]:
    return read_toml(Path(__file__).with_name("published.toml"))
