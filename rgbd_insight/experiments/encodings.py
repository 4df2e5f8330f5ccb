"""What becomes of consistency and specificity when depth is given in another way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight import stats
from rgbd_insight.experiments.plans import FUSED, GIVEN, ISOLATED, Plan, encoding_plans, overlap_plans
from rgbd_insight.experiments.steps import device_of, do_all, folder, locations_of, zoo_jobs
from rgbd_insight.experiments.zoo import overlap_table
from rgbd_insight.features import Features, RunId, load, write_table
from rgbd_insight.metrics.cka import cka_statistic
from rgbd_insight.metrics.partitioning import SAME, ConsistentShare, unit_shares
from rgbd_insight.questions.balance import level_partitioning
from rgbd_insight.questions.evolution import families
from rgbd_insight.questions.losses import accuracy_estimate, iou_estimate
from rgbd_insight.questions.networks import TWINS, WHOLE, Networks, networks
from rgbd_insight.questions.specificity import probe
from rgbd_insight.result import numbers
from rgbd_insight.stats import Estimate
from rgbd_insight.utils.files import Lock
from rgbd_insight.utils.jobs import ALONE, Pool
from rgbd_insight.utils.messages import checked_path, unknown

METRIC = "metric"  # what the others are compared with
SHARES = {"consistent share": (0, 2), "named-specific share": (1,)}  # places in the variance partitioning
LEAST = -1.0  # R² of a unit whose variance is divided
MEAN = "mean"  # in the column `seed`: of both networks, on the same scenes


@dataclass(frozen=True)
class _Asked:
    """One number of one encoding: for each network, and last for their mean."""

    cells: dict
    found: Estimate
    scale: dict


def encoding_table(plan: Plan, work: Path) -> pd.DataFrame:
    """Every number of every encoding, and how far it is from that of metric depth.

    Parameters
    ----------
    plan : Plan
        Of `encodings`, its runs finished.
    work : Path
        Where they are.

    Returns
    -------
    DataFrame
        A row a number: encoding, measure, modality, level (0: all of them together), family, seed ("0", "1" or "mean"),
        value, low, high, null, null_high, ceiling, n, groups, versus ("metric" where it is a difference from metric
        depth, whose interval holds for the three encodings and all families together; else None), and of the runs:
        device, epochs, train (images).
    """
    loaded = {name: load(*_homes(plan, work, name), verify=False) for name in (METRIC, *GIVEN)}
    answers = {name: _ask(networks(features, TWINS), colour=name == METRIC) for name, features in loaded.items()}
    rows = [row for name, answer in answers.items() for row in _rows(name, plan.seeds, answer)]
    rows += [row for name in GIVEN for row in _changes(name, plan.seeds, answers)]
    rows += [row for name, features in loaded.items() for row in _accuracies(name, features)]
    if FUSED in plan.fusions:
        rows += _fused(plan, work)
    return pd.DataFrame(rows).assign(
        device=device_of(loaded.values()), epochs=plan.recipe["epochs"], train=len(plan.data("train"))
    )


def _homes(plan: Plan, work: Path, encoding: str) -> list[Path]:
    runs = [run for seed in plan.seeds for run in (RunId("rgb", seed), _run("depth", seed, encoding))]
    return [folder(plan, work, run) for run in runs]


def _run(fusion: str, seed: int, encoding: str) -> RunId:
    return RunId(fusion, seed, encoding="" if encoding == METRIC else encoding)


def _ask(nets: Networks, *, colour: bool) -> dict[tuple, _Asked]:
    """All numbers of one encoding; what is decoded from colour is the same for all, and asked once."""
    every = [nets.seen_from(i) for i in range(len(nets.members))]
    asked = [_similar(nets, level) for level in nets.levels]
    asked += [one for level in nets.levels for one in _shares(every, "depth", level)]
    asked += [one for modality in ISOLATED if colour or modality == "depth" for one in _decoded(every, modality)]
    return {tuple(one.cells.values()): one for one in asked}


def _cells(measure: str, modality: str, level: int, family: str | None = None) -> dict:
    return {"measure": measure, "modality": modality, "level": level, "family": family}


def _similar(nets: Networks, level: int) -> _Asked:
    """CKA of colour and depth, between networks of different seeds, with its null and ceiling."""
    every = np.arange(len(nets.features))
    found = stats.estimate(_cka(nets.across(level)), nets.groups, nets.plan())
    own = [_cka(nets.within(m, level))(every, every) for m in ISOLATED]
    scale = {"null": float(found.null), "null_high": float(found.null_high), "ceiling": float(np.mean(own))}
    return _Asked(_cells("cka", "depth", level), found, scale)


def _cka(pairs: list[tuple[np.ndarray, np.ndarray]]) -> stats.Statistic:
    return stats.averaged([cka_statistic(*pair) for pair in pairs])


def _shares(every: list[Networks], modality: str, level: int) -> list[_Asked]:
    """Of a stream's reproducible variance: what the other modality says too, and what is named and its own."""
    groups, plan = every[0].groups, every[0].plan()
    partitionings = [level_partitioning(nets, modality, level) for nets in every]
    r2 = [_varying(stats.estimate(one, groups, plan, null=False)) for one in partitionings]
    null = stats.estimate(ConsistentShare(partitionings[0]), groups, plan)  # of a part: a partitioning a draw
    asked = []
    for name, places in SHARES.items():
        found = stats.combine(lambda *r2, at=list(places): _and_mean(*(_share(one, at) for one in r2)), *r2)
        scale = {"null": null.null, "null_high": null.null_high} if name == "consistent share" else {}
        asked.append(_Asked(_cells(name, modality, level), found, {"ceiling": 1.0} | scale))
    return asked


