"""`rgbd-insight taps` and `extract`: where a network could be tapped, and how its units respond to every image."""

from __future__ import annotations

import argparse

import pandas as pd
import torch

from rgbd_insight.claims import digest
from rgbd_insight.cli.attach import Attached, add_options, attach, rehearse
from rgbd_insight.cli.sources import (
    DATA,
    DRAWS,
    IMAGES,
    NETWORK,
    SEED,
    add_images,
    command,
    data_from,
    new_folder,
    number,
)
from rgbd_insight.data import Batch, Dataset
from rgbd_insight.extraction import extract
from rgbd_insight.features import ROLES, TASKS
from rgbd_insight.hooks import at_own_precision, candidates, evaluating, purity, restless, trace
from rgbd_insight.models.imported import importable
from rgbd_insight.questions import at_chance

SEEN = 4  # images that show where a network could be tapped
BLOCK, PIXELS = 64, 240 * 320  # images at a time, of so many pixels at most: more fill a GPU's memory


def add_taps(commands: argparse._SubParsersAction) -> None:
    """The command `taps`."""
    text = "list where a network could be tapped, by level, and which input moves each place"
    sub = command(commands, "taps", show_taps, text)
    sub.add_argument("model", help=NETWORK)
    sub.add_argument("--data", default="scenes", help=f"{DATA} (split: test)")
    sub.add_argument("--all", action="store_true", help="also list what is inside blocks")
    add_options(sub, run=False)
    add_images(sub)


def show_taps(options: argparse.Namespace) -> None:
    """Print the candidates by level, or how far each tap of --taps is moved."""
    found = attach(options)
    size = options.size if options.size is not None or options.data == "scenes" else found.size
    data = data_from(options.data, split="test", n=SEEN if options.data == "scenes" else None, size=size)
    batch, found = data.batch(range(min(SEEN, len(data)))), found.on(data)
    with importable(found.file):
        if found.taps:
            return _show_moved(found, batch)
        table = candidates(found.model, batch, adapt=found.adapt, every=options.all)
    if not len(table):
        raise ValueError("no module of this network hands over maps in the aspect of its input; give --adapt, or --all")
    for level, rows in table.groupby("level"):
        size = f"{rows['height'].iloc[0]} x {rows['width'].iloc[0]}"
        print(f"level {level}: {size}, 1/{rows['stride'].iloc[0]:g} of the input" if level else f"input size: {size}")
        for row in rows.to_dict("records"):
            moved = {m.name: row[f"moved by {m.name}"] for m in data.modalities}
            print(f"  {row['stream'] or 'unmoved':8}{_place(row):48}{row['units']:5} units   moved {_by(moved)}")
    print("\nName what you choose: ri.taps(pattern, levels=…), or rgbd-insight extract --taps PATTERN")


def _show_moved(found: Attached, batch: Batch) -> None:
    """A line a tap, level by level: where it is, its map, and which input moves it."""
    given = list(batch.inputs.values())
    unlike = restless(found.model, given, found.taps, adapt=found.adapt)
    rows = purity(found.model, batch, found.taps, adapt=found.adapt)
    with evaluating(found.model), torch.no_grad(), at_own_precision(found.model):
        with trace(found.model, found.taps, lambda maps: torch.tensor([maps.shape[1:]] * len(maps))) as seen:
            found.adapt(found.model, *given) if found.adapt else found.model(*given)
    for tap in sorted(found.taps, key=lambda tap: tap.level):
        units, height, width = seen[tap][0].tolist()
        moved = {r["modality"]: r["moved"] for r in rows if (r["stream"], r["level"]) == (tap.stream, tap.level)}
        odd = "   other answers each time" if tap in unlike else ""
        place = str(tap).partition(" at ")[2]
        print(f"level {tap.level}  {tap.stream:8}{place:56}{units:5} x {height} x {width}   moved {_by(moved)}{odd}")


def _by(moved: dict[str, float]) -> str:
    return ", ".join(f"by {name} {value:.3f}" for name, value in moved.items())


