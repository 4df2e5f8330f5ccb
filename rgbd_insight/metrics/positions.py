"""How well a concept can be read from a stream at a place of the image, beside places that are otherwise alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.auroc import all_pairs, checked, enough, groups_with, pair_counts
from rgbd_insight.metrics.checks import are_all, check_lengths
from rgbd_insight.metrics.ridge import probe_fitter
from rgbd_insight.stats.estimates import jackknife_error
from rgbd_insight.stats.groups import checked_blocks, counted_once, group_folds
from rgbd_insight.utils.threads import one_thread

BINS, MIDDLE = 10, 30  # a standard deviation of scores, and to either side of their mean, where densities are taken
EXPECTED = 0.25  # how much likelier a rival has to be than elsewhere, to count as seen
LEAST_PAIRS = 1e-3  # share of all pairs that must be left inside the strata


class PositionDecodability:
    """δ of every concept at cells, over all folds and in each (1 + F, K), as `stats.estimate` takes it.

    Parameters
    ----------
    x : array (C, U)
        Responses at cells, a row each; finite.
    present : array of bool (C, K)
        Which cell shows which concept.
    groups : array (C,)
        Physical scene of each cell, which no fold divides.
    strata : array of int (C, K)
        From 0, by concept: only cells of one stratum and fold are compared. See `cooccurrence_strata`, which must have
        been given the same folds and seed.
    rivals : array of bool (K,), optional
        Concepts one of which stands in a cell, if anything does. A cell in which another of them is likelier than
        elsewhere, by `EXPECTED`, then counts as showing the concept most clearly: δ gives no credit for places that
        look empty and may be negative. For saying that a modality does not show a concept; what it shows of one reads
        too low.
    components, folds, seed : int
        Principal components given to the probe, number of folds (5 or more for `concept_variance`), seed of these.

    Attributes
    ----------
    reason : array of str (K,)
        Why a concept has no value; "" where it has one.
    bounded : array (1 + F, K)
        Groups on which δ was judged, which bound a value of 1.

    Notes
    -----
    The probe is that of `decodability`: ridge regression on the principal components of the other folds' cells. δ is
    2·AUROC − 1 over the pairs (positive, negative) of one fold and stratum; 1: always in order, 0: chance.

    Leave-outs leave out pairs, counted exactly from one sort, and the images that the probe was fitted to, to first
    order: scores s move by x·(w₍₋g₎ − w), and pairs change places where the densities of both sides overlap. The share
    of pairs out of order is no less certain than a Poisson count of one (`no_less_certain`). What hangs on two blocks
    together is counted once (`counted_once`). To sort anew without every block would take forty times as long and moves
    intervals by a few percent.

    Where a concept is that a modality does not show, the place looks empty. Among other places that are labelled as
    empty there are some at which something without a name is seen: strata cannot know it, and whoever sees it knows
    that the hidden concept is not there. With `rivals` that is held against the concept.

    References
    ----------
    LeDell, Petersen, van der Laan: Computationally efficient confidence intervals for cross-validated area under the
    ROC curve estimates. Electronic Journal of Statistics 9, 2015 (whose probes are taken as known).

    Examples
    --------
    >>> from rgbd_insight.stats import estimate
    >>> rng, groups = np.random.default_rng(0), np.arange(1600) // 16
    >>> present = rng.random((1600, 2)) < 0.5
    >>> x = rng.normal(size=(1600, 4)) + 9 * present[:, :1]  # carries the first concept only
    >>> one = PositionDecodability(x, present, groups, strata=np.zeros((1600, 2), int))
    >>> estimate(one, groups, null=False)[0].low > 0.3
    array([ True, False])
    """

    def __init__(
        self,
        x: ArrayLike,
        present: ArrayLike,
        groups: ArrayLike,
        *,
        strata: ArrayLike,
        rivals: ArrayLike | None = None,
        components: int = 32,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        x, self.present, self.groups = checked(x, present, groups)
        self.strata, self.components = np.asarray(strata), components
        check_lengths(x=x, strata=self.strata)
        if self.strata.shape != self.present.shape or self.strata.min(initial=0) < 0:
            raise ValueError(
                f"`strata` must hold a code from 0 for each of {self.present.shape} cells and concepts; got shape "
                f"{self.strata.shape}. Use cooccurrence_strata."
            )
        if components < 1:
            raise ValueError(f"`components` must be 1 or more; got {components}.")
        self.rivals = None if rivals is None else np.asarray(rivals, bool)
        if self.rivals is not None and self.rivals.shape != self.present.shape[1:]:
            raise ValueError(
                f"`rivals` must say of each of {self.present.shape[1]} concepts whether it is one; got shape "
                f"{self.rivals.shape}. Leave it out to judge presence."
            )
        self.x = x - x.mean(0)
        self.fold = group_folds(groups, folds, seed)
        self.reason = enough(self.present, self.groups)[0]
        inside = [np.ones(len(x), bool), *(self.fold == f for f in range(folds))]
        least = np.array([np.min(groups_with(self.present[rows], self.groups[rows]), axis=0) for rows in inside])
        self.bounded = np.maximum(least, 1)
        pairs = sum(all_pairs(self.present[rows].T, self.strata[rows].T) for rows in inside[1:])  # (K,)
        self.reason[(self.reason == "") & (pairs <= LEAST_PAIRS * all_pairs(self.present.T))] = (
            "determined by what else is there: too few cells to compare it with"
        )

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        if are_all(rows, partner, len(self.fold)) and hasattr(self, "_whole"):
            return self._whole
        found = self._counted(rows, partner, None)
        return self._delta(found.wins, found.pairs)

    def leave_outs(self, blocks: np.ndarray) -> np.ndarray:
        """δ (G, 1 + F, K) without the cells of each block."""
        every = np.arange(len(self.fold))
        found = self._counted(every, every, checked_blocks(blocks, self.groups))
        self._whole = self._delta(found.wins, found.pairs)
        left = np.stack([self._delta(*part) for part in zip(found.wins_left, found.pairs_left, strict=True)])
        left = _within(left, self._whole)
        left[:, 0] = counted_once(left[:, 0], 2 * found.traded / np.maximum(found.pairs.sum(0), 1))
        return no_less_certain(left, self._whole)

    def _delta(self, wins: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        wins, pairs = (np.vstack([part.sum(0), part]) for part in (wins, pairs))
        known = (self.reason == "") & (pairs > 0)
        return np.where(known, 2 * wins / np.where(known, pairs, 1) - 1, np.nan)  # (1 + F, K)

    @one_thread
    def _counted(self, rows: np.ndarray, partner: np.ndarray, block: np.ndarray | None) -> _Counts:
        """Pairs in order and all pairs of each fold; with `block` also without each block."""
        x, fold, kept = self.x[rows], self.fold[rows], self.reason == ""
        x = x / np.maximum(np.abs(x).max(0), 1e-300)  # the scale cancels; squares then neither vanish nor overflow
        y, strata = self.present[partner][:, kept], self.strata[partner][:, kept].astype(int)
        rivals = self.rivals
        left = np.hstack([np.ones((len(x), 1)), x])  # (n, 1 + U)
        right = np.hstack([left, y])  # (n, 1 + U + K)
        counts = _Counts.empty(self.fold.max() + 1, len(kept), None if block is None else block.max() + 1)
        for f in range(len(counts.wins)):
            test = fold == f
            fit = probe_fitter(x, y, left, right, ~test, self.components)
            weights = fit(np.zeros(len(x), bool))  # (U, K)
            scores = x[test] @ weights  # (n, K)
            beyond = scores - x[~test].mean(0) @ weights  # how much more a concept is expected than elsewhere
            others = np.zeros(scores.shape, bool) if rivals is None else _other_expected(beyond, rivals[kept])
            scores = np.where(others, scores.max(0, initial=0) + 1, scores)
            inside = scores.T, y[test].T, strata[test].T  # (K, n) each
            counts.wins[f, kept], counts.pairs[f, kept] = pair_counts(*inside)
            if block is None:
                continue
            change = np.stack([fit(block == g) for g in range(block.max() + 1)]) - weights  # (G, U, K)
            wins, counts.pairs_left[:, f, kept] = _without(*inside, block[test], len(change))
            swaps = _swaps(*inside, ~others.T, x[test], block[test], len(change))  # (G, U, K)
            traded = np.einsum("juk,guk->gjk", swaps, change)  # (G, G, K): of pairs of block j without block g
            own = np.arange(len(change))
            traded[own, own] = 0
            counts.wins_left[:, f, kept] = wins + traded.sum(1)
            counts.traded[..., kept] += traded
        return counts


@dataclass
class _Counts:
    """Pairs in order, and all pairs, of each fold (F, K); what is left without each block (G, F, K).

    And (G, G, K) how many more pairs of a block (second) are in order with the probe that a block (first) is left out
    of.
    """

    wins: np.ndarray
    pairs: np.ndarray
    wins_left: np.ndarray | None = None
    pairs_left: np.ndarray | None = None
    traded: np.ndarray | None = None

    @classmethod
    def empty(cls, folds: int, concepts: int, blocks: int | None) -> _Counts:
        shapes = [(folds, concepts)] * 2
        if blocks is not None:
            shapes += [(blocks, folds, concepts)] * 2 + [(blocks, blocks, concepts)]
        return cls(*(np.zeros(shape) for shape in shapes))


def _within(left: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Leave-outs (G, …) whose 1 − δ is within a factor of e of that of the whole (…)."""
    lost = 1 - whole
    return 1 - np.clip(1 - left, lost / np.e, lost * np.e)


