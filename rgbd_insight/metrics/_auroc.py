"""The area under the ROC curve for many scores at once, and the checks that its users share."""

import numpy as np

from rgbd_insight.metrics._check import check_lengths, check_rows

MIN_POSITIVES = 50
MIN_GROUPS = 10


def pair_counts(scores: np.ndarray, positive: np.ndarray, strata: np.ndarray | None = None):
    """Count, row by row of (K, n), the pairs of a positive above a negative of its stratum (ties ½), and all pairs.

    The AUROC is the ratio of the two (K,) results; counts add over folds, which weights folds by their pairs.
    """
    order = np.argsort(scores, axis=1)
    sorted_scores = np.take_along_axis(scores, order, axis=1)  # (K, n)
    y = np.take_along_axis(positive, order, axis=1)
    same = sorted_scores[:, 1:] == sorted_scores[:, :-1]
    runs = _tie_runs(same) if same.any() else None
    if strata is None:
        cells = [(y, ~y)]
    else:
        code = np.take_along_axis(strata, order, axis=1)
        cells = [(y & (code == c), ~y & (code == c)) for c in range(int(strata.max(initial=0)) + 1)]
    wins = pairs = 0.0
    for above, below in cells:
        count = np.cumsum(below, axis=1, dtype=np.int32)
        if runs is not None:
            first, last = runs
            before = np.take_along_axis(count - below, first, axis=1)
            count = 0.5 * (before + np.take_along_axis(count, last, axis=1))
        wins = wins + np.einsum("kn,kn->k", count, above, dtype=float)
        pairs = pairs + above.sum(1, dtype=float) * below.sum(1)
    return wins, pairs


def _tie_runs(same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last position (K, n) of the run of equal scores that every position lies in."""
    k, n = same.shape[0], same.shape[1] + 1
    edge = np.ones((k, 1), bool)
    position = np.arange(n)
    first = np.maximum.accumulate(np.where(np.hstack([edge, ~same]), position, 0), axis=1)
    last = np.minimum.accumulate(np.where(np.hstack([~same, edge]), position, n)[:, ::-1], axis=1)[:, ::-1]
    return first, last


def enough(present: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say for every column of `present` (N, K) why it cannot be scored ('' where it can), and count its positives."""
    _, codes = np.unique(groups, return_inverse=True)
    count = codes.max() + 1
    positives = present.sum(0)
    negatives = len(present) - positives
    with_it, without = (np.zeros((count, present.shape[1]), bool) for _ in range(2))
    np.logical_or.at(with_it, codes, present)
    np.logical_or.at(without, codes, ~present)
    reason = np.full(present.shape[1], "", dtype=object)
    for what, rows, seen in (("positives", positives, with_it.sum(0)), ("negatives", negatives, without.sum(0))):
        for k in np.flatnonzero((reason == "") & ((rows < MIN_POSITIVES) | (seen < MIN_GROUPS))):
            reason[k] = f"{rows[k]} {what} in {seen[k]} groups; needs {MIN_POSITIVES} in {MIN_GROUPS}"
    return reason, positives


def checked(x, present, groups, name: str = "x") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x (N, U) float64, present (N, K) bool and groups (N,), or raise an error that says what to change."""
    x, present, groups = check_rows(x, name), np.asarray(present), np.asarray(groups)
    if present.ndim != 2 or not np.isin(present, (0, 1)).all():
        raise ValueError(
            f"`present` must be boolean with shape (samples, concepts); got {present.dtype} {present.shape}. Pass "
            "areas >= cut."
        )
    check_lengths(**{name: x, "present": present, "groups": groups})
    return x, present.astype(bool), groups


def chosen(rows, partner, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of x and the rows of the labels beside them; `partner` defaults to `rows`."""
    rows = np.arange(n) if rows is None else np.asarray(rows)
    partner = rows if partner is None else np.asarray(partner)
    if rows.shape != partner.shape or rows.ndim != 1:
        raise ValueError(
            f"`rows` and `partner` must be row numbers of one length; got {rows.shape} and {partner.shape}."
        )
    return rows, partner
