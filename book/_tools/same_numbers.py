"""Compare the numbers of two builds of the book: glued values, shown tables and the committed tables.

``python book/_tools/same_numbers.py BEFORE AFTER``, both checkouts in which ``make book`` has run, prints every number
that differs by more than 1e-12 and ends with how many were compared. Names may have been changed on purpose:
``--renamed old=new`` (any number of times) is applied to BEFORE.
"""

import argparse
import json
import re
from difflib import SequenceMatcher
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd

NUMBER = re.compile(r"[-−]?\d+(?:\.\d+)?(?:e-?\d+)?")
COMPUTED = re.compile(  # glued values, cells of tables, printed text
    r'<span class="pasted-text">(.*?)</span>|<td[^>]*>(.*?)</td>|<div class="output[^"]*"><div[^>]*><pre>(.*?)</pre>',
    re.S,
)
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


def page(path: Path, renamed: dict[str, str]) -> list[str]:
    """What a built page computes, in the order of the page: glued values, cells of tables, printed text."""
    html = path.read_text(encoding="utf-8")
    for old, new in renamed.items():
        html = html.replace(old, new)
    texts = ("".join(part or "" for part in found.groups()) for found in COMPUTED.finditer(html))
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split()) for text in texts]


def pair(was: list[str], now: list[str]) -> list[tuple[str, str]]:
    """The texts that stand in the same place of both pages.

    Examples
    --------
    >>> pair(["a 1", "b 2", "c 3"], ["a 1", "x", "b 2", "c 4"])
    [('a 1', 'a 1'), ('b 2', 'b 2'), ('c 3', 'c 4')]
    """
    if len(was) == len(now):
        return list(zip(was, now, strict=True))
    found = []
    for kind, i, j, k, m in SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if kind in ("equal", "replace"):
            found += zip(was[i:j], now[k:m], strict=False)
    return found


def committed(folder: Path, renamed: dict[str, str]) -> dict[str, pd.DataFrame]:
    """Every committed table by name."""
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    tables = {name: pd.read_parquet(folder / entry["file"]) for name, entry in index.items()}
    return {renamed.get(name, name): table for name, table in tables.items()}


def compare(before: Path, after: Path, renamed: dict[str, str]) -> tuple[list[str], int]:
    """What differs, a line each, and how many texts and columns were compared."""
    lines, count = [], 0
    for path in sorted((after / "_build" / "html").glob("*.html")):
        was, now = page(before / "_build" / "html" / path.name, renamed), page(path, {})
        if len(was) != len(now):
            lines.append(
                f"{path.stem}: {len(was)} computed texts before, {len(now)} after; those in common are compared"
            )
        for a, b in pair(was, now):
            count += 1
            if apart(a, b) and not CHANGING.fullmatch(b):
                lines.append(f"{path.stem}: {a[:300]} -> {b[:300]}")
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
