"""Rows 1 and 2: what the unimodal networks share, and in which order things appear over levels."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from rgbd_insight import stats
from rgbd_insight.claims.rows import Row, judged, untested
from rgbd_insight.features import Features, FeaturesError
from rgbd_insight.metrics.cka import debiased_cka
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


def discrepancy(features: Features, spec: dict, table: pd.DataFrame | None = None) -> Row:
    """Row 1: the part that the other modality does not predict, at the level where it is least certain."""
    rows = _of_the_twins(features, "specific share", "all", table)
    if isinstance(rows, Row):
        return rows
    if rows.value.isna().any():
        r = rows[rows.value.isna()].iloc[0]
        return untested(f"the {r.modality} stream has nothing reproducible at level {r.level:.0f}", MORE)
    least, top = rows.loc[rows.low.idxmin()], rows.high.min()
    verdict = "supported" if least.low > spec["threshold"] else judged(-np.inf, top, spec["threshold"])
    why = (
        f"least certain at level {least.level:.0f} of {least.modality}, of {len(rows)} levels; threshold "
        f"{spec['threshold']}"
    )
    return Row("share not in the other modality", least.value, least.low, least.high, verdict=verdict, why=why)


def as_planted(features: Features, spec: dict, table: pd.DataFrame | None = None) -> Row:
    """Row 1b: shared by concepts, beyond what was planted as shared, at the level where that is most."""
    rows = _of_the_twins(features, "consistent share", "named", table)
    if isinstance(rows, Row):
        return rows
    if "planted" not in rows or rows.planted.isna().any():
        return untested("nothing was planted in these images", "")
    above = rows[["value", "low", "high"]].sub(rows.planted, axis=0)
    most = above.low.idxmax()
    verdict = "not supported" if above.low[most] > 0 else "supported"
    why = f"largest at level {rows.level[most]:.0f} of {rows.modality[most]}, of {len(rows)} levels"
    return Row("named-consistent share above the planted", *above.loc[most], verdict=verdict, why=why)


def _of_the_twins(features: Features, measure: str, label: str, table: pd.DataFrame | None) -> pd.DataFrame | Row:
    """A share of every level and modality: as the zoo's table has it, computed where there is no such table."""
    nets = _twins_of(features)
    if isinstance(nets, Row):
        return nets
    if table is None or not ((table.fusion == TWINS) & (table.measure == measure)).any():
        question = consistency if measure == "consistent share" else specificity
        table = question(features, TWINS, measures=[measure]).table
    return table[(table.fusion == TWINS) & (table.measure == measure) & (table.label == label)]


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
