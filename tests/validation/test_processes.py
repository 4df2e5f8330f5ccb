"""The validation under torchrun writes what one process writes, and goes on with what a killed run has left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rgbd_insight.validation import validate, work

FAST = ("shared", "null", "synergy")
EVERY, ONE = work.tasks, work.one


def job(out: str, last: int = -1) -> None:
    """Some of the quick batteries; stopped in the place of piece number `last`."""
    done = []

    def noted(task, plan):
        if len(done) == last:
            raise KeyboardInterrupt
        done.append(task)
        with Path(f"{out}.done").open("a") as file:
            file.write(work._key(task) + "\n")
        return ONE(task, plan)

    work.tasks, work.one = lambda plan: [task for task in EVERY(plan) if task[0] in FAST], noted
    try:
        assert len(validate(out, quick=True, workers=1, progress=False)["validation"]) >= 10
    finally:
        work.tasks, work.one = EVERY, ONE


def torchrun(count: int, *arguments: str) -> subprocess.CompletedProcess:
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", __file__]
    return subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, timeout=300)


def test_four_processes_finish_what_two_that_were_killed_have_left(tmp_path):
    one, more = tmp_path / "one", tmp_path / "more"
    job(str(one))
    with pytest.raises(KeyboardInterrupt):
        job(str(more), last=4)
    first, second = more / "validation-quick.partial", more / "validation-quick.partial-1"
    head, *pieces = first.read_text().splitlines(keepends=True)
    first.write_text(head + "".join(pieces[::2]))
    second.write_text(head + "".join(pieces[1::2]) + pieces[0][:30])  # cut off where it was killed
    (more / "validation-quick.partial-2").write_text("of other code\n" + pieces[0].replace("rows", "wrong"))
    done = torchrun(4, str(more))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in more.iterdir()} == {path.name for path in one.iterdir()}
    tables = [path.name for path in one.glob("*.parquet")]
    assert len(tables) == 2
    assert [name for name in tables if (more / name).read_bytes() != (one / name).read_bytes()] == []
    alone, shared = (sorted(Path(f"{out}.done").read_text().splitlines()) for out in (one, more))
    assert shared == alone  # each piece once, by whomever


if __name__ == "__main__":
    job(*sys.argv[1:])
