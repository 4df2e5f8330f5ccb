"""Pictures of planted scenes: every thing is in the colour of the modality that shows it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rgbd_insight import plots
from rgbd_insight.data import Scenes


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
