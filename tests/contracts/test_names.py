"""What answers, draws and looks into networks is of any modalities: it names none of them."""

import ast
import re
from itertools import count
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "rgbd_insight"
PACKAGES = ("questions", "metrics", "stats", "plots", "report", "hooks")
NAMED = re.compile(r"(?<![a-z])(rgb|depth)(?![a-z])", re.IGNORECASE)


def words(tree):
    """Every name and text in a module but its docstrings, which tell of the planted scenes in examples."""
    told = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            told.add(id(node.body[0].value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value, node.lineno
        for field in ("id", "arg", "attr", "name"):
            if isinstance(found := getattr(node, field, None), str):
                yield found, getattr(node, "lineno", 0)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modality_is_named(package):
    found = []
    for file in sorted((ROOT / package).rglob("*")):
        if file.suffix in (".py", ".html", ".css"):
            text = file.read_text("utf-8")
            said = words(ast.parse(text)) if file.suffix == ".py" else zip(text.splitlines(), count(1), strict=False)
            found += [f"{file.name}:{line}: {word[:60]}" for word, line in said if NAMED.search(word)]
    assert not found


def test_a_name_would_be_found():
    said = dict(words(ast.parse('"""Of depth."""\ndef f(rgb=1):\n    return x.depth + f"{a} of depth"')))
    assert {word for word in said if NAMED.search(word)} == {"rgb", "depth", " of depth"}
