"""Whole groups (physical scenes) as the thing that is left out, exchanged and divided into folds."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.utils.messages import TooFew


def group_codes(groups: ArrayLike, name: str = "groups") -> np.ndarray:
    """Codes 0…G−1 of the group of each sample, in the sorted order of the groups' names.

    Parameters
    ----------
    groups : array (N,)
        Integers or strings; the physical scene of each sample.
    name : str
        How the caller's argument is called in error messages.

    Returns
    -------
    array of int (N,)

    Raises
    ------
    ValueError
        Where `groups` is not one-dimensional, is empty or holds NaN.

    Examples
    --------
    >>> group_codes(["hall", "attic", "hall"])
    array([1, 0, 1])
    """
    groups = np.asarray(groups)
    if groups.ndim != 1 or len(groups) == 0:
        raise ValueError(f"`{name}` must be one name or number a sample; got shape {groups.shape}.")
    if groups.dtype.kind == "f" and np.isnan(groups).any():
        raise ValueError(f"`{name}` must name the scene of every sample; got NaN. Give such a sample its own group.")
    return np.unique(groups, return_inverse=True)[1]


def _share_out(codes: np.ndarray, order: np.ndarray, parts: int) -> np.ndarray:
    """The part (N,) of each sample: groups, largest first and otherwise in `order`, go to the emptiest part."""
    sizes = np.bincount(codes)
    order = order[np.argsort(-sizes[order], kind="stable")]
    part = np.empty(len(sizes), int)
    emptiest = [(0, p) for p in range(parts)]
    for group in order:
        filled, p = heapq.heappop(emptiest)
        part[group] = p
        heapq.heappush(emptiest, (filled + int(sizes[group]), p))
    return part[codes]


def group_folds(groups: ArrayLike, k: int = 5, seed: int = 0) -> np.ndarray:
    """The cross-validation fold of each sample: whole groups, folds of nearly equal numbers of samples.

    Parameters
    ----------
    groups : array (N,)
        The physical scene of each sample.
    k : int
        Number of folds, from 2 to the number of groups.
    seed : int
        Decides which groups share a fold; the order of the samples does not matter.

    Returns
    -------
    array of int (N,)
        In 0…k−1; no fold is empty.

    Raises
    ------
    ValueError
        Where there are fewer groups than folds.

    Examples
    --------
    >>> group_folds(["a", "a", "b", "c", "d", "d"], k=2)
    array([0, 0, 1, 0, 1, 1])
    """
    codes = group_codes(groups)
    count = codes.max() + 1
    if not 2 <= k <= count:
        kind = TooFew if k > count else ValueError
        raise kind(f"`folds` must be from 2 to the number of groups ({count}); got {k}.")
    return _share_out(codes, np.random.default_rng(seed).permutation(count), k)


def blocks_of(groups: ArrayLike, n: int = 40) -> np.ndarray:
    """The jackknife block of each sample: `n` near-equal blocks of whole groups.

    Parameters
    ----------
    groups : array (N,)
        The physical scene of each sample.
    n : int
        Number of blocks, from 2 to the number of groups.

    Returns
    -------
    array of int (N,)
        In 0…n−1; no block is empty.

    Raises
    ------
    ValueError
        Where there are fewer groups than blocks.

    Examples
    --------
    >>> blocks_of([7, 7, 8, 9, 9], n=2)
    array([0, 0, 0, 1, 1])
    """
    codes = group_codes(groups)
    count = codes.max() + 1
    if not 2 <= n <= count:
        raise ValueError(f"`blocks` must be from 2 to the number of groups ({count}); got {n}.")
    return _share_out(codes, np.arange(count), n)


def cut_groups(groups: ArrayLike, least: int = 5) -> np.ndarray:
    """The samples that stay when groups are cut so that each size is shared by at least `least` groups.

    From the largest size down, groups whose size fewer than `least` share lose their last samples until they have the
    next smaller size that occurs; what is left over at the smallest size is dropped.

    Parameters
    ----------
    groups : array (N,)
        The physical scene of each sample.
    least : int
        How many groups must share a size; there must be as many groups.

    Returns
    -------
    array of int (≤ N,)
        Ascending row numbers.

    Raises
    ------
    ValueError
        Where there are fewer than `least` groups.

    Examples
    --------
    >>> cut_groups(["a", "a", "a", "b", "b", "c", "c"], least=2)  # no other group has three samples
    array([0, 1, 3, 4, 5, 6])
    """
    codes = group_codes(groups)
    sizes = np.bincount(codes)
    if len(sizes) < least:
        raise TooFew(f"`groups` must hold at least {least} groups; got {len(sizes)}. Add scenes, not views.")
    target = sizes.copy()
    for size, smaller in zip(np.unique(sizes)[::-1], [*np.unique(sizes)[-2::-1], 0], strict=True):
        if (target == size).sum() < least:
            target[target == size] = smaller
    order = np.argsort(codes, kind="stable")
    place = np.empty(len(codes), int)  # which sample of its group each sample is
    place[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.flatnonzero(place < target[codes])


def permute_groups(groups: ArrayLike, rng: np.random.Generator) -> np.ndarray:
    """Partners (N,) under one permutation of whole groups among the groups of the same size.

    Parameters
    ----------
    groups : array (N,)
        The physical scene of each sample.
    rng : np.random.Generator
        Source of the permutation.

    Returns
    -------
    array of int (N,)
        A permutation of the rows: sample j of a group is paired with sample j of the group it drew. A group that is the
        only one of its size keeps its own samples: cut first (`cut_groups`).

    Examples
    --------
    >>> permute_groups([0, 0, 1, 1, 2, 2], np.random.default_rng(0))
    array([4, 5, 0, 1, 2, 3])
    """
    return exchanger(groups)(rng)


def exchanger(groups: ArrayLike) -> Callable[[np.random.Generator], np.ndarray]:
    """`permute_groups` of these groups for many permutations: what depends on the groups alone is done once."""
    codes = group_codes(groups)
    sizes = np.bincount(codes)
    rows = np.argsort(codes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    alike = [starts[sizes == size][:, None] + np.arange(size) for size in np.unique(sizes)]  # each (groups, size)

    def permuted(rng: np.random.Generator) -> np.ndarray:
        partner = np.empty(len(codes), int)
        for members in alike:
            partner[rows[members]] = rows[rng.permutation(members)]
        return partner

    return permuted


def checked_blocks(blocks: ArrayLike, groups: ArrayLike) -> np.ndarray:
    """Return the block of every row (N,) as codes 0…G-1, G >= 2, or an error where a block divides a group.

    Parameters
    ----------
    blocks, groups : array (N,)
        The block and the group of every row.

    Examples
    --------
    >>> checked_blocks([5, 5, 9], ["attic", "attic", "hall"])
    array([0, 0, 1])
    """
    codes = group_codes(blocks, "blocks")
    pairs = np.unique(np.stack([group_codes(groups), codes]), axis=1) if len(codes) == len(groups) else np.empty((2, 0))
    if pairs.shape[1] != len(np.unique(groups)) or codes.max() == 0:
        raise ValueError(
            f"`blocks` must give each of the {len(groups)} rows one of at least 2 blocks of whole groups; got "
            f"{len(codes)} rows, {codes.max() + 1} blocks. Use blocks_of(groups)."
        )
    return codes


LEAST = 0.25  # of the variance is left at any rate: half where all of it hangs on two groups together, but for noise


def counted_once(leave_outs: np.ndarray, traded: np.ndarray) -> np.ndarray:
    """Leave-outs (G, K) drawn towards their mean, so that the jackknife counts once what hangs on two groups together.

    Parameters
    ----------
    leave_outs : array (G, K)
        Of a cross-fitted statistic, without each block; a column that holds NaN stays as it is.
    traded : array (G, G, K)
        How much more of the statistic comes from judging a block (second) with the fit that a block (first) was left
        out of.

    Notes
    -----
    Of a statistic θ(i, j) of a group to fit and one to judge, leave-outs see the part that hangs on both twice: once
    without i, once without j. Their sum of squares is too large by that of the interaction. And a fit lies where the
    judgement is best, so what a group does to it by itself is of second order: it hangs on pairs of fitted groups,
    each seen twice as well, and what a group is to the fit goes with what it is to the judgement only by pairs. With
    d_i the deviation without i, t_i that by the fit alone, and I_ij what the fit without i changes in j beyond its
    mean, Σ t_i (d_i − t_i/2) + ½ Σ I_ij² is taken off, and no more than three quarters of all.

    References
    ----------
    Efron, Stein: The jackknife estimate of variance. Annals of Statistics 9, 1981, section 4.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 1))
    >>> alone = counted_once(x, np.zeros((20, 20, 1)))  # nothing was fitted
    >>> bool(np.allclose(alone, x))
    True
    """
    blocks = len(leave_outs)
    middle = leave_outs.mean(0)
    fitted = traded.sum(1)  # (G, K)
    between = np.maximum((traded**2).sum((0, 1)) - (fitted**2).sum(0) / blocks, 0)
    away, fitted = leave_outs - middle, fitted - fitted.mean(0)
    twice, whole = (fitted * (away - fitted / 2)).sum(0) + between / 2, (away**2).sum(0)
    kept = 1 - np.divide(twice, whole, out=np.zeros_like(whole), where=whole > 0)
    drawn = middle + away * np.sqrt(np.maximum(kept, LEAST))
    return np.where(np.isfinite(middle), drawn, leave_outs)