def no_less_certain(left: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Leave-outs of δ by which the share of pairs out of order is no less certain than a Poisson count of one.

    Of a nearly perfect order the overlap of both sides is smoothed from few pairs, and so is how it hangs on the images
    that the probe was fitted to: without this, [-1, 1] would be the interval of .9999.

    Parameters
    ----------
    left : array (G, …)
        δ without each block.
    whole : array (…)
        δ of all.

    Returns
    -------
    array (G, …)
        No block changes 1 − δ by more than a factor of e, and all of them together have a standard error of its
        logarithm of 1 at the most.

    Examples
    --------
    >>> no_less_certain(np.array([[0.9999], [1.0]]), np.array([0.99999])).round(6).tolist()
    [[0.999973], [0.999996]]
    """
    lost = np.maximum(1 - whole, np.finfo(float).tiny)
    change = np.clip(np.log(np.maximum(1 - left, lost / np.e) / lost), -1, 1)
    return 1 - lost * np.exp(change / np.maximum(jackknife_error(change), 1))


def _without(
    scores: np.ndarray, present: np.ndarray, strata: np.ndarray, block: np.ndarray, blocks: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs in order, and all pairs, without each block (G, K), by the same scores (K, n)."""
    wins, _, parts = pair_counts(scores, present, strata, block, blocks)  # parts: half of a pair to each block
    within = pair_counts(scores, present, strata * blocks + block, block, blocks)[2]  # (K, G)
    above, below = _table(present, strata, block, blocks)
    left = [n.sum(-1, keepdims=True) - n for n in (above, below)]  # (K, strata, G)
    return wins - (2 * parts - within).T, (left[0] * left[1]).sum(1).T  # pairs within a block went off twice


def _other_expected(beyond: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """Whether a rival that is not the concept itself (n, K) is expected more than elsewhere, by what `beyond` says."""
    there = (beyond >= EXPECTED) & rivals
    return there.sum(1, keepdims=True) - there > 0


def _swaps(
    scores: np.ndarray,
    present: np.ndarray,
    strata: np.ndarray,
    moving: np.ndarray,
    x: np.ndarray,
    block: np.ndarray,
    blocks: int,
) -> np.ndarray:
    """How many more pairs come into order a unit that a probe's weights grow, of each block's cells (G, U, K).

    The score of a positive passes as many negatives of its stratum as there are near it, a unit of the score; where
    `moving` (K, n).
    """
    spread = np.maximum(scores.std(1, keepdims=True), 1e-300)
    bins = np.clip((scores - scores.mean(1, keepdims=True)) / spread * BINS + MIDDLE, 0, 2 * MIDDLE).astype(int)
    above, below = (_smoothed(side) for side in _table(present, strata, bins, 2 * MIDDLE + 1))
    rows = np.arange(len(scores))[:, None]
    passed = np.where(present, below[rows, strata, bins], -above[rows, strata, bins]) * moving * BINS / spread  # (K, n)
    order = np.argsort(block, kind="stable")
    starts = np.searchsorted(block[order], np.arange(blocks))
    ends = np.append(starts[1:], len(block))
    parts = [order[start:end] for start, end in zip(starts, ends, strict=True)]
    return np.stack([x[part].T @ passed[:, part].T for part in parts])


def _smoothed(counts: np.ndarray) -> np.ndarray:
    """Counts (…, bins), each the mean of itself and its neighbours, nearer ones weighing more."""
    padded = np.pad(counts, [(0, 0)] * (counts.ndim - 1) + [(2, 2)])
    return sum(w * padded[..., i : i + counts.shape[-1]] for i, w in enumerate((1, 2, 3, 2, 1))) / 9


def _table(present: np.ndarray, strata: np.ndarray, other: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of positives and of negatives (K, strata, count) by a second code (n,) or (K, n)."""
    size = int(strata.max(initial=0)) + 1
    places = (np.arange(len(strata))[:, None] * size + strata) * count + other
    each = (np.bincount(places[rows], minlength=len(strata) * size * count) for rows in (present, ~present))
    return tuple(n.reshape(-1, size, count).astype(float) for n in each)
