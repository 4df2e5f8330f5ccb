"""Utilisation by removal, ablation by dose, swap and (C, S), on features small enough to check by hand."""

import numpy as np
import pytest
import torch

from rgbd_insight.extraction import extract
from rgbd_insight.features import Ablation, load, write_quantised
from rgbd_insight.questions.ablation import ablations, chosen_on
from rgbd_insight.questions.balance import balance, shares
from rgbd_insight.questions.collaboration import collaboration, predicted
from rgbd_insight.questions.losses import REMOVALS, accuracy_estimate, by_dose, iou_estimate
from rgbd_insight.questions.networks import networks
from tests._toy import ToyData, ToyNet

REMOVED = [f"{m}:{how}" for m in ("rgb", "depth", "none") for how in ("zero", "mean", "noise")]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    torch.set_num_threads(1)
    out, data = tmp_path_factory.mktemp("toy"), ToyData(330)
    options = {"batch_size": 110, "draws": 1, "progress": False, "device": "cpu"}
    for seed in (0, 1):
        conditions = ("both", "rgb", "depth", "none", *(REMOVED if seed == 0 else ()))
        extract(ToyNet(seed, width=8), data, out=out / str(seed), conditions=conditions, **options)
    rest = {("rgb", 1): tuple(range(7))}
    sets = [Ablation("specific rgb", {("rgb", 1): (0, 1, 2)}), Ablation("consistent rgb at 87.5%", rest)]
    sets += [Ablation(f"random rgb {i + 1}", {("rgb", 1): (i % 8, (i + 1) % 8, (i + 3) % 8)}) for i in range(99)]
    extract(ToyNet(0, width=8), data, out=out / "0", conditions=sets, **options)
    return load(out / "0", out / "1")


def accuracy(features, condition, rows=slice(None)):
    counts = features.predictions("sum", condition)
    target = counts["target"][rows].sum(0)
    return (counts["hit"][rows].sum(0) / target).mean()


def test_every_removal_has_its_utilisation(toy):
    found = collaboration(toy, "sum", measures=["utilisation by removal", "utilisation"])
    assert set(found.rows("utilisation by removal").condition) == set(REMOVALS) and not found.missing
    for removal in REMOVALS:
        kind = "" if removal == "permuted" else f":{removal}"
        v = {name: accuracy(toy, name if name == "both" else name + kind) for name in ("both", "rgb", "depth", "none")}
        rows = found.rows("utilisation by removal", condition=removal)
        values = {(r.modality, r.label): r.value for r in rows.itertuples()}
        assert values["rgb", "conditional"] == pytest.approx(v["both"] - v["depth"])
        # efficiency: what the two are worth adds up to what the network has above none
        assert values["rgb", "Shapley"] + values["depth", "Shapley"] == pytest.approx(v["both"] - v["none"])
    usual = found.rows("utilisation").value.to_numpy()
    np.testing.assert_array_equal(usual, found.rows("utilisation by removal", condition="permuted").value)


def test_what_was_not_recorded_is_missing_with_the_call(toy):
    nets = networks(toy, "sum-s1-e3")
    found = collaboration(toy, nets.members[0]["rgb"], measures=["utilisation by removal"])
    assert len(found.missing) == 3 and "rgb:zero" in found.missing[0].what + found.missing[0].call
    assert set(found.table.condition) == {"permuted"}


def test_doses_stand_beside_their_random_sets(toy):
    found = collaboration(toy, "sum", measures=["dose"])
    row = found.one("dose", label="specific")
    half = ~chosen_on(networks(toy, "sum"))
    whole = accuracy(toy, "both", half)
    assert row.value == pytest.approx(whole - accuracy(toy, "specific rgb", half))
    random = np.array([whole - accuracy(toy, f"random rgb {i + 1}", half) for i in range(99)])
    assert row.null == pytest.approx(random.mean()) and row.p == pytest.approx((1 + (random >= row.value).sum()) / 100)
    more = found.one("dose", label="consistent")
    assert more.versus == "87.5%" and np.isnan(more.p)  # no random set of that dose was recorded
    assert more.low <= more.value <= more.high
    assert [m.what for m in found.missing] == ["99 random sets of sum-s0-e3"]


