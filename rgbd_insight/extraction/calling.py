"""Calling a network: how, which one it is, whether its rows are the samples in order, what is said of odd sizes."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rgbd_insight.hooks import Tap, same_draws, trace

STEPS = (2, 4, 8, 16, 32, 64)  # what a network may need height and width to be multiples of
ROUNDING = 1e-4  # of a response's size: another batch rounds otherwise

COUNTER = "num_batches_tracked"
DIGITS = 16  # of a digest: two networks of a directory have the same by chance once in 10^19

Adapt = Callable[..., Tensor] | None
Inputs = Sequence[Tensor]


def call(model: nn.Module, inputs: Inputs, adapt: Adapt = None) -> Tensor:
    """What the network returns for a batch.

    Parameters
    ----------
    model : Module
        The network.
    inputs : sequence of Tensor (B, c, H, W)
        One a modality, in the order of the data's.
    adapt : callable, optional
        As in `extract`.

    Returns
    -------
    Tensor
        Whatever the network, or `adapt`, returns. If it draws random numbers, then the same ones in every call.

    Raises
    ------
    ValueError
        Where it fails for images of this size and runs for somewhat larger ones: both are named.

    Examples
    --------
    >>> call(nn.Bilinear(3, 1, 2), (torch.rand(4, 3), torch.rand(4, 1))).shape
    torch.Size([4, 2])
    """
    try:
        with same_draws(model):
            return model(*inputs) if adapt is None else adapt(model, *inputs)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or str(error).startswith("tap ") or inputs[0].ndim != 4:
            raise
        step = _step(model, [x[:1] for x in inputs], adapt)
        if step is None:
            raise
        (h, w), (height, width) = inputs[0].shape[-2:], _larger(inputs[0], step)
        raise ValueError(
            f"`data` must have images of a size that the network's strides divide; it fails at {h}x{w} and runs at "
            f"{height}x{width}: give Folder(size=({height}, {width})), --size {height}x{width}, or an `adapt` that pads"
        ) from error


def fitted(adapt: Adapt, taps: object, data: object) -> Adapt:
    """The way of calling a network for images of `data`: `adapt`, or else that of the `taps`, told of the data.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> fitted(None, [], None) is None
    True
    >>> fitted(None, SimpleNamespace(adapt=SimpleNamespace(on=len)), "data")
    4
    """
    chosen = getattr(taps, "adapt", None) if adapt is None else adapt
    on = getattr(chosen, "on", None)
    return chosen if on is None else on(data)


def call_name(adapt: Callable[..., Tensor] | None) -> str:
    """How a model is called, in words that are the same in every run of a program.

    Parameters
    ----------
    adapt : callable or None
        As given to `extract`.

    Returns
    -------
    str
        Its name; None is "model(*inputs)".

    Examples
    --------
    >>> call_name(None), call_name(lambda model, rgb, depth: model([rgb, depth]))
    ('model(*inputs)', '<lambda>')
    """
    return "model(*inputs)" if adapt is None else getattr(adapt, "__qualname__", None) or repr(adapt)


def identity(model: nn.Module, adapt: Adapt) -> dict[str, str | None]:
    """Digests of a network's weights and of the code that calls it: the same for the same, wherever they are.

    Parameters
    ----------
    model : Module
        Every tensor of its state counts, but for the counters of batch normalisation, which evaluation does not read.
    adapt : callable or None
        Its source text counts, or what it says of itself; not what it reads from elsewhere.

    Returns
    -------
    dict
        "weights" and "adapt", the latter None where there is none.

    Examples
    --------
    >>> one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> other.load_state_dict(one.state_dict())
    <All keys matched successfully>
    >>> identity(one, None) == identity(other, None), identity(nn.Linear(2, 2), None) == identity(one, None)
    (True, False)
    """
    digest = hashlib.sha256()
    for name, x in sorted(model.state_dict().items()):
        if isinstance(x, Tensor) and not name.endswith(COUNTER):
            digest.update(f"{name} {x.dtype} {tuple(x.shape)} ".encode())
            digest.update(x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    bare = None if adapt is None else inspect.unwrap(adapt)
    return {"weights": digest.hexdigest()[:DIGITS], "adapt": None if bare is None else _digest_of(bare)}


def _digest_of(adapt: Callable[..., Tensor]) -> str:
    """Of a function's source text; of its code where there is none; of an object what `call_name` says."""
    code = getattr(adapt, "__code__", None)
    try:
        text = call_name(adapt) if code is None else inspect.getsource(adapt)
    except (OSError, TypeError):
        text = f"{code.co_code.hex()} {code.co_names} {code.co_consts}"
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _larger(images: Tensor, step: int) -> tuple[int, int]:
    """Height and width, up to the next multiples of `step`."""
    h, w = (math.ceil(n / step) * step for n in images.shape[-2:])
    return h, w


def _step(model: nn.Module, inputs: Inputs, adapt: Adapt) -> int | None:
    """The first of `STEPS` at whose multiples the network runs; None where it does at none, or at the size as it is."""
    if _runs(model, inputs, adapt):  # another time: it was not the size
        return None
    tried = {tuple(inputs[0].shape[-2:])}
    for step in STEPS:
        size = _larger(inputs[0], step)
        if size not in tried and _runs(model, [F.interpolate(x, size) for x in inputs], adapt):
            return step
        tried.add(size)
    return None


def _runs(model: nn.Module, inputs: Inputs, adapt: Adapt) -> bool:
    try:
        model(*inputs) if adapt is None else adapt(model, *inputs)
    except Exception:  # whatever else is wrong with it; the first error is told
        return False
    return True


@contextmanager
def counted(model: nn.Module) -> Iterator[list]:
    """Inside the ``with`` every call of `model` itself adds to the list.

    Examples
    --------
    >>> model = nn.ReLU()
    >>> with counted(model) as calls:
    ...     _ = model(torch.zeros(1)), model(torch.zeros(1))
    >>> len(calls)
    2
    """
    calls: list = []
    handle = model.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        yield calls
    finally:
        handle.remove()


def check_order(
    model: nn.Module,
    given: Inputs,
    adapt: Adapt,
    joined: Mapping[Tap, Tensor],
    reduce: Callable[[Tensor], Tensor] | Mapping[Tap, Callable[[Tensor], Tensor]],
) -> None:
    """Raise a RuntimeError where rows joined from several calls are not the samples in their order.

    The first and the last sample are given alone: each must be answered as its own row says, rather than another.
    """
    for row in {0, len(given[0]) - 1}:
        with trace(model, joined, reduce, samples=1) as alone:
            call(model, [x[row : row + 1] for x in given], adapt)
        for tap, x in joined.items():
            apart = (x - alone[tap]).abs().sum(1)  # (B,)
            if apart[row] > apart.min() + ROUNDING * float(alone[tap].abs().sum()):
                raise RuntimeError(
                    f"tap {tap}: the network was called several times, and its rows are not the samples in order: "
                    f"sample {row + 1} of {len(x)} alone is answered as row {int(apart.argmin()) + 1} says; give "
                    "`adapt`, which calls it with the samples in order"
                )
