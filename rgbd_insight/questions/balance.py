"""Shares of the variance partitioning: of a level, and of a network between consistency and specificity (C, S).

They are corrected for the noise of the networks that predict, where there are two or more other seeds. What is not
corrected is called uncorrected, in every row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from rgbd_insight import stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.attenuation import (
    CorrectedStatistic,
    corrected_ceilings,
    corrected_level_shares,
    corrected_partitionings,
    corrected_unit_shares,
)
from rgbd_insight.metrics.partitioning import (
    SAME,
    SHARES,
    PartitioningStatistic,
    level_shares,
    partitionings,
    unit_shares,
)
from rgbd_insight.questions.asking import Answer, listed
from rgbd_insight.questions.networks import (
    TWINS,
    Networks,
    made,
    missing_seeds,
    neighbours_of,
    networks,
    pairwise,
    remembered,
)
from rgbd_insight.result import Missing, Result, numbers
from rgbd_insight.stats import Estimate, Resampling

T = TypeVar("T")  # a partitioning, corrected or not
MEASURES = {"C": "named-consistent", "S": "named-specific"}
UNCORRECTED = " uncorrected"  # behind the name of a measure
CORRECTED = ("consistent share", "specific share", *MEASURES)  # measures that are corrected under their bare names


@pairwise
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
        Question "balance": rows "C", "S", "C uncorrected" and "S uncorrected" for each seed of each network, in [0, 1]
        but for noise and suppression, with jackknife intervals; `run` is the run id. With one other seed there are the
        uncorrected ones only, with none there are none: `missing` says so.

    Raises
    ------
    FeaturesError
        Where a run is missing.

    Notes
    -----
    C = Σ named-consistent / Σ R²(same modality's other seeds), S likewise with named-specific; both sums go over the
    units of both streams at all levels. A seed is the one whose variance is divided, its other seeds the predictors.
    Compare networks with equally many other seeds, and corrected ones with corrected ones.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> scenes = ri.load("book/features/scenes")
    >>> found = balance(scenes, scenes.find(fusion="sum", role="final")[:1])
    >>> bool(found.one("S uncorrected").low > 0)  # there is something that one stream alone names
    True
    """
    plan, found, asked = neighbours_of(features).plan(), Answer(features), _asked(features, runs)
    for nets in asked:
        found.missing += [*missing_seeds(nets), *missing_correction(nets)]
        if nets.ceiling_kind != "other seed":
            continue
        name = "/".join(dict.fromkeys(nets.members[0].values()))
        cells = nets.cells() | {"run": name, "ceiling": 1.0, "ceiling_kind": nets.ceiling_kind}
        if correctable(nets):
            with found.asking(f"{listed([*MEASURES])} of {name}"):
                parts = corrected_shares(nets, plan).items()
                found.rows += [cells | {"measure": m} | numbers(part) for m, part in parts]
        with found.asking(f"{listed([m + UNCORRECTED for m in MEASURES])} of {name}"):
            parts = shares(nets, plan=plan).items()
            found.rows += [cells | {"measure": m + UNCORRECTED} | numbers(part) for m, part in parts]
    return found.result("balance", made(features, plan), *asked)


def shares(nets: Networks, concepts: np.ndarray | None = None, plan: Resampling | None = None) -> dict[str, Estimate]:
    """Uncorrected C and S of the first network, by all concepts or by those that `concepts` bool (K,) names."""
    groups, plan = nets.groups, plan or nets.plan()
    r2 = (stats.estimate(one, groups, plan, null=False) for one in _partitionings(nets, concepts))
    found = stats.combine(_values, *r2)
    return {name: found[i] for i, name in enumerate(MEASURES)}


def corrected_shares(nets: Networks, plan: Resampling | None = None) -> dict[str, Estimate]:
    """C and S of the first network, corrected, by all concepts."""
    plan = plan or nets.plan()
    every = [corrected_estimate(nets, m, level, plan) for m in nets.modalities for level in nets.levels]
    found = stats.combine(_corrected_values, *every)
    return {name: found[i] for i, name in enumerate(MEASURES)}


def position(nets: Networks, concepts: np.ndarray | None = None) -> dict[str, float]:
    """C and S of the first network as `shares` has them, without intervals and in a fraction of the time."""
    values = _values(*(one.whole for one in _partitionings(nets, concepts)))
    return dict(zip(MEASURES, values.tolist(), strict=True))


def _partitionings(nets: Networks, concepts: np.ndarray | None) -> list[PartitioningStatistic]:
    return [level_partitioning(nets, m, level, concepts) for m in nets.modalities for level in nets.levels]


