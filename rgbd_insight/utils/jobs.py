"""Pieces of work, some of which need others, on as many processes as asked for: the package's only job runner.

joblib starts the processes: loky's on this machine, or those of another backend, such as dask's on a cluster.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import pickle
import re
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from threading import Lock, RLock, Thread
from typing import Any

import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.backend.resource_tracker import ensure_running
from joblib.parallel import BACKENDS
from tqdm import tqdm

from rgbd_insight.utils.messages import unknown

WATCH = 0.5  # seconds between two looks at whether the process that started this one is still there
PAUSE = 0.2  # seconds that a free process waits where all that is left needs what is being done
NUMBER = re.compile(r"\d+$")  # of a process, in its name


@dataclass(frozen=True)
class Job:
    """A piece of work.

    Attributes
    ----------
    name : Hashable
        Of its own; its text is what errors call it.
    do : Callable
        Called without arguments, in a process of the pool; pickled, as is what it returns.
    needs : frozenset
        Names of the jobs that must be done before.
    urgency : int
        Of the jobs that can be begun, one with the lowest is.
    """

    name: Hashable
    do: Callable[[], Any]
    needs: frozenset = frozenset()
    urgency: int = 0


@dataclass(frozen=True)
class Pool:
    """Where jobs are done.

    Attributes
    ----------
    workers : int
        Processes; 1 is this process itself, and -1 as many as the backend has.
    backend : str
        "loky" (this machine), "dask", or any other that joblib knows; "MODULE:NAME" where importing MODULE registers
        it.
    scheduler : str, optional
        Address of dask's scheduler, such as "tcp://host:8786"; None with other backends.

    Raises
    ------
    ValueError
        Where there is no such backend, or something else that does not go together.

    Examples
    --------
    >>> Pool(2, "lokey")
    Traceback (most recent call last):
    ValueError: `backend` must be one of ... got 'lokey': the nearest are loky, ...
    """

    workers: int = 1
    backend: str = "loky"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.workers < 1 and self.workers != -1:
            raise ValueError(f"`workers` must be 1 or more, or -1 for all that there are; got {self.workers}")
        module, _, name = self.backend.rpartition(":")
        if module:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ValueError(
                    f"`backend` must name a module that can be imported; got {module!r}: {error}"
                ) from None
        if name != "dask" and name not in BACKENDS:
            raise ValueError(unknown("backend", name, sorted({*BACKENDS, "dask"})))
        if name == "dask" and importlib.util.find_spec("distributed") is None:
            raise ValueError(
                "`backend` dask needs the package distributed, which is not installed; type: "
                "pip install distributed, or leave the backend out"
            )
        if (name == "dask") != (self.scheduler is not None):
            raise ValueError(
                "`scheduler` is the address of dask's scheduler, for the backend dask and no other; "
                f"got {self.scheduler!r} with {self.backend!r}"
            )

    @property
    def alone(self) -> bool:
        """Whether everything is done by this process."""
        return self.workers == 1 and self.backend == "loky"

    def settings(self) -> dict[str, Any]:
        """What `joblib.parallel_config` gets.

        Where the backend can say so, BLAS gets one thread a process, and a process ends with the one that started it.
        """
        asked = {"backend": self.backend.rpartition(":")[2], "n_jobs": self.workers}
        if self.backend == "loky":
            asked |= {"inner_max_num_threads": 1, "initializer": _end_with, "initargs": (os.getpid(),)}
        return asked if self.scheduler is None else asked | {"scheduler_host": self.scheduler}


ALONE = Pool()


def work_off(jobs: Iterable[Job], pool: Pool = ALONE, *, done: Callable[[Any, Any], object] | None = None) -> None:
    """Do every job, the most urgent first; one that fails keeps only those from being done that need it.

    Parameters
    ----------
    jobs : iterable of Job
        Each with a name of its own.
    pool : Pool
        Where they are done. Processes of a pool have one thread each, and share the GPUs in turn.
    done : Callable, optional
        Called in this process with the name of a job that was done and what it returned, in the order they end.

    Raises
    ------
    RuntimeError
        At the end, where jobs failed: it names them, and has the first one's error as its cause. At once, where a
        process of the pool was killed.

    Examples
    --------
    >>> jobs = [Job("roof", lambda: "done", frozenset({"walls"})), Job("walls", lambda: "done")]
    >>> work_off(jobs, done=print)
    walls done
    roof done
    """
    queue = _Queue(jobs)
    with warnings.catch_warnings(), parallel_config(**pool.settings()):
        # loky replaces a process that has grown by images which are kept on purpose; joblib warns of an early end
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs|.* tasks which were still being")
        parallel = Parallel(batch_size=1, pre_dispatch="n_jobs", max_nbytes=None, return_as="generator_unordered")
        try:
            with ExitStack() as stack:
                with _deaf_children(pool):
                    outcomes = parallel(delayed(_outcome)(name, do, not pool.alone) for name, do in queue)
                    stack.enter_context(closing(outcomes))
                for name, result, error in outcomes:
                    queue.settle(name, error)
                    if done is not None and name is not None and error is None:
                        done(name, result)
        finally:
            if pool.backend == "loky" and not pool.alone:
                get_reusable_executor().shutdown()
    queue.check()


class _Queue:
    """What is left to do; joblib asks for the next piece whenever a process is free, from threads of its own."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.left = sorted(jobs, key=lambda job: job.urgency)
        self.running: set[Hashable] = set()
        self.done: set[Hashable] = set()
        self.failed: dict[Hashable, Exception] = {}
        self.lock = Lock()

    def __iter__(self) -> Iterator[tuple[Hashable, Callable[[], Any]]]:
        while (piece := self._next()) is not None:
            yield piece

    def _next(self) -> tuple[Hashable, Callable[[], Any]] | None:
        with self.lock:
            for i, job in enumerate(self.left):
                if job.needs <= self.done:
                    del self.left[i]
                    self.running.add(job.name)
                    return job.name, job.do
            # joblib takes an iterator that ends for one that has ended: a free process is given a pause instead
            return (None, _pause) if self.left and self.running else None

    def settle(self, name: Hashable, error: Exception | None) -> None:
        """Take note of how a job has ended."""
        with self.lock:
            self.running.discard(name)
            if error is None:
                self.done.add(name)
            else:
                self.failed[name] = error

    def check(self) -> None:
        """Raise the error that names what failed, where something did."""
        if not self.failed and not self.left:
            return
        names = ", ".join(map(str, self.failed)) or ", ".join(str(job.name) for job in self.left)
        more = f"; {len(self.left)} jobs that need others were not begun" if self.left else ""
        first = next(iter(self.failed.values()), None)
        raise RuntimeError(f"{len(self.failed)} jobs failed ({names}){more}; the first: {first!r}") from first


