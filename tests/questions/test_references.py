"""The questions beside naive references: which networks are compared, under which condition, by which null and ceiling.

Everything is computed a second time from the recorded responses alone, by formulas written out here.
"""

from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest

from rgbd_insight import load, stats
from rgbd_insight.questions import collaboration, consistency, evolution
from rgbd_insight.questions.guests import freed
from rgbd_insight.questions.networks import networks
from rgbd_insight.questions.specificity import decoded

BOOK = Path(__file__).resolve().parents[2] / "book"
LEVEL = 3


@pytest.fixture(scope="module")
def scenes():
    return load(BOOK / "features" / "scenes")


def recorded(features, run, modality, level=LEVEL):
    """Responses of a modality's own stream where only that modality was the scene's own, freed of the guests."""
    return freed(features, run, modality, level).astype(float)


def final(features, fusion):
    return sorted(features.find(fusion=fusion, role="final"))


def naive_cka(x, y):
    """Debiased CKA from U-centred Gram matrices of the images, entry by entry as in the definition."""

    def centred(z):
        k = z @ z.T
        np.fill_diagonal(k, 0)
        n, rows = len(k), k.sum(0)
        k = k - rows[:, None] / (n - 2) - rows / (n - 2) + k.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(k, 0)
        return k

    a, b = centred(x - x.mean(0)), centred(y - y.mean(0))
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def of_seeds(features, network, modality):
    """The views of a modality by all seeds of the twins or of a fused network, in the order of the seeds."""
    runs = final(features, modality if network == "twins" else network)
    return [recorded(features, run, modality) for run in runs]


@pytest.mark.parametrize("network", ["twins", "sum"])
def test_similarity_is_that_of_different_networks_and_the_ceiling_that_of_one_modality(scenes, network):
    row = consistency(scenes, network, levels=[LEVEL], measures=["cka"], permutations=20).one("cka")
    rgb, depth = (of_seeds(scenes, network, m) for m in ("rgb", "depth"))
    pairs = permutations(range(len(rgb)), 2)  # never a network with itself
    assert row.value == pytest.approx(np.mean([naive_cka(rgb[i], depth[j]) for i, j in pairs]), abs=1e-6)
    within = [naive_cka(z[i], z[j]) for z in (rgb, depth) for i, j in combinations(range(len(z)), 2)]
    assert row.ceiling == pytest.approx(np.mean(within), abs=1e-6) and row.ceiling < 0.999


def test_the_null_is_that_of_exchanged_groups(scenes):
    row = consistency(scenes, "twins", levels=[LEVEL], measures=["cka"], permutations=40).one("cka")
    rgb, depth = (of_seeds(scenes, "twins", m) for m in ("rgb", "depth"))
    rng, draws = np.random.default_rng(1), []
    for _ in range(40):  # every scene of these features is a group of one image
        other = rng.permutation(len(rgb[0]))
        draws.append(np.mean([naive_cka(rgb[0], depth[1][other]), naive_cka(rgb[1], depth[0][other])]))
    assert len(set(scenes.groups)) == len(scenes)
    assert row.null == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / np.sqrt(20))
    assert row.null_high == pytest.approx(np.quantile(draws, 0.975), abs=2 * np.std(draws))
    assert row.null_high < row.value


def test_a_view_is_what_one_modality_alone_leads_to(scenes):
    for network in ("twins", "sum", "se"):
        nets = networks(scenes, network)
        for modality in nets.modalities:
            runs = final(scenes, modality if network == "twins" else network)
            views = [nets.view(i, modality, LEVEL) for i in range(len(runs))]
            own = [nets.members[i][modality] for i in range(len(runs))]
            assert sorted(own) == runs
            for run, view in zip(own, views, strict=True):
                kept = scenes.responses(run, modality, LEVEL, modality)
                guests = kept - freed(scenes, run, modality, LEVEL)  # of these features every image had its own
                assert (np.abs(guests).max() > 0) == (network != "twins" and modality == "rgb")
                np.testing.assert_allclose(view, kept - guests)
    nets = networks(scenes, "se")
    run, level = nets.members[0]["rgb"], nets.levels[-1]  # of which the responses to true pairs are kept as well
    with_partner = scenes.responses(run, "rgb", level, "both")
    assert not np.allclose(nets.view(0, "rgb", level), with_partner, rtol=1e-3)
    np.testing.assert_array_equal(scenes.view(run, "rgb", level), scenes.responses(run, "rgb", level, "rgb"))


