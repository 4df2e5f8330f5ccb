"""`rgbd-insight taps`: where a network could be tapped."""

from __future__ import annotations

import argparse

import pandas as pd

from rgbd_insight.cli.attach import add_options, attach
from rgbd_insight.cli.sources import DATA, NETWORK, add_images, command, data_from
from rgbd_insight.hooks import candidates

SEEN = 4  # images


def add(commands: argparse._SubParsersAction) -> None:
    """The command `taps`."""
    text = "list where a network could be tapped, by level, and which input moves each place"
    sub = command(commands, "taps", show, text)
    sub.add_argument("model", help=NETWORK)
    sub.add_argument("--data", default="scenes", help=f"{DATA} (split: test)")
    sub.add_argument("--all", action="store_true", help="also list what is inside blocks")
    add_options(sub, taps=False)
    add_images(sub)


def show(options: argparse.Namespace) -> None:
    """Print the candidates by level."""
    found = attach(options)
    data = data_from(options.data, split="test", n=SEEN if options.data == "scenes" else None, size=options.size)
    batch = data.batch(range(min(SEEN, len(data))))
    table = candidates(found.model, batch, adapt=found.adapt, every=options.all)
    if not len(table):
        raise ValueError("no module of this network hands over maps in the aspect of its input; give --adapt, or --all")
    first, second = (m.name for m in data.modalities)
    for level, rows in table.groupby("level"):
        size = f"{rows['height'].iloc[0]} x {rows['width'].iloc[0]}"
        print(f"level {level}: {size}, 1/{rows['stride'].iloc[0]:g} of the input" if level else f"input size: {size}")
        for row in rows.itertuples():
            print(
                f"  {row.stream or 'unmoved':8}{_place(row):48}{row.units:5} units   moved by {first} {row.rgb:.3f}, "
                f"by {second} {row.depth:.3f}"
            )
    print("\nName what you choose: ri.taps(pattern, levels=…), or rgbd-insight extract --taps PATTERN")


def _place(row: tuple) -> str:
    parts = [row.module]
    for name in ("item", "call", "layout"):
        value = getattr(row, name)
        if isinstance(value, tuple) or not pd.isna(value):
            parts.append(f"{name}={value!r}")
    return " ".join(parts)
