"""More than two modalities: questions about two are asked of all pairs, what one is worth of all sets of them."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch

import rgbd_insight as ri
from rgbd_insight import plots
from rgbd_insight.extraction import extract
from rgbd_insight.features import FeaturesError
from rgbd_insight.questions.networks import neighbours_of
from tests._toy import Three, ThreeNet

N = 240
NAMES = ("rgb", "depth", "thermal")
SETS = ("rgb+depth", "rgb+thermal", "depth+thermal")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    out = tmp_path_factory.mktemp("three") / "f"
    options = {"batch_size": 64, "progress": False, "device": "cpu"}
    for seed in (0, 1):
        found = extract(ThreeNet(seed), Three(N), out=out, **options)
    return found


def test_every_set_of_inputs_is_a_condition(three):
    assert three.conditions("sum") == ("both", *NAMES, *SETS, "none")
    rows = range(N)
    own, partner = Three(N).batch(rows), Three(N).batch(ri.features.partners(Three(N).groups, 3)[0].tolist())
    given = own.inputs | {"depth": partner.inputs["depth"]}
    with torch.no_grad():
        guess = ThreeNet()(*given.values()).argmax(1)
    hit = ((guess == own.labels) & (own.labels != 255)).flatten(1).sum(1)
    assert np.array_equal(three.predictions("sum", "rgb+thermal")["hit"].sum(1), hit)


def test_isolated_responses_have_guests_in_all_other_inputs(three):
    data = Three(N)
    hosts = ri.features.guests(data.groups, 4).table
    own = data.batch(range(N))
    with torch.no_grad():
        model, maps = ThreeNet(), []
        for row in hosts:
            model.fuse.register_forward_hook(lambda module, given, out: maps.append(out))
            model(*(data.batch(row.tolist()).inputs | {"thermal": own.inputs["thermal"]}).values())
            model.fuse._forward_hooks.clear()
    expected = torch.stack(maps).mean((0, 3, 4)).numpy()
    np.testing.assert_allclose(three.responses("sum", "fused", 1, "thermal"), expected, rtol=1e-4, atol=1e-5)


def test_questions_about_two_are_asked_of_every_pair(three):
    found = ri.consistency(three, "sum", measures=["cka"], permutations=20)
    assert [tuple(row) for row in found.rows("cka")[["modality", "versus"]].to_numpy()] == list(combinations(NAMES, 2))
    alone = ri.consistency(three.pair("rgb", "thermal"), "sum", measures=["cka"], permutations=20)
    both = [r.one("cka", modality="rgb", versus="thermal")[["value", "low", "null"]] for r in (found, alone)]
    assert both[0].equals(both[1])
    labels = ri.specificity(three, "sum", levels=[1], measures=["decodability", "label"])
    told = labels.rows("label")
    assert set(map(tuple, told[["modality", "versus"]].to_numpy())) == set(combinations(NAMES, 2))
    decoded = labels.rows("decodability")[["modality", "versus"]]
    assert set(map(tuple, decoded.to_numpy())) == set(permutations(NAMES, 2))
    assert labels.rows("decodability", concept="left", modality="thermal")["value"].min() > 0.9


def test_pairs_share_groups_and_are_made_once(three):
    pair = three.pair("depth", "thermal")
    assert pair is three.pair("depth", "thermal") and [m.name for m in pair.modalities] == ["depth", "thermal"]
    assert pair.pair("rgb", "depth").whole is three and [m.name for m in three.modalities] == list(NAMES)
    assert neighbours_of(pair) is neighbours_of(three)
    with pytest.raises(FeaturesError, match="two of rgb, depth, thermal; got 'rgb' and 'rgb'"):
        three.pair("rgb", "rgb")


def test_what_a_modality_is_worth_is_exact_over_all_sets(three):
    found = ri.collaboration(three, "sum", measures=["accuracy", "utilisation"])
    v = {frozenset(NAMES): "both", frozenset(): "none"} | {frozenset(s.split("+")): s for s in (*NAMES, *SETS)}
    v = {kept: found.one("accuracy", condition=name, fusion="sum").value for kept, name in v.items()}
    for name in NAMES:  # by all orders in which inputs may come
        gains = []
        for order in permutations(NAMES):
            before = frozenset(order[: order.index(name)])
            gains.append(v[before | {name}] - v[before])
        assert found.one("utilisation", label="Shapley", modality=name).value == pytest.approx(np.mean(gains))
        lost = v[frozenset(NAMES)] - v[frozenset(NAMES) - {name}]
        assert found.one("utilisation", label="conditional", modality=name).value == pytest.approx(lost)
    shares = found.rows("utilisation", label="Shapley")["value"].sum()
    assert shares == pytest.approx(v[frozenset(NAMES)] - v[frozenset()])
    for a, b in combinations(NAMES, 2):
        (c,) = set(NAMES) - {a, b}
        extra = [v[rest | {a, b}] - v[rest | {a}] - v[rest | {b}] + v[rest] for rest in (frozenset(), frozenset({c}))]
        one = found.one("utilisation", label="interaction", modality=a, versus=b)
        assert one.value == pytest.approx(np.mean(extra))
    ax = plots.utilisation(found)
    assert {"rgb and thermal", "thermal"} <= {text.get_text() for text in ax.get_legend().get_texts()}
