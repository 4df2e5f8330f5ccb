"""Exercises: a solution fills the blanks, the blank copy fails its check, the solution passes it."""

import ast
import re
import zipfile

import nbformat
import pytest
from copies import pack, student, titles_of_the_book
from exercises import blanks, exercises, fills, names, tags
from figures import named_figures
from readme import glued

from tests.book._chapters import BOOK, CHAPTERS, attempts, outputs, read, run

WITHOUT = ("index", "speed")  # the first page and a table: no chapters to learn from
WITH_EXERCISES = [path for path in CHAPTERS if path.stem not in WITHOUT]
TASKS = [(path, e.label) for path in WITH_EXERCISES for e in exercises(read(path)) if not e.project]
TEACHERS = (BOOK / "teachers.md").read_text(encoding="utf-8")
MINUTES = r"\*\*Time\*\* (\d+) minutes(?::\s([^*]+?))?\.\s"  # the whole, then each part


def task(path, label):
    return next(e for e in exercises(read(path)) if e.label == label)


@pytest.fixture(params=TASKS, ids=lambda t: t[1])
def given(request):
    return request.param


def words(path):
    return "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_a_chapter_has_exercises_from_recall_to_an_open_project(path):
    found = exercises(read(path))
    assert 2 <= len(found) <= 4
    assert [e.project for e in found] == [False] * (len(found) - 1) + [True]
    kinds = re.findall(r"^\((Recall|Apply|Analyse|Open project)\.\)", words(path), re.M)
    assert kinds == ["Recall", "Apply", "Analyse", "Open project"]


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_a_chapter_has_what_a_teacher_plans_with(path):
    text = words(path)
    assert all(part in text for part in ("**You will be able to**", "**You need**", "## By hand"))
    assert text.count("{dropdown} Answer") == 2, "two questions to predict, with folded answers"
    whole, parts = re.search(MINUTES, text).groups()
    row = re.search(rf"^\| \{{doc\}}`{path.stem}` \| {whole}: ([^|]+?) \|", TEACHERS, re.M)
    assert row and (parts is None or " ".join(parts.split()) == row[1]), "the teachers' page has other minutes"
    minutes = [int(n) for n in re.findall(r"(\d+)(?: and more)?(?=,|$)", row[1])]
    assert len(minutes) >= 3 and sum(minutes) == int(whole), "the minutes of the parts must make the whole"


def test_has_its_three_cells_in_order(given):
    e = task(*given)
    assert set(e.cells) == {"exercise", "solution", "check"}, "an exercise needs a blank, a solution and a check"
    assert e.cells["exercise"] < e.cells["solution"] < e.cells["check"]
    assert "skip-execution" in tags(read(given[0]).cells[e.cells["exercise"]])


def test_solution_fills_the_blanks_and_changes_nothing_else(given):
    e = task(*given)
    assert blanks(e.code["exercise"]) and not blanks(e.code["solution"])
    assert fills(e.code["exercise"], e.code["solution"])


def test_blank_copy_runs_and_fails_its_check_with_a_reason(given):
    path, label = given
    error, raised, message = attempts(path)[label]
    assert error is None, f"the student's cell must run as it stands: {error}"
    assert raised == "AssertionError" and len(message) > 20


def test_solution_passes_its_check(given):
    path, label = given  # the chapter runs without an error, so its check cells passed
    cell = run(path)[0].cells[task(path, label).cells["check"]]
    assert cell.execution_count and not [o for o in cell.outputs if o.output_type == "error"]


def test_check_explains_every_assertion(given):
    nodes = [n for n in ast.walk(ast.parse(task(*given).code["check"])) if isinstance(n, ast.Assert)]
    assert len(nodes) >= 2 and all(n.msg is not None for n in nodes)


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_no_cell_needs_the_solution_of_another_exercise(path):
    cells, inside = read(path).cells, False
    known, solved = set(), {}  # names set outside of solutions; name -> the exercise whose solution alone sets it
    label = None
    for cell in cells:
        if cell.cell_type == "markdown":
            for gate, name in re.findall(r"\{solution-(start|end)\} ?(\S*)", cell.source):
                inside, label = gate == "start", name or label
            continue
        sets, reads = names(cell.source)
        if "exercise" in tags(cell):
            own = sets
            continue
        foreign = {n for n in reads - known - sets if n in solved and solved[n] != label}
        assert not foreign, f"{sorted(foreign)} come from the solution of {[solved[n] for n in sorted(foreign)]}"
        if inside:
            solved |= {n: label for n in sets | own if n not in known}
        else:
            known |= sets


def copied(path):
    return student(read(path), {}, titles_of_the_book())


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_students_copy_has_exercises_and_no_solutions(path):
    made = copied(path)
    code = [c.source for c in made.cells if c.cell_type == "code"]
    text = "\n".join(c.source for c in made.cells if c.cell_type == "markdown")
    for e in exercises(read(path)):
        assert e.project or (e.code["exercise"] in code and e.code["check"] in code)
        assert e.project or e.code["solution"] not in code
    assert not re.search(r"\{(exercise|solution|dropdown|glue|prf|admonition|doc|term)", text), "MyST is left"
    assert "skip-execution" not in {tag for c in made.cells for tag in tags(c)}
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text)
    assert all(alt and (BOOK / target).is_file() for alt, target in pictures)
    nbformat.validate(made)


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_students_copy_carries_the_roles_of_nbgrader(path):
    """The rules of nbgrader's validator: an id of its own each, points where graded, code cells only."""
    roles = [(c, c.metadata["nbgrader"]) for c in copied(path).cells if "nbgrader" in c.metadata]
    assert (
        len({role["grade_id"] for _, role in roles})
        == len(roles)
        == 2 * sum(not e.project for e in exercises(read(path)))
    )
    for cell, role in roles:
        assert role["schema_version"] == 3 and role["task"] is False and cell.cell_type == "code"
        assert role["grade"] == role["locked"] == ("check" in tags(cell)) != role["solution"]
        assert not role["grade"] or role["points"] > 0


def test_students_copies_are_packed_with_all_they_need(tmp_path):
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "data.ipynb").write_text("{}", encoding="utf-8")
    pack(folder, tmp_path / "student.zip")
    held = set(zipfile.ZipFile(tmp_path / "student.zip").namelist())
    wanted = (
        "data.ipynb",
        "features/scenes/manifest.json",
        "results/index.json",
        "rgbd_insight/__init__.py",
        "LICENSE",
    )
    assert {f"student/{name}" for name in wanted} <= held


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_copies_say_the_computed_numbers(path):
    values = glued(run(path)[0])
    text = "\n".join(c.source for c in student(run(path)[0], values, titles_of_the_book()).cells)
    used = set(re.findall(r"\{glue:text\}`([\w-]+)", "\n".join(c.source for c in read(path).cells)))
    assert "⟨" not in text, "a value is missing"
    assert used <= set(values), f"never glued: {sorted(used - set(values))}"
    assert set(values) <= used | USED_BY_TOOLS, f"glued and never told: {sorted(set(values) - used - USED_BY_TOOLS)}"


USED_BY_TOOLS = {"headline", "device"}


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_figures_have_what_slides_show(path):
    notebook = nbformat.from_dict(run(path)[0])
    for _, output in outputs(notebook):
        if "image/png" in output.get("data", {}):
            output.data.setdefault("image/svg+xml", "<svg/>")
    for figure in named_figures(notebook):
        assert figure["png"].startswith(b"\x89PNG") and len(figure["caption"]) > 20 and len(figure["alt"]) > 20
        assert not re.search(r"[`*{]", figure["caption"])
