"""Every picture of every chapter can be read on the page, has a title and, where it is of numbers, brings its table."""

import pytest
from figure_tables import tables

from tests.book._chapters import CHAPTERS, pictures, run

COLUMN, SCREEN = 688, 900  # CSS pixels: the text column of the theme in a window of 1280 by 900, and its height
LETTERS = 9  # points, at the width of the page
PIXELS = 100  # of an inch of a figure on the page; an inch of CSS has 96
UNNAMED = {"data", "models", "speed", "your_model"}  # pictures of inputs and timings, some without a message
# pictures of images; and what is drawn from a file of results that is a CSV itself
NO_TABLE = {"fig-data-cues", "fig-data-sensor", "fig-speed", "fig-scaling"}


def shown(picture):
    """Width and height of a picture on the page, and its smallest letters in points there."""
    wide, high = (PIXELS * inches for inches in picture["inches"])
    scale = min(1.0, COLUMN / wide)
    return scale * wide, scale * high, picture["points"] and picture["points"] * scale * PIXELS / 96


def faults(picture):
    """What is wrong with a picture on the page."""
    _, high, letters = shown(picture)
    found = [f"letters of {letters:.1f} points"] if letters and letters < LETTERS else []
    return found + ([f"{high:.0f} pixels high"] if high > SCREEN else [])


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_pictures_can_be_read_on_the_page(path):
    drawn = pictures(path)
    assert drawn or path.stem == "your_model"
    assert not [f"{picture['title']!r}: {fault}" for picture in drawn for fault in faults(picture)]


@pytest.mark.parametrize("path", [p for p in CHAPTERS if p.stem not in UNNAMED], ids=lambda p: p.stem)
def test_pictures_have_titles(path):
    assert not [picture for picture in pictures(path) if not picture["title"]]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_figures_of_numbers_bring_their_table(path):
    notebook = run(path)[0]
    about = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in notebook.cells]
    assert {figure["name"] for figure in about if "name" in figure} - set(tables(notebook)) <= NO_TABLE


def test_small_letters_and_tall_pictures_are_seen():
    good = {"title": "a", "points": 9, "inches": [6.5, 4]}
    assert not faults(good)
    assert faults(good | {"points": 8}) == ["letters of 8.3 points"]
    assert faults(good | {"inches": [9, 4]}) == ["letters of 7.2 points"]
    assert faults(good | {"inches": [6.5, 12]}) == ["1200 pixels high"]
