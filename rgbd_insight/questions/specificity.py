"""Specificity: what is in one modality only? Asked of concepts, of units and of levels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.labels import concept_labels
from rgbd_insight.metrics.probes import DecodabilityStatistic
from rgbd_insight.metrics.semantic import LevelSemanticVariance, concept_variance
from rgbd_insight.questions.asking import Answer, listed
from rgbd_insight.questions.balance import UNCORRECTED, forms, missing_correction, share_estimate
from rgbd_insight.questions.networks import (
    WHOLE,
    Networks,
    chosen_levels,
    chosen_measures,
    made,
    missing_seeds,
    neighbours_of,
    networks,
    pairwise,
    remembered,
)
from rgbd_insight.questions.positions import POSITIONS, concept_cells, planted, position_rows
from rgbd_insight.questions.units import ranked
from rgbd_insight.result import Missing, Result, numbers
from rgbd_insight.stats import Estimate, Resampling

SHARE = "specific share"
RANKINGS = ("concept ranking", "total ranking")
MEASURES = (
    "decodability",
    "difference",
    "label",
    "semantic variance",
    SHARE,
    SHARE + UNCORRECTED,
    "level semantic variance",
    *RANKINGS,
    *POSITIONS,
)
CONCEPTS = ("decodability", "difference", "label", "semantic variance")
COMPONENTS = 32
MARGIN = 0.1
MANY = 4000  # images from which one split is enough
CONTROLS = 10  # times that labels are shuffled, to say what δ is by chance


@pairwise
def specificity(
    features: Features, run: str, *, levels: Sequence[int] | None = None, measures: Sequence[str] | None = None
) -> Result:
    """What each modality's stream says that the other's does not: of every concept, every unit, every level.

    Parameters
    ----------
    features : Features
        From `load`; needs the source-isolated conditions.
    run : str
        A run id or fusion name, or "twins".
    levels : sequence of int, optional
        Default all; 0 stands for all levels of a stream side by side (concepts only).
    measures : sequence of str
        Any of "decodability" (δ of each concept from each modality), "difference" (Δ = δ of the first modality
        minus δ of the second), "label" (which modality shows the concept), "semantic variance" (V = ½Δ², unbiased; its
        interval is that of Δ, squared and halved), "specific share" (of the reproducible variance, by variance
        partitioning, corrected for the noise of the networks that predict), "specific share uncorrected", "level
        semantic variance" (of matched units' profiles, beside that of two seeds of one modality), "concept ranking"
        and "total ranking" (of units, from consistent to specific: by the concepts that they encode, and by all of
        them that is reproducible).

    Returns
    -------
    Result
        Of every pair of modalities, which `modality` and `versus` name where there are more than two. Intervals of δ
        and Δ hold for all concepts and both modalities of a pair together (Bonferroni); `planted` is the visibility
        that was planted. Concepts seen too rarely are in `missing`. With fewer than two other seeds "specific share" is
        answered by "specific share uncorrected", as `missing` says.

    Raises
    ------
    FeaturesError, ValueError
        As for `consistency`.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> scenes = ri.load("book/features/scenes")
    >>> found = ri.specificity(scenes, "twins", levels=[3], measures=["difference"])
    >>> bool(found.one("difference", concept="bowl").high < 0)  # depth alone shows the bowl
    True
    """
    nets = networks(features, run)
    plan = nets.plan()
    levels = chosen_levels(nets, levels, whole=True)
    if measures is None:
        at_cells = all(features.has_cells(member) for member in nets.members[0].values())
        measures = [m for m in MEASURES if at_cells or m not in POSITIONS]
    measures = chosen_measures(measures, MEASURES)
    found = Answer(features, [*missing_seeds(nets), *(missing_correction(nets) if SHARE in measures else [])])
    for level in levels:
        if asked := [m for m in CONCEPTS if m in measures]:
            with found.asking(listed(asked), nets, level):
                rows, absent = _concepts(nets, level, measures, plan)
                found.rows, found.missing = found.rows + rows, found.missing + absent
        if asked := [m for m in POSITIONS if m in measures]:
            with found.asking(listed(asked), nets, level):
                rows, absent = position_rows(nets, level, asked, plan, MARGIN)
                found.rows, found.missing = found.rows + rows, found.missing + absent
        if level == WHOLE:
            continue
        for measure in forms(nets, SHARE, measures):
            with found.asking(measure, nets, level):
                found.rows += _shares(nets, level, measure, plan)
        if "level semantic variance" in measures:
            with found.asking("level semantic variance", nets, level):
                found.rows += _level_variance(nets, level, plan)
        if asked := [m for m in RANKINGS if m in measures]:
            with found.asking(listed(asked), nets, level):
                found.rows += _rankings(nets, level, asked, plan)
    return found.result("specificity", made(features, plan, margin=MARGIN), nets)


@dataclass(frozen=True, eq=False)
class Probed:
    """What a probe reads from a stream.

    Attributes
    ----------
    delta : Estimate (K,)
        δ of every concept; NaN where `reason` says why.
    by_fold : array (F, K)
        The same in each held-out fold, as `Decodability.by_fold`.
    reason : array of str (K,)
        Why δ is NaN.
    control : array (C, K)
        δ of shuffled labels, as `Decodability.control`; none where streams are read side by side.
    """

    delta: Estimate
    by_fold: np.ndarray
    reason: np.ndarray
    control: np.ndarray


def probe(
    nets: Networks, x: np.ndarray, plan: Resampling | None = None, *, wide: int = 1, folds: int | None = None
) -> Probed:
    """δ of every concept from responses `x` with its interval; made once, as several questions ask for it.

    In 5 folds, but in one of many planted images, unless `folds` are given.
    """
    plan = plan or nets.plan()
    folds = folds or _folds(nets.features)

    def make() -> Probed:
        statistic = _probe(nets.features, x, folds, wide, CONTROLS if wide == 1 else 0)
        delta = stats.estimate(statistic, nets.groups, plan, null=False)
        whole = statistic.whole
        return Probed(delta, whole.by_fold, whole.reason, whole.control)

    return remembered(nets.features, ("probe", plan.blocks, folds, wide, *_seen(x)), make)


def decoded(nets: Networks, x: np.ndarray) -> np.ndarray:
    """δ of every concept (K,) from responses `x` as `probe` has it, without interval and in a fraction of the time."""
    features = nets.features
    return remembered(features, ("decoded", *_seen(x)), lambda: _probe(features, x, _folds(features)).whole.delta)


def _folds(features: Features) -> int:
    return 1 if planted(features) and len(features) >= MANY else 5


def _probe(features: Features, x: np.ndarray, folds: int, wide: int = 1, controls: int = 0) -> DecodabilityStatistic:
    """The probe of `x`; on real images within strata of the concepts that co-occur."""
    return DecodabilityStatistic(
        x,
        features.present,
        neighbours_of(features).groups,
        components=COMPONENTS * wide,
        folds=folds,
        strata=None if planted(features) else features.areas,  # planted presence is independent: they would only cost
        controls=controls,
    )


def _seen(x: np.ndarray) -> tuple:
    return hashlib.sha1(np.ascontiguousarray(x).tobytes()).digest(), x.shape


def _concepts(
    nets: Networks, level: int, measures: Sequence[str], plan: Resampling
) -> tuple[list[dict], list[Missing]]:
    a, b = nets.modalities
    first, second = (probe(nets, nets.view(0, m, level), plan) for m in (a, b))
    rows: list[dict] = []
    valued = np.flatnonzero(np.isfinite(first.delta.value) & np.isfinite(second.delta.value))
    together = 2 * len(valued)
    if "decodability" in measures:
        rows += [row for m, d in ((a, first), (b, second)) for row in _delta_rows(nets, level, m, d, together)]
    gap = stats.combine(np.subtract, first.delta, second.delta).simultaneous(max(together, 1))
    if "difference" in measures:
        rows += [
            concept_cells(nets, level, k) | {"measure": "difference", "modality": a, "versus": b} | numbers(gap, k)
            for k in valued
        ]
    if "semantic variance" in measures:
        rows += [
            concept_cells(nets, level, k) | row for k, row in _variances(first, second, gap).items() if k in valued
        ]
    if "label" in measures:
        labels = _labels(nets, level, first, second, plan)
        rows += [concept_cells(nets, level, k) | {"measure": "label", "label": labels[k]} for k in valued]
    names = nets.features.concepts["name"]
    rare = [
        Missing(f"{names[k]} (concept)", first.reason[k] or second.reason[k], "extract more images that show it")
        for k in range(len(names))
        if k not in set(valued)
    ]
    return rows, rare


def _variances(first: Probed, second: Probed, gap: Estimate) -> dict[int, dict]:
    """V of every concept that has one.

    Its interval is that of Δ, squared and halved: a jackknife of V is too narrow near Δ = 0, where its slope is 0.
    """
    several = len(first.by_fold) > 1  # of many images there is one split: Δ² is then too large by its squared error
    value = concept_variance(first.by_fold, second.by_fold) if several else (gap.value**2 - gap.se**2) / 2
    found = {}
    for k in np.flatnonzero(np.isfinite(value)):
        ends = [gap.low[k] ** 2 / 2, gap.high[k] ** 2 / 2]
        nearest = 0.0 if gap.low[k] < 0 < gap.high[k] else min(ends)
        bounds = {"low": min(nearest, value[k]), "high": max(*ends, value[k])}
        found[k] = {"measure": "semantic variance", "n": gap.n, "groups": gap.groups, "value": value[k]} | bounds
    return found


def _delta_rows(nets: Networks, level: int, modality: str, found: Probed, together: int) -> list[dict]:
    """One row a concept: δ with an interval that holds for `together` of them, beside what shuffled labels give."""
    delta, (_, above) = found.delta.simultaneous(max(together, 1)), stats.central_interval(found.control)
    visible = nets.features.concepts.get(f"visible_{modality}")
    rows = []
    for k in np.flatnonzero(np.isfinite(delta.value)):
        truth = np.nan if visible is None else visible[k]
        row = {"measure": "decodability", "modality": modality, "planted": truth}
        chance = {"null": found.control[:, k].mean(), "null_high": above[k]}
        rows.append(concept_cells(nets, level, k) | row | numbers(delta, k) | chance)
    return rows


def _labels(nets: Networks, level: int, first: Probed, second: Probed, plan: Resampling) -> np.ndarray:
    a, b = nets.modalities
    x, y = nets.view(0, a, level), nets.view(0, b, level)
    sides = [(x, y), (x, nets.view(1, a, level)), (y, nets.view(1, b, level))]
    pairs = [probe(nets, np.hstack(side), plan, wide=2).delta for side in sides]
    return concept_labels(first.delta, second.delta, *pairs, names=nets.modalities, margin=MARGIN)


def _shares(nets: Networks, level: int, measure: str, plan: Resampling) -> list[dict]:
    rows = []
    for modality in nets.modalities:
        for label, names in (
            ("named", ("named-specific",)),
            ("unnamed", ("unnamed-specific",)),
            ("all", ("named-specific", "unnamed-specific")),
        ):
            row = {"measure": measure, "modality": modality, "label": label, "ceiling": 1.0}
            found = share_estimate(nets, modality, level, names, plan, corrected=measure == SHARE)
            rows.append(nets.cells(level) | row | {"ceiling_kind": nets.ceiling_kind} | numbers(found))
    return rows


def _level_variance(nets: Networks, level: int, plan: Resampling) -> list[dict]:
    features, (a, b) = nets.features, nets.modalities
    pairs = [(a, b, nets.across(level)[0]), *((m, m, nets.within(m, level)[0]) for m in (a, b))]
    rows = []
    for m, other, (x, y) in pairs:
        between = LevelSemanticVariance(x, y, features.present, nets.groups)
        found = stats.estimate(between, nets.groups, plan, null=False)
        row = {"measure": "level semantic variance", "modality": m, "versus": other}
        rows.append(nets.cells(level) | row | numbers(found))
    return rows


def _rankings(nets: Networks, level: int, measures: Sequence[str], plan: Resampling) -> list[dict]:
    rows: list[dict] = []
    for modality, other in (nets.modalities, nets.modalities[::-1]):
        ranking = ranked(nets, modality, level, plan)
        for measure, ranks in zip(RANKINGS, (ranking.concept, ranking.total), strict=True):
            cells = nets.cells(level) | {"measure": measure, "modality": modality, "versus": other}
            rows += [
                cells | {"unit": u, "value": rank, "label": "unreliable" if bad else None}
                for u, (rank, bad) in enumerate(zip(ranks, ranking.unreliable, strict=True))
                if measure in measures
            ]
    return rows
