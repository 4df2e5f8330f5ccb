"""Many runs: train, extract, make the tables, and write the small copies that the book is built on.

``python -m rgbd_insight.campaign --profile small`` does all of it, on a GPU where there is one; each finished step is
kept under ``features/`` and not done again. ``--profile full`` is the whole zoo: every operator, several runs a GPU at
once; it may be stopped at any moment and continued with the same command, on another machine too where ``features/``
is taken along (without the weights of finished runs, if they are too large).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch

from rgbd_insight import tables
from rgbd_insight._campaign.intervention import (
    best_opponent,
    cells,
    fresh_runs,
    intervention_table,
    run_cell,
    run_derived,
    weights_by_rule,
)
from rgbd_insight._campaign.plans import Plan, plans
from rgbd_insight._campaign.steps import ablate_one, extract_one, folder, label_one, once
from rgbd_insight._campaign.zoo import zoo_table
from rgbd_insight._ledger.inference import INTERVENTION, read
from rgbd_insight._tape.files import SUMS
from rgbd_insight.features import Features, load, write_quantised
from rgbd_insight.questions.balance import balance
from rgbd_insight.questions.claims import digest, specification
from rgbd_insight.trainer import PROFILES

__all__ = ["Plan", "main", "plans", "run_all"]

WEIGH = "python -m rgbd_insight.campaign"
LEAST_WEIGHED = 500  # images: of fewer, nothing can be accounted for
A_GPU = 4  # runs that share one: a small network alone leaves it idle most of the time


def run_all(chosen: Iterable[Plan], work: Path, book: Path, *, workers: int = 1, label_scenes: int = 12000) -> None:
    """Train, extract and write the committed features and tables of every plan.

    Parameters
    ----------
    chosen : from `plans`.
    work : where weights and full features are kept.
    book : where the small copies go.
    workers : runs at a time.
    label_scenes : scenes on which labels are judged.
    """
    for plan in chosen:
        _parallel(partial(once, extract_one, plan, work), plan.runs, workers)
        _parallel(partial(once, ablate_one, plan, work), list(plan.silenced), workers)
        features = load(*(folder(plan, work, run) for run in plan.runs))
        _replace(book / "features" / plan.name, features, plan)
        weigh(plan.name, book)
        if plan.deep is not None:
            tables.write_zoo(zoo_table(features), plan.name, book / "results")
        if plan.name == "scenes":
            labelled = [run for run in plan.runs if run[0] in ("rgb", "depth", *tables.LABELLED)]
            labelled = [run for run in labelled if run[1] in plan.seeds[:2]]
            _parallel(partial(once, label_one, plan, work, label_scenes), labelled, workers)
            tables.write_all(work, book / "results", plan.seeds[:2])


def weigh(data: str, book: Path) -> None:
    """Write (C, S) of every network of the committed features of one kind of data; too slow for a chapter."""
    folder = book / "features" / data
    if len(load(folder).groups) < LEAST_WEIGHED:
        return
    sums = hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()
    table = balance(load(folder)).table.dropna(axis="columns", how="all").assign(features=sums)
    tables.write_table(table, _made(book / "results"), f"balance_{data}", f"{WEIGH} --balance")


def intervene(scale: str, work: Path, book: Path, *, workers: int = 1) -> None:
    """Make every run of the intervention, and write their table into the book's results."""
    spec = specification()["6b"]
    items = [(cell, seed) for cell in cells(spec) for seed in spec["seeds"]]
    _parallel(partial(run_cell, scale, work), items, workers)
    table = intervention_table(scale, work, spec).assign(scale=scale, claims=digest())
    tables.write_table(table, _made(book / "results"), "intervention", f"{INTERVENTION} --profile {scale}")


def derive(scale: str, work: Path, book: Path, *, workers: int = 1) -> None:
    """Train the fresh seeds of `insight` and its opponents, and write what they predict into the book's features.

    Raises
    ------
    FeaturesError
        Where the zoo has not been made: its best operator is one of the opponents.
    """
    spec, results = specification()["7"], book / "results"
    opponents = [*spec["opponents"], best_opponent(tables.read_table(results, "zoo_scenes"), spec["opponents"])]
    weights = weights_by_rule(read(results, "intervention"))
    folders = _parallel(partial(run_derived, scale, work, weights), fresh_runs(spec, opponents), workers)
    small = book / "features" / "derived"
    shutil.rmtree(small, ignore_errors=True)
    write_quantised(load(*folders), small, keep=lambda run, key: key in ("both/hit", "both/target"))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _replace(small: Path, features: Features, plan: Plan) -> None:
    """Write the small copy beside the old one, then put it in its place."""
    fresh = small.with_name(small.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    write_quantised(features, fresh, keep=plan.keeps)
    shutil.rmtree(small, ignore_errors=True)
    fresh.rename(small)


def _parallel(step: Callable, runs: list, workers: int) -> list:
    """The step for every run; in processes that share the GPUs, or of one thread each where there is none."""
    if workers == 1:
        return [step(run) for run in runs]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(context.Value("i", 0),)) as pool:
        return list(pool.map(step, runs))


def _begin(started: multiprocessing.Value) -> None:
    """Give a new process its thread and, in turn, a GPU."""
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        with started.get_lock():
            torch.cuda.set_device(started.value % torch.cuda.device_count())
            started.value += 1


def _default_workers() -> int:
    return A_GPU * torch.cuda.device_count() if torch.cuda.is_available() else max(1, torch.get_num_threads())


def main(argv: list[str] | None = None) -> None:
    """Make everything that the book is built on."""
    parser = argparse.ArgumentParser(prog="python -m rgbd_insight.campaign", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="small")
    parser.add_argument("--nyuv2", metavar="PATH", help="a folder of NYUv2 in the folder form; none: scenes only")
    parser.add_argument("--seed", type=int, default=0, help="first of the seeds, and that of the scenes")
    parser.add_argument("--work", type=Path, default=Path("features"), help="where weights and full features are kept")
    parser.add_argument("--book", type=Path, default=Path("book"), help="where the small copies go")
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--intervention", action="store_true", help="only the runs of the ledger's claim 6b, on scenes")
    more.add_argument("--balance", action="store_true", help="only (C, S) of the committed features")
    more.add_argument("--derived", action="store_true", help="only the fresh seeds of the ledger's claim 7, on scenes")
    parser.add_argument("--workers", type=int, help=f"runs at a time; default one a core, or {A_GPU} a GPU")
    options = parser.parse_args(argv)
    workers = options.workers or _default_workers()
    if options.balance:
        for data in ("scenes", "nyuv2"):
            weigh(data, options.book)
        return
    if options.intervention or options.derived:
        step = intervene if options.intervention else derive
        step(options.profile, options.work, options.book, workers=workers)
        return
    chosen = plans(options.profile, options.nyuv2, options.seed)
    scenes = 300 if options.profile == "tiny" else 12000
    run_all(chosen, options.work, options.book, workers=workers, label_scenes=scenes)
    print(json.dumps({"book": str(options.book), "plans": [plan.name for plan in chosen]}))


if __name__ == "__main__":
    main()
