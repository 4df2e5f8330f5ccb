"""What is named or unnamed, consistent or specific, in every unit: the variance partitioning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.banded import Banded, Fits, Layout, OneBlock, checked_folds, checked_streams
from rgbd_insight.metrics.checks import are_all
from rgbd_insight.stats.groups import checked_blocks
from rgbd_insight.utils.threads import in_threads, one_thread

SHARES = ("named-consistent", "named-specific", "unnamed-consistent", "unnamed-specific")
MODELS = ("concepts", "other", "same", "concepts + other", "concepts + same")
CONCEPTS, OTHER, SAME = range(3)  # in MODELS
PENALTIES = (0.01, 0.1, 1.0, 10.0, 1000.0)  # the last one switches a block off
WIDE = 512  # targets that are predicted side by side
_BANDS = ((CONCEPTS,), (OTHER,), (SAME,), (CONCEPTS, OTHER), (CONCEPTS, SAME))
_EXCHANGED = [0, 2, 1, 4, 3]  # MODELS, where the two modalities change places


@dataclass(frozen=True, eq=False)
class Partitioning:
    """The variance partitioning of one level.

    Attributes
    ----------
    r2 : array (U, 5)
        Held-out R² of MODELS, at most 1, < 0 where worse than the mean. NaN for constant units.
    shares : array (U, 4)
        Held-out R² in the order of SHARES; a row sums to R² of `same`.
    level : array (4,)
        Shares of the level: Σ_u share / Σ_u R²(same); sums to 1. NaN with a reason where that ceiling is not positive.
    reason : str
        Why `level` is NaN, or ''.
    constant : array of bool (U,)
        Units that do not vary, left out of the level.
    """

    r2: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        return unit_shares(self.r2)

    @property
    def level(self) -> np.ndarray:
        return level_shares(self.r2)

    @property
    def reason(self) -> str:
        return undefined(self.level)

    @property
    def constant(self) -> np.ndarray:
        return np.isnan(self.r2).all(1)


def unit_shares(r2: np.ndarray) -> np.ndarray:
    """Shares of units (…, 4), in the order of SHARES, from held-out R² (…, 5) of MODELS.

    Parameters
    ----------
    r2 : array of float (5,), (U, 5) or (B, U, 5)
        Held-out R² of units, or of leave-outs and units; MODELS says of what.

    Examples
    --------
    >>> unit_shares(np.array([0.3, 0.4, 0.8, 0.5, 0.9])).round(1) + 0.0
    array([0.2, 0. , 0.2, 0.4])
    """
    s, x, x2, sx, sx2 = np.moveaxis(r2, -1, 0)
    return np.stack([s + x - sx, (x2 - sx2) - (x - sx), sx - s, sx2 - sx], axis=-1)


def level_shares(r2: np.ndarray) -> np.ndarray:
    """Shares of a level (4,), Σ_u share / Σ_u R²(same), from R² (U, 5); NaN where that ceiling is not positive.

    Parameters
    ----------
    r2 : array of float (U, 5)
        As `unit_shares` has them.
    """
    return _of_ceiling(np.nansum(unit_shares(r2), axis=0), r2)


def undefined(level: np.ndarray) -> str:
    """Why shares of a level (4,) are NaN, or ''."""
    return "" if np.isfinite(level).all() else "the same modality's other seeds predict none of the level's variance"


def consistent_share(r2: np.ndarray) -> float:
    """The two consistent shares of a level together, Σ_u R²(other) / Σ_u R²(same), from R² (U, 5); NaN as above.

    Parameters
    ----------
    r2 : array of float (U, 5)
        As `unit_shares` has them.
    """
    return float(_of_ceiling(np.nansum(r2[:, OTHER]), r2))


def _of_ceiling(part: ArrayLike, r2: np.ndarray) -> np.ndarray:
    ceiling = np.nansum(r2[:, SAME])
    return part / ceiling if ceiling > 0 else np.full(np.shape(part), np.nan)


def variance_partitioning(
    y: ArrayLike,
    concepts: ArrayLike,
    other: Sequence[ArrayLike],
    same: Sequence[ArrayLike],
    groups: ArrayLike,
    *,
    components: int = 32,
    folds: int = 5,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> Partitioning:
    """Divide every unit's reproducible variance: named or not, shared by the other modality or not (R² <= 1).

    Parameters
    ----------
    y : array (N, U)
        Responses of the units whose variance is divided.
    concepts : array (N, K)
        Areas or presence of the concepts.
    other, same : sequences of arrays (N, D)
        Streams of the other and of the same modality, both from the same *other* seeds; all of a list form one block.
    groups : array (N,)
        Groups that no fold may divide.
    components, folds, seed : int
        Principal components kept of `other` and of `same` (of concepts all), folds (3 or more), seed of the folds.
    penalties : sequence of float
        Grid of each block's penalty, as a share of its mean variance; each unit takes its best combination.

    Returns
    -------
    Partitioning

    Raises
    ------
    ValueError
        If shapes disagree, a value is not finite, or a number is out of range.

    Notes
    -----
    With c(Z) = R²(S) + R²(Z) - R²(S, Z) and u(Z) = R²(S, Z) - R²(S): named-consistent c(X), named-specific
    c(X′) - c(X), unnamed-consistent u(X), unnamed-specific u(X′) - u(X), S concepts, X other, X′ same. Their sum is
    R²(X′). Negative parts (suppression) are kept. R² = 1 - ΣSSE / ΣSST over held-out folds, about the training means.

    Right on average where the networks of both modalities are equally noisy and wide; where the other's are noisier,
    what is shared reads as specific, so pool all seeds. Needs some 600 images. Intervals: `PartitioningStatistic`.

    References
    ----------
    Dupré la Tour et al., Feature-space selection with banded ridge regression, NeuroImage 2022. Borcard et al.,
    Partialling out the spatial component of ecological variation, Ecology 1992.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared, private, concepts = rng.normal(size=(3, 300, 2))
    >>> same = [np.hstack([shared, private, concepts])]
    >>> partitioning = variance_partitioning(np.hstack([shared, private]), concepts, [shared], same, np.arange(300))
    >>> [SHARES[i] for i in partitioning.shares[1:3].argmax(1)]
    ['unnamed-consistent', 'unnamed-specific']
    """
    options = {"components": components, "folds": folds, "penalties": penalties, "seed": seed}
    return Partitioning(PartitioningStatistic(y, concepts, other, same, groups, **options).whole)


class PartitioningStatistic:
    """Held-out R² (U, 5) of MODELS as `stats.estimate` takes it; its leave-outs come by subtraction.

    Parameters
    ----------
    y, concepts, other, same, groups, components, folds, penalties, seed
        As for `variance_partitioning`. Rows are those of `other`, partners those of all else.

    Notes
    -----
    Without a block, whose sums of products are subtracted, components and fits are made anew. Penalties and folds stay
    those of the full set, since a penalty that jumps would pass for sampling error. `whole` (U, 5) is of all rows.

    Examples
    --------
    >>> from rgbd_insight.stats import combine, estimate
    >>> rng, groups = np.random.default_rng(0), np.arange(300)
    >>> shared, private, concepts = rng.normal(size=(3, 300, 2))
    >>> streams = [shared], [np.hstack([shared, private])]
    >>> statistic = PartitioningStatistic(np.hstack([shared, private]), concepts, *streams, groups)
    >>> level = combine(level_shares, estimate(statistic, groups, null=False))
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
        components: int = 32,
        folds: int = 5,
        penalties: Sequence[float] = PENALTIES,
        seed: int = 0,
    ) -> None:
        self.y, self.inputs, self.groups = y, {"concepts": [concepts], "other": other, "same": same}, np.asarray(groups)
        self.components, self.penalties = components, penalties
        self.fold = checked_folds(components, penalties, folds, groups, seed)
        self.table()  # says what is wrong with them; not kept, since the streams may be others' as well
        self._known: tuple[bytes, np.ndarray] = (b"", np.empty(0))

    def table(self) -> tuple[np.ndarray, Layout]:
        """All columns side by side, [1 | a block of each input | y], centred and scaled; their places."""
        (y, *arrays), _ = checked_streams(self.y, self.inputs, self.groups)
        ends = np.cumsum([0, *map(len, self.inputs.values())])
        blocks = [np.hstack(arrays[a:b]) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        widths = [block.shape[1] for block in blocks]
        kept = [widths[CONCEPTS], self.components, self.components]  # what is named by any concept is named
        return np.hstack([np.ones((len(y), 1)), *blocks, y]), Layout(widths, y.shape[1], kept)

    @cached_property
    def whole(self) -> np.ndarray:
        return self._at(*2 * [np.arange(len(self.fold))])

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        return self.whole if are_all(rows, partner, len(self.fold)) else self._at(rows, partner)

    @one_thread
    def _at(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        table, layout = self.table()
        paired, other = table[partner], layout.raw[OTHER]
        paired[:, other] = table[rows, other]
        return self._fits(paired, self.fold[rows], layout).r2()

    def _fits(self, table: np.ndarray, fold: np.ndarray, layout: Layout) -> Fits:
        return Fits(table, fold, layout, [Banded([layout.bands[b] for b in bands], self.penalties) for bands in _BANDS])

    @one_thread
    def leave_outs(self, blocks: np.ndarray) -> np.ndarray:
        """R² (G, U, 5) without each block; NaN where a unit varies only inside that block."""
        codes = checked_blocks(blocks, self.groups)
        if self._known[0] != (key := codes.tobytes()):
            table, layout = self.table()
            fits = self._fits(table, self.fold, layout)
            self.whole = fits.r2()
            found = in_threads(lambda g: fits.r2(without=codes == g), range(codes.max() + 1))
            self._known = key, np.stack(found)
        return self._known[1]


def partitionings(
    y: Sequence[ArrayLike], concepts: ArrayLike, streams: Sequence[Sequence[ArrayLike]], groups: ArrayLike
) -> tuple[PartitioningStatistic, PartitioningStatistic]:
    """The partitionings of two modalities of which each is the other's `other`: fitted together, in half of the time.

    Parameters
    ----------
    y : two arrays (N, U) and (N, V)
        Responses of the units of either modality.
    streams : two sequences of arrays (N, D)
        Streams of either modality from other seeds: `same` of its own units, `other` of the other's.
    concepts, groups
        As for `variance_partitioning`.

    Examples
    --------
    >>> rng, groups = np.random.default_rng(0), np.arange(100)
    >>> y, concepts, *streams = rng.normal(size=(4, 100, 3))
    >>> first, second = partitionings([y, y[:, :2] + y[:, 1:]], concepts, [[z] for z in streams], groups)
    >>> alone = PartitioningStatistic(y, concepts, streams[1:], streams[:1], groups)
    >>> bool(np.allclose(first.whole, alone.whole)), second.whole.shape
    (True, (2, 5))
    """
    first, second = (np.asarray(units) for units in y)
    both = PartitioningStatistic(np.hstack([first, second]), concepts, streams[1], streams[0], groups)
    cut = first.shape[1]
    return (
        _OneOfTwo(both, slice(0, cut), list(range(len(MODELS))), first, concepts, streams[1], streams[0], groups),
        _OneOfTwo(both, slice(cut, None), _EXCHANGED, second, concepts, streams[0], streams[1], groups),
    )


class _OneOfTwo(PartitioningStatistic):
    """A partitioning whose value and leave-outs are some units, and the models in some order, of another one."""

    def __init__(self, both: PartitioningStatistic, units: slice, models: list[int], *given) -> None:
        super().__init__(*given)
        self.both, self.units, self.models = both, units, models

    @cached_property
    def whole(self) -> np.ndarray:
        return self.both.whole[self.units, self.models]

    def leave_outs(self, blocks: np.ndarray) -> np.ndarray:
        found = self.both.leave_outs(blocks)[:, self.units]
        self.whole = self.both.whole[self.units, self.models]
        return found[..., self.models]


class ConsistentShare:
    """The part of a level's reproducible variance that the other modality predicts, named or not, with a null.

    Parameters
    ----------
    partitioning : PartitioningStatistic
        The value, `consistent_share` of its R², and the leave-outs are its. As there, rows are those of `other`.

    Notes
    -----
    A draw of the null needs one model: the other modality's rows, with their components and folds, stay, and whole
    groups of the units' rows change places.

    Examples
    --------
    >>> from rgbd_insight.stats import estimate
    >>> rng, groups = np.random.default_rng(0), np.arange(300)
    >>> shared, private, concepts = rng.normal(size=(3, 300, 2))
    >>> streams = [shared], [np.hstack([shared, private])]
    >>> partitioning = PartitioningStatistic(np.hstack([shared, private]), concepts, *streams, groups)
    >>> found = estimate(ConsistentShare(partitioning), groups)
    >>> round(found.value, 1), found.null_high < 0.1, round(found.p, 3)
    (0.5, True, 0.005)
    """

    def __init__(self, partitioning: PartitioningStatistic) -> None:
        self.partitioning = partitioning

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> float:
        if are_all(rows, partner, len(self.partitioning.fold)):
            return consistent_share(self.partitioning.whole)
        return float(self.many([(rows, partner)])[0])

    def leave_outs(self, blocks: np.ndarray) -> np.ndarray:
        """The share (G,) without each block."""
        return np.array([consistent_share(r2) for r2 in self.partitioning.leave_outs(blocks)])

    @one_thread
    def many(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """The share (P,) for every (rows, partner); a partner holds its rows in another order."""
        found = []
        for key, alike in groupby(pairs, lambda pair: pair[0].tobytes()):
            rows = np.frombuffer(key, pairs[0][0].dtype)
            found.append(self._shares(rows, [partner for _, partner in alike]))
        return np.concatenate(found)

    def _shares(self, rows: np.ndarray, partners: list[np.ndarray]) -> np.ndarray:
        whole, inputs = self.partitioning, self.partitioning.inputs
        streams = {"other": inputs["other"], "same": inputs["same"]}
        (y, *arrays), _ = checked_streams(whole.y, streams, whole.groups)
        blocks = np.hstack(arrays[: len(inputs["other"])])[rows], np.hstack(arrays[len(inputs["other"]) :])[rows]
        other, same = (OneBlock(x, whole.fold[rows], whole.components, whole.penalties) for x in blocks)
        ceiling, count = np.nansum(same.r2(y[rows])), max(WIDE // y.shape[1], 1)
        chunks = [partners[i : i + count] for i in range(0, len(partners), count)]
        r2 = in_threads(lambda chunk: other.r2(np.hstack([y[partner] for partner in chunk])), chunks)
        sums = np.nansum(np.concatenate(r2).reshape(len(partners), -1), axis=1)
        return sums / ceiling if ceiling > 0 else np.full(len(sums), np.nan)


@one_thread
def explained(
    y: ArrayLike,
    streams: Sequence[ArrayLike],
    groups: ArrayLike,
    *,
    components: int = 32,
    folds: int = 5,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> np.ndarray:
    """Held-out R² (U,) of every unit from one block of streams: `r2` of "other" or "same" alone, and quickly.

    Parameters
    ----------
    y, streams, groups, components, folds, penalties, seed
        As `y`, `other` … of `variance_partitioning`.

    Returns
    -------
    array (U,)
        At most 1, < 0 where worse than the mean, NaN for constant units; errors are those of `variance_partitioning`.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> explained(x[:, :2], [x[:, 1:]], np.arange(200)).round(1) + 0.0
    array([0., 1.])
    """
    fold = checked_folds(components, penalties, folds, groups, seed)
    (y, *streams), _ = checked_streams(y, {"streams": streams}, groups)
    return OneBlock(np.hstack(streams), fold, components, penalties).r2(y)