def test_one_checkpoint_is_divided_into_halves_that_share_no_unit(scenes):
    nets = networks(scenes, "sum")
    alone = type(nets)(scenes, "sum", nets.members[:1] * 2, "split half")
    first, second = (alone.view(i, "rgb", LEVEL) for i in (0, 1))
    whole = nets.view(0, "rgb", LEVEL)
    columns = {column.tobytes() for column in np.ascontiguousarray(whole.T)}
    halves = [{column.tobytes() for column in np.ascontiguousarray(half.T)} for half in (first, second)]
    assert not halves[0] & halves[1] and halves[0] | halves[1] == columns


def test_levels_are_compared_within_one_network(scenes):
    found = evolution(scenes, "twins", levels=[2, 3], measures=["level similarity"], permutations=20)
    for modality in ("rgb", "depth"):
        run = final(scenes, modality)[0]
        want = naive_cka(recorded(scenes, run, modality, 2), recorded(scenes, run, modality, 3))
        assert found.rows(modality=modality, level=2).value.item() == pytest.approx(want, abs=1e-6)


def test_a_checkpoint_is_held_beside_the_end_of_its_own_training_and_the_ceiling_is_another_seeds(scenes):
    found = evolution(scenes, "sum", levels=[LEVEL], measures=["to final"], permutations=20)
    run = final(scenes, "sum")[0]
    for row in found.rows("to final", modality="rgb").itertuples():
        if row.epoch == 0:  # most of this view is its guests': refused
            assert np.isnan([row.value, row.low, row.ceiling]).all()
            continue
        want = naive_cka(recorded(scenes, row.run, "rgb"), recorded(scenes, run, "rgb"))
        assert row.value == pytest.approx(want, abs=1e-6)
        first, second = of_seeds(scenes, "sum", "rgb")
        assert row.ceiling == pytest.approx(naive_cka(first, second), abs=1e-6)


def accuracy(features, run, condition, rows=slice(None)):
    counts = features.predictions(run, condition)
    target = counts["target"][rows].sum(0)
    return (counts["hit"][rows].sum(0)[target > 0] / target[target > 0]).mean()


def test_utilisation_is_what_is_lost_without_a_modality(scenes):
    found = collaboration(scenes, "sum", measures=["utilisation"])
    run = final(scenes, "sum")[0]
    v = {c: accuracy(scenes, run, c) for c in ("both", "rgb", "depth", "none")}
    for own, other in (("rgb", "depth"), ("depth", "rgb")):
        conditional = found.one("utilisation", modality=own, label="conditional").value
        shapley = found.one("utilisation", modality=own, label="Shapley").value
        assert conditional == pytest.approx(v["both"] - v[other])
        assert shapley == pytest.approx((v[own] - v["none"] + v["both"] - v[other]) / 2)
    joint = found.one("utilisation", label="interaction").value
    assert joint == pytest.approx(v["both"] - v["rgb"] - v["depth"] + v["none"])


def test_retention_is_beside_the_twin_of_the_same_seed_and_another_seeds_distance(scenes):
    found = collaboration(scenes, "sum", levels=[LEVEL], measures=["retention"])
    joint = networks(scenes, "sum")
    seed = scenes.entry(joint.members[0]["rgb"])["seed"]
    twins = {scenes.entry(run)["seed"]: recorded(scenes, run, "rgb") for run in final(scenes, "rgb")}
    delta = {s: decoded(joint, x.astype(np.float32)) for s, x in twins.items()}
    mine = decoded(joint, joint.view(0, "rgb", LEVEL))
    names = scenes.concepts["name"].tolist()
    for row in found.rows("retention", modality="rgb").itertuples():
        k = names.index(row.concept)
        assert row.value == pytest.approx(mine[k] - delta[seed][k], abs=1e-6)
        assert row.null_high == pytest.approx(abs(delta[seed][k] - delta[1 - seed][k]), abs=1e-6)


def test_the_interval_is_the_jackknife_over_whole_groups(scenes):
    row = consistency(scenes, "sum", levels=[LEVEL], measures=["cka within"], permutations=20).one("cka within")
    run = final(scenes, "sum")[0]
    x, y = recorded(scenes, run, "rgb"), recorded(scenes, run, "depth")
    block = stats.blocks_of(scenes.groups, 40)
    left = np.array([naive_cka(x[block != b], y[block != b]) for b in range(40)])
    se = np.sqrt(39 / 40 * ((left - left.mean()) ** 2).sum())
    assert row.value == pytest.approx(naive_cka(x, y), abs=1e-6)
    assert (row.high - row.low) / 2 == pytest.approx(2.0227 * se, rel=0.1)  # on whatever scale it is taken
