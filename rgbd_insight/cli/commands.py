"""The commands: images, networks, features, audits, the ledger of claims, the proof of the measures."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

import torch
from safetensors import SafetensorError

from rgbd_insight.claims.ledger import claims
from rgbd_insight.cli import audit as audits
from rgbd_insight.cli import data as data_commands
from rgbd_insight.cli import taps as tap_command
from rgbd_insight.cli.attach import add_options, attach, rehearse
from rgbd_insight.cli.sources import data_from, depth_scale
from rgbd_insight.experiments import campaign
from rgbd_insight.extraction import extract
from rgbd_insight.features import load
from rgbd_insight.models import FUSIONS, build
from rgbd_insight.models.fusion import find
from rgbd_insight.report import check_suffix
from rgbd_insight.training import PROFILES, Cache, Recipe, train
from rgbd_insight.utils.messages import say, unforeseen
from rgbd_insight.validation.validate import bars, validate

NETWORK = "folder of a run, one of its .safetensors, or MODULE:FACTORY for a network of your own code, which is run"
DATA = 'what to use: "scenes", or "folder:PATH" or "folder:PATH:SPLIT" for a folder of images'


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns 0, 1 for an error in the data, 2 for one in the command, 130 when interrupted.

    Parameters
    ----------
    argv : the words after the program's name; None takes them from the shell.

    Examples
    --------
    >>> main(["audit", "features/nothing_here_yet"])
    1
    """
    try:
        options = _parser().parse_args(argv)
        options.command(options)
    except _UsageError as error:
        return say(error, 2)
    except data_commands.Found:
        return 1
    except KeyboardInterrupt as stop:
        return say(str(stop) or "stopped; the same command goes on", 130)
    except (ValueError, OSError, RuntimeError, FloatingPointError, SafetensorError) as error:
        return say(error, 1)
    except Exception as error:
        return unforeseen(error)
    return 0


CLAIMED = (("book/features/scenes", "book/features/scenes-twins"), ("book/features/nyuv2",))  # the ledger's order


def _claimed() -> list[str]:
    """The book's features, with the further twins where a GPU made them."""
    return ["+".join([first, *filter(os.path.isdir, more)]) for first, *more in CLAIMED]


class _UsageError(ValueError):
    """The command cannot be read."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage in front of it."""
        raise _UsageError(f"{message}; `{self.prog} --help` lists the options")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="rgbd-insight", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="data|taps|train|extract|audit|claims|validate")

    def add(name: str, command, text: str) -> argparse.ArgumentParser:
        shown = argparse.ArgumentDefaultsHelpFormatter  # every option's help ends in its default
        sub = commands.add_parser(name, help=text, description=text, formatter_class=shown)
        sub.set_defaults(command=command)
        return sub

    sub = add("data", None, "look a folder of images over, or make one from what NYUv2 or SUN RGB-D distribute")
    data_commands.add(sub.add_subparsers(required=True, metavar="check|nyuv2|sunrgbd"))
    sub = add(
        "taps", tap_command.show, "list where a network could be tapped, by level, and which input moves each place"
    )
    sub.add_argument("model", help=NETWORK)
    sub.add_argument("--data", default="scenes", help=f"{DATA} (split: test)")
    sub.add_argument("--all", action="store_true", help="also list what is inside blocks")
    add_options(sub, taps=False)
    _shared(sub)
    sub = add("train", _train, "train networks; a killed run goes on where it stopped")
    sub.add_argument("--data", default="scenes", help=f"{DATA} (split: train)")
    sub.add_argument("--fusion", default="sum", help=f'one, several with commas, or "all": {", ".join(FUSIONS)}')
    sub.add_argument("--profile", default="tiny", choices=PROFILES, help="how large and how long: seconds to hours")
    sub.add_argument("--seed", type=int, default=0, help="of weights, order and dropout")
    sub.add_argument("--out", help="folder of the run, for several fusions of the runs; none: runs/FUSION-sSEED")
    sub.add_argument("--width", type=int, help="channels of the first level; none: the profile's")
    sub.add_argument("--epochs", type=int, help="none: the profile's")
    sub.add_argument("--n", type=int, help="number of scenes; none: the profile's")
    sub.add_argument("--restart", action="store_true", help="start again where --out holds a run (resume=False)")
    _shared(sub)
    sub = add("extract", _extract, "record what every unit of a trained network answers to every image")
    sub.add_argument("--model", default="runs/sum-s0", help=NETWORK)
    sub.add_argument("--epoch", default="last", help='"last", or the number of a kept epoch')
    sub.add_argument("--data", default="scenes", help=f"{DATA} (split: test)")
    sub.add_argument("--n", type=int, help="number of scenes; none: 200")
    sub.add_argument("--draws", type=int, default=4, help="partners for each image where one input is another scene's")
    sub.add_argument("--out", type=Path, default="features/mine", help="features directory; runs are added to it")
    add_options(sub)
    _shared(sub)
    sub = add("audit", audits.run, "print what the features say of the four questions, or compare two audits")
    sub.add_argument(
        "features",
        nargs="*",
        default=["features/mine"],
        help="a directory that `extract` wrote, or a report saved as .json; two of them are compared",
    )
    sub.add_argument(
        "--join",
        nargs="+",
        default=[],
        metavar="FEATURES",
        help="directories with more runs on the same samples: seeds, twins",
    )
    sub.add_argument("--run", help="run id or fusion; none: the first that sees both modalities")
    sub.add_argument("--permutations", type=int, default=200, help="for the nulls, at least 20")
    sub.add_argument("--html", type=_report, metavar="PATH", help="also write a page with tables and figures")
    sub.add_argument("--json", type=_report, metavar="PATH", help="also write tables and card")
    sub = add("claims", _claims, "test the claims of the abstract: effect, interval and verdict of each")
    sub.add_argument(
        "features",
        nargs="*",
        default=_claimed(),
        help="directories, each of another kind of data; with + between those of one kind",
    )
    sub.add_argument("--results", default="book/results", help="folder of the zoo's and the intervention's tables")
    sub.add_argument("--fresh", help="directory with the fresh seeds of claim 7; none: among the features")
    sub.add_argument("--only", help="ids of claims, with commas; none: all")
    sub.add_argument("--csv", metavar="PATH", help="also write the ledger as a table")
    sub = add("validate", _validate, "score every measure on worlds whose answer is planted; a killed run goes on")
    sub.add_argument("--quick", action="store_true", help="a few small worlds, to see that it works")
    sub.add_argument("--out", type=Path, default="validation", help="folder for the tables")
    return parser


