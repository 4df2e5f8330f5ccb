"""Which units the other modality lacks: our two rankings beside every alternative, on held-out worlds."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from rgbd_insight import stats
from rgbd_insight.data import World
from rgbd_insight.metrics.auroc import pair_counts
from rgbd_insight.metrics.probes import decodability
from rgbd_insight.metrics.ranking import (
    OTHER,
    SAME,
    PredictedStatistic,
    Ranking,
    bounded,
    concept_weights,
    rank_units,
)
from rgbd_insight.metrics.soft_matching import matching, max_correlation
from rgbd_insight.validation.plan import best_iou, held_out_knobs, kind_knobs

UNITS = 64  # ranked of the first network at most; they are drawn alike, and the time goes with their number
PLAN = stats.Resampling(blocks=20)  # of the interval of every unit's ceiling
NAMED = 0.1  # share of the ceiling that concepts explain, from which the formula of the plan counts them
KNOBS = ("noise", "noise_ratio", "unit_noise", "polysemy", "cooccurrence", "coverage", "nuisance", "outlier")


def ranking(plan: dict, seed: int, coverage: float, beyond: bool = False, kind: str = "") -> list[dict]:
    """AUROC of our rankings and of their alternatives.

    Part "concept": for units whose concepts the other modality mostly lacks, of the concept ranking; part "total": for
    the half of the units with the larger total specificity, of the total ranking, which is the specific share ranked.
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
    ours, others = scored(world)
    reliable = ~ours.unreliable
    truths = {"concept": world.concept_specificity("rgb")[:UNITS], "total": world.total_specificity("rgb")[:UNITS]}
    condition = kind or ("beyond" if beyond else "held-out")
    base = {
        "condition": condition,
        "kind": kind or None,
        "n": len(world.groups),
        "width": knobs.width,
        "count": int(reliable.sum()),
    }
    base |= {k: float(getattr(knobs, k)) for k in KNOBS}
    rows = []
    for part, truth in truths.items():
        cut = 0.5 if part == "concept" else np.median(truth[reliable]) if reliable.any() else 0.5
        found = {"rank_units": getattr(ours, part)} | others
        if part == "concept":  # the other part's ranking is this one
            found["specific share"] = ours.total
        for name, score in found.items():
            value = auroc(score[reliable], truth[reliable], cut)
            rows.append(base | {"measure": name, "ours": name == "rank_units", "part": part, "value": value})
    return rows


def scored(world: World) -> tuple[Ranking, dict[str, np.ndarray]]:
    """Our rankings of the units of the first network, and the score (U,) that every alternative gives them.

    All are given the same: the bounded responses of two other networks of either modality.
    """
    x, groups = bounded(world.stream("rgb", 0)[:, :UNITS]), world.groups
    others, same = ([bounded(z) for z in world.streams(m, [1, 2])] for m in ("depth", "rgb"))
    delta = np.mean([decodability(z, world.present, groups).delta for z in others], axis=0)
    nearest = np.max([max_correlation(x, z) for z in others], axis=0)
    r2 = stats.estimate(PredictedStatistic(x, others, same, groups), groups, PLAN, null=False)
    ours = rank_units(concept_weights(x, world.areas, groups), delta, nearest, r2)
    named = PredictedStatistic(x, [world.areas], same, groups).whole[:, OTHER]
    known = np.isfinite(ours.kappa)  # of reliable units that encode a concept of which δ is known
    told = known & (named >= NAMED * r2.value[:, SAME])
    planned = _ranks(-nearest, ~ours.unreliable)
    planned[told] = (planned[told] + _ranks(1 - ours.kappa, told)[told]) / 2
    iou, other_iou = best_iou(x, world.present), np.max([best_iou(z, world.present).max(0) for z in others], axis=0)
    best, units = iou.argmax(1), np.arange(len(iou))
    return ours, {
        "maximum correlation and concepts": planned,
        "concepts alone": np.where(known, 1 - ours.kappa, 0.5),
        "NetDissect IoU": iou[units, best] - other_iou[best],
        "matching alone": -np.mean([matching(x, z, groups).correlation for z in others], axis=0),
        "maximum correlation alone": -nearest,
        "predictivity alone": -r2.value[:, OTHER],
    }


def _ranks(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Ranks in (0, 1) among some units, NaN for the others."""
    found = np.full(len(values), np.nan)
    found[among] = (rankdata(values[among]) - 0.5) / max(among.sum(), 1)
    return found


def auroc(score: np.ndarray, truth: np.ndarray, cut: float) -> float:
    """Area under the ROC curve of `score` for truth above `cut`; ties with the cut are left out; NaN without a pair."""
    use = np.isfinite(truth) & (truth != cut)
    wins, pairs = pair_counts(np.asarray(score, float)[use][None], (truth[use] > cut)[None])
    return float(wins[0] / pairs[0]) if np.ndim(pairs) and pairs[0] > 0 else np.nan
