"""Many runs: train, extract, make the tables and small copies; what is finished is kept and not done again.

A campaign may be stopped at any moment and continued with the same command, on another machine too where the working
folder is taken along (or what `ship` makes of it, which is small and has no weights).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rgbd_insight.claims import digest as claims_digest
from rgbd_insight.claims import specification
from rgbd_insight.claims.inference import INTERVENTION
from rgbd_insight.experiments.encodings import COMMAND, write_locations
from rgbd_insight.experiments.intervention import derived_jobs, intervention_jobs, intervention_table
from rgbd_insight.experiments.plans import ISOLATED, Plan
from rgbd_insight.experiments.steps import JobName, do_all, finished, folder, zoo_jobs
from rgbd_insight.experiments.zoo import zoo_tables
from rgbd_insight.features import (
    MANIFEST,
    SUMS,
    AblationName,
    RunId,
    TensorKey,
    load,
    write_quantised,
    write_table,
)
from rgbd_insight.questions import balance
from rgbd_insight.utils.files import Lock, digest
from rgbd_insight.utils.jobs import ALONE, Pool
from rgbd_insight.utils.messages import checked_path
from rgbd_insight.validation import scenes

LEAST_WEIGHED = 500  # images: the variance of fewer cannot be partitioned
WEIGHED = ("scenes", "nyuv2")
ALL_UNITS = 1 << 30
_SMALL = {"cells": (), "profiles": ()}  # what lies at positions would be more than all else; tables say it


def everything(chosen: Sequence[Plan], scale: str, work: Path, book: Path, pool: Pool = ALONE) -> None:
    """Runs, small copies and tables: all that the book is built on. Parameters as those of `run_all` and `tabulate`."""
    work, book = checked_path("work", work), checked_path("book", book)
    run_all(chosen, scale, work, pool)
    copies(chosen, work, book)
    tabulate(chosen, scale, work, book, pool)


def run_all(chosen: Sequence[Plan], scale: str, work: Path, pool: Pool = ALONE) -> None:
    """Train and extract whatever of the plans is not finished; with "full" the ledger's interventions too.

    Parameters
    ----------
    chosen : sequence of Plan
        From `zoo_plans`.
    scale : str
        The profile.
    work : Path
        Where weights and full features are kept.
    pool : Pool
        Where jobs are done.

    Raises
    ------
    RuntimeError
        At the end, where jobs failed.
    InUse
        Where another campaign is at work below `work`.
    """
    work = checked_path("work", work)
    jobs = [job for plan in chosen for job in zoo_jobs(plan, scale, work)]
    if scale == "full":
        jobs += intervention_jobs(scale, work) + derived_jobs(scale, work)
    with Lock(work):
        do_all(jobs, pool)


def run_claims(zoo: Plan | None, scale: str, work: Path, book: Path, pool: Pool = ALONE) -> None:
    """Only what the ledger's claims 6b and 7 need: the interventions, and with a zoo the derived fusion beside it.

    Parameters
    ----------
    zoo : Plan, optional
        The networks on scenes whose best is an opponent in claim 7; None leaves claim 7 out.
    scale, work, pool : str, Path, Pool
        As of `run_all`.
    book : Path
        Where copies and table go.
    """
    jobs = intervention_jobs(scale, work)
    if zoo is not None:
        wanted = [job for job in zoo_jobs(zoo, scale, work) if job.name.step in ("samples", "extract")]
        jobs = [*wanted, *jobs, *derived_jobs(scale, work)]
    with Lock(work):
        do_all(jobs, pool)
    copies([], work, book)
    tabulate([], scale, work, book, pool)


def tabulate(chosen: Sequence[Plan], scale: str, work: Path, book: Path, pool: Pool = ALONE) -> None:
    """Write the tables that take too long for a chapter, from finished runs and the committed features.

    What is not finished has no table; one that was made before stays as it was. Parameters as those of `run_all`, and
    `book`, whose folder ``results`` the tables go into.
    """
    results = book / "results"
    results.mkdir(parents=True, exist_ok=True)
    for plan in chosen:
        if plan.deep is not None and all((folder(plan, work, run) / MANIFEST).exists() for run in plan.runs):
            zoo_tables(plan, work, results, pool)
        if plan.deep != () and (book / "features" / plan.name / MANIFEST).exists():
            weigh(plan.name, book)
        if plan.name == "scenes" and (work / "extracted" / "labels").exists():
            scenes.write_all(work, results, plan.seeds[:2])
        write_locations(plan, scale, work, results, f"locations_{plan.name}", f"make features PROFILE={scale}")
    if (work / "extracted" / "intervention").exists():
        table = intervention_table(scale, work, specification()["6b"], pool)
        table = table.assign(scale=scale, claims=claims_digest())
        write_table(table, results, "intervention", f"{INTERVENTION} --profile {scale}")


def weigh(data: str, book: Path) -> None:
    """Write (C, S) of every network of the committed features of one kind of data; too slow for a chapter.

    Parameters
    ----------
    data : str
        A folder's name below ``features``.
    book : Path
        The book's folder.
    """
    home = book / "features" / data
    features = load(home)
    if len(features.groups) < LEAST_WEIGHED:
        return
    table = balance(features).to_frame().assign(features=digest(home / SUMS))
    write_table(table, book / "results", f"balance_{data}", f"{COMMAND} balance")


def copies(chosen: Sequence[Plan], work: Path, book: Path) -> None:
    """Write the small copies of the plans' features that the book is built on.

    Parameters
    ----------
    chosen : sequence of Plan
        Their deep runs must be finished.
    work : Path
        Where the full features are.
    book : Path
        The copies go into its folder ``features``; an older one of the same name is replaced.
    """
    for plan in chosen:
        if plan.deep != ():
            full = load(*(folder(plan, work, run) for run in plan.main_runs))
            write_quantised(full, book / "features" / plan.name, keep=plan.keeps, replace=True, **_SMALL)
        beside = book / "features" / f"{plan.name}-twins"
        if plan.deep and plan.twin_seeds:
            twins = [run for run in plan.runs if run.network in ISOLATED and run not in plan.deep]
            full = load(*(folder(plan, work, run) for run in twins))
            write_quantised(full, beside, keep=_essential, replace=True, **_SMALL)
        elif plan.deep != ():  # what an earlier campaign left there is of another recipe, perhaps of other images
            shutil.rmtree(beside, ignore_errors=True)
    found = sorted((work / "extracted" / "derived").glob(f"*/{MANIFEST}"))
    if found:
        full = load(*(path.parent for path in found))
        write_quantised(full, book / "features" / "derived", keep=_essential, replace=True, **_SMALL)


def _essential(run: str, key: str) -> bool:
    """Of runs that are there for their number: what a stream answers to its own modality, and what is predicted."""
    tensor = TensorKey.parse(key)
    if tensor.part is not None:
        return tensor.part != "guess" and tensor.condition in ("both", *ISOLATED)
    return tensor.stream == tensor.condition


def ship(work: Path, out: Path) -> list[Path]:
    """Copy what the tables need of every finished run that `out` does not hold yet, one byte a response.

    The copies take the place of the full features: put `out`/extracted into `work` elsewhere, and go on there.

    Parameters
    ----------
    work : Path
        Where weights and full features are.
    out : Path
        Another folder.

    Returns
    -------
    list of Path
        The new folders.
    """
    new = []
    for home in _finished(work):
        copy = out / home.relative_to(work)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_quantised(load(home, verify=False), copy, units=ALL_UNITS, keep=_keeps(home.parent.name))
            new.append(copy)
    for path in (*(work / "extracted").glob("*/finished/*"), *(work / "extracted").glob("*/*.parquet")):
        copy = out / path.relative_to(work)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return new


def _finished(work: Path) -> Iterator[Path]:
    """Features of finished runs: of a plan's when its mark is there, as its checkpoints come after its last epoch."""
    for manifest in sorted((work / "extracted").glob(f"*/*/{MANIFEST}")):
        home = manifest.parent
        done = finished(work, home.parent.name)
        if not done or JobName("extract", home.parent.name, home.name) in done:
            yield home


def _keeps(data: str) -> Callable[[str, str], bool]:
    """What is kept of a run on one kind of data: a stream's own responses, and what was predicted of whole networks."""

    def keeps(run: str, key: str) -> bool:
        of, tensor = RunId.parse(run), TensorKey.parse(key)
        if tensor.part is not None:
            whole = tensor.part != "guess" or tensor.condition in ("both", *ISOLATED)
            return data not in ("labels", "pairs") and AblationName.parse(tensor.condition) is None and whole
        if data == "derived":
            return False
        exchanged = tensor.condition == "both" and of.seed == 0 and data != "intervention"
        fused = tensor.stream == "fused"
        return tensor.stream == tensor.condition or (fused and of.network == "early") or (exchanged and not fused)

    return keeps
