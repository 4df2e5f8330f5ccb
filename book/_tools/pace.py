"""Read the workshop's plan and the chapters at reading speed, and say what they take: ``python book/_tools/pace.py``.

What is counted: words of the prose, visible lines of code, a pause at each figure, a minute of guessing at each
prediction question, and the run of the notebook. For the plan these are the sections that a row names in `WORKSHOP`;
for a chapter everything but its exercises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import nbformat
import plain
from exercises import exercises, tags
from readme import BOOK

WORDS, LINES, FIGURE, QUESTION, RUN, EXERCISE = 200, 20, 0.5, 1.0, 1.0, 3.0  # a minute; a minute; minutes each
FOLDED = {"hide-input", "remove-input", "remove-cell", "exercise", "solution", "check"}
OPENING = ("", "Before you read on", "The idea")  # "" is what stands before the first section
# Minute at which a part of the workshop begins → chapter, sections, exercises.
WORKSHOP = {
    0: ("index", None, ()),
    10: ("data", (*OPENING, "Planted scenes"), ("ex-data-metres",)),
    25: ("models", (*OPENING, "The operators"), ("ex-models-tap",)),
    50: ("consistency", (*OPENING, "Definitions", "By hand"), ("ex-consistency-bias",)),
    80: ("specificity", (*OPENING, "Definitions", "Planted scenes"), ()),
}


def sections(notebook: Mapping) -> dict[str, list[Mapping]]:
    """Cells of each section of the second level, by its title; those before the first under the empty title."""
    found: dict[str, list[Mapping]] = {"": []}
    title = ""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "markdown":
            found[title].append(cell)
            continue
        for part in re.split(r"(?m)^(?=(?:\([\w-]+\)=\n)?## )", "".join(cell["source"])):
            if heading := re.match(r"(?:\([\w-]+\)=\n)?## (.+)", part):
                title = heading[1].strip()
                found[title] = []
            found[title].append({"cell_type": "markdown", "metadata": {}, "source": part})
    return found


def minutes(cells: Iterable[Mapping]) -> float:
    """What the cells take to read, to look at and to answer."""
    total = 0.0
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            total += len(re.findall(r"\w[\w'’.-]*", plain.markdown(source, {}, {}))) / WORDS
            total += QUESTION * source.count("{dropdown} Answer") + FIGURE * source.count("```{figure}")
        else:
            total += 0 if tags(cell) & FOLDED else source.count("\n") / LINES
            total += FIGURE * ("figure" in cell["metadata"].get("mystnb", {}))
    return total


def chapter(name: str) -> Mapping:
    """A chapter as committed."""
    return nbformat.read(BOOK / f"{name}.ipynb", as_version=4)


def part(name: str, wanted: Iterable[str] | None, tasks: Iterable[str]) -> float:
    """Minutes of some sections (all, where it is None) and exercises of a chapter, and of its run."""
    notebook = chapter(name)
    held, known = sections(notebook), {e.label for e in exercises(notebook)}
    lost = {*(wanted or ())} - held.keys() | {*tasks} - known
    if lost:
        raise ValueError(f"`WORKSHOP` must name sections and exercises of {name}; got {', '.join(sorted(lost))}")
    read = sum(minutes(held[title]) for title in (held if wanted is None else wanted))
    return RUN + read + EXERCISE * len(tuple(tasks))


def whole(name: str) -> float:
    """Minutes of a chapter with everything but its exercises."""
    held = sections(chapter(name))
    return RUN + sum(minutes(cells) for title, cells in held.items() if title != "Exercises")


def main() -> None:
    """Print the plan's parts and the chapters."""
    for start, asked in WORKSHOP.items():
        print(f"workshop, minute {start:3d}: {part(*asked):4.1f} minutes ({asked[0]})")
    for path in sorted(BOOK.glob("*.ipynb")):
        print(f"{path.stem:14s} {whole(path.stem):4.1f} minutes without its exercises")


if __name__ == "__main__":
    main()