def _share(r2: np.ndarray, places: list[int]) -> float:
    return unit_shares(r2)[:, places].sum() / r2[:, SAME].sum()


def _varying(r2: Estimate) -> Estimate:
    """Of the units that vary outside any one block.

    A nearly silent unit that answers in one block alone has an R² far below 0 without it, and would outweigh others.
    """
    return r2[(r2.value[:, SAME] > LEAST) & (r2.leave_outs[..., SAME] > LEAST).all(0)]  # NaN is not kept


def _decoded(every: list[Networks], modality: str) -> list[_Asked]:
    """Mean δ of each family of concepts, all levels of a stream together."""
    deltas = [probe(nets, nets.view(0, modality, WHOLE)).delta for nets in every]
    asked = []
    for name, members in families(every[0].features).items():
        valued = members[np.isfinite([delta.low[members] for delta in deltas]).all(0)]
        if len(valued):
            found = stats.combine(lambda *d, k=valued: _and_mean(*(delta[k].mean() for delta in d)), *deltas)
            asked.append(_Asked(_cells("decoded", modality, WHOLE, name), found, {}))
    return asked


def _and_mean(*values: float) -> np.ndarray:
    """A component for each network, and last their mean."""
    return np.append(values, np.mean(values))


def _rows(encoding: str, seeds: tuple[int, ...], answer: dict[tuple, _Asked]) -> list[dict]:
    rows = []
    for one in answer.values():
        for i, seed in _seeds(one, seeds):
            scale = one.scale if seed == MEAN else {}
            rows.append(
                {"encoding": encoding, "versus": None} | one.cells | {"seed": seed} | numbers(one.found, i) | scale
            )
    return rows


def _changes(encoding: str, seeds: tuple[int, ...], answers: dict[str, dict[tuple, _Asked]]) -> list[dict]:
    """How far an encoding is from metric depth, on the same scenes; both networks' and their mean's."""
    rows, ours = [], answers[encoding]
    for key, one in ours.items():
        before = answers[METRIC][key]
        asked = sum(k[0] == key[0] == "decoded" and k[1] == key[1] for k in ours) or 1  # families
        found = stats.combine(np.subtract, one.found, before.found).simultaneous(asked * len(GIVEN))
        for i, seed in _seeds(one, seeds):
            rows.append({"encoding": encoding, "versus": METRIC} | one.cells | {"seed": seed} | numbers(found, i))
    return rows


