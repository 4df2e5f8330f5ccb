"""`rgbd-insight campaign`: many runs, their tables, and the small copies that the book is built on.

`all` does everything that the other commands of it do one by one, on a GPU where there is one; each finished step is
kept below --work and not done again. `--profile full` is the whole zoo, the intervention and the derived fusion,
several runs a GPU at once; it may be stopped at any moment and continued with the same command, on another machine too
where the folder --work is taken along (or what `ship` makes of it, which is small and has no weights).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch

from rgbd_insight.cli.sources import SEED, command, count, new_folder, path
from rgbd_insight.experiments import (
    COMPARED,
    ENCODER,
    WEIGHED,
    Plan,
    arrive,
    compare,
    copies,
    everything,
    isolation_tables,
    pack,
    plane_plans,
    position_plane,
    position_plans,
    position_tables,
    prepare,
    pretrained_plans,
    pretrained_tables,
    run_all,
    run_claims,
    run_pretrained,
    ship,
    tabulate,
    three_modalities,
    unpack,
    weigh,
    write_plane,
    zoo_plans,
)
from rgbd_insight.training import PROFILES
from rgbd_insight.utils.jobs import Pool

A_GPU = 16  # runs that share one: a small network alone leaves it idle most of the time
WORK, BOOK = Path("features"), Path("book")


def add(commands: argparse._SubParsersAction) -> None:
    """The commands of `campaign`."""
    found = {
        "all": (_all, "runs, small copies and tables: all that the book is built on", _RUNS | {"book"}),
        "runs": (_runs, "only train and extract", _RUNS),
        "copies": (_copies, "only the small copies of finished runs", _PLANS | {"work", "book"}),
        "tables": (_tables, "only the tables of finished runs", _RUNS | {"book"}),
        "ship": (_ship, "only copy what the tables need of finished runs, to be carried elsewhere", {"out", "work"}),
        "intervention": (_claims, "only the runs of the ledger's claim 6b, on scenes", _CLAIMS),
        "derived": (_claims, "only what claim 7 needs: the zoo on scenes, 6b, 7", _CLAIMS),
        "encodings": (_compare, "only twins and one fusion, depth given in several ways", _RUNS | {"book"}),
        "overlaps": (_compare, "only two seeds of every operator, for their IoU", _RUNS | {"book"}),
        "balance": (_balance, "only (C, S) of the committed features", {"book"}),
        "plane": (_plane, "only both axes of the committed features", {"book"}),
        "positions": (
            _positions,
            "only positions: what they certify, and both axes there, on scenes and on NYUv2",
            _PLANS | {"work", "book"},
        ),
        "three": (_three, "only small networks of three modalities, on scenes", {"profile", "work", "book"}),
        "pretrained": (
            _pretrained,
            "only encoders with ImageNet weights beside small ones, on NYUv2. --profile small is a CPU's; a GPU's runs "
            "(--profile full: `prepare`, `away` there, --archives here) are still to come",
            _RUNS | {"book", "weights", "minutes", "archives"},
        ),
        "prepare": (
            _prepare,
            "only what `away` needs on a machine with a GPU: images, weights, marks of finished runs, within 64 MiB",
            {"out", "work", "packer"},
        ),
        "away": (
            _away,
            "on a machine with a GPU: the runs of `pretrained`, from what `prepare` made, and archives of the finished",
            _POOL | {"out", "profile", "seed", "work", "carried", "minutes"},
        ),
        "isolation": (_isolation, "only how much of the views is their guests', on one core", {"work", "book"}),
    }
    sub = command(commands, "campaign", None, "many runs, their tables, and the small copies that the book is built on")
    sub.description = __doc__.partition("\n\n")[2]
    parts = sub.add_subparsers(required=True, metavar="|".join(found), dest="part")
    for name, (run, text, asked) in found.items():
        _options(command(parts, name, run, text), asked)


_PLANS = {"profile", "nyuv2", "seed"}
_POOL = {"workers", "backend", "scheduler"}
_RUNS = _PLANS | _POOL | {"work"}
_CLAIMS = _POOL | {"profile", "work", "book"}


def _options(sub: argparse.ArgumentParser, asked: set[str]) -> None:
    """Add the options that a command has a use for."""
    every = {
        "out": {"type": new_folder, "metavar": "OUT", "help": "the folder that the copies go into"},
        "profile": {"choices": PROFILES, "default": "small", "help": "how large and how long"},
        "nyuv2": {"type": _images, "metavar": "PATH", "help": "NYUv2 in the folder form; none: scenes only"},
        "seed": {"type": SEED, "default": 0, "help": "first of the seeds, and that of the scenes"},
        "work": {"type": new_folder, "default": WORK, "help": "where weights and full features are kept"},
        "book": {"type": _book, "default": BOOK, "help": "where the small copies and the tables go"},
        "weights": {"type": path, "metavar": "FILE", "help": "ImageNet weights from `prepare`; none: the package's"},
        "minutes": {"type": float, "default": 0.0, "help": "after which no further run is begun; 0: no limit"},
        "archives": {"type": path, "metavar": "FOLDER", "help": "of what `away` has found, which is taken in first"},
        "packer": {"type": path, "required": True, "metavar": "SCRIPT", "help": "packs and unpacks the images"},
        "carried": {"type": path, "required": True, "metavar": "FOLDER", "help": "what `prepare` made"},
        "workers": {"type": count, "help": f"runs at a time; none: one a core, {A_GPU} a GPU, all of another backend"},
        "backend": {"default": "loky", "help": "of joblib: loky is this machine, dask a cluster, MODULE:NAME your own"},
        "scheduler": {"metavar": "ADDRESS", "help": "of dask's scheduler, such as tcp://host:8786"},
    }
    for name, options in every.items():
        if name in asked:
            sub.add_argument("out" if name == "out" else f"--{name}", **options)


def _book(word: str) -> Path:
    return Path(word) if os.path.isdir(word) else new_folder(word)  # `.`, where it is the book


def _images(word: str) -> str:
    if not (Path(word) / "splits.json").is_file():
        raise argparse.ArgumentTypeError(f"must be a folder of images with splits.json; got {word!r}")
    return word


def default_pool() -> Pool:
    """As many processes on this machine as keep it busy."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Pool(A_GPU * gpus or max(1, torch.get_num_threads()))


