"""How many directions a stream uses."""

import numpy as np

from rgbd_insight.metrics.checks import check_rows


def effective_dimension(x) -> float:
    """Participation ratio of the covariance's eigenvalues: from 1 (one direction) to U (all alike).

    Parameters
    ----------
    x : array (N, U)
        Responses; finite, N >= 4.

    Returns
    -------
    float
        NaN where no unit varies.

    Raises
    ------
    ValueError
        Where `x` is not finite or has too few rows.

    Notes
    -----
    (Σλ)² / Σλ² = tr(C)² / tr(C²). Biased down where N is not much larger than U. Unchanged by shift, one factor for the
    stream and rotation.

    References
    ----------
    Gao and Ganguli, On simplicity and complexity in the brave new world of large-scale neuroscience, 2015.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(effective_dimension(rng.normal(size=(4000, 5))), 1)
    5.0
    >>> round(effective_dimension(np.outer(rng.normal(size=50), np.ones(5))), 1)
    1.0
    """
    x = check_rows(x, "x")
    x = x - x.mean(0)
    covariance = x.T @ x
    total = np.trace(covariance)
    return float(total**2 / (covariance**2).sum()) if total > 0 else np.nan
