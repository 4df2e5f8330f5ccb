"""Chapters as committed, and after a run from start to finish in a fresh kernel, once a session."""

import json
import os
import time
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
from exercises import exercises
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from rgbd_insight.features import load

BOOK = Path(__file__).resolve().parents[2] / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))
WORK = """import time, numpy as np
start = time.process_time()
for shift in range(400): np.linalg.eigh(np.diag(np.arange(64.0)) + shift)
sum(i * i for i in range(2_000_000))
print(time.process_time() - start)"""
SEEN = "rgbd_drawn"  # the attribute of the shell under which the pictures that a chapter draws are listed
LIST_PICTURES = f"""
from IPython import get_ipython
shell = get_ipython()
shell.{SEEN} = []


def watch(*_):
    import functools, io, struct, sys
    base = getattr(sys.modules.get("matplotlib.backend_bases"), "FigureCanvasBase", None)
    if base is None or hasattr(base.print_figure, "__wrapped__"):
        return
    from matplotlib.text import Text
    draw = base.print_figure

    @functools.wraps(draw)
    def drawn(canvas, file, *args, **options):
        made = draw(canvas, file, *args, **options)
        if isinstance(file, io.BytesIO) and file.getvalue()[1:4] == b"PNG":
            dpi = options.get("dpi") or canvas.figure.dpi
            size = [side / dpi for side in struct.unpack(">II", file.getvalue()[16:24])]
            texts = [t for t in canvas.figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
            named = [a.get_title("left") for a in canvas.figure.axes]
            named += [t.get_text() for t in texts if t.get_weight() == "bold"]  # blocks of a gallery have their own
            title = next(filter(None, named), "")
            points = min((t.get_fontsize() for t in texts), default=None)
            shell.{SEEN}.append(dict(title=title, points=points, inches=size))
        return made

    base.print_figure = drawn


for event in ("pre_run_cell", "post_execute"):  # the first cell imports and draws: before its picture is shown
    shell.events.register(event, watch)
"""
QUIET = 0.4  # seconds that WORK takes on the machine of two cores on which the times of chapters are told


def of_a_gpu(name):
    """Whether the book's features `name` are those of a GPU that come with it, not made anew by a reader."""
    return {run["device"]["type"] for run in load(BOOK / "features" / name).execution["runs"]} == {"cuda"}


@cache
def read(path):
    """The chapter as committed."""
    return nbformat.read(path, as_version=4)


def run(path):
    """The chapter after its run, and the seconds that the run takes on a quiet machine that does nothing else."""
    return _run(path)[:2]


def attempts(path):
    """What the check of each exercise says to the student's cell as it stands, in the place where it stands.

    label → (errors of the cell, name of the check's error or None, its message).
    """
    return _run(path)[2]


def pictures(path):
    """Every picture that the chapter draws, pages of widgets too: title, smallest letters in points, size in inches."""
    return _run(path)[3]


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
    client.first = notebook.cells[0]
    tried = {}
    start = time.perf_counter()
    with client.setup_kernel(env=environment):
        works, spent = _slower(client, start)
        _said(client, LIST_PICTURES)
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
            if index in tasks:
                begun = _clocks(client, start)
                tried[tasks[index].label] = _attempt(client, tasks[index], index)
                notebook.cells[index] = cell
                spent += _clocks(client, start) - begun
        client.set_widgets_metadata()
        # other tests run beside it: what it waited for them is not its own time
        seconds = (_clocks(client, start) - spent).min()
        seconds /= max(1, (works + _slower(client, start)[0]) / 2)
        drawn = json.loads(_said(client, f"import json, IPython; print(json.dumps(IPython.get_ipython().{SEEN}))"))
    return notebook, seconds, tried, drawn


def _clocks(client, start):
    """Seconds since `start`, and seconds of all processors that the kernel has used."""
    used = _told(client, "import resource as r; u = r.getrusage(r.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)")
    return np.array([time.perf_counter() - start, used])


def _slower(client, start):
    """How many times as long as on the quiet machine the kernel works now, and what asking took (see `_clocks`)."""
    begun = _clocks(client, start)
    return _told(client, WORK) / QUIET, _clocks(client, start) - begun


def _told(client, text):
    """The number that a piece of code prints in the kernel."""
    return float(_said(client, text))


def _said(client, text):
    """What a piece of code prints in the kernel."""
    cell = nbformat.v4.new_code_cell(f"exec({text!r}, {{}})")  # names of its own: the chapter's are left alone
    client.execute_cell(cell, 0, store_history=False)
    client.nb.cells[0] = client.first
    return "".join(output.text for output in cell.outputs)


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
