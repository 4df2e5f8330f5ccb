"""What is made from the book to take away: the workshop's slides and the archive."""

import hashlib
import re
import zipfile

import archive
import nbformat
import slides
import yaml
from readme import BOOK

TEACHERS = (BOOK / "teachers.md").read_text(encoding="utf-8")
CELL = nbformat.v4.new_code_cell(
    "draw()",
    outputs=[nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo=\n"})],
    metadata={
        "mystnb": {"figure": {"name": "fig-a", "caption": "A **bold** claim."}, "image": {"alt": "Two <lines>."}}
    },
)
TEXT = """## Before you read on

1. *Will it rise?*

   :::{dropdown} Answer
   By {glue:text}`risen`.
   :::

## Takeaways

- Take this away.
"""
GLUED = nbformat.v4.new_output(
    "display_data",
    {"application/papermill.record/text/plain": "'seven'"},
    metadata={"scrapbook": {"name": "risen", "mime_prefix": "application/papermill.record/"}},
)


def executed():
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(TEXT), nbformat.v4.new_code_cell("glue()", outputs=[GLUED]), CELL]
    )


def test_plan_of_the_workshop_is_read_whole():
    plan = slides.rows(TEACHERS)
    assert (plan[0].start, plan[-1].end) == (0, 120)
    assert all(a.end == b.start for a, b in zip(plan, plan[1:], strict=False))
    assert all((BOOK / f"{row.chapter}.ipynb").is_file() for row in plan if row.chapter)
    assert len([row for row in plan if row.chapter]) >= 4


def test_every_misconception_that_names_a_chapter_is_found():
    found = slides.misconceptions(TEACHERS)
    assert found.keys() >= {"models", "specificity", "evolution", "collaboration", "consistency"}
    assert all(text.startswith("**") and "\n**" not in text for texts in found.values() for text in texts)


def test_a_section_has_question_answer_figure_takeaways_and_notes():
    row = slides.Row(10, 25, "What *each* sees", "models", ())
    made = slides.Deck({}, TEACHERS).section(row, executed())
    assert made.count("<aside") == 4 and made.count("<section>") == 5
    assert "<em>each</em>" in made and "Minutes 10 to 25" in made and "about colour" in made
    assert "Will it rise?" in made and made.count("By seven.") == 2 and "Take this away." in made
    assert 'src="data:image/png;base64,iVBORw0KGgo="' in made and 'alt="Two &lt;lines&gt;."' in made
    assert "A bold claim." in made


def test_slides_hold_everything_they_need(tmp_path, monkeypatch):
    for name in ("dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js", "es5/tex-svg.js"):
        path = tmp_path / "slides" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("/* </script> */" if path.suffix == ".js" else "/* */", encoding="utf-8")
    monkeypatch.setattr(slides, "DEST", tmp_path)
    made = slides.page(["<section>One.</section>"])
    assert made.count("<script>") == made.count("</script>") == 5
    assert not re.search(r"(src|href)=|@import|url\(", made)


def test_archive_has_its_sums_and_the_same_bytes_again(tmp_path):
    files = {name: tmp_path / name for name in ("a.txt", "b.bin")}
    for name, path in files.items():
        path.write_bytes(name.encode() * 100)
    digests = {archive.pack(files, tmp_path / name) for name in ("one.zip", "two.zip")}
    assert len(digests) == 1
    with zipfile.ZipFile(tmp_path / "one.zip") as held:
        for line in held.read("SHA256SUMS").decode().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256(held.read(name)).hexdigest() == digest


def test_deposit_says_what_the_citation_says():
    citation = yaml.safe_load((archive.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    said = archive.deposit(citation)
    assert said["title"] == citation["title"] and said["version"] == citation["version"]
    assert said["creators"] and len(said["description"]) > 100
