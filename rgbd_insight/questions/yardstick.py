"""Marks beside the named-consistent share: what was planted for both modalities, and what the other network knows."""

from __future__ import annotations

import numpy as np

from rgbd_insight import stats
from rgbd_insight.metrics.attenuation import corrected_ceilings, corrected_unit_shares
from rgbd_insight.metrics.known import KnownStatistic, known_r2
from rgbd_insight.metrics.partitioning import SHARES
from rgbd_insight.metrics.sides import CONCEPTS
from rgbd_insight.questions.balance import corrected_estimate
from rgbd_insight.questions.networks import WHOLE, Networks, remembered
from rgbd_insight.stats import Estimate, Resampling

KNOWN, PLANTED, SURFACES = "known", "planted", "planted with surfaces"


def yardsticks(nets: Networks, modality: str, level: int, plan: Resampling) -> dict[str, Estimate]:
    """How large the named-consistent share of a level would be if something else were shared, on its scale.

    Parameters
    ----------
    nets : Networks
        Three seeds or more.
    modality, level : str, int
        Whose units are partitioned.
    plan : Resampling
        Of the intervals.

    Returns
    -------
    dict of str to Estimate
        "planted": the things that were planted in both modalities, alone. "planted with surfaces": these, floor, wall
        and ceiling, of which nobody said that both show them (both do). Neither where nothing was planted.
        "known": all that the other modality's network knows at any of its levels, and in its output where that was kept
        of every network: what is not shared at a level the other network may well know at a later one.

    Notes
    -----
    All three are `known_r2` of `KnownStatistic`: of the linear reading S·β of the concepts in the level's units, the
    variance of E[S | X]·β, over the corrected ceiling of the level. X are the areas of those things, without noise, or
    the responses of the other seeds' networks of the other modality, whose noise is corrected for. None of them needs
    the partitioning's division of what X predicts. A share can be larger: it counts what this level of the other
    network tells, while these read concepts linearly, one by one.
    """
    found = {name: one[_place(nets, modality, level)] for name, one in _known(nets, modality, plan).items()}
    level_of = corrected_estimate(nets, modality, level, plan)
    return {name: stats.combine(_over_the_ceiling, one, level_of) for name, one in found.items()}


def share_of_known(nets: Networks, modality: str, level: int, plan: Resampling) -> Estimate:
    """The named-consistent share, corrected, over the "known" one of `yardsticks`: 1 where all known is shared."""
    known = _known(nets, modality, plan)[KNOWN][_place(nets, modality, level)]
    return stats.combine(_of_the_known, corrected_estimate(nets, modality, level, plan), known)


def _over_the_ceiling(known: np.ndarray, covariances: np.ndarray) -> float:
    ceiling = np.nansum(corrected_ceilings(covariances))
    return known_r2(known) / ceiling if ceiling > 0 else np.nan  # nothing is reproduced that could be known


def _of_the_known(covariances: np.ndarray, known: np.ndarray) -> float:
    shared = corrected_unit_shares(covariances)[:, SHARES.index("named-consistent")]
    return np.nansum(shared) / known_r2(known)


def _place(nets: Networks, modality: str, level: int) -> tuple:
    """Where the units of a level are among those of all levels."""
    widths = [nets.view(0, modality, lv).shape[1] for lv in nets.levels]
    start = sum(widths[: nets.levels.index(level)])
    return slice(None), slice(start, start + widths[nets.levels.index(level)])


def _known(nets: Networks, modality: str, plan: Resampling) -> dict[str, Estimate]:
    """Covariances (2, U) of all levels' units with what is told of them; made once for all levels."""

    def make() -> dict[str, Estimate]:
        features, other = nets.features, next(m for m in nets.modalities if m != modality)
        y = np.hstack([nets.view(0, modality, level) for level in nets.levels])
        sources = {KNOWN: (_everything(nets, other), {})} | {
            name: ([features.areas[:, columns]], {"penalty": CONCEPTS}) for name, columns in _planted(nets).items()
        }
        statistics = {
            name: KnownStatistic(y, features.areas, streams, nets.groups, **options)
            for name, (streams, options) in sources.items()
        }
        return {name: stats.estimate(one, nets.groups, plan, null=False) for name, one in statistics.items()}

    runs = (run for member in nets.members for run in member.values())
    return remembered(nets.features, ("known", *runs, modality, plan.blocks), make)


def _planted(nets: Networks) -> dict[str, np.ndarray]:
    """Columns bool (K,) of the concepts that were planted in both modalities, and of these and the surfaces."""
    concepts = nets.features.concepts
    both = (concepts[[f"visible_{name}" for name in nets.modalities]] == 1).all(axis=1).to_numpy()
    surfaces = ((concepts["family"] == "class") & (concepts["kind"] == "unknown")).to_numpy()
    return {PLANTED: both, SURFACES: both | surfaces} if both.any() else {}


def _everything(nets: Networks, modality: str) -> list[np.ndarray]:
    """What every other seed's network of a modality holds: all its levels, and its output where all of them kept it."""
    found = [nets.view(j, modality, WHOLE) for j in range(1, len(nets.members))]
    outputs = [nets.features.predictions(member[modality], modality) for member in nets.members[1:]]
    if all("guess" in output for output in outputs):
        found = [np.hstack([x, _columns(output["guess"])]) for x, output in zip(found, outputs, strict=True)]
    return found


def _columns(counts: np.ndarray) -> np.ndarray:
    """Columns that vary, of mean 0 and variance 1."""
    counts = counts[:, counts.std(0) > 0].astype(float)
    return (counts - counts.mean(0)) / counts.std(0)
