"""Many runs: train, extract, make the tables, and write the small copies that the book is built on.

``python -m rgbd_insight.experiments.campaign --profile small`` does all of it, on a GPU where there is one; each
finished step is kept under ``features/`` and not done again. ``--profile full`` is the whole zoo, the intervention and
the derived fusion, several runs a GPU at once; it may be stopped at any moment and continued with the same command, on
another machine too where ``features/`` is taken along (or what ``--ship`` makes of it, which is small and has no
weights).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch

from rgbd_insight.claims.inference import INTERVENTION
from rgbd_insight.claims.ledger import digest, specification
from rgbd_insight.experiments import intervention
from rgbd_insight.experiments.encodings import COMMAND, COMPARED, compare, write_locations
from rgbd_insight.experiments.jobs import Job, urgency, work_off, zoo_jobs
from rgbd_insight.experiments.plans import ISOLATED, Plan, plans
from rgbd_insight.experiments.shipping import ship
from rgbd_insight.experiments.steps import folder, name_of
from rgbd_insight.experiments.zoo import zoo_tables
from rgbd_insight.features import Features, load, write_quantised
from rgbd_insight.features.files import MANIFEST, SUMS
from rgbd_insight.questions.balance import balance
from rgbd_insight.training import PROFILES
from rgbd_insight.utils.messages import say, unforeseen
from rgbd_insight.validation import scenes as tables

LEAST_WEIGHED = 500  # images: of fewer, nothing can be accounted for
A_GPU = 16  # runs that share one: a small network alone leaves it idle most of the time


def run_all(chosen: Iterable[Plan], scale: str, work: Path, *, workers: int = 1) -> None:
    """Train and extract whatever of the plans is not finished; with "full" the ledger's interventions too.

    Parameters
    ----------
    chosen : from `plans`.
    scale : the profile.
    work : where weights and full features are kept.
    workers : runs at a time.
    """
    jobs = [job for plan in chosen for job in zoo_jobs(plan, scale, work)]
    if scale == "full":
        jobs += intervention_jobs(scale, work) + derived_jobs(scale, work)
    work_off(sorted(jobs, key=urgency), workers)


def intervention_jobs(scale: str, work: Path) -> list[Job]:
    """Every run of the ledger's claim 6b."""
    spec = specification()["6b"]
    return [
        Job(f"cell {cell.name} {seed}", partial(intervention.run_cell, scale, work, (cell, seed)))
        for cell in intervention.cells(spec)
        for seed in spec["seeds"]
    ]


def derived_jobs(scale: str, work: Path) -> list[Job]:
    """The fresh seeds of claim 7: they wait for the zoo, whose best is an opponent, and for the intervention."""
    needs = [job.name for job in intervention_jobs(scale, work)]
    zoo = plans(scale, None)[0]
    needs += [f"extract {zoo.name} {name_of(run)}" for run in zoo.runs]
    return [
        Job(f"derived {name_of(run)}", partial(intervention.run_derived, scale, work, run), frozenset(needs))
        for run in intervention.fresh_runs(specification()["7"])
    ]


def copies(chosen: Iterable[Plan], work: Path, book: Path) -> None:
    """Write the small copies of the plans' features that the book is built on."""
    for plan in chosen:
        if plan.deep != ():
            _replace(book / "features" / plan.name, load(*(folder(plan, work, run) for run in plan.main_runs)), plan)
        beside = book / "features" / f"{plan.name}-twins"
        if plan.deep and plan.twin_seeds:
            twins = [run for run in plan.runs if run[0] in ISOLATED and run not in plan.deep]
            _replace(beside, load(*(folder(plan, work, run) for run in twins)), None)
        elif plan.deep != ():  # what an earlier campaign left there is of another recipe, perhaps of other images
            shutil.rmtree(beside, ignore_errors=True)
    found = sorted((work / "extracted" / "derived").glob(f"*/{MANIFEST}"))
    if found:
        _replace(book / "features" / "derived", load(*(path.parent for path in found)), None)


def tabulate(chosen: Iterable[Plan], scale: str, work: Path, book: Path, *, workers: int = 1) -> None:
    """Write the tables that take too long for a chapter, from finished runs and the committed features.

    What is not finished has no table; one that was made before stays as it was.
    """
    results = book / "results"
    results.mkdir(parents=True, exist_ok=True)
    for plan in chosen:
        if plan.deep is not None and all((folder(plan, work, run) / MANIFEST).exists() for run in plan.runs):
            zoo_tables(plan, work, results, workers)
        if plan.deep != () and (book / "features" / plan.name / MANIFEST).exists():
            weigh(plan.name, book)
        if plan.name == "scenes" and (work / "extracted" / "labels").exists():
            tables.write_all(work, results, plan.seeds[:2])
        write_locations(plan, scale, work, results, f"locations_{plan.name}", f"make features PROFILE={scale}")
    if (work / "extracted" / "intervention").exists():
        spec = specification()["6b"]
        table = intervention.intervention_table(scale, work, spec, workers).assign(scale=scale, claims=digest())
        tables.write_table(table, results, "intervention", f"{INTERVENTION} --profile {scale}")


