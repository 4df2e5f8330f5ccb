"""Similarity above what chance gives at these widths, and above what the best of many pairs of levels gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.baselines.pairs import MEASURES, matrix
from rgbd_insight.metrics.cka import cka_statistic
from rgbd_insight.stats.estimates import p_value
from rgbd_insight.stats.groups import exchanger


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Similarity of levels on a scale that ends at 1 and has chance at 0 and below.

    Attributes
    ----------
    levels : array (L, M)
        Each pair of levels by its own null.
    best : float
        The best pair of levels by the null of the best pair: what is left of a match that was searched for.
    p : float
        Of the best pair, by the same null.
    """

    levels: np.ndarray
    best: float
    p: float


def calibrated_similarity(
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    groups: ArrayLike,
    *,
    measure: str = "cka",
    permutations: int = 99,
    level: float = 0.05,
    seed: int = 0,
) -> Calibrated:
    """Similarity as a share of what is possible beyond chance: (value − quantile of the null) / (1 − quantile).

    Parameters
    ----------
    first, second : sequences of array (N, U)
        Levels over the same images; widths may differ.
    groups : array (N,)
        What is exchangeable: whole groups are permuted.
    measure : str
        "debiased_cka" or a baseline that ends at 1.
    permutations : int
        At least 19, so that there is a quantile at .05.
    level : float
        The null's upper quantile is that at 1 − `level`.
    seed : int
        Of the permutations.

    Returns
    -------
    Calibrated
        Not clamped: unrelated levels are mostly below 0.

    Raises
    ------
    ValueError
        For other measures, for too few permutations, and as the measure does.

    Notes
    -----
    The quantile is the ⌈(1 − level)(P + 1)⌉-th smallest of the P permuted values. Wide levels give high values by
    chance, which their own null takes away; the best of L·M pairs is high by choice, which the null of the best pair
    takes away. The definition is ours, after the calibration of Gröger et al., which permutes images and clamps at 0.

    References
    ----------
    Gröger, Wen, Brbić: Revisiting the Platonic representation hypothesis: an Aristotelian view. ICML 2026.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 60, 200))
    >>> found = calibrated_similarity([x], [y, x[:, :100] + x[:, 100:]], np.arange(60), permutations=19)
    >>> (found.levels > 0).tolist(), found.best > 0, found.p
    ([[False, True]], True, 0.05)
    """
    if measure not in ("debiased_cka", *MEASURES) or measure == "procrustes_distance":
        known = ", ".join(name for name in MEASURES if name != "procrustes_distance")
        raise ValueError(f"`measure` must be debiased_cka or one of {known}; got {measure!r}.")
    place = int(np.ceil((1 - level) * (permutations + 1)))
    if not 0 < level < 1 or place > permutations:
        raise ValueError(f"`permutations` must be ≥ 1/`level` − 1 and `level` in (0, 1); got {permutations}, {level}.")
    rng, exchange = np.random.default_rng(seed), exchanger(groups)
    second = [np.asarray(y) for y in second]

    orders = [np.arange(len(second[0])), *(exchange(rng) for _ in range(permutations))]
    if measure == "debiased_cka":
        found = cka_statistic(list(first), second).many([(orders[0], order) for order in orders])  # (1 + P, L, M)
    else:
        found = np.stack([matrix(measure, first, [y[order] for y in second]) for order in orders])
    value, draws = found[0], found[1:]
    chance = np.sort(draws, axis=0)[place - 1]
    highest = draws.max((1, 2))
    top = np.sort(highest)[place - 1]
    best = float((value.max() - top) / (1 - top))
    return Calibrated((value - chance) / (1 - chance), best, float(p_value(value.max(), highest)))
