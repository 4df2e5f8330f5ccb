"""Consistency: which representations of the two modalities say the same thing, level by level?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rgbd_insight import metrics, stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.cka import cka_statistic
from rgbd_insight.metrics.partitioning import ConsistentShare
from rgbd_insight.questions.asking import Answer, listed
from rgbd_insight.questions.balance import (
    UNCORRECTED,
    correctable,
    forms,
    level_partitioning,
    missing_correction,
    share_estimate,
)
from rgbd_insight.questions.networks import (
    Networks,
    chosen_levels,
    chosen_measures,
    made,
    missing_seeds,
    neighbours_of,
    networks,
    pairwise,
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
SHARES_OF_PIXELS = "missing"  # how the columns of samples begin that say how much was not read


@pairwise
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
        Any of "cka" (debiased, between networks of different seeds), "cka controlled" (brightness, contrast, mean and
        spread of the readings regressed out), "cka within" (both streams of one network), "cka normalised" (0 at the
        null, 1 at the ceiling), "matching" (of units), "predictivity" (of the modality in `modality` from the one
        in `versus`), "consistent share" (of the reproducible variance, by variance partitioning, corrected for the
        noise of the networks that predict; `label` says whether the concepts name it), "consistent share uncorrected"
        (of "all" with its null), "yardstick" (what the named share would be if all were shared that `label` says: see
        `yardsticks`), "share of the known" (the named share over the yardstick "known").
    permutations : int
        For the nulls, at least 20; ≥ 200 for a p to be quoted.

    Returns
    -------
    Result
        Of features with more than two modalities every pair is asked, which `modality` and `versus` name. The `ceiling`
        is the same measure between seeds of one modality, mean over both modalities. All seeds are used. With fewer
        than two other seeds nothing can be corrected: `missing` says so, "consistent share" is answered by "consistent
        share uncorrected", and there are no yardsticks.

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
    absent = missing_correction(nets) if {SHARE, YARDSTICK, OF_KNOWN} & set(measures) else []
    found = Answer(features, [*missing_seeds(nets), *absent])
    for level in levels:
        _similarities(found, nets, level, measures, plan)
        for modality in nets.modalities:
            for measure in forms(nets, SHARE, measures):
                with found.asking(f"{measure} of {modality}", nets, level):
                    found.rows += _shares(nets, modality, level, measure, plan)
            for measure in (YARDSTICK, OF_KNOWN) if correctable(nets) else ():
                if measure in measures:
                    with found.asking(f"{measure} of {modality}", nets, level):
                        found.rows += _yardsticks(nets, modality, level, measure, plan)
    null = any(row["measure"] not in (SHARE, YARDSTICK, OF_KNOWN) for row in found.rows)
    return found.result("consistency", made(features, plan, null=null), nets)


def _similarities(found: Answer, nets: Networks, level: int, measures: Sequence[str], plan: Resampling) -> None:
    groups = nets.groups
    a, b = nets.modalities
    order = neighbours_of(nets.features)
    # a pair's price counts the groups that there were, four fifths of which are trained on, joined or not
    price = (order.count * 4 / 5) ** -0.5 if order.alike else None
    samples = nets.features.samples.drop(columns=["id", "group"])
    confounds = samples[[name for name in samples if not name.startswith(SHARES_OF_PIXELS)]].to_numpy()
    makers = {
        "cka": lambda x, y: metrics.MEASURES["debiased_cka"].statistic(x, y, groups),
        "cka controlled": lambda x, y: cka_statistic(x, y, confounds),
        "matching": lambda x, y: metrics.matching_statistic(x, y, groups, price=price),
    }
    for name, make in makers.items():
        if asked := [m for m in (name, *(["cka normalised"] if name == "cka" else [])) if m in measures]:
            with found.asking(listed(asked), nets, level):
                found.rows += _compared(nets, level, asked, make, plan)
    cells = nets.cells(level) | {"modality": a, "versus": b}
    if "cka within" in measures and nets.fused and nets.ceiling_kind == "other seed":
        with found.asking("cka within", nets, level):
            inside = cka_statistic(nets.view(0, a, level), nets.view(0, b, level))
            found.rows.append(cells | {"measure": "cka within"} | numbers(stats.estimate(inside, groups, plan)))
    for target in (a, b) if "predictivity" in measures else ():
        with found.asking(f"predictivity of {target}", nets, level):
            found.rows.append(_predicted(nets, level, target, plan))


def _compared(
    nets: Networks, level: int, asked: Sequence[str], make: Callable[..., Statistic], plan: Resampling
) -> list[dict]:
    """A similarity of the modalities beside that of seeds, and its share of that."""
    groups, (a, b), rows = nets.groups, nets.modalities, []
    cells, every = nets.cells(level) | {"modality": a, "versus": b}, np.arange(len(groups))
    across = stats.estimate(_mean_of(make, nets.across(level)), groups, plan)
    own = [_mean_of(make, nets.within(m, level)) for m in (a, b)]
    for name in asked:
        if name == "cka normalised":
            ceilings = [stats.estimate(statistic, groups, plan, null=False) for statistic in own]
            rows.append(cells | {"measure": name} | _share_of_ceiling(across, ceilings))
        else:
            ceiling = float(np.mean([statistic(every, every) for statistic in own]))
            top = {"ceiling": ceiling, "ceiling_kind": nets.ceiling_kind}
            rows.append(cells | {"measure": name} | top | numbers(across))
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


def _shares(nets: Networks, modality: str, level: int, measure: str, plan: Resampling) -> list[dict]:
    """What the other modality says too: named by concepts, unnamed, and both together.

    The null is that of both together, uncorrected: independence is a question of the uncorrected value, and the null of
    a part would need a whole partitioning a draw.
    """
    found = {
        label: share_estimate(nets, modality, level, parts, plan, corrected=measure == SHARE)
        for label, parts in (
            ("named", ("named-consistent",)),
            ("unnamed", ("unnamed-consistent",)),
            ("all", ("named-consistent", "unnamed-consistent")),
        )
    }
    if measure != SHARE:
        together = ConsistentShare(level_partitioning(nets, modality, level))
        found["all"] = stats.estimate(together, nets.groups, plan)
    cells = {"measure": measure, "modality": modality, "ceiling": 1.0, "ceiling_kind": nets.ceiling_kind}
    return [nets.cells(level) | cells | {"label": label} | numbers(one) for label, one in found.items()]


def _yardsticks(nets: Networks, modality: str, level: int, measure: str, plan: Resampling) -> list[dict]:
    cells = nets.cells(level) | {"measure": measure, "modality": modality, "ceiling_kind": nets.ceiling_kind}
    if measure == OF_KNOWN:
        return [cells | {"label": "named"} | numbers(share_of_known(nets, modality, level, plan))]
    return [cells | {"label": label} | numbers(one) for label, one in yardsticks(nets, modality, level, plan).items()]
