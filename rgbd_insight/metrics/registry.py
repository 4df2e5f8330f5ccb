"""The measures that compare two streams, each with what it promises and its statistic: `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics import baselines
from rgbd_insight.metrics.cka import cka_statistic, debiased_cka
from rgbd_insight.metrics.prediction import predictivity, predictivity_statistic
from rgbd_insight.metrics.soft_matching import matching, matching_statistic, max_correlation

INVARIANCES = ("shift", "scale", "unit_scale", "sign", "permutation", "rotation")
Statistic = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Measure:
    """What a measure of two streams promises; `tests/contracts/test_measures.py` holds every measure to it.

    Questions and validation take their measures from here by name.

    Attributes
    ----------
    function : callable
        (x, y, groups) -> float; groups count only where the measure divides the images into folds.
    lower, upper : float or None
        Bounds of its values (None: unbounded).
    symmetric : bool
        Whether exchanging x and y leaves it as it is.
    invariances : tuple of str
        What may be done to either stream without changing it. "shift": a constant added to each unit; "scale": the
        stream times a positive number; "unit_scale": each unit times its own positive number; "sign": units times −1;
        "permutation" of units; "rotation" of the stream.
    kind : str
        "similarity" (larger is more alike), "directed" (from x to y) or "distance" (smaller is more alike).
    identical : float
        Value for a stream with itself.
    shared : callable or None
        (x, y, groups) -> statistic, where evaluations on other rows and partners can share work.
    """

    function: Callable[[ArrayLike, ArrayLike, ArrayLike], float]
    lower: float | None
    upper: float | None
    symmetric: bool
    invariances: tuple[str, ...]
    kind: str = "similarity"
    identical: float = 1.0
    shared: Callable[[ArrayLike, ArrayLike, ArrayLike], Statistic] | None = None

    def statistic(self, x: ArrayLike, y: ArrayLike, groups: ArrayLike) -> Statistic:
        """The measure as a function of the rows of x and their partners in y, for `stats.estimate`.

        Parameters
        ----------
        x, y : array (N, U), array (N, V)
            Responses to the same images.
        groups : array (N,)
            Physical scene of each image.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(40, 3))
        >>> every = np.arange(40)
        >>> [round(MEASURES[name].statistic(x, -x, every)(every, every), 6) for name in ("debiased_cka", "svcca")]
        [1.0, 1.0]
        """
        if self.shared is not None:
            return self.shared(x, y, groups)
        x, y, groups = np.asarray(x), np.asarray(y), np.asarray(groups)
        return lambda rows, partner: self.function(x[rows], y[partner], groups[rows])


def _of_pair(function: Callable[[ArrayLike, ArrayLike], float]) -> Callable[[ArrayLike, ArrayLike, ArrayLike], float]:
    """A measure that needs no groups."""
    return lambda x, y, groups: function(x, y)


_TURNS = ("shift", "scale", "sign", "permutation", "rotation")
_UNITS = ("shift", "scale", "unit_scale", "sign", "permutation")

MEASURES: dict[str, Measure] = {
    "debiased_cka": Measure(
        _of_pair(debiased_cka), None, 1.0, True, _TURNS, shared=lambda x, y, groups: cka_statistic(x, y)
    ),
    "cka": Measure(_of_pair(baselines.cka), 0.0, 1.0, True, _TURNS),  # for comparison only
    "matching": Measure(
        lambda x, y, groups: matching(x, y, groups).mean, -1.0, 1.0, True, _UNITS, shared=matching_statistic
    ),
    "max_correlation": Measure(_of_pair(lambda x, y: float(max_correlation(x, y).mean())), 0.0, 1.0, False, _UNITS),
    "predictivity": Measure(
        lambda x, y, groups: predictivity(x, y, groups).r2,
        None,
        1.0,
        False,
        _TURNS,
        kind="directed",
        shared=predictivity_statistic,
    ),
    # for comparison only too
    "minibatch_cka": Measure(_of_pair(baselines.minibatch_cka), None, 1.0, True, _TURNS),
    "svcca": Measure(_of_pair(baselines.svcca), 0.0, 1.0, True, _TURNS),
    "pwcca": Measure(_of_pair(baselines.pwcca), 0.0, 1.0, False, ("shift", "scale", "sign", "permutation")),
    "procrustes": Measure(_of_pair(baselines.procrustes), 0.0, 1.0, True, _TURNS),
    "procrustes_distance": Measure(
        _of_pair(baselines.procrustes_distance), 0.0, 2**0.5, True, _TURNS, kind="distance", identical=0.0
    ),
    "rsa": Measure(_of_pair(baselines.rsa), -1.0, 1.0, True, _TURNS),
    "knn_overlap": Measure(_of_pair(baselines.knn_overlap), 0.0, 1.0, True, _TURNS),
}
