"""Sphinx extension: fill the API page with the public list (`__all__`) of every package, grouped by what it is about.

The page `api` has one line ``<!-- packages -->``; a section for each package takes its place, so that the page cannot
name a thing that is gone or forget a new one. Within a section, names stand under the first sentence of the module that
defines them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx

import rgbd_insight

MARK = "<!-- packages -->"
ROOT = rgbd_insight.__name__


def packages() -> Iterator[ModuleType]:
    """The packages that have a public list, and the modules beside them, in order."""
    for found in pkgutil.walk_packages(rgbd_insight.__path__, f"{ROOT}."):
        if found.ispkg or found.name.count(".") == 1:
            module = importlib.import_module(found.name)
            if public(module):
                yield module


def public(module: ModuleType) -> list[str]:
    """The public names of a package, or what a module defines itself."""
    if hasattr(module, "__path__"):
        return list(getattr(module, "__all__", []))
    return [k for k, v in vars(module).items() if k[0] != "_" and getattr(v, "__module__", "") == module.__name__]


def page() -> str:
    """The sections of all packages, and first the names at the top level."""
    found = list(packages())
    homes = {id(getattr(package, name)): package for package in found for name in public(package)}
    top = [name for name in rgbd_insight.__all__ if not inspect.ismodule(getattr(rgbd_insight, name))]
    rows = "".join(f"| `ri.{name}` | {reference(homes, name)} |\n" for name in top)
    return f"| at the top level | where it is described |\n|---|---|\n{rows}" + "".join(map(section, found))


def reference(homes: dict[int, ModuleType], name: str) -> str:
    """A link to the entry of a name of the top level."""
    thing = getattr(rgbd_insight, name)
    return f"{{py:obj}}`{homes[id(thing)].__name__}.{name}`"


def section(package: ModuleType) -> str:
    """The page's section on one package.

    Examples
    --------
    >>> section(rgbd_insight.stats).split()[:2]
    ['##', '`rgbd_insight.stats`']
    """
    groups: dict[str, list[str]] = {}
    for name in public(package):
        thing = getattr(package, name)
        groups.setdefault(thing.__module__ if callable(thing) else "", []).append(name)
    parts = [prose(package)]
    for module in sorted(groups, key=lambda name: (name == "", name)):  # what is no function or class comes last
        if module not in ("", package.__name__):
            parts.append(f".. rubric:: {first_sentence(importlib.import_module(module))}")
        parts += [entry(package, name) for name in groups[module]]
    body = "\n\n".join(parts)
    return f"\n\n## `{package.__name__}`\n\n```{{eval-rst}}\n{body}\n```\n"


def prose(module: ModuleType) -> str:
    """A module's docstring as reStructuredText."""
    lines = (module.__doc__ or "").strip().split("\n")
    read_as_prose(None, "module", module.__name__, module, None, lines)
    return "\n".join(lines)


def first_sentence(module: ModuleType) -> str:
    """What a module is about, without the full stop."""
    return re.split(r"\.(?:\s|$)", prose(module).replace("\n", " "))[0]


def entry(package: ModuleType, name: str) -> str:
    """The directive that describes one name."""
    thing, full = getattr(package, name), f"{package.__name__}.{name}"
    if inspect.isclass(thing):
        return f".. autoclass:: {full}\n   :members:"
    if callable(thing):
        return f".. autofunction:: {full}"
    if inspect.ismodule(thing):
        return f".. automodule:: {full}\n   :members:"
    return f".. py:data:: {full}\n\n{textwrap.indent(shown(thing), '   ')}"


def shown(value: Any) -> str:
    """What a constant holds: its keys or its values."""
    values = [str(v) for v in value] if isinstance(value, dict | tuple | list | frozenset | set) else [repr(value)]
    return ", ".join(f"``{v}``" for v in values)


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the sections in the mark's place."""
    if docname == "api":
        source[0] = source[0].replace(MARK, page())


def escape(text: str) -> str:
    """Plain prose as reStructuredText: absolute values, trailing underscores and lone asterisks mean themselves."""
    text = re.sub(r"(?<!\\)\||(?<=\w)_(?!\w)", r"\\\g<0>", text)
    return text.replace("*", r"\*") if text.count("*") % 2 else text


def read_as_prose(app: Sphinx | None, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape a docstring outside code spans and examples, so that its author need not know reStructuredText."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", "|", ".. ", ":")):
            parts = re.split(r"(`+[^`]*`+)", line)
            lines[i] = "".join(part if k % 2 else escape(part) for k, part in enumerate(parts))


def setup(app: Sphinx) -> dict:
    """Register the extension; docstrings are read before napoleon (priority 500) turns sections into fields."""
    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", read_as_prose, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
