"""What commands share: options, and what the words behind them stand for: a dataset, a file of weights, a device."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import torch

from rgbd_insight.data import Folder, Scenes
from rgbd_insight.data.batch import Dataset, batches
from rgbd_insight.models.network import SEEDS
from rgbd_insight.training import checkpoints, state

NETWORK = "folder of a run, one of its .safetensors, or MODULE:FACTORY for a network of your own code, which is run"
DATA = 'what to use: "scenes", or "folder:PATH" or "folder:PATH:SPLIT" for a folder of images'
SAMPLED = 200  # training images that the depth scale is taken from
LARGEST = 2**14  # pixels a side: a batch of more fills the memory of any machine


def command(
    commands: argparse._SubParsersAction, name: str, run: Callable[[argparse.Namespace], None] | None, text: str
) -> argparse.ArgumentParser:
    """A new command below `commands`, which calls `run`; every option's help ends in its default."""
    sub = commands.add_parser(name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    sub.set_defaults(command=run)
    return sub


def add_images(sub: argparse.ArgumentParser) -> None:
    """Options of commands that run images through a network."""
    sub.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="size of a folder's images, such as 96x128; none: as they are (extract: as in training)",
    )
    sub.add_argument("--device", type=_device, help="cpu, cuda, cuda:1, mps; none: a GPU where there is one")


def _size(word: str) -> tuple[int, int]:
    parts = word.lower().split("x")
    if len(parts) != 2 or not all(p.isdecimal() and len(p) < 6 and 0 < int(p) <= LARGEST for p in parts):
        most = f"{LARGEST} a side at most"
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH in pixels, such as 96x128, {most}; got {word[:40]!r}")
    return int(parts[0]), int(parts[1])


def _device(word: str) -> torch.device:
    try:
        return torch.zeros(1, device=word).device
    except (RuntimeError, AssertionError, NotImplementedError, ValueError):  # torch has one of these for each device
        raise argparse.ArgumentTypeError(f"must be a device of this machine, such as cpu; got {word!r}") from None


def number(least: int, most: int) -> Callable[[str], int]:
    """The reader of an option: a whole number from `least` to `most`, beyond which no run would ever end.

    Examples
    --------
    >>> number(0, 9)("3")
    3
    """

    def read(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most:,}; got {word[:40]!r}")
        return value

    return read


SEED = number(0, SEEDS - 1)
IMAGES, EPOCHS = number(0, 10**7), number(0, 10**5)
DRAWS, TIMES = number(0, 10**3), number(0, 10**6)
WIDTH = number(0, 2**13)
count = number(1, 10**6)


NAME = 255 - len(".partial")  # bytes of a file's name, which is longer while the file is being written


def path(word: str) -> Path:
    """The reader of an option: a path, which "" is not, although Python takes it for the current folder."""
    if not word:
        raise argparse.ArgumentTypeError("must be a path; got ''")
    return Path(word)


def new_folder(word: str) -> Path:
    """The reader of an option: a folder that can be made or written to, so that no run ends without a place."""
    path = _place(word, "a folder")
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder; {word} is a file: name another")
    return path


def new_file(word: str) -> Path:
    """The reader of an option: a file that can be written, in a folder that is there or can be made."""
    path = _place(word, "a file")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file; {word} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        raise argparse.ArgumentTypeError(f"must be a file; {word} is a device or a pipe: name another")
    return path


def _place(word: str, what: str) -> Path:
    """A path at which `what` can be made, or an error that says why not."""
    path = Path(word)
    if path.name in ("", ".."):
        raise argparse.ArgumentTypeError(f"must name {what} of its own; got {word!r}")
    if ":" in word and not path.is_absolute():
        raise argparse.ArgumentTypeError(
            f"must have no colon, as MODULE:FACTORY has; got {word!r}: name another, or give the whole path"
        )
    if len(os.fsencode(path.name)) > NAME:
        raise argparse.ArgumentTypeError(f"must have a name of at most {NAME} bytes; got {word[:60]!r}…: name another")
    try:
        for place in (path, *path.parents):
            if place.is_symlink() and not place.exists():
                raise argparse.ArgumentTypeError(f"must be a place to write to; the link {place} leads nowhere")
            if place != path and place.exists() and not place.is_dir():
                raise argparse.ArgumentTypeError(f"must be in a folder; {place} is a file")
        there = next(place for place in (path, *path.parents) if place.exists())
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot be a path ({error.strerror}); got {word[:60]!r}") from None
    if not os.access(there, os.W_OK):
        raise argparse.ArgumentTypeError(f"must be a place to write to; {there} cannot be written")
    return path


