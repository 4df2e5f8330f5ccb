"""Doing the pieces of work on all cores, keeping what is finished, so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

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
    """Rows of all batteries, in the order of the plan.

    Parameters
    ----------
    plan : dict
        From `read_plan`.
    partial_file : Path
        Finished pieces are appended here, and read where the file belongs to the same plan and code.
    workers : int, optional
        Processes, each on one core; default one for each core.
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
    wanted = {_key(task): task for task in tasks(plan)}
    done = _finished(partial_file, plan)
    rest = [Job(key, partial(one, task, plan)) for key, task in wanted.items() if key not in done]
    shown = {"desc": "validating", "unit": "piece", "disable": not progress}
    pool = Pool(1 if len(rest) < 2 else workers or os.cpu_count() or 1)
    bar = tqdm(total=len(wanted), initial=len(wanted) - len(rest), **shown)
    with partial_file.open("a", encoding="utf-8") as file, bar:

        def keep(key: str, rows: list[dict]) -> None:
            done[key] = rows
            file.write(json.dumps({"task": key, "rows": rows}) + "\n")
            file.flush()
            bar.update()
            bar.set_postfix_str(wanted[key][0])

        work_off(rest, pool, done=keep)
    return [row for key in wanted for row in done[key]]


def one(task: Task, plan: dict) -> list[dict]:
    """Rows of one piece of work, in plain numbers."""
    battery, options = task
    with threadpool_limits(1):  # many small products: threads would only wait for each other
        rows = BATTERIES[battery](plan, **options)
    base = {"battery": battery, "world": options["seed"]}
    return [base | {k: _json_value(v) for k, v in row.items()} for row in rows]


def _finished(path: Path, plan: dict) -> dict[str, list[dict]]:
    """Pieces that a run of the same plan and code left behind; the file begins anew where there are none."""
    head = hashlib.sha256(json.dumps([plan, digests()], sort_keys=True).encode()).hexdigest()
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if not lines or lines[0] != head:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + "\n", encoding="utf-8")
        return {}
    found = {}
    for line in lines[1:]:
        try:
            piece = json.loads(line)
        except json.JSONDecodeError:  # cut off when the run was killed
            continue
        found[piece["task"]] = piece["rows"]
    if not path.read_text(encoding="utf-8").endswith("\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    return found


def _key(task: Task) -> str:
    return json.dumps(task, sort_keys=True)


def _json_value(value):
    """A number or string that JSON keeps."""
    return value.item() if hasattr(value, "item") else value
