"""The variance partitioning of either modality at a level, and what its shares are."""

from __future__ import annotations

import numpy as np

from rgbd_insight import stats
from rgbd_insight.metrics.partitioning import SAME, SHARES, PartitioningStatistic, level_shares, partitionings
from rgbd_insight.metrics.prediction import predictivity
from rgbd_insight.questions.networks import Networks, remembered
from rgbd_insight.stats import Estimate, Resampling


def level_partitioning(
    nets: Networks, modality: str, level: int, concepts: np.ndarray | None = None
) -> PartitioningStatistic:
    """The partitioning of the first network's units, others being the predictors; fitted once, as several ask for it.

    `concepts` bool (K,) keeps some of the named concepts only.
    """
    kept = slice(None) if concepts is None else np.flatnonzero(concepts)
    rest = range(1, len(nets.members))

    def make() -> tuple[PartitioningStatistic, PartitioningStatistic]:
        first = [nets.view(0, m, level) for m in nets.modalities]
        streams = [[nets.view(j, m, level) for j in rest] for m in nets.modalities]
        return partitionings(first, nets.features.areas[:, kept], streams, nets.features.groups)

    runs = (run for member in nets.members for run in member.values())
    named = None if concepts is None else tuple(kept)
    both = remembered(nets.features, ("partitionings", nets.ceiling_kind, *runs, level, named), make)
    return both[nets.modalities.index(modality)]


def share_estimate(nets: Networks, modality: str, level: int, names: tuple[str, ...], plan: Resampling) -> Estimate:
    """The sum of some of the level's shares, without a null."""
    columns = [SHARES.index(name) for name in names]
    r2 = stats.estimate(level_partitioning(nets, modality, level), nets.features.groups, plan, null=False)
    return stats.combine(lambda r2: level_shares(r2)[columns].sum(), r2)


def planted_consistent(nets: Networks, modality: str, level: int) -> float:
    """The most that the named-consistent share can be, from where the concepts were planted, without the other network.

    The share of the units' reproducible variance that the areas of the concepts planted in *both* modalities predict,
    over ΣR² of the same modality's other seeds; the other network reaches it where it knows those concepts perfectly.
    NaN where nothing was planted.
    """
    concepts = nets.features.concepts
    shared = (concepts.kind == "both").to_numpy()
    ceiling = np.nansum(level_partitioning(nets, modality, level).whole[:, SAME])
    if not shared.any() or not ceiling > 0:
        return np.nan
    surfaces = ((concepts.family == "class") & (concepts.kind == "unknown")).to_numpy()
    y = nets.view(0, modality, level)
    y = y[:, y.std(0) > 0]
    r2 = predictivity(nets.features.areas[:, shared | surfaces], y / y.std(0), nets.features.groups).r2
    return float(r2 * y.shape[1] / ceiling)
