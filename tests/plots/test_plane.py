"""The plane and its companions draw what is in the table."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import FancyArrowPatch

from rgbd_insight import plots
from rgbd_insight.features import read_table
from rgbd_insight.metrics.joint import QUADRANTS
from rgbd_insight.questions.joint import MOVED, SIMILARITY, UNITS, VARIANCE
from rgbd_insight.result import Result

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table():
    table = read_table(RESULTS, "plane")
    return table[table["role"] == "final"]


def lines(ax):
    return [line.get_xydata() for line in ax.lines if len(line.get_xydata()) == 4]


def test_every_network_has_an_arrow_through_its_levels(table):
    data = {name: table[table["data"] == name] for name in ("scenes", "nyuv2")}
    ax = plots.plane(data)
    assert [panel.get_title() for panel in ax.child_axes] == list(data)
    for panel, rows in zip(ax.child_axes, data.values(), strict=True):
        drawn = lines(panel)
        assert len(drawn) == 4 == sum(isinstance(patch, FancyArrowPatch) for patch in panel.patches)
        for (_, part), line in zip(rows.groupby("fusion", sort=False), drawn, strict=True):
            for axis, along in ((SIMILARITY, 0), (VARIANCE, 1)):
                want = part[part["measure"] == axis].sort_values("level")["value"]
                np.testing.assert_allclose(line[:, along], want)
    assert ax.get_legend() is None
    heads = {text.get_text(): text.xy[1] for text in panel.texts}  # beside the last panel, in the order of the heads
    ends = {"trained alone" if f == "twins" else f: y for f, y in at_the_last_level(rows).items()}
    assert sorted(ends, key=ends.get) == sorted(ends, key=heads.get)


def at_the_last_level(rows):
    rows = rows[(rows["measure"] == VARIANCE) & (rows["level"] == rows["level"].max())]
    return dict(zip(rows["fusion"], rows["value"], strict=True))


def test_more_networks_than_names_fit_have_a_legend(table):
    rows = table[table["data"] == "nyuv2"]
    more = pd.concat([rows, rows[rows["fusion"] == "sum"].assign(fusion="concat")])
    words = [text.get_text() for text in plots.plane(more).get_legend().get_texts()]
    assert words[0] == "trained alone (twins)" and "trained together: sum" in words and len(words) == 5


def test_the_corner_of_two_seeds_is_shown_where_the_plane_is_whole():
    rows = [
        {"measure": name, "fusion": "sum", "level": level, "value": value, "low": 0.0, "high": 1.0}
        for name, values in ((SIMILARITY, (0.2, 0.9)), (VARIANCE, (0.8, 0.1)))
        for level, value in enumerate(values, 1)
    ]
    ax = plots.plane(Result.of("joint", rows, made={}))
    assert [1.0, 0.0] in [line.get_xydata()[0].tolist() for line in ax.lines if len(line.get_xydata()) == 1]
    assert ax.get_xlim()[1] > 1
    with pytest.raises(ValueError, match="must have 'feature similarity' and 'semantic variance'"):
        plots.plane(Result.of("joint", rows[:2], made={}))


def test_moved_and_axis_draw_the_rows(table):
    rows = table[table["data"] == "nyuv2"]
    ax = plots.moved(rows)
    for panel in ax.child_axes:
        drawn = sorted(y for line in panel.lines if len(line.get_ydata()) == 4 for y in line.get_ydata())
        want = rows[(rows["measure"] == MOVED) & (rows["label"] == panel.get_title())]["value"]
        np.testing.assert_allclose(drawn, sorted(want))
    ax = plots.axis(rows[rows["fusion"] == "sum"], measure=VARIANCE)
    want = rows[(rows["measure"] == VARIANCE) & (rows["fusion"] == "sum")].sort_values("level")["value"]
    assert any(np.allclose(line[:, 1], want) for line in lines(ax))


def test_quadrants_stack_to_one(table):
    rows = table[(table["data"] == "nyuv2")]
    ax = plots.quadrants(rows, modality="depth", level=2)
    widths = np.array([bar.get_width() for bar in ax.patches]).reshape(len(QUADRANTS), -1)
    np.testing.assert_allclose(widths.sum(0), 1)
    want = rows[(rows["measure"] == UNITS) & (rows["modality"] == "depth") & (rows["level"] == 2)]
    first = want[want["label"] == QUADRANTS[0]].set_index("fusion")["value"]
    np.testing.assert_allclose(widths[0], first[list(dict.fromkeys(want["fusion"]))])


def test_names_stand_beside_the_lines_of_few_networks_and_apart():
    rows = [
        {"measure": "joint discrepancy", "fusion": name, "level": level, "value": 0.5 + 0.001 * at, "low": 0, "high": 1}
        for at, name in enumerate(("twins", "sum", "se"))
        for level in (1, 2)
    ]
    ax = plots.axis(Result.of("joint", rows, made={}))
    assert ax.get_legend() is None
    assert [text.get_text() for text in ax.texts] == ["trained alone", "sum", "se"]
    heights = [text.xy[1] for text in ax.texts]
    assert np.diff(heights).min() > 0.05 * np.ptp(ax.get_ylim())


def test_more_than_two_modalities_are_an_arrow_a_pair():
    rows = [
        {"measure": name, "fusion": "sum", "level": level, "value": 0.2 * level, "low": 0, "high": 1} | pair
        for name in ("feature similarity", "semantic variance")
        for level in (1, 2)
        for pair in ({"modality": "rgb", "versus": "depth"}, {"modality": "rgb", "versus": "thermal"})
    ]
    drawn = plots.plane(Result.of("joint", rows, made={}))
    assert {"sum: rgb and depth", "sum: rgb and thermal"} <= {text.get_text() for text in drawn.texts}
