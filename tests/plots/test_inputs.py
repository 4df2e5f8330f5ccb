"""Figures of the inputs: things in the colour of who shows them, bars and points as high as the numbers."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rgbd_insight import plots
from rgbd_insight.data import Scenes

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


def test_who_shows_what_is_what_was_planted():
    data = Scenes(n=6)
    ax = plots.scenes(data, range(6))
    who = np.stack([box.images[0].get_array() for box in ax.child_axes[2::3]])  # (6, H, W)
    labels = data.batch(range(6)).labels.numpy()
    for kind, code in (("rgb", 1), ("depth", 2), ("both", 3)):
        names = [c.name for c in data.concepts if c.kind == kind]
        there = np.isin(labels, [data.classes.index(name) for name in names])
        assert there.any() and (who[there] == code).all()


def test_names_are_those_of_the_things_and_tags_in_the_scene():
    data = Scenes(n=3)
    batch = data.batch([2])
    things = {data.classes[i] for i in batch.labels.unique().tolist() if i > 2}
    tags = {data.concepts[k].name for k in batch.concepts[0, 1].unique().tolist() if k >= 0}
    written = {text.get_text().replace("\n", " ") for text in plots.scenes(data, [2]).child_axes[2].texts}
    assert things and tags and written == things | tags


def test_draws_into_given_axes():
    ax = plt.subplots()[1]
    assert plots.scenes(Scenes(n=1), [0], ax=ax) is ax


def test_cues_shows_what_a_thing_changes_in_the_modality_that_shows_it_alone():
    ax = plots.cues(Scenes(n=2, toggle=["rug", "dome", "ball"]))
    changed = [[box.images[0].get_array().any() for box in ax.child_axes[4 * i + 1 : 4 * i + 4 : 2]] for i in range(3)]
    assert changed == [[True, False], [False, True], [True, True]]
    said = [[t.get_text() for t in box.texts] for box in ax.child_axes]
    assert said[3] == said[5] == ["nothing"] and said.count([]) == 10


def test_cues_needs_pairs():
    with pytest.raises(ValueError, match="`data` must draw pairs"):
        plots.cues(Scenes(n=2))


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


def test_encodings_show_what_the_table_holds():
    names = ("metric", "hha")
    row = {"measure": "consistent share", "modality": "depth", "level": 4, "family": None, "versus": None}
    table = pd.DataFrame(
        [
            row | {"encoding": name, "seed": seed, "value": 0.1 * i + v, "low": 0.0, "high": 0.5, "null_high": 0.02}
            for i, name in enumerate(names)
            for seed, v in (("0", 0.0), ("1", 0.1), ("mean", 0.05))
        ]
    )
    (panel,) = plots.shares_by_encoding({"scenes": table}).child_axes
    drawn = [tuple(line.get_ydata()) for line in panel.lines]
    for i in range(2):
        assert any(np.allclose(y, [0.1 * i + 0.05]) for y in drawn if len(y) == 1)
    decoded = table.assign(measure="decoded", level=0, family="hue")
    legend = plots.decodability_by_encoding(pd.concat([decoded, decoded[:3].assign(modality="rgb")])).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [*names, "colour network"]
    with pytest.raises(ValueError, match="'decoded' of 'depth'.*; got none"):
        plots.decodability_by_encoding(table)


def test_presence_counts_the_groups_of_each_concept():
    concepts = pd.DataFrame({"name": ["bed", "red", "lamp"], "family": ["class", "hue", "class"]})
    present = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], bool)
    features = SimpleNamespace(concepts=concepts, present=present, groups=[0, 0, 1, 2])
    ax = plots.presence(features, fewest=2)
    counts = plots.table_of(ax.figure)
    assert dict(zip(counts.concept, counts.groups, strict=True)) == {"bed": 2, "lamp": 1}
    assert [bar.get_height() for bar in ax.patches] == [2, 1]
    assert ax.get_title("left") == "1 of 2 concepts are present in fewer than 2 groups"
    with pytest.raises(ValueError, match="family 'texture' .it has class, hue"):
        plots.presence(features, family="texture")
