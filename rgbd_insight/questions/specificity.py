"""Specificity: what is in one modality only? Asked of concepts, of units and of levels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.labels import concept_labels
from rgbd_insight.metrics.probes import Decodability, decodability
from rgbd_insight.metrics.semantic import concept_variance, level_semantic_variance, profiles
from rgbd_insight.questions.networks import (
    WHOLE,
    Networks,
    chosen_levels,
    chosen_measures,
    made,
    missing_seeds,
    networks,
)
from rgbd_insight.questions.shares import level_partitioning, share_estimate
from rgbd_insight.questions.units import ranked
from rgbd_insight.result import Missing, Result, numbers

MEASURES = (
    "decodability",
    "difference",
    "label",
    "semantic variance",
    "specific share",
    "level semantic variance",
    "ranking",
)
CONCEPTS = ("decodability", "difference", "label", "semantic variance")
COMPONENTS = 32
MARGIN = 0.1
MANY = 4000  # images from which one split is enough
_PROBED: WeakKeyDictionary[Features, dict[tuple, Decodability]] = WeakKeyDictionary()


def specificity(
    features: Features, run: str, *, levels: Sequence[int] | None = None, measures: Sequence[str] = MEASURES
) -> Result:
    """What each modality's stream says that the other's does not: of every concept, every unit, every level.

    Parameters
    ----------
    features : from `load`; needs the source-isolated conditions.
    run : a run id or fusion name, or "twins".
    levels : default all; 0 stands for all levels of a stream side by side (concepts only).
    measures : any of "decodability" (δ of each concept from each modality), "difference" (Δ = δ of the first modality
        minus δ of the second), "label" (which modality shows the concept), "semantic variance" (V = ½Δ², unbiased),
        "specific share" (of the reproducible variance, by variance partitioning), "level semantic variance" (of matched
        units' profiles, beside that of two seeds of one modality), "ranking" (of units, from consistent to specific).

    Returns
    -------
    Result. Intervals of δ and Δ hold for all concepts and both modalities together (Bonferroni); `planted` is the
    visibility that was planted. Concepts seen too rarely are in `missing`.

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
    levels, measures = chosen_levels(nets, levels, whole=True), chosen_measures(measures, MEASURES)
    rows: list[dict] = []
    missing: list[Missing] = missing_seeds(nets)
    for level in levels:
        if set(measures) & set(CONCEPTS):
            found, absent = _concepts(nets, level, measures)
            rows, missing = rows + found, missing + absent
        if level == WHOLE:
            continue
        if "specific share" in measures:
            rows += _shares(nets, level)
        if "level semantic variance" in measures:
            rows += _level_variance(nets, level)
        if "ranking" in measures:
            rows += _ranking(nets, level)
    return Result.of("specificity", rows, missing=dict.fromkeys(missing), made=made(features, margin=MARGIN))


def probe(nets: Networks, x: np.ndarray, *, wide: int = 1, strata: bool = True, leave_out: bool = True) -> Decodability:
    """δ of every concept from responses `x`; on real images within strata of the concepts that co-occur.

    Without `leave_out` there is no interval, and it takes a fraction of the time. Made once, as several questions ask.
    """
    features = nets.features
    planted = features.concepts.kind.ne("unknown").any()  # planted presence is independent: strata would only cost
    made_before = _PROBED.setdefault(features, {})
    seen = hashlib.sha1(np.ascontiguousarray(x).tobytes() + nets.blocks.tobytes())
    key = (seen.digest(), x.shape, wide, strata, leave_out)
    if key not in made_before:
        made_before[key] = decodability(
            x,
            features.present,
            features.groups,
            components=COMPONENTS * wide,
            folds=1 if planted and len(features) >= MANY else 5,
            blocks=nets.blocks if leave_out else None,
            strata=features.areas if strata and not planted else None,
        )
    return made_before[key]


def _concepts(nets: Networks, level: int, measures: Sequence[str]) -> tuple[list[dict], list[Missing]]:
    a, b = nets.modalities
    first, second = probe(nets, nets.view(0, a, level)), probe(nets, nets.view(0, b, level))
    rows: list[dict] = []
    valued = np.flatnonzero(np.isfinite(first.delta) & np.isfinite(second.delta))
    together = 2 * len(valued)
    if "decodability" in measures:
        rows += [row for m, d in ((a, first), (b, second)) for row in delta_rows(nets, level, m, d, together)]
    if "difference" in measures:
        gap = _estimate(nets, first.delta - second.delta, first.leave_outs - second.leave_outs).simultaneous(
            max(together, 1)
        )
        rows += [
            _concept(nets, level, k) | {"measure": "difference", "modality": a, "versus": b} | numbers(gap, k)
            for k in valued
        ]
    if "semantic variance" in measures:
        variance = concept_variance(first.by_fold, second.by_fold)
        cells = {"measure": "semantic variance", "n": len(nets.blocks)}
        rows += [_concept(nets, level, k) | cells | {"value": variance[k]} for k in valued if np.isfinite(variance[k])]
    if "label" in measures:
        labels = _labels(nets, level, first, second)
        rows += [_concept(nets, level, k) | {"measure": "label", "label": labels[k]} for k in valued]
    names = nets.features.concepts["name"]
    rare = [
        Missing(f"{names[k]} (concept)", first.reason[k] or second.reason[k], "extract more images that show it")
        for k in range(len(names))
        if k not in set(valued)
    ]
    return rows, rare


def delta_rows(nets: Networks, level: int, modality: str, found: Decodability, together: int) -> list[dict]:
    """One row a concept: δ with an interval that holds for `together` of them."""
    estimate = _estimate(nets, found.delta, found.leave_outs).simultaneous(max(together, 1))
    planted = nets.features.concepts.get(f"visible_{modality}")
    rows = []
    for k in np.flatnonzero(np.isfinite(found.delta)):
        truth = np.nan if planted is None else planted[k]
        row = {"measure": "decodability", "modality": modality, "planted": truth}
        rows.append(_concept(nets, level, k) | row | numbers(estimate, k))
    return rows


def _estimate(nets: Networks, value: np.ndarray, leave_outs: np.ndarray):
    return stats.from_leave_outs(value, leave_outs, nets.features.groups, nets.blocks)


def _concept(nets: Networks, level: int, k: int) -> dict:
    concept = nets.features.concepts.iloc[k]
    family = concept["family"] if concept["kind"] == "unknown" else f"planted: {concept['kind']}"
    return nets.cells(level) | {"concept": concept["name"], "family": family}


def _labels(nets: Networks, level: int, first: Decodability, second: Decodability) -> np.ndarray:
    a, b = nets.modalities
    x, y = nets.view(0, a, level), nets.view(0, b, level)
    joint = probe(nets, np.hstack([x, y]), wide=2)
    pairs = [probe(nets, np.hstack([own, nets.view(1, m, level)]), wide=2) for m, own in ((a, x), (b, y))]
    return concept_labels(first, second, joint, *pairs, names=nets.modalities, margin=MARGIN)


def _shares(nets: Networks, level: int) -> list[dict]:
    rows = []
    for modality in nets.modalities:
        partitioning = level_partitioning(nets, modality, level)
        for label, names in (
            ("named", ("named-specific",)),
            ("unnamed", ("unnamed-specific",)),
            ("all", ("named-specific", "unnamed-specific")),
        ):
            row = {"measure": "specific share", "modality": modality, "label": label, "ceiling": 1.0}
            rows.append(
                nets.cells(level)
                | row
                | {"ceiling_kind": nets.ceiling_kind}
                | numbers(share_estimate(nets, partitioning, names))
            )
    return rows


def _level_variance(nets: Networks, level: int) -> list[dict]:
    features = nets.features

    def between(x: np.ndarray, y: np.ndarray):
        def statistic(rows: np.ndarray, partner: np.ndarray) -> float:
            px, py = (
                profiles(z[r], features.present[r], features.groups[r]).by_fold for z, r in ((x, rows), (y, partner))
            )
            return level_semantic_variance(px, py)

        return statistic

    a, b = nets.modalities
    pairs = [(a, b, nets.across(level)[0]), *((m, m, nets.within(m, level)[0]) for m in (a, b))]
    rows = []
    for m, other, (x, y) in pairs:
        found = stats.estimate(between(x, y), features.groups, null=False, blocks=20)
        rows.append(
            nets.cells(level) | numbers(found) | {"measure": "level semantic variance", "modality": m, "versus": other}
        )
    return rows


def _ranking(nets: Networks, level: int) -> list[dict]:
    rows: list[dict] = []
    for modality, other in (nets.modalities, nets.modalities[::-1]):
        ranking = ranked(nets, modality, level)
        cells = nets.cells(level) | {"measure": "ranking", "modality": modality, "versus": other}
        rows += [
            cells | {"unit": u, "value": j, "label": "unreliable" if bad else None}
            for u, (j, bad) in enumerate(zip(ranking.j, ranking.unreliable, strict=True))
        ]
    return rows
