"""Whether a value is of the kind that an annotation names, and what is strange about one that is."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike

SIZE = 1e100  # of numbers whose squares and sums can still be told apart from infinity
COUNTS = 2**31  # of anything: a loop over more never ends
FEW, COLUMN = 12, 1000  # columns that a message lists, and values that are looked at in one
NUMBERS = set(  # columns that hold them wherever they occur
    "value low high null null_high p ceiling planted level epoch seed unit n count groups width other worlds truth"
    " noise_ratio cooccurrence coverage noise image common private redundancy accuracy C S".split()
)
ROUNDED = (int, float, np.integer, np.floating)
ARRAYS = set(get_args(ArrayLike))


def is_tensor(value: object) -> bool:
    """Whether it is one of PyTorch, which need not have been imported."""
    return hasattr(value, "detach") and hasattr(value, "is_floating_point")


def is_table(value: object) -> bool:
    """Whether it is one of pandas, which need not have been imported."""
    return type(value).__name__ == "DataFrame"


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of the kind that an annotation names; what cannot be judged fits.

    Parameters
    ----------
    value : object
        What was given.
    hint : type or annotation
        Numbers of NumPy count as Python's, lists of numbers as arrays; truth is no number, a text no list of texts.

    Examples
    --------
    >>> fits(np.float32(1), float), fits(True, int), fits(None, int | None), fits([1, "a"], list[int])
    (True, False, True, False)
    """
    if hint is Any or hint is inspect.Parameter.empty or hint is object:
        return True
    if hint is None or hint is type(None):
        return value is None
    if isinstance(hint, TypeVar):
        return any(fits(value, part) for part in hint.__constraints__ or (hint.__bound__ or Any,))
    if hint is np.ndarray or get_origin(hint) is np.ndarray:
        return _is_array(value) and np.ndim(value) > 0
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if set(parts) >= ARRAYS:  # ArrayLike, and what else there may be
            return _is_array(value) or any(fits(value, part) for part in parts if part not in ARRAYS)
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    kind = origin or hint
    if kind is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)
    if kind is float:
        return isinstance(value, ROUNDED) and not isinstance(value, bool | np.bool_)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if getattr(kind, "_is_protocol", False):
        return _follows(value, kind)
    if not isinstance(kind, type) or kind is type:
        return True
    if isinstance(value, str) and parts:
        return False  # a sequence, but of letters
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    return isinstance(value, kind) and _members_fit(value, parts)


def _follows(value: object, protocol: Any) -> bool:
    wanted = {n for n in (*vars(protocol), *getattr(protocol, "__annotations__", {})) if not n.startswith("_")}
    if "__call__" in vars(protocol) or not wanted:
        return callable(value)
    return any(hasattr(value, n) for n in wanted)  # not all are needed everywhere


def _members_fit(value: object, parts: tuple) -> bool:
    if isinstance(value, Mapping) and len(parts) == 2:
        return all(fits(k, parts[0]) and fits(v, parts[1]) for k, v in value.items())
    if isinstance(value, tuple) and parts and parts[-1] is not Ellipsis and len(parts) > 1:
        return len(value) == len(parts) and all(map(fits, value, parts))
    if isinstance(value, list | tuple | set | frozenset) and parts:
        return all(fits(v, parts[0]) for v in value)
    return True


def _is_array(value: object) -> bool:
    if isinstance(value, str | bytes | Mapping) or value is None:
        return False
    try:
        return np.asarray(value).dtype.kind in "biufcUSmM"
    except (TypeError, ValueError, RuntimeError):  # rows of several lengths, a tensor with a gradient
        return is_tensor(value)


def as_array(value: object) -> np.ndarray | None:
    """An array, a tensor or a list of numbers as an array; None for all else.

    Examples
    --------
    >>> as_array([1, 2]), as_array("ab"), as_array([])
    (array([1, 2]), None, None)
    """
    listed = isinstance(value, list | tuple | range) and len(value) > 0 and _is_array(value)
    if is_tensor(value):
        value = value.detach().cpu()
        return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()  # numpy has no such numbers
    return np.asarray(value) if listed or isinstance(value, np.ndarray) else None


def has_shape(value: object, documented: str) -> bool:
    """Whether an array has one of the shapes that a docstring names; what names none fits.

    Parameters
    ----------
    value : object
        What was given; numbers have no dimension, and lists of numbers that of an array.
    documented : str
        Such as "array (N, U)", "sequence of int (2,)" or "array (D, …)": capitals are any size, … any further ones.

    Examples
    --------
    >>> has_shape(np.ones(3), "array (N, U)"), has_shape([1, 2], "(2,)"), has_shape(np.ones((2, 2)), "array (D, …)")
    (False, True, True)
    """
    shapes = re.findall(r"\(((?:[A-Z\d…][\w ]*|permutations)(?:, [\w …]+)*),?\)", documented)
    array = np.asarray(value) if isinstance(value, int | float) else as_array(value)
    if not shapes or array is None:
        return True
    return any(_same(array.shape, shape.split(", ")) for shape in shapes)


def _same(shape: tuple[int, ...], sides: list[str]) -> bool:
    if sides[-1] == "…":
        sides = sides[:-1]
        shape = shape[: len(sides)]
    return len(sides) == len(shape) and all(
        not side.isdecimal() or int(side) == n for side, n in zip(sides, shape, strict=True)
    )


