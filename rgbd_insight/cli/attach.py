"""Networks that a command names: our own runs, or a factory in your code with its weights, taps and way of calling."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rgbd_insight.cli.sources import path, trained_size, weights_of
from rgbd_insight.data import Dataset
from rgbd_insight.extraction import call, call_name
from rgbd_insight.hooks import Tap, purity
from rgbd_insight.hooks import taps as fill
from rgbd_insight.models import import_model, load, load_weights, published, published_networks, read_tap_map
from rgbd_insight.models.imported import import_object
from rgbd_insight.utils.messages import unknown

LEVELS, LONGEST_NAME = (1, 2, 3, 4), 100


@dataclass(frozen=True)
class Attached:
    """A network with where to read it, how to call it, what its run is called and the size that it was trained on."""

    model: nn.Module
    taps: list[Tap] | None = None
    adapt: Callable[..., Tensor] | None = None
    run: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    classes: int | None = None


def add_options(sub: argparse.ArgumentParser, *, taps: bool = True) -> None:
    """Options that name a network."""
    sub.add_argument("--checkpoint", type=path, help="weights for a factory: .safetensors, or tensors by torch.save")
    sub.add_argument(
        "--adapt",
        metavar="MODULE:FUNCTION",
        help="function of (model, rgb, depth) that returns the logits; none: model(rgb, depth), or as the tap map says",
    )
    if taps:
        sub.add_argument(
            "--taps",
            help=f"where it is read: a published network ({', '.join(published_networks())}), a .toml file of the same "
            "form, or a pattern with {stream} and {level}; none: the model's own taps()",
        )
        sub.add_argument("--levels", type=_levels, default=LEVELS, help="of a pattern, such as 1-4")
        sub.add_argument("--name", help="what the run is called; none: the network's own fusion, or custom")


def attach(options: argparse.Namespace) -> Attached:
    """The network that --model and the options beside it name."""
    word = str(options.model)
    taps, adapt = _taps(getattr(options, "taps", None), getattr(options, "levels", LEVELS))
    if options.adapt is not None:
        adapt = import_object(options.adapt)
        if not callable(adapt):
            raise ValueError(f"`--adapt` must be a function of (model, rgb, depth); {options.adapt} is none")
    run = {"fusion": options.name} if getattr(options, "name", None) else {}
    if len(run.get("fusion", "")) > LONGEST_NAME:
        raise ValueError(
            f"`--name` must have at most {LONGEST_NAME} characters, as files are called by it; got {len(options.name)}"
        )
    if ":" in word and not Path(word).exists():
        run |= _said(options)
        return Attached(import_model(word, options.checkpoint), taps, _Told(adapt), run)
    if options.checkpoint is None:
        path, role = weights_of(Path(word), getattr(options, "epoch", "last"))
        model, curves = load(path), path.with_name("curves.parquet")
        run |= {"role": role} | ({"curves": curves} if curves.is_file() else {})
    else:  # the structure is the run's; how far the weights were trained is what the options say
        path, _ = weights_of(Path(word), "last")
        model = load_weights(load(path), options.checkpoint)
        run |= _said(options)
    if getattr(options, "role", None) is not None:
        run["role"] = options.role
    return Attached(model, taps, adapt, run, trained_size(path.parent), model.classes)


def _said(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say of how far a network was trained."""
    role, epoch = getattr(options, "role", None), getattr(options, "epoch", "last")
    if epoch != "last" and not epoch.isdecimal():
        raise ValueError(f"`--epoch` must be the number of an epoch; got {epoch!r}")
    return ({} if role is None else {"role": role}) | ({} if epoch == "last" else {"epoch": int(epoch)})


def rehearse(found: Attached, data: Dataset) -> None:
    """Run two images through a foreign network, so that what is wrong with taps or call is said before the work."""
    if (
        isinstance(found.adapt, _Told)
        and len(data) > 1
        and (found.taps or callable(getattr(found.model, "taps", None)))
    ):
        purity(found.model, data.batch([0, len(data) - 1]), found.taps or found.model.taps(), adapt=found.adapt)


class _Told:
    """Calls a foreign network, and says in one line what went wrong where it cannot be called so."""

    def __init__(self, adapt: Callable[..., Tensor] | None) -> None:
        self.adapt, self.__qualname__ = adapt, call_name(adapt)

    def __call__(self, model: nn.Module, rgb: Tensor, depth: Tensor) -> Tensor:
        try:
            return call(model, rgb, depth, self.adapt)
        except torch.OutOfMemoryError:
            raise
        except (Exception, SystemExit) as error:  # whatever the network's own code raises
            if isinstance(error, ValueError | RuntimeError) and str(error).startswith(("tap ", "`")):
                raise
            raise ValueError(
                f"the network cannot be called as {self.__qualname__} ({type(error).__name__}: {error}); "
                "give --adapt, a function of (model, rgb, depth)"
            ) from error


def _taps(word: str | None, levels: tuple[int, ...]) -> tuple[list[Tap] | None, Callable[..., Tensor] | None]:
    """Taps, and the way of calling that comes with them."""
    if word is None:
        return None, None
    if "{" in word:
        return fill(word, levels), None
    if word in published_networks():
        found = published(word)
    elif word.endswith(".toml"):
        found = read_tap_map(word)
    else:
        raise ValueError(
            unknown("--taps", word, published_networks()) + "; or a .toml file, or a pattern with {stream} and {level}"
        )
    return list(found), found.adapt


def _levels(word: str) -> tuple[int, ...]:
    first, dash, last = word.partition("-")
    numbers = first.isdecimal() and (last.isdecimal() or not dash) and max(len(first), len(last)) < 3
    if not numbers or int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"must be levels, such as 1-4; got {word!r}")
    return tuple(range(int(first), int(last or first) + 1))
