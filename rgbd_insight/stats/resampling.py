"""Interval, null and correction for many tests: one way for every measure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.stats.estimates import Estimate, Number, against, scalar_or_array, with_interval
from rgbd_insight.stats.groups import blocks_of, group_codes
from rgbd_insight.stats.order import stretches_of
from rgbd_insight.stats.plan import BLOCKS, LEAST, PERMUTATIONS, USUAL, Resampling, exchanged
from rgbd_insight.stats.statistics import Statistic, evaluated, halved
from rgbd_insight.utils.messages import TooFew


def estimate(
    statistic: Statistic, groups: ArrayLike, plan: Resampling = USUAL, *, null: bool = True, confidence: float = 0.95
) -> Estimate:
    """Value, interval and null of a statistic of paired samples, with whole groups as what varies.

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
    the interval. All this takes groups that are independent of each other: where those that follow each other are
    alike, `neighbours` gives the groups and the plan, by which stretches of them are left out and the whole sequence is
    moved on (`exchanged`).

    A statistic that jumps changes by as much for one block as for many, and the jackknife adds the jumps up: of
    `matching` its standard error was 2.4 times too large. Where a statistic says that it jumps, and there are 20 groups
    or more, `halved` says what is done instead. Of one that is `bounded` the interval is made on another scale, and is
    not symmetric: Fisher's z = atanh θ, and of a ratio such as CKA asinh(z/3s) with z's standard error s.

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
        raise TooFew(
            f"`groups` must hold at least {LEAST} groups; got {count}. An interval over groups needs more scenes; "
            "more views of the same scenes do not help."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be between 0 and 1; got {confidence}. For 95 %, pass 0.95.")
    used = min(plan.blocks, count)
    halves = getattr(statistic, "jumps", False) and used >= BLOCKS
    block = stretches_of(groups, used) if plan.shifts else blocks_of(codes, used)
    value, leave_outs = _jackknifed(statistic, block, halves, plan.seed)
    notes = [f"only {count} groups: {used} jackknife blocks instead of {BLOCKS} or more"] if used < BLOCKS else []
    if null and plan.draws < PERMUTATIONS:
        notes.append(
            f"only {plan.draws} {'shifts' if plan.shifts else 'permutations'} instead of {PERMUTATIONS} or more"
        )
    moved = plan.shifts.rows if plan.shifts else ()
    divided = hashlib.sha1(np.array([*block, -1, *moved], "<i8").tobytes()).hexdigest()[:12]
    key = f"{divided}-{len(leave_outs)}" + f"-halves-{plan.seed}" * halves
    made = dict(n=len(codes), groups=count, confidence=confidence, seed=plan.seed, key=key, note="; ".join(notes))
    found = with_interval(value, leave_outs, made, getattr(statistic, "bounded", None))
    if not null:
        return found
    rows, draws = exchanged(statistic, codes, plan)
    reference = value if len(rows) == len(codes) else np.asarray(statistic(rows, rows), float)
    return against(found, draws, reference=reference, n=len(rows))


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


def _takes(function: Callable, count: int) -> bool:
    try:
        signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a function of a compiled library does not say what it takes
        return True
    return True


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
        Where no estimate is given, or they do not share their blocks (or, with `null`, their permutations), or one has
        another number of leave-outs; or `function` takes more or fewer values.

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
    if wrong := {len(e.leave_outs) for e in made} - {made[0].blocks}:
        raise ValueError(
            f"`estimates` must have a leave-out for each of their {made[0].blocks} blocks; got {wrong.pop()}. "
            "Leave them as `estimate` made them."
        )

    if not _takes(function, len(estimates)):
        raise ValueError(f"`function` must take as many values as there are estimates; got {len(estimates)} of them")

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
