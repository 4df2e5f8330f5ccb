"""Make the slides of the two-hour workshop: `make slides`.

One file, ``_build/slides/workshop.html``, that needs no network: a section a row of the plan on the page for teachers,
with the prediction questions, the figures and the takeaways of the chapter that the row names, all as a run of the
chapter gives them. Press S for the speaker's notes: minutes, answers, what a figure shows, what students get wrong.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
import plain
from copies import titles_of_the_book
from figures import unmarked
from markdown_it import MarkdownIt
from readme import BOOK, glued, run
from vendor import DEST

OUT = BOOK.parent / "_build" / "slides" / "workshop.html"
ROW = re.compile(r"^\| (\d+)–(\d+) \| (.+?) \| (.*?) ?\|$", re.M)
QUESTION = re.compile(r"^\d\. \*(.+?)\*\n+ *:{3,}\{dropdown\} Answer\n(.*?)^ *:{3,}$", re.M | re.S)
TAKEAWAYS = re.compile(r"^## Take ?aways?\n(.*?)(?=^#|\Z)", re.M | re.S)
MISCONCEPTION = re.compile(r"^(\*\*.+?)(?=^\*\*|^## )", re.M | re.S)
FIGURES = 2  # a section, where the plan names none
STYLE = """
.reveal { font: 28px/1.35 system-ui, sans-serif; color: #222; } .reveal-viewport { background: #fff; }
.reveal h1, .reveal h2 { font-size: 1.5em; line-height: 1.15; margin: 0 0 .6em; }
.reveal .slides { text-align: left; }
.reveal img { max-height: 500px; max-width: 100%; margin: 0 auto; display: block; }
.reveal p.minutes { color: #555; } .reveal .question { font-size: 1.25em; } .reveal li { margin: .4em 0; }
"""


@dataclass
class Row:
    """One row of the plan: from which to which minute, what is done, and the chapter and figures that it names."""

    start: int
    end: int
    what: str
    chapter: str | None
    figures: tuple[str, ...]


def rows(teachers: str) -> list[Row]:
    """The rows of the first plan on the page for teachers."""
    plan = teachers.split("### A workshop of two hours")[1].split("\n### ")[0]
    found = []
    for start, end, what, where in ROW.findall(plan):
        chapter = re.search(r"\{doc\}`(\w+)`", where)
        named = tuple(re.findall(r"\{numref\}`([\w-]+)`", what))
        found.append(Row(int(start), int(end), what, chapter and chapter[1], named))
    return found


def misconceptions(teachers: str) -> dict[str, list[str]]:
    """Chapter → what students get wrong there, as the page for teachers says it."""
    part = teachers.split("## Misconceptions that come up")[1] + "\n## "
    found: dict[str, list[str]] = {}
    for text in MISCONCEPTION.findall(part):
        for chapter in re.findall(r"\{doc\}`(\w+)`", text):
            found.setdefault(chapter, []).append(text)
    return found


def slide(body: str, notes: str) -> str:
    """One slide with its speaker's notes, HTML both."""
    return f'<section>\n{body}\n<aside class="notes">{notes}</aside>\n</section>'


class Deck:
    """Slides of the chapters after their runs; `values` and `titles` fill what the text refers to."""

    def __init__(self, titles: Mapping[str, str], teachers: str) -> None:
        self.titles, self.wrong = titles, misconceptions(teachers)
        self.markdown = MarkdownIt("commonmark").enable("table")

    def text(self, source: str, values: Mapping[str, str]) -> str:
        """Markdown of a page as HTML."""
        lines = "\n".join(line.removeprefix("   ") for line in source.split("\n"))
        return self.markdown.render(plain.markdown(lines, values, self.titles))

    def section(self, row: Row, chapter: nbformat.NotebookNode | None) -> str:
        """The slides of one row of the plan."""
        what = self.text(row.what, {}).removeprefix("<p>").removesuffix("</p>\n")
        when = f"<p>Minutes {row.start} to {row.end}.</p>"
        head = f'<h2>{what}</h2><p class="minutes">{row.end - row.start} minutes</p>'
        if chapter is None:
            return slide(head, when)
        values = glued(chapter)
        source = "\n\n".join(cell.source for cell in chapter.cells if cell.cell_type == "markdown")
        wrong = "".join(self.text(text, values) for text in self.wrong.get(row.chapter, []))
        made = [slide(head, when + wrong)]
        for question, answer in QUESTION.findall(source):
            asked = f'<div class="question">{self.text(question, values)}</div>'
            said = self.text(answer, values)
            made.append(
                slide(f'{asked}<div class="fragment">{said}</div>', f"<p>Hands up before the answer.</p>{said}")
            )
        made += [self.figure(cell) for cell in self.chosen(row, chapter)]
        if takeaways := TAKEAWAYS.search(source):
            made.append(slide(f"<h2>Takeaways</h2>{self.text(takeaways[1], values)}", f"<p>Ends at {row.end}.</p>"))
        return f"<section>{''.join(made)}</section>"

    def chosen(self, row: Row, chapter: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
        """Cells of the figures that the row names; where it names none, of the first of the chapter."""
        drawn = {c.metadata["mystnb"]["figure"]["name"]: c for c in chapter.cells if _draws(c)}
        return [drawn[name] for name in row.figures] or list(drawn.values())[:FIGURES]

    def figure(self, cell: nbformat.NotebookNode) -> str:
        """A slide of one figure, its caption in the notes."""
        about = cell.metadata["mystnb"]
        png = next(o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {}))
        alt = html.escape(about["image"]["alt"])
        picture = f'<img alt="{alt}" src="data:image/png;base64,{"".join(png.split())}">'
        return slide(picture, f"<p>{html.escape(unmarked(about['figure']['caption']))}</p><p>{alt}</p>")


def _draws(cell: nbformat.NotebookNode) -> bool:
    named = "name" in cell.metadata.get("mystnb", {}).get("figure", {})
    return named and any("image/png" in o.get("data", {}) for o in cell.get("outputs", []))


def page(sections: list[str]) -> str:
    """The whole file, with everything it needs inside."""
    folder = DEST / "slides"
    css = (folder / "dist/reveal.css").read_text(encoding="utf-8")
    scripts = [folder / name for name in ("dist/reveal.js", "plugin/notes/notes.js", "es5/tex-svg.js")]
    # a script ends at its first closing tag, wherever that stands
    codes = [path.read_text(encoding="utf-8").replace("</script", "<\\/script") for path in scripts]
    body = "\n".join(f"<script>{code}</script>" for code in codes)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>What networks that fuse colour and depth represent: a workshop of two hours</title>
<style>{css}{STYLE}</style></head>
<body><div class="reveal"><div class="slides">{"".join(sections)}</div></div>
<script>window.MathJax = {{tex: {{inlineMath: [["$", "$"]]}}, startup: {{typeset: true}}}};</script>
{body}
<script>Reveal.initialize({{hash: true, slideNumber: "c/t", plugins: [RevealNotes]}});</script>
</body></html>
"""


def main() -> None:
    """Run the chapters of the plan and write the slides."""
    if not (DEST / "slides").is_dir():
        sys.exit("the slides' browser files are not there; install npm and type: make book")
    teachers = (BOOK / "teachers.md").read_text(encoding="utf-8")
    plan, deck = rows(teachers), Deck(titles_of_the_book(), teachers)
    chapters: dict[str, nbformat.NotebookNode] = {}
    for name in {row.chapter for row in plan if row.chapter}:
        chapters[name] = run(Path(BOOK / f"{name}.ipynb"))
        print(f"{name}: run")
    made = page([deck.section(row, chapters.get(row.chapter)) for row in plan])
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(made, encoding="utf-8")
    count, size = made.count("<aside"), len(made) / 2**20
    print(f"{OUT.relative_to(BOOK.parent)}: {count} slides, {size:.1f} MiB; press S for the notes")


if __name__ == "__main__":
    main()
