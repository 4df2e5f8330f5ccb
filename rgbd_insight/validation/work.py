"""Doing the pieces of work by many processes, keeping what is finished: a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from rgbd_insight.utils.distributed import processes
from rgbd_insight.utils.files import write_text
from rgbd_insight.utils.jobs import Job, Pool, work_off
from rgbd_insight.validation import errors, inputs, joint, kinds, ranking, truth
from rgbd_insight.validation.origin import digests
from rgbd_insight.validation.plan import Task, tasks

BATTERIES = {
    "ranking": ranking.ranking,
    "account": kinds.account,
    "calibration": truth.calibration,
    "coverage": errors.coverage,
    "bias": errors.bias,
    "partitioning": truth.partitioning,
    "concepts": truth.concepts,
    "shared": truth.shared,
    "null": errors.null,
    "neighbours": errors.neighbours,
    "absence": truth.absence,
    "inputs": inputs.inputs,
    "joint": joint.joint,
    "synergy": joint.synergy,
}


def run(plan: dict, partial_file: Path, workers: int | None = None, progress: bool = True) -> list[dict]:
    """Rows of all batteries, in the order of the plan; under ``torchrun`` each process does its share and gets all.

    Parameters
    ----------
    plan : dict
        From `read_plan`.
    partial_file : Path
        Finished pieces are appended here, and read where the file belongs to the same plan and code. Processes after
        the first have files of their own beside it, which `left_by` finds.
    workers : int, optional
        Processes, each on one core; default one for each core, of which every process of ``torchrun`` takes its part.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    list of dict
        A dict a row.

    Raises
    ------
    RuntimeError
        Where a piece failed; the others are kept.
    """
    team = processes()
    wanted = {_key(task): task for task in tasks(plan)}
    done = team.broadcast(_finished(partial_file, plan) if team.first else None)
    rest = [Job(key, partial(one, task, plan)) for key, task in wanted.items() if key not in done]
    if team.count > 1:  # long and short pieces alternate: every n-th would be an uneven share
        rest = [rest[i] for i in np.random.default_rng(0).permutation(len(rest))[team.share]]
    shown = {"desc": "validating", "unit": "piece", "disable": not (progress and team.first)}
    pool = Pool(1 if len(rest) < 2 else workers or max(1, (os.cpu_count() or 1) // team.beside))
    bar = tqdm(total=len(done) + len(rest), initial=len(done), **shown)
    own = {}
    with _opened(partial_file, team.rank, plan) as file, bar:

        def keep(key: str, rows: list[dict]) -> None:
            own[key] = rows
            file.write(json.dumps({"task": key, "rows": rows}) + "\n")
            file.flush()
            bar.update()
            bar.set_postfix_str(wanted[key][0])

        work_off(rest, pool, done=keep)
    for part in team.broadcast(team.gather(own)):
        done |= part
    return [row for key in wanted for row in done[key]]


def left_by(partial_file: Path) -> list[Path]:
    """The files of finished pieces that the processes of a run have left, the first one's first."""
    return sorted(partial_file.parent.glob(f"{partial_file.name}*"))


def one(task: Task, plan: dict) -> list[dict]:
    """Rows of one piece of work, in plain numbers."""
    battery, options = task
    with threadpool_limits(1):  # many small products: threads would only wait for each other
        rows = BATTERIES[battery](plan, **options)
    base = {"battery": battery, "world": options["seed"]}
    return [base | {k: _json_value(v) for k, v in row.items()} for row in rows]


def _head(plan: dict) -> str:
    """Which plan and code a file of finished pieces belongs to: its first line."""
    return hashlib.sha256(json.dumps([plan, digests()], sort_keys=True).encode()).hexdigest()


def _finished(partial_file: Path, plan: dict) -> dict[str, list[dict]]:
    """Pieces that processes of the same plan and code left behind, all of which are in the one file from here on."""
    head, found = _head(plan), {}
    for path in left_by(partial_file):
        first, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
        for line in lines if first == head else ():
            try:
                piece = json.loads(line)
            except json.JSONDecodeError:  # cut off when the run was killed
                continue
            found[piece["task"]] = piece["rows"]
    partial_file.parent.mkdir(parents=True, exist_ok=True)
    pieces = (json.dumps({"task": key, "rows": rows}) for key, rows in found.items())
    write_text(partial_file, "\n".join([head, *pieces]) + "\n")
    for path in left_by(partial_file):
        if path != partial_file:
            path.unlink()
    return found


def _opened(partial_file: Path, rank: int, plan: dict) -> TextIO:
    """Where a process writes what it finishes: the first to the one file, the others to their own."""
    if rank == 0:
        return partial_file.open("a", encoding="utf-8")
    file = partial_file.with_name(f"{partial_file.name}-{rank}").open("w", encoding="utf-8")
    file.write(_head(plan) + "\n")
    return file


def _key(task: Task) -> str:
    return json.dumps(task, sort_keys=True)


def _json_value(value):
    """A number or string that JSON keeps."""
    return value.item() if hasattr(value, "item") else value
