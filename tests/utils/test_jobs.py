"""The job runner: order, dependencies, failures, processes, backends, and how it is stopped."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import joblib
import pytest
import torch
from joblib._parallel_backends import ThreadingBackend

from rgbd_insight.utils import jobs
from rgbd_insight.utils.jobs import Job, Pool, in_pool, work_off

ROOT = Path(__file__).resolve().parents[2]


def here():
    return os.getpid(), torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"), in_pool()


def append(path, word):
    with path.open("a") as file:
        file.write(word + "\n")


class Stubborn(Exception):
    """Cannot travel between processes."""

    def __init__(self, one, two):
        super().__init__(one)


def fail_stubbornly():
    raise Stubborn("the disk is full", 2)


def test_a_job_that_fails_keeps_only_those_that_need_it_from_being_done(tmp_path):
    write, fail = (tmp_path / "a").touch, (tmp_path / "none" / "b").touch
    jobs = [
        Job("last", (tmp_path / "last").touch, frozenset({"first"})),
        Job("bad", fail),
        Job("after", (tmp_path / "after").touch, frozenset({"bad"})),
        Job("first", write),
    ]
    with pytest.raises(RuntimeError, match=r"1 jobs failed \(bad\); 1 jobs that need others were not begun") as caught:
        work_off(jobs)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "last"]
    with pytest.raises(RuntimeError, match="0 jobs failed"):
        work_off([Job("alone", write, frozenset({"nobody"}))])


def test_the_most_urgent_first_in_this_process_and_what_comes_back():
    order = []
    jobs = [Job(i, partial(pow, i, 2), urgency=-i) for i in range(4)] + [Job("end", here, frozenset({3, 0}), -9)]
    work_off(jobs, done=lambda name, result: order.append((name, result)))
    assert order[:-1] == [(3, 9), (2, 4), (1, 1), (0, 0)]
    name, (pid, *_, pooled) = order[-1]
    assert (name, pid, pooled) == ("end", os.getpid(), False)


def test_processes_of_a_pool_have_one_thread_and_keep_to_the_order(tmp_path):
    file, found = tmp_path / "order", {}
    chain = [Job(f"c{i}", partial(append, file, f"c{i}"), frozenset({f"c{i - 1}"} if i else ())) for i in range(6)]
    bad = [Job("bad", fail_stubbornly), Job("after", int, frozenset({"bad"}))]  # whose error cannot travel
    with pytest.raises(RuntimeError, match=r"1 jobs failed \(bad\); 1 jobs .* the first: .*Stubborn: the disk is full"):
        work_off([*bad, *chain[::-1], *(Job(i, here) for i in range(6))], Pool(2), done=found.__setitem__)
    assert file.read_text().split() == [f"c{i}" for i in range(6)] and len(found) == 12
    told = [found[i] for i in range(6)]
    assert {tuple(rest) for _, *rest in told} == {(1, "1", True)} and os.getpid() not in {pid for pid, *_ in told}


def test_gpus_are_dealt_out_in_turn(monkeypatch):
    taken = []
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for name in ("LokyProcess-1", "LokyProcess-2", "LokyProcess-3", "MainProcess"):
        monkeypatch.setattr(jobs.multiprocessing, "current_process", lambda name=name: type("P", (), {"name": name}))
        jobs._settle_in()
    assert taken == [0, 1, 0]  # where nobody numbers the processes, the GPU is not ours to choose


def test_a_process_that_is_killed_ends_the_work_at_once():
    with pytest.raises(RuntimeError, match="(?i)killed|terminated"):
        work_off([Job("a", int), Job("b", partial(os._exit, 1))], Pool(2))


SCRIPT = """
import signal
import time
from functools import partial
from rgbd_insight.utils.jobs import Job, Pool, work_off
from tqdm import tqdm
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests begun in the background inherit that it is ignored
jobs = [Job(i, partial(tqdm, disable=True)) if i < 3 else Job(i, partial(time.sleep, 60)) for i in range(9)]
try:
    work_off(jobs, Pool(2), done=lambda *_: print("one", flush=True))
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl-C is no signal to a group")
@pytest.mark.parametrize("after", [1, 3])  # after the first, another process is still at its imports
def test_ctrl_c_ends_all_processes_and_says_nothing_of_its_own(after):
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=ROOT, start_new_session=True, **pipe) as process:
        for _ in range(after):
            assert process.stdout.readline() == "one\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    # loky's tracker may complain that a semaphore was removed by both sides; no process may say that it was stopped
    ours = [line for line in err.splitlines() if "resource_tracker" not in line and "warnings.warn(" not in line]
    assert (out.replace("one\n", ""), ours, process.returncode) == ("stopped\n", [], 0)
    for _ in range(100):  # loky's own tracker ends a moment later
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("processes are left")


def test_other_backends():
    for name in ("threading", "tests.utils.test_jobs:mine"):
        found = {}
        work_off([Job(i, partial(pow, 2, i)) for i in range(5)], Pool(2, name), done=found.__setitem__)
        assert found == {i: 2**i for i in range(5)}
    with pytest.raises(ValueError, match="nearest are loky"):
        Pool(2, "lokj")
    with pytest.raises(ValueError, match="module that can be imported; got 'nowhere'"):
        Pool(2, "nowhere:name")
    with pytest.raises(ValueError, match="for the backend dask"):
        Pool(2, "loky", "tcp://somewhere:1")
    with pytest.raises(ValueError, match="`workers` must be"):
        Pool(0)


def test_dask_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install distributed"):
        Pool(-1, "dask", "tcp://somewhere:1")


def test_dask_does_the_same_work():
    distributed = pytest.importorskip("distributed")
    found = {}
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        jobs = [Job(i, partial(pow, 2, i), frozenset({i - 1} if i else ())) for i in range(4)]
        work_off(jobs, Pool(-1, "dask", cluster.scheduler_address), done=found.__setitem__)
    assert found == {i: 2**i for i in range(4)}


joblib.register_parallel_backend("mine", ThreadingBackend)


LEFT = """
import os, sys, time
from functools import partial
from rgbd_insight.utils.jobs import Job, Pool, work_off
work_off([Job(i, os.getpid) if i < 2 else Job(i, partial(time.sleep, 60)) for i in range(4)], Pool(2),
         done=lambda name, pid: print(pid, flush=True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there a process keeps the number of a parent that has ended")
def test_processes_end_with_the_one_that_started_them():
    with subprocess.Popen([sys.executable, "-c", LEFT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        workers = {int(process.stdout.readline()) for _ in range(2)}
        process.kill()
    for _ in range(100):
        if not any(_alive(pid) for pid in workers):
            return
        time.sleep(0.1)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    raise AssertionError("processes are left")


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")  # one that has ended stays listed until it is waited for
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