def in_pool() -> bool:
    """Whether this is a process of a pool, which leaves the progress bar to the process that started it.

    Returns
    -------
    bool

    Examples
    --------
    >>> in_pool()
    False
    """
    return multiprocessing.parent_process() is not None


def _outcome(name: Hashable, do: Callable[[], Any], shared: bool) -> tuple[Hashable, Any, Exception | None]:
    """What `do` returns, or its error: joblib would end the whole pool where one piece of work fails."""
    if shared:
        _settle_in()
    try:
        return name, do(), None
    except Exception as error:  # of whatever kind: it is handed on
        return name, None, _carried(error) if shared else error


@contextmanager
def _deaf_children(pool: Pool) -> Iterator[None]:
    """Keep Ctrl-C from the processes that loky begins meanwhile: one that met it at its imports printed a traceback.

    What is blocked here is blocked in a process that is begun here, for good; this process hears it a moment later,
    and ends the others.
    """
    if pool.alone or pool.backend != "loky" or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    ensure_running(), resource_tracker.ensure_running()  # loky's and Python's own, which lift the block when begun
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """End this process as soon as the process `parent`, which started it, is no more: loky's would stay for good."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH)
        os._exit(1)

    if os.name != "nt":  # there a process keeps the number of a parent that has ended
        Thread(target=watch, daemon=True).start()


def _settle_in() -> None:
    """Hold this process to one thread and, of several GPUs, to the one whose turn it is."""
    torch.set_num_threads(1)
    tqdm.set_lock(RLock())  # else it makes one between processes, which a process that is stopped leaves behind
    number = NUMBER.search(multiprocessing.current_process().name)  # such as LokyProcess-3; other backends' have none
    if number and torch.cuda.is_available():
        torch.cuda.set_device((int(number[0]) - 1) % torch.cuda.device_count())


def _carried(error: Exception) -> Exception:
    """The error with where it happened written on it; another in its place where it cannot travel between processes."""
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a foreign class does when it is pickled
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _pause() -> None:
    time.sleep(PAUSE)
