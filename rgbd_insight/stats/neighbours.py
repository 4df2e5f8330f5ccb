"""Groups that follow each other and are alike: how alike they are, and what is exchanged and left out instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.stats.estimates import p_value
from rgbd_insight.stats.groups import group_codes
from rgbd_insight.stats.order import Shifts, in_order, stretches_of
from rgbd_insight.stats.plan import BLOCKS, USUAL, Resampling

LEVEL = 0.01  # p of the order of groups from which on neighbours count as alike
ORDERS = 999  # permutations of the order
BAND = 0.95  # of the autocorrelations where the order says nothing: what lies below the end of it counts as none


@dataclass(frozen=True, eq=False)
class Neighbours:
    """How alike groups are that follow each other, and what is left out and exchanged because of it.

    Attributes
    ----------
    correlation : float
        Autocorrelation of the groups' mean responses at lag 1; NaN where it is unknown.
    p : float
        Share of the orders of the groups whose neighbours are as much alike.
    length : int
        How many groups in a row should be left out together; 1 where neighbours are not alike.
    joined : int
        How many are, on average and rounded: fewer where too few blocks would be left.
    groups : array of int (N,)
        What takes the place of the groups: the groups themselves, or stretches of groups that follow each other.
    count : int
        Number of groups that there were.
    shifts : Shifts, optional
        The sequence that is moved on; None where groups are permuted.
    reason : str
        Why it could not be judged, or "".
    """

    correlation: float
    p: float
    length: int
    joined: int
    groups: np.ndarray
    count: int
    shifts: Shifts | None = None
    reason: str = ""

    @classmethod
    def unknown(cls, groups: ArrayLike, reason: str) -> Neighbours:
        """Groups whose order says nothing that could be judged: they are permuted and left out as they are."""
        codes = group_codes(groups)
        return cls(np.nan, np.nan, 1, 1, codes, int(codes.max()) + 1, reason=reason)

    @property
    def alike(self) -> bool:
        """Whether neighbouring groups count as alike."""
        return self.shifts is not None

    def plan(self, *, permutations: int = USUAL.permutations, seed: int = USUAL.seed) -> Resampling:
        """How a statistic of `groups` is repeated; for groups whose order says nothing these very numbers."""
        return Resampling(permutations=permutations, seed=seed, shifts=self.shifts)

    def made(self) -> dict[str, object]:
        """What a result says of it; nothing where neighbours are seen not to be alike.

        Examples
        --------
        >>> neighbours([np.random.default_rng(0).normal(size=(60, 9))], np.arange(60)).made()
        {}
        """
        if self.reason:
            return {"warnings": (f"whether groups that follow each other are alike is unknown: {self.reason}",)}
        if not self.alike:
            return {}
        short = f" ({self.length} would be right, but leave too few blocks)" if self.joined < self.length else ""
        warning = (
            f"groups that follow each other are alike (autocorrelation {self.correlation:.2f}, p {self.p:.2g}): "
            f"{self.joined} in a row{short} are left out together and share a fold, and the null moves the whole "
            "sequence on, as permuted groups would give too small a p"
        )
        return {"autocorrelation": round(self.correlation, 3), "groups joined": self.joined, "warnings": (warning,)}


def neighbours(streams: Sequence[ArrayLike], groups: ArrayLike, *, seed: int = 0) -> Neighbours:
    """Whether groups that follow each other respond alike, and what must then be left out and exchanged together.

    Parameters
    ----------
    streams : sequence of array (N, U)
        Responses to the same samples, in the order in which these were taken; units may differ.
    groups : array (N,)
        Physical scene of each sample; samples of a group stand together.
    seed : int
        Of the permutations of the order.

    Returns
    -------
    Neighbours
        Its `groups` and `plan` are what `estimate` and the statistics are given.

    Raises
    ------
    ValueError
        Where the samples of a group do not stand together (their order is lost), or a stream has another length.

    Notes
    -----
    Permuting whole groups assumes that any order of them is as likely. Frames of a walk and rooms of one building come
    in an order, and neighbours are alike in both modalities for that reason alone. Two unrelated sequences that both
    change slowly correlate by luck, as two random walks do; permuting destroys the slowness that causes it, so the null
    is too narrow: at an autocorrelation of .6 between groups p ≤ .05 came out in a quarter to three fifths of 25 empty
    worlds. Joining a few groups and permuting these keeps the slowness only within the joined ones. Moving one sequence
    on as a whole, its end to its beginning, keeps all of it, but at one joint: groups that are stationary along the
    order and unrelated are as likely to lie at any shift, so p is right. There are only as many shifts as groups, which
    bounds p from below by 1 / groups, and groups of different sizes are cut to one (`Shifts`). In 150 worlds each p ≤
    .05 then came out in .02 to .07 at an autocorrelation of .3 or .6, and at .9 in .02 to .14, which is too often.

    With every unit's group means standardised and K their Gram matrix (mean over streams, each of trace 1) of G groups,
    r_k = G / (G − k) Σ_g K[g, g + k] / tr K. Neighbours are alike where r_1 is larger than in permuted orders, p ≤ .01.
    Up to the first lag where r_k is within the band that 95 % of the permuted orders stay below, γ = 2 Σ k r_k and
    τ = 1 + 2 Σ r_k; the length is (3/2 γ² / τ² G)^⅓, rounded up, that of Politis and White for blocks that are moved.
    Fewer are joined where less than 20 stretches would be left (with less than 40 groups, half as many as these). Then
    intervals of what is linear in the responses are too narrow: at an autocorrelation of .6 between 40 groups the
    interval of a mean covers .84 (without joining .74), of a correlation .91, of debiased CKA .94, of δ .97, of
    predictivity .98 (100 draws).

    References
    ----------
    Politis, White: Automatic block-length selection for the dependent bootstrap. Econometric Reviews 23, 2004 (with
    the correction of Patton, Politis, White, ibid. 28, 2009).
    Chatfield: The analysis of time series. Chapman and Hall 2003 (autocorrelation and its band).
    Lancaster et al.: Surrogate data for hypothesis testing of physical systems. Physics Reports 748, 2018
    (circular shifts).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> walk = np.cumsum(rng.normal(size=(80, 5)), axis=0)
    >>> found = neighbours([walk], np.arange(80))
    >>> found.alike, found.shifts.count, len(np.unique(found.groups))
    (True, 79, 20)
    >>> neighbours([rng.permutation(walk)], np.arange(80)).alike
    False
    """
    codes = in_order(groups)
    count = int(codes.max()) + 1
    if count < BLOCKS:
        return Neighbours.unknown(codes, f"only {count} groups, of {BLOCKS} that it takes")
    gram = _gram(streams, codes)
    if not np.trace(gram) > 0:
        return Neighbours.unknown(codes, "no stream responds")
    rng = np.random.default_rng([seed, 3])
    ahead = _autocorrelations(gram, count // 2)
    drawn = np.empty(ORDERS)
    for i in range(ORDERS):
        order = rng.permutation(count)
        drawn[i] = gram[order[:-1], order[1:]].sum()
    drawn *= count / (count - 1) / np.trace(gram)
    correlation, p = float(ahead[0]), float(p_value(ahead[0], drawn))
    if p > LEVEL:
        return Neighbours(correlation, p, 1, 1, codes, count)
    length = _length(ahead, float(np.quantile(drawn, BAND)), count)
    parts = max(count // length, min(BLOCKS, count // 2))
    joined = round(count / parts)
    return Neighbours(correlation, p, length, joined, stretches_of(codes, parts), count, Shifts.of(codes))


def _gram(streams: Sequence[ArrayLike], codes: np.ndarray) -> np.ndarray:
    """(G, G) of the groups' mean responses, every unit standardised over groups, mean over streams."""
    sizes, count = np.bincount(codes), codes.max() + 1
    total = np.zeros((count, count))
    for stream in streams:
        x = np.asarray(stream, float)
        if x.ndim != 2 or len(x) != len(codes):
            raise ValueError(f"`streams` must each be ({len(codes)}, units), as `groups`; got shape {x.shape}.")
        means = np.zeros((count, x.shape[1]))
        np.add.at(means, codes, x)
        means = means / sizes[:, None]
        means -= means.mean(0)
        spread = means.std(0)
        moved = spread > 1e-9 * spread.max(initial=0)
        if moved.any():
            means = means[:, moved] / spread[moved]
            total += means @ means.T / means.size
    return total


def _autocorrelations(gram: np.ndarray, lags: int) -> np.ndarray:
    """At lags 1, 2, … (lags,)."""
    count = len(gram)
    return np.array([np.trace(gram, k) * count / (count - k) for k in range(1, lags + 1)]) / np.trace(gram)


def _length(ahead: np.ndarray, band: float, count: int) -> int:
    """How many groups in a row are left out together, from their autocorrelations; 2 at the least."""
    within = np.flatnonzero(ahead <= band)
    last = within[0] if len(within) else len(ahead)
    lags, r = np.arange(1, last + 1), ahead[:last]
    gamma, tau = 2 * (lags * r).sum(), 1 + 2 * r.sum()
    return max(2, int(np.ceil((1.5 * (gamma / tau) ** 2 * count) ** (1 / 3))))