def weigh(data: str, book: Path) -> None:
    """Write (C, S) of every network of the committed features of one kind of data; too slow for a chapter."""
    home = book / "features" / data
    if len(load(home).groups) < LEAST_WEIGHED:
        return
    sums = hashlib.sha256((home / SUMS).read_bytes()).hexdigest()
    table = balance(load(home)).table.dropna(axis="columns", how="all").assign(features=sums)
    tables.write_table(table, book / "results", f"balance_{data}", f"{COMMAND} --balance")


def _replace(small: Path, features: Features, plan: Plan | None) -> None:
    """Write the small copy beside the old one, then put it in its place."""
    fresh = small.with_name(small.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    write_quantised(features, fresh, keep=_essentials if plan is None else plan.keeps)
    shutil.rmtree(small, ignore_errors=True)
    fresh.rename(small)


def _essentials(run: str, key: str) -> bool:
    """Of runs that are there for their number: what a stream answers to its own modality, and what is predicted."""
    *place, last = key.split("/")
    if last in ("hit", "target", "guess"):
        return last != "guess" and place[0] in ("both", "rgb", "depth")
    return place[0] == last


def _default_workers() -> int:
    return A_GPU * torch.cuda.device_count() if torch.cuda.is_available() else max(1, torch.get_num_threads())


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rgbd_insight.experiments.campaign", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="small")
    parser.add_argument("--nyuv2", type=_images, metavar="PATH", help="NYUv2 in the folder form; none: scenes only")
    parser.add_argument("--seed", type=int, default=0, help="first of the seeds, and that of the scenes")
    parser.add_argument("--work", type=Path, default=Path("features"), help="where weights and full features are kept")
    parser.add_argument("--book", type=Path, default=Path("book"), help="where the small copies go")
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--runs", action="store_true", help="only train and extract")
    more.add_argument("--copies", action="store_true", help="only the small copies of finished runs")
    more.add_argument("--tables", action="store_true", help="only the tables of finished runs")
    more.add_argument("--ship", type=Path, metavar="OUT", help="only copy what the tables need of finished runs")
    more.add_argument("--intervention", action="store_true", help="only the runs of the ledger's claim 6b, on scenes")
    more.add_argument("--derived", action="store_true", help="only what claim 7 needs: the zoo on scenes, 6b, 7")
    more.add_argument("--encodings", action="store_true", help="only twins and one fusion, depth given in several ways")
    more.add_argument("--overlaps", action="store_true", help="only two seeds of every operator, for their IoU")
    more.add_argument("--balance", action="store_true", help="only (C, S) of the committed features")
    parser.add_argument("--workers", type=int, help=f"runs at a time; default one a core, or {A_GPU} a GPU")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Make everything that the book is built on."""
    options = _options().parse_args(argv)
    workers = options.workers or _default_workers()
    scale, work, book = options.profile, options.work, options.book
    if options.balance:
        for data in ("scenes", "nyuv2"):
            weigh(data, book)
        return
    if options.ship:
        print(json.dumps({"shipped": len(ship(work, options.ship))}))
        return
    for what, (of, _) in COMPARED.items():
        if getattr(options, what):
            compare(of(scale, options.nyuv2, options.seed), what, scale, work, book, workers=workers)
            return
    chosen = plans(scale, options.nyuv2, options.seed)
    if options.intervention or options.derived:
        zoo = zoo_jobs(chosen[0], scale, work) if options.derived else []
        jobs = [job for job in zoo if job.name.startswith(("samples", "extract"))] + intervention_jobs(scale, work)
        work_off(jobs + (derived_jobs(scale, work) if options.derived else []), workers)
        chosen = []
    elif not (options.copies or options.tables):
        run_all(chosen, scale, work, workers=workers)
    if not (options.runs or options.tables):
        copies(chosen, work, book)
    if not (options.runs or options.copies):
        tabulate(chosen, scale, work, book, workers=workers)
    print(json.dumps({"book": str(book), "plans": [plan.name for plan in chosen]}))


def guarded(argv: list[str] | None = None) -> int:
    """`main` as a command: 0, or 1 after one line that says what went wrong; what was finished before is kept."""
    try:
        return main(argv) or 0
    except KeyboardInterrupt:
        return say("stopped; the same command goes on", 130)
    except Exception as error:
        return unforeseen(error) if not isinstance(error, ValueError | OSError | RuntimeError) else say(error, 1)


def _images(word: str) -> str:
    if not (Path(word) / "splits.json").is_file():
        raise argparse.ArgumentTypeError(f"must be a folder of images with splits.json; got {word!r}")
    return word


if __name__ == "__main__":
    sys.exit(guarded())
