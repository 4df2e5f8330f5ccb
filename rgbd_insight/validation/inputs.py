"""Input that no measure can do anything with: every answer is defined, or an error that says what to change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight import stats
from rgbd_insight.metrics import MEASURES, Measure
from rgbd_insight.metrics.cka import cka_statistic
from rgbd_insight.metrics.partitioning import variance_partitioning
from rgbd_insight.metrics.probes import decodability
from rgbd_insight.metrics.ranking import PredictedStatistic, concept_weights, rank_units
from rgbd_insight.metrics.semantic import profiles

N, UNITS = 200, 6
Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # x, y, present, groups


def cases(seed: int = 0) -> dict[str, Case]:
    """Name → (x (N, U), y (N, V), present (N, 2), groups (N,))."""
    rng = np.random.default_rng(seed)
    x, y, present, groups = rng.normal(size=(N, UNITS)), rng.normal(size=(N, UNITS)), rng.random((N, 2)) < 0.5, None
    y[:, :3] += x[:, :3]
    groups, still, never, always = np.arange(N) // 5, x.copy(), present.copy(), present.copy()
    still[:, 0], never[:, 0], always[:, 0] = 0.1, False, True
    return {
        "a constant unit": (still, y, present, groups),
        "a constant stream": (np.full_like(x, 0.1), y, present, groups),
        "identical streams": (x, x, present, groups),
        "three images": (x[:3], y[:3], present[:3], groups[:3]),
        "three groups": (x[:15], y[:15], present[:15], groups[:15]),
        "one group": (x, y, present, groups * 0),
        "a concept that never occurs": (x, y, never, groups),
        "a concept that always occurs": (x, y, always, groups),
        "a value that is not finite": (np.where(np.arange(N)[:, None] == 3, np.nan, x), y, present, groups),
    }


def inputs(plan: dict, seed: int) -> list[dict]:
    """What every measure answers to every such input: a value, a reason why there is none, an error, or silence."""
    rows = []
    for condition, case in cases(seed).items():
        for name, call in calls().items():
            kind, value, text = answer(call, case)
            rows.append(
                {"measure": name, "ours": True, "condition": condition, "part": kind, "value": value, "label": text}
            )
    return rows


def answer(call: Callable, case: Case) -> tuple[str, float, str]:
    """Kind of answer ("value", "reason", "error", "silent"), a number that stands for it, and what was said."""
    try:
        values, said = call(*case)
    except ValueError as error:
        return "error", np.nan, str(error)
    values = np.atleast_1d(np.asarray(values, float)).ravel()
    missing = ~np.isfinite(values)
    if not missing.any():
        return "value", float(values.mean()), ""
    kind = "reason" if said else "silent"
    return kind, float(values[~missing].mean()) if (~missing).any() else np.nan, said


def calls() -> dict[str, Callable]:
    """Name → function of a case that returns values and what was said about those that are missing."""
    found: dict[str, Callable] = {}
    for name, measure in MEASURES.items():
        found[name] = _streams(measure)
    return found | {
        "profiles": _profiles,
        "decodability": _decodability,
        "variance_partitioning": _partitioning,
        "rank_units": _ranking,
        "estimate": _estimate,
    }


def _streams(measure: Measure) -> Callable:
    def call(x: np.ndarray, y: np.ndarray, present: np.ndarray, groups: np.ndarray) -> tuple[ArrayLike, str]:
        return measure.function(x, y, groups), ""

    return call


def _profiles(x: np.ndarray, y: np.ndarray, present: np.ndarray, groups: np.ndarray) -> tuple[ArrayLike, str]:
    found = profiles(x, present, groups)
    return found.s, _said(found.reason)


def _decodability(x: np.ndarray, y: np.ndarray, present: np.ndarray, groups: np.ndarray) -> tuple[ArrayLike, str]:
    found = decodability(x, present, groups, controls=2)
    return found.delta, _said(found.reason)


def _partitioning(x: np.ndarray, y: np.ndarray, present: np.ndarray, groups: np.ndarray) -> tuple[ArrayLike, str]:
    found = variance_partitioning(x, present.astype(float), [y], [x + 0.1 * y], groups)
    said = "constant units are named in `constant`" if found.constant.any() else ""
    return np.concatenate([found.level, found.shares.ravel()]), found.reason or said


def _ranking(x: np.ndarray, y: np.ndarray, present: np.ndarray, groups: np.ndarray) -> tuple[ArrayLike, str]:
    delta = decodability(y, present, groups, controls=2).delta
    predicted = PredictedStatistic(x, [y], [x + 0.1 * y], groups)
    r2 = stats.estimate(predicted, groups, stats.Resampling(blocks=20), null=False)
    closest = MEASURES["max_correlation"].function(x, y, groups) * np.ones(x.shape[1])
    found = rank_units(concept_weights(x, present, groups), delta, closest, r2)
    said = "unreliable units are named in `unreliable`" if found.unreliable.any() else ""
    return np.concatenate([found.concept, found.total]), said


def _estimate(x: np.ndarray, y: np.ndarray, present: np.ndarray, groups: np.ndarray) -> tuple[ArrayLike, str]:
    found = stats.estimate(cka_statistic(x, y), groups, stats.Resampling(permutations=20))
    return [found.value, found.low, found.high, found.p], found.missing


def _said(reasons: np.ndarray) -> str:
    return "; ".join(dict.fromkeys(r for r in reasons if r))
