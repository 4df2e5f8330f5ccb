"""Widgets: every picture is linked to its label in the browser, small, and described in words."""

import base64
import io
import re

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pytest
from PIL import Image

from rgbd_insight.result import Result
from rgbd_insight.widgets import LARGEST, explore, grid, switch
from tests import _results as made


@pytest.fixture(autouse=True)
def _no_figure_of_other_tests():
    plt.close("all")


ALT = "a line that rises from the left to the right"


def line(rise=1.0):
    figure, ax = plt.subplots(figsize=(2, 1.5))
    ax.plot([0, 1], [0, rise])
    return ax


def page(widget):
    """(alternative text as it stands in the HTML, bytes of the picture)."""
    form = r'<img alt="([^"]*)" style="[^"]*" src="data:image/png;base64,([^"]*)">'
    alt, data = re.fullmatch(form, widget.value).groups()
    return alt, base64.b64decode(data)


def linked(box):
    """Whether the control's index drives the stack in the browser."""
    control, stack = box.children
    return (
        isinstance(stack, widgets.Stack)
        and box.link.source == (control, "index")
        and box.link.target == (stack, "selected_index")
        and len(control.options) == len(stack.children)
        and control.index == stack.selected_index == 0
    )


def test_switch_links_the_control_to_the_stack():
    box = switch({"a": line(), "b": line, "c": line().figure}, alt=dict.fromkeys("abc", ALT), description="Line")
    assert linked(box) and isinstance(box.children[0], widgets.ToggleButtons)
    assert box.children[0].options == ("a", "b", "c") and box.children[0].description == "Line"
    assert not plt.get_fignums()


def test_long_labels_become_a_list():
    names = ["what each modality tells of hue", "what each modality tells of shape"]
    box = switch(dict.fromkeys(names, line), alt=dict.fromkeys(names, ALT))
    assert linked(box) and isinstance(box.children[0], widgets.Dropdown) and box.children[0].description


def test_pages_are_small_pictures_with_escaped_alternative_texts():
    text = 'δ < 0.1 & "nothing" else to be seen <here>'
    alt, data = page(switch({"a": line}, alt={"a": text}).children[1].children[0])
    assert alt == "δ &lt; 0.1 &amp; &quot;nothing&quot; else to be seen &lt;here&gt;"
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG" and picture.convert("RGB").getpixel((0, 0)) > (240, 240, 240)
    assert len(data) < LARGEST


@pytest.mark.parametrize("alt", [{}, {"a": ""}, {"a": "too short"}, {"a": None}, {"b": ALT}])
def test_a_figure_without_alternative_text_is_an_error(alt):
    with pytest.raises(ValueError, match="`alt` must say in at least 20 characters.*for 'a'"):
        switch({"a": line}, alt=alt)
    with pytest.raises(ValueError, match="at least one figure"):
        switch({}, alt={})


def test_grid_is_a_switch_of_switches():
    cells = [(row, column) for row in ("rgb", "depth") for column in ("1", "2", "3")]
    box = grid(dict.fromkeys(cells, line), alt={cell: f"{ALT}, {cell}" for cell in cells}, description=("M", "Level"))
    assert linked(box) and box.children[0].options == ("rgb", "depth")
    inner = box.children[1].children
    assert all(linked(row) and row.children[0].description == "Level" for row in inner)
    assert "depth" in page(inner[1].children[1].children[2])[0]
    with pytest.raises(ValueError, match="`alt`"):
        grid({("a", "b"): line}, alt={})


def test_grid_has_a_control_for_each_part_of_a_label():
    cells = [("scenes", "images", "sum"), ("scenes", "images", "se"), ("scenes", "positions", "sum")]
    cells += [("nyuv2", "images", "sum")]
    alt = {cell: f"{ALT}, {' '.join(cell)}" for cell in cells}
    box = grid(dict.fromkeys(cells, line), alt=alt, description=("Data", "Read from", "Operator"))
    middle = box.children[1].children
    assert linked(box) and [row.children[0].options for row in middle] == [("images", "positions"), ("images",)]
    inner = middle[0].children[1].children
    assert all(linked(part) and part.children[0].description == "Operator" for part in inner)
    assert page(inner[1].children[1].children[0])[0] == f"{ALT}, scenes positions sum"
    for label in (("a",), ("a", "b", "c"), "ab"):
        with pytest.raises(ValueError, match="labels of one part for each of Row, Column, two or more; got"):
            grid({label: line}, alt={label: ALT})


def test_a_coarse_picture_is_shown_as_large_as_a_fine_one(monkeypatch):
    fine = switch({"a": line}, alt={"a": ALT}).children[1].children[0].value
    monkeypatch.setattr("rgbd_insight.widgets.LARGEST", 0)
    coarse = switch({"a": line}, alt={"a": ALT}).children[1].children[0].value
    sizes = [int(re.search(r"width:(\d+)px", value)[1]) for value in (fine, coarse)]
    assert len(coarse) < len(fine) and abs(sizes[0] - sizes[1]) <= 2


def test_explore_levels_of_every_concept():
    box = explore(made.specificity(count=5))
    assert linked(box) and box.children[0].options == ("all levels", "level 1")
    alt, data = page(box.children[1].children[1])
    assert "level 1" in alt and re.search(r"rgb: 33 values from -?0\.\d\d to 0\.\d\d, mean", alt)
    assert len(data) < LARGEST
    assert not plt.get_fignums()


def test_explore_other_levels_modalities_and_networks():
    assert explore(made.collaboration()).children[0].options == ("all levels",)
    assert explore(made.evolution()).children[0].options == ("level 4",)
    assert explore(made.evolution(), "modality").children[0].options == ("rgb", "depth")
    both = explore([made.consistency(), made.specificity()], by="modality")
    assert linked(both) and "depth stream" in page(both.children[1].children[1])[0]
    several = explore([made.consistency(), made.consistency("se", 0.1)], by="run", alt={"se": ALT})
    assert several.children[0].options == ("sum", "se")
    assert page(several.children[1].children[1])[0] == ALT


@pytest.mark.parametrize(
    "results, by, message",
    [
        ([], "level", "at least one result"),
        (made.consistency(), "seed", "`by` must be one of level, modality, run; got 'seed'"),
        (made.consistency(), "level", 'must be one of specificity.*got consistency. Try by="run"'),
        (made.collaboration(), "modality", "must be one evolution result, or .*; got collaboration"),
        (Result.of("evolution", [], made={}), "modality", "must hold 'level similarity'"),
        (Result.of("specificity", [], made={}), "level", "must hold the measure 'decodability'"),
        ([made.consistency(), made.consistency()], "run", "different networks, one a result; got sum, sum"),
    ],
)
def test_errors_say_what_can_be_explored(results, by, message):
    with pytest.raises(ValueError, match=message):
        explore(results, by)
