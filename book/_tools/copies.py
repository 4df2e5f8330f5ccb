"""Make the students' and the instructors' copies of the chapters: `make student`.

Both are made from the chapters by their cell tags. A student's copy has no solutions and no answers to the prediction
questions, and its exercises wait to be filled in; an instructor's copy has everything, with the outputs of a run. The
text of both is plain markdown with the computed numbers in it, and exercises carry nbgrader's cell roles. Written to
``_build/student`` (and, with the features and the package, ``_build/student.zip``) and ``_build/instructor``.
"""

from __future__ import annotations

import copy
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
import plain
from exercises import exercises, tags
from install_cell import TAG as INSTALL
from readme import BOOK, glued, run

BUILD = BOOK.parent / "_build"
GATES = re.compile(r"```\{solution-(start|end)\}[^\n]*\n(?::[^\n]*\n)*```\n?")
ANSWER = re.compile(r"^( *)(:{3,})\{dropdown\} Answer\n.*?^\1\2$\n?", re.M | re.S)
PREDICTION = "*My prediction:* …"
HIDING = {"skip-execution", "hide-input", "hide-output", "remove-input", "remove-cell"}  # tags of cells
CARRIED = ("features", "results")
NOTE = """# Student copies

These notebooks are the chapters of the book without their solutions. Where an exercise has `...`, write; then run the
cell after it: it says what is wrong and is silent when all is right.

To run them (Python 3.11 or newer):

    python -m venv .venv
    .venv/bin/python -m pip install torch -r requirements.txt jupyterlab
    .venv/bin/jupyter lab

The package is in the folder `rgbd_insight`, the features that everything is computed from are in `features`.
Text and figures CC BY 4.0, code BSD-3-Clause (LICENSE).
"""


def without_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy whose solutions are gone, text, code and all; what checks an exercise stays."""
    made, inside = copy.deepcopy(notebook), False
    kept = []
    for cell in made["cells"]:
        if cell["cell_type"] != "markdown":
            if not inside or "check" in tags(cell):
                kept.append(cell)
            continue
        parts, end = [], 0
        source = "".join(cell["source"])
        for gate in GATES.finditer(source):
            if not inside:
                parts.append(source[end : gate.start()])
            inside, end = gate[1] == "start", gate.end()
        if not inside:
            parts.append(source[end:])
        cell["source"] = ANSWER.sub(rf"\1{PREDICTION}\n", "".join(parts)).strip()
        if cell["source"]:
            kept.append(cell)
    made["cells"] = kept
    return made


def graded(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy whose exercises carry nbgrader's roles: the student's cell is to be written, the check gives a point.

    The folders can be taken as an assignment's `release` and `source`. Our own three tags stay as they are.

    References
    ----------
    nbgrader, "Notebook cell metadata", schema version 3.
    """
    made = copy.deepcopy(notebook)
    for task in exercises(made):
        for tag, name, grade in (("exercise", task.label, False), ("check", f"{task.label}-check", True)):
            if tag in task.cells:
                role = {"schema_version": 3, "grade_id": name, "grade": grade, "solution": not grade, "locked": grade}
                made["cells"][task.cells[tag]]["metadata"]["nbgrader"] = (
                    role | {"task": False} | ({"points": 1} if grade else {})
                )
    return made


def readable(
    notebook: nbformat.NotebookNode, values: Mapping[str, str], titles: Mapping[str, str]
) -> nbformat.NotebookNode:
    """A copy in plain markdown whose cells all run and all show."""
    made = copy.deepcopy(notebook)
    for cell in made["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = plain.markdown("".join(cell["source"]), values, titles)
        elif left := sorted(tags(cell) - HIDING):
            cell["metadata"]["tags"] = left
        else:
            cell["metadata"].pop("tags", None)
        if "mystnb" in cell["metadata"]:
            cell["metadata"].pop("mystnb")
    made["cells"] = [cell for cell in made["cells"] if cell["source"] and INSTALL not in tags(cell)]
    return made


def empty(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy without outputs."""
    made = copy.deepcopy(notebook)
    made["metadata"].pop("widgets", None)
    for cell in made["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            cell["metadata"].pop("execution", None)
    return made


def titles_of_the_book() -> dict[str, str]:
    """Label → title over all pages."""
    texts = {page.stem: page.read_text(encoding="utf-8") for page in BOOK.glob("*.md")}
    for path in BOOK.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4)["cells"]
        texts[path.stem] = "\n\n".join(c["source"] for c in cells if c["cell_type"] == "markdown")
    return plain.labels(texts)


def student(
    notebook: nbformat.NotebookNode, values: Mapping[str, str], titles: Mapping[str, str]
) -> nbformat.NotebookNode:
    """The student's copy of an executed (or not yet executed) chapter."""
    return empty(readable(graded(without_solutions(notebook)), values, titles))


def instructor(
    notebook: nbformat.NotebookNode, values: Mapping[str, str], titles: Mapping[str, str]
) -> nbformat.NotebookNode:
    """The instructor's copy of an executed chapter: the solutions right behind the exercises, and all outputs."""
    return readable(graded(notebook), values, titles)


def pack(folder: Path, archive: Path) -> None:
    """Zip the students' folder together with what its notebooks need."""
    root = BOOK.parent
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            out.write(path, f"student/{path.relative_to(folder).as_posix()}")
        for name in ("LICENSE", "requirements.txt"):
            out.write(root / name, f"student/{name}")
        needed = [p for name in CARRIED for p in (BOOK / name).rglob("*")]
        needed += [p for p in (root / "rgbd_insight").rglob("*") if p.suffix in {".py", ".toml", ".html", ".typed"}]
        for path in sorted(p for p in needed if p.is_file()):
            home = root if path.is_relative_to(root / "rgbd_insight") else BOOK
            out.write(path, f"student/{path.relative_to(home).as_posix()}")


def main() -> None:
    """Run every chapter and write both kinds of copies."""
    titles = titles_of_the_book()
    for name in ("student", "instructor"):
        shutil.rmtree(BUILD / name, ignore_errors=True)
        (BUILD / name / "_static").mkdir(parents=True)
        for picture in (BOOK / "_static").glob("*.svg"):
            shutil.copy(picture, BUILD / name / "_static")
    for path in sorted(BOOK.glob("*.ipynb")):
        executed = run(path)
        values = glued(executed)
        nbformat.write(student(executed, values, titles), BUILD / "student" / path.name)
        nbformat.write(instructor(executed, values, titles), BUILD / "instructor" / path.name)
        print(f"{path.stem}: copied")
    (BUILD / "student" / "README.md").write_text(NOTE, encoding="utf-8")
    pack(BUILD / "student", BUILD / "student.zip")
    print("The copies are in _build/student (and _build/student.zip, with all they need) and _build/instructor")


if __name__ == "__main__":
    main()
