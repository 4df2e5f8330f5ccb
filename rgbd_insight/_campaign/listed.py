"""The jobs of a plan, and which of them come first. Use `campaign`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rgbd_insight import tables
from rgbd_insight._campaign.jobs import Job
from rgbd_insight._campaign.plans import Plan
from rgbd_insight._campaign.steps import (
    ablate_one,
    extract_one,
    label_one,
    name_of,
    once,
    prepare_samples,
    where_one,
)

LABEL_SCENES = {"tiny": 300, "small": 6000, "full": 12000}


def urgency(job: Job) -> int:
    """The most wanted first, should it be stopped; what only stands beside other runs comes last."""
    kinds = ("samples", "extract", "label", "cell", "ablate", "where", "derived")
    return len(kinds) if "-encodings" in job.name else kinds.index(job.name.split()[0])


def zoo_jobs(plan: Plan, scale: str, work: Path) -> list[Job]:
    """Every job of a plan; each waits for what it needs."""
    samples = Job(f"samples {plan.name}", partial(prepare_samples, plan, work))

    def job(kind: str, step, run: tuple[str, int], needs: Iterable[tuple[str, int]] = (), *more) -> Job:
        before = {f"extract {plan.name} {name_of(other)}" for other in needs} or {samples.name}
        return Job(f"{kind} {plan.name} {name_of(run)}", partial(once, step, plan, work, *more, run), frozenset(before))

    jobs = [samples, *(job("extract", extract_one, run) for run in plan.runs)]
    jobs += [job("where", where_one, run, [run]) for run in plan.located]
    jobs += [job("ablate", ablate_one, run, [(run[0], s) for s in plan.seeds]) for run in plan.silenced]
    if plan.name == "scenes":
        jobs += [job("label", label_one, run, [run], LABEL_SCENES[scale]) for run in _labelled(plan)]
    return jobs


def _labelled(plan: Plan) -> list[tuple[str, int]]:
    wanted = ("rgb", "depth", *tables.LABELLED)
    return [run for run in plan.runs if run[0] in wanted and run[1] in plan.seeds[:2]]
