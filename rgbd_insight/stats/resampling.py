"""Interval, null and correction for many tests: one way for every measure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.stats.estimates import Estimate, Number, against, scalar_or_array, with_interval
from rgbd_insight.stats.groups import blocks_of, cut_groups, exchanger, group_codes, in_order, stretches_of
from rgbd_insight.stats.statistics import Statistic, evaluated, halved

BLOCKS, PERMUTATIONS, LEAST = 20, 200, 5  # what intervals and nulls need; with fewer groups the estimate says so
FEWEST = 10  # blocks where neighbouring groups are alike, which have to be long


@dataclass(frozen=True)
class Resampling:
    """How a statistic is repeated: which parts of the groups are left out, and how often groups are exchanged.

    Attributes
    ----------
    blocks : int
        Of whole groups, left out in turn, at least 20 (10 with `shifts`); as many as there are groups where there are
        fewer groups.
    permutations : int
        Of whole groups, at least 20; fewer than 200 are noted. With `shifts`, how many of these are drawn at most.
    seed : int
        Decides the permutations.
    shifts : tuple of int
        Where neighbouring groups are alike: by how many samples the sequence may be moved on. It is then moved instead
        of permuting groups, and blocks are stretches of groups that follow each other. `neighbours` says when, and why.

    Raises
    ------
    ValueError
        Where there are too few blocks or permutations, or a shift is no positive number.
    """

    blocks: int = 40
    permutations: int = 200
    seed: int = 0
    shifts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        fewest = FEWEST if self.shifts else BLOCKS
        if self.blocks < fewest:
            raise ValueError(
                f"`blocks` must be at least {fewest}; got {self.blocks}. With few groups it is reduced by itself."
            )
        if self.permutations < 20:
            raise ValueError(
                f"`permutations` must be at least 20; got {self.permutations}. For no null at all, null=False."
            )
        if len(set(self.shifts)) != len(self.shifts) or min(self.shifts, default=1) < 1:
            raise ValueError(f"`shifts` must be different numbers of samples above 0; got {self.shifts}.")

    def made(self, groups: ArrayLike, *, null: bool = True) -> dict[str, int]:
        """What is really used of it with these groups (N,): blocks and, with a null, permutations (or shifts), seed.

        Examples
        --------
        >>> Resampling().made([0, 1, 2, 3, 4, 5, 5], null=False)
        {'blocks': 6}
        >>> Resampling(shifts=tuple(range(1, 60))).made(np.arange(60))
        {'blocks': 40, 'shifts': 59}
        """
        used = {"blocks": min(self.blocks, len(np.unique(groups)))}
        if not null:
            return used
        if not self.shifts:
            return used | {"permutations": self.permutations, "seed": self.seed}
        drawn = self.permutations < len(self.shifts)  # otherwise all of them are used, and nothing is left to chance
        return used | {"shifts": min(self.permutations, len(self.shifts))} | ({"seed": self.seed} if drawn else {})


USUAL = Resampling()


def estimate(
    statistic: Statistic, groups: ArrayLike, plan: Resampling = USUAL, *, null: bool = True, confidence: float = 0.95
) -> Estimate:
    """Value, interval and permutation null of a statistic of paired samples, with whole groups as what varies.

    Parameters
    ----------
    statistic : Statistic
        (rows, partner) -> float or array; it takes one side from `rows` and the other from `partner`, two integer
        arrays of the same length. A component that is NaN is reported in `missing`. See `Statistic` for what it may do
        beyond that.
    groups : array (N,)
        Physical scene of each sample; at least 5 different ones.
    plan : Resampling
        How many blocks are left out, how many permutations are drawn, and their seed; or that the sequence of samples
        is moved on instead (`shifts`), where neighbouring groups are alike.
    null : bool
        False leaves the permutations out.
    confidence : float
        Of the interval, per component.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        Where there are fewer than 5 groups, `confidence` is out of range, or the statistic changes its shape.

    Notes
    -----
    θ̂ ± t_{G−1} √((G−1)/G Σ(θ₍₋g₎ − θ̄)²) over G blocks of whole groups. The null permutes whole groups among groups of
    equal size; groups whose size fewer than 5 share are cut first, for the permutations and for the value that they
    are compared with alike. Undefined draws count as larger than the value. Independence is judged by `p`, never by
    the interval.

    A statistic that jumps changes by as much for one block as for many, and the jackknife adds the jumps up: of
    `matching` its standard error was 2.4 times too large. Where a statistic says that it jumps, and there are 20 groups
    or more, `halved` says what is done instead.

    Measured on 200 images in 40 groups: the standard error is right, or too large by up to a fifth, for what varies
    smoothly with the images (CKA, the partitioning, predictivity, probes).

    References
    ----------
    Kott: The delete-a-group jackknife. Journal of Official Statistics 17, 2001.
    Phipson, Smyth: Permutation p-values should never be zero. SAGMB 9, 2010.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=200)
    >>> y = x + np.random.default_rng(1).normal(size=200)
    >>> found = estimate(lambda i, j: np.corrcoef(x[i], y[j])[0, 1], groups=np.arange(200) // 2)
    >>> round(found.value, 2), found.low < 0.7 < found.high, round(found.p, 3)
    (0.68, True, 0.005)
    """
    codes = group_codes(groups)
    count = int(codes.max()) + 1
    if count < LEAST:
        raise ValueError(
            f"`groups` must hold at least {LEAST} groups; got {count}. An interval over groups needs more scenes; "
            "more views of the same scenes do not help."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be between 0 and 1; got {confidence}. For 95 %, pass 0.95.")
    halves = getattr(statistic, "jumps", False) and count >= BLOCKS
    used = min(max(plan.blocks, BLOCKS) if halves else plan.blocks, count)
    block = stretches_of(groups, used) if plan.shifts else blocks_of(codes, used)
    value, leave_outs = _jackknifed(statistic, block, halves, plan.seed)
    notes = [f"only {count} groups: {used} jackknife blocks instead of {BLOCKS} or more"] if used < BLOCKS else []
    if null:
        notes += _few_draws(plan)
    exchange = "-stretches" if plan.shifts else ""
    key = hashlib.sha1(block.astype("<i8").tobytes()).hexdigest()[:12] + exchange + f"-halves-{plan.seed}" * halves
    made = dict(n=len(codes), groups=count, confidence=confidence, seed=plan.seed, key=key, note="; ".join(notes))
    found = with_interval(value, leave_outs, made)
    if not null:
        return found
    rows = np.arange(len(codes)) if plan.shifts else cut_groups(codes, LEAST)
    reference = value if len(rows) == len(codes) else np.asarray(statistic(rows, rows), float)
    return against(found, exchanged(statistic, codes, plan, rows=rows), reference=reference, n=len(rows))


def _few_draws(plan: Resampling) -> list[str]:
    """In what way the null is weaker than the standard."""
    count = min(plan.permutations, len(plan.shifts)) if plan.shifts else plan.permutations
    kind = "shifts" if plan.shifts else "permutations"
    return [f"only {count} {kind} instead of {PERMUTATIONS} or more"] if count < PERMUTATIONS else []


def _jackknifed(statistic: Statistic, block: np.ndarray, halves: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The value of all samples, and (blocks, …) of those without each block, or what stands in for these."""
    every, count = np.arange(len(block)), int(block.max()) + 1
    own = None if halves else getattr(statistic, "leave_outs", None)
    leave_outs = None if own is None else np.asarray(own(block), float)
    value = np.asarray(statistic(every, every), float)
    if halves:
        leave_outs = halved(statistic, block, value, seed)
    elif leave_outs is None:
        kept = (np.flatnonzero(block != b) for b in range(count))
        leave_outs = evaluated(statistic, [(rows, rows) for rows in kept])
    elif len(leave_outs) != count:
        raise ValueError(f"`statistic.leave_outs` must give one for each of {count} blocks; got {len(leave_outs)}.")
    return value, leave_outs


def permuted(
    statistic: Statistic, groups: ArrayLike, permutations: int = 200, seed: int = 0, *, rows: np.ndarray | None = None
) -> np.ndarray:
    """Values (permutations, …) of a statistic whose partners come from other groups of the same size.

    Parameters
    ----------
    statistic, groups : Statistic, array (N,)
        As for `estimate`, which asks for these draws.
    permutations, seed : int
        How many, and what decides them.
    rows : array of int (n,), optional
        The samples that take part; default all, groups that are the only ones of their size then keep their own.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=60)
    >>> draws = permuted(lambda i, j: float(x[i] @ x[j]), np.arange(60) // 2, 30)
    >>> draws.shape, bool(draws.max() < x @ x)
    ((30,), True)
    """
    codes, rng = group_codes(groups), np.random.default_rng(seed)
    rows = np.arange(len(codes)) if rows is None else rows
    permute = exchanger(codes[rows])
    return evaluated(statistic, [(rows, rows[permute(rng)]) for _ in range(permutations)])


def exchanged(
    statistic: Statistic, groups: ArrayLike, plan: Resampling = USUAL, *, rows: np.ndarray | None = None
) -> np.ndarray:
    """Values (draws, …) of a statistic whose partners are other groups' samples: the null that a plan names.

    Parameters
    ----------
    statistic, groups, plan : Statistic, array (N,), Resampling
        As for `estimate`, which asks for these draws.
    rows : array of int (n,), optional
        The samples that take part where groups are permuted, as for `permuted`; a sequence is moved as a whole.

    Returns
    -------
    array (draws, …)
        `plan.permutations` of them; with `plan.shifts` as many of these, or all where there are fewer.

    Raises
    ------
    ValueError
        Where there are shifts and the order of the groups is lost, or a shift is no smaller than N.

    Notes
    -----
    Moved by s, sample i has sample (i + s) mod N as its partner: every local order stays, and groups need not be of one
    size. Each shift is used once at most, so that with G groups p is 1 / G at the least.

    Examples
    --------
    >>> x = np.arange(6.0)
    >>> sorted(exchanged(lambda i, j: float(x[j][0]), np.arange(6), Resampling(shifts=(1, 2, 5))).tolist())
    [1.0, 2.0, 5.0]
    """
    if not plan.shifts:
        return permuted(statistic, groups, plan.permutations, plan.seed, rows=rows)
    every = np.arange(len(in_order(groups)))
    if max(plan.shifts) >= len(every):
        raise ValueError(f"`shifts` must be below the number of samples ({len(every)}); got {max(plan.shifts)}.")
    drawn = np.random.default_rng(plan.seed).permutation(plan.shifts)[: plan.permutations]
    return evaluated(statistic, [(every, (every + shift) % len(every)) for shift in drawn])


def combine(function: Callable[..., Number], *estimates: Estimate | Number, null: bool = False) -> Estimate:
    """A smooth function of several estimates over the same blocks of groups, with their joint jackknife interval.

    Parameters
    ----------
    function : Callable
        Takes the values in the order given, returns a float or array.
    *estimates : Estimate, float or array
        Made by `estimate` (or this) with the same groups and blocks; plain numbers are taken as known.
    null : bool
        True also puts the permutation nulls through `function` (same seed and permutations needed). Only for summaries
        such as means: the null of a difference between two measures is not "no difference".

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        Where no estimate is given, or they do not share their blocks (or, with `null`, their permutations).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(5, 1, size=(100, 2))
    >>> mean = estimate(lambda i, j: x[i].mean(0), np.arange(100), null=False)
    >>> ratio = combine(lambda a, b: a / b, mean[0], mean[1])
    >>> ratio.low < 1 < ratio.high
    True
    """
    made = [e for e in estimates if isinstance(e, Estimate)]
    if not made:
        raise ValueError("`estimates` must hold at least one Estimate; got plain numbers only.")
    if len({(e.key, e.blocks) for e in made}) > 1:
        raise ValueError(
            f"`estimates` must share their blocks of groups; got different ones ({[e.blocks for e in made]} of them). "
            "Estimate all of them on the same samples in the same order, by the same plan."
        )

    def through(pick: Callable[[Estimate], Number]) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):  # an undefined outcome ends up in `missing`
            return np.asarray(function(*(pick(e) if isinstance(e, Estimate) else e for e in estimates)), float)

    leave_outs = np.stack([through(lambda e, b=b: scalar_or_array(e.leave_outs[b])) for b in range(made[0].blocks)])
    notes = dict.fromkeys(e.note for e in made if e.note)
    same = {k: getattr(made[0], k) for k in ("n", "groups", "seed", "key")}
    same |= {"confidence": min(e.confidence for e in made), "note": "; ".join(notes)}
    found = with_interval(through(lambda e: e.value), leave_outs, same)
    if not null:
        return found
    if len({(e.seed, e.permutations) for e in made}) > 1 or not made[0].permutations:
        raise ValueError("`estimates` must all have a null from the same `seed` and number of `permutations`.")
    draws = [through(lambda e, i=i: scalar_or_array(e.null_draws[i])) for i in range(made[0].permutations)]
    return against(found, np.stack(draws), reference=through(lambda e: e.null_value), n=made[0].null_n)


