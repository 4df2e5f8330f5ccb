"""Write what the book's first page computes into README.md: its headline, its figure and where the features are from.

Runs ``book/index.ipynb``, takes the values that it glues and the picture of its main figure, and puts them between the
README's markers (``<!-- found -->`` … ``<!-- /found -->``). The tests compare the README with a fresh run.
"""

import ast
import base64
import re
from pathlib import Path
from textwrap import fill

import nbformat
from nbclient import NotebookClient

BOOK = Path(__file__).resolve().parents[1]
README = BOOK.parent / "README.md"
PICTURE = BOOK / "_static" / "readme.png"
FIGURE = "fig-found"


def run(path: Path) -> nbformat.NotebookNode:
    """A notebook after its run in the folder where it lies."""
    return execute(nbformat.read(path, as_version=4), path.parent)


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """A notebook after its run in a folder."""
    return NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()


def glued(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Texts that an executed notebook glued, by name."""
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", []) if "scrapbook" in o.get("metadata", {})]
    return {
        o.metadata["scrapbook"]["name"]: ast.literal_eval(o.data[o.metadata["scrapbook"]["mime_prefix"] + "text/plain"])
        for o in outputs
    }


def figure(notebook: nbformat.NotebookNode, name: str = FIGURE) -> tuple[bytes, str]:
    """The PNG of a named figure and its alternative text."""
    cell = next(c for c in notebook.cells if c.metadata.get("mystnb", {}).get("figure", {}).get("name") == name)
    png = next(o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {}))
    return base64.b64decode(png), cell.metadata["mystnb"]["image"]["alt"]


def parts(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What stands between each pair of markers."""
    values, (_, alt) = glued(notebook), figure(notebook)
    picture = f"![{alt}]({PICTURE.relative_to(README.parent).as_posix()})"
    made = f"The committed features were extracted on {values['device']} (`execution.json` says so for every run)."
    return {"found": f"{fill(values['headline'], 118)}\n\n{picture}", "device": fill(made, 118)}


def main() -> None:
    """Rewrite the picture and the README's marked parts."""
    notebook = run(BOOK / "index.ipynb")
    text = README.read_text(encoding="utf-8")
    for name, part in parts(notebook).items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.S)
        text = between.sub(lambda marks, part=part: marks[1] + part + marks[2], text)
    PICTURE.write_bytes(figure(notebook)[0])
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