def data_from(word: str, *, split: str, n: int | None = None, size: tuple[int, int] | None = None) -> Dataset:
    """The dataset that a word names.

    Parameters
    ----------
    word : str
        "scenes", "folder:PATH" or "folder:PATH:SPLIT".
    split : str
        Where the word names none.
    n : int, optional
        Number of scenes; None is 200.
    size : tuple of int (H, W), optional
        Of a folder's images; None leaves them as they are.

    Raises
    ------
    ValueError
        For another word, or an option that does not apply.

    Examples
    --------
    >>> len(data_from("scenes", split="test", n=3))
    3
    """
    kind, _, path = word.partition(":")
    if kind == "scenes" and not path:
        if size is not None:
            raise ValueError(f"`--size` is for folders; scenes are {Scenes.size[0]}x{Scenes.size[1]}. Leave it out.")
        return Scenes(200 if n is None else n, split=split)
    if kind != "folder" or not path:
        raise ValueError(f'`--data` must be "scenes", "folder:PATH" or "folder:PATH:SPLIT"; got {word!r}')
    if n is not None:
        raise ValueError("`--n` is for scenes; the images of a folder are listed in its splits.json. Leave it out.")
    start, _, end = path.rpartition(":")
    if start and Path(start).is_dir() and not Path(path).is_dir():  # a folder's own name may have a colon
        path, split = start, end
    return Folder(path, split, size=size)


def reading_scales(data: Dataset) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each modality beside colour, over the readings of at most 200 images.

    Raises
    ------
    ValueError
        Where there is no reading of one, or all are the same.

    Examples
    --------
    >>> found = reading_scales(data_from("scenes", split="train", n=4))
    >>> [round(v, 1) for v in found["depth"]]
    [2.9, 0.5]
    """
    chosen = torch.linspace(0, len(data) - 1, min(SAMPLED, len(data))).long().unique().tolist()
    sums = {m.name: torch.zeros(3, dtype=torch.float64) for m in data.modalities[1:]}  # how many, their sum and squares
    for batch in batches(data, 16, chosen):
        for name, total in sums.items():
            x, known = batch.inputs[name].double(), batch.valid.get(name)
            readings = x.flatten() if known is None else x[known.expand_as(x)]
            total += torch.stack([x.new_tensor(len(readings)), readings.sum(), (readings**2).sum()])
    return {name: _scale(data, name, *total.tolist()) for name, total in sums.items()}


def _scale(data: Dataset, name: str, count: float, total: float, squares: float) -> tuple[float, float]:
    mean = total / max(count, 1)
    spread = max(squares / max(count, 1) - mean**2, 0.0) ** 0.5
    if spread < 1e-6 * max(abs(mean), 1e-6):
        raise ValueError(
            f"{name} must vary in {data.name!r}; got {count:.0f} readings that do not: check the images and the "
            "unit in camera.json"
        )
    return mean, spread


def weights_of(path: Path, epoch: str) -> tuple[Path, str]:
    """The file of weights that a run's folder (or a file) and "last" or a number name, and the role of its epoch."""
    if path.is_file():
        if epoch != "last":
            raise ValueError(f"`--epoch` is for a run's folder; {path} is one file already. Leave it out.")
        return path, "final"
    if not path.exists():
        raise FileNotFoundError(
            f"`--model` must be a run's folder or a .safetensors file; there is none at {path}. "
            "Train one first, with `rgbd-insight train`."
        )
    kept = {str(number): file for number, file in checkpoints(path).items()}
    if not kept:
        raise ValueError(
            f"`--model` must be a folder with epoch-0001.safetensors …; {path} has none. Train one first, "
            "with `rgbd-insight train`."
        )
    last = list(kept)[-1]
    number = last if epoch == "last" else epoch
    if number not in kept:
        raise ValueError(f"`--epoch` must be last or one of {', '.join(kept)}; got {epoch!r}")
    return kept[number], "untrained" if number == "0" else "final" if number == last else "checkpoint"


def trained_size(folder: Path) -> tuple[int, int] | None:
    """The size of the images that the run in `folder` was trained on; None where it is not recorded."""
    kept = state.read(folder)
    size = kept and kept[0]["run"]["data"].get("size")
    return tuple(size) if size else None
