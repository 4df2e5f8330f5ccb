"""The variance partitioning without the part of its error that comes from few, or noisy, networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.banded import checked_streams
from rgbd_insight.metrics.checks import are_all
from rgbd_insight.metrics.partitioning import SHARES, undefined
from rgbd_insight.metrics.sides import covariances, penalties, summed
from rgbd_insight.stats.groups import checked_blocks, group_folds
from rgbd_insight.utils.threads import one_thread

LEAST = 0.1  # attenuation: beyond it, what is corrected is noise
ROUNDING = 1e-9  # R² that is none
PRIOR = 0.01  # of what a stream predicts: about the error of a part
OTHER, SAME = range(2)  # rows of the covariances


@dataclass(frozen=True, eq=False)
class Corrected:
    """What `corrected_partitioning` found.

    Attributes
    ----------
    covariances : array (2, 2, 2, U)
        The value of `CorrectedStatistic`, from which all else follows.
    shares : array (U, 4)
        R² in the order of `SHARES`, as if the networks of either modality had no noise; a row sums to `ceiling`.
        NaN for constant units.
    ceiling : array (U,)
        R² of the same modality's networks, corrected alike.
    level : array (4,)
        Σ_u share / Σ_u ceiling; sums to 1. NaN with a reason where that ceiling is not positive.
    attenuation : array (2, 2)
        By how much too small predictions are: of `other` and of `same` (rows), in what concepts name and in the rest.
    reason : str
        Why `level` is NaN, or ''.
    """

    covariances: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        return corrected_unit_shares(self.covariances)

    @property
    def ceiling(self) -> np.ndarray:
        return corrected_ceilings(self.covariances)

    @property
    def level(self) -> np.ndarray:
        return corrected_level_shares(self.covariances)

    @property
    def attenuation(self) -> np.ndarray:
        return attenuations(self.covariances)

    @property
    def reason(self) -> str:
        return undefined(self.level)


def attenuations(covariances: np.ndarray) -> np.ndarray:
    """By how much too small predictions are (2, 2), in [0.1, 1]: of other and same, in what is named and in the rest.

    From covariances (2, 2, 2, U) of `CorrectedStatistic`. A hundredth of what the whole stream predicts is added to
    each part, so that one which is mostly noise has the stream's attenuation. None is below .1: nothing is made more
    than ten times as large, even where the other modality predicts nothing at all.
    """
    sums, whole = np.nansum(_parts(covariances), axis=-1), np.nansum(covariances[:, :1], axis=-1)  # (2, 2 or 1, 2)
    sums = np.maximum(sums, 0) + PRIOR * whole
    return np.clip(np.divide(sums[..., 1], sums[..., 0], out=np.ones((2, 2)), where=sums[..., 0] != 0), LEAST, 1)


def _parts(covariances: np.ndarray) -> np.ndarray:
    """Covariances (other or same, named or not, with y or with each other, U)."""
    return np.stack([covariances[:, 0] - covariances[:, 1], covariances[:, 1]], axis=1)


def _corrected_r2(covariances: np.ndarray) -> np.ndarray:
    """R² (other or same, named or not, U) as if networks had no noise."""
    return _parts(covariances)[:, :, 0] / attenuations(covariances)[..., None]


def corrected_unit_shares(covariances: np.ndarray) -> np.ndarray:
    """R² (U, 4) in the order of SHARES, corrected, from covariances (2, 2, 2, U); rows sum to `corrected_ceilings`.

    Parameters
    ----------
    covariances : array of float (2, 2, 2, U)
        Of `CorrectedStatistic`.

    Examples
    --------
    >>> covariances = np.ones((2, 2, 2, 1)) * [[[[0.4], [0.2]], [[0.1], [0.05]]], [[[0.8], [0.8]], [[0.2], [0.2]]]]
    >>> corrected_unit_shares(covariances).round(1)  # predictions of `other` are half as large as they should be
    array([[0.6, 0. , 0.2, 0. ]])
    """
    other, same = _corrected_r2(covariances)
    return np.stack([other[0], same[0] - other[0], other[1], same[1] - other[1]], axis=-1)


def corrected_ceilings(covariances: np.ndarray) -> np.ndarray:
    """R² (U,) of the same modality's networks, corrected, from covariances (2, 2, 2, U).

    Parameters
    ----------
    covariances : array of float (2, 2, 2, U)
        Of `CorrectedStatistic`.
    """
    return _corrected_r2(covariances)[SAME].sum(0)


def corrected_level_shares(covariances: np.ndarray) -> np.ndarray:
    """Shares of a level (4,), Σ_u share / Σ_u ceiling, from covariances (2, 2, 2, U).

    They sum to 1; NaN where that ceiling is not positive.

    Parameters
    ----------
    covariances : array of float (2, 2, 2, U)
        Of `CorrectedStatistic`.
    """
    ceilings = corrected_ceilings(covariances)
    top = np.nansum(ceilings)
    if top <= ROUNDING * len(ceilings):
        return np.full(len(SHARES), np.nan)
    return np.nansum(corrected_unit_shares(covariances), axis=0) / top


def corrected_partitioning(
    y: ArrayLike,
    concepts: ArrayLike,
    other: Sequence[ArrayLike],
    same: Sequence[ArrayLike],
    groups: ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Corrected:
    """The variance partitioning of `variance_partitioning`, corrected for what noise of the other networks hides.

    Parameters
    ----------
    y : array (N, U)
        Responses of the units whose variance is divided.
    concepts : array (N, K), or two of them
        Areas or presence of the concepts; two, (2, N, K), are labels by two annotators, which see to it that wrong
        labels hide nothing.
    other, same : sequences of arrays (N, D)
        Streams of the other and of the same modality, of *other* seeds: two or more of each.
    groups : array (N,)
        Groups that no fold may divide; at least 2 · folds.
    folds, seed : int
        Number of folds (3 or more); seed of folds, halves and sides.

    Returns
    -------
    Corrected

    Raises
    ------
    ValueError
        If shapes disagree, a value is not finite, there is only one network of a modality, or too few groups.

    Notes
    -----
    The classical correction for attenuation, of predictions. The networks are divided into two sides (anew in each
    fold) and the training groups into two halves; a ridge of each side on a half of its own predicts the held-out unit.
    Errors of the two predictions û_A, û_B have nothing in common, so that with the part t that can be predicted,
    û = a·t + error has cov(y, û) = a·var(t) and cov(û_A, û_B) = a²·var(t). Hence a = Σ_u cov(û_A, û_B) / Σ_u cov(y, û)
    and R² = cov(y, û)/a, means over sides and folds; covariances are about the held-out fold's own means, since the two
    halves err in opposite directions about the training mean. The same is done with units and streams from which all
    concepts were taken out (as estimated in each half), which gives u(X); the rest is c(X). Each part has an
    attenuation of its own (see `attenuations`).

    The ridge's penalty is .2 of a variance times noise over signal, (Σ var(û) - Σ cov(û_A, û_B)) / Σ cov(û_A, û_B) of
    what a penalty of .2 predicts of the level in the first fold, between .05 and 2, for either modality's networks. One
    penalty for all hides weak parts where predictions are good; where they are mostly noise, what the shares are
    divided by is.

    Assumes that noise of different networks is independent, and that within a part units are attenuated alike: it is
    meant for levels and sets of units, and single units are the noisier. It is not quite so where networks are mostly
    noise, whose strong directions lose less than the weak ones: with one modality 3 times as noisy, shares of 150
    worlds were off by .02 on average and one by .12. That error belongs to a world, whichever images are drawn, so that
    intervals, which know of sampling alone, held in .6 to .8 of them.
    Negative parts are kept. Needs some 600 images. With one other network of a modality there is no correction.
    For intervals: `CorrectedStatistic`.

    One set of labels is taken to be right: what wrong ones leave in reads as unnamed. Of two sets with independent
    errors, one is taken out for one half and the other for the other half, each with the other as its instrument, so
    that what both leave in has nothing in common.

    Unchanged by shift and factor of each unit.

    References
    ----------
    Spearman, The proof and measurement of association between two things, American Journal of Psychology 1904.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared, concepts = rng.normal(size=(2, 600, 4))
    >>> noisy = [shared @ rng.normal(size=(4, 30)) + 6 * rng.normal(size=(600, 30)) for _ in range(4)]
    >>> clean = [shared + 0.1 * rng.normal(size=(600, 4)) for _ in range(2)]
    >>> corrected_partitioning(shared, concepts, noisy, clean, np.arange(600)).level.round(1) + 0.0
    array([0., 0., 1., 0.])
    """
    return Corrected(CorrectedStatistic(y, concepts, other, same, groups, folds=folds, seed=seed).whole)


class CorrectedStatistic:
    """Covariances (2, 2, 2, U) of units and predictions as `stats.estimate` takes them, and their leave-outs.

    Parameters
    ----------
    y, concepts, other, same, groups, folds, seed
        As for `corrected_partitioning`. Rows are those of `other`, partners those of all else.

    Attributes
    ----------
    whole : array (2, 2, 2, U)
        Of all rows: of `other` or `same`, whole or without concepts, of the prediction with the unit or with that of
        the other side, and unit; as shares of the unit's variance. NaN for constant units.

    Notes
    -----
    Without a block the sums over held-out rows are exact; what the block did to the fits is taken off to first order
    (the infinitesimal jackknife), so that there is nothing to fit again. Penalties stay those of all rows. Functions of
    the covariances have their interval by `stats.combine`.

    Examples
    --------
    >>> from rgbd_insight.stats import combine, estimate
    >>> rng, groups = np.random.default_rng(0), np.arange(300)
    >>> shared, private, concepts = rng.normal(size=(3, 300, 2))
    >>> streams = 2 * [shared], 2 * [np.hstack([shared, private])]
    >>> statistic = CorrectedStatistic(np.hstack([shared, private]), concepts, *streams, groups)
    >>> level = combine(corrected_level_shares, estimate(statistic, groups, null=False))
    >>> bool(level.low[SHARES.index("unnamed-specific")] > 0.4)
    True
    """

    def __init__(
        self,
        y: ArrayLike,
        concepts: ArrayLike,
        other: Sequence[ArrayLike],
        same: Sequence[ArrayLike],
        groups: ArrayLike,
        *,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        if min(len(other), len(same)) < 2:
            raise ValueError(
                f"`other` and `same` must hold two or more networks each; got {len(other)} and {len(same)}. With one, "
                "use `variance_partitioning`."
            )
        if folds < 3:
            raise ValueError(f"`folds` must be >= 3; got {folds}. Choose more.")
        self.concepts = list(concepts) if np.ndim(concepts) == 3 else [concepts]  # of one or two annotators
        if len(self.concepts) not in (1, 2):
            raise ValueError(f"`concepts` must be one or two sets of labels; got {len(self.concepts)}. Choose two.")
        self.y, self.streams, self.groups = y, (other, same), np.asarray(groups)
        self.folds, self.seed = folds, seed
        self.sets = [slice(None)]  # of units with a penalty of their own
        self._known: tuple[bytes, np.ndarray] = (b"", np.empty(0))
        self._arrays()  # says what is wrong with them

    def _arrays(self) -> list[np.ndarray]:
        """The units, the concepts and every stream, centred, of variance 1."""
        inputs = {"concepts": self.concepts, "other": self.streams[OTHER], "same": self.streams[SAME]}
        return checked_streams(self.y, inputs, self.groups)[0]

    @cached_property
    def whole(self) -> np.ndarray:
        every = np.arange(len(self.groups))
        return self._at(every, every, np.ones((1, len(every))))[0]

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        if are_all(rows, partner, len(self.groups)):
            return self.whole
        return self._at(rows, partner, np.ones((1, len(rows))))[0]

    def leave_outs(self, blocks: np.ndarray) -> np.ndarray:
        """Covariances (G, 2, 2, 2, U) without each block; NaN where a unit varies only inside that block."""
        codes = checked_blocks(blocks, self.groups)
        if self._known[0] != (key := codes.tobytes()):
            every = np.arange(len(codes))
            kept = np.vstack([np.ones(len(codes)), np.arange(codes.max() + 1)[:, None] != codes])
            self.whole, *without = self._at(every, every, kept)
            self._known = key, np.stack(without)
        return self._known[1]

    @one_thread
    def _at(self, rows: np.ndarray, partner: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Covariances (M, 2, 2, 2, U) of rows of which each of `kept` (M, n) counts some, the first all of them."""
        y, *arrays = self._arrays()
        first, last = np.cumsum([len(self.concepts), len(self.streams[OTHER])])  # of the other's networks
        y, concepts = y[partner], [c[partner] for c in arrays[:first]]
        streams = [x[rows] for x in arrays[first:last]], [x[partner] for x in arrays[last:]]
        cell = group_folds(self.groups[rows], 2 * self.folds, self.seed)  # a half of a fold
        tests = [cell // 2 == f for f in range(self.folds)]
        halves = [[np.flatnonzero(~test & (cell % 2 == h)) for h in (0, 1)] for test in tests]
        found, total = np.zeros((len(kept), 2, 2, 2, y.shape[1])), np.zeros((len(kept), y.shape[1]))
        for which, nets in enumerate(streams):
            arrays = [y, *nets]
            penalty = penalties(arrays, halves[0], tests[0], self.seed, self.sets)
            for f, (test, rows) in enumerate(zip(tests, halves, strict=True)):
                found[:, which] += covariances(arrays, concepts, rows, test, kept, self.seed + f, penalty)
        for test in tests:
            total += summed(y[test], y[test], kept[:, test])
        return found / np.where(total > 1e-9 * kept.sum(1)[:, None], total, np.nan)[:, None, None, None]


def corrected_partitionings(
    y: Sequence[ArrayLike], concepts: ArrayLike, streams: Sequence[Sequence[ArrayLike]], groups: ArrayLike
) -> tuple[CorrectedStatistic, CorrectedStatistic]:
    """Those of two modalities of which each is the other's `other`: fitted together, in half of the time.

    Parameters
    ----------
    y, concepts, streams, groups
        As for `partitionings`; of either modality two or more streams.

    Examples
    --------
    >>> rng, groups = np.random.default_rng(0), np.arange(100)
    >>> y, concepts, *streams = rng.normal(size=(6, 100, 3))
    >>> first, second = corrected_partitionings([y, y[:, :2]], concepts, [streams[:2], streams[2:]], groups)
    >>> alone = CorrectedStatistic(y, concepts, streams[2:], streams[:2], groups)
    >>> bool(np.allclose(first.whole, alone.whole)), second.whole.shape
    (True, (2, 2, 2, 2))
    """
    first, second = (np.asarray(units) for units in y)
    both = CorrectedStatistic(np.hstack([first, second]), concepts, streams[1], streams[0], groups)
    both.sets = [slice(0, first.shape[1]), slice(first.shape[1], None)]
    return (
        _OneOfTwo(both, both.sets[0], [OTHER, SAME], first, concepts, streams[1], streams[0], groups),
        _OneOfTwo(both, both.sets[1], [SAME, OTHER], second, concepts, streams[0], streams[1], groups),
    )


class _OneOfTwo(CorrectedStatistic):
    """One whose value and leave-outs are some units of another one, and its streams in some order."""

    def __init__(self, both: CorrectedStatistic, units: slice, streams: list[int], *given) -> None:
        super().__init__(*given)
        self.both, self.units, self.order = both, units, streams

    @cached_property
    def whole(self) -> np.ndarray:
        return self.both.whole[self.order][..., self.units]

    def leave_outs(self, blocks: np.ndarray) -> np.ndarray:
        found = self.both.leave_outs(blocks)[:, self.order][..., self.units]
        self.whole = self.both.whole[self.order][..., self.units]
        return found
