"""The planted scenes: the same picture always, and visible exactly where it was planted to be."""

import numpy as np
import pytest
import torch

from rgbd_insight.data import Scenes, Sensor
from rgbd_insight.data.catalogue import CAMOUFLAGED, FLAT, GRADED, ORDINARY, TAGS, THINGS, visibilities


def test_a_scene_is_the_same_picture_in_every_batch_and_order():
    data = Scenes(n=20, seed=3)
    alone, among = data.batch([7]), data.batch([2, 7, 19])
    for one, other in zip(
        (*alone.inputs.values(), alone.labels, alone.concepts),
        (*among.inputs.values(), among.labels, among.concepts),
        strict=True,
    ):
        assert torch.equal(one[0], other[1])


def test_seeds_and_splits_share_no_scene():
    first = Scenes(n=1, seed=0, split="test").batch([0]).inputs["rgb"]
    assert not torch.equal(first, Scenes(n=1, seed=1, split="test").batch([0]).inputs["rgb"])
    assert not torch.equal(first, Scenes(n=1, seed=0, split="train").batch([0]).inputs["rgb"])


@pytest.mark.parametrize("thing", [item.name for item in THINGS])
def test_toggling_a_thing_changes_only_the_modalities_that_show_it(thing):
    data = Scenes(n=24, seed=1, split="pairs", toggle=thing)
    batch = data.batch(range(48))
    rgb = (batch.inputs["rgb"][::2] - batch.inputs["rgb"][1::2]).abs().flatten(1).amax(1) > 0  # (24,) by scene
    depth = (batch.inputs["depth"][::2] - batch.inputs["depth"][1::2]).abs().flatten(1).amax(1) > 0
    planted = next(c for c in data.concepts if c.name == thing)
    if planted.kind == "together":
        assert rgb.all() and depth.all()
        return
    for changed, visible in ((rgb, planted.visible["rgb"]), (depth, planted.visible["depth"])):
        if visible in (0, 1):
            assert changed.all() == bool(visible) and changed.any() == bool(visible)
        else:
            assert abs(changed.float().mean() - visible) < 0.35  # 24 draws
    label = data.classes.index(thing)
    assert (batch.labels[::2] == label).flatten(1).any(1).all()
    assert not (batch.labels[1::2] == label).any()


def test_tags_are_shown_by_nothing():
    data = Scenes(n=400, seed=2)
    batch = data.batch(range(400))
    brightness, distance = batch.inputs["rgb"].mean((1, 2, 3)), batch.inputs["depth"].mean((1, 2, 3))
    for name in TAGS:
        k = next(i for i, c in enumerate(data.concepts) if c.name == name)
        there = (batch.concepts == k).flatten(1).any(1)
        assert 60 < there.sum() < 140
        for cue in (brightness, distance):
            gap = cue[there].mean() - cue[~there].mean()
            assert abs(gap) < 4 * cue.std() * (1 / there.sum() + 1 / (~there).sum()).sqrt()


def test_every_kind_has_enough_concepts():
    kinds = [c.kind for c in Scenes(n=1).concepts]
    for kind in ("rgb", "depth", "both", "neither"):
        assert kinds.count(kind) >= 6
    assert kinds.count("together") == 2 and kinds.count("graded") == len(GRADED) == 5


def test_graded_cues_are_drawn_as_often_as_planted_and_are_nested():
    data = Scenes(n=600, seed=4)
    plans = [data._plan(i) for i in range(600)]
    for offset, (_, rgb, depth) in enumerate(GRADED):
        thing = len(FLAT) + len(CAMOUFLAGED) + len(ORDINARY) + offset
        shown = np.array(
            [(p.colour[p.slot == thing][0], p.relief[p.slot == thing][0]) for p in plans if (p.slot == thing).any()]
        )
        assert abs(shown[:, 0].mean() - rgb) < 0.12 and abs(shown[:, 1].mean() - depth) < 0.12
        better = shown[:, 0] if rgb >= depth else shown[:, 1]
        assert not (shown.any(1) & ~better).any()  # the weaker cue never comes alone


def test_conjunctions_need_both_halves():
    data = Scenes(n=400, seed=5)
    batch = data.batch(range(400))
    plans = [data._plan(i) for i in range(400)]
    for thing in (len(THINGS) - 2, len(THINGS) - 1):
        label = 3 + thing
        there = (batch.labels == label).flatten(1).any(1).numpy()
        halves = np.array([[(p.colour & (p.slot == thing)).any(), (p.relief & (p.slot == thing)).any()] for p in plans])
        assert (there == halves.all(1)).all()
        assert 0.17 < there.mean() < 0.33
        assert 0.4 < halves[~there, 0].sum() / halves[:, 0].sum() < 0.6


def test_visibility_masks_lie_within_the_things_and_follow_the_cue():
    data = Scenes(n=60, seed=6)
    batch, masks = data.batch(range(60)), data.visibility(range(60))
    flat = [data.classes.index(item.name) for item in FLAT]
    region = torch.isin(batch.labels, torch.tensor(flat))
    assert (masks[:, 0] & region).sum() == region.sum() and not (masks[:, 1] & region).any()


