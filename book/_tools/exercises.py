"""Exercises with blanks: the reader's cell, the solution that fills it and the check, distinguished by cell tags.

A chapter is the one source. In it an exercise is, in this order, the text between ``{exercise-start}`` and
``{exercise-end}``, a code cell tagged ``exercise`` (and ``skip-execution``: it has blanks, written ``...``), and inside
the ``{solution-start}`` gate a code cell tagged ``solution`` and one tagged ``check``. An exercise of the class
``project`` has none of these three: its solution is not published.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TAGS = ("exercise", "solution", "check")
START = re.compile(r"\{exercise-start\}([^\n]*)\n((?::\w+:[^\n]*\n)+)")


@dataclass
class Exercise:
    """One exercise of a chapter: its label and, unless it is a project, the code of its three cells.

    Attributes
    ----------
    label : str
        The name under which the text refers to it.
    project : bool
        Whether it is an open project.
    cells : dict of str to int
        Tag → index of the cell in the notebook.
    code : dict of str to str
        Tag → source of the cell.
    """

    label: str
    project: bool
    cells: dict[str, int] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)


def tags(cell: Mapping) -> set[str]:
    """Tags of a cell."""
    return set(cell.get("metadata", {}).get("tags", []))


def exercises(notebook: Mapping) -> list[Exercise]:
    """The exercises of a notebook in order; a tagged cell belongs to the exercise that was started last.

    Raises
    ------
    ValueError
        Where a tagged cell stands before every exercise, or an exercise has two cells of one tag.
    """
    found: list[Exercise] = []
    for index, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for _, options in START.findall(source):
                label = re.search(r":label: *(\S+)", options)[1]
                found.append(Exercise(label, bool(re.search(r":class:[^\n]*\bproject\b", options))))
        for tag in tags(cell) & set(TAGS):
            if not found or tag in found[-1].cells:
                last = found[-1].label if found else "the first exercise"
                raise ValueError(f"cell {index} must follow its own exercise; got a second or early {tag!r} at {last}")
            found[-1].cells[tag], found[-1].code[tag] = index, source
    return found


def blanks(code: str) -> int:
    """Number of blanks (``...``) in a piece of code."""
    return sum(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(ast.parse(code)))


def fills(blank: str, solution: str) -> bool:
    r"""Whether a solution is the student's code with nothing changed but its blanks.

    A blank inside an expression stands for one expression, a blank on a line of its own for one or more statements.

    Examples
    --------
    >>> fills("mean = ...", "mean = x.sum() / len(x)"), fills("mean = ...", "average = x.mean()")
    (True, False)
    >>> fills("for n in sizes:\n    ...\nprint(n)", "for n in sizes:\n    x = n\n    y = x\nprint(n)")
    True
    """
    return _same(ast.parse(blank), ast.parse(solution))


def _same(a: Any, b: Any) -> bool:
    """Whether two trees are equal but for the blanks of the first."""
    if isinstance(a, ast.Constant) and a.value is ...:
        return isinstance(b, ast.expr)
    if isinstance(a, list):
        return isinstance(b, list) and _same_lists(a, b)
    if not isinstance(a, ast.AST):
        return a == b
    return type(a) is type(b) and all(_same(getattr(a, name, None), getattr(b, name, None)) for name in a._fields)


def _same_lists(a: list, b: list) -> bool:
    if not a or not b:
        return not a and not b
    if isinstance(a[0], ast.Expr) and isinstance(a[0].value, ast.Constant) and a[0].value.value is ...:
        return any(_same_lists(a[1:], b[k:]) for k in range(1, len(b) + 1))
    return _same(a[0], b[0]) and _same_lists(a[1:], b[1:])


def names(code: str) -> tuple[set[str], set[str]]:
    """Names that a piece of code sets at its top level, and names that it reads anywhere."""
    tree = ast.parse(code)
    reads = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    sets = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    sets |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    sets |= {
        (a.asname or a.name).split(".")[0]
        for n in tree.body
        if isinstance(n, ast.Import | ast.ImportFrom)
        for a in n.names
    }
    return sets, reads
