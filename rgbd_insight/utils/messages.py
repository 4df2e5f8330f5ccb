"""What is said of a name that nobody knows, and of what went wrong, in one wording wherever it happens."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType

COMMAND = "rgbd-insight"
WHERE, LONGEST = "RGBD_INSIGHT_TRACEBACK", 1000
FEW = 30  # known names, up to which a message lists them all


class Undefined(ValueError):
    """What a measure was given has no value, such as responses that are constant: a question goes on without it."""


class Constant(Undefined):
    """Responses do not vary over the images."""


class TooFew(Undefined):
    """There are too few samples, groups or concepts for a value: more of them would give one."""


def nearest(name: object, known: Iterable[object]) -> str:
    """The three of `known` most like `name`, ready for an error message.

    Parameters
    ----------
    name : object
        What was given.
    known : iterable of object
        What may be given.

    Returns
    -------
    str
        Names and commas, the most like first; "(there are none)" where nothing is known.

    Examples
    --------
    >>> nearest("chiar", ["chair", "table", "char"])
    'char, chair, table'
    >>> nearest("chair", [])
    '(there are none)'
    """
    return ", ".join(get_close_matches(str(name), [str(k) for k in known], n=3, cutoff=0.0)) or "(there are none)"


def unknown(argument: str, name: object, known: Iterable[object]) -> str:
    """The message for a value of `argument` that is not `known`: what may be given, and the nearest three.

    Parameters
    ----------
    argument : str
        How the caller calls it.
    name : object
        What was given.
    known : iterable of object
        What may be given; up to 30 are listed, more are counted.

    Returns
    -------
    str
        For a ValueError.

    Examples
    --------
    >>> unknown("fusion", "sun", ["sum", "se"])
    "`fusion` must be one of sum, se; got 'sun': the nearest are sum, se"
    >>> unknown("module", "laier1", [f"layer{k}" for k in range(100)])
    "`module` must be one of 100 known names; got 'laier1': the nearest are layer1, layer91, layer81"
    """
    known = [str(k) for k in known]
    listed = ", ".join(known) if len(known) <= FEW else f"{len(known)} known names"
    got = repr(name) if len(repr(name)) <= LONGEST // 2 else f"{repr(name)[: LONGEST // 2]}…"
    return f"`{argument}` must be one of {listed}; got {got}: the nearest are {nearest(name, known)}"


def checked_whole(name: str, value: object, least: int, most: int, fix: str) -> int:
    """`value` where it is a whole number from `least` to `most`; else a ValueError that says so, and how to mend it.

    Parameters
    ----------
    name : str
        How the caller calls it.
    value : object
        What was given; a number of numpy will do, True and 2.0 are none.
    least, most : int
        Its range, ends included: beyond `most` nothing would ever end.
    fix : str
        What to do instead.

    Raises
    ------
    ValueError
        Where it is another number, or none.

    Examples
    --------
    >>> checked_whole("epochs", 3, 1, 10**5, "8 are usual")
    3
    >>> checked_whole("epochs", 10**20, 1, 10**5, "8 are usual")
    Traceback (most recent call last):
    ValueError: `epochs` must be a whole number from 1 to 100,000; got 100000000000000000000: 8 are usual
    """
    whole = not isinstance(value, bool) and hasattr(value, "__index__")
    if not whole or not least <= int(value) <= most:
        raise ValueError(f"`{name}` must be a whole number from {least} to {most:,}; got {value!r}: {fix}")
    return int(value)


def checked_path(name: str, value: object) -> Path:
    """`value` as a path; else a ValueError: "" is none, although Python takes it for the current folder.

    Examples
    --------
    >>> checked_path("work", "")
    Traceback (most recent call last):
    ValueError: `work` must be a path; got ''
    """
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise ValueError(f"`{name}` must be a path; got {value!r}")
    return Path(value)


def say(message: object, code: int) -> int:
    """Print one line and return `code`; what steers a terminal is left out, the middle of a very long text too.

    Examples
    --------
    >>> say("nothing", 1)
    1
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(message)).split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
    print(f"{COMMAND}: {line}", file=sys.stderr)
    return code


def unforeseen(error: Exception) -> int:
    """The last resort: a damaged file that no check had foreseen must not end in a traceback; returns 1."""
    if os.environ.get(WHERE):
        raise error
    return say(
        f"{type(error).__name__}: {error}. The input is damaged in a way that no check foresaw, or this is a"
        f" mistake in rgbd-insight; set {WHERE}=1 to see where.",
        1,
    )


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C before the command has begun ends in a line as well."""
    if issubclass(kind, KeyboardInterrupt):
        say("stopped before anything was done", 130)
    else:
        sys.__excepthook__(kind, error, trace)


if Path(sys.argv[0]).stem == COMMAND:  # in anybody else's program it is not ours to say
    sys.excepthook = _uncaught