def unreal(value: object) -> bool:
    """Whether a number is NaN or infinite, or one in an array, or in what an answer holds.

    Examples
    --------
    >>> unreal(np.array([1, np.nan])), unreal((1.0, 2))
    (True, False)
    """
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, tuple):
        return any(map(unreal, value))
    if is_tensor(value):
        return value.is_floating_point() and not bool(value.isfinite().all())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return any(unreal(getattr(value, field.name, None)) for field in dataclasses.fields(value))
    return isinstance(value, np.floating | np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all()


def beyond(value: object, real: bool) -> str:
    """What a value must be with which no call ever ends, or that would lose a half of each number; "" if it may be.

    Examples
    --------
    >>> beyond(10**12, True), beyond(1j, False)
    ('a number below 2147483648', '')
    """
    if type(value) is int and not -COUNTS < value < COUNTS:
        return f"a number below {COUNTS}"
    if isinstance(value, list | tuple) and value:
        return beyond(value[0], real)
    held = value.values() if isinstance(value, dict) else [value]
    lost = real and any(isinstance(x, complex) or (isinstance(x, np.ndarray) and x.dtype.kind == "c") for x in held)
    return "real numbers: take the real part, or the size, of complex ones" if lost else ""


def shown(value: object) -> str:
    """A value in a few words, for a message: arrays and tables by kind and shape, all else as Python writes it.

    Examples
    --------
    >>> shown(np.zeros((2, 3))), shown("a" * 100)
    ('an array of float64 (2, 3)', "'aaaaaaaaaaaaaaaaaaaaaaaaaaaa…")
    """
    if isinstance(value, np.ndarray) or is_tensor(value):
        return f"an array of {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if is_table(value):
        return f"a table of {len(value)} rows"
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:29]}…"


def oddities(value: Any, error: Exception | None) -> Iterator[str]:
    """What is strange about a value of the right kind, as what it "must" be.

    Parameters
    ----------
    value : object
        What was given.
    error : Exception, optional
        What came of it: some things are strange only where they cannot be used.

    Examples
    --------
    >>> next(oddities(np.array([1, np.inf]), None))
    'be finite and below 1e+100; got inf at (1,)'
    """
    if is_table(value):
        yield from _table(value, error)
    elif isinstance(value, bool | np.bool_) or value is None:
        return
    elif isinstance(value, ROUNDED):
        if not abs(value) < SIZE:
            yield f"be finite and below {SIZE:g}; got {shown(value)}"
        elif value < 0 or (isinstance(value, int) and value >= COUNTS):
            yield f"be in its range; got {shown(value)}"
    elif isinstance(value, Path | str):
        if not _usable(str(value)) or (not str(value) and error):
            yield f"be a name that can be used; got {shown(value)}"
        elif isinstance(error, KeyError) and error.args[:1] == (value,):
            yield f"be a name that is known here; got {shown(value)}"
    elif isinstance(value, Mapping):
        for key, one in value.items():
            for found in oddities(one, error):
                yield f"have another {key!r}: it must {found}"
    elif isinstance(value, np.ndarray | list | tuple | range) or is_tensor(value):
        if _is_array(value):
            yield from _array(value if is_tensor(value) else np.asarray(value), error)
        else:
            for one in value:
                for found in oddities(one, error):
                    yield f"have other members: each must {found}"


def _usable(name: str) -> bool:
    """Whether a name can be that of a file, and be written into one."""
    try:
        return b"\0" not in name.encode()
    except UnicodeEncodeError:  # bytes of a file's name that are no text
        return False


def _array(x: Any, error: Exception | None) -> Iterator[str]:
    x = as_array(x) if is_tensor(x) else x
    if x.size == 0:
        yield f"not be empty; got shape {x.shape}"
    if x.dtype.kind in "US":
        if re.search("str|<U|U1|not supported|dtype", str(error)):
            yield f"be numbers; got texts such as {shown(x.reshape(-1)[0] if x.size else '')}"
        for text in (text for text in map(str, x.reshape(-1)[:COLUMN]) if error and not (text and _usable(text))):
            yield f"hold names that can be used; got {shown(text)}"
    if x.dtype.kind == "c":
        yield "be real numbers; got complex ones: take their real part, or their size"
    if x.dtype.kind == "f":
        for place in np.argwhere(~(np.abs(x, dtype=float) < SIZE))[:1]:
            yield f"be finite and below {SIZE:g}; got {x[tuple(place)]:g} at {tuple(map(int, place))}"
        largest = np.abs(x).max(initial=0)
        if 0 < largest < 1 / SIZE:
            yield f"be finite when its inverse is squared; the largest is {largest:g}: give it in another unit"


def _table(table: Any, error: Exception | None) -> Iterator[str]:
    has = ", ".join(map(str, table.columns[:FEW])) or "none"
    if not len(table):
        yield f"have rows; got a table of none, with the columns {has}"
    for name in re.findall(r"'([^']+)'", str(error)) if isinstance(error, KeyError | AttributeError) else ():
        if name not in table.columns:
            yield f"have the column {name!r}; it has {has}"
    for name in NUMBERS & set(table.columns):
        texts = [value for value in table[name] if isinstance(value, str)]
        if texts:
            yield f"hold numbers in its column {name!r}; got {shown(texts[0])}"
    for name in table.columns:
        column = table[name]
        if any(not isinstance(v, str | bytes | int | float | bool | np.generic | None) for v in column[:COLUMN]):
            yield f"hold numbers and texts; column {name!r} has {shown(column.iloc[0])}"
    for name in table.columns[table.isna().all()]:
        yield f"have values in its columns; {name!r} is empty"
