"""Malformed calls of every public function: each good call that an example makes, one parameter wrong at a time."""

from __future__ import annotations

import copy
import dis
import doctest
import importlib
import inspect
import io
import itertools
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import rgbd_insight

PACKAGES = tuple(
    f"rgbd_insight.{name}"
    for name in (
        "metrics metrics.baselines stats data models hooks features extraction training questions claims "
        "plots report validation experiments"
    ).split()
)
SECONDS = 20  # beyond which a call hangs
MEMORY = 8 * 2**30  # bytes beyond which it fills the memory


@dataclass(frozen=True)
class Call:
    """A good call of a public function: its arguments by name, as they were when it was made."""

    name: str
    function: Callable
    given: dict[str, Any]

    def __call__(self, **changed: Any) -> Any:
        kinds = {p.name: p.kind for p in inspect.signature(self.function).parameters.values()}
        given = {k: copied(v) for k, v in self.given.items() if k not in changed} | changed
        before, extra, named = [], (), {}
        for name, kind in kinds.items():
            if name not in given:
                continue
            if kind is inspect.Parameter.VAR_POSITIONAL:
                extra = given[name]
            elif kind is inspect.Parameter.VAR_KEYWORD:
                named |= given[name]
            elif kind is inspect.Parameter.KEYWORD_ONLY:
                named[name] = given[name]
            else:
                before.append(given[name])
        return self.function(*before, *extra, **named)


def copied(value: Any) -> Any:
    """A copy where one can be made: a call must not change what the next is given."""
    if isinstance(value, (torch.nn.Module, np.ndarray, torch.Tensor, pd.DataFrame, list, dict)):
        with suppress(Exception):
            return copy.deepcopy(value)
    return value


def public() -> dict[str, Callable]:
    """Every public function, and every public class that checks what it is made of, by the first name it has."""
    found: dict[str, Callable] = {}
    seen: set[int] = set()
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if not callable(value) or id(value) in seen or getattr(value, "_is_protocol", False):
                continue
            if inspect.isclass(value) and (issubclass(value, Exception) or _is_record(value)):
                continue
            seen.add(id(value))
            found[f"{package.removeprefix('rgbd_insight.')}.{name}"] = value
    assert all(not callable(v) or id(v) in seen or _is_record(v) or issubclass(v, Exception) for v in _top())
    return found


def _top() -> list:
    return [v for v in (getattr(rgbd_insight, name) for name in rgbd_insight.__all__) if not inspect.ismodule(v)]


def wrongs(call: Call) -> Iterator[tuple[str, str, str, Any]]:
    """Parameter, kind, name and value of every malformed call that a good one is turned into."""
    kinds = {p.name: p.kind for p in inspect.signature(call.function).parameters.values()}
    for parameter, good in call.given.items():
        many = {inspect.Parameter.VAR_POSITIONAL: (list, tuple), inspect.Parameter.VAR_KEYWORD: (dict,)}
        for kind, name, value in wrong(good):
            if value is None and inspect.signature(call.function).parameters[parameter].default is None:
                continue  # that is its default
            own = kinds[parameter] in many and not isinstance(value, many[kinds[parameter]])
            if not own and name != "a number as name":  # f(*3) and f(**{3: 1}) are Python's own to refuse
                yield parameter, kind, name, value


def _is_record(kind: type) -> bool:
    """Whether a class is what functions hand over: nothing is checked that we have made ourselves."""
    made = is_dataclass(kind) and not hasattr(kind, "__post_init__")
    return inspect.isclass(kind) and (made or not hasattr(kind.__init__, "__code__"))


class Seen(BaseException):
    """The call that was waited for: what it would do need not be waited for."""


@contextmanager
def _kept(home: Path) -> Iterator[None]:
    """Temporary folders that examples make stay, below `home`."""
    before, clean = tempfile.tempdir, tempfile.TemporaryDirectory.cleanup
    tempfile.tempdir = str(home)
    tempfile.TemporaryDirectory.__exit__, leave = lambda self, *_: None, tempfile.TemporaryDirectory.__exit__
    try:
        yield
    finally:
        tempfile.tempdir, tempfile.TemporaryDirectory.cleanup = before, clean
        tempfile.TemporaryDirectory.__exit__ = leave


def calls(home: Path, wanted: Mapping[str, Callable], also: Mapping[str, Callable]) -> dict[str, Call]:
    """A good call of each function, as `also` or its example makes it."""
    found: dict[str, Call] = {}
    with _kept(home), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in wanted.items():
            with _watched(value) as given, suppress(Seen):
                if name in also:
                    also[name](home)
                else:
                    _follow(value)
            if given:
                found[name] = Call(name, value, given)
    return found


