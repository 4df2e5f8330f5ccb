"""Where a model could be tapped: every module's tensors, their shapes, and which input moves them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from rgbd_insight.hooks.tap import parts
from rgbd_insight.hooks.units import grids, swapped
from rgbd_insight.hooks.wrappers import at_own_precision, bare, check_readable, evaluating

COLUMNS = ["level", "stride", "module", "item", "call", "layout", "units", "height", "width"]
SLIGHT = 1e-6  # of a tensor's size: rounding of another batch, not the input, moves it as much
Key = tuple[str, int, tuple]


class _Survey:
    """Reads every module of a forward pass: tensors of the first, how far they moved in the later ones."""

    def __init__(self, model: nn.Module) -> None:
        self.first: dict[Key, Tensor] = {}
        self.moved: dict[str, dict[Key, float]] = {}
        self.calls: dict[str, int] = {}
        self.same: set[Key] = set()  # what only hands on what a child of it returned
        self.now, self.alive = "", []
        self.handles = [model.register_forward_pre_hook(lambda *_: self.calls.clear())]  # they count in each pass
        self.handles += [
            m.register_forward_hook(self._hook(name))
            for name, m in model.named_modules()
            if name and not isinstance(m, torch.jit.ScriptModule)
        ]

    def start(self, name: str) -> None:
        self.now, self.calls, self.seen, self.alive = name, {}, {}, []

    def _hook(self, name: str) -> Callable:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            call = self.calls.get(name, 0)
            self.calls[name] = call + 1
            for path, x in _tensors(output):
                self._note((name, call, path), x)

        return hook

    def _note(self, key: Key, x: Tensor) -> None:
        if not self.now:
            self.first[key] = x.detach().clone()
            inner = self.seen.get(id(x))
            if inner and inner[0].startswith(f"{key[0]}."):
                self.same.add(inner)
            self.seen[id(x)] = key
            self.alive.append(x)  # so that no id is given twice
        elif key in self.first and self.first[key].shape == x.shape:
            before = self.first[key].double()
            size = before.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
            moved = float((x.double() - before).square().mean().sqrt() / size)
            self.moved.setdefault(self.now, {})[key] = moved if moved > SLIGHT else 0.0


def candidates(
    model: nn.Module, batch: Any, *, adapt: Callable[..., Tensor] | None = None, every: bool = False
) -> pd.DataFrame:
    """Places where `model` could be tapped, by level, with shapes and which input moves them.

    Parameters
    ----------
    model : Module
        Called with the inputs in their order; read in evaluation mode and handed back in the mode it was in.
    batch : object
        Two or more samples with `inputs`, a dict of modality to Tensor (B, C, H, W).
    adapt : callable, optional
        As in :func:`purity`.
    every : bool, optional
        Also list convolutions, norms and the like inside blocks, and containers' parts that only repeat them.

    Returns
    -------
    DataFrame
        a row a place (a row a grid, where several fit its tokens), in the order of levels: level (1 is the finest size
        below the input's), stride, module, item, call (missing where a module is called once), layout (missing for
        maps), units, height, width, "moved by NAME" of every modality (how far the place moves when that input alone is
        another sample's, as in :func:`purity`), stream: the modality that moves it, "fused" for several, "" for none.

    Raises
    ------
    ValueError
        Where the batch has fewer than two samples.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from rgbd_insight.models import build
    >>> batch = SimpleNamespace(inputs={"rgb": torch.rand(2, 3, 16, 16), "depth": torch.rand(2, 1, 16, 16) + 1})
    >>> found = candidates(build("sum", classes=2, width=8), batch)
    >>> found[found["module"] == "encoder_rgb.layer2"][["level", "units", "stream"]].values.tolist()
    [[2, 16, 'fused']]
    """
    inputs = batch.inputs
    first = next(iter(inputs.values()))  # (B, C, H, W)
    if len(first) < 2:
        raise ValueError(f"`batch` must have two or more samples; got {len(first)}: one is swapped for another")
    model = bare(model)
    check_readable(model, "the network")
    survey = _Survey(model)
    try:
        with evaluating(model), torch.no_grad(), at_own_precision(model):
            for name, given in swapped(inputs, 1).items():
                survey.start(name)
                model(*given) if adapt is None else adapt(model, *given)
    finally:
        for handle in survey.handles:
            handle.remove()
    return _table(model, survey, tuple(inputs), tuple(first.shape[-2:]), every)


def moved_by(modality: str) -> str:
    """The column that says how far a modality moves a place.

    Examples
    --------
    >>> moved_by("thermal")
    'moved by thermal'
    """
    return f"moved by {modality}"


def _table(
    model: nn.Module, survey: _Survey, modalities: tuple[str, ...], size: tuple[int, int], every: bool
) -> pd.DataFrame:
    rows = []
    for key, x in survey.first.items():
        name, call, path = key
        if not every and (key in survey.same or not _nameable(model.get_submodule(name), name)):
            continue
        moved = {m: survey.moved.get(m, {}).get(key, 0.0) for m in modalities}
        by = [m for m, value in moved.items() if value > 0]
        rows += [
            {
                "stride": round(size[0] / h, 1),
                "module": name,
                "item": path[0] if len(path) == 1 else path or None,
                "call": call if survey.calls[name] > 1 else None,
                "layout": layout,
                "units": units,
                "height": h,
                "width": w,
                **{moved_by(m): value for m, value in moved.items()},
                "stream": "fused" if len(by) > 1 else by[0] if by else "",
            }
            for layout, (units, h, w) in _layouts(x, size)
        ]
    columns = [*COLUMNS, *map(moved_by, modalities), "stream"]
    table = pd.DataFrame(rows, columns=columns, dtype=object)  # keeps whole numbers beside missing ones
    grids = list(zip(table["height"], table["width"], strict=True))
    level = {grid: k for k, grid in enumerate(sorted(set(grids) - {size}, reverse=True), 1)} | {size: 0}
    table["level"] = [level[grid] for grid in grids]
    numbers = dict.fromkeys(["level", "units", "height", "width"], int)
    numbers |= dict.fromkeys(["stride", *map(moved_by, modalities)], float)
    return table.astype(numbers).sort_values("level", kind="stable", ignore_index=True)


def _nameable(module: nn.Module, name: str) -> bool:
    """Whether a place is one that people name: a block, or a layer close to the top."""
    return name.count(".") <= 1 or (name.count(".") <= 3 and any(True for _ in module.children()))


def _tensors(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Tensor]]:
    """Paths and tensors in nested lists, tuples, dicts and dataclasses."""
    if isinstance(value, Tensor):
        yield path, value
        return
    for key, part in parts(value).items():
        yield from _tensors(part, (*path, key))


def _layouts(x: Tensor, size: tuple[int, int]) -> list[tuple[str | None, tuple[int, int, int]]]:
    """The layout that fits the input's aspect, and (units, h, w); for tokens each that does."""
    if not x.is_floating_point() or x.ndim not in (3, 4):
        return []
    if x.ndim == 3:
        found = grids(x.shape[1], size, (0, 1))
        return [("BNC" if len(found) == 1 else f"BNC:{h}x{w}", (x.shape[2], h, w)) for h, w, _ in found]
    fits = []
    for layout, (h, w), units in ((None, x.shape[2:], x.shape[1]), ("NHWC", x.shape[1:3], x.shape[3])):
        stride = size[0] / h
        if abs(size[1] / stride - w) <= 1 + 0.02 * w and min(h, w) > 1:
            uneven = abs(math.log2(stride) - round(math.log2(stride)))  # strides are powers of 2 as a rule
            fits.append((uneven, layout, (units, h, w)))
    return [min(fits, key=lambda fit: fit[0])[1:]] if fits else []
