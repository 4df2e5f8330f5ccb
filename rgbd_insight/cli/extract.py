"""`rgbd-insight extract`: record how every unit of a trained network responds to every image."""

from __future__ import annotations

import argparse
from pathlib import Path

from rgbd_insight.claims import digest
from rgbd_insight.cli.attach import add_options, attach, rehearse
from rgbd_insight.cli.sources import DATA, NETWORK, add_images, command, data_from
from rgbd_insight.extraction import extract


def add(commands: argparse._SubParsersAction) -> None:
    """The command `extract`."""
    sub = command(commands, "extract", run, "record how every unit of a trained network responds to every image")
    sub.add_argument("--model", default="runs/sum-s0", help=NETWORK)
    sub.add_argument("--epoch", default="last", help='"last", or the number of a kept epoch')
    sub.add_argument("--data", default="scenes", help=f"{DATA} (split: test)")
    sub.add_argument("--n", type=int, help="number of scenes; none: 200")
    sub.add_argument("--draws", type=int, default=4, help="partners for each image where one input is another scene's")
    sub.add_argument("--out", type=Path, default="features/mine", help="features directory; runs are added to it")
    add_options(sub)
    add_images(sub)


def run(options: argparse.Namespace) -> None:
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
        device=options.device,
    )
    runs, path = ", ".join(features.runs.index), features.path
    print(f"{len(features)} images, {runs} in {path}. Next: rgbd-insight audit {path}")
