"""How much of their concepts two streams share, and which concepts only both tell: ours and the alternatives."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics import MEASURES
from rgbd_insight.metrics.baselines import calibrated_similarity, crosscoder_share, pairs, sampled_cka
from rgbd_insight.metrics.cka import cka_matrix
from rgbd_insight.metrics.information import excess_synergy, information_decomposition
from rgbd_insight.metrics.joint import SemanticScale, joint_score, semantic_scale
from rgbd_insight.metrics.probes import decodability
from rgbd_insight.metrics.semantic import level_semantic_variance, profiles, semantic_variance
from rgbd_insight.stats.groups import permute_groups
from rgbd_insight.validation.plan import ALTERNATIVES, held_out_knobs
from rgbd_insight.validation.ranking import KNOBS, auroc

LEAST = 0.02  # of ceiling − null, below which a normalised value would be noise
Streams = list[np.ndarray]


def joint(plan: dict, seed: int) -> list[dict]:
    """What every comparison says of two modalities that share a planted part of their concepts, larger where more.

    Two networks of each modality. Every comparison of two streams is a mean over the four pairs of networks: as it is
    ("raw"), and between its value for permuted groups and that of two networks of one modality ("normalised").
    """
    world = World(overlapping(plan, seed), seed)
    rgb, depth = world.streams("rgb", [0, 1]), world.streams("depth", [0, 1])
    truth = world.shared_concepts([0, 1])
    found = compared(rgb, depth, world.groups, seed)
    told = information_decomposition(world.areas, rgb[0], depth[0], world.groups)
    found["raw"]["redundant information"] = float(told.level[0])
    found |= joined(rgb, depth, world, found["normalised"]["debiased_cka"])
    base = {"part": "shared concepts", "n": len(world.groups), "width": world.knobs.width, "truth": truth}
    base |= {k: float(getattr(world.knobs, k)) for k in KNOBS}
    return [
        base | {"measure": name, "ours": condition == "joint", "condition": condition, "value": value}
        for condition, values in found.items()
        for name, value in values.items()
    ]


def overlapping(plan: dict, seed: int) -> Knobs:
    """Knobs of a held-out world of which any share of the concepts may be shown by both modalities."""
    p, rng = plan["joint"], np.random.default_rng([seed, 8])
    fixed = {"n": p["n"][rng.integers(len(p["n"]))], "coverage": p["coverage"][rng.integers(len(p["coverage"]))]}
    overlap = float(rng.uniform(*p["concept_overlap"]))
    return held_out_knobs(plan, seed, concept_overlap=overlap, networks=p["networks"], outlier=0, **fixed)


def joined(rgb: Streams, depth: Streams, world: World, similarity: float) -> dict[str, dict[str, float]]:
    """1 minus semantic variance on its scale and 1 minus the joint score, of what is decoded and of matched units."""
    a, b = (
        [decodability(z, world.present, world.groups, strata=world.areas).by_fold for z in side]
        for side in (rgb, depth)
    )
    scales = {"": semantic_scale(a, b), ", units": _unit_scale(rgb, depth, world)}
    variance = {form: scale.scaled for form, scale in scales.items()}
    parts = {f"semantic variance{form}": 1 - value for form, value in variance.items()}
    scores = {f"joint score{form}": 1 - float(joint_score(similarity, value)) for form, value in variance.items()}
    return {"part": parts, "joint": scores}


def _unit_scale(rgb: Streams, depth: Streams, world: World) -> SemanticScale:
    """The scale by units matched one to one, of equal widths: of a wider stream the best units would be chosen."""
    narrow = min(rgb[0].shape[1], depth[0].shape[1])
    a, b = ([profiles(z[:, :narrow], world.present, world.groups).by_fold for z in side] for side in (rgb, depth))
    between = np.mean([level_semantic_variance(a[i], b[1 - i]) for i in (0, 1)])
    floor = np.mean([level_semantic_variance(*side) for side in (a, b)])
    apart = 2 * np.mean([semantic_variance(z, 0 * z[:, :1]) for side in (a, b) for z in side])
    return SemanticScale(float(between), float(floor), float(apart))


def compared(rgb: Streams, depth: Streams, groups: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    """Comparisons of two streams that know no concepts, raw and normalised; a dictionary of one pair as it is."""
    order = permute_groups(groups, np.random.default_rng([seed, 7]))
    levels = [*rgb, *depth, *(y[order] for y in depth)]
    found: dict[str, dict[str, float]] = {"raw": {}, "normalised": {}}
    for name in ("debiased_cka", *ALTERNATIVES, "predictivity", "matching", "sampled_cka"):
        table = _table(name, levels, groups)
        between, null = (np.mean([table[i, j] for i in (0, 1) for j in other]) for other in ((2, 3), (4, 5)))
        ceiling = (table[0, 1] + table[2, 3]) / 2
        found["raw"][name] = float(between)
        found["normalised"][name] = float((between - null) / max(ceiling - null, LEAST))
    found["raw"]["calibrated CKA"] = float(calibrated_similarity(rgb, depth, groups, permutations=19).levels.mean())
    found["raw"]["crosscoder"] = crosscoder_share(rgb[0], depth[0])
    return found


def _table(name: str, levels: Streams, groups: np.ndarray) -> np.ndarray:
    """(6, 6) of two networks, two of the other modality, and these with other images; only what is needed is there."""
    if name == "debiased_cka":
        return cka_matrix(levels)
    if name in pairs.MEASURES:
        return pairs.matrix(name, levels)
    function: Callable = (lambda x, y, _: sampled_cka(x, y)) if name == "sampled_cka" else MEASURES[name].function
    table = np.full((6, 6), np.nan)
    for i, j in [*product((0, 1), (2, 3, 4, 5)), (0, 1), (2, 3)]:
        table[i, j] = function(levels[i], levels[j], groups)
    return table


def synergy(plan: dict, seed: int) -> list[dict]:
    """AUROC with which each form of synergy tells concepts that only both modalities together show from the others."""
    p, rng = plan["synergy"], np.random.default_rng([seed, 8])
    knobs = held_out_knobs(plan, seed, n=p["n"][rng.integers(len(p["n"]))], coverage=1.0, networks=2, outlier=0)
    world = World(knobs, seed)
    rgb, depth = world.streams("rgb", [0, 1]), world.streams("depth", [0, 1])
    told = information_decomposition(world.areas, rgb[0], depth[0], world.groups)
    found = {
        "excess synergy": excess_synergy(world.areas, rgb, depth, world.groups),
        "synergy, minimum mutual information": told.synergistic,
        "co-information": told.together - told.first - told.second,
        "decodability gain": _gain(rgb, depth, world),
    }
    truth = (world.kinds == "together").astype(float)
    base = {"part": "together", "n": len(world.groups), "width": knobs.width}
    base |= {k: float(getattr(knobs, k)) for k in KNOBS}
    return [
        base | {"measure": name, "ours": name == "excess synergy", "value": auroc(value[known], truth[known], 0.5)}
        for name, value in found.items()
        for known in [np.isfinite(value)]
    ]


def _gain(rgb: Streams, depth: Streams, world: World) -> np.ndarray:
    """(K,) by how much δ of both modalities exceeds that of two networks of either: what labels 'together' rest on."""

    def delta(*streams: np.ndarray) -> np.ndarray:
        return decodability(np.hstack(streams), world.present, world.groups, components=64, strata=world.areas).delta

    return delta(rgb[0], depth[0]) - np.maximum(delta(*rgb), delta(*depth))
