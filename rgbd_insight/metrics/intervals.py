"""The interval of a delete-block jackknife, and the check of the blocks that are left out."""

import numpy as np
from scipy import stats as distributions

from rgbd_insight.metrics.groups import group_codes


def checked_blocks(blocks, groups) -> np.ndarray:
    """Return the block of every row (N,) as codes 0…G-1, G >= 2, or an error where a block divides a group.

    Examples
    --------
    >>> checked_blocks([5, 5, 9], ["attic", "attic", "hall"])
    array([0, 0, 1])
    """
    codes = group_codes(blocks, "blocks")
    pairs = np.unique(np.stack([group_codes(groups), codes]), axis=1) if len(codes) == len(groups) else np.empty((2, 0))
    if pairs.shape[1] != len(np.unique(groups)) or codes.max() == 0:
        raise ValueError(
            f"`blocks` must give each of the {len(groups)} rows one of at least 2 blocks of whole groups; got "
            f"{len(codes)} rows, {codes.max() + 1} blocks. Use blocks_of(groups)."
        )
    return codes


def jackknife_bounds(value, leave_outs, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of a delete-block jackknife, in the units of `value`.

    Parameters
    ----------
    value : array (...)
        The statistic on all rows.
    leave_outs : array (G, ...)
        The statistic without each block, G >= 2.
    level : float
        Two-sided coverage, in (0, 1).

    Returns
    -------
    low, high : arrays of the shape of `value`
        NaN where `value` is NaN.

    Raises
    ------
    ValueError
        If there are fewer than two leave-outs or `level` is outside (0, 1).

    Notes
    -----
    value ± t_{G-1} · √((G-1)/G · Σ_g (leave_out_g - mean)²).

    References
    ----------
    Efron and Stein, The jackknife estimate of variance, Annals of Statistics 1981.

    Examples
    --------
    >>> low, high = jackknife_bounds(1.0, np.array([0.9, 1.0, 1.1]))
    >>> round(float(high - 1), 3)
    0.497
    """
    leave_outs = np.asarray(leave_outs, float)
    if len(leave_outs) < 2:
        raise ValueError(f"`leave_outs` must hold at least 2 blocks; got {len(leave_outs)}. Use 20 or more.")
    if not 0 < level < 1:
        raise ValueError(f"`level` must be between 0 and 1; got {level}.")
    count = len(leave_outs)
    spread = np.sqrt((count - 1) * np.var(leave_outs, axis=0))  # np.var divides by G
    half = distributions.t.ppf(0.5 + level / 2, count - 1) * spread
    return np.asarray(value) - half, np.asarray(value) + half
