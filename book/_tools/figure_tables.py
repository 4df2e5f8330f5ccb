"""Sphinx extension: under every figure, a link to the table that it was drawn from, as CSV.

A figure of the package brings its table with it (`rgbd_insight.plots.table_of`), so an executed
notebook holds both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

FOLDER = "_tables"


def tables(notebook: Mapping) -> dict[str, str]:
    """Name of every named figure that brought a table → the table as CSV."""
    found = {}
    for cell in notebook["cells"]:
        name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
        texts = [o["data"]["text/csv"] for o in cell.get("outputs", []) if "text/csv" in o.get("data", {})]
        if name and texts and texts[0].strip():
            found[name] = "".join(texts[0])
    return found


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Write the tables of a page's figures and name them in the captions."""
    path = Path(app.outdir).parent / "jupyter_execute" / f"{docname}.ipynb"
    if app.builder.format != "html" or not path.is_file():
        return
    held, folder = tables(nbformat.read(path, as_version=4)), Path(app.outdir) / FOLDER
    for figure in doctree.findall(nodes.figure):
        for name in held.keys() & {*figure["ids"], *figure["names"]}:
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.csv").write_text(held[name], encoding="utf-8")
            reference = nodes.reference("", "Table (CSV)", refuri=f"{FOLDER}/{name}.csv", classes=["figure-table"])
            for caption in figure.findall(nodes.caption):
                caption += [nodes.Text(" "), reference]


def setup(app: Sphinx) -> dict:
    """Register the extension."""
    app.connect("doctree-resolved", link)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
