"""Many steps, some of which need others: done in order, as many at a time as asked for. Use `campaign` instead."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from rgbd_insight.experiments.plans import Plan
from rgbd_insight.experiments.steps import (
    ablate_one,
    extract_one,
    label_one,
    locate_one,
    name_of,
    once,
    prepare_samples,
)
from rgbd_insight.validation import scenes as tables


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


LABEL_SCENES = {"tiny": 300, "small": 6000, "full": 12000}


def urgency(job: Job) -> int:
    """The most wanted first, should it be stopped; what only stands beside other runs comes last."""
    kinds = ("samples", "extract", "label", "cell", "ablate", "locate", "derived")
    return len(kinds) if "-encodings" in job.name else kinds.index(job.name.split()[0])


def zoo_jobs(plan: Plan, scale: str, work: Path) -> list[Job]:
    """Every job of a plan; each waits for what it needs."""
    samples = Job(f"samples {plan.name}", partial(prepare_samples, plan, work))

    def job(kind: str, step, run: tuple[str, int], needs: Iterable[tuple[str, int]] = (), *more) -> Job:
        before = {f"extract {plan.name} {name_of(other)}" for other in needs} or {samples.name}
        return Job(f"{kind} {plan.name} {name_of(run)}", partial(once, step, plan, work, *more, run), frozenset(before))

    jobs = [samples, *(job("extract", extract_one, run) for run in plan.runs)]
    jobs += [job("locate", locate_one, run, [run]) for run in plan.located]
    jobs += [job("ablate", ablate_one, run, [(run[0], s) for s in plan.seeds]) for run in plan.silenced]
    if plan.name == "scenes":
        jobs += [job("label", label_one, run, [run], LABEL_SCENES[scale]) for run in _labelled(plan)]
    return jobs


def _labelled(plan: Plan) -> list[tuple[str, int]]:
    wanted = ("rgb", "depth", *tables.LABELLED)
    return [run for run in plan.runs if run[0] in wanted and run[1] in plan.seeds[:2]]
