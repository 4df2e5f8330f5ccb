"""Chapters as committed, and after a run from start to finish in a fresh kernel, once a session."""

import os
import time
from functools import cache
from pathlib import Path

import nbformat
from exercises import exercises
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

BOOK = Path(__file__).resolve().parents[1] / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))


@cache
def read(path):
    """The chapter as committed."""
    return nbformat.read(path, as_version=4)


def run(path):
    """The chapter after its run, and the seconds that the run took."""
    return _run(path)[:2]


def attempts(path):
    """What the check of each exercise says to the student's cell as it stands, in the place where it stands.

    label → (errors of the cell, name of the check's error or None, its message).
    """
    return _run(path)[2]


def outputs(notebook):
    """Every output with its cell."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield cell, output


@cache
def _run(path):
    notebook = nbformat.from_dict(read(path))
    tasks = {e.cells["exercise"]: e for e in exercises(notebook) if "exercise" in e.cells}
    environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    client = NotebookClient(
        notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(BOOK)}}, record_timing=False
    )
    client.reset_execution_trackers()
    tried, spent = {}, 0.0
    start = time.perf_counter()
    with client.setup_kernel(env=environment):
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
            if index in tasks:
                begun = time.perf_counter()
                tried[tasks[index].label] = _attempt(client, tasks[index], index)
                notebook.cells[index] = cell
                spent += time.perf_counter() - begun
        client.set_widgets_metadata()
    return notebook, time.perf_counter() - start - spent, tried


def _attempt(client, task, index):
    """Run the student's cell and its check as they stand."""
    errors = []
    for tag in ("exercise", "check"):
        try:
            client.execute_cell(nbformat.v4.new_code_cell(task.code[tag]), index)
            errors.append((None, ""))
        except CellExecutionError as error:
            errors.append((error.ename, error.evalue))
    return errors[0][0], *errors[1]
