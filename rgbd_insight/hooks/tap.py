"""Taps and the hooks under them: where a tensor is, which call it is, how it is laid out, what wrappers hide."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from rgbd_insight.hooks.wrappers import check_readable, find_modules, unwrapped_calls
from rgbd_insight.utils.messages import nearest, unknown

LAYOUTS = ("NCHW", "NHWC", "BNC")
VALUES = ("abs", "count")


@dataclass(frozen=True)
class Tap:
    """A named place where a stream is read at a level.

    Parameters
    ----------
    stream, level : str and int
        What the place stands for.
    module : str
        Dotted name of a module, as in ``model.named_modules()``. A part that is a negative number counts a container's
        children from its end: ``layer1.-1`` is the last block of ``layer1``. What ``nn.DataParallel`` and
        ``torch.compile`` put in front of names may be left out.
    item : int, str, tuple of (int or str), optional
        Which part of a tuple, list, dict, named tuple or dataclass the module returns (or is given: an argument's
        number or keyword): a number, key or field; a tuple of them goes deeper.
    call : int, optional
        Which call of a forward pass, from 0, where the module is called more than once.
    when : str, optional
        "out" reads what the module returns, "in" what it is given.
    layout : str, optional
        "NCHW", "NHWC", "BNC" (tokens; the grid follows from the input's aspect, one class token in front is left out)
        or "BNC:12x16" for a given grid. None: NCHW for four axes, BNC for three.
    tokens : str, optional
        Which tokens of a sequence, as "0:48", "48:96" or "1:", where there are others beside them: the other
        modality's, or global ones. "1/2" is the first of two equal parts, whatever the input's size; what is left over
        at the end, such as a global token, is in none.
    rows : str, optional
        Which part of a batch in which modalities are stacked: "1/2" is the first half, "2/2" the second.
    values : str, optional
        "abs": the magnitude of complex numbers; "count": whole numbers and truth values as numbers. None takes real
        numbers alone.

    Raises
    ------
    ValueError
        Where `when`, `layout`, `tokens`, `rows` or `values` is none of these.

    Examples
    --------
    >>> str(Tap("rgb", 2, "backbone.layer2", item=0))
    "rgb/2 at 'backbone.layer2', item 0"
    """

    stream: str
    level: int
    module: str
    item: int | str | tuple[int | str, ...] | None = None
    call: int | None = None
    when: str = "out"
    layout: str | None = None
    tokens: str | None = None
    rows: str | None = None
    values: str | None = None

    def __post_init__(self) -> None:
        if self.when not in ("out", "in"):
            raise ValueError(f'`when` must be "out" or "in"; got {self.when!r}: "out" reads what the module returns')
        if self.layout is not None and not re.fullmatch(r"NCHW|NHWC|BNC(:\d+x\d+)?", self.layout):
            raise ValueError(
                f"`layout` must be one of {LAYOUTS} or BNC:HxW; got {self.layout!r}: name the axes in order"
            )
        if self.tokens is not None and not re.fullmatch(r"(-?\d+)?:(-?\d+)?", self.tokens) and not _part(self.tokens):
            raise ValueError(
                f'`tokens` must be START:STOP or PART/PARTS; got {self.tokens!r}: write "0:48" for the first 48, "1/2" '
                "for the first half"
            )
        if self.rows is not None and not _part(self.rows):
            raise ValueError(f'`rows` must be a part of the batch; got {self.rows!r}: write "1/2" for its first half')
        if self.values is not None and self.values not in VALUES:
            raise ValueError(f"`values` must be one of {VALUES}; got {self.values!r}: leave it out for real numbers")

    @property
    def channels(self) -> int | None:
        """The axis of the units where the layout says it; None where the tensor's shape has to."""
        return None if self.layout is None else 1 if self.layout == "NCHW" else -1

    def __str__(self) -> str:
        call = "" if self.call is None else f", call {self.call}"
        item = "" if self.item is None else f", item {self.item}"
        tokens = "" if self.tokens is None else f", tokens {self.tokens}"
        rows = "" if self.rows is None else f", rows {self.rows}"
        return f"{self.stream}/{self.level} at {self.module!r}{item}{call}{tokens}{rows}"

    def as_json(self) -> dict[str, Any]:
        """Its fields for a manifest; `tokens`, `rows` and `values`, which few taps have, only where they are given."""
        return {k: v for k, v in asdict(self).items() if v is not None or k not in ("tokens", "rows", "values")}

    def of(self, x: Tensor) -> Tensor:
        """What of a module's tensor the tap stands for: a view of the chosen `rows` and `tokens`.

        Examples
        --------
        >>> import torch
        >>> Tap("depth", 1, "x", tokens="48:", rows="1/2").of(torch.zeros(4, 97, 5)).shape
        torch.Size([2, 49, 5])
        """
        if self.rows is not None:
            part, parts = _part(self.rows)
            if len(x) % parts:
                raise RuntimeError(f"tap {self}: {len(x)} rows have no {parts} equal parts: change `rows`")
            x = x.unflatten(0, (parts, len(x) // parts))[part - 1]
        if self.tokens is not None:
            if x.ndim != 3:
                raise RuntimeError(f"tap {self}: {tuple(x.shape)} is no sequence (B, N, C): leave `tokens` out")
            given = x.shape[1]
            if part := _part(self.tokens):
                start, stop = (n * (given // part[1]) for n in (part[0] - 1, part[0]))
            else:
                start, stop = (int(n) if n else None for n in self.tokens.split(":"))
            chosen = range(given)[start:stop]
            if not chosen or max(abs(start or 0), abs(stop or 0)) > given:
                raise RuntimeError(f"tap {self}: there are {given} tokens: change `tokens`")
            x = x[:, chosen.start : chosen.stop]
        return x


def _part(text: str) -> tuple[int, int] | None:
    """Which of how many equal parts "1/2" means; None where it means none."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    return (part, parts) if 1 <= part <= parts else None


Action = Callable[[Tap, Tensor, tuple[int, int] | None], Tensor | None]


class TapHooks:
    """The hooks of one set of taps: call `action` at each, count the calls, complain at the end of a forward pass."""

    def __init__(self, model: nn.Module, wanted: Sequence[Tap], action: Action) -> None:
        self.model, self.wanted, self.action = model, wanted, action
        self.calls: dict[str, int] = {}
        self.fired: set[Tap] = set()
        self.size: tuple[int, int] | None = None
        self.passes, self.handles = 0, []

    def attach(self) -> None:
        modules = find_modules(self.model, [tap.module for tap in self.wanted])
        for tap in self.wanted:
            if tap.module not in modules:
                names = [name for name, _ in self.model.named_modules() if name]  # the model itself has none
                raise ValueError(f"tap {tap}: " + unknown("module", tap.module, names))
            check_readable(modules[tap.module], f"tap {tap}: the module")
        self.handles = [self.model.register_forward_pre_hook(self.begin, with_kwargs=True)]
        for name in {tap.module for tap in self.wanted}:
            here = [tap for tap in self.wanted if tap.module == name]
            self.handles.append(modules[name].register_forward_pre_hook(self.before(name, here), with_kwargs=True))
            self.handles.append(modules[name].register_forward_hook(self.after(name, here)))
        self.handles.append(self.model.register_forward_hook(self.end))  # last, so that a tap on the model itself fires

    def detach(self) -> None:
        for handle in self.handles:
            handle.remove()

    def begin(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.calls, self.fired = {}, set()
        image = _first_image((args, kwargs))
        self.size = None if image is None else tuple(image.shape[-2:])

    def before(self, name: str, here: list[Tap]) -> Callable:
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            self.calls[name] = self.calls.get(name, 0) + 1
            for tap in here:
                if tap.when == "in":
                    args, kwargs = self.given(tap, args, kwargs)
            return args, kwargs

        return hook

    def given(self, tap: Tap, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Let the tap look at the arguments of a call: a keyword, one of several places, or the only one there is."""
        key = tap.item[0] if isinstance(tap.item, tuple) else tap.item
        if key in kwargs or not args:
            if tap.item is None and len(kwargs) == 1:
                (name,) = kwargs
                return args, {name: self.touch(tap, kwargs[name])}
            return args, self.touch(tap, kwargs)
        if tap.item is not None and len(args) > 1:
            return tuple(self.touch(tap, args)), kwargs
        return (self.touch(tap, args[0]), *args[1:]), kwargs

    def after(self, name: str, here: list[Tap]) -> Callable:
        def hook(module: nn.Module, args: tuple, output: Any) -> Any:
            for tap in here:
                if tap.when == "out":
                    output = self.touch(tap, output)
            return output

        return hook

    def touch(self, tap: Tap, value: Any) -> Any:
        """Let `action` look at the tap's tensor in `value`; returns `value`, with the tensor replaced where it says."""
        call = self.calls.get(tap.module, 1) - 1
        if tap.call is not None and call != tap.call:
            return value
        if tap in self.fired:
            raise RuntimeError(
                f"tap {tap} is called more than once in a forward pass: give `call` (0 is the first) to say which"
            )
        path = tap.item if isinstance(tap.item, tuple) else () if tap.item is None else (tap.item,)
        tensor = _pick(tap, value, path)
        self.fired.add(tap)
        changed = self.action(tap, tensor, self.size)
        return value if changed is None else _put(value, path, changed)

    def end(self, module: nn.Module, args: tuple, output: Any) -> None:
        self.passes += 1
        self.complain()

    def complain(self) -> None:
        """Raise for the first tap that nothing came past."""
        for tap in self.wanted:
            if tap in self.fired:
                continue
            times = self.calls.get(tap.module, 0)
            if times:
                raise RuntimeError(f"tap {tap} never fired: the module was called {times} times: `call` counts from 0")
            called = [name for name, _ in self.model.named_modules() if name and name != tap.module]
            near = nearest(tap.module, called)
            raise RuntimeError(
                f"tap {tap} never fired: its module was not called (a container whose children are called one by one "
                f"never is): tap one of its children; the nearest modules are {near}"
            )


def _pick(tap: Tap, value: Any, path: Sequence[int | str]) -> Tensor:
    for key in path:
        try:
            value = getattr(value, key) if key in _fields(value) else value[key]
        except (IndexError, KeyError, TypeError) as error:
            raise RuntimeError(
                f"tap {tap}: there is no item {key!r} in a {type(value).__name__}: change `item`"
            ) from error
    if isinstance(value, Tensor):
        return value
    raise RuntimeError(
        f"tap {tap}: the module hands over a {type(value).__name__}, not a tensor: give `item`, of "
        f"{list(_fields(value) or parts(value))}"
    )


def _fields(value: Any) -> tuple[str, ...]:
    """The names of a named tuple's or dataclass's fields; a mapping has keys instead."""
    if isinstance(value, Mapping | type):
        return ()
    if isinstance(value, tuple):
        return getattr(value, "_fields", ())
    return tuple(field.name for field in fields(value)) if is_dataclass(value) else ()


def parts(value: Any) -> dict:
    """What is in a dict, list, tuple or dataclass, by key, number or field; nothing in anything else.

    Examples
    --------
    >>> parts(["a", "b"]), parts(3)
    ({0: 'a', 1: 'b'}, {})
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    return {name: getattr(value, name) for name in _fields(value)}


def _put(value: Any, path: Sequence[int | str], changed: Tensor) -> Any:
    """`value` with the tensor at `path` replaced; containers are copied, not written to."""
    if not path:
        return changed
    key, names = path[0], _fields(value)
    inner = _put(getattr(value, key) if key in names else value[key], path[1:], changed)
    if isinstance(value, Mapping):
        copied = dict(value) | {key: inner}
        return copied if type(value) is dict else type(value)(copied)
    if not isinstance(value, list | tuple):
        made = copy(value)
        object.__setattr__(made, key, inner)  # which a frozen dataclass allows too
        return made
    items = list(value)
    items[names.index(key) if key in names else key] = inner
    if isinstance(value, tuple):
        return type(value)(*items) if names else tuple(items)
    return items


@contextmanager
def hooked(model: nn.Module, wanted: Sequence[Tap], action: Action) -> Iterator[None]:
    """Call `action` with what comes past each tap inside the ``with``; what it returns takes the tensor's place.

    Parameters
    ----------
    model : Module
        Any module; wrappers such as ``nn.DataParallel`` are seen through.
    wanted : sequence of Tap
        The places.
    action : callable
        ``action(tap, tensor, size)`` with the tensor as the module hands it over and the input's size (H, W); returns
        a tensor to go on with, or None.

    Raises
    ------
    ValueError
        Where there is no module of a tap's name.
    RuntimeError
        In the forward pass, or at the end: where a tap never fires, fires twice, or hands over no tensor.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Identity())
    >>> with hooked(model, [Tap("rgb", 1, "0")], lambda tap, x, size: x + 1):
    ...     model(torch.zeros(1, 1, 1, 1)).item()
    1.0
    """
    hooks = TapHooks(model, wanted, action)
    around = ExitStack()
    try:
        around.enter_context(unwrapped_calls(model))
        hooks.attach()
        yield
        if not hooks.passes:  # the model was driven by something other than its own call
            hooks.complain()
    finally:
        hooks.detach()
        around.close()


def _first_image(value: Any) -> Tensor | None:
    """The first tensor of four axes in nested lists, tuples, dicts and dataclasses."""
    if isinstance(value, Tensor):
        return value if value.ndim == 4 else None
    return next((image for part in parts(value).values() if (image := _first_image(part)) is not None), None)
