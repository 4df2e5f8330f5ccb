"""The zoo's tables: what the questions say of every operator, for the runs whose responses are not committed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from rgbd_insight import tables
from rgbd_insight._campaign.jobs import Job, work_off
from rgbd_insight._campaign.plans import ISOLATED, Plan
from rgbd_insight._campaign.steps import folder
from rgbd_insight.features import Features, load
from rgbd_insight.models import FUSIONS
from rgbd_insight.questions.balance import balance
from rgbd_insight.questions.collaboration import collaboration
from rgbd_insight.questions.consistency import consistency
from rgbd_insight.questions.evolution import evolution
from rgbd_insight.questions.networks import TWINS
from rgbd_insight.questions.specificity import specificity

QUESTIONS = {
    "consistency": consistency, "specificity": specificity, "evolution": evolution, "collaboration": collaboration,
}  # fmt: skip
ASKED = {
    "consistency": ("cka", "cka normalised", "consistent share"),
    "specificity": ("decodability", "difference", "specific share"),
    "evolution": ("family", "centre of mass", "to final", "family in training"),
    "collaboration": ("accuracy", "utilisation", "utilisation by removal", "retention", "exchanged", "class accuracy",
                      "gradient cosine"),
    "balance": (),
}  # fmt: skip
ENCODINGS = ("consistency", "specificity", "collaboration", "balance")  # asked of runs with other encodings of depth
PERMUTATIONS = 200


def zoo_tables(plan: Plan, work: Path, results: Path, workers: int = 1) -> None:
    """Write what the questions say of every operator of a plan, one part for each question and network."""
    parts = work / "tables" / plan.name
    parts.mkdir(parents=True, exist_ok=True)
    jobs = []
    for run in (TWINS, *_joint(plan)) if plan.beside is None else _joint(plan):
        for question in ASKED if plan.beside is None else ENCODINGS:
            if run != TWINS or question != "collaboration":
                path = parts / f"{question}-{run}.parquet"
                jobs.append(Job(path.stem, partial(_write_part, plan, work, run, question, path)))
    work_off(jobs, workers)
    found = [pd.read_parquet(path) for path in sorted(parts.glob("*.parquet"))]
    found += [pd.read_parquet(path) for path in sorted((work / "extracted" / plan.name).glob("*.ablated.parquet"))]
    table = pd.concat(found, ignore_index=True)
    tables.write_table(table, results, f"zoo_{plan.name.replace('-', '_')}", "make features PROFILE=full")


def _joint(plan: Plan) -> list[str]:
    """Fusions of a plan that see both modalities."""
    return [f for f in plan.fusions if len(FUSIONS[f.partition("+")[0]].modalities) == 2]


def _write_part(plan: Plan, work: Path, run: str, question: str, path: Path) -> None:
    """One question asked of one network beside its twins; kept, so that an interrupted table goes on."""
    if path.exists():
        return
    fusions = (run,) if run != TWINS else ()
    seeds = [r for r in plan.runs if r[0] in fusions or (r[0] in ISOLATED and r[1] in plan.seeds)]
    beside = [(m, s) for m in ISOLATED for s in plan.seeds] if plan.beside else []
    homes = [folder(plan, work, r) for r in seeds]
    homes += [work / "extracted" / plan.beside / f"{m}-s{s}" for m, s in beside]
    table = asked(load(*homes, verify=False), run, question)
    partial_path = path.with_suffix(".partial")
    table.to_parquet(partial_path, index=False, compression="zstd")
    partial_path.rename(path)


def asked(features: Features, run: str, question: str) -> pd.DataFrame:
    """The rows that a question gives for a network, as they are kept in the zoo's tables."""
    if question == "balance":
        found = balance(features, [run])
    else:
        options = {"permutations": PERMUTATIONS} if question in ("consistency", "evolution") else {}
        found = QUESTIONS[question](features, run, measures=ASKED[question], **options)
    return found.table.dropna(axis="columns", how="all")