def test_dose_on_some_classes_and_one_input(toy):
    rows = by_dose(networks(toy, "sum"), classes=[0], given="both")[0]
    row = next(row for row in rows if row["label"] == "specific")
    half = ~chosen_on(networks(toy, "sum"))
    counts = [toy.predictions("sum", name) for name in ("both", row["label"] + " rgb")]
    one = [c["hit"][half, 0].sum() / c["target"][half, 0].sum() for c in counts]
    assert row["value"] == pytest.approx(one[0] - one[1])
    assert by_dose(networks(toy, "sum"), given="rgb:mean") == ([], [])  # nothing was recorded there
    assert accuracy_estimate(toy, "sum", "both").value == pytest.approx(accuracy(toy, "both"))


def test_ablations_by_dose_and_input(toy):
    made = ablations(toy, "sum", shares=(0.25, 0.5), draws=3, inputs=("both", "depth:mean"))
    by_name = {a.name: a for a in made}
    assert len(by_name) == len(made) == 2 * 2 * 5 + 5  # with the mean for colour: depth's units, a quarter of them
    half, quarter = (by_name[n].units["rgb", 1] for n in ("specific rgb at 50%", "specific rgb"))
    assert set(quarter) < set(half)
    paired = by_name["random depth 2"], by_name["random depth 2 given depth:mean"]
    assert paired[0].units == paired[1].units and paired[1].inputs == "depth:mean"
    with pytest.raises(ValueError, match="`shares` must be in"):
        ablations(toy, "sum", shares=(0.7,))


def test_prediction_never_sees_the_group_it_is_for():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 5)
    noise = rng.normal(size=(20, 40))[groups]  # tells the groups apart, so that a fit that saw them would know y
    y = rng.normal(size=(20, 2))[groups]
    told = predicted(noise, y, groups)
    assert ((told - y) ** 2).sum() > 0.9 * ((y - y.mean(0)) ** 2).sum()
    x = rng.normal(size=(100, 6))
    known = x @ rng.normal(size=(6, 3))
    np.testing.assert_allclose(predicted(x, known, groups), known, atol=0.05)
    assert np.isfinite(predicted(np.ones((100, 2)), known, groups)).all()


def test_swap_keeps_what_the_other_stream_knows(toy):
    found = collaboration(toy, "sum", levels=[1], measures=["swap"])
    assert set(zip(found.table.modality, found.table.versus, strict=True)) <= {("rgb", "depth"), ("depth", "rgb")}
    assert (found.table.low <= found.table.value).all()


def test_c_and_s_are_ratios_of_sums(toy):
    nets = networks(toy, "sum")
    found = shares(nets)
    answer = balance(toy)
    table = answer.table  # two seeds, no twins here: nothing can be corrected, and nothing is called so
    assert len(table) == 4 and set(table.measure) == {"C uncorrected", "S uncorrected"}
    assert [m.what for m in answer.missing] == ["corrected shares of sum"] and "one more seed" in answer.missing[0].call
    row = table[(table.run == "sum-s0-e3") & (table.measure == "C uncorrected")].iloc[0]
    assert row.value == pytest.approx(found["C"].value) and row.low <= row.value <= row.high


def test_a_class_that_is_guessed_and_never_there_counts_nothing(toy, monkeypatch):
    counts = {part: values.copy() for part, values in toy.predictions("sum", "both").items()}
    counts["hit"][:, 2], counts["target"][:, 2], counts["guess"][:, 2] = 0, 0, 5
    monkeypatch.setattr(type(toy), "predictions", lambda *_: counts)
    hit, target, guess = (counts[part].sum(0).astype(float) for part in ("hit", "target", "guess"))
    each = hit / (target + guess - hit)
    found = iou_estimate(toy, "sum", "both").value
    assert found[0] == pytest.approx(each.mean()) and found[0] < each[:2].mean() and found[3] == 0
    counts["guess"][:, 2] = 0  # of a class that is nowhere nothing can be said
    assert iou_estimate(toy, "sum", "both").value[0] == pytest.approx(each[:2].mean())


def test_overlaps_by_hand_and_what_small_copies_leave_out(toy, tmp_path):
    found = collaboration(toy, "sum", measures=["IoU"])
    counts = {part: values.sum(0).astype(float) for part, values in toy.predictions("sum", "both").items()}
    each = counts["hit"] / (counts["target"] + counts["guess"] - counts["hit"])
    rows = found.rows("class IoU", condition="both").set_index("concept").value
    np.testing.assert_allclose(rows[list(toy.classes)], each)
    assert found.one("IoU", condition="both").value == pytest.approx(each.mean()) and not found.missing
    write_quantised(toy, tmp_path / "small", keep=lambda run, key: not key.endswith("guess"))
    small = collaboration(load(tmp_path / "small"), "sum", measures=["IoU"])
    assert small.table.empty and "guesses of" in small.missing[0].what
