"""What stands between a model and its hooks: wrappers, names with a prefix, images inside lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
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
    return module._modules.get("_orig_mod")  # torch.compile's own module, which is not importable before it is used


def bare(model: nn.Module) -> nn.Module:
    """The model without the wrappers around it.

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
            step = here._modules.get(part)
        if step is None:
            return None
        here = bare(step)
    return here


def first_image(value: Any) -> Tensor | None:
    """The first tensor of four axes in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return value if value.ndim == 4 else None
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((image for part in parts if (image := first_image(part)) is not None), None)


@contextmanager
def unwrapped_calls(model: nn.Module) -> Iterator[None]:
    """Inside the ``with`` every module runs as plain Python on one device, so that hooks see each tensor of the batch.

    Compiled code would leave out hooks that were added after compiling; replicas on several GPUs would each hear their
    own share of the batch, in no order.
    """
    modules = list(model.modules())
    spread = [(m, m.device_ids) for m in modules if isinstance(m, nn.DataParallel) and len(m.device_ids or ()) > 1]
    compiled = any("_orig_mod" in m._modules or m._compiled_call_impl is not None for m in modules)
    with ExitStack() as stack:
        if compiled:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for module, devices in spread:
                module.device_ids = devices[:1]
            yield
        finally:
            for module, devices in spread:
                module.device_ids = devices
