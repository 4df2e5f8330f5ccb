"""The leading eigenvectors of a symmetric matrix, by the quicker of two ways."""

import numpy as np
import torch
from scipy.linalg import eigh

SMALL = 256  # columns up to which all eigenvectors are found sooner than some (measured on one thread)


def leading(symmetric: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest eigenvalues (count,), ascending, and their eigenvectors (n, count); all where n is less.

    Examples
    --------
    >>> values, vectors = leading(np.diag([3.0, 1.0, 2.0]), 2)
    >>> values.tolist(), np.abs(vectors).tolist()
    ([2.0, 3.0], [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    """
    first = max(len(symmetric) - count, 0)
    if len(symmetric) <= SMALL:  # by torch, whose library needs two thirds of numpy's time
        return tuple(part.numpy()[..., first:] for part in torch.linalg.eigh(torch.from_numpy(symmetric)))
    return eigh(symmetric, subset_by_index=[first, len(symmetric) - 1], check_finite=False)
