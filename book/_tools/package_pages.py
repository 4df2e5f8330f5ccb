"""Sphinx extension: fill the API page with every public module of the package that exists.

The page `api` has one line ``<!-- modules -->``; a section for each module takes its place, so that the page cannot
name a module that is gone or forget a new one.
"""

import importlib
import pkgutil
import re

import rgbd_insight

MARK = "<!-- modules -->"
SECTION = """
## `{short}`

```{{eval-rst}}
.. automodule:: {name}
   :members:
   :ignore-module-all:
```
"""


def public_modules() -> list[str]:
    """Names of the modules without a leading underscore that have something of their own to show, in order."""
    found = pkgutil.walk_packages(rgbd_insight.__path__, "rgbd_insight.")
    names = [m.name for m in found if not any(part.startswith("_") for part in m.name.split("."))]
    return sorted(n for n in names if has_members(n))


def has_members(name: str) -> bool:
    """Whether a module has a docstring and defines a public function or class itself."""
    module = importlib.import_module(name)
    own = [v for k, v in vars(module).items() if not k.startswith("_") and getattr(v, "__module__", None) == name]
    return bool(module.__doc__ and own)


def section(name: str) -> str:
    """The page's section on one module."""
    return SECTION.format(name=name, short=name.removeprefix("rgbd_insight."))


def fill(app, docname, source):
    """Put the sections in the mark's place."""
    if docname == "api":
        source[0] = source[0].replace(MARK, "".join(map(section, public_modules())))


def escape(text: str) -> str:
    """Plain prose as reStructuredText: absolute values, trailing underscores and lone asterisks mean themselves."""
    text = re.sub(r"(?<!\\)\||(?<=\w)_(?!\w)", r"\\\g<0>", text)
    return text.replace("*", r"\*") if text.count("*") % 2 else text


def read_as_prose(app, what, name, obj, options, lines):
    """Escape a docstring outside code spans and examples, so that its author need not know reStructuredText."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", "|", ".. ", ":")):
            parts = re.split(r"(`+[^`]*`+)", line)
            lines[i] = "".join(part if k % 2 else escape(part) for k, part in enumerate(parts))


def setup(app):
    """Register the extension; docstrings are read before napoleon (priority 500) turns sections into fields."""
    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", read_as_prose, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
