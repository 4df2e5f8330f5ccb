"""What is said where a public function cannot use what it was given: which argument it was, and what it must be."""

from __future__ import annotations

import dataclasses
import dis
import functools
import inspect
import re
import sysconfig
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

PACKAGE = Path(__file__).parents[1]
SIZE = 1e100  # of numbers whose squares and sums can still be told apart from infinity
LIBRARIES = (str(PACKAGE), *{sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}, "<")
COMPILED = (".pyx", ".pxi", ".pyi")
NUMBERS = set(  # columns that hold them wherever they occur
    "value low high null null_high p ceiling planted level epoch seed unit n count groups width other worlds".split()
)
COUNTS = 2**31  # of anything: a loop over more never ends
FEW = 12  # columns that a message lists
RAISE = dis.opmap["RAISE_VARARGS"]
ROUNDED = (int, float, np.integer, np.floating)


def explain_arguments(namespace: MutableMapping[str, Any]) -> None:
    """Let the public functions and classes of a package name the argument that they cannot use.

    Parameters
    ----------
    namespace : mapping of str to object
        The package's ``globals()``; what its ``__all__`` lists and it has defined itself is replaced.

    Notes
    -----
    Checks cost nothing where nothing is wrong: an argument is looked at after another's error (of Python, NumPy,
    pandas or PyTorch) came out of a call. Where none is found wrong, the error is passed on as it is.

    Examples
    --------
    >>> def half(x: float) -> float:
    ...     return x / 2
    >>> space = {"__name__": __name__, "__all__": ["half"], "half": half}
    >>> explain_arguments(space)
    >>> space["half"](1.0)
    0.5
    >>> space["half"]("1")
    Traceback (most recent call last):
    ValueError: `x` must be float; got '1'
    """
    root = __name__.partition(".")[0]
    for name in namespace["__all__"]:
        value = namespace[name]
        if inspect.isclass(value) and value.__module__.startswith(root):
            if inspect.isfunction(value.__init__) and not issubclass(value, Exception):
                value.__init__ = _explaining(value.__init__, value.__doc__, made=hasattr(value, "__post_init__"))
        elif inspect.isfunction(value) and value.__module__.startswith(root):
            namespace[name] = _explaining(value, value.__doc__)
            namespace[name].__module__ = namespace["__name__"]  # where pickle finds it


def _explaining(function: Callable, text: str | None, *, made: bool = False) -> Callable:
    text = text or ""
    silent = "NaN" not in text and "infin" not in text
    real = "complex" not in text
    later = inspect.isgeneratorfunction(inspect.unwrap(function))  # what is wrong would be met after the call

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        met: list[str] = []
        if any(_beyond(value, real) for value in (*args, *kwargs.values())):
            for name, value in _given(function, args, kwargs).items():
                if name != "seed" and _beyond(value, real):
                    raise ValueError(f"`{name}` must be {_beyond(value, real)}; got {shown(value)}")
        said = _of_other_kind(function, text, _given(function, args, kwargs)) if later else None
        if said:
            raise ValueError(said)
        try:
            heard = {kind: "call" for kind in ("over", "invalid", "divide") if np.geterr()[kind] != "ignore"}
            with np.errstate(**heard, call=lambda kind, _: met.append(kind)):  # a caller who expects it says so
                result = function(*args, **kwargs)
        except Exception as error:
            said = None if _is_ours(error) else _what_is_wrong(function, text, args, kwargs, error)
            if said is None:
                raise
            raise ValueError(said) from error
        if made:
            given = _given(function, args, kwargs)
            given = {name: value for name, value in given.items() if isinstance(value, float) and unreal(value)}
            said = _of_other_kind(function, text, given)  # infinity may be meant, but never of a whole number
            if said or (silent and any(np.isnan(v) for v in given.values())):
                raise ValueError(said or _not_finite(function, args, kwargs))
        if met or (silent and unreal(result)):
            said = _not_finite(function, args, kwargs)
            if said:
                raise ValueError(said)
            for kind in dict.fromkeys(met):  # as NumPy would have
                warnings.warn(f"{kind} encountered in {function.__name__}", RuntimeWarning, stacklevel=2)
        return result

    return call


def _beyond(value: object, real: bool) -> str:
    """What a value must be with which no call ever ends, or that would lose a half of each number; "" if it may be."""
    if type(value) is int and not -COUNTS < value < COUNTS:
        return f"a number below {COUNTS}"
    if isinstance(value, list | tuple) and value:
        return _beyond(value[0], real)
    complex_ = real and isinstance(value, np.ndarray) and value.dtype.kind == "c"
    return "real numbers: take the real part, or the size, of complex ones" if complex_ else ""


