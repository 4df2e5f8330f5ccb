"""Where in the image units respond: found again by naive means, and drawn as it is."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from rgbd_insight import stats
from rgbd_insight.data import Scenes
from rgbd_insight.experiments.locations import IMAGES, locate
from rgbd_insight.features import partners
from rgbd_insight.hooks import trace
from rgbd_insight.models import build
from rgbd_insight.plots import locations

DATA = Scenes(n=60, toggle=["rug"])  # pairs of one room each
MODEL = build("sum", len(DATA.classes), width=8, seed=1)


@pytest.fixture(scope="module")
def table():
    return locate(MODEL, DATA, block=16)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_every_stream_level_and_kind_has_its_unit(table):
    units = table.groupby(["stream", "level", "kind"])
    assert len(units) == 2 * 4 * 3 and (units.size() == IMAGES).all()
    assert (units[["unit", "concept", "value"]].nunique() == 1).all(axis=None)
    names = {concept.name: concept.kind for concept in DATA.concepts}
    assert (table.concept.map(names) == table.kind).all()
    assert ((table.low <= table.value) & (table.value <= table.high)).all()


@pytest.mark.parametrize(("stream", "level"), [("rgb", 2), ("depth", 3)])
def test_masks_numbers_and_choice_are_those_of_a_naive_way(table, stream, level):
    every, guest = DATA.batch(range(len(DATA))), partners(DATA.groups, 1)[0]
    other = DATA.batch(guest.tolist())
    given = (other.inputs | {stream: every.inputs[stream]}).values()
    (tap,) = [t for t in MODEL.taps() if (t.stream, t.level) == (stream, level)]
    with torch.no_grad(), trace(MODEL.eval(), [tap]) as heard:
        MODEL(*given)
    maps = heard[tap]
    flat = maps.transpose(0, 1).flatten(1).sort(descending=True).values
    cut = flat[:, int(0.005 * flat.shape[1])]
    active = (interpolate(maps, DATA.size, mode="bilinear", align_corners=False) > cut[:, None, None]).numpy()
    fold = stats.group_folds(DATA.groups, 2)

    def iou(u, k, images):
        there = (every.concepts[images] == k).any(1).numpy()
        return (active[images, u] & there).sum() / max((active[images, u] | there).sum(), 1)

    kinds = [concept.kind for concept in DATA.concepts]
    for kind, rows in table[(table.stream == stream) & (table.level == level)].groupby("kind"):
        wanted, first = [k for k, name in enumerate(kinds) if name == kind], rows.iloc[0]
        best = max(iou(u, k, fold == 0) for u in range(maps.shape[1]) for k in wanted)
        k = [concept.name for concept in DATA.concepts].index(first.concept)
        assert np.isclose(iou(first.unit, k, fold == 0), best)
        assert np.isclose(first.value, iou(first.unit, k, fold == 1))
        peaks = maps[:, first.unit].flatten(1).max(1).values.numpy()
        assert (fold[rows.image] == 1).all() and (np.diff(peaks[rows.image]) <= 0).all()
        assert len({DATA.groups[i] for i in rows.image}) == IMAGES
        for row in rows.itertuples():
            mask = np.unpackbits(np.frombuffer(row.mask, np.uint8), count=48 * 64).reshape(48, 64)
            assert np.array_equal(mask, active[row.image, row.unit])


def test_the_figure_shows_the_unit_and_its_concept_in_both_modalities(table):
    chosen = table[(table.level == 2) & ((table.stream == "rgb") | (table.kind == "depth"))]
    ax = locations(chosen, DATA)
    assert len(ax.images) == 4 * IMAGES * 2
    words = " ".join(text.get_text() for text in ax.texts)
    for row in chosen.drop_duplicates("concept").itertuples():
        assert f"unit {row.unit}" in words and f"covers {row.concept}" in words
    with pytest.raises(ValueError, match="units to be drawn; got none"):
        locations(chosen[:0], DATA)
    with pytest.raises(ValueError, match="images that `table` was made from"):
        locations(chosen, Scenes(n=60))
