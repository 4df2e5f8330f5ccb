"""Reading and silencing units inside any network: taps, trace, mute."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from rgbd_insight.features import USUAL_MODALITIES
from rgbd_insight.hooks.tap import Tap, hooked

LEVEL = re.compile(r"\{level\s*([+-]\s*\d+)?\}")


def at_level(pattern: str, level: int) -> str:
    """`pattern` with ``{level}``, or ``{level-1}`` and the like, filled in.

    Parameters
    ----------
    pattern : str
        Dotted name of a module.
    level : int
        What is filled in.

    Returns
    -------
    str
        The name at that level.

    Examples
    --------
    >>> at_level("backbone.sagates.{level-1}", 1)
    'backbone.sagates.0'
    """
    return LEVEL.sub(lambda found: str(level + int((found[1] or "0").replace(" ", ""))), pattern)


def taps(
    pattern: str,
    levels: Iterable[int],
    *,
    streams: Sequence[str] = USUAL_MODALITIES,
    **options: Any,
) -> list[Tap]:
    """One tap a stream and level, streams outermost, from a pattern of module names.

    Parameters
    ----------
    pattern : str
        A dotted name in which ``{stream}`` and ``{level}`` are filled in; arithmetic such as ``{level-1}`` is allowed.
    levels : iterable of int
        The levels.
    streams : sequence of str, optional
        The streams.
    **options : object
        `item`, `call`, `when`, `layout`, `tokens`, `rows`, `values` of every tap.

    Returns
    -------
    list of Tap
        The taps.

    Raises
    ------
    ValueError
        Where the pattern gives two taps the same place.

    Examples
    --------
    >>> [tap.module for tap in taps("encoder_{stream}.layer{level}", levels=(1, 2))]
    ['encoder_rgb.layer1', 'encoder_rgb.layer2', 'encoder_depth.layer1', 'encoder_depth.layer2']
    >>> taps("backbone.sagates.{level-1}", levels=[1], streams=("fused",), item=1)[0].module
    'backbone.sagates.0'
    """
    found = []
    for stream in streams:
        for level in levels:
            name = at_level(pattern, level).replace("{stream}", stream)
            found.append(Tap(stream, int(level), name, **options))
    places = [(tap.module, tap.item, tap.call, tap.when, tap.tokens, tap.rows) for tap in found]
    if len(set(places)) < len(places):
        raise ValueError(f"`pattern` must give every stream and level its own place; got {pattern!r}: add {{level}}")
    return found


@contextmanager
def trace(
    model: nn.Module,
    taps: Iterable[Tap],
    reduce: Callable[[Tensor], Tensor] | Mapping[Tap, Callable[[Tensor], Tensor]] | None = None,
    *,
    samples: int | None = None,
) -> Iterator[dict[Tap, Tensor]]:
    """What comes past the taps in every forward pass of `model` inside the ``with``; the model stays as it was.

    Parameters
    ----------
    model : Module
        Any module, called as ``model(...)``.
    taps : iterable of Tap
        The places.
    reduce : callable, or mapping of Tap to callable, optional
        What to keep of the maps (B, units, h, w) instead of a copy of them, taken as soon as they come: a new tensor,
        for instance their means. One for all taps, or one a tap.
    samples : int, optional
        How many samples the forward passes inside the ``with`` are of, in their order, all in one or some at a time:
        their rows are joined at its end.

    Yields
    ------
    dict of Tap to Tensor
        A dict {tap: (B, units, h, w)}: clones, so that no later in-place step changes them; or what `reduce` made of
        them. Without `samples` of the last forward pass; with it of all, there when the ``with`` is left.

    Raises
    ------
    ValueError
        Where there is no module of a tap's name (the nearest are listed).
    RuntimeError
        In the forward pass: where a tap never fires, fires more than once, or hands over no tensor of real numbers. At
        the end: where the rows of all passes are not `samples`.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU(inplace=True))
    >>> tap = Tap("rgb", 1, "0")
    >>> with trace(model, [tap]) as seen:
    ...     y = model(torch.rand(2, 3, 5, 6))
    >>> seen[tap].shape
    torch.Size([2, 4, 5, 6])
    """
    wanted: list[Tap] = list(taps)
    seen: dict[Tap, Tensor] = {}
    passes: dict[Tap, list[Tensor]] = {}  # in the order in which they come

    def record(tap: Tap, x: Tensor, size: tuple[int, int] | None) -> None:
        maps = as_maps(tap, x.detach(), size)  # (B, units, h, w)
        kept = reduce[tap] if isinstance(reduce, Mapping) else reduce
        now = maps.clone() if kept is None else kept(maps)
        if samples is None:
            seen[tap] = now
        else:
            passes.setdefault(tap, []).append(now)

    with hooked(model, wanted, record):
        yield seen
        if samples is not None:
            seen |= {tap: _joined(tap, rows, samples) for tap, rows in passes.items()}


def _joined(tap: Tap, passes: list[Tensor], samples: int) -> Tensor:
    """The rows of several forward passes in one tensor, where they can be those of the samples."""
    rows = [len(x) for x in passes]
    if sum(rows) == samples and len({x.shape[1:] for x in passes}) == 1:
        return passes[0] if len(passes) == 1 else torch.cat(passes)
    if len(passes) == 1:
        raise RuntimeError(
            f"tap {tap} hands over {rows[0]} rows for {samples} samples: where modalities are stacked along the batch, "
            'say which part of it is meant with `rows`, as rows="1/2" for the first half'
        )
    seen = ", ".join(map(str, rows[:6])) + (", …" if len(rows) > 6 else "")
    raise RuntimeError(
        f"tap {tap}: the network was called {len(rows)} times for {samples} samples, with {seen} rows: calls can be "
        "joined where their rows are the samples in order; of windows, scales and flips no hook can tell where in the "
        "image they lie and what they weigh: give `adapt`, which calls it with each whole image once, as "
        "adapt=lambda model, *inputs: model(*inputs), or make every window a sample"
    )


@contextmanager
def mute(model: nn.Module, units: Mapping[Tap, Iterable[int] | Mapping[int, float]]) -> Iterator[None]:
    """Hold units at a constant inside the ``with``: 0, or the value given for each.

    Parameters
    ----------
    model : Module
        Any module.
    units : mapping of Tap to (iterable of int or mapping of int to float)
        For each tap the units, or {unit: replacement value}, for instance the unit's mean.

    Raises
    ------
    ValueError
        Where there is no module of a tap's name.
    RuntimeError
        In the forward pass: as :func:`trace`, and where a unit is out of range.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1))
    >>> with mute(model, {Tap("rgb", 1, "0"): {1: 0.5, 3: 0.0}}):
    ...     model(torch.rand(1, 3, 1, 1))[0, [1, 3], 0, 0].tolist()
    [0.5, 0.0]
    """
    held = {tap: dict(u) if isinstance(u, Mapping) else dict.fromkeys(u, 0.0) for tap, u in units.items()}

    def silence(tap: Tap, x: Tensor, size: tuple[int, int] | None) -> Tensor:
        axis = _unit_axis(tap, x)
        wrong = [unit for unit in held[tap] if not 0 <= int(unit) < x.shape[axis]]
        if wrong:
            raise RuntimeError(
                f"tap {tap}: units must be 0 to {x.shape[axis] - 1}; got {wrong[:3]}: choose units it has"
            )
        y = x.clone()
        chosen = tap.of(y).movedim(axis, -1)  # (…, units), a view
        chosen[..., [int(u) for u in held[tap]]] = torch.tensor(
            list(held[tap].values()), dtype=x.dtype, device=x.device
        )
        return y

    with hooked(model, list(held), silence):
        yield


def _unit_axis(tap: Tap, x: Tensor) -> int:
    """The axis of the units."""
    return tap.channels if tap.channels is not None else -1 if x.ndim == 3 else 1


def as_maps(tap: Tap, x: Tensor, size: tuple[int, int] | None) -> Tensor:
    """A tap's tensor in one layout; NaN and infinity stay as they are.

    Parameters
    ----------
    tap : Tap
        Says how `x` is laid out.
    x : Tensor
        Maps, channels first or last; tokens (B, N, C); or vectors (B, C).
    size : (int, int) or None
        (H, W) of the input, whose aspect the grid of tokens follows.

    Returns
    -------
    Tensor (B, units, h, w)
        A view where it can be one.

    Raises
    ------
    RuntimeError
        Where `x` is laid out otherwise, is of other numbers, or no grid, or more than one, fits its tokens.

    Examples
    --------
    >>> as_maps(Tap("rgb", 1, "x", layout="BNC"), torch.zeros(2, 1 + 12, 5), (48, 64)).shape
    torch.Size([2, 5, 3, 4])
    """
    x = _numbers(tap, tap.of(x))
    layout = tap.layout or ("BNC" if x.ndim == 3 else "NCHW")
    if layout == "NCHW" and x.ndim == 2:
        return x[:, :, None, None]
    if x.ndim != (3 if layout.startswith("BNC") else 4):
        raise RuntimeError(f"tap {tap}: {tuple(x.shape)} is not {layout}: change `layout`")
    if layout == "NCHW":
        return x
    if layout == "NHWC":
        return x.permute(0, 3, 1, 2)
    h, w = _grid(tap, x.shape[1], size)
    return x[:, x.shape[1] - h * w :].transpose(1, 2).unflatten(2, (h, w))  # (B, N, C) -> (B, C, h, w)


def _numbers(tap: Tap, x: Tensor) -> Tensor:
    """`x` as real numbers, where it is of them or the tap says how it becomes so."""
    if tap.values is None and x.is_floating_point():
        return x
    if tap.values == "abs" and x.is_complex():
        return x.abs()
    if tap.values == "count" and not x.is_complex() and not x.is_floating_point():
        return x.double()
    kind = str(x.dtype).removeprefix("torch.")
    fix = "leave `values` out" if x.is_floating_point() else 'give values="abs", their magnitude, or tap another place'
    if not x.is_floating_point() and not x.is_complex():
        fix = 'give values="count" where they count or say yes and no, or tap another place where they are names'
    raise RuntimeError(f"tap {tap}: the module hands over {kind} numbers: {fix}")


def _grid(tap: Tap, tokens: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """Rows and columns of `tokens` tokens, with or without a class token in front; `tokens` leaves it out."""
    extra = (0, 1) if tap.tokens is None else (0,)
    if tap.layout and ":" in tap.layout:
        h, w = (int(n) for n in tap.layout[4:].split("x"))
        if h * w > tokens:
            raise RuntimeError(f"tap {tap}: {tokens} tokens are fewer than {h}x{w}: change `layout`")
        if tokens - h * w not in extra:
            raise RuntimeError(
                f"tap {tap}: {tokens} tokens are {tokens - h * w} more than {h}x{w}: say which of them are meant with "
                f'`tokens`, as tokens="0:{h * w}" for the first'
            )
        return h, w
    found = grids(tokens, size, extra)
    if len(found) == 1:
        return found[0][:2]
    if not found:
        raise RuntimeError(
            f"tap {tap}: no grid of {tokens} tokens fits an input of {size}: give `layout`, as BNC:12x16, and `tokens` "
            "where there are others beside it"
        )
    choices = " or ".join(f"BNC:{h}x{w}" + (" after a class token" if more else "") for h, w, more in found)
    raise RuntimeError(f"tap {tap}: {tokens} tokens of an input of {size} may be {choices}: give `layout`")


@lru_cache(maxsize=256)
def grids(tokens: int, size: tuple[int, int] | None, extra: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """All (rows, columns, tokens in front) in the input's aspect."""
    found = set()
    for stride in range(1, max(size) + 1) if size else ():
        for rounded in (math.ceil, math.floor):  # patches over the border are padded, or left out
            h, w = rounded(size[0] / stride), rounded(size[1] / stride)
            found |= {(h, w, more) for more in extra if h * w == tokens - more > 0}
    return sorted(found, key=lambda grid: grid[2])
