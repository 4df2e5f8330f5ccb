"""The measures in common use: biased and minibatch CKA, and every measure of all pairs of levels at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.baselines import neighbours, subspaces
from rgbd_insight.metrics.checks import centred_rows, check_lengths, check_shape, compress
from rgbd_insight.metrics.hsic import Moments, centred_hsic
from rgbd_insight.utils.threads import in_threads, one_thread

Prepared = TypeVar("Prepared")

# What is computed once a level, and what of each pair of those.
PAIRS = {
    "svcca": (subspaces.leading, subspaces.mean_correlation),
    "pwcca": (subspaces.spanned, subspaces.weighted_correlation),
    "procrustes": (subspaces.unit_size, subspaces.nuclear_norm),
    "rsa": (neighbours.distance_ranks, neighbours.rank_correlation),
    "knn_overlap": (neighbours.nearest, neighbours.shared),
}
MEASURES = ("cka", "knn_overlap", "minibatch_cka", "procrustes", "procrustes_distance", "pwcca", "rsa", "svcca")
MANY = 64  # images of a batch whose products can be taken in float32: with fewer, the unbiased estimate cancels digits


def cka(x: ArrayLike, y: ArrayLike) -> float:
    """Biased linear CKA, from 0 to 1, for comparison only: unrelated wide layers score far above 0 on few images.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images.

    Returns
    -------
    float
        In [0, 1]; 1 means the same up to rotation and scale.

    Raises
    ------
    ValueError
        Where a stream is constant over the images, has NaN, too few rows, or the lengths differ.

    Notes
    -----
    ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) of the centred responses. Unchanged by what leaves `debiased_cka` unchanged. Biased up: for
    unrelated streams it goes to 1 as the units outnumber the images.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton: Similarity of neural network representations revisited. ICML 2019.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(cka(rng.normal(size=(60, 200)), rng.normal(size=(60, 200))), 2)  # unrelated
    0.77
    """
    return float(_cka(centred_rows({"x": x, "y": y}))[0, 1])


def minibatch_cka(x: ArrayLike, y: ArrayLike, batch: int = 256) -> float:
    """Debiased CKA from averages over batches of images, at most 1; with more than one batch the order matters.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images.
    batch : int
        Images a batch at most, 4 or more; the batches are cut as equal as possible, so none is too small.

    Returns
    -------
    float
        In [−1, 1], not clamped at 0; `debiased_cka` where one batch holds all images.

    Raises
    ------
    ValueError
        Where a stream is constant, has NaN or too few rows, the lengths differ, `batch` is too small, or a stream has
        no geometry beyond chance in any batch.

    Notes
    -----
    Σ_b n_b HSIC_b(x, y) / √(Σ_b n_b HSIC_b(x, x) Σ_b n_b HSIC_b(y, y)): batches count by their images. It estimates
    the same as `debiased_cka` with more variance; `hsic.Moments` has the exact one in one pass. Products of float32
    responses are taken in float32 and their sums in float64, which errs by about 1e-8.

    References
    ----------
    Nguyen, Raghu, Kornblith: Do wide and deep networks learn the same things? ICLR 2021.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> round(minibatch_cka(x, 2 * x + 300, batch=20), 6)
    1.0
    """
    return float(_minibatch_cka({"x": x, "y": y}, batch)[0, 1])


def matrix(
    measure: str, first: Sequence[ArrayLike], second: Sequence[ArrayLike] | None = None, **options: float
) -> np.ndarray:
    """One baseline of every level with every level, each level factorised once: (L, M), or (L, L) without `second`.

    Parameters
    ----------
    measure : str
        One of `MEASURES`, which are functions of this package.
    first, second : sequences of array (N, U)
        Levels over the same N images; without `second`, `first` is compared with itself.
    options : float
        `kept`, `k` or `batch` of that function.

    Returns
    -------
    array (L, M)
        Element (i, j) is what the function gives for first[i] and second[j].

    Raises
    ------
    ValueError
        Where there is no such measure, and as that function does.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(40, 6))
    >>> matrix("svcca", [x, x[:, :3]], [x, -x]).round(6)
    array([[1., 1.],
           [1., 1.]])
    """
    if measure not in MEASURES:
        raise ValueError(f"`measure` must be one of {', '.join(MEASURES)}; got {measure!r}.")
    if measure == "procrustes_distance":
        return subspaces.as_distance(matrix("procrustes", first, second, **options))
    named = {f"first[{i}]": level for i, level in enumerate(first)}
    named |= {f"second[{i}]": level for i, level in enumerate(second or ())}
    count = len(first)
    if measure in PAIRS:
        prepare, score = PAIRS[measure]
        prepared = [prepare(level, **options) for level in centred_rows(named)]
        return _every_pair(prepared[:count], None if second is None else prepared[count:], score)
    whole = _minibatch_cka(named, **options) if measure == "minibatch_cka" else _cka(centred_rows(named), **options)
    return whole[:count, count:] if second is not None else whole


def _every_pair(
    first: Sequence[Prepared],
    second: Sequence[Prepared] | None,
    score: Callable[[Prepared, Prepared], tuple[float, float]],
) -> np.ndarray:
    """Scores (L, M) of prepared levels; without `second`, of `first` with itself (L, L), each pair once.

    `score` gives (from x to y, from y to x), which a symmetric measure has twice.
    """
    if second is not None:
        return np.array([[score(x, y)[0] for y in second] for x in first])
    scores = np.empty((len(first), len(first)))
    for i, x in enumerate(first):
        for j in range(i, len(first)):
            scores[i, j], scores[j, i] = score(x, first[j])
    return scores


def _cka(levels: Sequence[np.ndarray]) -> np.ndarray:
    """Biased CKA (L, L) of centred levels, from one product of all of them side by side."""
    levels = [compress(level) for level in levels]
    starts = np.cumsum([0, *(level.shape[1] for level in levels[:-1])])
    rows = np.concatenate(levels, axis=1)  # (N, D)
    total = np.add.reduceat(np.add.reduceat((rows.T @ rows) ** 2, starts, axis=0), starts, axis=1)
    return total / np.sqrt(np.outer(np.diag(total), np.diag(total)))


def _minibatch_cka(streams: Mapping[str, ArrayLike], batch: int = 256) -> np.ndarray:
    """Minibatch CKA (L, L) of every pair of levels, in one pass over their rows."""
    levels = [check_shape(level, name) for name, level in streams.items()]
    n = check_lengths(**dict(zip(streams, levels, strict=True)))
    if batch < 4:
        raise ValueError(f"`batch` must be at least 4 images for the unbiased estimate; got {batch}.")
    levels = [level if level.dtype.kind == "f" else level.astype(np.float64) for level in levels]
    batches = [slice(rows[0], rows[-1] + 1) for rows in np.array_split(np.arange(n), min(-(-n // batch), n // 4))]

    def within(rows: slice) -> tuple[np.ndarray, np.ndarray]:
        parts, sizes = zip(*(_unit_size(level[rows]) for level in levels), strict=True)
        if not np.isfinite(sizes).all():
            centred_rows(streams)  # says where
        return len(parts[0]) * _hsic(parts), np.square(sizes)

    alone = in_threads if len(batches) == 1 else one_thread(in_threads)  # several batches: each by a thread of its own
    found, squares = (np.stack(each) for each in zip(*alone(within, batches), strict=True))  # (B, L, L), (B, L)
    if not squares.any(0).all():
        centred_rows(streams)  # says which level is constant
    scale = squares / squares.max(0)
    total = (found * scale[:, :, None] * scale[:, None]).sum(0)
    own = np.diag(total)
    if not (own > 0).all():
        raise ValueError(
            f"`x` and `y` must each have more than chance variance within batches of {batch}; one has none."
        )
    return total / np.sqrt(np.outer(own, own))


def _unit_size(part: np.ndarray) -> tuple[np.ndarray, float]:
    """Deviations from the mean, of mean square 1, and their size before; those of few images always in float64."""
    wide = np.subtract(part, part[:1], dtype=np.float64)  # from the first row: large offsets cost no digits
    wide -= wide.mean(0)
    size = np.sqrt(np.vdot(wide, wide) / wide.size)
    exact = np.float64 if part.dtype.itemsize > 4 or len(part) < MANY else np.float32
    if size > 0:
        wide /= size
    return wide.astype(exact, copy=False), size


def _hsic(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Unbiased HSIC (L, L) of centred levels, from products of their units or of images, whichever costs less."""
    n, width = len(parts[0]), sum(part.shape[1] for part in parts)
    if n * (width + len(parts) ** 2) > width**2:
        return Moments.from_rows(*map(compress, parts)).hsic()
    grams = np.empty((len(parts), n, n))
    for gram, part in zip(grams, parts, strict=True):
        gram[:] = part @ part.T  # by BLAS's product of a matrix with itself: half of the work
    lengths, flat = np.diagonal(grams, axis1=1, axis2=2), grams.reshape(len(parts), -1)
    traces = lengths.sum(1)
    return centred_hsic(flat @ flat.T, lengths @ lengths.T, (traces[:, None], traces), n)
