"""Where a network stands between consistency and specificity: one point (C, S) for every seed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.partitioning import SHARES, Partitioning
from rgbd_insight.questions.networks import TWINS, Networks, made, missing_seeds, networks
from rgbd_insight.questions.shares import level_partitioning
from rgbd_insight.result import Missing, Result, numbers
from rgbd_insight.stats import Estimate

MEASURES = {"C": "named-consistent", "S": "named-specific"}


def balance(features: Features, runs: Iterable[str] | None = None) -> Result:
    """The consistent (C) and the specific (S) share of what the concepts name, over both streams and all levels.

    Parameters
    ----------
    features : from `load`; needs the source-isolated conditions.
    runs : run ids, fusion names (all their seeds) or "twins"; default the twins and every final run of two inputs.

    Returns
    -------
    Result, question "balance": a row "C" and a row "S" for each seed of each network, in [0, 1] but for noise and
    suppression, with jackknife intervals; `run` is the run id. Networks of one seed are in `missing`.

    Raises
    ------
    FeaturesError
        Where a run is missing.

    Notes
    -----
    C = Σ named-consistent / Σ R²(same modality's other seeds), S likewise with named-specific; both sums go over the
    units of both streams at all levels. A seed is the one accounted for, its other seeds are the predictors.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> scenes = ri.load("book/features/scenes")
    >>> found = balance(scenes, scenes.find(fusion="sum", role="final")[:1])
    >>> bool(found.one("S").low > 0)  # there is something that one stream alone names
    True
    """
    rows: list[dict] = []
    missing: list[Missing] = []
    for nets in _asked(features, runs):
        missing += missing_seeds(nets)
        if nets.ceiling_kind != "other seed":
            continue
        cells = nets.cells() | {"run": "/".join(dict.fromkeys(nets.members[0].values()))}
        for name, found in shares(nets).items():
            rows.append(cells | {"measure": name, "ceiling": 1.0, "ceiling_kind": nets.ceiling_kind} | numbers(found))
    return Result.of("balance", rows, missing=dict.fromkeys(missing), made=made(features))


def shares(nets: Networks, concepts: np.ndarray | None = None) -> dict[str, Estimate]:
    """C and S of the first network, by all concepts or by those that `concepts` bool (K,) names."""
    partitionings = _partitionings(nets, concepts)
    total_out = np.stack([np.nansum(a.r2_out[:, :, 2], 1) for a in partitionings], 1)  # (G, A)
    groups = nets.features.groups
    blocks = stats.blocks_of(groups, min(40, groups.max() + 1))
    found = {}
    for name, value in _values(partitionings).items():
        k = SHARES.index(MEASURES[name])
        part_out = np.stack([np.nansum(a.shares_out[:, :, k], 1) for a in partitionings], 1)  # (G, A)
        found[name] = stats.from_leave_outs(value, part_out.sum(1) / total_out.sum(1), groups, blocks)
    return found


def position(nets: Networks, concepts: np.ndarray | None = None) -> dict[str, float]:
    """C and S of the first network as `shares` has them, without intervals and in a fraction of the time."""
    return _values(_partitionings(nets, concepts, leave_out=False))


def _partitionings(nets: Networks, concepts: np.ndarray | None, *, leave_out: bool = True) -> list[Partitioning]:
    return [
        level_partitioning(nets, m, lv, concepts, leave_out=leave_out) for m in nets.modalities for lv in nets.levels
    ]


def _values(partitionings: list[Partitioning]) -> dict[str, float]:
    total = sum(np.nansum(a.r2[:, 2]) for a in partitionings)
    return {n: sum(np.nansum(a.shares[:, SHARES.index(s)]) for a in partitionings) / total for n, s in MEASURES.items()}


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