def _place(row: dict) -> str:
    parts = [row["module"]]
    for name in ("item", "call", "layout"):
        value = row[name]
        if isinstance(value, tuple) or not pd.isna(value):
            parts.append(f"{name}={value!r}")
    return " ".join(parts)


def add_extract(commands: argparse._SubParsersAction) -> None:
    """The command `extract`."""
    sub = command(
        commands, "extract", run_extract, "record how every unit of a trained network responds to every image"
    )
    sub.add_argument("--model", default="runs/sum-s0", help=NETWORK)
    sub.add_argument(
        "--epoch",
        default="last",
        help='"last", or the number of a kept epoch; of a factory or a --checkpoint, the number that it was trained to',
    )
    sub.add_argument(
        "--role", choices=ROLES, help="how far it was trained; none: as a run's folder says, else it is unknown"
    )
    text = "by which networks that were trained alike are told apart; none: as a run's folder says, else 0"
    sub.add_argument("--seed", type=SEED, help=text)
    sub.add_argument("--task", choices=tuple(TASKS), help="what it predicts; none: found from labels and output")
    sub.add_argument("--data", default="scenes", help=f"{DATA} (split: test)")
    sub.add_argument("--n", type=IMAGES, help="number of scenes; none: 200")
    text = "partners for each image where one input is another scene's"
    sub.add_argument("--draws", type=DRAWS, default=4, help=text)
    text = "cells of every image at which responses are kept too; 16 suit most networks"
    sub.add_argument("--cells", type=number(0, 10**4), default=0, help=text)
    text = "extract the same network with its weights drawn anew too: what the architecture alone does"
    sub.add_argument("--control", action="store_true", help=text)
    sub.add_argument("--out", type=new_folder, default="features/mine", help="features directory; runs are added to it")
    text = f"images at a time; none: {BLOCK}, and fewer where images have more than {PIXELS:,} pixels"
    sub.add_argument("--batch-size", type=number(1, 10**4), help=text)
    add_options(sub)
    add_images(sub)


def run_extract(options: argparse.Namespace) -> None:
    """Extract features of the network that the options name."""
    found = attach(options)
    size = options.size if options.size is not None or options.data == "scenes" else found.size
    data = data_from(options.data, split="test", n=options.n, size=size)
    if found.classes is not None and data.classes and found.classes != len(data.classes):
        raise ValueError(
            f"`--data` must have the classes that the network was trained on; {options.model} has {found.classes} and "
            f"{options.data} {len(data.classes)}. Name the data it was trained on."
        )
    found = found.on(data)
    _say_inputs(found, data)
    with importable(found.file):
        rehearse(found, data, options.task)
        features = extract(
            found.model,
            data,
            found.taps,
            options.out,
            adapt=found.adapt,
            task=options.task,
            run=found.run,
            claims=digest(),
            draws=options.draws,
            cells=options.cells,
            control=options.control,
            batch_size=options.batch_size or block(data),
            device=options.device,
        )
    unknown = {run: features.entry(run)["about"].get("unknown") for run in features.runs.index}
    runs = ", ".join(run + (f" ({what} unknown)" if what else "") for run, what in unknown.items())
    path = features.path
    print(f"{len(features)} images, {runs} in {path}. Next: rgbd-insight audit {path}")
    for text in filter(None, (at_chance(features, run) for run in features.runs.index)):
        print(f"MIND: {text}")


def block(data: Dataset) -> int:
    """Images at a time: `BLOCK`, and fewer where they are large."""
    height, width = data.size
    return max(1, min(BLOCK, BLOCK * PIXELS // (height * width)))


def _say_inputs(found: Attached, data: Dataset) -> None:
    """Say how a published network is given its images, and what of it nobody knows."""
    images = getattr(getattr(found.adapt, "adapt", None), "images", None)
    if images is None:
        return
    for line in images.lines():
        print(f"images: {line}" if not line.startswith("not known") else f"MIND: {line}")
    if images.size is not None and images.size != tuple(data.size):
        (h, w), (height, width) = images.size, data.size
        print(f"MIND: it was trained at {h}x{w}, and is given {height}x{width}")
