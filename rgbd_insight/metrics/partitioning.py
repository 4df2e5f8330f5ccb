"""What is named or unnamed, consistent or specific, in every unit: the variance partitioning."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.banded import Banded, Layout, Splits, projected, projection
from rgbd_insight.stats.groups import checked_blocks, group_folds
from rgbd_insight.utils.threads import in_threads, one_thread

SHARES = ("named-consistent", "named-specific", "unnamed-consistent", "unnamed-specific")
MODELS = ("concepts", "other", "same", "concepts + other", "concepts + same")
PENALTIES = (0.01, 0.1, 1.0, 10.0, 1000.0)  # the last one switches a block off
_BANDS = ((0,), (1,), (2,), (0, 1), (0, 2))


@dataclass(frozen=True)
class Partitioning:
    """The variance partitioning of one level.

    Attributes
    ----------
    shares : array (U, 4)
        Held-out R² in the order of SHARES; a row sums to R² of `same`. NaN for constant units.
    r2 : array (U, 5)
        Held-out R² of MODELS, at most 1, < 0 where worse than the mean.
    level : array (4,)
        Shares of the level: Σ_u share / Σ_u R²(same); sums to 1. NaN with a reason where that ceiling is not positive.
    reason : str
        Why `level` is NaN, or ''.
    constant : array of bool (U,)
        Units that do not vary, left out of the level.
    shares_out, r2_out, level_out : arrays (G, ...) or None
        The same without each block, where `blocks` was given; NaN where a unit varies only inside that block.
    """

    shares: np.ndarray
    r2: np.ndarray
    level: np.ndarray
    reason: str
    constant: np.ndarray
    shares_out: np.ndarray | None = None
    r2_out: np.ndarray | None = None
    level_out: np.ndarray | None = None


@one_thread
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
    blocks: ArrayLike | None = None,
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
        Principal components kept of each block, number of folds (3 or more), seed of the folds.
    penalties : sequence of float
        Grid of each block's penalty, as a share of its mean variance; each unit takes its best combination.
    blocks : array (N,), optional
        Block of every row, whole groups (`blocks_of`): each is left out once, components and fits made anew. Penalties
        and folds stay those of the full set, since a penalty that jumps would pass for sampling error.

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
    Everything follows from each fold's sums of products, from which a block's own are subtracted.

    Unchanged by shift and factor of each unit. Right on average where the networks of both modalities are equally noisy
    and wide; where the other's are noisier, what is shared reads as specific, so pool all seeds. Needs some 600 images.

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
    >>> partitioning.shares.round(1) + 0.0
    array([[0., 0., 1., 0.],
           [0., 0., 1., 0.],
           [0., 0., 0., 1.],
           [0., 0., 0., 1.]])
    """
    inputs = {"concepts": [concepts], "other": other, "same": same}
    table, layout, groups = _table(y, inputs, groups, components)
    penalties, fold = _checked(penalties, folds, groups, seed)
    codes = None if blocks is None else checked_blocks(blocks, groups)
    constant = ~table[:, -layout.targets :].any(0)
    models = [Banded([layout.bands[b] for b in bands], penalties) for bands in _BANDS]
    sums = _moments([table[fold == f] for f in range(folds)])
    maps = _maps(sums, layout)
    choices = in_threads(lambda f: _choices(sums, f, maps[f], layout, models), range(folds))

    def leave_out(g: int) -> np.ndarray:
        rest = sums - _moments([table[(fold == f) & (codes == g)] for f in range(folds)])
        return _held_out_r2(rest, _maps(rest, layout), layout, models, choices)

    r2 = [_held_out_r2(sums, maps, layout, models, choices)]
    r2 += in_threads(leave_out, range(0 if codes is None else codes.max() + 1))
    return _partitioning(np.stack(r2), constant, codes is not None)


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
    y, streams, groups, components, folds, penalties, seed : as `y`, `other` … of `variance_partitioning`.

    Returns
    -------
    array (U,)
        At most 1, < 0 where worse than the mean, NaN for constant units.

    Raises
    ------
    ValueError
        As `variance_partitioning`.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> explained(x[:, :2], [x[:, 1:]], np.arange(200)).round(1) + 0.0
    array([0., 1.])
    """
    table, layout, groups = _table(y, {"streams": streams}, groups, components)
    penalties, fold = _checked(penalties, folds, groups, seed)
    models = [Banded(layout.bands, penalties)]
    sums = _moments([table[fold == f] for f in range(folds)])
    maps = _maps(sums, layout)
    choices = [_choices(sums, f, maps[f], layout, models) for f in range(folds)]
    r2 = _held_out_r2(sums, maps, layout, models, choices)[:, 0]
    return np.where(table[:, -layout.targets :].any(0), r2, np.nan)


def _checked(penalties, folds: int, groups: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The penalties as an array, and the fold of every row."""
    penalties = np.asarray(penalties, float)
    if folds < 3 or not len(penalties) or not (penalties > 0).all():
        raise ValueError(f"`folds` must be >= 3 and `penalties` > 0; got {folds} and {penalties}. Choose them so.")
    return penalties, group_folds(groups, folds, seed)