def _pool(options: argparse.Namespace) -> Pool:
    if options.workers is None and (options.backend, options.scheduler) == ("loky", None):
        return default_pool()
    return Pool(options.workers or -1, options.backend, options.scheduler)


def _plans(options: argparse.Namespace) -> list[Plan]:
    return zoo_plans(options.profile, options.nyuv2, options.seed)


def _all(options: argparse.Namespace) -> None:
    everything(_plans(options), options.profile, options.work, options.book, _pool(options))
    _say(options)


def _runs(options: argparse.Namespace) -> None:
    run_all(_plans(options), options.profile, options.work, _pool(options))
    print(f"the runs are finished, in {options.work}")


def _copies(options: argparse.Namespace) -> None:
    copies(_plans(options), options.work, options.book)
    _say(options)


def _tables(options: argparse.Namespace) -> None:
    tabulate(_plans(options), options.profile, options.work, options.book, _pool(options))
    _say(options)


def _ship(options: argparse.Namespace) -> None:
    print(json.dumps({"shipped": len(ship(options.work, options.out))}))


def _claims(options: argparse.Namespace) -> None:
    zoo = zoo_plans(options.profile, None)[0] if options.part == "derived" else None
    run_claims(zoo, options.profile, options.work, options.book, _pool(options))
    _say(options)


def _compare(options: argparse.Namespace) -> None:
    plans_of, _ = COMPARED[options.part]
    chosen = plans_of(options.profile, options.nyuv2, options.seed)
    compare(chosen, options.part, options.profile, options.work, options.book, _pool(options))
    _say(options)


def _balance(options: argparse.Namespace) -> None:
    for data in WEIGHED:
        weigh(data, options.book)
    _say(options)


def _plane(options: argparse.Namespace) -> None:
    write_plane(options.book)
    _say(options)


def _positions(options: argparse.Namespace) -> None:
    chosen = position_plans(options.profile, options.nyuv2, options.seed)
    position_tables(chosen, options.profile, options.work, options.book)
    chosen = plane_plans(options.profile, options.nyuv2, options.seed)
    position_plane(chosen, options.profile, options.work, options.book)
    _say(options)


def _pretrained(options: argparse.Namespace) -> None:
    if options.nyuv2 is None:
        raise ValueError("`--nyuv2` must be given: these networks are trained on its images")
    if options.archives is not None:
        print(json.dumps({"taken in": unpack(sorted(options.archives.glob("*.tar.gz")), options.work)}))
    chosen = pretrained_plans(options.profile, options.nyuv2, options.seed, options.weights)
    left = run_pretrained(chosen, options.profile, options.work, _pool(options), options.minutes)
    names = pretrained_tables(chosen, options.profile, options.work, options.book, _pool(options))
    print(json.dumps({"runs left": left, "tables": names}))


def _prepare(options: argparse.Namespace) -> None:
    sizes = prepare(options.packer, options.work, options.out, ENCODER)
    print(json.dumps({f"MiB {name}": round(size / 2**20, 1) for name, size in sizes.items()}))


def _away(options: argparse.Namespace) -> None:
    images, weights = arrive(options.carried, options.work, ENCODER)
    chosen = pretrained_plans(options.profile, images, options.seed, weights)
    left = run_pretrained(chosen, options.profile, options.work, _pool(options), options.minutes)
    made = pack(chosen, options.work, options.out, _pool(options))
    print(json.dumps({"runs left": left, "MiB": {p.name: round(p.stat().st_size / 2**20, 1) for p in made}}))


def _isolation(options: argparse.Namespace) -> None:
    isolation_tables(options.work, options.book)
    _say(options)


def _three(options: argparse.Namespace) -> None:
    three_modalities(options.profile, options.work, options.book)
    _say(options)


def _say(options: argparse.Namespace) -> None:
    print(f"written: {options.book}")
