"""Consistency: which representations of the two modalities say the same thing, level by level?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rgbd_insight import metrics, stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.cka import cka_statistic
from rgbd_insight.questions.networks import (
    Networks,
    averaged,
    chosen_levels,
    chosen_measures,
    made,
    missing_seeds,
    networks,
)
from rgbd_insight.questions.shares import level_partitioning, null_of_consistent, planted_consistent, share_estimate
from rgbd_insight.result import Result, numbers
from rgbd_insight.stats import Estimate

MEASURES = ("cka", "cka controlled", "cka within", "cka normalised", "matching", "predictivity", "consistent share")
CONFOUNDS = ["brightness", "contrast", "mean_depth", "depth_std"]


def consistency(
    features: Features,
    run: str,
    *,
    levels: Sequence[int] | None = None,
    measures: Sequence[str] = MEASURES,
    permutations: int = 200,
) -> Result:
    """How much of what one modality's stream says the other's says too, between chance and the same modality's seeds.

    Parameters
    ----------
    features : from `load`; needs the source-isolated conditions.
    run : a run id or fusion name, or "twins" for the two unimodal networks.
    levels : default all.
    measures : any of "cka" (debiased, between networks of different seeds), "cka controlled" (brightness, contrast,
        mean and spread of depth regressed out), "cka within" (both streams of one network), "cka normalised" (0 at
        the null, 1 at the ceiling), "matching" (of units), "predictivity" (of the modality in `modality` from the one
        in `versus`), "consistent share" (of the reproducible variance, by variance partitioning; `label` says whether
        the concepts name it).
    permutations : for the nulls, at least 20; ≥ 200 for a p to be quoted.

    Returns
    -------
    Result. The `ceiling` is the same measure between seeds of one modality, mean over both modalities.

    Raises
    ------
    FeaturesError
        Where the run or a needed response is missing.
    ValueError
        For an unknown level or measure.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> scenes = ri.load("book/features/scenes")
    >>> found = ri.consistency(scenes, "twins", levels=[4], measures=["cka"])
    >>> bool(found.one("cka").null_high < found.one("cka").value < found.one("cka").ceiling)
    True
    """
    nets = networks(features, run)
    levels, measures = chosen_levels(nets, levels), chosen_measures(measures, MEASURES)
    rows: list[dict] = []
    for level in levels:
        rows += _similarities(nets, level, measures, permutations)
        if "consistent share" in measures:
            rows += _shares(nets, level)
    return Result.of("consistency", rows, missing=missing_seeds(nets), made=made(features, permutations=permutations))


def _similarities(nets: Networks, level: int, measures: Iterable[str], permutations: int) -> list[dict]:
    groups = nets.features.groups
    a, b = nets.modalities
    options = {"permutations": permutations}
    every, confounds = np.arange(len(groups)), nets.features.samples[CONFOUNDS].to_numpy()
    makers = {
        "cka": lambda x, y: metrics.MEASURES["debiased_cka"].statistic(x, y, groups),
        "cka controlled": lambda x, y: cka_statistic(x, y, confounds),
        "matching": lambda x, y: metrics.MEASURES["matching"].statistic(x, y, groups),
    }
    rows, cells = [], nets.cells(level) | {"modality": a, "versus": b}
    wanted = [m for m in makers if m in measures or (m == "cka" and "cka normalised" in measures)]
    for name in wanted:
        across = stats.estimate(averaged(makers[name], nets.across(level)), groups, jumps=name == "matching", **options)
        own = [averaged(makers[name], nets.within(m, level)) for m in (a, b)]
        if name in measures:
            ceiling = float(np.mean([statistic(every, every) for statistic in own]))
            top = {"ceiling": ceiling, "ceiling_kind": nets.ceiling_kind}
            rows.append(cells | {"measure": name} | top | numbers(across))
        if name == "cka" and "cka normalised" in measures:
            ceilings = [stats.estimate(statistic, groups, null=False) for statistic in own]
            rows.append(cells | {"measure": "cka normalised"} | _share_of_ceiling(across, ceilings))
    if "cka within" in measures and nets.fused and nets.ceiling_kind == "other seed":
        inside = cka_statistic(nets.view(0, a, level), nets.view(0, b, level))
        rows.append(cells | {"measure": "cka within"} | numbers(stats.estimate(inside, groups, **options)))
    if "predictivity" in measures:
        rows += [_predicted(nets, level, target, options) for target in (a, b)]
    return rows


def _share_of_ceiling(across: Estimate, ceilings: list[Estimate]) -> dict:
    share = stats.normalised([across], across.null, ceilings)
    return numbers(share) | {"label": share.missing or None}


def _predicted(nets: Networks, level: int, target: str, options: dict) -> dict:
    source = next(m for m in nets.modalities if m != target)
    groups = nets.features.groups
    pairs = [(y, x) if target == nets.modalities[0] else (x, y) for x, y in nets.across(level)]

    def make(x: np.ndarray, y: np.ndarray):
        return metrics.MEASURES["predictivity"].statistic(x, y, groups)

    across = stats.estimate(averaged(make, pairs), groups, **options)
    own = averaged(make, nets.within(target, level))
    every = np.arange(len(groups))
    return (
        nets.cells(level)
        | numbers(across)
        | {
            "measure": "predictivity",
            "modality": target,
            "versus": source,
            "ceiling": own(every, every),
            "ceiling_kind": nets.ceiling_kind,
        }
    )


def _shares(nets: Networks, level: int) -> list[dict]:
    rows = []
    for modality in nets.modalities:
        partitioning = level_partitioning(nets, modality, level)
        null = null_of_consistent(nets, modality, level)
        planted = planted_consistent(nets, modality, level, partitioning)
        parts = {
            "named": (("named-consistent",), np.full(1, np.nan), planted),
            "unnamed": (("unnamed-consistent",), np.full(1, np.nan), np.nan),
            "all": (("named-consistent", "unnamed-consistent"), null, np.nan),
        }
        for label, (names, draws, truth) in parts.items():
            found = share_estimate(nets, partitioning, names)
            p = (1 + (draws >= found.value).sum()) / (1 + len(draws)) if np.isfinite(draws).all() else np.nan
            rows.append(
                nets.cells(level)
                | numbers(found)
                | {
                    "measure": "consistent share",
                    "modality": modality,
                    "label": label,
                    "planted": truth,
                    "null": draws.mean(),
                    "null_high": np.quantile(draws, 0.975),
                    "p": p,
                    "ceiling": 1.0,
                    "ceiling_kind": nets.ceiling_kind,
                }
            )
    return rows
