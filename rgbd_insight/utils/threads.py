"""Many small pieces of work: one thread each, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import numpy as np  # noqa: F401  both bring a BLAS, which must be there before the controller looks for it
import scipy.linalg  # noqa: F401
import torch
from threadpoolctl import ThreadpoolController

P, R, T = ParamSpec("P"), TypeVar("R"), TypeVar("T")
CPU = torch.device("cpu")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with BLAS held to one thread: on matrices of a few dozen columns, threads wait for each other.

    Measured on two cores: an eigendecomposition of 128 columns takes 1.9 ms on one thread; on two it takes as long at
    best, and up to 90 times as long where another process is at work.

    Examples
    --------
    >>> one_thread(np.linalg.det)(2 * np.eye(2)).round()
    np.float64(4.0)
    """

    @wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> R:
        with _controller().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return held


def in_threads(function: Callable[[T], R], items: Sequence[T], device: torch.device = CPU) -> list[R]:
    """`function` of every item, in order; on a CPU by as many threads as torch has, each of which runs alone.

    Where an operation is split over threads, all of them wait for the slowest, at every step. Measured on two cores
    with two more processes at work: a chain of twenty operations on 200,000 values takes 20 times as long as in one
    thread. numpy's steps are held to one thread by `one_thread`.

    Examples
    --------
    >>> in_threads(lambda x: float(torch.full((3,), x).sum()), [1.0, 2.0])
    [3.0, 6.0]
    """
    count = torch.get_num_threads()
    if count == 1 or len(items) == 1 or device.type != "cpu":
        return [function(item) for item in items]
    torch.set_num_threads(1)  # what threads that are started from here on begin with
    try:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(count)
