"""Many runs: train, extract, make the tables; each finished step is kept in the working folder and not done again.

A campaign may be stopped at any moment and continued with the same command, on another machine too where the working
folder is taken along (or what `ship` makes of it, which is small and has no weights).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rgbd_insight.claims import digest as claims_digest
from rgbd_insight.claims import specification
from rgbd_insight.claims.inference import INTERVENTION
from rgbd_insight.experiments.encodings import COMMAND, write_locations
from rgbd_insight.experiments.intervention import derived_jobs, intervention_jobs, intervention_table
from rgbd_insight.experiments.plans import Plan
from rgbd_insight.experiments.shipping import copies
from rgbd_insight.experiments.steps import do_all, folder, zoo_jobs
from rgbd_insight.experiments.zoo import zoo_tables
from rgbd_insight.features import MANIFEST, SUMS, load, write_table
from rgbd_insight.questions import balance
from rgbd_insight.utils.files import digest
from rgbd_insight.utils.jobs import ALONE, Pool
from rgbd_insight.validation import scenes

LEAST_WEIGHED = 500  # images: the variance of fewer cannot be partitioned
WEIGHED = ("scenes", "nyuv2")


def everything(chosen: Iterable[Plan], scale: str, work: Path, book: Path, pool: Pool = ALONE) -> None:
    """Runs, small copies and tables: all that the book is built on. Parameters as those of `run_all` and `tabulate`."""
    run_all(chosen, scale, work, pool)
    copies(chosen, work, book)
    tabulate(chosen, scale, work, book, pool)


def run_all(chosen: Iterable[Plan], scale: str, work: Path, pool: Pool = ALONE) -> None:
    """Train and extract whatever of the plans is not finished; with "full" the ledger's interventions too.

    Parameters
    ----------
    chosen : iterable of Plan
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
    """
    jobs = [job for plan in chosen for job in zoo_jobs(plan, scale, work)]
    if scale == "full":
        jobs += intervention_jobs(scale, work) + derived_jobs(scale, work)
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
    do_all(jobs, pool)
    copies([], work, book)
    tabulate([], scale, work, book, pool)


def tabulate(chosen: Iterable[Plan], scale: str, work: Path, book: Path, pool: Pool = ALONE) -> None:
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
    table = balance(features).table.dropna(axis="columns", how="all").assign(features=digest(home / SUMS))
    write_table(table, book / "results", f"balance_{data}", f"{COMMAND} balance")
