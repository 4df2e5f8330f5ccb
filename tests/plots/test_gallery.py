"""What units see: the right images, the right lines around the right things, and numbers that no choice has made."""

import json
import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

import rgbd_insight as ri
from rgbd_insight import plots, stats, widgets
from rgbd_insight.data import Scenes, Sensor, redraw
from rgbd_insight.data.scenes import VERSION
from rgbd_insight.features import FeaturesError
from rgbd_insight.questions import Unit, best_unit
from tests.book._chapters import BOOK
from tests.test_widgets import linked, page


@pytest.fixture(scope="module")
def features():
    return ri.load(BOOK / "features" / "scenes")


@pytest.fixture(scope="module")
def drawn(features):
    return redraw(features)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def of(data, **changes):
    """Features that say they are of `data`."""
    kept = json.loads(json.dumps(data.fingerprint())) | changes
    return SimpleNamespace(manifest={"name": "these", "fingerprint": kept}, path="here")


class Noise(SimpleNamespace):
    __hash__ = object.__hash__  # what several questions ask of features is remembered for them

    @property
    def whole(self):
        return self


def noise(n=400, units=60, concepts=20, seed=0):
    """Features whose units tell nothing."""
    rng = np.random.default_rng(seed)
    x, names = rng.normal(size=(n, units)), [f"k{i}" for i in range(concepts)]
    present = rng.random((n, concepts)) < 0.3
    return Noise(
        responses=lambda *_: x,
        present=present,
        areas=present.astype(float),
        runs=pd.DataFrame({"fusion": []}),
        groups=np.arange(n),
        path="here",
        concepts=pd.DataFrame({"name": names, "kind": "unknown"}),
        modalities=(SimpleNamespace(name="rgb"),),
        streams=lambda _: ("rgb",),
        resolve=lambda run: run,
        entry=lambda _: {"taps": [{"stream": "rgb", "level": 1}]},
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seed": 7, "split": "train", "layout": 0.5},
        {"toggle": ["rug", "dome"]},
        {"sensor": Sensor(dropout=0.25, reach=(0.5, 6.0))},
    ],
)
def test_scenes_are_drawn_again_from_what_features_say(options):
    data = Scenes(n=3, **options)
    again = redraw(of(data))
    assert again.fingerprint() == data.fingerprint()
    assert (again.batch([1]).inputs["depth"] == data.batch([1]).inputs["depth"]).all() and again.groups == data.groups


def test_redrawn_scenes_are_those_that_were_extracted(features, drawn):
    batch = drawn.batch([5, 17])
    assert list(batch.ids) == features.samples["id"][[5, 17]].tolist()
    areas = np.stack([(batch.labels == k).float().mean((1, 2)).numpy() for k in range(len(drawn.classes))], 1)
    assert np.allclose(areas, features.areas[[5, 17], : len(drawn.classes)], atol=1e-6)


def test_other_data_and_other_versions_cannot_be_drawn_again():
    with pytest.raises(ValueError, match="`features` must be of planted scenes.*here is of 'nyuv2'"):
        redraw(of(Scenes(n=1), name="nyuv2"))
    with pytest.raises(ValueError, match=f"version {VERSION}; here has {VERSION + 1}"):
        redraw(of(Scenes(n=1), version=VERSION + 1))


def test_the_best_unit_is_that_of_one_half_and_its_s_that_of_the_other(features):
    found = best_unit(features, "sum", "depth", 3)
    x, half = features.responses("sum", "depth", 3, "depth"), stats.group_folds(features.groups, 2)
    ours = features.present[:, features.concepts["name"].tolist().index(found.concept)]

    def s(rows, there):  # by counting ranks
        ranks, k = rankdata(x[rows], axis=0), there[rows].sum()
        return 2 * (ranks[there[rows]].sum(0) - k * (k + 1) / 2) / (k * (rows.sum() - k)) - 1

    assert np.isclose(found.s, s(half == 1, ours)[found.unit]) and found.low < found.s <= found.high
    told = [np.abs(s(half == 0, there)) for there in features.present.T if 50 <= there.sum() <= len(x) - 50]
    assert np.isclose(np.max(told), np.abs(s(half == 0, ours))[found.unit])


def test_luck_is_not_taken_for_telling():
    found = [best_unit(noise(seed=seed), "mine", "rgb") for seed in range(12)]
    assert abs(np.mean([abs(f.s) for f in found])) < 0.12  # what one unit and one concept give by chance
    assert np.mean([f.low <= 0 <= f.high for f in found]) >= 0.75


