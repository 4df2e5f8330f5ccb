"""Information about concepts against determinants and a plain regression, and what is planted against what is found."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_predict

from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics.information import Information, excess_synergy, information_decomposition
from rgbd_insight.stats.groups import group_folds


def bits_of_determinants(target, streams):
    """Mutual information of jointly normal variables: ½ log₂ |Σ_s| |Σ_z| / |Σ_sz|."""
    z = np.hstack(streams)
    return [
        0.5 * np.log2(s.var(ddof=1) * np.linalg.det(np.atleast_2d(np.cov(z.T))) / np.linalg.det(np.cov(np.c_[s, z].T)))
        for s in target.T
    ]


def streams(n, seed=0):
    rng = np.random.default_rng(seed)
    cues = rng.normal(size=(n, 3))
    x = cues[:, :2] @ rng.normal(size=(2, 4)) + rng.normal(size=(n, 4))
    y = cues[:, 1:] @ rng.normal(size=(2, 3)) + rng.normal(size=(n, 3))
    return np.c_[cues, cues.sum(1)], x, y


def test_information_is_that_of_determinants_where_images_are_many():
    concepts, x, y = streams(20_000)
    found = information_decomposition(concepts, x, y, np.arange(20_000))
    for value, parts in ((found.first, [x]), (found.second, [y]), (found.together, [x, y])):
        assert value == pytest.approx(bits_of_determinants(concepts, parts), abs=0.01)


def test_information_is_held_out():
    concepts, x, y = streams(300)
    groups = np.arange(300) // 3
    fold = group_folds(groups, 5, 0)
    splits = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(5)]
    guess = cross_val_predict(LinearRegression(), np.hstack([x, y]), concepts, cv=splits)
    r2 = 1 - ((concepts - guess) ** 2).sum(0) / ((concepts - concepts.mean(0)) ** 2).sum(0)
    found = information_decomposition(concepts, x, y, groups)
    assert found.together == pytest.approx(-0.5 * np.log2(1 - r2), abs=0.03)


def test_the_parts_add_up_and_are_the_minimum_and_what_is_beyond_it():
    found = Information(np.array([1.0, 0.2, np.nan]), np.array([0.4, 0.5, np.nan]), np.array([2.0, 0.4, np.nan]))
    parts = [found.redundant, found.unique_first, found.unique_second, found.synergistic]
    wanted = [[0.4, 0.2], [0.6, 0.0], [0.0, 0.3], [1.0, -0.1]]
    np.testing.assert_allclose(np.array(parts)[:, :2], wanted)
    np.testing.assert_allclose(np.sum(parts, axis=0)[:2], found.together[:2])
    assert found.level == pytest.approx(np.sum(wanted, axis=1) / 2.4)
    nothing = np.zeros(3)
    assert np.isnan(Information(nothing, nothing, nothing).level).all()


def test_only_conjunctions_have_excess_synergy_though_every_shared_concept_has_some_by_noise():
    world = World(Knobs(n=1000, noise=0.6, concepts=12), 3)
    rgb, depth = world.streams("rgb", [0, 1]), world.streams("depth", [0, 1])
    plain = information_decomposition(world.areas, rgb[0], depth[0], world.groups).synergistic
    excess = excess_synergy(world.areas, rgb, depth, world.groups)
    assert (plain[world.kinds == "both"] > 0.1).all()
    assert (excess[world.kinds == "together"] > 0.2).all() and (excess[world.kinds != "together"] < 0.05).all()


def test_what_is_redundant_unique_and_absent_is_found_so():
    world = World(Knobs(n=1000, noise=0.3, concepts=12), 3)
    found = information_decomposition(world.areas, world.stream("rgb"), world.stream("depth"), world.groups)
    kinds = world.kinds
    assert found.redundant[kinds == "both"].min() > 0.4 > 0.1 > found.redundant[np.isin(kinds, ["rgb", "depth"])].max()
    assert found.unique_first[kinds == "rgb"].min() > 0.4 and found.unique_second[kinds == "rgb"].max() < 0.1
    assert found.together[kinds == "neither"].max() < 0.1


def test_two_networks_of_each_modality_are_asked_for():
    concepts, x, y = streams(60)
    with pytest.raises(ValueError, match="two networks each; got 1 and 2"):
        excess_synergy(concepts, [x], [y, y], np.arange(60))
