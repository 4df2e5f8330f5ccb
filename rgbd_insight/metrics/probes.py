"""How well a concept can be read from a stream, and from which modality it can be read at all."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.auroc import all_pairs, checked, chosen, enough, groups_with, pair_counts
from rgbd_insight.metrics.checks import are_all
from rgbd_insight.metrics.ridge import probe_fitter
from rgbd_insight.metrics.strata import cooccurrence_strata
from rgbd_insight.stats.groups import checked_blocks, counted_once, group_folds
from rgbd_insight.utils.threads import in_threads, one_thread

_LEAST_PAIRS = 1e-2  # share of the pairs that must be left inside the strata


@dataclass(frozen=True)
class Decodability:
    """δ of every concept, with what is needed to judge it.

    Attributes
    ----------
    delta : array (K,)
        2·AUROC - 1 of the held-out probe: 1 perfect, 0 nothing, NaN see `reason`.
    reason : array of str (K,)
        Why delta is NaN; '' where it is not.
    positives : array of int (K,)
        Rows that show the concept.
    by_fold : array (F, K)
        The same for each held-out fold; NaN where a fold has no pairs.
    control : array (C, K)
        The same of labels whose groups were shuffled, C times: what there is by chance. It is 0 on average, so nothing
        is subtracted; its spread says how far from 0 chance goes.
    components : int
        Principal components that the probe was given.
    """

    delta: np.ndarray
    reason: np.ndarray
    positives: np.ndarray
    by_fold: np.ndarray
    control: np.ndarray
    components: int


def decodability(
    x: ArrayLike,
    present: ArrayLike,
    groups: ArrayLike,
    *,
    components: int = 32,
    folds: int = 5,
    strata: ArrayLike | None = None,
    controls: int = 0,
    seed: int = 0,
    rows: ArrayLike | None = None,
    partner: ArrayLike | None = None,
) -> Decodability:
    """Decode every concept from responses with a held-out linear probe: δ = 2·AUROC - 1 in [-1, 1], 0 = nothing.

    Parameters
    ----------
    x : array (N, U)
        Responses; finite.
    present : array of bool (N, K)
        Which row shows which concept.
    groups : array (N,)
        Groups that no fold may divide.
    components : int
        Principal components of the training fold given to the probe (all U, where U is smaller). Compare only values of
        equal `components`.
    folds, controls, seed : int
        Number of folds, number of shuffled-label controls, seed of both. One fold is one split, for thousands of
        images: a third of the groups fits the probe and the rest judges it; the leave-outs then say how well that probe
        is known.
    strata : array (N, P), optional
        Co-variables, column k < K belonging to concept k: see `cooccurrence_strata`. The AUROC is then taken inside
        strata, so that what is decoded through co-occurrence gets no credit.
    rows, partner : arrays of int (n,), optional
        Rows of `x`, and rows of the labels put beside them (default the same): what `stats.estimate` passes. Folds and
        strata stay those of the full set.

    Returns
    -------
    Decodability
        NaN with a reason for concepts with < 50 positives or negatives, or either in < 10 groups.

    Raises
    ------
    ValueError
        If shapes disagree, `x` is not finite, or a number is out of range.

    Notes
    -----
    Features are standardised on the training folds, projected on their first principal components, and fitted to the
    targets by ridge regression (penalty 1e-2 of the components' mean variance), all concepts at once. The AUROC is the
    share of pairs (positive, negative) of one held-out fold (and stratum) that the score puts in order, ties ½, over
    all folds. The control permutes whole groups of labels; groups of unequal size are laid end to end in a new order.
    Whatever the probe was fitted to, the labels that judge it are then exchangeable between the groups of a fold, so
    that a pair is as likely in order as not: the control is 0 on average. To subtract it adds its noise and removes
    nothing.

    Unchanged by shift, factor, sign and order of the units. 0 on average for a concept that is not there; biased down
    for one that is, as the probe is fitted to finitely many images. Strata leave a rest of what co-occurs. For an
    interval: `DecodabilityStatistic`.

    References
    ----------
    Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016. Hewitt and Liang,
    Designing and interpreting probes with control tasks, EMNLP 2019.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> present = rng.random((400, 2)) < 0.5
    >>> x = rng.normal(size=(400, 4)) + 9 * present[:, :1]  # carries the first concept only
    >>> decodability(x, present, np.arange(400)).delta > 0.3
    array([ True, False])
    """
    statistic = DecodabilityStatistic(
        x, present, groups, components=components, folds=folds, strata=strata, controls=controls, seed=seed
    )
    return statistic.at(*chosen(rows, partner, len(statistic.fold)))


class DecodabilityStatistic:
    """δ of every concept (K,) as `stats.estimate` takes it; its leave-outs come from one fit of the whole.

    Parameters
    ----------
    x, present, groups, components, folds, strata, controls, seed
        As for `decodability`; rows are those of `x`, partners those of the labels.

    Attributes
    ----------
    whole : Decodability
        Of all rows: what is said beside δ. Computed with the leave-outs where these are asked for.
    bounded : array (K,)
        Pairs of a group that shows the concept and another that does not, all different, among those that judge: what
        bounds a δ of 1 (Obuchowski and Lieber).

    Notes
    -----
    Without a block the probe is fitted anew; the strata, a nuisance of the labels alone, are computed once. Leave-outs
    of cross-fitting are drawn towards their mean, so that what hangs on two blocks together is counted once
    (`counted_once`). The interval is made on the scale of the logarithm of AUROC/(1 − AUROC), which is twice atanh δ.

    References
    ----------
    Obuchowski, Lieber: Confidence bounds when the estimated ROC area is 1.0. Academic Radiology 9, 2002.

    Examples
    --------
    >>> from rgbd_insight.stats import estimate
    >>> rng = np.random.default_rng(0)
    >>> present = rng.random((400, 2)) < 0.5
    >>> x = rng.normal(size=(400, 4)) + 9 * present[:, :1]  # carries the first concept only
    >>> estimate(DecodabilityStatistic(x, present, np.arange(400)), np.arange(400), null=False).low > 0.3
    array([ True, False])
    """

    def __init__(
        self,
        x: ArrayLike,
        present: ArrayLike,
        groups: ArrayLike,
        *,
        components: int = 32,
        folds: int = 5,
        strata: ArrayLike | None = None,
        controls: int = 0,
        seed: int = 0,
    ) -> None:
        x, self.present, self.groups = checked(x, present, groups)
        if components < 1 or controls < 0:
            raise ValueError(f"`components` must be >= 1 and `controls` >= 0; got {components} and {controls}.")
        self.reason, self.positives = enough(self.present, self.groups)
        if folds == 1:  # one split: a third of the groups fits the probe (code 1), the rest judges it (code 0)
            self.fold = (group_folds(groups, 3, seed) == 0).astype(int)
        else:
            self.fold = group_folds(groups, folds, seed)
        self.strata = None
        if strata is not None:
            options = {"folds": max(folds, 2), "seed": seed}
            self.strata = one_thread(cooccurrence_strata)(strata, self.present, self.groups, **options)
        self.x, self.components, self.controls, self.seed = x - x.mean(0), components, controls, seed
        self.single = folds == 1
        judged = self.fold == 0 if self.single else np.ones(len(self.fold), bool)
        least = np.min(groups_with(self.present[judged], self.groups[judged]), axis=0)
        self.bounded = np.clip(least, 1, len(np.unique(self.groups[judged])) / 2)

    @cached_property
    def whole(self) -> Decodability:
        return self.at(*2 * [np.arange(len(self.fold))])

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
        return self.whole.delta if are_all(rows, partner, len(self.fold)) else self.at(rows, partner).delta

    def leave_outs(self, blocks: np.ndarray) -> np.ndarray:
        """δ (G, K) without each block."""
        every = np.arange(len(self.fold))
        self.whole, leave_outs = self._decoded(every, every, checked_blocks(blocks, self.groups))
        return leave_outs

    def at(self, rows: np.ndarray, partner: np.ndarray) -> Decodability:
        """What `decodability` finds in these rows beside the labels of their partners."""
        return self._decoded(rows, partner, None)[0]

    @one_thread
    def _decoded(
        self, rows: np.ndarray, partner: np.ndarray, block: np.ndarray | None
    ) -> tuple[Decodability, np.ndarray | None]:
        x, fold, reason = self.x[rows], self.fold[rows], self.reason.copy()
        x = x / np.maximum(np.abs(x).max(0), 1e-300)  # the scale cancels; squares then neither vanish nor overflow
        kept = reason == ""  # the others would only cost
        y, codes = (None if a is None else a[partner][:, kept] for a in (self.present, self.strata))
        rng = np.random.default_rng([self.seed, 1])
        groups = self.groups[rows]
        orders = [np.arange(len(x)), *(_group_permutation(groups, rng) for _ in range(self.controls))]

        def counted(orders: list[np.ndarray], block: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
            labels = np.hstack([y[order] for order in orders])
            cells = None if codes is None else np.hstack([codes[order] for order in orders])
            wins, pairs, traded = _held_out(x, labels, fold, cells, self.components, block, single=self.single)
            return *(a.reshape(*a.shape[:2], len(orders), -1) for a in (wins, pairs)), traded  # (1 + G, F, orders, K)

        alone = 1 if block is not None else len(orders)  # without leave-outs one fit serves labels and controls
        wins, pairs, traded = counted(orders[:alone], block)
        shuffled = counted(orders[alone:])[:2] if orders[alone:] else (wins[:, :, 1:], pairs[:, :, 1:])
        wins, pairs = wins[:, :, 0], pairs[:, :, 0]
        reason[kept] = _also_few_pairs(y, fold, pairs[0])
        known = reason[kept] == ""
        with np.errstate(invalid="ignore"):  # 0 / 0 pairs: NaN, and the reason says so
            delta = np.where(known, 2 * wins.sum(1) / pairs.sum(1) - 1, np.nan)  # (1 + G, kept)
            by_fold = np.where(known, 2 * wins[0] / pairs[0] - 1, np.nan)
            control = np.where(known, 2 * np.divide(*(part[0].sum(0) for part in shuffled)) - 1, np.nan)  # (C, kept)
            leave_outs = None if block is None else counted_once(delta[1:], 2 * traded / pairs[0].sum(0))
        delta, by_fold, control, leave_outs = (
            None if part is None else _at(kept, part) for part in (delta[0], by_fold, control, leave_outs)
        )
        count = min(self.components, x.shape[1])
        return Decodability(delta, reason, self.positives, by_fold, control, count), leave_outs


def _at(kept: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (..., K) of which those of the `kept` (K,) are known, the others NaN."""
    every = np.full((*values.shape[:-1], len(kept)), np.nan)
    every[..., kept] = values
    return every


def _held_out(x, y, fold, strata, components, block=None, single=False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs in order and all pairs (1 + G, F, K): of the whole set, then without each block.

    And (G, G, K) how many more pairs of a block (second) the probe puts in order that a block (first) was left out of;
    0 where there is one split.
    """
    left = np.ones((len(x), 1))
    left = np.hstack([left, x])  # (n, 1 + U)
    right = np.hstack([left, y])  # (n, 1 + U + K)
    folds, count = 1 if single else fold.max() + 1, 0 if block is None else block.max() + 1
    counts, traded = [], np.zeros((count, count, y.shape[1]))
    for f in range(folds):
        train, test = fold != f, fold == f
        fit = probe_fitter(x, y, left, right, train, components)
        whole = fit(np.zeros(len(x), bool))

        def judge(
            g: int,
            train: np.ndarray = train,
            test: np.ndarray = test,
            fit: Callable = fit,
            whole: np.ndarray = whole,
        ) -> tuple[np.ndarray, ...]:
            gone = np.zeros(len(x), bool) if g < 0 else block == g
            # of one split only the judging part is left out: the probe is what is judged
            weights = whole if g < 0 or single or not (train & gone).any() else fit(gone)
            if single or not count:
                return pair_counts(*_judged(x, y, strata, test & ~gone, weights))
            return _by_block(x, y, strata, test, gone, weights, block, count)

        found = in_threads(judge, range(-1, count))
        counts.append([each[:2] for each in found])
        if count and not single:
            traded += np.stack([each[2] for each in found[1:]]) - found[0][2]
    wins, pairs = np.array(counts).transpose(2, 1, 0, 3)  # each (1 + G, F, K)
    return wins, pairs, traded


def _by_block(x, y, strata, test, gone, weights, block, count) -> tuple[np.ndarray, ...]:
    """Pairs in order and all pairs (K,) of the test rows that are not `gone`, and (G, K) of all of them, by block."""
    wins, pairs, parts = pair_counts(*_judged(x, y, strata, test, weights), block[test], count)
    if (test & gone).any():  # without the pairs that they have a part in; those among them would be taken off twice
        among, _ = pair_counts(*_judged(x, y, strata, test & gone, weights))
        wins = wins - 2 * parts[:, block[gone][0]] + among
        pairs = all_pairs(*_judged(x, y, strata, test & ~gone)[1:])
    return wins, pairs, parts.T


def _judged(x, y, strata, inside: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray | None, ...]:
    """Scores, labels and strata of some rows, each (K, n)."""
    scores = None if weights is None else (x[inside] @ weights).T
    return scores, y[inside].T, None if strata is None else strata[inside].T


def _group_permutation(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows (n,) to put beside rows 0…n-1 so that whole groups change places."""
    _, codes = np.unique(groups, return_inverse=True)
    order = np.empty(len(groups), int)
    order[np.argsort(codes, kind="stable")] = np.argsort(rng.permutation(codes.max() + 1)[codes], kind="stable")
    return order


def _also_few_pairs(y, fold, pairs) -> np.ndarray:
    """The reason for concepts that hardly vary inside the strata, '' for the others."""
    possible = np.zeros(y.shape[1])
    for f in range(pairs.shape[0]):
        inside = y[fold == f]
        possible += inside.sum(0, dtype=float) * (~inside).sum(0)
    few = pairs.sum(0) <= _LEAST_PAIRS * possible
    return np.where(few, "determined by its co-variables: too few pairs inside the strata", "")