def _table(y, inputs: dict[str, Sequence], groups, components) -> tuple[np.ndarray, Layout, np.ndarray]:
    """All columns side by side, [1 | a block of each input | y], centred and scaled; their places; the groups."""
    if components < 1:
        raise ValueError(f"`components` must be >= 1; got {components}. 32 is the default.")
    arrays, groups = checked_streams(y, inputs, groups)
    ends = np.cumsum([1, *map(len, inputs.values())])
    blocks = [np.hstack(arrays[a:b]) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    table = np.hstack([np.ones((len(groups), 1)), *blocks, arrays[0]])
    return table, Layout([b.shape[1] for b in blocks], arrays[0].shape[1], components), groups


def checked_streams(
    y: ArrayLike, inputs: dict[str, Sequence[ArrayLike]], groups: ArrayLike
) -> tuple[list[np.ndarray], np.ndarray]:
    """The array `y` and the streams of every input, in order, centred, of variance 1 (0: constant); the groups."""
    groups = np.asarray(groups)
    counts = {name: len(streams) for name, streams in inputs.items()}
    if not all(counts.values()):
        raise ValueError(
            f"each of `{'`, `'.join(inputs)}` must hold at least one stream; got "
            f"{', '.join(map(str, counts.values()))}. Pass lists of (N, D) arrays from another seed."
        )
    arrays = []
    for name, a in [("y", y), *((name, z) for name, streams in inputs.items() for z in streams)]:
        a = np.asarray(a, float)
        if a.ndim != 2 or a.shape[0] != len(groups) or a.shape[1] == 0:
            raise ValueError(f"`{name}` must have shape ({len(groups)}, columns); got {a.shape}. Pair rows by sample.")
        if not np.isfinite(a).all():
            raise ValueError(f"`{name}` must be finite; got {(~np.isfinite(a)).sum()} other values. Drop those rows.")
        a = a - a[:1]  # a constant column becomes exactly 0
        a = a - a.mean(0) * a.any(0)
        arrays.append(a / np.maximum(a.std(0), 1e-300))
    return arrays, groups


def _moments(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Sums of products (F, C, C) of the rows of every part."""
    return np.stack([part.T @ part for part in parts])


def _maps(sums: np.ndarray, layout: Layout) -> list[np.ndarray]:
    """The projection of every fold's training rows, which are those of the other folds."""
    everything = sums.sum(0)
    return [projection(everything - part, layout) for part in sums]


def _choices(sums, f, kept, layout, models) -> list[np.ndarray]:
    """Penalties of every model and unit for outer fold f: each other fold is the validation set once."""
    parts = [part for h, part in enumerate(sums) if h != f]
    test = np.stack([projected(part, kept, layout) for part in parts])  # (F - 1, I, C)
    splits = Splits(test.sum(0) - test, test, _squares(parts, layout), own=False)
    return [model.choose(splits) for model in models]


def _held_out_r2(sums, maps, layout, models, choices) -> np.ndarray:
    """R² (U, 5) of every model over the held-out folds."""
    everything, folds = sums.sum(0), list(zip(sums, maps, strict=True))
    train = np.stack([projected(everything - part, kept, layout) for part, kept in folds])  # (F, I, C)
    test = np.stack([projected(part, kept, layout) for part, kept in folds])
    splits = Splits(train, test, _squares(sums, layout), own=True)
    chosen = [np.stack(of_model) for of_model in zip(*choices, strict=True)]  # (F, U) for every model
    error = np.stack([model.error(splits, choice) for model, choice in zip(models, chosen, strict=True)])
    total = splits.total.sum(0)
    varies = total > 1e-9 * everything[0, 0]  # targets have variance 1, so less is what a subtraction leaves of 0
    return 1 - np.divide(error, total, out=np.full_like(error, np.nan), where=varies).T


def _squares(sums: Sequence[np.ndarray], layout: Layout) -> np.ndarray:
    """Sums of squares (F, U) of the targets."""
    return np.stack([np.diagonal(part)[-layout.targets :] for part in sums])


def _partitioning(r2: np.ndarray, constant: np.ndarray, leave_outs: bool) -> Partitioning:
    """Shares and level from R² (1 + G, U, 5)."""
    r2[:, constant] = np.nan
    s, x, x2, sx, sx2 = np.moveaxis(r2, -1, 0)  # each (1 + G, U)
    shares = np.stack([s + x - sx, (x2 - sx2) - (x - sx), sx - s, sx2 - sx], axis=-1)  # (1 + G, U, 4)
    ceiling = np.nansum(x2, axis=1)[:, None]  # (1 + G, 1)
    level = np.divide(np.nansum(shares, axis=1), ceiling, out=np.full((len(r2), 4), np.nan), where=ceiling > 0)
    reason = "" if ceiling[0, 0] > 0 else "the same modality's other seeds predict none of the level's variance"
    extra = (shares[1:], r2[1:], level[1:]) if leave_outs else ()
    return Partitioning(shares[0], r2[0], level[0], reason, constant, *extra)