def _is_ours(error: Exception) -> bool:
    """Whether an error says by itself what is wrong: it was not met by accident."""
    if isinstance(error, OSError | torch.OutOfMemoryError):
        return True  # the system's, which names the file or what there was too little of
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
        file = trace.tb_frame.f_code.co_filename
        if not (file.startswith(LIBRARIES) or file.endswith(COMPILED)):
            return True  # of a network, a dataset or a statistic of the caller's own
    code = trace.tb_frame.f_code
    return code.co_code[trace.tb_lasti] == RAISE and Path(code.co_filename).is_relative_to(PACKAGE)


def _given(function: Callable, args: tuple, kwargs: dict) -> dict[str, Any]:
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return {}  # Python's own words name the argument
    return {name: value for name, value in bound.arguments.items() if name != "self"}


def _not_finite(function: Callable, args: tuple, kwargs: dict) -> str | None:
    """What is infinite, or so large that its square is."""
    for name, value in _given(function, args, kwargs).items():
        for found in _oddities(value, None):
            if "finite" in found:
                return f"`{name}` must {found}"
    return None


def unreal(value: object) -> bool:
    """Whether a number is NaN or infinite, or one in an array, or in what an answer holds.

    >>> unreal(np.array([1, np.nan])), unreal((1.0, 2))
    (True, False)
    """
    if isinstance(value, tuple):
        return any(map(unreal, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return any(unreal(getattr(value, field.name, None)) for field in dataclasses.fields(value))
    return isinstance(value, float | np.floating | np.ndarray) and (
        np.asarray(value).dtype.kind == "f" and not np.isfinite(value).all()
    )


def _what_is_wrong(function: Callable, text: str, args: tuple, kwargs: dict, error: Exception) -> str | None:
    given = _given(function, args, kwargs)
    said = _of_other_kind(function, text, given)
    if said:
        return said
    for name, value in given.items():
        if isinstance(error, AttributeError) and error.obj is value and value is not function:
            return f"`{name}` must be {_documented(text, name) or 'another object'}; got {shown(value)}"
    for name, value in given.items():
        for found in _oddities(value, error):
            return f"`{name}` must {found}"
    for name, value in given.items():
        if not _has_documented_shape(value, _documented(text, name)):
            return f"`{name}` must be {_documented(text, name)}; got shape {np.shape(value)}"
    other = re.search(r"unexpected keyword argument '(.+)'", str(error))
    if other and other[1] not in inspect.signature(function).parameters:
        return f"`{other[1]}` must not be given: {function.__name__} has no such option; see its documentation"
    said = _lengths(given)
    nothing = next((name for name, value in given.items() if type(value) in (int, float) and not value), None)
    return said or (nothing and f"`{nothing}` must be in its range; got 0")


def _of_other_kind(function: Callable, text: str, given: Mapping[str, Any]) -> str | None:
    """The argument that is not of the kind that it is annotated with."""
    hints = {name: _hint(function, name) for name in given}
    for parameter in inspect.signature(function).parameters.values():  # *names and **names are looked at one by one
        if parameter.name in given and parameter.kind is parameter.VAR_POSITIONAL:
            hints[parameter.name] = tuple[hints[parameter.name], ...]
        elif parameter.name in given and parameter.kind is parameter.VAR_KEYWORD:
            hints[parameter.name] = dict[str, hints[parameter.name]]
    for name, value in given.items():
        if not fits(value, hints[name]):
            return f"`{name}` must be {_documented(text, name) or _spoken(hints[name])}; got {shown(value)}"
    return None


def _has_documented_shape(value: object, documented: str) -> bool:
    """Whether an array has as many dimensions as one of the shapes, such as (N, U), that a docstring names."""
    shapes = re.findall(r"\(([A-Z\d][\w ]*(?:, [\w ]+)*),?\)", documented)
    if not shapes or not isinstance(value, np.ndarray | torch.Tensor | int | float):
        return True
    sides = [shape.split(", ") for shape in shapes]
    return any(
        len(side) == np.ndim(value)
        and all(not one.isdecimal() or int(one) == n for one, n in zip(side, np.shape(value), strict=True))
        for side in sides
    )


def _hint(function: Callable, name: str) -> Any:
    hint = inspect.unwrap(function).__annotations__.get(name, Any)
    with suppress(Exception):  # a name that is imported for type checkers only
        return eval(hint, inspect.unwrap(function).__globals__) if isinstance(hint, str) else hint
    return Any


def _documented(text: str, name: str) -> str:
    """What the docstring says that a parameter is."""
    found = re.search(rf"^\s*(?:\w+, )*\*{{0,2}}{name}(?:, \w+)* : (.+)$", text, re.M)
    return found[1].removesuffix(", optional") if found else ""


def _spoken(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def shown(value: object) -> str:
    """A value in a few words, for a message: arrays and tables by kind and shape, all else as Python writes it.

    Examples
    --------
    >>> shown(np.zeros((2, 3))), shown("a" * 100)
    ('an array of float64 (2, 3)', "'aaaaaaaaaaaaaaaaaaaaaaaaaaaa…")
    """
    if isinstance(value, np.ndarray | torch.Tensor):
        return f"an array of {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, pd.DataFrame):
        return f"a table of {len(value)} rows"
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:29]}…"


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of the kind that an annotation names; what cannot be judged fits.

    Parameters
    ----------
    value : object
        What was given.
    hint : type or annotation
        Numbers of NumPy count as Python's, lists of numbers as arrays, and truth is no number.

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
    if hint == ArrayLike:
        return _is_array(value)
    if hint is np.ndarray or get_origin(hint) is np.ndarray:
        return _is_array(value) and np.ndim(value) > 0
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
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
        wanted = {n for n in (*vars(kind), *getattr(kind, "__annotations__", {})) if not n.startswith("_")}
        if "__call__" in vars(kind) or not wanted:
            return callable(value)
        return any(hasattr(value, n) for n in wanted)  # not all are needed everywhere
    if not isinstance(kind, type) or kind is type:
        return True
    if isinstance(value, str) and parts and not fits(value, parts[0]):
        return False  # a sequence, but not of these
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    return isinstance(value, kind) and _members_fit(value, parts)


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
        return isinstance(value, torch.Tensor)


def _oddities(value: object, error: Exception | None) -> Iterator[str]:
    """What is strange about a value of the right kind, as what it "must" be."""
    if isinstance(value, pd.DataFrame):
        yield from _table(value, error)
    elif isinstance(value, bool | np.bool_) or value is None:
        return
    elif isinstance(value, ROUNDED):
        if not abs(value) < SIZE:
            yield f"be finite and below {SIZE:g}; got {shown(value)}"
        elif value < 0 or isinstance(value, int) and value >= 2**31:
            yield f"be in its range; got {shown(value)}"
    elif isinstance(value, Path | str):
        if "\0" in str(value) or (not str(value) and error):
            yield f"be a name that can be used; got {shown(value)}"
        elif isinstance(error, KeyError) and error.args[:1] == (value,):
            yield f"be a name that is known here; got {shown(value)}"
    elif isinstance(value, Mapping):
        for key, one in value.items():
            for found in _oddities(one, error):
                yield f"have another {key!r}: it must {found}"
    elif isinstance(value, np.ndarray | torch.Tensor | list | tuple | range) and _is_array(value):
        yield from _array(value if isinstance(value, torch.Tensor) else np.asarray(value), error)
    elif isinstance(value, list | tuple):
        for one in value:
            for found in _oddities(one, error):
                yield f"have other members: each must {found}"


def _array(x: np.ndarray | torch.Tensor, error: Exception | None) -> Iterator[str]:
    x = x.detach().cpu().numpy() if isinstance(x, torch.Tensor) and x.dtype != torch.bfloat16 else np.asarray(x)
    if x.size == 0:
        yield f"not be empty; got shape {x.shape}"
    if x.dtype.kind in "US" and re.search("str|<U|U1|not supported|dtype", str(error)):
        yield f"be numbers; got texts such as {shown(x.reshape(-1)[0] if x.size else '')}"
    if x.dtype.kind == "c":
        yield "be real numbers; got complex ones: take their real part, or their size"
    if x.dtype.kind == "f":
        for place in np.argwhere(~(np.abs(x, dtype=float) < SIZE))[:1]:
            yield f"be finite and below {SIZE:g}; got {x[tuple(place)]:g} at {tuple(map(int, place))}"
        largest = np.abs(x).max(initial=0)
        if 0 < largest < 1 / SIZE:
            yield f"be finite when its inverse is squared; the largest is {largest:g}: give it in another unit"


def _table(table: pd.DataFrame, error: Exception | None) -> Iterator[str]:
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
        if any(not isinstance(v, str | int | float | bool | np.generic | None) for v in column[:1000]):
            yield f"hold numbers and texts; column {name!r} has {shown(column.iloc[0])}"
    for name in table.columns[table.isna().all()]:
        yield f"have values in its columns; {name!r} is empty"


def _lengths(given: Mapping[str, Any]) -> str | None:
    """Arrays whose rows cannot be those of one set of samples."""
    arrays = {k: np.shape(v) for k, v in given.items() if isinstance(v, np.ndarray | torch.Tensor) or _is_list(v)}
    (first, shape), *others = arrays.items() if arrays else [("", ())]
    for name, other in others:
        if other[:1] != shape[:1]:
            return f"`{name}` must have as many rows as `{first}`; got shapes {other} and {shape}"
    return None


def _is_list(value: object) -> bool:
    return isinstance(value, list) and bool(value) and _is_array(value)
