"""Where a model could be tapped, and which input moves a tap: every module's tensors, their shapes, purity."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from rgbd_insight.hooks.tap import Tap, parts
from rgbd_insight.hooks.units import grids, trace
from rgbd_insight.hooks.wrappers import at_own_precision, bare, check_readable, evaluating, same_draws

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


def purity(
    model: nn.Module, batch: Any, taps: Iterable[Tap], *, adapt: Callable[..., Tensor] | None = None
) -> list[dict]:
    """How far each tap moves when only one input is swapped for another sample's; 0.0 where it is unmoved.

    Parameters
    ----------
    model : Module
        Called with the inputs in their order; read in evaluation mode and handed back in the mode it was in.
    batch : object
        Two or more samples with `inputs` (a dict of modality to Tensor) and `groups`; partners are of another group
        where there is one.
    taps : iterable of Tap
        The places.
    adapt : callable, optional
        ``adapt(model, *inputs)`` calls a model that takes its inputs in another way; None: ``model(*inputs)``.

    Returns
    -------
    list of dict
        A dict(stream, level, modality, moved) for each tap and swapped modality, where moved = RMS(swapped − x) /
        RMS(x): 0 is pure, about 1.4 is wholly driven by that input. Below 1e-6 it is rounding, and 0.

    Raises
    ------
    ValueError
        Where the batch has fewer than two samples.
    RuntimeError
        As :func:`trace`.

    Notes
    -----
    A network that draws random numbers in evaluation draws the same ones each time; :func:`restless` tells which does.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import torch
    >>> from rgbd_insight.models import build
    >>> rgb, depth = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16) + 1
    >>> batch = SimpleNamespace(inputs={"rgb": rgb, "depth": depth}, groups=("a", "b"))
    >>> rows = purity(build("sum", classes=2, width=8), batch, [Tap("rgb", 1, "encoder_rgb.layer1")])
    >>> [(row["modality"], row["moved"] > 0) for row in rows]
    [('rgb', True), ('depth', False)]
    """
    wanted, n = list(taps), len(batch.groups)
    if n < 2:
        raise ValueError(f"`batch` must have two or more samples; got {n}: an input is swapped for another sample's")
    shift = max(range(1, n), key=lambda s: sum(a != b for a, b in _pairs(batch.groups, s)))
    seen = {}
    with evaluating(model), torch.no_grad(), at_own_precision(model):
        for name, given in swapped(batch.inputs, shift).items():
            with same_draws(model), trace(model, wanted, samples=n) as seen[name]:
                model(*given) if adapt is None else adapt(model, *given)
    return [
        {"stream": tap.stream, "level": tap.level, "modality": name, "moved": _moved(seen[""][tap], seen[name][tap])}
        for tap in wanted
        for name in batch.inputs
    ]


def restless(
    model: nn.Module, inputs: Sequence[Tensor], taps: Iterable[Tap], *, adapt: Callable[..., Tensor] | None = None
) -> dict[Tap, float]:
    """The taps that answer the same inputs otherwise the second time, as where random numbers are drawn in evaluation.

    Parameters
    ----------
    model, taps, adapt
        As in :func:`purity`.
    inputs : sequence of Tensor (B, C, H, W)
        What it is given, twice.

    Returns
    -------
    dict of Tap to float
        RMS(second − first) / RMS(first) where it is above rounding; empty for a network that is at rest.

    Examples
    --------
    >>> import torch
    >>> class Draws(nn.Module):
    ...     def forward(self, x):
    ...         return x + torch.rand_like(x)
    >>> model = nn.Sequential(nn.Identity(), Draws())
    >>> found = restless(model, [torch.rand(1, 1, 4, 4)], [Tap("rgb", 1, "0"), Tap("rgb", 2, "1")])
    >>> [tap.level for tap in found]
    [2]
    """
    wanted, seen = list(taps), []
    adapt = None if adapt is None else inspect.unwrap(adapt)  # what is around it may hold random numbers still
    with evaluating(model), torch.no_grad(), at_own_precision(model):
        for _ in range(2):
            with trace(model, wanted) as found:  # of the last of several calls, which is enough to tell
                model(*inputs) if adapt is None else adapt(model, *inputs)
            seen.append(found)
    moved = {tap: _moved(seen[0][tap], seen[1][tap]) for tap in wanted}
    return {tap: value for tap, value in moved.items() if value > 0}


def swapped(inputs: Mapping[str, Tensor], shift: int) -> dict[str, tuple[Tensor, ...]]:
    """What a network is given where nothing is swapped, under "", and where each input is another sample's.

    Examples
    --------
    >>> [[x.tolist() for x in given] for given in swapped({"a": torch.arange(2), "b": torch.arange(2)}, 1).values()]
    [[[0, 1], [0, 1]], [[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    """
    return {name: tuple(x.roll(shift, 0) if name == m else x for m, x in inputs.items()) for name in ("", *inputs)}


def _pairs(groups: Sequence, shift: int) -> Iterator[tuple]:
    return zip(groups, [*groups[-shift:], *groups[:-shift]], strict=True)


def _moved(x: Tensor, y: Tensor) -> float:
    """RMS(y − x) / RMS(x); 0.0 where that is rounding."""
    change = (y.double() - x.double()).square().mean().sqrt()
    moved = float(change / x.double().square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny))
    return moved if moved > SLIGHT else 0.0


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
        Also list convolutions, norms and the like inside blocks, containers' parts that only repeat them, and every
        call of an activation that several places share, which otherwise has one row, of its first call.

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
                with same_draws(model):
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
        module = model.get_submodule(name)
        if not every and (key in survey.same or not _nameable(module, name) or (call and _bare(module))):
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


def _bare(module: nn.Module) -> bool:
    """Whether nothing is in it: neither modules nor numbers, as in an activation."""
    return not any(True for _ in (*module.children(), *module.parameters(), *module.buffers()))


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