def _shared(sub: argparse.ArgumentParser) -> None:
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


def _report(word: str) -> Path:
    try:
        return check_suffix(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _train(options: argparse.Namespace) -> None:
    if options.fusion == "all" and options.profile == "full" and options.data == "scenes":
        return _whole_zoo(options)
    names = list(FUSIONS) if options.fusion == "all" else [name.strip() for name in options.fusion.split(",")]
    for name in names:
        find(name)  # all are checked before the first is trained
    profile, scenes = PROFILES[options.profile], options.data == "scenes"
    n = profile["data"]["n"] if scenes and options.n is None else options.n
    data = data_from(options.data, split="train", n=n, size=options.size)
    made = profile["model"] | ({} if scenes else {"depth_scale": depth_scale(data)})
    recipe = profile["train"] | {"flip": not scenes}  # in the scenes what a thing is depends on left and right
    if options.width is not None:
        made |= {"width": options.width}
    if options.epochs is not None:
        recipe |= {"epochs": options.epochs}
    Recipe(**recipe)
    models = [build(name, data.classes, seed=options.seed, **made) for name in names]
    cache = Cache(data, progress=True)
    for name, model in zip(names, models, strict=True):
        folder = f"{name}-s{options.seed}"
        out = Path("runs", folder) if options.out is None else Path(options.out, folder if len(names) > 1 else "")
        state = {"seed": options.seed, "device": options.device, "resume": not options.restart}
        last = train(model, cache, out=out, **state, **recipe).iloc[-1]
        print(
            f"{folder}: loss {last['loss']:.3f}, accuracy {last['accuracy']:.3f} after epoch {last['epoch']:g}; "
            f"weights in {out}. Next: rgbd-insight extract --model {out}"
        )


def _whole_zoo(options: argparse.Namespace) -> None:
    """Train and extract every operator and seed, several a GPU at once; what is finished is not done again."""
    changed = [name for name in ("width", "epochs", "n", "size", "device") if getattr(options, name) is not None]
    if changed or options.restart:
        raise ValueError(
            f"`--{changed[0] if changed else 'restart'}` does not go with `--fusion all --profile full`, "
            "which is one campaign for all. Leave it out, or name the fusions."
        )
    work = ["--work", options.out] if options.out else []
    campaign.main(["--profile", "full", "--seed", str(options.seed), *work])


def _extract(options: argparse.Namespace) -> None:
    found = attach(options)
    size = options.size if options.size is not None or options.data == "scenes" else found.size
    data = data_from(options.data, split="test", n=options.n, size=size)
    if found.classes is not None and found.classes != len(data.classes):
        raise ValueError(
            f"`--data` must have the classes that the network was trained on; {options.model} has {found.classes} and "
            f"{options.data} {len(data.classes)}. Name the data it was trained on."
        )
    rehearse(found, data)
    tape = extract(
        found.model,
        data,
        found.taps,
        options.out,
        adapt=found.adapt,
        run=found.run,
        draws=options.draws,
        device=options.device,
    )
    print(f"{len(tape)} images, {', '.join(tape.runs.index)} in {tape.path}. Next: rgbd-insight audit {tape.path}")


def _claims(options: argparse.Namespace) -> None:
    only = None if options.only is None else [name.strip() for name in options.only.split(",")]
    fresh = None if options.fresh is None else load(options.fresh)
    kinds = [load(*word.split("+")) for word in options.features]
    found = claims(*kinds, results=options.results, fresh=fresh, only=only)
    print(found.text())
    if options.csv:
        found.table.to_csv(options.csv, index=False)
        print(f"written: {options.csv}")


def _validate(options: argparse.Namespace) -> None:
    found = bars(validate(options.out, quick=options.quick)["validation"])
    asked = found[found["met"].notna()]
    if options.quick:
        print(f"every measure was scored on a few small worlds, tables in {options.out}; their numbers mean nothing")
        return
    print(f"{asked['met'].sum()} of {len(asked)} bars are met, tables in {options.out}. Short of theirs:")
    for row in asked[~asked["met"].astype(bool)].itertuples():
        print(f"  {row.score}, {row.about}: {row.value:.3g} (asked: {row.bar})")


if __name__ == "__main__":
    sys.exit(main())
