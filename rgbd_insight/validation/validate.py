"""Every measure scored on worlds whose answer is planted, ours and the alternatives, and what came of it."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from rgbd_insight.features.tables import write_table
from rgbd_insight.utils.distributed import processes
from rgbd_insight.utils.messages import checked_path
from rgbd_insight.validation import scores
from rgbd_insight.validation.origin import digests
from rgbd_insight.validation.plan import read_plan
from rgbd_insight.validation.work import left_by, run

COMMAND = "rgbd-insight validate --out {}"
COLUMNS = (
    "battery",
    "kind",
    "world",
    "measure",
    "ours",
    "condition",
    "part",
    "n",
    "width",
    "noise",
    "noise_ratio",
    "unit_noise",
    "polysemy",
    "cooccurrence",
    "coverage",
    "nuisance",
    "outlier",
    "repetition",
    "count",
    "value",
    "low",
    "high",
    "truth",
    "p",
    "label",
)


def validate(
    out: str | Path, *, quick: bool = False, workers: int | None = None, progress: bool = True
) -> dict[str, pd.DataFrame]:
    """Score every measure on held-out worlds and write the tables; a killed run goes on where it stopped.

    Parameters
    ----------
    out : str or Path
        Folder for the tables "validation" (a row for each measure in each world) and "validation_differences" (by how
        much ours is better than each alternative).
    quick : bool, optional
        A few small worlds, to see that everything works: `bars` then asks what so few can meet.
    workers : int, optional
        Processes, each on one core; default one for each core, divided among those that ``torchrun`` started.
    progress : bool, optional
        Whether to show a bar.

    Returns
    -------
    dict of str to DataFrame
        The two tables by name; `bars` says of the first what was asked and what was reached.

    Raises
    ------
    OSError
        Where `out` cannot be written.

    Notes
    -----
    Worlds, sizes and numbers of repetitions stand in `validation/validate.toml`. The folder's index keeps the digest of
    every module that the numbers come from: `changed` tells whether a table is of this code.

    ``torchrun --nproc-per-node=2 -m rgbd_insight.cli validate`` divides the pieces among two processes, on several
    machines too where `out` is in a folder that all of them have; the first writes the tables, in the same bytes as
    one process alone, and all return them. What a killed run has finished serves any number of processes.

    Examples
    --------
    >>> from rgbd_insight.features.tables import read_table
    >>> sorted(set(read_table("book/results", "validation_differences")["score"]))
    ['CKA', 'concept', 'dimension', 'joint', 'synergy', 'total', 'unrelated', 'variance']
    """
    out, start = checked_path("out", out), time.time()
    out.mkdir(parents=True, exist_ok=True)
    partial_file = out / f"validation{'-quick' if quick else ''}.partial"
    rows = run(read_plan(quick), partial_file, workers, progress)
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    made = {"validation": table, "validation_differences": scores.differences(table)}
    command = COMMAND.format(out) + " --quick" * quick
    team = processes()
    if team.first:
        for name, one in made.items():
            write_table(one, out, name, command, digests())
        for path in left_by(partial_file):
            path.unlink()
        if progress:
            print(f"{len(table)} rows in {(time.time() - start) / 60:.1f} minutes")
    team.barrier()
    return made