def test_the_level_is_chosen_too_and_a_unit_can_be_asked_what_it_tells(features):
    by_level = [best_unit(features, "sum", "depth", level, concepts=["niche"]) for level in (1, 2, 3, 4)]
    every = best_unit(features, "sum", "depth", concepts=["niche"])
    assert every in by_level and every.s >= max(u.s for u in by_level) - 0.05
    asked = best_unit(features, "sum", "depth", every.level, unit=every.unit)
    assert (asked.unit, asked.concept) == (every.unit, "niche")
    assert best_unit(features, "twins", "rgb", 2).run == features.find(fusion="rgb", role="final")[0]


@pytest.mark.parametrize(
    "run, stream, options, message",
    [
        ("sum", "rbg", {}, "`stream` must be one of .*rgb.*got 'rbg'. Nearest: rgb"),
        ("twins", "fused", {}, "`stream` must be one of rgb, depth, those of twins; got 'fused'"),
        ("sum", "rgb", {"level": 9}, "`level` must be one of 1, 2, 3, 4, those of sum-s.*; got 9"),
        ("sum", "rgb", {"unit": 3}, "`level` must be one of .*; got None"),
        ("sum", "rgb", {"level": 1, "unit": 99}, "`unit` must be in 0…31; got 99"),
        ("sum", "rgb", {"level": 1, "unit": -1}, "`unit` must be in 0…31; got -1"),
        ("sum", "rgb", {"concepts": ["nich"]}, "`concepts` must be names.*got 'nich'. Nearest: niche"),
        ("sum", "rgb", {"concepts": []}, "`concepts` must name at least one"),
        ("sum", "rgb", {"concepts": ["black", "black"]}, "`features` must show one of the concepts often enough"),
        ("sum", "fused", {}, "has no 'fused/1/both'; nearest"),
        ("sun", "rgb", {}, "`run` must be a run id"),
    ],
)
def test_errors_name_what_there_is(features, run, stream, options, message):
    with pytest.raises((ValueError, FeaturesError), match=message):
        best_unit(features, run, stream, **options)


def test_one_rare_concept_has_no_s_and_is_drawn_all_the_same(features, drawn):
    unit = best_unit(features, "sum", "rgb", 1, unit=0, concepts=["black"])
    assert np.isnan([unit.s, unit.low, unit.high]).all()
    assert "too few images for s" in plots.gallery_text(features, unit)
    plots.gallery(features, drawn, unit)


def test_the_images_are_those_with_the_strongest_and_weakest_responses(features, drawn):
    unit = best_unit(features, "sum", "rgb", 3)
    strong, weak = plots.extremes(features, unit, 4)
    order = np.argsort(features.responses("sum", "rgb", 3, "rgb")[:, unit.unit], kind="stable")
    x = unit.responses(features)
    assert x[strong].tolist() == x[order[::-1][:4]].tolist() and weak == order[:2].tolist()
    ax = plots.gallery(features, drawn, unit)
    batch = drawn.batch(strong + weak)
    for i, (colour, depth) in enumerate(zip(ax.images[::2], ax.images[1::2], strict=True)):
        assert np.array_equal(colour.get_array(), batch.inputs["rgb"][i].movedim(0, -1).numpy())
        assert np.array_equal(depth.get_array(), batch.inputs["depth"][i, 0].numpy())
        assert colour.get_extent()[:2] == depth.get_extent()[:2] and colour.get_extent()[2] < depth.get_extent()[3]


def test_a_gallery_brings_the_images_that_it_shows(features, drawn):
    unit = best_unit(features, "sum", "rgb", 3)
    strong, weak = plots.extremes(features, unit, 4)
    table = plots.table_of(plots.gallery(features, drawn, unit).figure)
    assert table["image"].tolist() == features.samples["id"].iloc[strong + weak].tolist()
    assert table["response"].tolist() == unit.responses(features)[strong + weak].tolist()
    assert table["shown as"].tolist() == ["strongest"] * 4 + ["weakest"] * 2 and set(table["unit"]) == {unit.unit}


def test_no_group_is_shown_twice():
    grouped = noise(n=40)
    grouped.groups = np.repeat(np.arange(10), 4)
    grouped.responses = lambda *_: np.arange(40.0)[:, None]
    assert plots.extremes(grouped, Unit("mine", "rgb", 1, "rgb", 0, "k0", 0, 0, 0, 20), 3) == ([39, 35, 31], [0, 4])


