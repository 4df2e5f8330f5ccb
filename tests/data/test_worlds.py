"""Latent worlds: what is planted is what the population has, and what the images show of it."""

import numpy as np
import pytest

from rgbd_insight.data import Knobs, World, drawn
from rgbd_insight.data.reference import reference, sparse_lognormal
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
    "wrong",
    [{"noise": -1.0}, {"coverage": 0.0}, {"n": 10}, {"cooccurrence": 0.7, "layout": 0.3}, {"polysemy": 0}]
    + [{"law": "cauchy"}, {"tails": 2.0}, {"neighbours": 1.0}, {"label_noise": 0.6}, {"uneven": -0.1}],
)
def test_impossible_knobs_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Knobs(**wrong)
    with pytest.raises(ValueError, match="`modality` must be one of rgb, depth"):
        World().stream("sound")
    with pytest.raises(ValueError, match="`network` below 2"):
        World().stream("rgb", 2)


def test_draws_of_linear_worlds_stay_those_on_which_the_committed_table_was_made():
    world = World(Knobs(n=25, width=2, other_width=2), seed=3, draw=2)
    sums = [float(z.sum()) for z in (world.areas, world.stream("rgb", 1), world.stream("depth", 0))]
    assert np.allclose(sums, [2.0268228119507046, 16.093390575456286, 8.078212337605441], rtol=0, atol=1e-9)
    assert (World(Knobs(tails=np.inf), 1).stream("rgb") == World(Knobs(), 1).stream("rgb")).all()


def test_sparse_latents_are_absent_or_log_normal_with_mean_0_and_variance_1():
    normal = np.random.default_rng(0).normal(size=400_000)
    z = sparse_lognormal(normal, 0.2)
    assert z.mean() == pytest.approx(0, abs=0.01) and z.var() == pytest.approx(1, abs=0.05)
    assert (z > z.min() + 1e-9).mean() == pytest.approx(0.2, abs=0.005)
    size = np.log(z[z > z.min() + 1e-9] - z.min())  # log-normal sizes up to the scale
    assert size.std() == pytest.approx(0.8, abs=0.01)
    assert ((size - size.mean()) ** 3).mean() == pytest.approx(0, abs=0.02)
    order = normal.argsort()
    assert (np.diff(z[order]) >= 0).all()


def test_lognormal_worlds_have_the_covariances_and_the_labels_that_were_asked_for():
    knobs = Knobs(n=60000, width=12, other_width=12, law="lognormal", imbalance=0.2, group_size=1, likeness=0.0)
    world = World(knobs, 1)
    assert world.exact and world.present.mean(0) == pytest.approx(0.2, abs=0.013)
    assert kurtosis(world.latents["rgb"]).mean() > 15 > 0.5 > kurtosis(World(Knobs(n=60000), 1).areas).mean()
    x, y = world.stream("rgb", 0), world.stream("depth", 1)
    both = np.cov(np.hstack([x, y]).T)
    assert np.abs(both[:12, 12:] - world._cross(("rgb", 0), ("depth", 1))).max() < 0.1
    assert np.abs(both[:12, :12] - world._covariance(("rgb", 0))).max() < 0.25


def kurtosis(z):
    z = (z - z.mean(0)) / z.std(0)
    return (z**4).mean(0) - 3


@pytest.mark.parametrize("law", ["normal", "lognormal"])
def test_the_reference_draw_agrees_with_covariances_in_linear_worlds(law):
    knobs = Knobs(width=10, other_width=14, networks=3, polysemy=2, coverage=0.6, law=law, cooccurrence=0.2)
    world, sampled = World(knobs, 2), World(knobs, 2)
    sampled.exact = False
    limit = 0.02 if law == "normal" else 0.04  # of single units; 1 over the root of 20,000 images is .007
    for beside in (None, [1, 2]):
        assert np.abs(sampled.unit_shares("depth", 0, beside) - world.unit_shares("depth", 0, beside)).max() < limit
    assert np.abs(sampled.shares("rgb") - world.shares("rgb")).max() < limit
    assert np.abs(sampled.total_specificity("rgb") - world.total_specificity("rgb")).max() < limit
    nets = ("rgb", 0), ("depth", 1)
    assert sampled.population_cka(*nets) == pytest.approx(world.population_cka(*nets), abs=limit)
    assert sampled.population_predictivity(*nets) == pytest.approx(world.population_predictivity(*nets), abs=limit)


def test_rectified_units_are_those_of_many_images_and_not_linear():
    knobs = Knobs(n=40000, width=8, other_width=8, relu=True, noise=0.3, group_size=1, likeness=0.0)
    world = World(knobs, 4)
    x, y = world.stream("rgb", 0), world.stream("rgb", 1)
    assert not world.exact and x.var(0) == pytest.approx(np.full(8, 1.09), abs=0.06)
    both = np.cov(np.hstack([x, y]).T)
    assert np.abs(both[:8, 8:] - world._cross(("rgb", 0), ("rgb", 1))).max() < 0.05
    assert np.abs(both[:8, :8] - world._covariance(("rgb", 0))).max() < 0.06
    skew = ((x - x.mean(0)) ** 3).mean(0)
    assert (skew > 0.3).all()
    shares = world.unit_shares("rgb")
    assert ((shares.sum(1) > 0.5) & (shares.sum(1) < 0.98)).all()  # the rest of a rectified unit is not linear
    total = world.total_specificity("rgb")
    assert np.allclose(total * shares.sum(1), shares[:, 1] + shares[:, 3], atol=1e-6)
    assert ((total > -0.01) & (total < 1.01)).all()
    plain = World(Knobs(**{**knobs.__dict__, "relu": False}), 4)
    assert (plain.plan.net("rgb", 0).mixing == world.plan.net("rgb", 0).mixing).all()


