"""Shares and their yardsticks beside naive references: corrected, of all seeds, and never one form for the other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rgbd_insight import load, stats
from rgbd_insight.metrics import corrected_partitioning, variance_partitioning
from rgbd_insight.metrics.sides import CONCEPTS, PENALTY
from rgbd_insight.questions import balance, consistency, specificity
from rgbd_insight.questions.balance import as_made, corrected_level, corrected_shares
from rgbd_insight.questions.networks import networks
from rgbd_insight.questions.yardstick import yardsticks
from tests.metrics.test_known import naive_known

FEATURES = Path(__file__).resolve().parents[2] / "book" / "features"
LEVEL = 4
SEEDS = range(8)


@pytest.fixture(scope="module")
def two():
    return load(FEATURES / "scenes")


@pytest.fixture(scope="module")
def scenes():
    return load(FEATURES / "scenes", FEATURES / "scenes-twins")


@pytest.fixture(scope="module")
def found(scenes):
    measures = ["consistent share", "yardstick", "share of the known"]
    return consistency(scenes, "twins", levels=[LEVEL], measures=measures)


def recorded(features, modality, seed, level=LEVEL):
    """What the twin of a seed answers to its modality."""
    run = features.find(fusion=modality, seed=seed, role="final")[0]
    return features.responses(run, modality, level, modality).astype(float)


def corrected(features, modality, seeds=SEEDS[1:], level=LEVEL):
    other = {"rgb": "depth", "depth": "rgb"}[modality]
    streams = [[recorded(features, m, s, level) for s in seeds] for m in (other, modality)]
    return corrected_partitioning(recorded(features, modality, 0, level), features.areas, *streams, features.groups)


@pytest.mark.parametrize("modality", ["rgb", "depth"])
def test_shares_are_corrected_and_of_every_other_seed(scenes, found, modality):
    want = corrected(scenes, modality).level  # the networks of seeds 1 to 7: never the one that is divided
    own = specificity(scenes, "twins", levels=[LEVEL], measures=["specific share"])
    value = {
        (kind, label): result.one(f"{kind} share", modality=modality, label=label).value
        for kind, result in (("consistent", found), ("specific", own))
        for label in ("named", "unnamed", "all")
    }
    np.testing.assert_allclose([value["consistent", "named"], value["specific", "named"]], want[:2], atol=1e-9)
    np.testing.assert_allclose([value["consistent", "unnamed"], value["specific", "unnamed"]], want[2:], atol=1e-9)
    assert value["consistent", "all"] + value["specific", "all"] == pytest.approx(1)
    fewer = corrected(scenes, modality, seeds=range(1, 4)).level
    assert abs(fewer - want).max() > 1e-3 and not found.missing and not own.missing
    row = found.one("consistent share", modality=modality, label="all")
    assert row.low < row.value < row.high and np.isnan(row.p) and np.isnan(row.null)


def test_the_network_that_is_divided_is_not_among_those_that_predict(scenes, found):
    """With itself among them a network's own noise would pass for reproducible."""
    nets = networks(scenes, "twins")
    y = nets.view(0, "rgb", LEVEL)
    streams = [x for streams in corrected_level(nets, "rgb", LEVEL).streams for x in streams]
    assert len(streams) == 14 and not any(x.shape == y.shape and np.array_equal(x, y) for x in streams)


def test_of_two_seeds_shares_are_uncorrected_and_say_so(two):
    measures = ["consistent share", "yardstick", "share of the known"]
    answer = consistency(two, "twins", levels=[LEVEL], measures=measures, permutations=20)
    assert set(answer.table.measure) == {"consistent share uncorrected"}
    (missing,) = answer.missing
    assert "two other seeds; there is one" in missing.why and "one more seed of twins" in missing.call
    streams = [recorded(two, m, 1) for m in ("depth", "rgb")]
    plain = variance_partitioning(recorded(two, "rgb", 0), two.areas, streams[:1], streams[1:], two.groups).level
    shared = answer.rows(modality="rgb").set_index("label").value
    np.testing.assert_allclose(shared[["named", "unnamed", "all"]], [plain[0], plain[2], plain[0] + plain[2]])
    own = specificity(two, "twins", levels=[LEVEL], measures=["specific share"])
    assert set(own.table.measure) == {"specific share uncorrected"} and own.missing == answer.missing
    np.testing.assert_allclose(own.rows(modality="rgb", label=["named", "unnamed"]).value, plain[[1, 3]])


