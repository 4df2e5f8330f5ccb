"""`rgbd-insight data`: convert official files, look a folder over."""

from __future__ import annotations

import argparse

from rgbd_insight.cli.sources import command, count, new_folder, path
from rgbd_insight.data import check, eventscape, mfnet, nyuv2, sunrgbd
from rgbd_insight.data.convert import DEPTHS


class Found(Exception):
    """Mistakes were found and printed: the command succeeded, the data did not."""


def add(commands: argparse._SubParsersAction) -> None:
    """The commands of `data`."""
    text = "look a folder of images over, or make one from what NYUv2, SUN RGB-D, MFNet or EventScape distribute"
    parts = command(commands, "data", None, text).add_subparsers(
        required=True, metavar="check|nyuv2|sunrgbd|mfnet|eventscape"
    )
    text = "look a folder of images over for the mistakes that people make; 1 where there are any"
    sub = command(parts, "check", _check, text)
    sub.add_argument("path", type=path, help="the folder")
    sub.add_argument("--sample", type=count, default=64, help="images that are looked into")
    text = "convert nyu_depth_v2_labeled.mat, as its page distributes it, into a folder of images"
    sub = command(parts, "nyuv2", _nyuv2, text)
    sub.add_argument("file", type=path, help="nyu_depth_v2_labeled.mat")
    sub.add_argument("out", type=new_folder, help="the new folder")
    sub.add_argument("--splits", type=path, help="the official splits.mat; none: beside the file")
    sub.add_argument("--classes", type=int, choices=(40, 13), default=40, help="that the 894 names are mapped to")
    sub.add_argument("--depth", choices=tuple(DEPTHS), default="raw", help="as measured, or in-painted by the authors")
    text = "convert the folders of SUN RGB-D, with its toolbox where that lies beside them"
    sub = command(parts, "sunrgbd", _sunrgbd, text)
    sub.add_argument("root", type=path, help="the folder that holds SUNRGBD/ and SUNRGBDtoolbox/")
    sub.add_argument("out", type=new_folder, help="the new folder")
    sub = command(parts, "mfnet", _mfnet, "convert MFNet's images of streets: colour and heat in one PNG")
    sub.add_argument("root", type=path, help="the folder that holds images/, labels/ and train.txt, test.txt …")
    sub.add_argument("out", type=new_folder, help="the new folder")
    sub = command(parts, "eventscape", _eventscape, "convert EventScape's drives: colour, and events between frames")
    sub.add_argument("root", type=path, help="the folder that holds Town01-03_train/, Town05_val/ …")
    sub.add_argument("out", type=new_folder, help="the new folder")
    sub.add_argument("--every", type=count, default=10, help="only every so many-th frame")


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


def _mfnet(options: argparse.Namespace) -> None:
    print(f"written: {mfnet(options.root, options.out, progress=True)}. Next: rgbd-insight data check {options.out}")


def _eventscape(options: argparse.Namespace) -> None:
    out = eventscape(options.root, options.out, every=options.every, progress=True)
    print(f"written: {out}. Next: rgbd-insight data check {out}")