def test_heavy_tails_have_the_noise_that_was_asked_for():
    world = World(Knobs(n=100_000, width=4, other_width=4, tails=3.0, noise=2.0, nuisance=0.0, group_size=1), 0)
    noise = world.stream("rgb") - world.latents["rgb"] @ world.plan.net("rgb", 0).mixing
    assert np.median(np.abs(noise)) == pytest.approx(2 * 0.7649 / np.sqrt(3), rel=0.02)  # of t with 3 degrees
    assert kurtosis(noise).min() > 10


def test_uneven_groups_have_the_sizes_that_were_asked_for():
    world = World(Knobs(n=600, uneven=1.0), 0)
    _, sizes = np.unique(world.groups, return_counts=True)
    assert (sizes == world.sizes).all() and len(sizes) == 120
    assert sizes.min() == 1 and sizes.max() > 20 and len(world.groups) == pytest.approx(600, rel=0.05)
    assert (np.diff(sizes) != 0).sum() > 60  # in a random order
    half = World(Knobs(n=600, uneven=0.5), 0).sizes
    assert half.min() >= 2 and sizes.max() > half.max() > 10
    first = World(Knobs(n=60_000, uneven=1.0, likeness=0.6, width=4), 0)
    starts = np.flatnonzero(np.diff(first.groups) == 0)
    assert (first.areas[starts] * first.areas[starts + 1]).mean() == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize("asked", [0.0, 0.3, 0.9])
def test_neighbouring_groups_are_as_alike_as_was_asked_for(asked):
    world = World(Knobs(n=40_000, neighbours=asked, likeness=0.5, related=False, width=4), 0)
    for m in MODALITIES:
        z = world.latents[m].reshape(8000, 5, -1)
        for lag in (1, 2):
            across = (z[:-lag, 0] * z[lag:, 1]).mean()  # of the half that an image shares with its group
            assert across == pytest.approx(0.5 * asked**lag, abs=0.02)
        assert (z[:, 0] * z[:, 1]).mean() == pytest.approx(0.5, abs=0.04)
    assert abs((world.latents["rgb"] * world.latents["depth"]).mean()) < 0.01


def test_wrong_labels_are_as_many_as_was_asked_for_and_annotators_err_apart():
    noisy, right = (World(Knobs(n=20_000, width=4, label_noise=r), 0) for r in (0.2, 0.0))
    assert (noisy.present != right.present).mean() == pytest.approx(0.2, abs=0.01)
    r = [np.corrcoef(noisy.areas[:, k], right.areas[:, k])[0, 1] ** 2 for k in range(3)]
    assert r == pytest.approx([0.8] * 3, abs=0.02)
    other = noisy.rated(1)
    both = (noisy.present != right.present) & (other[1] != right.present)
    assert both.mean() == pytest.approx(0.04, abs=0.005)
    assert np.corrcoef(noisy.areas[:, 0], other[0][:, 0])[0, 1] == pytest.approx(0.8, abs=0.02)
    assert (noisy.rated(1)[1] == other[1]).all()
    assert (noisy.unit_shares("rgb") == right.unit_shares("rgb")).all()


def test_the_reference_draw_is_made_once_for_all_draws_of_a_world():
    knobs = Knobs(relu=True, width=4, other_width=4)
    made = reference(knobs, 5)
    World(knobs, 5, draw=1).stream("rgb"), World(knobs, 5, draw=2).stream("rgb")
    assert reference(knobs, 5) is made and set(made.moments) == {("rgb", 0)}


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 1.0])
def test_the_planted_share_of_concepts_is_what_both_show(overlap):
    world = World(Knobs(concept_overlap=overlap, networks=2), 6)
    kinds = world.plan.kinds
    shown = kinds[kinds != "neither"]
    assert len(shown) == 22 and (shown == "both").sum() == round(22 * overlap)
    assert abs((shown == "rgb").sum() - (shown == "depth").sum()) <= 1
    nets = [(m, world.plan.net(m, i).weights ** 2) for m in MODALITIES for i in (0, 1)]
    by_hand = np.mean(
        [
            sum(w[kinds == "both"].sum() for m, w in nets if m == modality)
            / sum(w.sum() for m, w in nets if m == modality)
            for modality in MODALITIES
        ]
    )
    assert world.shared_concepts([0, 1]) == pytest.approx(by_hand)
    assert world.shared_concepts([0, 1]) == pytest.approx(overlap, abs=0.3 if 0 < overlap < 1 else 1e-9)


def test_worlds_without_the_overlap_are_as_they_were():
    assert World(Knobs(), 3).plan.kinds[:4].tolist() == ["both", "rgb", "depth", "both"]
    mixing = World(Knobs(n=25, width=2), 0).plan.net("rgb", 0).mixing
    assert mixing.sum(0).tolist() == [-0.9108172811864684, -0.9197119719325084]  # before there was an overlap
    with pytest.raises(ValueError, match="`concept_overlap` must be from 0 to 1"):
        Knobs(concept_overlap=1.5)