def test_co_occurrence_ties_presence_and_keeps_its_rate():
    def both(c):
        data = Scenes(n=500, seed=7, co_occurrence=c)
        plans = [data._plan(i) for i in range(500)]
        there = np.array([[(p.slot == t).any() for t in (0, len(FLAT))] for p in plans])
        return np.corrcoef(there.T)[0, 1], there.mean(0)

    (loose, rates), (tied, tied_rates) = both(0.0), both(0.7)
    assert abs(loose) < 0.15 and tied > 0.5
    assert np.abs(rates - 0.25).max() < 0.07 and np.abs(tied_rates - 0.25).max() < 0.07


@pytest.mark.parametrize("share", [0.0, 1 / 3, 2 / 3, 1.0])
def test_redundancy_is_the_share_of_things_that_both_show(share):
    kinds = [kind for kind, _, _ in visibilities(share)][:18]
    assert kinds.count("both") == round(18 * share)
    assert abs(kinds.count("rgb") - kinds.count("depth")) <= 1


def test_layout_prior_gives_things_a_favourite_place():
    def places(layout):
        data = Scenes(n=300, seed=8, layout=layout)
        return np.array([np.flatnonzero(p.slot == 0)[0] for p in map(data._plan, range(300)) if (p.slot == 0).any()])

    assert (places(1.0) == 0).mean() > 0.5 > 0.2 > (places(0.0) == 0).mean()


def test_the_sensor_takes_readings_away():
    batch = Scenes(n=3, sensor=Sensor()).batch(range(3))
    assert not batch.valid["depth"].all() and (batch.inputs["depth"][~batch.valid["depth"]] == 0).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"n": 0}, "a whole number from 1 to"),
        ({"split": "tset"}, "the nearest are test"),
        ({"toggle": "bal"}, "the nearest are ball"),
        ({"redundancy": 1.5}, r"\[0, 1\]"),
    ],
)
def test_wrong_arguments_say_what_to_do(wrong, says):
    with pytest.raises(ValueError, match=says):
        Scenes(**({"n": 2} | wrong))


def test_an_index_beyond_the_end_is_named():
    with pytest.raises(ValueError, match="got 5"):
        Scenes(n=5).batch([5])


@pytest.mark.parametrize("thing", ["sign", "bowl", "post", "banner", "rug", "radiator", "ball"])
def test_a_third_camera_shows_what_is_planted_in_it(thing):
    data = Scenes(n=6, seed=5, cameras=3, toggle=thing)
    batch, masks = data.batch(range(12)), data.visibility(range(12))
    assert list(batch.inputs) == ["rgb", "depth", "thermal"] == [m.name for m in data.modalities]
    seen = next(concept.visible for concept in data.concepts if concept.name == thing)
    for m, (name, images) in enumerate(batch.inputs.items()):
        differs = (images[::2] != images[1::2]).flatten(1).any(1)
        assert differs.float().mean() == seen[name]
        assert torch.equal(differs, (masks[::2, m] != masks[1::2, m]).flatten(1).any(1))


def test_a_third_camera_leaves_the_rest_as_it_is():
    two, three = Scenes(n=8, seed=2), Scenes(n=8, seed=2, cameras=3)
    one, other = two.batch(range(8)), three.batch(range(8))
    assert torch.equal(one.labels, other.labels) and two.classes == three.classes
    warm = [k for k, concept in enumerate(three.concepts) if concept.kind == "thermal"]
    rest = ~torch.isin(one.labels, torch.tensor(warm))[:, None]
    for name in ("rgb", "depth"):  # but for things that heat alone shows now
        assert torch.equal(torch.where(rest, one.inputs[name], 0), torch.where(rest, other.inputs[name], 0))
    assert three.fingerprint() == two.fingerprint() | {"cameras": 3}
    with pytest.raises(ValueError, match="`cameras` must be a whole number from 2 to 3; got 4"):
        Scenes(n=1, cameras=4)


@pytest.mark.parametrize("options", [{"redundancy": 0.0}, {"redundancy": 1.0}, {"layout": 1.0, "co_occurrence": 0.9}])
def test_with_every_option_each_camera_shows_what_it_is_said_to(options):
    """Over many scenes: a thing is seen by a camera in as many of its pictures as its visibility there says."""
    data = Scenes(n=240, seed=3, cameras=3, **options)
    seen = {}
    for start in range(0, 240, 60):
        batch, shown = data.batch(range(start, start + 60)), data.visibility(range(start, start + 60))
        for k, name in enumerate(data.classes):
            there = batch.labels == k  # (B, H, W)
            some = there.flatten(1).any(1)
            seen.setdefault(name, []).append((shown & there[:, None])[some].flatten(2).any(2))
    for concept in data.concepts:
        if concept.family != "class" or concept.visible is None or concept.kind == "together":
            continue
        share = torch.cat(seen[concept.name]).float()  # (pictures, 3)
        for m, found in zip(data.modalities, share.mean(0).tolist(), strict=True):
            planted = concept.visible[m.name]
            near = 0 if planted in (0, 1) else 4 * (planted * (1 - planted) / len(share)) ** 0.5
            assert abs(found - planted) <= near, (concept.name, m.name, found, planted)
