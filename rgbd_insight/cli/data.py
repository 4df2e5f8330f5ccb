"""`rgbd-insight data`: convert official files, look a folder over."""

from __future__ import annotations

import argparse
from pathlib import Path

from rgbd_insight.data import check, nyuv2, sunrgbd
from rgbd_insight.data.convert import DEPTHS


class Found(Exception):
    """Mistakes were found and printed: the command succeeded, the data did not."""


def add(commands: argparse._SubParsersAction) -> None:
    """The commands below `data`."""
    shown = argparse.ArgumentDefaultsHelpFormatter
    text = "look a folder of images over for the mistakes that people make; 1 where there are any"
    sub = commands.add_parser("check", help=text, description=text, formatter_class=shown)
    sub.add_argument("path", type=Path, help="the folder")
    sub.add_argument("--sample", type=_count, default=64, help="images that are looked into")
    sub.set_defaults(command=_check)
    text = "convert nyu_depth_v2_labeled.mat, as its page distributes it, into a folder of images"
    sub = commands.add_parser("nyuv2", help=text, description=text, formatter_class=shown)
    sub.add_argument("file", type=Path, help="nyu_depth_v2_labeled.mat")
    sub.add_argument("out", type=Path, help="the new folder")
    sub.add_argument("--splits", type=Path, help="the official splits.mat; none: beside the file")
    sub.add_argument("--classes", type=int, choices=(40, 13), default=40, help="that the 894 names are mapped to")
    sub.add_argument("--depth", choices=tuple(DEPTHS), default="raw", help="as measured, or in-painted by the authors")
    sub.set_defaults(command=_nyuv2)
    text = "convert the folders of SUN RGB-D, with its toolbox where that lies beside them"
    sub = commands.add_parser("sunrgbd", help=text, description=text, formatter_class=shown)
    sub.add_argument("root", type=Path, help="the folder that holds SUNRGBD/ and SUNRGBDtoolbox/")
    sub.add_argument("out", type=Path, help="the new folder")
    sub.set_defaults(command=_sunrgbd)


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1; got {word!r}")
    return int(word)


def _check(options: argparse.Namespace) -> None:
    found = check(options.path, sample=options.sample)
    print(found)
    if not found:
        raise Found


def _nyuv2(options: argparse.Namespace) -> None:
    out = nyuv2(
        options.file, options.out, splits=options.splits, classes=options.classes, depth=options.depth, progress=True
    )
    print(f"written: {out}. Next: rgbd-insight data check {out}")


def _sunrgbd(options: argparse.Namespace) -> None:
    print(f"written: {sunrgbd(options.root, options.out, progress=True)}. Next: rgbd-insight data check {options.out}")
