"""Steps of a campaign on a cluster of dask's, of which a worker is killed half-way."""

import os
import signal
import time
from functools import partial
from threading import Lock

import pytest

from rgbd_insight.experiments.steps import JobName, finished, once
from rgbd_insight.utils.jobs import Job, Pool, work_off

RUNS = 8


def step(work, run):
    """Long enough that a worker is killed in the middle of one; it notes when it begins and when it ends."""
    (work / "begun").open("a").write(f"{run} {os.getpid()}\n")
    time.sleep(0.7)
    (work / "made").open("a").write(f"{run}\n")


def newest(work):
    """The step that was begun last, and the process it is in."""
    return (work / "begun").read_text().split()[-2:]


def test_a_worker_that_is_killed_half_way_loses_nothing(tmp_path):
    distributed = pytest.importorskip("distributed")
    runs = [f"r{i}" for i in range(RUNS)]
    names = [JobName("extract", "scenes", run) for run in runs]
    last = JobName("label", "scenes", "all")
    jobs = [Job(n, partial(once, n, tmp_path, partial(step, tmp_path, n.run))) for n in names]
    jobs.append(Job(last, partial(once, last, tmp_path, partial(step, tmp_path, "all")), frozenset(names), 9))
    seen, killed, lock = [], [], Lock()

    def note(name, _):
        with lock:
            seen.append(name)
            if len(seen) == RUNS // 2:
                run, victim = newest(tmp_path)
                while run in (tmp_path / "made").read_text().split():  # until another has begun
                    time.sleep(0.01)
                    run, victim = newest(tmp_path)
                os.kill(int(victim), signal.SIGKILL)
                killed.append(run)

    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        work_off(jobs, Pool(-1, "dask", cluster.scheduler_address), done=note)
    assert len(killed) == 1 and finished(tmp_path, "scenes") == {*names, last}
    assert sorted(map(str, seen)) == sorted(map(str, [*names, last]))
    made = (tmp_path / "made").read_text().split()
    assert sorted(made) == sorted([*runs, "all"]) and made[-1] == "all"  # each once, and what needs them at the end
    begun = [line.split()[0] for line in (tmp_path / "begun").read_text().splitlines()]
    assert begun.count(killed[0]) == 2 and len(begun) == len(made) + 1  # the step that was killed was begun again