def _seeds(one: _Asked, seeds: tuple[int, ...]) -> list[tuple]:
    """(index, name) of the components of an estimate; a similarity is of all networks at once."""
    if not np.ndim(one.found.value):
        return [((), MEAN)]
    return [(i, str(name)) for i, name in enumerate((*seeds, MEAN))]


def _accuracies(encoding: str, features: Features) -> list[dict]:
    """How well each network does: what it can say at all bounds what it can share."""
    rows = []
    for modality in ISOLATED if encoding == METRIC else ("depth",):
        for run in features.find(fusion=modality, role="final"):
            cells = {"encoding": encoding, "versus": None} | _cells("accuracy", modality, WHOLE)
            seed = {"seed": str(features.runs.seed[run])}
            rows.append(cells | seed | numbers(accuracy_estimate(features, run, modality)))
    return rows


def _fused(plan: Plan, work: Path) -> list[dict]:
    """How well the fusion does with each encoding, given both inputs or one; `modality` is then what it was given."""
    answers = {}
    for name in (METRIC, *GIVEN):
        features = load(*(folder(plan, work, _run(FUSED, seed, name)) for seed in plan.seeds), verify=False)
        runs = [only for seed in plan.seeds for only in features.find(seed=seed, role="final")]
        asked = {}
        for condition in ("both", *ISOLATED):
            for measure, ask in (("fused accuracy", accuracy_estimate), ("fused IoU", _mean_iou)):
                found = stats.combine(_and_mean, *(ask(features, one, condition) for one in runs))
                cells = _cells(measure, condition, WHOLE)
                asked[tuple(cells.values())] = _Asked(cells, found, {})
        answers[name] = asked
    rows = [row for name, answer in answers.items() for row in _rows(name, plan.seeds, answer)]
    return rows + [row for name in GIVEN for row in _changes(name, plan.seeds, answers)]


def _mean_iou(features: Features, run: str, condition: str) -> Estimate:
    return iou_estimate(features, run, condition)[0]


COMMAND = "rgbd-insight campaign"
COMPARED = {
    "encodings": (encoding_plans, encoding_table),
    "overlaps": (overlap_plans, overlap_table),
}  # plans, table of a plan


def compare(chosen: Iterable[Plan], what: str, scale: str, work: Path, book: Path, pool: Pool = ALONE) -> None:
    """Train and extract what is not finished of the plans of `encodings` or `overlaps`, and write their tables.

    Parameters
    ----------
    chosen : iterable of Plan
        From `encoding_plans` or `overlap_plans`.
    what : str
        "encodings" or "overlaps".
    scale : str
        The profile.
    work, book : Path
        Where weights and full features are kept; where the tables go.
    pool : Pool, optional
        Where jobs are done.

    Raises
    ------
    ValueError
        For another `what`.
    """
    if what not in COMPARED:
        raise ValueError(unknown("what", what, COMPARED))
    work, book = checked_path("work", work), checked_path("book", book)
    for plan in chosen:
        with Lock(work):
            do_all(zoo_jobs(plan, scale, work), pool)
        command = f"{COMMAND} {what} --profile {scale}" + (" --nyuv2 PATH" if plan.source == "nyuv2" else "")
        table, results = COMPARED[what][1](plan, work).assign(scale=scale), book / "results"
        results.mkdir(parents=True, exist_ok=True)
        write_table(table, results, f"{what}_{plan.source}", command)
        write_locations(plan, scale, work, results, f"locations_{plan.source}", command)


def write_locations(plan: Plan, scale: str, work: Path, results: Path, name: str, command: str) -> None:
    """Write where in the image the units of a plan's finished runs respond."""
    found = [locations_of(folder(plan, work, run)) for run in plan.located]
    if found and all(path.exists() for path in found):
        device = device_of(load(folder(plan, work, run), verify=False) for run in plan.located)
        table = pd.concat([pd.read_parquet(path) for path in found], ignore_index=True)
        about = {"device": device, "train": len(plan.data("train")), "scale": scale}
        write_table(table.assign(**about), results, name, command)
