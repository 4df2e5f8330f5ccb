"""What commands share: options, and what the words behind them stand for: a dataset, a file of weights, a device."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from rgbd_insight.data import Folder, Scenes
from rgbd_insight.data.batch import Dataset, batches
from rgbd_insight.training import checkpoints, state

NETWORK = "folder of a run, one of its .safetensors, or MODULE:FACTORY for a network of your own code, which is run"
DATA = 'what to use: "scenes", or "folder:PATH" or "folder:PATH:SPLIT" for a folder of images'
SAMPLED = 200  # training images that the depth scale is taken from


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
    if len(parts) != 2 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH in pixels, such as 96x128; got {word!r}")
    return int(parts[0]), int(parts[1])


def _device(word: str) -> torch.device:
    try:
        return torch.zeros(1, device=word).device
    except (RuntimeError, AssertionError, NotImplementedError, ValueError):  # torch has one of these for each device
        raise argparse.ArgumentTypeError(f"must be a device of this machine, such as cpu; got {word!r}") from None


def count(word: str) -> int:
    """A whole number from 1."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1; got {word!r}")
    return int(word)


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


def depth_scale(data: Dataset) -> tuple[float, float]:
    """Mean and standard deviation of the second modality over the valid readings of at most 200 images.

    Raises
    ------
    ValueError
        Where there is no reading, or all are the same.

    Examples
    --------
    >>> [round(v, 1) for v in depth_scale(data_from("scenes", split="train", n=4))]
    [2.9, 0.5]
    """
    chosen = torch.linspace(0, len(data) - 1, min(SAMPLED, len(data))).long().unique().tolist()
    count, total, squares = 0, 0.0, 0.0
    for batch in batches(data, 16, chosen):
        readings = batch.depth[batch.valid].double()  # (readings,)
        count += len(readings)
        total += float(readings.sum())
        squares += float((readings**2).sum())
    mean = total / max(count, 1)
    spread = max(squares / max(count, 1) - mean**2, 0.0) ** 0.5
    if spread < 1e-6 * max(abs(mean), 1e-6):
        raise ValueError(
            f"{data.modalities[1].name} must vary in {data.name!r}; got {count} readings that do not: "
            "check the images and the unit in camera.json"
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
