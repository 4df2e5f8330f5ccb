"""Networks that a command names: our own runs, or a factory in your code with its weights, taps and way of calling."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rgbd_insight.cli.sources import path, trained_size, weights_of
from rgbd_insight.data import Dataset
from rgbd_insight.extraction import call, call_name, fitted
from rgbd_insight.hooks import Tap, at_own_precision, evaluating, purity
from rgbd_insight.hooks import taps as fill
from rgbd_insight.models import Adapter, import_model, load, load_weights, published, published_networks, read_tap_map
from rgbd_insight.models.imported import import_object
from rgbd_insight.utils.messages import nearest, unknown
from rgbd_insight.utils.reading import read_json

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
    file: str | None = None  # of the factory, beside which its code may import when it is called

    def on(self, data: Dataset) -> Attached:
        """The same, its way of calling told of the data."""
        return replace(self, adapt=fitted(self.adapt, self.taps, data))


def add_options(sub: argparse.ArgumentParser, *, run: bool = True) -> None:
    """Options that name a network."""
    sub.add_argument("--checkpoint", type=path, help="weights for a factory: .safetensors, or tensors by torch.save")
    sub.add_argument(
        "--adapt",
        metavar="MODULE:FUNCTION",
        help="function of (model, rgb, depth) that returns the logits; none: model(rgb, depth), or as the tap map says",
    )
    sub.add_argument(
        "--classes",
        type=path,
        metavar="FILE.json",
        help="names of the classes that a factory's network scores, as a list in a file (null: none of the data's), "
        "where they are not the data's in their order",
    )
    sub.add_argument(
        "--taps",
        help="where it is read: a published network (see `rgbd-insight published`), a .toml file of that form, or "
        "a pattern with {stream} and {level}; none: the model's own taps()",
    )
    sub.add_argument("--levels", type=_levels, default=LEVELS, help="of a pattern, such as 1-4")
    if run:
        sub.add_argument("--name", help="what the run is called; none: the network's own fusion, or custom")


def attach(options: argparse.Namespace) -> Attached:
    """The network that --model and the options beside it name."""
    word = str(options.model)
    taps, adapt = _taps(options.taps, options.levels)
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
        size = adapt.images.size if isinstance(adapt, Adapter) else None
        told = _Told(adapt, _names(options.classes))
        model = import_model(word, options.checkpoint)
        file = getattr(sys.modules.get(word.partition(":")[0]), "__file__", None)
        return Attached(model, taps, told, run, size, file=file)
    if options.classes is not None:
        raise ValueError(
            f"`--classes` is for a factory's network; {word} has the classes it was trained on: leave it out"
        )
    if options.checkpoint is None:
        path, role = weights_of(Path(word), getattr(options, "epoch", "last"))
        model, curves = load(path), path.with_name("curves.parquet")
        run |= {"role": role} | ({"curves": curves} if curves.is_file() else {})
    else:  # the structure is the run's; how far the weights were trained is what the options say
        path, _ = weights_of(Path(word), "last")
        model = load_weights(load(path), options.checkpoint)
        run |= _said(options)
    run |= {key: value for key in ("role", "seed") if (value := getattr(options, key, None)) is not None}
    return Attached(model, taps, adapt, run, trained_size(path.parent), model.classes)


def _said(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say of how far a network was trained."""
    said = {key: value for key in ("role", "seed") if (value := getattr(options, key, None)) is not None}
    epoch = getattr(options, "epoch", "last")
    if epoch != "last" and not epoch.isdecimal():
        raise ValueError(f"`--epoch` must be the number of an epoch; got {epoch!r}")
    return said | ({} if epoch == "last" else {"epoch": int(epoch)})


def rehearse(found: Attached, data: Dataset, task: str | None = None) -> None:
    """Run two images through a foreign network, so that what is wrong with taps or call is said before the work."""
    known = found.taps or callable(getattr(found.model, "taps", None))
    if not isinstance(found.adapt, _Told) or len(data) < 2 or not known:
        return
    batch = data.batch([0, len(data) - 1])
    purity(found.model, batch, found.taps or found.model.taps(), adapt=found.adapt)
    if task in (None, "segmentation") and data.classes:
        with evaluating(found.model), torch.no_grad(), at_own_precision(found.model):
            scores = found.adapt(found.model, *batch.inputs.values())
        if isinstance(scores, Tensor) and scores.ndim == 4 and scores.shape[1] != len(data.classes):
            raise ValueError(
                f"`--data` must have the classes that the network scores; it scores {scores.shape[1]} and {data.name} "
                f"has {len(data.classes)}: name the network's with --classes FILE.json, or record responses alone with "
                "--task none"
            )


class _Told:
    """Calls a foreign network, puts its classes in the data's order, and says in one line what went wrong.

    Attributes
    ----------
    adapt : callable or None
        How it is called.
    names : tuple of (str or None), optional
        Of the classes that it scores; None for the data's.
    order : tuple of (int or None), optional
        Where each of the data's classes is among them.
    """

    def __init__(
        self,
        adapt: Callable[..., Tensor] | None,
        names: tuple[str | None, ...] | None = None,
        order: tuple[int | None, ...] | None = None,
    ) -> None:
        self.adapt = self.__wrapped__ = adapt
        self.names, self.order = names, order
        self.__qualname__ = call_name(adapt) + ("" if order is None else f", classes {order}")

    def on(self, data: Dataset) -> _Told:
        """The same for the images and classes of `data`."""
        return _Told(fitted(self.adapt, None, data), self.names, None if self.names is None else self._order(data))

    def __call__(self, model: nn.Module, *inputs: Tensor) -> Tensor:
        try:
            scores = call(model, inputs, self.adapt)
        except torch.OutOfMemoryError:
            raise
        except (Exception, SystemExit) as error:  # whatever the network's own code raises
            if isinstance(error, ValueError | RuntimeError) and str(error).startswith(("tap ", "`")):
                raise
            raise ValueError(
                f"the network cannot be called as {self.__qualname__} ({type(error).__name__}: {error}); "
                "give --adapt, a function of (model, rgb, depth)"
            ) from error
        return scores if self.order is None else self._in_order(scores)

    def _order(self, data: Dataset) -> tuple[int | None, ...]:
        place = {name: i for i, name in enumerate(self.names) if name is not None}
        order = tuple(place.get(name) for name in data.classes)
        if not any(i is not None for i in order):
            near = nearest(data.classes[0] if data.classes else "", [*place])
            raise ValueError(f"`--classes` must name some of the classes of {data.name}; the nearest are {near}")
        return order

    def _in_order(self, scores: Tensor) -> Tensor:
        """Scores of the data's classes; one that the network does not know is never its answer."""
        if scores.ndim < 2 or scores.shape[1] != len(self.names):
            got = tuple(scores.shape)
            raise ValueError(
                f"`--classes` must name each class that the network scores; got {len(self.names)} names and scores "
                f"{got}: write null for a class that the data has not"
            )
        least = scores.amin(1, keepdim=True) - 1
        return torch.cat([least if i is None else scores[:, i : i + 1] for i in self.order], 1)


def _names(file: Path | None) -> tuple[str | None, ...] | None:
    """What --classes names."""
    if file is None:
        return None
    try:
        names = read_json(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"`--classes` must be a .json file with a list of names; {file} is none ({error})") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str | None) for name in names):
        raise ValueError(f"`--classes` must be a list of names, or null; {file} holds {str(names)[:60]}")
    known = [name for name in names if name is not None]
    if len(set(known)) < len(known):
        raise ValueError(f"`--classes` must name each class once; {file} has one twice")
    return tuple(names)


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
