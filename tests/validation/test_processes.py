"""The validation under torchrun writes what one process writes, also after one was killed; also the script they run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from rgbd_insight.utils.distributed import processes
from rgbd_insight.validation import validate, work

FAST = ("shared", "null", "synergy")
KILLED = 1  # the process that is, after its second piece


def job(out: str, killed: str = "") -> None:
    every, one, done = work.tasks, work.one, []

    def dying(task, plan):
        if killed and processes().rank == KILLED and len(done) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(task)
        with Path(f"{out}.done").open("a") as file:
            file.write(work._key(task) + "\n")
        return one(task, plan)

    work.tasks = lambda plan: [task for task in every(plan) if task[0] in FAST]
    work.one = dying
    found = validate(out, quick=True, workers=1, progress=False)
    assert len(found["validation"]) >= 10  # in every process
    work.tasks, work.one = every, one


def torchrun(count: int, *arguments: str) -> subprocess.CompletedProcess:
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", __file__]
    return subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, timeout=300)


def test_four_processes_finish_what_two_of_which_one_was_killed_have_left(tmp_path):
    one, more = str(tmp_path / "one"), str(tmp_path / "more")
    job(one)
    assert torchrun(2, more, "killed").returncode != 0
    left = sorted(path.name for path in Path(more).iterdir())
    assert left == ["validation-quick.partial", "validation-quick.partial-1"]
    done = torchrun(4, more)
    assert done.returncode == 0, done.stderr
    for file in Path(one).iterdir():
        if file.suffix == ".parquet":
            assert (Path(more) / file.name).read_bytes() == file.read_bytes()
    assert {p.name for p in Path(more).iterdir()} == {p.name for p in Path(one).iterdir()}
    pieces = Path(f"{more}.done").read_text().splitlines()
    alone = Path(f"{one}.done").read_text().splitlines()
    assert set(pieces) == set(alone) and len(pieces) <= len(alone) + 1  # at most what was being done is done again


if __name__ == "__main__":
    job(*sys.argv[1:])
