"""Leave-outs of what is fitted to some groups and judged on others."""

import numpy as np

LEAST = 0.25  # of the variance is left at any rate: half where all of it hangs on two groups together, but for noise


def counted_once(leave_outs: np.ndarray, traded: np.ndarray) -> np.ndarray:
    """Leave-outs (G, K) drawn towards their mean, so that the jackknife counts once what hangs on two groups together.

    Parameters
    ----------
    leave_outs : (G, K) of a cross-fitted statistic, without each block; a column that holds NaN stays as it is.
    traded : (G, G, K) how much more of the statistic comes from judging a block (second) with the fit that a block
        (first) was left out of.

    Notes
    -----
    Of a statistic θ(i, j) of a group to fit and one to judge, leave-outs see the part that hangs on both twice: once
    without i, once without j. Their sum of squares is too large by that of the interaction. And a fit lies where the
    judgement is best, so what a group does to it by itself is of second order: it hangs on pairs of fitted groups,
    each seen twice as well. With t_i the change without i in the fit, and I_ij what it changes in j beyond its mean,
    ½ (Σ t_i² + Σ I_ij²) is taken off, and no more than three quarters of all.

    References
    ----------
    Efron, Stein: The jackknife estimate of variance. Annals of Statistics 9, 1981, section 4.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 1))
    >>> alone = counted_once(x, np.zeros((20, 20, 1)))  # nothing was fitted
    >>> bool(np.allclose(alone, x))
    True
    """
    blocks = len(leave_outs)
    middle = leave_outs.mean(0)
    fitted = traded.sum(1)  # (G, K)
    between = np.maximum((traded**2).sum((0, 1)) - (fitted**2).sum(0) / blocks, 0)
    alone = ((fitted - fitted.mean(0)) ** 2).sum(0)
    whole = ((leave_outs - middle) ** 2).sum(0)
    kept = 1 - np.divide(alone + between, 2 * whole, out=np.zeros_like(whole), where=whole > 0)
    drawn = middle + (leave_outs - middle) * np.sqrt(np.maximum(kept, LEAST))
    return np.where(np.isfinite(middle), drawn, leave_outs)
