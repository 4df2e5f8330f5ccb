"""The measures that compare two streams or read concepts, each with its promises: `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rgbd_insight.metrics import attenuation, baselines, cka, partitioning, prediction, probes, semantic, soft_matching

INVARIANCES = ("shift", "scale", "unit_scale", "sign", "permutation", "rotation")


@dataclass(frozen=True)
class Measure:
    """What a measure promises; `tests/contracts/test_measures.py` holds every measure to it.

    Attributes
    ----------
    function : (x, y) -> float, or (x, y, groups) -> float where `grouped`.
    lower, upper : bounds of its values (None: unbounded).
    symmetric : whether exchanging x and y leaves it as it is.
    invariances : what may be done to either stream without changing it. "shift": a constant added to each unit;
        "scale": the stream times a positive number; "unit_scale": each unit times its own positive number; "sign":
        units times −1; "permutation" of units; "rotation" of the stream.
    kind : "similarity" (larger is more alike), "directed" (from x to y) or "distance" (smaller is more alike);
        "concept", "profiles" and "partitioning" take other arguments than x and y and are held to their own tests.
    grouped : whether `function` needs the group of each sample.
    identical : value for a stream with itself (None: no fixed value).
    """

    function: Callable[..., float]
    lower: float | None
    upper: float | None
    symmetric: bool
    invariances: tuple[str, ...]
    kind: str = "similarity"
    grouped: bool = False
    identical: float | None = 1.0


_TURNS = ("shift", "scale", "sign", "permutation", "rotation")
_UNITS = ("shift", "scale", "unit_scale", "sign", "permutation")

MEASURES: dict[str, Measure] = {
    # similarity
    "debiased_cka": Measure(cka.debiased_cka, None, 1.0, True, _TURNS),
    "cka": Measure(baselines.cka, 0.0, 1.0, True, _TURNS),
    "matching": Measure(
        lambda x, y, groups: soft_matching.matching(x, y, groups).mean, -1.0, 1.0, True, _UNITS, grouped=True
    ),
    "max_correlation": Measure(lambda x, y: float(soft_matching.max_correlation(x, y).mean()), 0.0, 1.0, False, _UNITS),
    "predictivity": Measure(
        lambda x, y, groups: prediction.predictivity(x, y, groups).r2,
        None,
        1.0,
        False,
        _TURNS,
        "directed",
        grouped=True,
    ),
    # for comparison only
    "minibatch_cka": Measure(baselines.minibatch_cka, None, 1.0, True, _TURNS),
    "svcca": Measure(baselines.svcca, 0.0, 1.0, True, _TURNS),
    "pwcca": Measure(baselines.pwcca, 0.0, 1.0, False, ("shift", "scale", "sign", "permutation")),
    "procrustes": Measure(baselines.procrustes, 0.0, 1.0, True, _TURNS),
    "procrustes_distance": Measure(baselines.procrustes_distance, 0.0, 2**0.5, True, _TURNS, "distance", identical=0.0),
    "rsa": Measure(baselines.rsa, -1.0, 1.0, True, _TURNS),
    "knn_overlap": Measure(baselines.knn_overlap, 0.0, 1.0, True, _TURNS),
    # with concepts: (x, present, groups), or profiles by fold; see each function for its arguments and its result
    "profiles": Measure(
        semantic.profiles, -1.0, 1.0, False, ("shift", "scale", "unit_scale"), "concept", grouped=True, identical=None
    ),
    "decodability": Measure(probes.decodability, -1.0, 1.0, False, _UNITS, "concept", grouped=True, identical=None),
    "semantic_variance": Measure(semantic.semantic_variance, -0.5, 2.0, True, (), "profiles", identical=0.0),
    "level_semantic_variance": Measure(
        semantic.level_semantic_variance, -2.0, 2.0, True, ("permutation",), "profiles", identical=0.0
    ),
    "concept_variance": Measure(semantic.concept_variance, -0.5, 2.0, True, (), "profiles", identical=0.0),
    "variance_partitioning": Measure(
        partitioning.variance_partitioning, None, 1.0, False, _UNITS, "partitioning", grouped=True, identical=None
    ),
    "corrected_partitioning": Measure(
        attenuation.corrected_partitioning, None, None, False, _UNITS, "partitioning", grouped=True, identical=None
    ),
}
