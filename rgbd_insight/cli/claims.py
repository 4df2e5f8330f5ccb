"""`rgbd-insight claims`: test the claims as stated beforehand."""

from __future__ import annotations

import argparse
import os

from rgbd_insight.claims import claims
from rgbd_insight.cli.sources import command, new_file
from rgbd_insight.features import load
from rgbd_insight.utils.files import write_text

CLAIMED = (("book/features/scenes", "book/features/scenes-twins"), ("book/features/nyuv2",))  # the ledger's order


def add(commands: argparse._SubParsersAction) -> None:
    """The command `claims`."""
    text = "test the claims of the abstract: effect, interval and verdict of each"
    sub = command(commands, "claims", ask_claims, text)
    sub.add_argument(
        "features",
        nargs="*",
        default=_claimed(),
        help="directories, each of another kind of data; with + between those of one kind",
    )
    sub.add_argument("--results", default="book/results", help="folder of the zoo's and the intervention's tables")
    sub.add_argument("--fresh", help="directory with the fresh seeds of claim 7; none: among the features")
    sub.add_argument("--only", help="ids of claims, with commas; none: all")
    sub.add_argument("--csv", type=new_file, metavar="PATH", help="also write the ledger as a table")


def _claimed() -> list[str]:
    """The book's features, with the further twins where a GPU made them."""
    return ["+".join([first, *filter(os.path.isdir, more)]) for first, *more in CLAIMED]


def ask_claims(options: argparse.Namespace) -> None:
    """Print the ledger, and write it where that is asked for."""
    only = None if options.only is None else [name.strip() for name in options.only.split(",")]
    fresh = None if options.fresh is None else load(options.fresh)
    kinds = [load(*word.split("+")) for word in options.features]
    found = claims(*kinds, results=options.results, fresh=fresh, only=only)
    if options.csv:  # before a reader of what is printed may end it
        write_text(options.csv, found.table.to_csv(index=False, lineterminator="\n"))
    print(found.text())
    if options.csv:
        print(f"written: {options.csv}")
