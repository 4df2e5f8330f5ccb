"""The main figure of each question's result."""

from __future__ import annotations

from functools import partial
from typing import Any

from matplotlib.axes import Axes

from rgbd_insight.features import SCORES
from rgbd_insight.plots.collaboration import ablation, accuracy, class_accuracy, gradients, retention, utilisation
from rgbd_insight.plots.consistency import similarity
from rgbd_insight.plots.evolution import centre_of_mass, dimension, families_by_level, training
from rgbd_insight.plots.plane import axis, plane, quadrants
from rgbd_insight.plots.specificity import concepts, dissimilarity
from rgbd_insight.result import Result

MAIN = {  # question → {measure: figure}; the first measure that the result holds is drawn
    "consistency": {
        m: partial(similarity, measure=m)
        for m in (
            "cka",
            "consistent share",
            "consistent share uncorrected",
            "cka controlled",
            "cka normalised",
            "cka within",
            "matching",
            "predictivity",
        )
    },
    "specificity": {"decodability": concepts}
    | {
        m: partial(dissimilarity, measure=m)
        for m in ("specific share", "specific share uncorrected", "level semantic variance")
    },
    "evolution": {"family": families_by_level, "centre of mass": centre_of_mass, "effective dimension": dimension}
    | {m: partial(training, measure=m) for m in ("to final", "family in training")},
    "collaboration": {
        "retention": retention,
        **dict.fromkeys(SCORES, accuracy),
        "utilisation": utilisation,
        "ablation": ablation,
        "class accuracy": class_accuracy,
        "gradient cosine": gradients,
    },
    "joint": {"joint discrepancy": plane}
    | {m: partial(axis, measure=m) for m in ("feature similarity", "semantic variance")}
    | {"units in quadrant": quadrants},
}


def plot(result: Result, ax: Axes | None = None, **options: Any) -> Axes:
    """The main figure of a result; what can be drawn of it besides are the functions of `rgbd_insight.plots`.

    Parameters
    ----------
    result : Result
        The answer to any question.
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    **options : Any
        Handed to the figure's function, for example `level=2`.

    Returns
    -------
    Axes
        Consistency: similarity by level. Specificity: every concept in both modalities. Evolution: families of concepts
        by level. Collaboration: what joint training changed. Joint: the plane of both axes. Where that measure was
        not computed, the next.

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
    measure = main_measure(result)
    if measure is None:
        wanted, held = ", ".join(map(repr, MAIN[result.question])), ", ".join(sorted(set(result.table["measure"])))
        raise ValueError(
            f"`result` must hold one of {wanted}; it holds {held or 'nothing'}. "
            f"Compute it: ri.{result.question}(features, run)"
        )
    return MAIN[result.question][measure](result, ax=ax, **options)


def main_measure(result: Result) -> str | None:
    """The measure that `plot` draws of a result.

    Parameters
    ----------
    result : Result
        The answer to any question.

    Returns
    -------
    str or None
        None where the result holds nothing that could be drawn.

    Examples
    --------
    >>> rows = [{"measure": "cka", "fusion": "sum", "level": level, "value": 0.5} for level in (1, 2)]
    >>> main_measure(Result.of("consistency", rows, made={}))
    'cka'
    """
    held = set(result.table["measure"])
    return next((measure for measure in MAIN[result.question] if measure in held), None)
