"""Shares of the variance partitioning: of a level, and of a network between consistency and specificity (C, S)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.partitioning import (
    SAME,
    SHARES,
    PartitioningStatistic,
    level_shares,
    partitionings,
    unit_shares,
)
from rgbd_insight.metrics.prediction import predictivity
from rgbd_insight.questions.networks import TWINS, Networks, made, missing_seeds, neighbours_of, networks, remembered
from rgbd_insight.result import Missing, Result, numbers
from rgbd_insight.stats import Estimate, Resampling

MEASURES = {"C": "named-consistent", "S": "named-specific"}


def balance(features: Features, runs: Iterable[str] | None = None) -> Result:
    """The consistent (C) and the specific (S) share of what the concepts name, over both streams and all levels.

    Parameters
    ----------
    features : Features
        From `load`; needs the source-isolated conditions.
    runs : iterable of str, optional
        Run ids, fusion names (all their seeds) or "twins"; default the twins and every final run of two inputs.

    Returns
    -------
    Result
        Question "balance": a row "C" and a row "S" for each seed of each network, in [0, 1] but for noise and
        suppression, with jackknife intervals; `run` is the run id. Networks of one seed are in `missing`.

    Raises
    ------
    FeaturesError
        Where a run is missing.

    Notes
    -----
    C = Σ named-consistent / Σ R²(same modality's other seeds), S likewise with named-specific; both sums go over the
    units of both streams at all levels. A seed is the one whose variance is divided, its other seeds the predictors.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> scenes = ri.load("book/features/scenes")
    >>> found = balance(scenes, scenes.find(fusion="sum", role="final")[:1])
    >>> bool(found.one("S").low > 0)  # there is something that one stream alone names
    True
    """
    plan, rows = neighbours_of(features).plan(), []
    missing: list[Missing] = []
    for nets in _asked(features, runs):
        missing += missing_seeds(nets)
        if nets.ceiling_kind != "other seed":
            continue
        cells = nets.cells() | {"run": "/".join(dict.fromkeys(nets.members[0].values()))}
        for name, found in shares(nets, plan=plan).items():
            rows.append(cells | {"measure": name, "ceiling": 1.0, "ceiling_kind": nets.ceiling_kind} | numbers(found))
    return Result.of("balance", rows, missing=dict.fromkeys(missing), made=made(features, plan))


def shares(nets: Networks, concepts: np.ndarray | None = None, plan: Resampling | None = None) -> dict[str, Estimate]:
    """C and S of the first network, by all concepts or by those that `concepts` bool (K,) names."""
    groups, plan = nets.groups, plan or nets.plan()
    r2 = (stats.estimate(one, groups, plan, null=False) for one in _partitionings(nets, concepts))
    found = stats.combine(_values, *r2)
    return {name: found[i] for i, name in enumerate(MEASURES)}


def position(nets: Networks, concepts: np.ndarray | None = None) -> dict[str, float]:
    """C and S of the first network as `shares` has them, without intervals and in a fraction of the time."""
    values = _values(*(one.whole for one in _partitionings(nets, concepts)))
    return dict(zip(MEASURES, values.tolist(), strict=True))


def _partitionings(nets: Networks, concepts: np.ndarray | None) -> list[PartitioningStatistic]:
    return [level_partitioning(nets, m, level, concepts) for m in nets.modalities for level in nets.levels]


def _values(*r2: np.ndarray) -> np.ndarray:
    """C and S (2,) from R² (U, 5) of both streams at every level."""
    total = sum(np.nansum(one[:, SAME]) for one in r2)
    parts = sum(np.nansum(unit_shares(one), axis=0) for one in r2)  # (4,)
    return parts[[SHARES.index(name) for name in MEASURES.values()]] / total


def _asked(features: Features, runs: Iterable[str] | None) -> list[Networks]:
    """The networks of every seed, each with itself as the first."""
    names = {m.name for m in features.modalities}
    if runs is None:
        final = [run for run in features.find(role="final") if names <= set(features.conditions(run))]
        twins = [TWINS] if all(features.find(fusion=m, role="final") for m in names) else []
        runs = [*twins, *final]
    found = []
    for name in runs:
        if name == TWINS:
            nets = networks(features, TWINS)
            found += [nets.seen_from(i) for i in range(len(nets.members))]
        elif name in features.runs.index:
            found.append(networks(features, name))
        else:
            found += [
                networks(features, run) for run in features.find(fusion=features.entry(name)["fusion"], role="final")
            ]
    return found


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
        return partitionings(first, nets.features.areas[:, kept], streams, nets.groups)

    runs = (run for member in nets.members for run in member.values())
    named = None if concepts is None else tuple(kept)
    both = remembered(nets.features, ("partitionings", nets.ceiling_kind, *runs, level, named), make)
    return both[nets.modalities.index(modality)]


def share_estimate(nets: Networks, modality: str, level: int, names: tuple[str, ...], plan: Resampling) -> Estimate:
    """The sum of some of the level's shares, without a null."""
    columns = [SHARES.index(name) for name in names]
    r2 = stats.estimate(level_partitioning(nets, modality, level), nets.groups, plan, null=False)
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
    r2 = predictivity(nets.features.areas[:, shared | surfaces], y / y.std(0), nets.groups).r2
    return float(r2 * y.shape[1] / ceiling)
