"""Taps and the hooks under them: where a tensor is, which call it is, how it is laid out, what wrappers hide."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rgbd_insight.utils.messages import nearest, unknown

LAYOUTS = ("NCHW", "NHWC", "BNC")
PARALLEL = (nn.DataParallel, DistributedDataParallel)


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
        Which part of a tuple, list or dict the module returns (or is given: an argument's number or keyword); a tuple
        of keys goes deeper.
    call : int, optional
        Which call of a forward pass, from 0, where the module is called more than once.
    when : str, optional
        "out" reads what the module returns, "in" what it is given.
    layout : str, optional
        "NCHW", "NHWC", "BNC" (tokens; the grid follows from the input's aspect, a class token is left out) or
        "BNC:12x16" for a given grid. None: NCHW for four axes, BNC for three.

    Raises
    ------
    ValueError
        Where `when` or `layout` is none of these.

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

    def __post_init__(self) -> None:
        if self.when not in ("out", "in"):
            raise ValueError(f'`when` must be "out" or "in"; got {self.when!r}: "out" reads what the module returns')
        if self.layout is not None and not re.fullmatch(r"NCHW|NHWC|BNC(:\d+x\d+)?", self.layout):
            raise ValueError(
                f"`layout` must be one of {LAYOUTS} or BNC:HxW; got {self.layout!r}: name the axes in order"
            )

    @property
    def channels(self) -> int | None:
        """The axis of the units where the layout says it; None where the tensor's shape has to."""
        return None if self.layout is None else 1 if self.layout == "NCHW" else -1

    def __str__(self) -> str:
        call = "" if self.call is None else f", call {self.call}"
        item = "" if self.item is None else f", item {self.item}"
        return f"{self.stream}/{self.level} at {self.module!r}{item}{call}"


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
        modules = _find_modules(self.model, [tap.module for tap in self.wanted])
        for tap in self.wanted:
            if tap.module not in modules:
                names = [name for name, _ in self.model.named_modules() if name]  # the model itself has none
                raise ValueError(f"tap {tap}: " + unknown("module", tap.module, names))
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
            value = value[key]
        except (IndexError, KeyError, TypeError) as error:
            raise RuntimeError(
                f"tap {tap}: there is no item {key!r} in a {type(value).__name__}: change `item`"
            ) from error
    if isinstance(value, Tensor):
        return value
    keys = list(value) if isinstance(value, Mapping) else list(range(len(value))) if isinstance(value, Sequence) else []
    raise RuntimeError(
        f"tap {tap}: the module hands over a {type(value).__name__}, not a tensor: give `item`, of {keys}"
    )


def _put(value: Any, path: Sequence[int | str], changed: Tensor) -> Any:
    """`value` with the tensor at `path` replaced; containers are copied, not written to."""
    if not path:
        return changed
    inner = _put(value[path[0]], path[1:], changed)
    if isinstance(value, Mapping):
        copied = dict(value) | {path[0]: inner}
        return copied if type(value) is dict else type(value)(copied)
    parts = list(value)
    parts[path[0]] = inner
    if isinstance(value, tuple):
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return parts


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
    >>> model = nn.Sequential(nn.Identity())
    >>> with hooked(model, [Tap("rgb", 1, "0")], lambda tap, x, size: x + 1):
    ...     model(torch.zeros(1, 1, 1, 1)).item()
    1.0
    """
    hooks = TapHooks(model, wanted, action)
    around = ExitStack()
    try:
        around.enter_context(_unwrapped_calls(model))
        hooks.attach()
        yield
        if not hooks.passes:  # the model was driven by something other than its own call
            hooks.complain()
    finally:
        hooks.detach()
        around.close()


def inner(module: nn.Module) -> nn.Module | None:
    """What a wrapper holds; None where `module` is no wrapper.

    Examples
    --------
    >>> inner(nn.DataParallel(nn.ReLU())), inner(nn.ReLU())
    (ReLU(), None)
    """
    if isinstance(module, PARALLEL):
        return module.module
    return module._modules.get("_orig_mod")  # torch.compile's own module, which is not importable before it is used


def bare(model: nn.Module) -> nn.Module:
    """The model without the wrappers around it.

    Parameters
    ----------
    model : Module
        Any module.

    Returns
    -------
    Module
        What ``nn.DataParallel`` and ``torch.compile`` were put around; `model` itself where it is bare.

    Examples
    --------
    >>> bare(nn.DataParallel(nn.ReLU()))
    ReLU()
    """
    while (held := inner(model)) is not None:
        model = held
    return model


def _find_modules(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    """Those of `names` that there are: as in named_modules(), without wrappers' prefixes, or counted from the end.

    Examples
    --------
    >>> model = nn.DataParallel(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()))
    >>> _find_modules(model, ["module.1", "1", "-1", "2"])
    {'module.1': ReLU(), '1': ReLU(), '-1': ReLU()}
    """
    known = dict(model.named_modules())
    found = {name: known[name] if name in known else _walk(model, name) for name in names}
    return {name: module for name, module in found.items() if module is not None}


def _walk(model: nn.Module, name: str) -> nn.Module | None:
    """The module at a dotted name, wrappers on the way taken off."""
    here = bare(model)
    for part in name.split(".") if name else ():
        children = list(here._modules.values())
        if part.startswith("-") and part[1:].isdecimal():
            step = children[int(part)] if 0 < int(part[1:]) <= len(children) else None
        else:
            step = here._modules.get(part)
        if step is None:
            return None
        here = bare(step)
    return here


def _first_image(value: Any) -> Tensor | None:
    """The first tensor of four axes in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return value if value.ndim == 4 else None
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((image for part in parts if (image := _first_image(part)) is not None), None)


@contextmanager
def _unwrapped_calls(model: nn.Module) -> Iterator[None]:
    """Inside the ``with`` every module runs as plain Python on one device, so that hooks see each tensor of the batch.

    Compiled code would leave out hooks that were added after compiling; replicas on several GPUs would each see their
    own share of the batch, in no order.
    """
    modules = list(model.modules())
    copied = [(m, m.device_ids) for m in modules if isinstance(m, nn.DataParallel) and len(m.device_ids or ()) > 1]
    compiled = any("_orig_mod" in m._modules or m._compiled_call_impl is not None for m in modules)
    with ExitStack() as stack:
        if compiled:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for module, devices in copied:
                module.device_ids = devices[:1]
            yield
        finally:
            for module, devices in copied:
                module.device_ids = devices


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside the ``with`` every module is in evaluation mode; afterwards in the mode it was in.

    Parameters
    ----------
    model : Module
        Any module.

    Examples
    --------
    >>> model = nn.Dropout()
    >>> with evaluating(model):
    ...     model.training
    False
    >>> model.training
    True
    """
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, training in modes.items():
            module.training = training
