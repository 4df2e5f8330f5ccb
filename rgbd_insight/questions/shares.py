"""The variance partitioning of both modalities at one level, with its interval and null."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.partitioning import SHARES, Partitioning, explained, variance_partitioning
from rgbd_insight.metrics.prediction import predictivity
from rgbd_insight.questions.networks import Networks
from rgbd_insight.stats import Estimate
from rgbd_insight.utils.threads import in_threads, one_thread

NULLS = 20  # permutations of the other modality
_MADE: WeakKeyDictionary[Features, dict[tuple, Partitioning]] = WeakKeyDictionary()


def level_partitioning(
    nets: Networks, modality: str, level: int, concepts: np.ndarray | None = None, *, leave_out: bool = True
) -> Partitioning:
    """The partitioning of the first network's units, others being the predictors; made once, as several questions ask.

    `concepts` bool (K,) keeps some of the named concepts only. Without `leave_out` it has no interval, and takes a
    fraction of the time.
    """
    made = _MADE.setdefault(nets.features, {})
    kept = slice(None) if concepts is None else np.flatnonzero(concepts)
    runs = (run for member in nets.members for run in member.values())
    key = (nets.ceiling_kind, *runs, modality, level, None if concepts is None else tuple(kept), leave_out)
    if key not in made:
        other = next(m for m in nets.modalities if m != modality)
        rest = range(1, len(nets.members))
        made[key] = variance_partitioning(
            nets.view(0, modality, level),
            nets.features.areas[:, kept],
            [nets.view(j, other, level) for j in rest],
            [nets.view(j, modality, level) for j in rest],
            nets.features.groups,
            blocks=_blocks(nets) if leave_out else None,
        )
    return made[key]


def _blocks(nets: Networks) -> np.ndarray:
    groups = nets.features.groups
    return stats.blocks_of(groups, min(40, groups.max() + 1))


def share_estimate(nets: Networks, partitioning: Partitioning, names: tuple[str, ...]) -> Estimate:
    """The sum of some of the level's shares, with its jackknife interval."""
    columns = [SHARES.index(name) for name in names]
    value, leave_outs = partitioning.level[columns].sum(), partitioning.level_out[:, columns].sum(1)
    return stats.from_leave_outs(value, leave_outs, nets.features.groups, _blocks(nets))


def null_of_consistent(nets: Networks, modality: str, level: int, seed: int = 0) -> np.ndarray:
    """Consistent share (draws,), named and unnamed together, with the images of other scenes, by whole groups.

    Named and unnamed together are ΣR²(other)/ΣR²(same): the null needs one model a draw, not a whole partitioning.
    """
    other = next(m for m in nets.modalities if m != modality)
    groups, rng, rest = nets.features.groups, np.random.default_rng(seed), range(1, len(nets.members))
    rows = stats.cut_groups(groups, 5)
    y = nets.view(0, modality, level)[rows]
    same, streams = ([nets.view(j, m, level)[rows] for j in rest] for m in (modality, other))
    ceiling = np.nansum(explained(y, same, groups[rows]))
    if not ceiling > 0:
        return np.full(NULLS, np.nan)
    partners = [stats.permute_groups(groups[rows], rng) for _ in range(NULLS)]

    def draw(partner: np.ndarray) -> float:
        return np.nansum(explained(y, [x[partner] for x in streams], groups[rows]))

    return np.array(one_thread(in_threads)(draw, partners)) / ceiling


def planted_consistent(nets: Networks, modality: str, level: int, partitioning: Partitioning) -> float:
    """The most that the named-consistent share can be, from where the concepts were planted, without the other network.

    The share of the units' reproducible variance that the areas of the concepts planted in *both* modalities predict,
    over ΣR² of the same modality's other seeds; the other network reaches it where it knows those concepts perfectly.
    NaN where nothing was planted.
    """
    concepts = nets.features.concepts
    shared = (concepts.kind == "both").to_numpy()
    if not shared.any() or not np.nansum(partitioning.r2[:, 2]) > 0:
        return np.nan
    surfaces = ((concepts.family == "class") & (concepts.kind == "unknown")).to_numpy()
    y = nets.view(0, modality, level)
    y = y[:, y.std(0) > 0]
    r2 = predictivity(nets.features.areas[:, shared | surfaces], y / y.std(0), nets.features.groups).r2
    return float(r2 * y.shape[1] / np.nansum(partitioning.r2[:, 2]))