@pytest.mark.parametrize(
    "stream, concept, full",
    [("depth", "niche", [False, True]), ("rgb", "rug", [True, False]), ("rgb", "ball", [True, True])],
)
def test_lines_surround_the_concept_and_are_full_in_the_modality_that_shows_it(features, drawn, stream, concept, full):
    unit = best_unit(features, "sum", stream, 3, concepts=[concept])
    ax = plots.gallery(features, drawn, unit)
    strong, weak = plots.extremes(features, unit)
    masks = (drawn.batch(strong + weak).labels == drawn.classes.index(concept)).numpy()
    lines = iter(ax.collections)
    for i, mask in enumerate(masks):
        for row in range(2 if mask.any() else 0):
            line, (left, right, lower, upper) = next(lines), ax.images[2 * i + row].get_extent()
            high, wide = mask.shape
            across, down = np.meshgrid((np.arange(wide) + 0.5) / wide, (np.arange(high) + 0.5) / high)
            at = np.column_stack([left + across.ravel() * (right - left), upper + down.ravel() * (lower - upper)])
            inside = line.get_paths()[0].contains_points(at).reshape(mask.shape)
            assert (inside == mask).mean() > 0.995 and (inside & mask).sum() > 0.8 * mask.sum()
            assert (line.get_linestyle()[0][1] is None) == full[row]
    assert masks.any() and next(lines, None) is None


def test_histograms_are_of_all_images_with_and_without_the_concept(features, drawn):
    unit = best_unit(features, "sum", "depth", 4)
    (small,) = plots.gallery(features, drawn, unit).child_axes
    there = features.present[:, features.concepts["name"].tolist().index(unit.concept)]
    said = [text.get_text() for text in small.texts]
    assert said == [f"without it ({(~there).sum()})", f"with {unit.concept} ({there.sum()})"]


def test_other_images_are_refused(features):
    unit = best_unit(features, "sum", "depth", 4)
    own = features.manifest["fingerprint"]["seed"]
    message = rf"got scenes with n=20, seed={own + 1}, and .* of scenes with n=600, seed={own}.*redraw\(features\)"
    with pytest.raises(ValueError, match=message):
        plots.gallery(features, Scenes(n=20, seed=own + 1), unit)
    for count in (0, 601):
        with pytest.raises(ValueError, match=f"`count` must be in 1…600, the number of groups; got {count}"):
            plots.gallery(features, redraw(features), unit, count=count)


def test_draws_several_units_and_into_given_axes(features, drawn):
    units = [best_unit(features, "sum", stream, 4) for stream in ("rgb", "depth")]
    ax = plt.subplots()[1]
    assert plots.gallery(features, drawn, units, ax, count=1) is ax
    assert len(ax.images) == 8 and len(ax.child_axes) == 2


def test_words_say_what_is_counted(features):
    unit = best_unit(features, "sum", "depth", 4, concepts=["niche"])
    there = features.present[:, features.concepts["name"].tolist().index("niche")]
    strong, weak = plots.extremes(features, unit, 4)
    text = plots.gallery_text(features, unit, 4)
    assert f"{there[strong].sum()} of the 4 images with the strongest mean response hold niche" in text
    assert f"{there[weak].sum()} of the 2 images with the weakest" in text
    assert f"Unit {unit.unit} of the depth stream at level 4" in text and f"s = {unit.s:.2f}" in text


def test_explorer_has_a_page_for_each_kind_and_level(features, drawn):
    box = widgets.gallery(features, drawn, "sum", ["depth", "both"], count=1)
    assert linked(box) and box.children[0].options == ("planted in depth only", "planted in both")
    rows = box.children[1].children
    assert all(linked(row) and row.children[0].options == ("1", "2", "3", "4") for row in rows)
    for level, widget in enumerate(rows[0].children[1].children, 1):
        alt, data = page(widget)
        for stream in ("rgb", "depth"):
            names = features.concepts.query("kind == 'depth'")["name"]
            assert plots.gallery_text(features, best_unit(features, "sum", stream, level, concepts=names), 1) in alt
        assert len(data) < widgets.LARGEST and not re.search("nan", alt)
    with pytest.raises(ValueError, match="`kinds` must be among unknown, rgb.*got 'smell'"):
        widgets.gallery(features, drawn, "sum", ["smell"])