def test_the_null_is_that_of_the_uncorrected_share(two):
    answer = consistency(two, "twins", levels=[LEVEL], measures=["consistent share uncorrected"], permutations=20)
    p = answer.table.set_index(["modality", "label"]).p
    assert p["rgb", "all"] == p["depth", "all"] == 1 / 21 and p.drop("all", level=1).isna().all()
    rng, streams = np.random.default_rng(0), [recorded(two, m, 1) for m in ("depth", "rgb")]
    draws = []
    for _ in range(6):  # every scene of these features is a group of one image
        moved = rng.permutation(len(two))
        y, same = recorded(two, "rgb", 0)[moved], streams[1][moved]
        draws.append(variance_partitioning(y, two.areas[moved], streams[:1], [same], two.groups).level[[0, 2]].sum())
    row = answer.one("consistent share uncorrected", modality="rgb", label="all")
    assert row.null == pytest.approx(np.mean(draws), abs=0.01) and max(draws) < row.value


@pytest.mark.parametrize("modality", ["rgb", "depth"])
def test_yardsticks_are_what_they_say(scenes, found, modality):
    other = {"rgb": "depth", "depth": "rgb"}[modality]
    y = recorded(scenes, modality, 0)
    y = y[:, y.std(0) > 0]
    ceiling = np.nansum(corrected(scenes, modality).ceiling)
    kind, family = scenes.concepts["kind"], scenes.concepts["family"]
    both = (kind == "both").to_numpy()
    surfaces = scenes.concepts["name"].isin(["floor", "wall", "ceiling"]).to_numpy()
    assert both.sum() == 6 and surfaces.sum() == 3 and set(family[both]) == {"class"}
    things = {"planted": both, "planted with surfaces": both | surfaces}
    for label, columns in things.items():
        areas = scenes.areas[:, columns]
        want = naive_known(y, scenes.areas, [[areas], [areas]], scenes.groups, CONCEPTS) / ceiling
        assert found.one("yardstick", modality=modality, label=label).value == pytest.approx(want, rel=1e-6)
    every = [np.hstack([recorded(scenes, other, s, level) for level in (1, 2, 3, 4)]) for s in SEEDS[1:]]
    want = naive_known(y, scenes.areas, [every[::2], every[1::2]], scenes.groups, PENALTY) / ceiling
    known = found.one("yardstick", modality=modality, label="known")
    assert known.value == pytest.approx(want, rel=1e-6) and known.low < known.value < known.high
    named = found.one("consistent share", modality=modality, label="named").value
    assert found.one("share of the known", modality=modality).value == pytest.approx(named / known.value)


def test_only_what_both_modalities_show_is_counted_as_planted(scenes, found):
    """Everything that was planted, of whatever kind, would name far more."""
    planted = found.one("yardstick", modality="rgb", label="planted").value
    surfaces = found.one("yardstick", modality="rgb", label="planted with surfaces").value
    areas = scenes.areas[:, scenes.concepts["kind"].ne("unknown").to_numpy()]
    y = recorded(scenes, "rgb", 0)
    every = naive_known(y[:, y.std(0) > 0], scenes.areas, [[areas], [areas]], scenes.groups, CONCEPTS)
    assert every / np.nansum(corrected(scenes, "rgb").ceiling) > planted + 0.05
    assert 0 < planted < surfaces - 0.1  # floor, wall and ceiling are most of what both show


def test_without_planted_things_there_is_what_is_known():
    nyuv2 = load(FEATURES / "nyuv2")
    nets = networks(nyuv2, "twins")
    three = type(nets)(nyuv2, "twins", (*nets.members, nets.members[0]), "other seed")
    assert list(yardsticks(three, "rgb", LEVEL, stats.Resampling(blocks=20))) == ["known"]


def test_older_tables_are_called_what_they_are():
    older = pd.DataFrame({"measure": ["cka", "consistent share", "specific share", "C", "S", "accuracy"]})
    assert as_made(older).measure.str.endswith(" uncorrected").tolist() == [False, True, True, True, True, False]
    newer = pd.DataFrame({"measure": ["C", "C uncorrected"]})
    assert as_made(newer) is newer


def test_c_and_s_are_corrected_ratios_of_sums(scenes, two):
    found = corrected_shares(networks(scenes, "twins"))
    parts, ceiling = np.zeros(4), 0.0
    for modality in ("rgb", "depth"):
        for level in (1, 2, 3, 4):
            one = corrected(scenes, modality, level=level)
            parts, ceiling = parts + np.nansum(one.shares, axis=0), ceiling + np.nansum(one.ceiling)
    assert found["C"].value == pytest.approx(parts[0] / ceiling) and found["S"].value == pytest.approx(
        parts[1] / ceiling
    )
    assert found["C"].low < found["C"].value < found["C"].high
    answer = balance(two, ["twins"])
    assert set(answer.table.measure) == {"C uncorrected", "S uncorrected"} and answer.missing
