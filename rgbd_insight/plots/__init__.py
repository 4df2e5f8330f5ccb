"""One function a figure: `Result` in, matplotlib `Axes` out; `plot` draws the main figure of a question.

Colours keep their meaning in all of them: colour is orange, depth blue, both together green; grey is what chance gives,
a dashed line the ceiling, a diamond what was planted. Lines through points are intervals.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from matplotlib.axes import Axes

from rgbd_insight.plots.collaboration import ablation, accuracy, classes, gradients, retention, utilisation
from rgbd_insight.plots.consistency import shares, similarity
from rgbd_insight.plots.evolution import centre, dimension, families, levels, training
from rgbd_insight.plots.pictures import cues, scenes
from rgbd_insight.plots.specificity import by_depth, concepts, visibility
from rgbd_insight.plots.streams import purity
from rgbd_insight.plots.trust import (
    advantages,
    against_truth,
    beside_truth,
    calibration,
    coverage,
    false_positives,
    null_curves,
    partitioning_errors,
)
from rgbd_insight.plots.units import gallery
from rgbd_insight.result import Result

__all__ = [
    "ablation",
    "partitioning_errors",
    "accuracy",
    "advantages",
    "against_truth",
    "beside_truth",
    "by_depth",
    "calibration",
    "centre",
    "classes",
    "concepts",
    "coverage",
    "cues",
    "dimension",
    "false_positives",
    "families",
    "gallery",
    "gradients",
    "levels",
    "null_curves",
    "plot",
    "purity",
    "retention",
    "scenes",
    "shares",
    "similarity",
    "training",
    "utilisation",
    "visibility",
]

MAIN = {  # question → {measure: figure}; the first measure that the result holds is drawn
    "consistency": {
        m: partial(similarity, measure=m)
        for m in (
            "cka",
            "consistent share",
            "cka controlled",
            "cka normalised",
            "cka within",
            "matching",
            "predictivity",
        )
    },
    "specificity": {"decodability": concepts}
    | {m: partial(by_depth, measure=m) for m in ("specific share", "level semantic variance")},
    "evolution": {"family": families, "centre of mass": centre, "effective dimension": dimension}
    | {m: partial(training, measure=m) for m in ("to final", "family in training")},
    "collaboration": {
        "retention": retention,
        "accuracy": accuracy,
        "utilisation": utilisation,
        "ablation": ablation,
        "class accuracy": classes,
        "gradient cosine": gradients,
    },
}


def plot(result: Result, ax: Axes | None = None, **options: Any) -> Axes:
    """The main figure of a result; what can be drawn of it besides are the functions of `rgbd_insight.plots`.

    Parameters
    ----------
    result : the answer to any question.
    ax : where to draw; a figure of its own by default.
    options : handed to the figure's function, for example `level=2`.

    Returns
    -------
    Axes. Consistency: similarity by level. Specificity: every concept in both modalities. Evolution: families of
    concepts by level. Collaboration: what joint training changed. Where that measure was not computed, the next.

    Raises
    ------
    ValueError
        Where the result holds nothing that can be drawn, or is of several networks and the figure is of one.

    Examples
    --------
    >>> rows = [{"measure": "cka", "fusion": "sum", "level": level, "value": 0.5} for level in (1, 2)]
    >>> plot(Result.of("consistency", rows, made={})).get_title("left")
    'Similarity of the two modalities: sum'
    """
    if result.question not in MAIN:
        raise ValueError(f"`result.question` must be one of {', '.join(MAIN)}; got {result.question!r}")
    held = set(result.table["measure"])
    for measure, figure in MAIN[result.question].items():
        if measure in held:
            return figure(result, ax=ax, **options)
    wanted = ", ".join(map(repr, MAIN[result.question]))
    raise ValueError(
        f"`result` must hold one of {wanted}; it holds {', '.join(sorted(held)) or 'nothing'}. "
        f"Compute it: ri.{result.question}(features, run)"
    )
