"""Which code made a table: digests of the modules that its numbers come from, and what has changed since."""

from __future__ import annotations

import ast
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from rgbd_insight.features.tables import read_entry
from rgbd_insight.validation.plan import read_plan

# What judges a table is run anew each time: it may change.
MAKING = (
    *("metrics/*.py", "metrics/baselines/*.py", "stats/*.py", "data/latents.py", "data/reference.py", "data/worlds.py"),
    *(f"validation/{name}.py" for name in ("errors", "inputs", "joint", "kinds", "plan", "ranking", "truth", "work")),
)
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def digests() -> dict[str, str]:
    """Module → digest of its code, of all that the validation's numbers come from, and of the plan.

    Docstrings and comments do not count.

    Examples
    --------
    >>> sorted(digests())[:2]
    ['data.latents', 'data.reference']
    """
    root = Path(str(files("rgbd_insight")))
    paths = sorted({path for pattern in MAKING for path in root.glob(pattern)})
    found = {
        ".".join(path.relative_to(root).with_suffix("").parts): code_digest(path.read_text(encoding="utf-8"))
        for path in paths
    }
    return found | {"validation.validate.toml": _short(json.dumps(read_plan(), sort_keys=True))}


def code_digest(source: str) -> str:
    """Digest of a module's code, the same whatever its docstrings, comments and layout are.

    Parameters
    ----------
    source : str
        Python code.

    Returns
    -------
    str
        16 hexadecimal digits.

    Examples
    --------
    >>> code_digest("x = 1  # one") == code_digest("x = (1)")
    True
    """
    return _short(json.dumps(_plain(ast.parse(source))))


def _plain(node: object) -> object:
    """A syntax tree as lists, without docstrings, and without what only some versions of Python write down."""
    if isinstance(node, list):
        return [_plain(part) for part in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    named = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        named["body"] = node.body[1:]
    return [type(node).__name__, [[name, _plain(value)] for name, value in sorted(named.items())]]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changed(folder: str | Path, name: str = "validation") -> list[str]:
    """Modules whose code is not the one that made a table; empty where the table is of this code.

    Parameters
    ----------
    folder : str or Path
        Holds the table and its index.
    name : str
        Of the table.

    Returns
    -------
    list of str
        In alphabetical order; every module where the table does not say what made it.

    Examples
    --------
    >>> set(changed("book/results")) <= set(digests())
    True
    """
    made = read_entry(folder, name).get("code", {})
    return sorted(module for module in made.keys() | digests() if made.get(module) != digests().get(module))
