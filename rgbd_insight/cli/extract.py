"""`rgbd-insight taps` and `extract`: where a network could be tapped, and how its units respond to every image."""

from __future__ import annotations

import argparse

import pandas as pd

from rgbd_insight.claims import digest
from rgbd_insight.cli.attach import add_options, attach, rehearse
from rgbd_insight.cli.sources import (
    DATA,
    DRAWS,
    IMAGES,
    NETWORK,
    add_images,
    command,
    data_from,
    new_folder,
    number,
)
from rgbd_insight.extraction import extract
from rgbd_insight.features import ROLES
from rgbd_insight.hooks import candidates
from rgbd_insight.questions import at_chance

SEEN = 4  # images that show where a network could be tapped


def add_taps(commands: argparse._SubParsersAction) -> None:
    """The command `taps`."""
    text = "list where a network could be tapped, by level, and which input moves each place"
    sub = command(commands, "taps", show_taps, text)
    sub.add_argument("model", help=NETWORK)
    sub.add_argument("--data", default="scenes", help=f"{DATA} (split: test)")
    sub.add_argument("--all", action="store_true", help="also list what is inside blocks")
    add_options(sub, taps=False)
    add_images(sub)


def show_taps(options: argparse.Namespace) -> None:
    """Print the candidates by level."""
    found = attach(options)
    data = data_from(options.data, split="test", n=SEEN if options.data == "scenes" else None, size=options.size)
    batch = data.batch(range(min(SEEN, len(data))))
    table = candidates(found.model, batch, adapt=found.adapt, every=options.all)
    if not len(table):
        raise ValueError("no module of this network hands over maps in the aspect of its input; give --adapt, or --all")
    for level, rows in table.groupby("level"):
        size = f"{rows['height'].iloc[0]} x {rows['width'].iloc[0]}"
        print(f"level {level}: {size}, 1/{rows['stride'].iloc[0]:g} of the input" if level else f"input size: {size}")
        for row in rows.to_dict("records"):
            moved = ", ".join(f"by {m.name} {row[f'moved by {m.name}']:.3f}" for m in data.modalities)
            print(f"  {row['stream'] or 'unmoved':8}{_place(row):48}{row['units']:5} units   moved {moved}")
    print("\nName what you choose: ri.taps(pattern, levels=…), or rgbd-insight extract --taps PATTERN")


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
    sub.add_argument("--data", default="scenes", help=f"{DATA} (split: test)")
    sub.add_argument("--n", type=IMAGES, help="number of scenes; none: 200")
    text = "partners for each image where one input is another scene's"
    sub.add_argument("--draws", type=DRAWS, default=4, help=text)
    text = "cells of every image at which responses are kept too; 16 suit most networks"
    sub.add_argument("--cells", type=number(0, 10**4), default=0, help=text)
    sub.add_argument("--out", type=new_folder, default="features/mine", help="features directory; runs are added to it")
    add_options(sub)
    add_images(sub)


def run_extract(options: argparse.Namespace) -> None:
    """Extract features of the network that the options name."""
    found = attach(options)
    size = options.size if options.size is not None or options.data == "scenes" else found.size
    data = data_from(options.data, split="test", n=options.n, size=size)
    if found.classes is not None and found.classes != len(data.classes):
        raise ValueError(
            f"`--data` must have the classes that the network was trained on; {options.model} has {found.classes} and "
            f"{options.data} {len(data.classes)}. Name the data it was trained on."
        )
    rehearse(found, data)
    features = extract(
        found.model,
        data,
        found.taps,
        options.out,
        adapt=found.adapt,
        run=found.run,
        claims=digest(),
        draws=options.draws,
        cells=options.cells,
        device=options.device,
    )
    unknown = {run: features.entry(run)["about"].get("unknown") for run in features.runs.index}
    runs = ", ".join(run + (f" ({what} unknown)" if what else "") for run, what in unknown.items())
    path = features.path
    print(f"{len(features)} images, {runs} in {path}. Next: rgbd-insight audit {path}")
    for text in filter(None, (at_chance(features, run) for run in features.runs.index)):
        print(f"MIND: {text}")