def _follow(value: Callable) -> None:
    """Run the example in a docstring."""
    space = dict(vars(sys.modules[inspect.unwrap(value).__module__]))
    for example in doctest.DocTestParser().get_examples(inspect.getdoc(value) or ""):
        with suppress(Exception):
            exec(compile(example.source, "<example>", "single"), space)


@contextmanager
def _watched(value: Callable) -> Iterator[dict[str, Any]]:
    """Inside the ``with``, the first call of a function gives its arguments and ends."""
    given: dict[str, Any] = {}
    inner = inspect.unwrap(value.__init__ if inspect.isclass(value) else inspect.unwrap(value))
    signature = inspect.signature(inner)

    def take(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given.update({k: copied(v) for k, v in bound.arguments.items() if k != "self"})
        raise Seen

    sys.modules[__name__]._TAKE = take
    code = inner.__code__
    inner.__code__ = _stand_in(code)
    try:
        yield given
    finally:
        inner.__code__ = code


def _stand_in(code: CodeType) -> CodeType:
    """What is run in the place of a function: it hands over what it was given."""

    def instead(*args: Any, **kwargs: Any) -> None:
        from tests.faults import _malformed

        _malformed._TAKE(*args, **kwargs)

    return instead.__code__.replace(co_freevars=code.co_freevars)


class Odd:
    """Something that nobody asks for."""

    def __repr__(self) -> str:
        return "Odd()"


ODD = Odd()


def wrong(value: Any) -> Iterator[tuple[str, str, Any]]:
    """Kind, name and value of what may be given for `value`, and is wrong or nearly so."""
    yield "type", "an object", ODD
    if value is not None:
        yield "type", "None", None
    if isinstance(value, bool):
        yield from (("type", "a text", "yes"), ("type", "a list", [True]))
    elif isinstance(value, (int, np.integer)):
        yield from (("type", "a text", "x"), ("type", "a list", [1]), ("number", "nan", np.nan))
        yield from (("number", "a fraction", 1.5), ("number", "inf", np.inf), ("number", "-1", -1), ("number", "0", 0))
        yield from (("number", "huge", 10**12), ("number", "beyond 64 bits", 10**30), ("number", "-huge", -(10**12)))
    elif isinstance(value, (float, np.floating)):
        yield from (("type", "a text", "x"), ("type", "a list", [0.5]), ("type", "complex", 1j))
        yield from (("number", repr(v), v) for v in (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e308, 1e-320, 10**400))
    elif isinstance(value, (str, os.PathLike)):
        yield from (("type", "a number", 3), ("type", "a list", [value]), ("type", "bytes", b"x"))
        yield from (
            ("name", repr(v[:20]), v) for v in ("", "no such thing", "\0", "a" * 5000, "<b>$\\frac0$\n", "../..")
        )
    elif isinstance(value, np.ndarray):
        yield from _arrays(value)
    elif isinstance(value, torch.Tensor):
        yield from (("type", "a text", "x"), ("type", "a number", 3))
        for kind, name, array in _arrays(value.detach().cpu().numpy()):
            with suppress(TypeError, ValueError, RuntimeError):
                yield kind, name, torch.as_tensor(array)
    elif isinstance(value, pd.DataFrame):
        yield from _frames(value)
    elif isinstance(value, Mapping):
        yield from (("type", "a text", "x"), ("type", "a number", 3), ("type", "a list", [1]), ("names", "empty", {}))
        for key in list(value)[:2]:
            yield "names", f"without {key!r}", {k: v for k, v in value.items() if k != key}
            for kind, name, v in wrong(value[key]):
                yield kind, f"{key!r}: {name}", dict(value) | {key: v}
        yield "names", "another name", dict(value) | {"no such thing": 1}
        yield "names", "a number as name", {3: next(iter(value.values()), 1)}
    elif isinstance(value, (list, tuple, range)):
        yield from (("type", "a number", 3), ("type", "a text", "no such thing"), ("members", "none", type_of(value)()))
        yield "members", "twice", type_of(value)(list(value) * 2)
        yield "members", "one more", type_of(value)([*value, *list(value)[:1]])
        for kind, name, v in wrong(next(iter(value), None)):
            yield kind, f"first {name}", type_of(value)([v, *list(value)[1:]])
        if len(value) > 1:
            yield "members", "first only", type_of(value)(list(value)[:1])
    elif callable(value) and not isinstance(value, torch.nn.Module):
        yield from (("type", "a text", "x"), ("type", "a number", 3), ("type", "returns None", lambda *_, **__: None))
    else:
        yield from (("type", "a text", "no such thing"), ("type", "a number", 3), ("type", "a list", []))


def type_of(value: Any) -> type:
    return list if isinstance(value, range) or hasattr(value, "_fields") else type(value)


def _arrays(x: np.ndarray) -> Iterator[tuple[str, str, Any]]:
    yield from (("type", "a text", "no such thing"), ("type", "a number", 3), ("type", "ragged", [[1, 2], [3]]))
    yield "type", "texts", np.full(x.shape, "a")
    yield "type", "objects", np.full(x.shape, ODD, dtype=object)
    yield "type", "complex", np.full(x.shape, 1j)
    yield "shape", "empty", x[:0]
    yield "shape", "one row", x[:1]
    yield "shape", "fewer rows", x[:-1]
    yield "shape", "a dimension more", x[..., None]
    yield "shape", "flat", x.reshape(-1)
    yield "shape", "no dimension", np.array(1.0)
    yield "shape", "turned", x.T
    if x.ndim > 1:
        yield "shape", "no columns", x[:, :0]
        yield "shape", "one column", x[:, :1]
    if x.dtype.kind in "fiub":
        y = x.astype(float)
        flat = y.reshape(-1)
        for name, v in {"nan": np.nan, "inf": np.inf, "huge": 1e300, "negative": -5.0}.items():
            z = flat.copy()
            z[len(z) // 2 : len(z) // 2 + 1] = v
            yield "values", f"one {name}", z.reshape(x.shape)
        yield "values", "all nan", np.full(x.shape, np.nan)
        yield "values", "all inf", np.full(x.shape, np.inf)
        yield "values", "constant", np.ones_like(x)
        yield "values", "zeros", np.zeros_like(x)
        yield "values", "denormal", y * 1e-310
        yield "values", "large", y * 1e200
        yield "values", "negated", -y
    if x.dtype.kind in "iu":
        yield "values", "beyond", x + 1000
        yield "values", "fractions", x + 0.5
    if x.dtype.kind in "US":
        yield "values", "all the same", np.full(x.shape, x.reshape(-1)[0] if x.size else "")


def _frames(x: pd.DataFrame) -> Iterator[tuple[str, str, Any]]:
    yield from (("type", "a text", "no such thing"), ("type", "a number", 3), ("type", "a list", [1]))
    yield "shape", "no rows", x.iloc[:0]
    yield "shape", "no columns", x.iloc[:, :0]
    yield "shape", "one row", x.iloc[:1]
    yield "shape", "nothing", pd.DataFrame()
    yield "values", "all empty", x.map(lambda _: None)
    for name in x.columns:
        if x[name].notna().any():
            yield "names", f"without {name!r}", x.drop(columns=name)
            yield "type", f"texts in {name!r}", x.assign(**{str(name): "<b>$\\frac0$"})
            yield "type", f"objects in {name!r}", x.assign(**{str(name): [ODD] * len(x)})
            yield "values", f"empty {name!r}", x.assign(**{str(name): np.nan})


class Hang(BaseException):
    """A call that takes too long."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def bounded() -> Iterator[None]:
    """Whatever would fill the memory of the machine ends in a MemoryError, and is found, instead of ending it."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


KINDS = (ValueError, TypeError, OSError, RuntimeError, FloatingPointError)
HOME = Path(rgbd_insight.__file__).parent


def verdict(call: Call, changed: dict[str, Any]) -> tuple[str, str]:
    """How a call ends, "refused" or "fine" where it is well, and what it says otherwise."""
    try:
        with limited(SECONDS), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                result = call(**changed)
                if inspect.isgenerator(result):
                    result = list(result)
                elif hasattr(result, "__enter__") and hasattr(result, "__exit__"):
                    with result:
                        pass
                elif hasattr(result, "close"):
                    result.close()
    except Hang:
        return "hangs", ""
    except Exception as error:
        return _raised(error, changed)
    others = [w for w in told if issubclass(w.category, (RuntimeWarning, np.exceptions.ComplexWarning))]
    if others:
        return "warned by another", str(others[0].message)
    told = (inspect.getdoc(call.function) or "") + (inspect.getdoc(type(result)) or "")
    if unreal(result) and "NaN" not in told and "infin" not in told:
        return "not a number", repr(result)[:200]
    return "fine", repr(type(result))


def _raised(error: Exception, changed: dict[str, Any]) -> tuple[str, str]:
    text, trace = str(error), error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
    where = f"{type(error).__name__}: {text[:160]!r} at {file.rpartition('rgbd_insight/')[2]}:{line}"
    if isinstance(error, OSError) and "\n" not in text:
        return "refused", text  # the system's name the file
    if not isinstance(error, KINDS):
        return "another's error", where
    raised = trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    if not file.startswith(str(HOME)) or not raised:
        return "another's error", where
    if "\n" in text and not any("\n" in one for value in changed.values() for one in _values(value)):
        return "not a line", where
    named = any(name in text or any(v in text for v in _values(value)) for name, value in changed.items())
    if not named and "`" not in text and "/" not in text:  # by itself, by its value, or by the file
        return "nameless", where
    return "refused", text


def _values(value: Any) -> list[str]:
    """The beginning of a value, or of each in a list, as a message may have it."""
    many = value if isinstance(value, (list, tuple)) else [value]
    return [form for one in many for form in (str(one)[:20], repr(one)[1:20]) if form]


def unreal(value: Any, depth: int = 0) -> bool:
    """Whether a result holds NaN or infinity; a table may have empty cells."""
    if isinstance(value, (float, np.floating)):
        return not np.isfinite(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return not np.isfinite(value).all()
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return not bool(torch.isfinite(value).all())
    if depth < 3 and isinstance(value, (list, tuple)):
        return any(unreal(v, depth + 1) for v in value)
    if depth < 3 and isinstance(value, dict):
        return any(unreal(v, depth + 1) for v in value.values())
    if depth < 3 and is_dataclass(value) and not isinstance(value, type):
        return any(unreal(getattr(value, f.name, None), depth + 1) for f in fields(value))
    return False


WELL = ("refused", "fine")
UNCALLED = {  # made by others of these, or for tests of their own, or nothing is given to them
    "claims.digest",
    "claims.specification",
    "extraction.call",  # what a network says of its inputs is its own
    "experiments.arrive",  # these two run a script that is named, and git
    "experiments.prepare",
    "experiments.run_claims",  # hundreds of jobs, of which each says what is wrong with it
    "features.Features",
    "features.misfit",
    "models.Fusion",
    "models.Network",
    "models.TapMap",
    "models.published_networks",
    "stats.evaluated",
    "validation.encoding_changes",
}


ANYWHERE = {  # any place is right for these, and what is done there is kept, or takes long
    ("experiments.position_plane", "work"),
    ("experiments.position_tables", "work"),
    ("validation.validate", "out"),
}


def malformed(home: Path, only: Sequence[str] | None = None, every: int = 1) -> Counter:
    """Call every public function (or those of `only`) with everything that is wrong, or with each `every`-th of it."""
    from tests.faults._calls import CALLS

    for name in ("features", "results"):
        shutil.copytree(HOME.parent / "book" / name, home / "book" / name)
    (home / "file").touch()
    wanted = {name: f for name, f in public().items() if name not in UNCALLED and (only is None or name in only)}
    found, begun = Counter(), Path.cwd()
    os.chdir(home)
    try:
        good = calls(home, wanted, CALLS)
        found["functions"] = len(good)
        for name in wanted.keys() - good.keys():
            found["functions without a good call"] += 1
            print(f"{name}: no good call", file=sys.stderr)
        with bounded():
            for call in good.values():
                usual = verdict(call, {})
                for parameter, kind, name, value in itertools.islice(wrongs(call), 0, None, every):
                    if (call.name, parameter) in ANYWHERE and isinstance(value, str | Path) and str(value):
                        continue
                    _judge(call, usual, (parameter, kind, name, value), home, found)
                plt.close("all")
    finally:
        os.chdir(begun)
    return found


def _judge(call: Call, usual: tuple[str, str], given: tuple, home: Path, found: Counter) -> None:
    parameter, kind, name, value = given
    before = set(home.iterdir())
    how, said = verdict(call, {parameter: value})
    if (how, said) == usual:
        how = "fine"
    new = set(home.iterdir()) - before
    for path in new:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    found["malformed calls"] += 1
    found[f"malformed: {kind}"] += 1
    found[f"malformed calls {how}" if how in WELL else f"malformed calls: {how}"] += 1
    if new and how == "refused":
        found["malformed calls that leave a file"] += 1
    if how not in WELL or (new and how == "refused"):
        print(f"{call.name}({parameter}={name}): {how}: {said} {sorted(p.name for p in new)}", file=sys.stderr)
