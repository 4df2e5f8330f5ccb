"""The order of groups: where each stands, stretches of neighbours, and sequences that are moved on as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.stats.groups import group_codes

ENOUGH = 20  # groups that must be left, so that p can come below .05


def in_order(groups: ArrayLike) -> np.ndarray:
    """Codes 0…G−1 of the group of each sample (N,), in the order in which the groups come.

    Raises
    ------
    ValueError
        Where the samples of a group do not stand together: the order of the groups is then lost.

    Examples
    --------
    >>> in_order(["hall", "hall", "attic"])
    array([0, 0, 1])
    """
    codes = group_codes(groups)
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    names, places = np.unique(codes[starts], return_counts=True)
    if (places > 1).any():
        name = np.unique(groups)[names[places.argmax()]]
        raise ValueError(
            f"`groups` must be in order, the samples of each standing together; got {name} in {places.max()} places. "
            "Give the samples in the order in which they were taken, or permute groups, which needs no order."
        )
    return np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(codes))))


def stretches_of(groups: ArrayLike, n: int) -> np.ndarray:
    """The stretch of each sample: groups that follow each other, in `n` stretches of nearly as many samples.

    Parameters
    ----------
    groups : array (N,)
        The physical scene of each sample; samples of a group stand together, in the order of the groups.
    n : int
        Number of stretches, from 2 to the number of groups.

    Returns
    -------
    array of int (N,)
        Rising, in 0…n−1; no stretch is empty and no group divided.

    Raises
    ------
    ValueError
        Where there are fewer groups than stretches, fewer than two stretches, or the order is lost.

    Examples
    --------
    >>> stretches_of([7, 7, 8, 3, 3, 3], n=2)
    array([0, 0, 0, 1, 1, 1])
    """
    codes = in_order(groups)
    count = codes.max() + 1
    if not 2 <= n <= count:
        raise ValueError(f"`n` must be from 2 stretches to the number of groups ({count}); got {n}.")
    ends = np.cumsum(np.bincount(codes))
    wanted = np.arange(1, n) * len(codes) / n
    last = np.abs(ends[:, None] - wanted).argmin(0)  # group at whose end each stretch ends, (n - 1,)
    place = np.arange(n - 1)
    last = np.maximum.accumulate(last - place) + place  # each at least one group
    last = np.minimum(last, count - n + place)
    return np.searchsorted(last, codes)


@dataclass(frozen=True)
class Shifts:
    """A sequence of groups of one size that is moved on as a whole, its end to its beginning.

    Attributes
    ----------
    rows : tuple of int
        Samples that take part, in their order: as many of each group that has enough.
    size : int
        Samples of a group.

    Notes
    -----
    Images of a group are alike on both sides, which adds to any similarity that is averaged over pairs of images. It
    adds as much at every shift only where groups come to lie on whole groups, and that takes groups of one size.

    Examples
    --------
    >>> moved = Shifts.of(np.arange(30).repeat(2))
    >>> moved.count, moved.partner(1)[:4].tolist()
    (29, [2, 3, 4, 5])
    """

    rows: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, groups: ArrayLike) -> Shifts:
        """Of groups of different sizes, the size that keeps most samples among those that half of the groups have.

        Parameters
        ----------
        groups : array (N,)
            The physical scene of each sample; samples of a group stand together, in the order of the groups.

        Raises
        ------
        ValueError
            Where there are fewer than 20 groups, or the order is lost.
        """
        codes = in_order(groups)
        sizes = np.bincount(codes)
        if len(sizes) < ENOUGH:
            raise ValueError(f"`groups` must hold at least {ENOUGH} groups to move their sequence; got {len(sizes)}.")
        sharing = {size: int((sizes >= size).sum()) for size in np.unique(sizes)}
        least = max(ENOUGH, len(sizes) / 2)
        size = int(max((s for s, shared in sharing.items() if shared >= least), key=lambda s: s * sharing[s]))
        place = np.arange(len(codes)) - (np.cumsum(sizes) - sizes)[codes]  # which sample of its group each sample is
        return cls(tuple(np.flatnonzero((place < size) & (sizes[codes] >= size)).tolist()), size)

    @property
    def count(self) -> int:
        """How many there are that move anything."""
        return len(self.rows) // self.size - 1

    def partner(self, shift: int) -> np.ndarray:
        """The partner of each of `rows` when the sequence is moved on by this many groups, int (n,)."""
        return np.roll(self.rows, -shift * self.size)
