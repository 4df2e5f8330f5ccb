"""Give every chapter the cell that installs the book where it is opened alone, as in Colab: `make buttons`.

A Colab button opens one notebook without the package and the features beside it. The cell fetches both from the
repository's address, which stands in pyproject.toml; without an address no chapter has such a cell. It does nothing
anywhere but in Colab, and the built book does not show it. (Binder needs none: it installs environment.yml.)
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from exercises import tags

BOOK = Path(__file__).resolve().parents[1]
PYPROJECT = BOOK.parent / "pyproject.toml"
TAG = "install"
FOLDER = "the-book"
SOURCE = """import importlib
import os
import subprocess
import sys

if "google.colab" in sys.modules and not os.path.isdir("features"):  # this page alone was opened: fetch the rest
    if not os.path.isdir("{folder}"):
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "{url}", "{folder}"], check=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "./{folder}[book]"], check=True)
        importlib.invalidate_caches()
    os.chdir("{folder}/book")"""


def address(pyproject: Path = PYPROJECT) -> str | None:
    """The repository's address, or None where it is not set."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository")


def cell(url: str) -> dict:
    """The cell, for the repository's address."""
    source = SOURCE.format(url=url.rstrip("/"), folder=FOLDER).splitlines(keepends=True)
    about = {"tags": [TAG, "remove-cell"]}
    return {"cell_type": "code", "execution_count": None, "id": TAG, "metadata": about, "outputs": [], "source": source}


def with_cell(notebook: dict, url: str | None) -> dict:
    """A notebook whose cell is up to date: behind its title, and none where there is no address.

    Examples
    --------
    >>> made = with_cell({"cells": [{"cell_type": "markdown", "metadata": {}, "source": ["# Title"]}]}, "ssh://a/b")
    >>> [c["cell_type"] for c in made["cells"]], len(with_cell(made, "ssh://a/c")["cells"])
    (['markdown', 'code'], 2)
    >>> len(with_cell(made, None)["cells"])
    1
    """
    rest = [c for c in notebook["cells"] if TAG not in tags(c)]
    return notebook | {"cells": rest if url is None else [rest[0], cell(url), *rest[1:]]}


def outdated(url: str | None, book: Path = BOOK) -> list[Path]:
    """Chapters whose cell is missing, or is another than the address asks for."""
    return [p for p in sorted(book.glob("*.ipynb")) if with_cell(notebook := _read(p), url) != notebook]


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    """Write the cell into every chapter, or take it out of them."""
    url = address()
    for path in outdated(url):
        text = json.dumps(with_cell(_read(path), url), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        print(f"{path.stem}: {'no cell' if url is None else 'installs itself in Colab'}")


if __name__ == "__main__":
    main()