def _values(*r2: np.ndarray) -> np.ndarray:
    """C and S (2,) from R² (U, 5) of both streams at every level."""
    return _named(sum(np.nansum(unit_shares(one), axis=0) for one in r2), sum(np.nansum(one[:, SAME]) for one in r2))


def _corrected_values(*covariances: np.ndarray) -> np.ndarray:
    """C and S (2,) from covariances (2, 2, 2, U) of both streams at every level."""
    parts = sum(np.nansum(corrected_unit_shares(one), axis=0) for one in covariances)
    return _named(parts, sum(np.nansum(corrected_ceilings(one)) for one in covariances))


def _named(parts: np.ndarray, ceiling: float) -> np.ndarray:
    return parts[[SHARES.index(name) for name in MEASURES.values()]] / ceiling


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
    return _fitted(nets, modality, level, partitionings, concepts)


def _fitted(
    nets: Networks, modality: str, level: int, fit: Callable[..., tuple[T, T]], concepts: np.ndarray | None
) -> T:
    """What `fit` makes of both modalities' units of the first network by all others, once: the one of a modality."""
    kept = slice(None) if concepts is None else np.flatnonzero(concepts)
    rest = range(1, len(nets.members))

    def make() -> tuple[T, T]:
        first = [nets.view(0, m, level) for m in nets.modalities]
        streams = [[nets.view(j, m, level) for j in rest] for m in nets.modalities]
        return fit(first, nets.features.areas[:, kept], streams, nets.groups)

    runs = (run for member in nets.members for run in member.values())
    named = None if concepts is None else tuple(kept)
    both = remembered(nets.features, (fit, nets.ceiling_kind, *runs, level, named), make)
    return both[nets.modalities.index(modality)]


def as_made(table: pd.DataFrame) -> pd.DataFrame:
    """A table of shares, those from before there was a correction by the name that they have now.

    Parameters
    ----------
    table : DataFrame
        With a column `measure`, such as the zoo's. One that tells corrected from uncorrected is returned as it is.

    Examples
    --------
    >>> as_made(pd.DataFrame({"measure": ["cka", "C"]})).measure.tolist()
    ['cka', 'C uncorrected']
    """
    if table["measure"].str.endswith(UNCORRECTED).any():
        return table
    return table.assign(measure=[m + UNCORRECTED if m in CORRECTED else m for m in table["measure"]])


def correctable(nets: Networks) -> bool:
    """Whether there are two or more other seeds, whose noise can be told from what they have in common."""
    return nets.ceiling_kind == "other seed" and len(nets.members) > 2


def missing_correction(nets: Networks) -> list[Missing]:
    """What networks with fewer than two other seeds cannot say."""
    if correctable(nets):
        return []
    name, count = nets.name, len(nets.members) - 1 if nets.ceiling_kind == "other seed" else 0
    seeds = f"seed{'s' if count == 0 else ''} of {name}"
    return [
        Missing(
            f"corrected shares of {name}",
            f"the correction for the noise of the networks that predict needs two other seeds; there is "
            f"{'one' if count else 'none'}: shares are uncorrected, and their measures say so",
            f"train and extract {'one more' if count else 'two more'} {seeds}, then ri.load them together",
        )
    ]


def forms(nets: Networks, measure: str, measures: Sequence[str]) -> list[str]:
    """Which forms of a share that are asked for can be given: the uncorrected in place of one without correction."""
    asked = [name for name in (measure, measure + UNCORRECTED) if name in measures]
    if correctable(nets):
        return asked
    return [measure + UNCORRECTED] if asked else []


def corrected_level(nets: Networks, modality: str, level: int) -> CorrectedStatistic:
    """The corrected partitioning of the first network's units by all others; fitted once, as several ask for it."""
    return _fitted(nets, modality, level, corrected_partitionings, None)


def corrected_estimate(nets: Networks, modality: str, level: int, plan: Resampling) -> Estimate:
    """The covariances (2, 2, 2, U) of `corrected_level`, of which the corrected shares are functions."""
    return stats.estimate(corrected_level(nets, modality, level), nets.groups, plan, null=False)


def share_estimate(
    nets: Networks, modality: str, level: int, names: tuple[str, ...], plan: Resampling, *, corrected: bool
) -> Estimate:
    """The sum of some of the level's shares, without a null."""
    columns = [SHARES.index(name) for name in names]
    if corrected:
        found = corrected_estimate(nets, modality, level, plan)
        return stats.combine(lambda covariances: corrected_level_shares(covariances)[columns].sum(), found)
    r2 = stats.estimate(level_partitioning(nets, modality, level), nets.groups, plan, null=False)
    return stats.combine(lambda r2: level_shares(r2)[columns].sum(), r2)
