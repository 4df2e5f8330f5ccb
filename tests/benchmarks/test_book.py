"""How soon a reader sees something: the import, and the first figure of each chapter: `make bench`."""

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.benchmarks._race import Way, row
from tests.benchmarks._results import ROWS

BOOK = Path(__file__).resolve().parents[2] / "book"
CHAPTERS = sorted(path for path in BOOK.glob("*.ipynb") if path.stem != "speed")  # a page of tables
# Seconds of one processor, at most: what else the machine does is not the reader's wait.
IMPORT, FIGURE, RUNS = 1.0, 5.0, 3
LEDGER = 20.0  # the first figure of claims is every test of the ledger, computed anew
USED = "import time; print(time.process_time())"


def test_the_package_is_imported_at_once():
    way = Way("import rgbd_insight", None, ours=True, note="a fresh interpreter, one thread")
    for _ in range(RUNS):
        start = time.perf_counter()
        said = subprocess.run(
            [sys.executable, "-c", f"import rgbd_insight; {USED}"], capture_output=True, text=True, check=True
        )
        way.seconds.append(time.perf_counter() - start)
        way.cpu.append(float(said.stdout))
    ROWS.append(row("R", "the package is there", way))
    assert min(way.cpu) <= IMPORT


def until_first_figure(path):
    """Seconds, and seconds of the kernel's processor, from its start to the first picture that the chapter displays."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(BOOK)}})
    client.reset_execution_trackers()
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"} | {"OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    with client.setup_kernel(env=environment):
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
            kinds = {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}
            if {"image/png", "application/vnd.jupyter.widget-view+json"} & kinds:
                seconds = time.perf_counter() - start
                asked = nbformat.v4.new_code_cell(USED)
                client.execute_cell(asked, index, store_history=False)
                return seconds, float(asked.outputs[0].text)
    raise AssertionError(f"{path.stem} displays no figure")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_chapter_has_its_first_figure_soon(path):
    way = Way(path.stem, None, ours=True, note="from the kernel's start, one thread")
    for _ in range(RUNS):
        seconds, used = until_first_figure(path)
        way.seconds.append(seconds)
        way.cpu.append(used)
    ROWS.append(row("R", f"first figure of {path.stem}", way))
    assert min(way.cpu) <= (LEDGER if path.stem == "claims" else FIGURE)
