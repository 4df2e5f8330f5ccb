"""How a statistic is repeated: what is left out, and what is exchanged for its null."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.stats.groups import cut_groups, exchanger, group_codes
from rgbd_insight.stats.order import Shifts
from rgbd_insight.stats.statistics import Statistic, evaluated
from rgbd_insight.utils.messages import checked_whole

BLOCKS, PERMUTATIONS, LEAST = 20, 200, 5  # what intervals and nulls need; with fewer groups the estimate says so
MOST = 10**6  # permutations, beyond which no null would ever be done


@dataclass(frozen=True)
class Resampling:
    """How a statistic is repeated: which parts of the groups are left out, and how often groups are exchanged.

    Attributes
    ----------
    blocks : int
        Of whole groups, left out in turn, at least 20; as many as there are groups where there are fewer groups.
    permutations : int
        Of whole groups, 20 to a million; fewer than 200 are noted. With `shifts`, how many of these are drawn at most.
    seed : int
        Decides the permutations.
    shifts : Shifts, optional
        Where neighbouring groups are alike: the sequence that is then moved on instead of permuting groups, and blocks
        are stretches of groups that follow each other. `neighbours` says when, and why.

    Raises
    ------
    ValueError
        Where there are too few blocks, too few or many permutations, or the seed is none.
    """

    blocks: int = 40
    permutations: int = 200
    seed: int = 0
    shifts: Shifts | None = None

    def __post_init__(self) -> None:
        if not BLOCKS <= self.blocks < np.inf:
            raise ValueError(
                f"`blocks` must be at least {BLOCKS}; got {self.blocks}. With few groups it is reduced by itself."
            )
        fix = "200 are enough for a p to be quoted; for no null at all, null=False"
        checked_whole("permutations", self.permutations, 20, MOST, fix)
        checked_whole("seed", self.seed, 0, 2**64 - 1, "0 is the default")

    def made(self, groups: ArrayLike, *, null: bool = True) -> dict[str, int]:
        """What is really used of it with these groups (N,): blocks and, with a null, permutations (or shifts), seed.

        Examples
        --------
        >>> Resampling().made([0, 1, 2, 3, 4, 5, 5], null=False)
        {'blocks': 6}
        >>> Resampling(shifts=Shifts.of(np.arange(60))).made(np.arange(60))
        {'blocks': 40, 'shifts': 59}
        """
        used = {"blocks": min(self.blocks, len(np.unique(groups)))}
        if not null:
            return used
        drawn = {("shifts" if self.shifts else "permutations"): self.draws}
        chance = not self.shifts or self.draws < self.shifts.count  # where all are used, nothing is left to it
        return used | drawn | ({"seed": self.seed} if chance else {})

    @property
    def draws(self) -> int:
        """How many values of the null there are: as many as asked for, or all shifts where these are fewer."""
        return min(self.permutations, self.shifts.count) if self.shifts else self.permutations


USUAL = Resampling()


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


def exchanged(statistic: Statistic, groups: ArrayLike, plan: Resampling = USUAL) -> tuple[np.ndarray, np.ndarray]:
    """Values of a statistic whose partners are other groups' samples, and which samples they are of.

    Parameters
    ----------
    statistic, groups, plan : Statistic, array (N,), Resampling
        As for `estimate`, which asks for these draws.

    Returns
    -------
    rows : array of int (n,)
        The samples that take part: groups are cut so that each can be exchanged. The value that the draws are compared
        with must be that of these, `statistic(rows, rows)`.
    draws : array (plan.draws, …)
        The values under permutation of groups, or with `plan.shifts` of the sequence that is moved on.

    Raises
    ------
    ValueError
        Where the sequence to be moved is not one of these samples.

    Notes
    -----
    Moved by s, sample j of group g has sample j of group (g + s) mod G as its partner: every local order stays. Each
    shift is used once at most, so that p is 1 / G at the least.

    Examples
    --------
    >>> x, plan = np.arange(30.0), Resampling(shifts=Shifts.of(np.arange(30)))
    >>> rows, draws = exchanged(lambda i, j: float(x[j][0]), np.arange(30), plan)
    >>> len(rows), sorted(draws) == list(range(1, 30))
    (30, True)
    """
    if not plan.shifts:
        rows = cut_groups(groups, LEAST)
        return rows, permuted(statistic, groups, plan.permutations, plan.seed, rows=rows)
    rows = np.array(plan.shifts.rows)
    if max(rows) >= len(groups):
        raise ValueError(f"`plan` must move a sequence of these {len(groups)} samples; got sample {max(rows)}.")
    drawn = 1 + np.random.default_rng(plan.seed).permutation(plan.shifts.count)[: plan.draws]
    return rows, evaluated(statistic, [(rows, plan.shifts.partner(shift)) for shift in drawn])
