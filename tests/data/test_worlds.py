"""Latent worlds: what is planted is what the population has, and what the images show of it."""

import numpy as np
import pytest

from rgbd_insight.data import Knobs, World, drawn
from rgbd_insight.data.worlds import MODALITIES
from rgbd_insight.metrics.partitioning import SHARES, variance_partitioning

MIXED = Knobs(
    n=400,
    width=20,
    other_width=28,
    noise=0.5,
    unit_noise=1.2,
    polysemy=2,
    cooccurrence=0.3,
    layout=0.2,
    coverage=0.6,
    imbalance=0.2,
)


def test_same_seed_gives_the_same_world_and_another_draw_other_images_of_the_same_networks():
    world, again, other = World(MIXED, 4), World(MIXED, 4), World(MIXED, 4, draw=1)
    for m in MODALITIES:
        assert (world.stream(m, 1) == again.stream(m, 1)).all()
        assert not np.isclose(world.stream(m, 1), other.stream(m, 1)).any()
        assert (world.total_specificity(m) == other.total_specificity(m)).all()
    assert (world.areas == again.areas).all() and (world.kinds == again.kinds).all()
    assert not np.isclose(world.stream("rgb", 0), World(MIXED, 5).stream("rgb", 0)).any()


def test_order_of_asking_does_not_matter():
    world, other = World(MIXED, 4), World(MIXED, 4)
    late = world.stream("depth", 1), world.areas
    other.stream("rgb", 0), other.population_cka(("rgb", 0), ("depth", 1))
    assert (other.stream("depth", 1) == late[0]).all() and (other.areas == late[1]).all()


def test_covariances_are_those_of_many_images():
    knobs = Knobs(**{**MIXED.__dict__, "n": 60000, "group_size": 1})
    world = World(knobs, 1)
    x, y = world.stream("rgb", 0), world.stream("depth", 1)
    both = np.cov(np.hstack([x, y]).T)
    assert np.abs(both[:20, :20] - world._covariance(("rgb", 0))).max() < 0.15
    assert np.abs(both[:20, 20:] - world._cross(("rgb", 0), ("depth", 1))).max() < 0.1
    cross, own = both[:20, 20:], (both[:20, :20], both[20:, 20:])
    found = (cross**2).sum() / np.sqrt((own[0] ** 2).sum() * (own[1] ** 2).sum())
    assert world.population_cka(("rgb", 0), ("depth", 1)) == pytest.approx(found, abs=0.01)
    r2 = np.trace(cross.T @ np.linalg.solve(own[0], cross)) / np.trace(own[1])
    assert world.population_predictivity(("rgb", 0), ("depth", 1), 20) == pytest.approx(r2, abs=0.01)
    assert world.population_cka(("rgb", 0), ("rgb", 0)) == pytest.approx(1)
    assert np.allclose(world.areas.var(0), 1, atol=0.05)
    assert world.present.mean() == pytest.approx(0.2, abs=0.01)


def test_cooccurrence_and_likeness_are_what_was_asked_for():
    world = World(Knobs(n=40000, cooccurrence=0.5, likeness=0.6, width=4, other_width=4), 0)
    r = np.corrcoef(world.areas.T)
    assert r[0, 4] == pytest.approx(0.5, abs=0.03) and abs(r[0, 1]) < 0.03  # of one cluster, of two
    groups = world.areas.reshape(-1, 5, world.areas.shape[1])
    assert (groups[:, 0] * groups[:, 1]).mean() == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize("modality", MODALITIES)
def test_truths_are_shares(modality):
    world = World(MIXED, 2)
    for truth in (world.concept_specificity(modality), world.total_specificity(modality)):
        assert ((truth > -1e-9) & (truth < 1 + 1e-9)).all() and truth.std() > 0.05
    shares = world.unit_shares(modality)
    assert np.allclose(shares.sum(1), 1)  # a perfect network of the same modality tells the whole signal
    assert np.allclose(shares[:, 1] + shares[:, 3], world.total_specificity(modality))


def test_pure_units_have_one_share_each():
    world = World(Knobs(pure=True, width=16, other_width=16), 0)
    assert np.allclose(world.unit_shares("rgb"), np.eye(4)[world.types("rgb")], atol=1e-9)
    specificity = world.concept_specificity("rgb")
    assert np.allclose(specificity[0::4], 0) and np.allclose(specificity[1::4], 1)
    assert np.isnan(specificity[2::4]).all()  # no concept at all


def test_the_partitioning_finds_the_planted_shares_of_mixed_units_without_noise():
    world = World(Knobs(n=3000, noise=0.02, polysemy=2, coverage=0.5, private_dims=4, shared_dims=4), 3)
    found = variance_partitioning(
        world.stream("rgb", 0),
        world.areas,
        [world.stream("depth", 1)],
        [world.stream("rgb", 1)],
        world.groups,
        components=64,
    )
    assert found.level == pytest.approx(world.shares("rgb"), abs=0.04)
    assert len(found.level) == len(SHARES)


def test_null_worlds_share_nothing_and_shared_worlds_everything():
    null = World(Knobs(n=20000, width=8, other_width=8, related=False, group_size=1), 0)
    assert np.abs(np.corrcoef(null.stream("rgb").T, null.stream("depth").T)[:8, 8:]).max() < 0.05
    assert null.population_cka(("rgb", 0), ("depth", 0)) == 0
    alike = World(Knobs(nuisance=1.0, private=0.0), 0)
    assert alike.shared_variance == pytest.approx(1) and alike.shared_dimension == 0.5
    apart = World(Knobs(nuisance=1.0, private=0.75, shared_dims=3, private_dims=9), 0)
    assert apart.shared_variance == pytest.approx(0.25) and apart.shared_dimension == 0.25


def test_one_outlier_image_stands_out_in_every_network():
    world, plain = World(Knobs(outlier=20.0), 0), World(Knobs(), 0)
    for m in MODALITIES:
        lengths = np.linalg.norm(world.stream(m), axis=1)
        assert lengths.argmax() == world.outlier and lengths[world.outlier] > 3 * np.median(lengths)
        others = np.delete(np.arange(600), world.outlier)
        assert (world.stream(m)[others] == plain.stream(m)[others]).all()


def test_drawn_knobs_stay_inside_their_ranges():
    rng = np.random.default_rng(0)
    found = [drawn({"noise": [0.3, 0.9], "polysemy": [1, 2, 3], "n": [150, 2000]}, rng, width=7) for _ in range(50)]
    assert all(0.3 <= k.noise <= 0.9 and k.width == 7 for k in found)
    assert {k.polysemy for k in found} == {1, 2, 3} and {k.n for k in found} == {150, 2000}
    with pytest.raises(ValueError, match="`ranges` must name knobs; got colour"):
        drawn({"colour": [1, 2]}, rng)


@pytest.mark.parametrize(
    "wrong", [{"noise": -1.0}, {"coverage": 0.0}, {"n": 10}, {"cooccurrence": 0.7, "layout": 0.3}, {"polysemy": 0}]
)
def test_impossible_knobs_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Knobs(**wrong)
    with pytest.raises(ValueError, match="`modality` must be one of rgb, depth"):
        World().stream("sound")
    with pytest.raises(ValueError, match="`network` below 2"):
        World().stream("rgb", 2)
