"""Networks that begin with ImageNet weights, beside small ones trained from nothing: one recipe, the same tables.

Stated before any run: on the official split of NYUv2 (39 classes) at 256x192 the colour twin is to reach a mean IoU of
.34 and the best fusion .38 (`TARGETS`), and of every fusion the table says whether it is above its better twin. Runs of
the profile "small" are a CPU's, at 160x120 and ten passes; they are compared with each other only.

What "full" takes, from counts and not yet from a GPU: forward, a pair in `se` is 2.3 GFLOP (small encoder: 3.8), and 39
million numbers are kept for the way back (12). Thirty passes over 795 pairs are then 0.17 PFLOP (0.27) and, at eight
accesses of two bytes, 15 TB (4.8) of memory traffic: 5 to 10 s (2 to 4) of an H100. Each plan is as much as 28 such
runs (twins are half a run): 3 to 7 minutes for both, before the host's share. `minutes` begins no run too late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight import stats
from rgbd_insight.claims import claims
from rgbd_insight.data import Folder
from rgbd_insight.experiments.plans import BLOCK, ISOLATED, NYUV2_DEPTH, Plan
from rgbd_insight.experiments.positions import real_table
from rgbd_insight.experiments.steps import device_of, do_all, folder, in_time, zoo_jobs
from rgbd_insight.experiments.zoo import both_modalities, every_seed, mean_overlap, zoo_tables
from rgbd_insight.features import MANIFEST, RunId, load, write_table
from rgbd_insight.models import FUSIONS
from rgbd_insight.result import numbers
from rgbd_insight.utils.files import Lock
from rgbd_insight.utils.jobs import ALONE, Pool
from rgbd_insight.utils.messages import checked_path

ENCODER = "efficientnet_lite0"
PRETRAINED, SCRATCH = "nyuv2-pretrained", "nyuv2-scratch"
SMALL = ("rgb", "depth", "se")
TARGETS = {"rgb": 0.34, "best fusion": 0.38}  # mean IoU at the full profile
COMMAND = "rgbd-insight campaign pretrained"
# what both begin with: colour and scale as ESANet's recipe varies them, pretrained encoders slower than the rest
RECIPE = {"lr": 1e-3, "encoder_lr": 0.2, "zoom": 1.5, "jitter": 0.3, "warmup": 0.1, "weight_decay": 0.02}
FROM_NOTHING = {"lr": 2e-3, "encoder_lr": 1.0}  # the small encoder has nothing to keep


@dataclass(frozen=True)
class Scale:
    """How large and how long a profile is: (H, W), passes, samples a step, seeds, further seeds of twins, cells.

    And runs whose checkpoints are extracted, partners of an image, images that go through a network at a time, and
    images of each split at all (None: all).
    """

    size: tuple[int, int]
    epochs: int
    batch_size: int
    seeds: int
    twin_seeds: int
    cells: int
    traced: tuple[str, ...] = ("sum", "se")
    partners: int = 2
    block: int = 64
    few: int | None = None


SCALES = {
    "tiny": Scale(
        (48, 64), 1, 12, 2, 2, 4, partners=1, few=24
    ),  # two steps a run: the whole campaign in minutes on a CPU
    "small": Scale((120, 160), 10, 8, 1, 1, 16, ("se",), 1),
    "full": Scale((192, 256), 30, 16, 2, 2, 16, block=BLOCK),
}


def pretrained_plans(profile: str, nyuv2: str | Path, seed: int = 0, weights: str | Path | None = None) -> list[Plan]:
    """The runs with pretrained encoders and those of small ones, on NYUv2.

    Parameters
    ----------
    profile : str
        "small" is `se` and two seeds of its twins, what a CPU trains in an hour or
        two; "tiny" and "full" are every operator.
    nyuv2 : str or Path
        The folder of images.
    seed : int, optional
        The first seed.
    weights : str or Path, optional
        A file of the ImageNet weights; None takes the installed package.

    Examples
    --------
    >>> [(plan.name, len(plan.runs), plan.recipe["epochs"]) for plan in pretrained_plans("full", "images")]
    [('nyuv2-pretrained', 32, 30), ('nyuv2-scratch', 32, 30)]
    """
    scale = SCALES[profile]
    seeds = tuple(range(seed, seed + scale.seeds))
    every = tuple(name for name, operator in FUSIONS.items() if not operator.widens)
    plan = Plan(
        PRETRAINED,
        "nyuv2",
        SMALL if profile == "small" else every,
        seeds,
        partial(_images, str(nyuv2), size=scale.size, few=scale.few),
        {"encoder": ENCODER, "weights": weights, "depth_scale": NYUV2_DEPTH},
        RECIPE | {"flip": True, "epochs": scale.epochs, "batch_size": scale.batch_size},
        scale.few or 654,
        twin_seeds=tuple(range(seeds[-1] + 1, seeds[-1] + 1 + scale.twin_seeds)),
        trajectories=tuple(RunId(name, seed) for name in scale.traced),
        removals=("mean",),
        deep=(),
        block=scale.block,
        partners=scale.partners,
        cells=scale.cells,
    )
    small = {"width": 32, "depth_scale": NYUV2_DEPTH}
    return [plan, replace(plan, name=SCRATCH, model=small, recipe=plan.recipe | FROM_NOTHING)]


class _Few(Folder):
    """Images of a folder at equal distances, so that they are of several scenes."""

    def __init__(self, path: str, split: str, size: tuple[int, int], few: int) -> None:
        super().__init__(path, split, size=size)
        kept = sorted({round(x) for x in np.linspace(0, len(self.ids) - 1, few)})
        self.ids, self.groups = (tuple(names[i] for i in kept) for names in (self.ids, self.groups))
        self._files = {name: self._files[name] for name in self.ids}


def _images(path: str, split: str, size: tuple[int, int], few: int | None) -> Folder:
    return Folder(path, split, size=size) if few is None else _Few(path, split, size, few)


def run_pretrained(chosen: Sequence[Plan], profile: str, work: Path, pool: Pool = ALONE, minutes: float = 0.0) -> int:
    """Train and extract what is not finished, the most wanted first: twins and `se` come before other operators.

    Parameters
    ----------
    chosen : sequence of Plan
        From `pretrained_plans`.
    profile : str
        Their profile.
    work : Path
        Where weights and full features are kept.
    pool : Pool, optional
        Where jobs are done.
    minutes : float, optional
        After which no further run is begun; 0 is no limit. Those that have begun are finished.

    Returns
    -------
    int
        How many runs are left.
    """
    work = checked_path("work", work)
    jobs = [job for plan in chosen for job in zoo_jobs(plan, profile, work)]
    wanted = {str(RunId(name, seed)) for name in SMALL for seed in (*chosen[0].seeds, *chosen[0].twin_seeds)}
    later = [replace(job, urgency=job.urgency + (job.name.run not in wanted and bool(job.name.run))) for job in jobs]
    with Lock(work):
        do_all(in_time(later, minutes) if minutes else later, pool)
    return len([run for plan in chosen for run in plan.runs if not _done(plan, work, run)])


def _done(plan: Plan, work: Path, run: RunId) -> bool:
    return (folder(plan, work, run) / MANIFEST).exists()


def pretrained_tables(chosen: Sequence[Plan], profile: str, work: Path, book: Path, pool: Pool = ALONE) -> list[str]:
    """Write the tables of finished runs: accuracies, what every question says of each operator, positions, the ledger.

    Parameters
    ----------
    chosen, profile, work, pool : sequence of Plan, str, Path, Pool
        As of `run_pretrained`.
    book : Path
        The book's folder.

    Returns
    -------
    list of str
        The names of the tables. A plan with unfinished runs has only its accuracies, of the runs that are there.
    """
    results = book / "results"
    results.mkdir(parents=True, exist_ok=True)
    command = f"{COMMAND} --profile {profile} --nyuv2 PATH"
    parts, names = [], ["pretrained"]
    for plan in chosen:
        there = [run for run in plan.runs if _done(plan, work, run)]
        if there:
            parts.append(accuracy_table(plan, work, there).assign(scale=profile))
        if len(there) < len(plan.runs):
            continue
        features = load(*(folder(plan, work, run) for run in there if run.network in ISOLATED), verify=False)
        about = _about(plan, [features]) | {"scale": profile}
        zoo_tables(plan, work, results, pool, command, about)
        everything = load(*(folder(plan, work, run) for run in there), verify=False)
        found = {"positions": real_table(features), "claims": claims(everything).table.assign(data=plan.name)}
        data = plan.name.replace("-", "_")
        for kind, table in found.items():
            write_table(table.assign(**about), results, f"{kind}_{data}", command)
        names += [f"{kind}_{data}" for kind in ("zoo", *found)]
    write_table(pd.concat(parts, ignore_index=True), results, "pretrained", command)
    return names


def accuracy_table(plan: Plan, work: Path, runs: Sequence[RunId]) -> pd.DataFrame:
    """Accuracy and intersection over union of finished runs, and how far each operator is above its better twin.

    Parameters
    ----------
    plan : Plan
        From `pretrained_plans`.
    work : Path
        Where its runs are.
    runs : sequence of RunId
        Those that are finished.

    Returns
    -------
    DataFrame
        A row a number: encoder, run, fusion, seed, epoch, condition, measure ("accuracy", the mean over classes of the
        share of pixels found; "IoU", the mean
        over classes that are labelled or predicted; "class IoU"), concept (the class), value, low, high, n, groups, and
        of the runs: device, epochs, train (images), height, width. Rows with `versus`, the better twin, hold the mean
        IoU of the operator's seeds minus that of this twin's, given both inputs; these intervals hold together.
    """
    homes = {name: [folder(plan, work, run) for run in runs if run.network == name] for name in plan.fusions}
    found = {name: load(*folders, verify=False) for name, folders in homes.items() if folders}
    parts = [every_seed(features, name) for name, features in found.items()]
    mean = {name: mean_overlap(found[name], name, name) for name in ISOLATED if name in found}
    fused = [name for name in both_modalities(plan) if name in found]
    if fused and mean:
        twin = max(mean, key=lambda name: float(mean[name].value))
        for name in fused:
            gap = stats.combine(np.subtract, mean_overlap(found[name], name), mean[twin]).simultaneous(len(fused))
            cells = {"run": name, "fusion": name, "condition": "both", "measure": "IoU", "versus": twin}
            parts.append(pd.DataFrame([cells | numbers(gap)]))
    return pd.concat(parts, ignore_index=True).assign(
        encoder=plan.model.get("encoder", "small"), **_about(plan, found.values())
    )


def _about(plan: Plan, features: Sequence) -> dict:
    data = plan.data("train")
    height, width = data.size
    epochs = plan.recipe["epochs"]
    return {"device": device_of(features), "epochs": epochs, "train": len(data), "height": height, "width": width}
