"""Rows 1 and 2: what the unimodal networks share, and in which order things appear over levels."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from rgbd_insight import stats
from rgbd_insight.claims.rows import Row, judged, untested
from rgbd_insight.features import Features, FeaturesError
from rgbd_insight.metrics.cka import debiased_cka
from rgbd_insight.questions.balance import correctable
from rgbd_insight.questions.consistency import consistency
from rgbd_insight.questions.networks import TWINS, Networks, networks
from rgbd_insight.questions.specificity import decoded, specificity

LOW = ("hue", "colour edge", "depth edge")  # families that claim 2b puts below the classes
MORE = "make features PROFILE=full"


def _twins_of(features: Features) -> Networks | Row:
    """The unimodal networks of two or more seeds, or a row that says that there are none."""
    try:
        nets = networks(features, TWINS)
    except FeaturesError as error:
        return untested(str(error), "rgbd-insight train --fusion rgb,depth")
    if nets.ceiling_kind != "other seed":
        return untested("one seed of the twins: there is no ceiling", "rgbd-insight train --fusion rgb,depth --seed 1")
    return nets


def discrepancy(features: Features, spec: dict) -> Row:
    """Row 1: the part that the other modality does not predict, at the level where it is least certain."""
    nets = _twins_of(features)
    if isinstance(nets, Row):
        return nets
    rows = specificity(features, TWINS, measures=["specific share"]).rows(label="all")
    if rows.value.isna().any():
        r = rows[rows.value.isna()].iloc[0]
        return untested(f"the {r.modality} stream has nothing reproducible at level {r.level:.0f}", MORE)
    least, top = rows.loc[rows.low.idxmin()], rows.high.min()
    verdict = "supported" if least.low > spec["threshold"] else judged(-np.inf, top, spec["threshold"])
    effect = "share not in the other modality"
    why = (
        f"least certain at level {least.level:.0f} of {least.modality}, of {len(rows)} levels; threshold "
        f"{spec['threshold']}"
    )
    if not correctable(nets):
        verdict, effect = "inconclusive", f"{effect}, uncorrected"
        why += "; with fewer than two other seeds it cannot be corrected for their noise"
    return Row(effect, least.value, least.low, least.high, verdict=verdict, why=why)


def as_known(features: Features, spec: dict) -> Row:
    """Row 1b: how much of what the other network knows by name the levels share, at the level least certain."""
    nets = _twins_of(features)
    if isinstance(nets, Row):
        return nets
    levels = spec["levels"]
    if not set(levels) <= set(nets.levels):
        return untested(f"the twins were read at levels {nets.levels}, and not at {levels}", MORE)
    if not correctable(nets):
        why = "fewer than two other seeds of the twins: shares cannot be corrected for their noise"
        return untested(why, "rgbd-insight train --fusion rgb,depth --seed 2")
    rows = consistency(features, TWINS, levels=levels, measures=["share of the known"]).table
    if rows.low.isna().any():
        r = rows[rows.low.isna()].iloc[0]
        return untested(f"of the {r.modality} stream nothing is known at level {r.level:.0f}", MORE)
    room = np.minimum(rows.low - spec["least"], spec["most"] - rows.high)
    outside = (rows.high < spec["least"]) | (rows.low > spec["most"])
    verdict = "supported" if (room > 0).all() else "not supported" if outside.any() else "inconclusive"
    r = rows.loc[room.idxmin()]
    why = (
        f"least certain at level {r.level:.0f} of {r.modality}, of levels {' and '.join(map(str, levels))} of both; "
        f"bounds {spec['least']} and {spec['most']}"
    )
    effect = "named-consistent share over what the other network knows"
    return Row(effect, r.value, r.low, r.high, verdict=verdict, why=why)


def similarity_trend(features: Features, spec: dict) -> Row:
    """Row 2a: the trend of the modalities' likeness over levels."""
    nets = _twins_of(features)
    if isinstance(nets, Row):
        return nets
    count, (a, b) = len(nets.members), nets.modalities
    pairs = [(i, (i + 1) % count) for i in range(count)]
    table = np.array([[debiased_cka(nets.view(i, a, lv), nets.view(j, b, lv)) for lv in nets.levels] for i, j in pairs])
    if table.shape[1] < 3:
        return untested("Page's test needs three levels", "")
    p = stats.page_trend(table)
    rho = float(np.mean([spearmanr(np.arange(table.shape[1]), row).statistic for row in table]))
    verdict = "supported" if p < spec["level"] else "inconclusive"
    why = f"{'rises' if rho > 0 else 'falls'} over {table.shape[1]} levels, {count} pairs of seeds as blocks"
    return Row("mean rank correlation with the level", rho, p=p, verdict=verdict, why=why)


def concept_order(features: Features, spec: dict) -> Row:
    """Row 2b: how many levels above hue and edges the classes lie."""
    nets = _twins_of(features)
    if isinstance(nets, Row):
        return nets
    gaps = [gap for i in range(len(nets.members)) for m in nets.modalities if np.isfinite(gap := _gap(nets, i, m))]
    if len(gaps) < spec["least_blocks"]:
        return untested(f"{len(gaps)} seeds and modalities decode both hue or edges and classes", MORE)
    mean = float(np.mean(gaps))
    low, high = stats.student_interval(mean, np.std(gaps, ddof=1), len(gaps))
    effect, why = "levels by which classes lie above hue and edges", f"{len(gaps)} seeds and modalities"
    return Row(effect, mean, low, high, stats.student_p(gaps), judged(low, high), why)


def _gap(nets: Networks, network: int, modality: str) -> float:
    delta = np.stack([decoded(nets, nets.view(network, modality, lv)) for lv in nets.levels])
    weight = np.maximum(np.nan_to_num(delta), 0)  # (L, K)
    concepts = nets.features.concepts
    centres = []
    for members in (concepts.family == "class", concepts.family.isin(LOW)):
        total = weight[:, members.to_numpy()].mean(1) if members.any() else np.zeros(len(nets.levels))
        if total.sum() <= 0.1 * len(nets.levels):  # hardly decodable anywhere: it has no place
            return np.nan
        centres.append((np.array(nets.levels) @ total) / total.sum())
    return float(centres[0] - centres[1])
