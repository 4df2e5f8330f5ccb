"""What is around a network while it is read: wrappers taken off, its mode and precision, code that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

PARALLEL = (nn.DataParallel, DistributedDataParallel)


def inner(module: nn.Module) -> nn.Module | None:
    """What a wrapper holds; None where `module` is no wrapper.

    Examples
    --------
    >>> inner(nn.DataParallel(nn.ReLU())), inner(nn.ReLU())
    (ReLU(), None)
    """
    if isinstance(module, PARALLEL):
        return module.module
    if isinstance(module, torch.jit.ScriptModule):  # its modules are in no dict
        return None
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


def find_modules(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    """Those of `names` that there are: as in named_modules(), without wrappers' prefixes, or counted from the end.

    Examples
    --------
    >>> model = nn.DataParallel(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()))
    >>> find_modules(model, ["module.1", "1", "-1", "2"])
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
            step = here._modules[part] if part in here._modules else None
        if step is None:
            return None
        here = bare(step)
    return here


@contextmanager
def unwrapped_calls(model: nn.Module) -> Iterator[None]:
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


@contextmanager
def same_draws(model: nn.Module) -> Iterator[None]:
    """Inside the ``with`` torch's random numbers begin anew, so that a network draws the same ones each time.

    Parameters
    ----------
    model : Module
        Says on which devices; afterwards the numbers go on as if nothing had been drawn.

    Examples
    --------
    >>> drawn = []
    >>> for _ in range(2):
    ...     with same_draws(nn.ReLU()):
    ...         drawn.append(torch.rand(1))
    >>> torch.equal(*drawn)
    True
    """
    places = {x.device for x in (*model.parameters(), *model.buffers())}
    devices = sorted(place.index or 0 for place in places if place.type == "cuda")
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        yield


@contextmanager
def at_own_precision(model: nn.Module) -> Iterator[None]:
    """Inside the ``with`` a network of one precision, such as half, is given its inputs in that precision.

    Parameters
    ----------
    model : Module
        Where its parameters are of several precisions, its inputs are left as they are.

    Raises
    ------
    ValueError
        Where the network is compiled by TorchScript.

    Examples
    --------
    >>> model = nn.Conv2d(3, 1, 1).bfloat16()
    >>> with at_own_precision(model):
    ...     model(torch.rand(1, 3, 2, 2)).dtype
    torch.bfloat16
    """
    check_readable(model, "the network")
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if len(kinds) != 1 or kinds == {torch.float32}:
        yield
        return
    (kind,) = kinds
    handle = model.register_forward_pre_hook(
        lambda module, args, kwargs: (_as_kind(args, kind), _as_kind(kwargs, kind)), with_kwargs=True
    )
    try:
        yield
    finally:
        handle.remove()


def _as_kind(value: Any, kind: torch.dtype) -> Any:
    """`value` with every floating tensor in it as `kind`."""
    if isinstance(value, Tensor):
        return value.to(kind) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _as_kind(part, kind) for key, part in value.items()}
    if isinstance(value, list | tuple):
        made = [_as_kind(part, kind) for part in value]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{name: _as_kind(part, kind) for name, part in vars(value).items()})
    return value


def check_readable(module: nn.Module, name: str) -> None:
    """Raise a ValueError where `module`, which the message calls `name`, is compiled by TorchScript.

    Examples
    --------
    >>> check_readable(nn.ReLU(), "layer 1")
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"{name} is compiled by TorchScript (torch.jit), and what goes through its modules cannot be read: make "
            "the network by its own code, and load the weights, which are in state_dict() of the compiled one"
        )
