"""What two streams tell of concepts: the same, each alone, and only together, in bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.partitioning import explained

MOST = 1 - 1e-9  # R² of a concept that a stream holds exactly: its information would be infinite
PARTS = ("redundant", "unique first", "unique second", "synergistic")


@dataclass(frozen=True, eq=False)
class Information:
    """Information of two streams about every concept, in bits; the four parts sum to `together`.

    Attributes
    ----------
    first, second, together : array (K,)
        Of either stream and of both side by side, at least 0; NaN for concepts that do not vary.
    """

    first: np.ndarray
    second: np.ndarray
    together: np.ndarray

    @property
    def redundant(self) -> np.ndarray:
        """(K,) what either stream tells: at least 0."""
        return np.minimum(self.first, self.second)

    @property
    def unique_first(self) -> np.ndarray:
        """(K,) what the first stream alone tells: at least 0."""
        return self.first - self.redundant

    @property
    def unique_second(self) -> np.ndarray:
        """(K,) what the second stream alone tells: at least 0."""
        return self.second - self.redundant

    @property
    def synergistic(self) -> np.ndarray:
        """(K,) what only both tell; below 0 where the joint probe, which has more to fit, is worse than one alone."""
        return self.together - np.maximum(self.first, self.second)

    @property
    def level(self) -> np.ndarray:
        """(4,) the `PARTS` as shares of all that both tell of the concepts of a level; NaN where they tell nothing."""
        parts = self.redundant, self.unique_first, self.unique_second, self.synergistic
        sums = np.array([np.nansum(part) for part in parts])
        return sums / sums.sum() if sums.sum() > 0 else np.full(4, np.nan)


def information_decomposition(
    concepts: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    *,
    components: int = 32,
    folds: int = 5,
    seed: int = 0,
) -> Information:
    """Gaussian partial information decomposition of two streams about every concept, held out by group.

    Parameters
    ----------
    concepts : array (N, K)
        How much of each concept an image shows, or whether it does.
    first, second : array (N, U), array (N, V)
        Responses to the same images.
    groups : array (N,)
        Groups that no fold may divide.
    components : int
        Principal components of each stream; of both side by side twice as many.
    folds, seed : int
        As for `variance_partitioning`.

    Returns
    -------
    Information

    Raises
    ------
    ValueError
        Where lengths differ, a value is not finite, or an option is out of range.

    Notes
    -----
    I(s; X) = −½ log₂(1 − R²), the mutual information where all is jointly normal, with R² that of a held-out ridge
    regression and not below 0. *Redundancy* is the minimum of both streams' information (minimum mutual information),
    which for a single normal target is the only one that depends on the marginals alone. It knows the amounts and not
    the content: two independent cues of equal size count as redundant, and what they add as synergy. And two noisy
    views of one thing have synergy, as two are better than one: `excess_synergy` takes that away.

    References
    ----------
    Williams, Beer: Nonnegative decomposition of multivariate information. 2010. Barrett: Exploration of synergistic
    and redundant information sharing in static and dynamical Gaussian systems. Physical Review E 91, 2015.

    Examples
    --------
    >>> a, b = np.random.default_rng(0).normal(size=(2, 400, 1))
    >>> found = information_decomposition(np.hstack([a, a + b]), a, b, np.arange(400))
    >>> (found.synergistic > 1).tolist()  # the sum takes both
    [False, True]
    """
    options = {"components": components, "folds": folds, "seed": seed}
    alone = [_bits(concepts, [z], groups, **options) for z in (first, second)]
    return Information(*alone, _bits(concepts, [first, second], groups, **options))


def excess_synergy(
    concepts: ArrayLike,
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    groups: ArrayLike,
    *,
    components: int = 32,
    folds: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """Bits (K,) that two modalities tell of a concept beyond what two networks of either tell; about 0 without synergy.

    Parameters
    ----------
    concepts, groups, components, folds, seed
        As for `information_decomposition`.
    first, second : pairs of arrays (N, U)
        Two networks of each modality.

    Returns
    -------
    array (K,)
        I(s; X, Y) − max(I(s; X, X′), I(s; Y, Y′)), the first over all four pairs of networks on average. Below 0
        where one modality tells all: its second network then helps more than the other modality's. NaN for a concept
        that is the same in all images.

    Raises
    ------
    ValueError
        As `information_decomposition`; or where a modality has other than two networks.

    Notes
    -----
    A second network of the same modality averages out as much noise as one of the other, and has no other cue: what the
    other modality's adds beyond it is what both have only together. It is to bits what the 'together' of
    `concept_labels` is to δ.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b, *noise = rng.normal(size=(6, 400, 1))
    >>> first, second = [a + noise[0], a + noise[1]], [b + noise[2], b + noise[3]]
    >>> (excess_synergy(np.hstack([a, a + b]), first, second, np.arange(400)) > 0.1).tolist()
    [False, True]
    """
    if len(first) != 2 or len(second) != 2:
        raise ValueError(f"`first` and `second` must be two networks each; got {len(first)} and {len(second)}.")
    options = {"components": components, "folds": folds, "seed": seed}
    across = np.mean([_bits(concepts, [x, y], groups, **options) for x in first for y in second], axis=0)
    within = [_bits(concepts, pair, groups, **options) for pair in (first, second)]
    return across - np.maximum(*within)


def _bits(
    concepts: ArrayLike, streams: Sequence[ArrayLike], groups: ArrayLike, components: int, folds: int, seed: int
) -> np.ndarray:
    """(K,) information of some streams side by side."""
    options = {"components": components * len(streams), "folds": folds, "seed": seed}
    return -np.log2(1 - np.clip(explained(concepts, streams, groups, **options), 0, MOST)) / 2
