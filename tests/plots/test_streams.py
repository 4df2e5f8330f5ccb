"""The figure of what moves each stream: bars as high as the numbers, a 0 where nothing moves."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from rgbd_insight import plots

ROWS = [
    {"stream": stream, "level": level, "modality": modality, "moved": moved}
    for stream, level, modality, moved in [
        ("rgb", 1, "rgb", 1.2),
        ("rgb", 1, "depth", 0.0),
        ("rgb", 2, "rgb", 0.9),
        ("rgb", 2, "depth", 0.4),
        ("depth", 1, "rgb", 0.0),
        ("depth", 1, "depth", 1.9),
        ("depth", 2, "rgb", 0.0),
        ("depth", 2, "depth", 1.1),
    ]
]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("rows", [ROWS, pd.DataFrame(ROWS)], ids=["list", "frame"])
def test_bars_are_the_numbers_and_zeros_are_written(rows):
    first, second = plots.purity(rows).child_axes
    heights = [bar.get_height() for bar in first.patches]
    assert heights == [1.2, 0.9, 0.0, 0.4]
    assert [t.get_text() for t in first.texts] == ["0"] and [t.get_text() for t in second.texts] == ["0", "0"]
    assert second.get_ylim()[1] > 1.9


def test_rows_without_a_column_are_refused():
    with pytest.raises(ValueError, match="`rows` must have stream, level, modality, moved"):
        plots.purity([{"stream": "rgb"}])
    with pytest.raises(ValueError, match="got none"):
        plots.purity([])
