"""Make a pack of the book's figures for slides: `make figures`.

Every named figure of every chapter as PNG and SVG, the table that it was drawn from as CSV, and its caption, its
alternative text and its chapter in a text file of the same name, all listed in ``figures.csv``. Written to
``_build/figures``.
"""

from __future__ import annotations

import base64
import csv
import re
import shutil
from pathlib import Path

import nbformat
from readme import BOOK, execute

OUT = BOOK.parent / "_build" / "figures"
BOTH = "from matplotlib_inline.backend_inline import set_matplotlib_formats\nset_matplotlib_formats('png', 'svg')"
LICENCE = "CC BY 4.0, The rgbd_insight authors"
COLUMNS = ("name", "chapter", "caption", "alt", "licence")


def drawn_both_ways(path: Path) -> nbformat.NotebookNode:
    """A chapter after a run in which every figure is drawn as PNG and as SVG."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(BOTH))
    return execute(notebook, path.parent)


def named_figures(notebook: nbformat.NotebookNode) -> list[dict]:
    """Name, caption, alternative text and the two pictures of every named figure that the chapter drew."""
    found = []
    for cell in notebook.cells:
        about = cell.metadata.get("mystnb", {})
        if "name" not in about.get("figure", {}):
            continue
        data = next(o.data for o in cell.outputs if "image/png" in o.get("data", {}))
        found.append(
            {
                "name": about["figure"]["name"],
                "caption": unmarked(about["figure"]["caption"]),
                "alt": about["image"]["alt"],
                "png": base64.b64decode(data["image/png"]),
                "svg": data["image/svg+xml"],
                "csv": data.get("text/csv", ""),
            }
        )
    return found


def unmarked(caption: str) -> str:
    """A caption without markdown's marks."""
    return re.sub(r"[*`]", "", caption)


def write(figure: dict, chapter: str, out: Path) -> dict:
    """Write one figure's three files; its row of the list."""
    row = {key: figure[key] for key in ("name", "caption", "alt")} | {"chapter": chapter, "licence": LICENCE}
    (out / f"{figure['name']}.png").write_bytes(figure["png"])
    (out / f"{figure['name']}.svg").write_text(figure["svg"], encoding="utf-8")
    if figure["csv"].strip():
        (out / f"{figure['name']}.csv").write_text(figure["csv"], encoding="utf-8")
    text = f"{row['caption']}\n\nAlternative text: {row['alt']}\n\nFrom the chapter {chapter}. {LICENCE}.\n"
    (out / f"{figure['name']}.txt").write_text(text, encoding="utf-8")
    return row


def main() -> None:
    """Run every chapter and write its figures."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    rows = []
    for path in sorted(BOOK.glob("*.ipynb")):
        made = named_figures(drawn_both_ways(path))
        rows += [write(figure, path.stem, OUT) for figure in made]
        print(f"{path.stem}: {len(made)} figures")
    with (OUT / "figures.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    print(f"{len(rows)} figures are in _build/figures")


if __name__ == "__main__":
    main()
