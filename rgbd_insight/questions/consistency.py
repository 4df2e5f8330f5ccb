"""Consistency: which representations of the two modalities say the same thing, level by level?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rgbd_insight import metrics, stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.cka import cka_statistic
from rgbd_insight.metrics.partitioning import ConsistentShare
from rgbd_insight.questions.balance import (
    UNCORRECTED,
    correctable,
    forms,
    level_partitioning,
    missing_correction,
    share_estimate,
)
from rgbd_insight.questions.isolation import judged
from rgbd_insight.questions.networks import (
    Networks,
    chosen_levels,
    chosen_measures,
    made,
    missing_seeds,
    neighbours_of,
    networks,
)
from rgbd_insight.questions.yardstick import share_of_known, yardsticks
from rgbd_insight.result import Result, numbers
from rgbd_insight.stats import Estimate, Resampling, Statistic, averaged

SHARE, YARDSTICK, OF_KNOWN = "consistent share", "yardstick", "share of the known"
MEASURES = (
    "cka",
    "cka controlled",
    "cka within",
    "cka normalised",
    "matching",
    "predictivity",
    SHARE,
    SHARE + UNCORRECTED,
    YARDSTICK,
    OF_KNOWN,
)
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
    features : Features
        From `load`; needs the source-isolated conditions.
    run : str
        A run id or fusion name, or "twins" for the two unimodal networks.
    levels : sequence of int, optional
        Default all.
    measures : sequence of str
        Any of "cka" (debiased, between networks of different seeds), "cka controlled" (brightness, contrast,
        mean and spread of depth regressed out), "cka within" (both streams of one network), "cka normalised" (0 at
        the null, 1 at the ceiling), "matching" (of units), "predictivity" (of the modality in `modality` from the one
        in `versus`), "consistent share" (of the reproducible variance, by variance partitioning, corrected for the
        noise of the networks that predict; `label` says whether the concepts name it), "consistent share uncorrected"
        (of "all" with its null), "yardstick" (what the named share would be if all were shared that `label` says: see
        `yardsticks`), "share of the known" (the named share over the yardstick "known").
    permutations : int
        For the nulls, at least 20; ≥ 200 for a p to be quoted.

    Returns
    -------
    Result
        The `ceiling` is the same measure between seeds of one modality, mean over both modalities. All seeds are used.
        With fewer than two other seeds nothing can be corrected: `missing` says so, "consistent share" is answered by
        "consistent share uncorrected", and there are no yardsticks.

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
    plan = nets.plan(permutations)
    levels, measures = chosen_levels(nets, levels), chosen_measures(measures, MEASURES)
    rows: list[dict] = []
    for level in levels:
        rows += _similarities(nets, level, measures, plan)
        for modality in nets.modalities:
            rows += _shares(nets, modality, level, measures, plan)
            rows += _yardsticks(nets, modality, level, measures, plan)
    absent = missing_correction(nets) if {SHARE, YARDSTICK, OF_KNOWN} & set(measures) else []
    missing = [*missing_seeds(nets), *absent]
    how = made(features, plan, null=any(row["measure"] not in (SHARE, YARDSTICK, OF_KNOWN) for row in rows))
    return judged(features, Result.of("consistency", rows, missing=missing, made=how))


def _similarities(nets: Networks, level: int, measures: Iterable[str], plan: Resampling) -> list[dict]:
    groups = nets.groups
    a, b = nets.modalities
    order = neighbours_of(nets.features)
    # a pair's price counts the groups that there were, four fifths of which are trained on, joined or not
    price = (order.count * 4 / 5) ** -0.5 if order.alike else None
    every, confounds = np.arange(len(groups)), nets.features.samples[CONFOUNDS].to_numpy()
    makers = {
        "cka": lambda x, y: metrics.MEASURES["debiased_cka"].statistic(x, y, groups),
        "cka controlled": lambda x, y: cka_statistic(x, y, confounds),
        "matching": lambda x, y: metrics.matching_statistic(x, y, groups, price=price),
    }
    rows, cells = [], nets.cells(level) | {"modality": a, "versus": b}
    wanted = [m for m in makers if m in measures or (m == "cka" and "cka normalised" in measures)]
    for name in wanted:
        across = stats.estimate(_mean_of(makers[name], nets.across(level)), groups, plan)
        own = [_mean_of(makers[name], nets.within(m, level)) for m in (a, b)]
        if name in measures:
            ceiling = float(np.mean([statistic(every, every) for statistic in own]))
            top = {"ceiling": ceiling, "ceiling_kind": nets.ceiling_kind}
            rows.append(cells | {"measure": name} | top | numbers(across))
        if name == "cka" and "cka normalised" in measures:
            ceilings = [stats.estimate(statistic, groups, plan, null=False) for statistic in own]
            rows.append(cells | {"measure": "cka normalised"} | _share_of_ceiling(across, ceilings))
    if "cka within" in measures and nets.fused and nets.ceiling_kind == "other seed":
        inside = cka_statistic(nets.view(0, a, level), nets.view(0, b, level))
        rows.append(cells | {"measure": "cka within"} | numbers(stats.estimate(inside, groups, plan)))
    if "predictivity" in measures:
        rows += [_predicted(nets, level, target, plan) for target in (a, b)]
    return rows


def _share_of_ceiling(across: Estimate, ceilings: list[Estimate]) -> dict:
    share = stats.normalised([across], across.null, ceilings)
    return numbers(share) | {"label": share.missing or None}


def _mean_of(make: Callable[..., Statistic], pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Statistic:
    """The statistic of pairs of streams, averaged over pairs of networks."""
    return averaged([make(x, y) for x, y in pairs])


def _predicted(nets: Networks, level: int, target: str, plan: Resampling) -> dict:
    source = next(m for m in nets.modalities if m != target)
    groups = nets.groups
    pairs = [(y, x) if target == nets.modalities[0] else (x, y) for x, y in nets.across(level)]

    def make(x: np.ndarray, y: np.ndarray) -> Statistic:
        return metrics.MEASURES["predictivity"].statistic(x, y, groups)

    across = stats.estimate(_mean_of(make, pairs), groups, plan)
    every = np.arange(len(groups))
    ceiling = float(_mean_of(make, nets.within(target, level))(every, every))
    row = {"measure": "predictivity", "modality": target, "versus": source}
    return nets.cells(level) | numbers(across) | row | {"ceiling": ceiling, "ceiling_kind": nets.ceiling_kind}


def _shares(nets: Networks, modality: str, level: int, measures: Sequence[str], plan: Resampling) -> list[dict]:
    """What the other modality says too: named by concepts, unnamed, and both together.

    The null is that of both together, uncorrected: independence is a question of the uncorrected value, and the null of
    a part would need a whole partitioning a draw.
    """
    rows = []
    for measure in forms(nets, SHARE, measures):
        corrected = measure == SHARE
        found = {
            label: share_estimate(nets, modality, level, parts, plan, corrected=corrected)
            for label, parts in (
                ("named", ("named-consistent",)),
                ("unnamed", ("unnamed-consistent",)),
                ("all", ("named-consistent", "unnamed-consistent")),
            )
        }
        if not corrected:
            together = ConsistentShare(level_partitioning(nets, modality, level))
            found["all"] = stats.estimate(together, nets.groups, plan)
        cells = {"measure": measure, "modality": modality, "ceiling": 1.0, "ceiling_kind": nets.ceiling_kind}
        rows += [nets.cells(level) | cells | {"label": label} | numbers(one) for label, one in found.items()]
    return rows


def _yardsticks(nets: Networks, modality: str, level: int, measures: Sequence[str], plan: Resampling) -> list[dict]:
    if not correctable(nets):
        return []
    rows, cells = [], nets.cells(level) | {"modality": modality, "ceiling_kind": nets.ceiling_kind}
    if YARDSTICK in measures:
        found = yardsticks(nets, modality, level, plan)
        rows += [cells | {"measure": YARDSTICK, "label": label} | numbers(one) for label, one in found.items()]
    if OF_KNOWN in measures:
        rows.append(
            cells | {"measure": OF_KNOWN, "label": "named"} | numbers(share_of_known(nets, modality, level, plan))
        )
    return rows