def normalised(
    value: Estimate | Sequence[Estimate],
    null: Estimate | Sequence[Estimate] | Number,
    ceiling: Estimate | Sequence[Estimate] | Number,
    *,
    axis: int | tuple[int, ...] = (),
) -> Estimate:
    """Share of the ceiling that is reached above chance: 0 at the null, 1 at the ceiling, beyond either by noise.

    Parameters
    ----------
    value, ceiling : Estimate or sequence of Estimate; the ceiling also float or array
        Estimates over the same blocks; several (pairs of seeds) are averaged before the division.
    null : Estimate, sequence of Estimate, float or array
        The value by chance, usually `value.null`.
    axis : int or tuple of int
        Components to average before the division as well (a ratio of sums, never a mean of ratios).

    Returns
    -------
    Estimate
        Its interval from the joint leave-outs (null draws are taken as known). NaN where ceiling − null is below 3 of
        its standard errors; `missing` then says so.

    Raises
    ------
    ValueError
        Where the estimates do not share their blocks.

    Notes
    -----
    mean(value − null) / mean(ceiling − null).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal([2, 4], 1, size=(100, 2))
    >>> mean = estimate(lambda i, j: x[i].mean(0), np.arange(100), null=False)
    >>> share = normalised(mean[0], 0.0, mean[1])
    >>> share.low < 0.5 < share.high
    True
    >>> normalised(mean[0], mean[1].value, mean[1]).missing
    'ceiling - null is 0, less than 3 standard errors (0.08): nothing to normalise by'
    """
    parts = [list(a) if isinstance(a, (list, tuple)) else [a] for a in (value, null, ceiling)]
    ends = tuple(accumulate(map(len, parts)))

    def mean(*values: Number) -> np.ndarray:
        return np.stack([np.asarray(v, float) for v in np.broadcast_arrays(*values)]).mean(0)

    def gaps(*values: Number) -> np.ndarray:
        reached, chance, top = (mean(*values[a:b]) for a, b in zip((0, *ends), ends, strict=False))
        return np.stack([np.mean(gap, axis=axis) for gap in np.broadcast_arrays(reached - chance, top - chance)])

    both = combine(gaps, *parts[0], *parts[1], *parts[2])
    found = combine(lambda gap: gap[0] / gap[1], both)
    gap, se = np.asarray(both.value)[1], np.asarray(both.se)[1]
    missing = np.asarray(found.missing, object).copy()
    for index in np.argwhere(~(gap >= 3 * se) | (gap <= 0)):
        at = tuple(index)
        missing[at] = (
            missing[at]
            if np.isnan(gap[at])
            else (
                f"ceiling - null is {gap[at]:.2g}, less than 3 standard errors ({se[at]:.2g}): nothing to normalise by"
            )
        )
    masked = {k: np.where(missing == "", getattr(found, k), np.nan) for k in ("value", "low", "high", "se")}
    return replace(found, **{k: scalar_or_array(v) for k, v in masked.items()}, missing=scalar_or_array(missing))
