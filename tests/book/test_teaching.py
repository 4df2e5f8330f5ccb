"""What a class needs: answers to every question, minutes that hold at reading speed, and a first page that answers."""

import re

import pace
import pytest
import slides
from figure_tables import tables
from predictions import SECTION
from readme import glued

from rgbd_insight.plots.truth import PROPERTIES
from tests.book._chapters import BOOK, run
from tests.book.test_exercises import MINUTES, TEACHERS, WITH_EXERCISES, words

INSTRUCTORS = (BOOK / "instructors.md").read_text(encoding="utf-8")
PLAN = {row.start: row for row in slides.rows(TEACHERS)}
ROOM = 3  # minutes of a part that are left for talking, at least


def test_instructors_have_the_questions_of_every_chapter_and_what_students_answer():
    asked = [path.stem for path in WITH_EXERCISES if f"## {SECTION}" in words(path)]
    sections = re.split(r"^## ", INSTRUCTORS, flags=re.M)[1:]
    found = [re.search(r"```\{predictions\} (\w+)", section)[1] for section in sections]
    assert sorted(found) == sorted(asked) and len(asked) == len(WITH_EXERCISES)
    for section in sections:
        assert "**What students answer.**" in section and "**Where they get stuck.**" in section


def test_instructors_read_of_every_exercise_by_its_name():
    for path in WITH_EXERCISES:
        titles = re.findall(r"\{exercise-start\} (.+)\n:label: \S+\n(?!:class: project)", words(path))
        text = " ".join(
            re.search(rf"\{{predictions\}} {path.stem}\n(.*?)(?=^## |\Z)", INSTRUCTORS, re.M | re.S)[1].split()
        )
        assert len(titles) == 3 and all(f"*{title}*" in text for title in titles), titles


def test_every_part_of_the_workshop_fits_with_room_to_talk():
    assert {start for start, row in PLAN.items() if row.chapter} == set(pace.WORKSHOP)
    for start, (chapter, wanted, tasks) in pace.WORKSHOP.items():
        row, takes = PLAN[start], pace.part(chapter, wanted, tasks)
        assert row.chapter == chapter and takes + ROOM <= row.end - row.start
        told = re.search(rf"^\| {start}–.*\| (\d+) \|$", TEACHERS, re.M)[1]
        assert abs(int(told) - takes) <= 2, "python book/_tools/pace.py"


def test_a_part_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="sections and exercises of data; got Nowhere, ex-none"):
        pace.part("data", ("Nowhere",), ("ex-none",))


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_minutes_of_a_chapter_hold_at_reading_speed(path):
    stated = int(re.search(MINUTES, words(path))[1])
    takes = pace.whole(path.stem) + 3 * pace.EXERCISE
    assert takes <= stated <= 2 * takes, f"it takes {takes:.0f} minutes: python book/_tools/pace.py"


def test_criteria_of_trust_have_a_property_and_what_is_missed_a_reason():
    notebook = run(BOOK / "trust.ipynb")[0]
    counted = tables(notebook)["fig-trust-criteria"].splitlines()[1:]
    assert {line.rsplit(",", 2)[0].strip('"') for line in counted} <= set(PROPERTIES.values())
    shown = next(cell for cell in notebook.cells if cell.get("id") == "trust-missed").outputs[0].data["text/html"]
    assert "see the section on it" not in shown


# What a reader who knows networks, but not this project, asks after the first page, and what answers it there: glued
# values by name, and words of the page.
QUESTIONS = {
    "Do the two streams become more alike in deeper levels?": ("alone", "alone-numbers"),
    "Does training them together make them alike?": ("together", "together-numbers"),
    "How do I know that the measures are right?": ("planted", "planted-numbers"),
    "What do 0 and 1 mean on the two axes?": ("0 for unrelated streams, 1 for two training runs", "0 for\ntwo seeds"),
    "On which networks and images, and what are the brackets?": ("runs", "images", "95 % intervals over whole scenes"),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_first_page_answers(question):
    values, page = glued(run(BOOK / "index.ipynb")[0]), words(BOOK / "index.ipynb")
    for answer in QUESTIONS[question]:
        if answer in values:
            assert f"{{glue:text}}`{answer}`" in page and values[answer]
        else:
            assert " ".join(answer.split()) in " ".join(page.split())
