"""Which units the other modality lacks: our ranking beside every alternative, on held-out worlds."""

from __future__ import annotations

import numpy as np

from rgbd_insight import stats
from rgbd_insight.data import World
from rgbd_insight.metrics.auroc import pair_counts
from rgbd_insight.metrics.partitioning import OTHER, SAME, PartitioningStatistic, variance_partitioning
from rgbd_insight.metrics.probes import decodability
from rgbd_insight.metrics.ranking import bounded, rank_units
from rgbd_insight.metrics.semantic import profiles
from rgbd_insight.metrics.soft_matching import matching, max_correlation
from rgbd_insight.validation.plan import best_iou, held_out_knobs, kind_knobs

UNITS = 64  # ranked of the first network at most; they are drawn alike, and the time goes with their number
PLAN = stats.Resampling(
    blocks=20
)  # of the interval of every unit's ceiling: worlds are many, and the time goes with it
KNOBS = ("noise", "noise_ratio", "unit_noise", "polysemy", "cooccurrence", "coverage", "nuisance", "outlier")


def ranking(plan: dict, seed: int, coverage: float, beyond: bool = False, kind: str = "") -> list[dict]:
    """AUROC of our ranking and of its alternatives for units whose concepts the other modality mostly lacks.

    `beyond` draws the noise from the range beyond that of the held-out worlds; `kind` makes the world one of that kind.
    """
    p, rng = plan["ranking_kinds"], np.random.default_rng([seed, 8])
    fixed = {"coverage": coverage, "networks": 3}
    if kind:
        size = {"n": p["n"][rng.integers(len(p["n"]))], "width": p["width"], "other_width": p["width"]}
        knobs = kind_knobs(plan, seed, kind, **fixed | size)
    else:
        noise = {"noise": float(rng.uniform(*plan["ranking"]["beyond_noise"]))} if beyond else {}
        knobs = held_out_knobs(plan, seed, **fixed | noise)
    world = World(knobs, seed)
    scores, unreliable = scored(world)
    truths = {"concept": world.concept_specificity("rgb")[:UNITS], "total": world.total_specificity("rgb")[:UNITS]}
    condition = kind or ("beyond" if beyond else "held-out")
    base = {
        "condition": condition,
        "kind": kind or None,
        "n": len(world.groups),
        "width": knobs.width,
        "count": int((~unreliable).sum()),
    }
    base |= {k: float(getattr(knobs, k)) for k in KNOBS}
    rows = []
    for part, truth in truths.items():
        cut = 0.5 if part == "concept" else np.median(truth[~unreliable]) if (~unreliable).any() else 0.5
        for name, score in scores.items():
            value = auroc(score[~unreliable], truth[~unreliable], cut)
            rows.append(base | {"measure": name, "ours": name == "rank_units", "part": part, "value": value})
    return rows


def scored(world: World) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Score (U,) of every unit of the first network by each way of ranking, and which units are unreliable."""
    streams = [world.stream("rgb", 0)[:, :UNITS], *world.streams("depth", [1, 2]), *world.streams("rgb", [1, 2])]
    found, alone = _alternatives(world, streams), _evidence(world, streams)
    nearest, profile, delta, r2 = _evidence(world, [bounded(z) for z in streams], interval=True)
    found["concepts alone"] = _kappa(*alone[1:])
    if not (np.isfinite(profile).all(0) & np.isfinite(delta)).any():  # no named concept is frequent enough
        profile, delta = np.zeros((len(nearest), 1)), np.zeros(1)
    ranked = rank_units(nearest, profile, delta, r2)
    return found | {"rank_units": ranked.j}, ranked.unreliable


def _evidence(world: World, streams: list[np.ndarray], interval: bool = False) -> tuple:
    """What `rank_units` takes, from the ranked units, two networks of the other and two of the same modality."""
    x, groups = streams[0], world.groups
    nearest, profile = max_correlation(x, streams[1]), profiles(x, world.present, groups).s
    delta = decodability(streams[1], world.present, groups).delta
    if not interval:
        return nearest, profile, delta
    partitioning = PartitioningStatistic(x, world.areas, streams[1:3], streams[3:], groups)
    return nearest, profile, delta, stats.estimate(partitioning, groups, PLAN, null=False)


def _alternatives(world: World, streams: list[np.ndarray]) -> dict[str, np.ndarray]:
    x, y = streams[:2]
    iou, other_iou = best_iou(x, world.present), best_iou(y, world.present)
    best, units = iou.argmax(1), np.arange(len(iou))
    partitioning = variance_partitioning(x, world.areas, streams[1:3], streams[3:], world.groups)
    ceiling = np.maximum(partitioning.r2[:, SAME], 1e-3)
    return {
        "NetDissect IoU": iou[units, best] - other_iou.max(0)[best],
        "matching alone": -matching(x, y, world.groups).correlation,
        "maximum correlation alone": -max_correlation(x, y),
        "predictivity alone": -partitioning.r2[:, OTHER],
        "specific share": (partitioning.shares[:, 1] + partitioning.shares[:, 3]) / ceiling,
    }


def _kappa(profile: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """1 - κ of every unit: how little of its concepts is decoded from the other stream."""
    valued = np.isfinite(profile).all(0) & np.isfinite(delta)
    weight = profile[:, valued] ** 2
    return 1 - weight @ delta[valued] / np.maximum(weight.sum(1), 1e-12)


def auroc(score: np.ndarray, truth: np.ndarray, cut: float) -> float:
    """Area under the ROC curve of `score` for truth above `cut`; ties with the cut are left out; NaN without a pair."""
    use = np.isfinite(truth) & (truth != cut)
    wins, pairs = pair_counts(np.asarray(score, float)[use][None], (truth[use] > cut)[None])
    return float(wins[0] / pairs[0]) if np.ndim(pairs) and pairs[0] > 0 else np.nan
