"""Whose image stands in for the other input, and how much of what is then read is that image's. Use `features`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAME = "same guests"  # how an extraction of today isolates; a run without it gave every image guests of its own
MEASURED = 4  # guests, at least, with which it is measured how much of a tap is theirs


def partners(groups: Sequence[str], draws: int) -> np.ndarray:
    """For every sample and draw, the index of a sample of another group; the same for the same `groups`.

    Every sample has partners of its own: for predictions, whose mean over the samples is then one over partners too.
    Responses need `guests`.

    Parameters
    ----------
    groups : sequence of str
        The group of each of N samples, two or more different ones.
    draws : int
        How many partners each sample gets.

    Returns
    -------
    ndarray of int (draws, N)
        In a draw every sample serves once, unless one group has more than half of them.

    Notes
    -----
    The samples are put in a random order that keeps groups together and rotated by a random number of places that
    is at least the largest group's size s and at most N − s, so none meets its own group.

    Examples
    --------
    >>> partners(["a", "a", "b", "b"], 1)[0].tolist() in ([2, 3, 0, 1], [3, 2, 0, 1], [2, 3, 1, 0], [3, 2, 1, 0])
    True
    """
    codes = _codes(groups)
    sizes, n = np.bincount(codes), len(codes)
    largest = int(sizes.max())
    result = np.empty((draws, n), np.int64)
    for draw in range(draws):
        random = np.random.default_rng([draw, n])
        order = np.lexsort((random.random(n), random.permutation(len(sizes))[codes]))
        if 2 * largest <= n:
            result[draw, order] = np.roll(order, -int(random.integers(largest, n - largest + 1)))
        else:
            for code in range(len(sizes)):
                result[draw, codes == code] = random.choice(np.flatnonzero(codes != code), sizes[code])
    return result


def _codes(groups: Sequence[str]) -> np.ndarray:
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"`groups` must be two or more different ones; got {len(names)}: none has another's sample")
    return codes  # (N,)


@dataclass(frozen=True, eq=False)
class Guests:
    """Whose inputs stand in for the other one, the same for all samples but a few.

    Attributes
    ----------
    first, reserve : ndarray of int (draws,)
        The guest of each draw, and the sample that takes its place for the samples of its own group.
    table : ndarray of int (draws, N)
        The guest of every sample.
    """

    first: np.ndarray
    reserve: np.ndarray
    table: np.ndarray


def guests(groups: Sequence[str], draws: int) -> Guests:
    """The same samples as guests of every sample, none of its own group; the same for the same `groups`.

    With the same guests for every sample, what guests add to a response is a constant, and no measure sees it. With
    guests of its own for every sample it is variance, and every measure takes it for the sample's own.

    Parameters
    ----------
    groups : sequence of str
        The group of each of N samples, two or more different ones.
    draws : int
        How many guests each sample gets.

    Returns
    -------
    Guests

    Notes
    -----
    Guests come from different groups, taken at random among the smallest, so that as few samples as possible need a
    reserve; the reserves come from further groups. Where there are fewer than twice as many groups as draws, some give
    several guests. The first of many are those of few, where there are groups enough.

    Examples
    --------
    >>> guests(["a", "a", "a", "b", "c"], 1).table[0].tolist() in ([3, 3, 3, 4, 3], [4, 4, 4, 4, 3])
    True
    """
    codes = _codes(groups)
    sizes = np.bincount(codes)
    random = np.random.default_rng([len(codes), len(sizes)])
    order = random.permutation(len(sizes))
    order = order[np.argsort(sizes[order], kind="stable")]  # (G,)
    members = [random.permutation(np.flatnonzero(codes == code)) for code in order]
    count = min(draws, len(order) // 2)  # of the groups that give guests
    first = _taken(members[:count], draws)
    reserve = _taken(members[count : count + draws], draws)
    return Guests(first, reserve, np.where(codes == codes[first][:, None], reserve[:, None], first[:, None]))


def _taken(members: list[np.ndarray], draws: int) -> np.ndarray:
    """`draws` samples (draws,), in turn from each group of `members`."""
    turns = (divmod(draw, len(members)) for draw in range(draws))
    return np.array([members[which][turn % len(members[which])] for turn, which in turns])


@dataclass(frozen=True)
class Parts:
    """Shares of a tap's variance when both inputs are drawn apart: they add up to 1.

    Attributes
    ----------
    own : float
        What the kept input decides by itself.
    guest : float
        What the guest decides by itself: 0 where the tap is pure.
    both : float
        What depends on the two together (their interaction).
    """

    own: float
    guest: float
    both: float

    def own_share(self, draws: int, *, same: bool = True) -> float:
        """The own part's share of the variance over images of a mean over `draws` guests, in [0, 1].

        With guests of its own for every image (`same` false) the guests' part counts as variance over images. 1 where
        nothing varies: no part is anyone else's.
        """
        others = (self.both + (0 if same else self.guest)) / draws
        return self.own / (self.own + others) if self.own + others > 0 else 1.0


def parts(responses: np.ndarray) -> Parts:
    """Own, guest's and joint part of the variance of responses to every image beside every guest.

    Parameters
    ----------
    responses : array (I, D, U)
        Of U units to I images, two or more, each with the same D guests, two or more.

    Returns
    -------
    Parts
        All of it own where nothing varies.

    Notes
    -----
    The two-way analysis of variance with one value a cell, summed over units: MS of images I, guests D and rest; joint
    = MS_rest, own = (MS_I − MS_rest)/D, guest = (MS_D − MS_rest)/I, the last two at least 0. These are the first-order
    and the total-minus-first-order Sobol indices of the two inputs.

    References
    ----------
    Searle, Casella, McCulloch: Variance components, Wiley 1992, chapter 4.
    Sobol': Global sensitivity indices for nonlinear mathematical models, Math. Comput. Simul. 55, 2001.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> own, guest = rng.normal(size=(400, 1, 8)), rng.normal(size=(1, 4, 8))
    >>> found = parts(own + guest)
    >>> round(found.own_share(4), 3), found.own_share(4, same=False) < 0.9
    (1.0, True)
    """
    count, hosts = responses.shape[:2]
    if min(count, hosts) < 2:
        raise ValueError(f"`responses` must be of two or more images and guests; got {count} and {hosts}")
    x = responses - responses.mean((0, 1))  # (I, D, U)
    image, guest = x.mean(1), x.mean(0)  # (I, U), (D, U)
    rest = x - image[:, None] - guest
    joint = float((rest**2).sum()) / ((count - 1) * (hosts - 1))
    of_image = max((hosts * float((image**2).sum()) / (count - 1) - joint) / hosts, 0.0)
    of_guest = max((count * float((guest**2).sum()) / (hosts - 1) - joint) / count, 0.0)
    total = of_image + of_guest + joint
    return Parts(of_image / total, of_guest / total, joint / total) if total > 0 else Parts(1.0, 0.0, 0.0)
