"""The zoo's tables: what the questions say of every operator, for the runs whose responses are not committed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight import stats
from rgbd_insight.experiments.plans import ISOLATED, Plan
from rgbd_insight.experiments.steps import JobName, device_of, do_all, folder
from rgbd_insight.features import Features, RunId, load, write_table
from rgbd_insight.models import FUSIONS
from rgbd_insight.questions.balance import balance
from rgbd_insight.questions.collaboration import collaboration
from rgbd_insight.questions.consistency import consistency
from rgbd_insight.questions.evolution import evolution
from rgbd_insight.questions.joint import PLANE, joint
from rgbd_insight.questions.losses import accuracy_estimate, iou_estimate, overlap_rows
from rgbd_insight.questions.networks import TWINS
from rgbd_insight.questions.specificity import specificity
from rgbd_insight.result import numbers
from rgbd_insight.utils.files import write_parquet
from rgbd_insight.utils.jobs import ALONE, Job, Pool

QUESTIONS = {
    "consistency": consistency,
    "specificity": specificity,
    "evolution": evolution,
    "collaboration": collaboration,
    "joint": joint,
}
ASKED = {
    "consistency": ("cka", "cka normalised", "consistent share", "consistent share uncorrected"),
    "specificity": ("decodability", "difference", "specific share", "specific share uncorrected"),
    "evolution": ("family", "centre of mass", "to final", "family in training"),
    "collaboration": (
        "utilisation",
        "utilisation by removal",
        "retention",
        "exchanged",
        "class accuracy",
        "gradient cosine",
    ),
    "joint": PLANE,
    "balance": (),
    "seeds": ("accuracy", "IoU"),
}
ENCODINGS = ("consistency", "specificity", "collaboration", "balance", "seeds")  # of depth
PERMUTATIONS = 200
COMMAND = "make features PROFILE=full"
YARDSTICK = "se"  # what the other operators' IoU is compared with


def zoo_tables(
    plan: Plan, work: Path, results: Path, pool: Pool = ALONE, command: str = COMMAND, about: dict | None = None
) -> None:
    """Write what the questions say of every operator of a plan, one part for each question and network.

    `about` is said of every row, in columns of its own.
    """
    parts = work / "tables" / plan.name
    parts.mkdir(parents=True, exist_ok=True)
    jobs = []
    joint = both_modalities(plan)
    asked_of = {run: ENCODINGS if plan.beside else tuple(ASKED) for run in joint}
    if not plan.beside:
        asked_of |= {TWINS: tuple(q for q in ASKED if q not in ("collaboration", "seeds"))}
        asked_of |= {run: ("seeds",) for run in plan.fusions if run not in joint}
    for run, questions in asked_of.items():
        for question in questions:
            path = parts / f"{question}-{run}.parquet"
            do = partial(_write_part, plan, work, run, question, path)
            jobs.append(Job(JobName(question, plan.name, run), do))
    do_all(jobs, pool)
    found = [pd.read_parquet(path) for path in sorted(parts.glob("*.parquet"))]
    found += [pd.read_parquet(path) for path in sorted((work / "extracted" / plan.name).glob("*.ablated.parquet"))]
    table = pd.concat(found, ignore_index=True).assign(**about or {})
    write_table(table, results, f"zoo_{plan.name.replace('-', '_')}", command)


def overlap_table(plan: Plan, work: Path) -> pd.DataFrame:
    """Accuracy and intersection over union of every run of a plan of `overlaps`, under each condition.

    Returns
    -------
    A row a number: run, fusion, seed, epoch, condition, measure ("accuracy", "IoU": the means over classes; "class
    IoU"), concept (the class), value, low, high, n, groups, and of the runs: device, epochs, train (images). The last
    rows name `versus`: how far from its mean IoU that of each operator is, given both inputs, means of the seeds; these
    intervals, over the same images, hold together.
    """
    homes = {name: [folder(plan, work, RunId(name, seed)) for seed in plan.seeds] for name in plan.fusions}
    found = {name: load(*folders, verify=False) for name, folders in homes.items()}
    parts = [every_seed(features, name) for name, features in found.items()]
    mean = {name: mean_overlap(found[name], name) for name in both_modalities(plan)}
    others = [name for name in mean if name != YARDSTICK]
    for name in others:
        gap = stats.combine(np.subtract, mean[name], mean[YARDSTICK]).simultaneous(len(others))
        cells = {"run": name, "fusion": name, "condition": "both", "measure": "IoU", "versus": YARDSTICK}
        parts.append(pd.DataFrame([cells | numbers(gap)]))
    return pd.concat(parts, ignore_index=True).assign(
        device=device_of(found.values()), epochs=plan.recipe["epochs"], train=len(plan.data("train"))
    )


def mean_overlap(features: Features, run: str, condition: str = "both") -> stats.Estimate:
    """Mean IoU of a fusion under a condition, the mean of its seeds."""
    found = [iou_estimate(features, name, condition)[0] for name in features.find(fusion=run, role="final")]
    return stats.combine(lambda *values: sum(values) / len(values), *found)


def both_modalities(plan: Plan) -> list[str]:
    """Fusions of a plan that see both modalities."""
    return [f for f in plan.fusions if len(FUSIONS[RunId(f, 0).fusion].modalities) == 2]


def _write_part(plan: Plan, work: Path, run: str, question: str, path: Path) -> None:
    """One question asked of one network beside its twins; kept, so that an interrupted table goes on."""
    if path.exists():
        return
    fusions = (run,) if run != TWINS else ()
    twins = plan.seeds if len(plan.seeds) > 1 else (*plan.seeds, *plan.twin_seeds)  # a noise ceiling takes two
    seeds = [r for r in plan.runs if r.network in fusions or (r.network in ISOLATED and r.seed in twins)]
    beside = [RunId(m, s) for m in ISOLATED for s in plan.seeds] if plan.beside else []
    homes = [folder(plan, work, r) for r in seeds]
    homes += [work / "extracted" / plan.beside / str(r) for r in beside]
    table = asked(load(*homes, verify=False), run, question)
    write_parquet(path, table)


def asked(features: Features, run: str, question: str) -> pd.DataFrame:
    """The rows that a question gives for a network, as they are kept in the zoo's tables."""
    if question == "seeds":
        return every_seed(features, run)
    if question == "balance":
        found = balance(features, [run])
    else:
        options = {"permutations": PERMUTATIONS} if question in ("consistency", "evolution", "joint") else {}
        found = QUESTIONS[question](features, run, measures=ASKED[question], **options)
    return found.to_frame()


def every_seed(features: Features, run: str) -> pd.DataFrame:
    """How well every seed of a fusion does under each condition, and on each class; of twins too, of any size."""
    rows = []
    for name in features.find(fusion=run, role="final"):
        cells = {"run": name, "fusion": run, "seed": features.runs.seed[name], "epoch": features.runs.epoch[name]}
        for condition in features.conditions(name):
            asked = cells | {"condition": condition}
            rows.append(asked | {"measure": "accuracy"} | numbers(accuracy_estimate(features, name, condition)))
            rows += overlap_rows(features, name, condition, asked)
    return pd.DataFrame(rows)
