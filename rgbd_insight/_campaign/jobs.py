"""Many steps, some of which need others: done in order, as many at a time as asked for. Use `campaign` instead."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Job:
    """One step.

    Attributes
    ----------
    name : of its own.
    do : called without arguments, in a process of a pool.
    needs : names of the jobs that must be done before.
    """

    name: str
    do: Callable[[], object]
    needs: frozenset[str] = frozenset()


def work_off(jobs: Sequence[Job], workers: int) -> None:
    """Do every job, the first that can be done first; one that fails keeps only those from being done that need it.

    Raises
    ------
    RuntimeError
        At the end, where jobs failed: it names them, and has the first one's error as its cause.
    """
    left, done, running, failed = list(jobs), set(), {}, {}
    with _pool(workers) as pool:
        while left or running:
            ready = [job for job in left if job.needs <= done][: workers - len(running)]
            for job in ready:
                running[pool.submit(job.do)] = job.name
                left.remove(job)
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, error = running.pop(future), future.exception()
                if isinstance(error, BrokenExecutor):
                    raise error
                done, failed = (done | {name}, failed) if error is None else (done, failed | {name: error})
    if failed or left:
        names = ", ".join(failed) or ", ".join(job.name for job in left)
        more = f"; {len(left)} jobs that need others were not begun" if left else ""
        first = next(iter(failed.values()), None)
        raise RuntimeError(f"{len(failed)} jobs failed ({names}){more}; the first: {first!r}") from first


def _pool(workers: int) -> Executor:
    """Processes of one thread each, that share the GPUs; for one worker this process itself."""
    if workers == 1:
        return _Here()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(context.Value("i", 0),))


class _Here(Executor):
    """Does what it is given at once, in this process."""

    def submit(self, do: Callable[..., object], /, *args: object, **options: object) -> Future:
        future = Future()
        try:
            future.set_result(do(*args, **options))
        except Exception as error:  # of whatever kind: it is handed on, as a pool does
            future.set_exception(error)
        return future


def _begin(started: multiprocessing.Value) -> None:
    """Give a new process its thread and, in turn, a GPU."""
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        with started.get_lock():
            torch.cuda.set_device(started.value % torch.cuda.device_count())
            started.value += 1
