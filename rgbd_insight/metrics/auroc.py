"""The area under the ROC curve for many scores at once, and the checks that its users share."""

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.checks import check_lengths, check_rows

MIN_POSITIVES = 50
MIN_GROUPS = 10


def pair_counts(
    scores: np.ndarray,
    positive: np.ndarray,
    strata: np.ndarray | None = None,
    block: np.ndarray | None = None,
    blocks: int = 0,
) -> tuple[np.ndarray, ...]:
    """Count pairs of a positive above a negative (ties ½), and all pairs: the AUROC is the ratio of the two.

    Parameters
    ----------
    scores : array (K, n)
        One row a concept.
    positive : array of bool (K, n)
        Which samples show it.
    strata : array of int (K, n), optional
        Only pairs inside one stratum count.
    block : array of int (n,), optional
        Block of every sample, less than `blocks`.
    blocks : int
        Number of blocks.

    Returns
    -------
    wins, pairs : array (K,)
        Counts add over folds, which weights folds by their pairs.
    parts : array (K, blocks)
        Only with `block`: the pairs in order by their members' blocks, half of a pair to each.

    References
    ----------
    Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 1982.

    Examples
    --------
    >>> wins, pairs = pair_counts(np.array([[0.1, 0.4, 0.4]]), np.array([[False, True, False]]))
    >>> wins / pairs
    array([0.75])
    """
    order = np.argsort(scores, axis=1)
    rows = np.arange(len(scores))[:, None]
    if strata is not None:  # by stratum, and by score inside it
        order = order[rows, np.argsort(strata[rows, order], axis=1, kind="stable")]
    y, ranked = positive[rows, order], scores[rows, order]  # (K, n)
    same = np.ones((len(y), max(y.shape[1] - 1, 0)), bool)
    if strata is not None:
        code = strata[rows, order]
        same = code[:, 1:] == code[:, :-1]
    cell = None if same.all() else _runs(same)
    tied = same & (ranked[:, 1:] == ranked[:, :-1])
    ties = _runs(tied) if tied.any() else None
    lower = _lower(~y, rows, cell, ties)
    wins, pairs = np.einsum("kn,kn->k", lower, y, dtype=float), all_pairs(positive, strata)
    if block is None:
        return wins, pairs
    higher = _upto(y, rows, cell)
    higher = (higher[:, -1:] if cell is None else higher[rows, cell[1]]) - _lower(y, rows, cell, ties)
    parts, places = np.where(y, lower, higher) / 2, rows * blocks + block[order]
    return wins, pairs, np.bincount(places.ravel(), parts.ravel(), len(y) * blocks).reshape(-1, blocks)


def all_pairs(positive: np.ndarray, strata: np.ndarray | None = None) -> np.ndarray:
    """Number (K,) of pairs of a positive and a negative (K, n) of its stratum."""
    if strata is None:
        return positive.sum(1, dtype=float) * (~positive).sum(1)
    count = int(strata.max(initial=0)) + 1
    places = np.arange(len(strata))[:, None] * count + strata
    each = (np.bincount(places[rows], minlength=len(strata) * count) for rows in (positive, ~positive))
    above, below = (n.reshape(-1, count).astype(float) for n in each)
    return (above * below).sum(1)


def _lower(these: np.ndarray, rows: np.ndarray, cell, ties) -> np.ndarray:
    """How many of `these` (K, n) lie below each position of its stratum, of those in its own run of ties half."""
    count = _upto(these, rows, cell)
    if ties is None:
        return count
    first, last = ties
    return 0.5 * ((count - these)[rows, first] + count[rows, last])


def _upto(these: np.ndarray, rows: np.ndarray, cell) -> np.ndarray:
    """How many of `these` (K, n) there are in its stratum up to each position."""
    count = np.cumsum(these, axis=1, dtype=np.int32)
    return count if cell is None else count - (count - these)[rows, cell[0]]


def _runs(same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last position (K, n) of the run that every position lies in, `same` (K, n - 1) as the next one."""
    k, n = same.shape[0], same.shape[1] + 1
    edge = np.ones((k, 1), bool)
    position = np.arange(n)
    first = np.maximum.accumulate(np.where(np.hstack([edge, ~same]), position, 0), axis=1)
    last = np.minimum.accumulate(np.where(np.hstack([~same, edge]), position, n)[:, ::-1], axis=1)[:, ::-1]
    return first, last


def groups_with(present: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number (K,) of groups in which some sample shows each column of `present` (N, K), and in which some does not."""
    _, codes = np.unique(groups, return_inverse=True)
    seen = np.zeros((2, codes.max() + 1, present.shape[1]), bool)
    for found, rows in zip(seen, (present, ~present), strict=True):
        np.logical_or.at(found, codes, rows)
    return tuple(seen.sum(1))


def enough(present: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say for every column of `present` (N, K) why it cannot be scored ('' where it can), and count its positives."""
    positives, (showing, lacking) = present.sum(0), groups_with(present, groups)
    negatives = len(present) - positives
    reason = np.full(present.shape[1], "", dtype=object)
    for what, rows, seen in (("positives", positives, showing), ("negatives", negatives, lacking)):
        for k in np.flatnonzero((reason == "") & ((rows < MIN_POSITIVES) | (seen < MIN_GROUPS))):
            reason[k] = f"{rows[k]} {what} in {seen[k]} groups; needs {MIN_POSITIVES} in {MIN_GROUPS}"
    return reason, positives


def checked(
    x: ArrayLike, present: ArrayLike, groups: ArrayLike, name: str = "x"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x (N, U) float64, present (N, K) bool and groups (N,), or raise an error that says what to change."""
    x, present, groups = check_rows(x, name), np.asarray(present), np.asarray(groups)
    if present.ndim != 2 or not np.isin(present, (0, 1)).all():
        raise ValueError(
            f"`present` must be boolean with shape (samples, concepts); got {present.dtype} {present.shape}. Pass "
            "areas >= cut."
        )
    check_lengths(**{name: x, "present": present, "groups": groups})
    return x, present.astype(bool), groups


def chosen(rows: ArrayLike | None, partner: ArrayLike | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of x and the rows of the labels beside them; `partner` defaults to `rows`."""
    rows = np.arange(n) if rows is None else np.asarray(rows)
    partner = rows if partner is None else np.asarray(partner)
    if rows.shape != partner.shape or rows.ndim != 1:
        raise ValueError(
            f"`rows` and `partner` must be row numbers of one length; got {rows.shape} and {partner.shape}."
        )
    return rows, partner
