"""Turn a chapter's MyST text into markdown that every notebook program shows as it is meant.

Directives become headings and bold titles, references become the title of what they lead to, and glued values stand
in the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1]
OPEN = re.compile(r"^(\s*)(`{3,}|:{3,})\{([\w:-]+)\}\s*(.*)$")
OPTION = re.compile(r"^\s*:[\w-]+:( |$)")
ROLE = re.compile(r"\{([\w:.-]+)\}`([^`]+)`")
UNTITLED = {"exercise-end", "solution-start", "solution-end", "grid"}
KEPT = {"math"}
TITLED = {"exercise-start": "### Exercise"}


def markdown(text: str, values: Mapping[str, str], titles: Mapping[str, str]) -> str:
    r"""The text without directives and roles.

    Parameters
    ----------
    text : str
        Source of a markdown cell.
    values : mapping of str to str
        Name → glued text.
    titles : mapping of str to str
        Label → title, from `labels`.

    Examples
    --------
    >>> print(markdown("```{prf:definition} Mean\n:label: def-a\nIt is {glue:text}`m`.\n```", {"m": "3"}, {}))
    **Mean**
    <BLANKLINE>
    It is 3.
    """
    lines, fences, options = [], [], False
    for line in text.split("\n"):
        opened = OPEN.match(line)
        if opened and opened[3] not in KEPT:
            fences.append(opened[2])
            options = True
            lines += _title(opened[1], opened[3], opened[4])
        elif fences and line.strip() == fences[-1]:
            fences.pop()
            options = False
        elif options and OPTION.match(line):
            if alt := re.match(r"\s*:alt: (.+)", line):
                lines[-2] = lines[-2].replace("![]", f"![{alt[1]}]", 1)
        else:
            options = False
            lines.append(line)
    text = re.sub(r"^\([\w-]+\)=\n", "", "\n".join(lines), flags=re.M)
    text = re.sub(r"^\$\$ \(eq-[\w-]+\)$", "$$", text, flags=re.M)
    text = ROLE.sub(lambda role: _role(role[1], role[2], values, titles), text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _title(indent: str, kind: str, title: str) -> list[str]:
    """The lines that stand in a directive's place."""
    if kind in UNTITLED:
        return []
    if kind in {"figure", "image"}:
        return [f"{indent}![]({title})", ""]
    if kind in TITLED:
        return [f"{indent}{TITLED[kind]}{': ' if title else ''}{title}", ""]
    return [f"{indent}**{title}**", ""] if title else []


def _role(kind: str, target: str, values: Mapping[str, str], titles: Mapping[str, str]) -> str:
    """What a reader without the book's pages is shown in a role's place."""
    named = re.fullmatch(r"(.+?)\s*<(.+)>", target, re.S)
    text, target = (named[1], named[2]) if named else (None, target)
    if kind.startswith("glue"):
        return values.get(target.split(":")[0], f"⟨{target}⟩")
    if kind.startswith("cite"):
        return f"({', '.join(titles.get(key.strip(), key.strip()) for key in target.split(','))})"
    if kind in {"func", "class", "meth", "mod", "attr"}:
        return f"`{text or target}`"
    return text or titles.get(target, target)


def labels(texts: Mapping[str, str]) -> dict[str, str]:
    """Label → title of everything that a text can refer to: definitions, exercises, sections, chapters, works.

    Parameters
    ----------
    texts : mapping of str to str
        Name of the page → all of its markdown.
    """
    found = {}
    for page, text in texts.items():
        if heading := re.search(r"^# (.+)$", text, re.M):
            found[page] = f"*{heading[1]}*"
        for title, label in re.findall(r"^\s*[`:]{3,}\{[\w:-]+\} *(.*)\n\s*:label: (\S+)$", text, re.M):
            found[label] = f"“{title}”" if title else "the exercise below"
        found |= {label: f"“{title}”" for label, title in re.findall(r"^\(([\w-]+)\)=\n+#+ (.+)$", text, re.M)}
    return found | works()


def works() -> dict[str, str]:
    """Key → "first author year" of the works in references.bib."""
    found, entries = {}, (BOOK / "references.bib").read_text(encoding="utf-8")
    for key, entry in re.findall(r"@\w+\{(\S+?),(.*?)\n\}", entries, re.S):
        authors = re.search(r"author\s*=\s*[{\"](.+?)[}\"],?\n", entry, re.S)
        year = re.search(r"year\s*=\s*[{\"]?(\d{4})", entry)
        if authors and year:
            first = re.split(r"\s+and\s+", authors[1])[0]
            surname = first.split(",")[0] if "," in first else first.split()[-1]
            found[key] = f"{re.sub(r'[{}]', '', surname)} {year[1]}"
    return found
