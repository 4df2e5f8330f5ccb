"""`rgbd-insight validate`: score the measures on planted worlds, and say which bars they meet."""

from __future__ import annotations

import argparse
import sys

from rgbd_insight.cli.data import Found
from rgbd_insight.cli.sources import command, count, new_folder, path
from rgbd_insight.features import read_table
from rgbd_insight.utils.distributed import processes
from rgbd_insight.validation import bars, validate

RED, PLAIN = "\033[31m", "\033[0m"


def add(commands: argparse._SubParsersAction) -> None:
    """The command `validate`."""
    text = (
        "score every measure on worlds whose answer is planted (a killed run goes on); ends with 1 if a bar is missed"
    )
    sub = command(commands, "validate", score_measures, text)
    sub.add_argument("--quick", action="store_true", help="a few small worlds, asked only what so few can meet")
    sub.add_argument("--judge", type=path, metavar="FOLDER", help="judge the tables in a folder, and make none")
    sub.add_argument("--out", type=new_folder, default="validation", help="folder for the tables")
    sub.add_argument("--workers", type=count, help="processes, each on one core; none: one for each core")


def score_measures(options: argparse.Namespace) -> None:
    """Make the tables, or read them, and print which bars are met.

    Raises
    ------
    Found
        Where a bar is missed, or other code made the tables.
    """
    folder = options.judge or options.out
    if options.judge:
        table = read_table(folder, "validation")
    else:
        table = validate(folder, quick=options.quick, workers=options.workers)["validation"]
    if not processes().first:  # under torchrun, of which the first says it
        return
    found = bars(table, folder)
    asked = found[found["met"].notna()]
    missed = asked[~asked["met"].astype(bool)]
    print(f"{len(asked) - len(missed)} of {len(asked)} bars are met, tables in {folder}")
    if options.quick:
        print("(a few small worlds: what takes many worlds, or large ones, was not asked)")
    for row in missed.itertuples():
        _say(f"missed: {row.score}, {row.about}: {row.value:.3g} (asked: {row.bar})")
    if len(missed):
        raise Found


def _say(text: str) -> None:
    """In red, where it is read by someone."""
    print(f"{RED}{text}{PLAIN}" if sys.stdout.isatty() else text)
