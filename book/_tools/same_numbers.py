"""Compare the numbers of two builds of the book: glued values, shown tables and the committed tables.

``python book/_tools/same_numbers.py BEFORE AFTER``, both checkouts in which ``make book`` has run, prints every number
that differs by more than 1e-12 and ends with how many were compared. Names may have been changed on purpose:
``--renamed old=new`` (any number of times) is applied to BEFORE.
"""

import argparse
import json
import re
from html import unescape
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from readme import glued

NUMBER = re.compile(r"[-−]?\d+(?:\.\d+)?(?:e-?\d+)?")
CHANGING = re.compile(r"\d{4}-\d\d-\d\d.*|[0-9a-f]{7,}|.*\b(seconds|commit)\b.*")  # dates, commits and times of a build
EXACT = 1e-12


def numbers(text: str) -> list[float]:
    """Every number of a text, in order.

    Examples
    --------
    >>> numbers("from 0.25 to −1, p 3e-4")
    [0.25, -1.0, 0.0003]
    """
    return [float(n.replace("−", "-")) for n in NUMBER.findall(text)]


def apart(before: str, after: str) -> bool:
    """Whether two texts hold other numbers, or another number of them.

    Examples
    --------
    >>> apart("0.50 of all", "0.50 of both"), apart("0.5", "0.6")
    (False, True)
    """
    a, b = numbers(before), numbers(after)
    return len(a) != len(b) or bool(np.any(np.abs(np.subtract(a, b)) > EXACT))


def chapter(path: Path, renamed: dict[str, str]) -> dict[str, str]:
    """Every text of an executed chapter by name: glued values, and the outputs of each cell in order."""
    notebook = nbformat.read(path, as_version=4)
    texts = {f"glue {name}": value for name, value in glued(notebook).items()}
    for i, cell in enumerate(notebook.cells):
        for k, output in enumerate(cell.get("outputs", [])):
            data, stream = output.get("data", {}), output.get("text", "")
            if "scrapbook" not in output.get("metadata", {}):
                shown = data.get("text/html") or data.get("text/plain", "")
                shown = re.sub(r"<style.*?</style>|<[^>]+>|0x[0-9a-f]+", " ", unescape(shown + stream), flags=re.S)
                texts[f"cell {i} output {k}"] = shown
    for old, new in renamed.items():
        texts = {name.replace(old, new): text.replace(old, new) for name, text in texts.items()}
    return texts


def committed(folder: Path, renamed: dict[str, str]) -> dict[str, pd.DataFrame]:
    """Every committed table by name."""
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    tables = {name: pd.read_parquet(folder / entry["file"]) for name, entry in index.items()}
    return {renamed.get(name, name): table for name, table in tables.items()}


def compare(before: Path, after: Path, renamed: dict[str, str]) -> tuple[list[str], int]:
    """What differs, a line each, and how many texts and columns were compared."""
    lines, count = [], 0
    for path in sorted((after / "_build" / "jupyter_execute").glob("*.ipynb")):
        was, now = chapter(before / "_build" / "jupyter_execute" / path.name, renamed), chapter(path, {})
        lines += [f"{path.stem}: {name} is only in one build" for name in sorted(was.keys() ^ now.keys())]
        for name in (name for name in now if name in was and not CHANGING.fullmatch(was[name].strip())):
            count += 1
            if apart(was[name], now[name]):
                lines.append(
                    f"{path.stem}: {name}: {' '.join(was[name].split())[:300]} -> {' '.join(now[name].split())[:300]}"
                )
    was, now = (committed(place / "book" / "results", names) for place, names in ((before, renamed), (after, {})))
    lines += [f"table {name} is only in one checkout" for name in sorted(was.keys() ^ now.keys())]
    for name in now.keys() & was.keys():
        for column in now[name].select_dtypes("number"):
            count += 1
            a, b = was[name][column].to_numpy(float), now[name][column].to_numpy(float)
            if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=EXACT, equal_nan=True):
                lines.append(f"table {name}: column {column} differs")
    return lines, count


def main() -> None:
    """Print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--renamed", action="append", default=[], metavar="OLD=NEW")
    options = parser.parse_args()
    lines, count = compare(options.before, options.after, dict(word.split("=") for word in options.renamed))
    print("\n".join([*lines, f"{count} texts and columns compared, {len(lines)} differ"]))


if __name__ == "__main__":
    main()
