"""More modalities than can be removed in every way: which sets are recorded, and Shapley values from sampled orders."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

import rgbd_insight as ri
from rgbd_insight.extraction import extract
from rgbd_insight.extraction.blocks import check_conditions
from rgbd_insight.features import Modality, orders, subsets, usual_subsets
from rgbd_insight.hooks import Tap
from rgbd_insight.questions.losses import run_of
from rgbd_insight.questions.networks import networks
from tests._toy import ToyData

NAMES = ("rgb", "depth", "heat", "near", "polar", "event")


class Many(ToyData):
    """Six inputs; the further four are noise, and the classes again, each more faintly than the last."""

    name = "many"
    modalities = (*ToyData.modalities, *(Modality(name, "", -9, 9, 1) for name in NAMES[2:]))

    def batch(self, indices):
        batch = super().batch(indices)
        draws = [torch.randn(4, *self.size, generator=torch.Generator().manual_seed(10**6 + i)) for i in indices]
        faint = torch.tensor([2.0, 1.0, 0.5, 0.2])[:, None, None] * batch.labels.clamp_max(3)[:, None]
        more = (torch.stack(draws) + faint).clamp(-9, 9)
        return replace(batch, inputs=batch.inputs | {name: more[:, [i]] for i, name in enumerate(NAMES[2:])})


class ManyNet(nn.Module):
    """Scores from the sum of all inputs, through something that is not linear."""

    fusion, seed, epoch = "many", 0, 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.each = nn.ModuleList(nn.Conv2d(3 if name == "rgb" else 1, 4, 1) for name in NAMES)
        self.fuse, self.head = nn.Tanh(), nn.Conv2d(4, 3, 1)

    def taps(self):
        return [Tap(name, 1, f"each.{i}") for i, name in enumerate(NAMES)]

    def forward(self, *inputs):
        return self.head(self.fuse(sum(each(x) for each, x in zip(self.each, inputs, strict=True))))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out, data = tmp_path_factory.mktemp("many"), Many(60)
    options = {"batch_size": 60, "draws": 1, "progress": False, "device": "cpu"}
    every = ["both", *subsets(NAMES), "none"]
    usual = extract(ManyNet(), data, out=out / "usual", **options)
    return usual, extract(ManyNet(), data, out=out / "every", conditions=every, **options)


def test_up_to_four_modalities_every_set_is_usual_and_of_more_few():
    for count in range(2, 17):
        names = [f"m{i}" for i in range(count)]
        some = usual_subsets(names)
        assert len(set(some)) == len(some) <= (2**count - 2 if count <= 4 else 12 * count - 30)
        if count <= 4:
            assert some == subsets(names)
            continue
        sets = {frozenset(kept.split("+")) for kept in some} | {frozenset(), frozenset(names)}
        assert all({n} in sets and {*names} - {n} in sets for n in names)
        assert all(frozenset(order[:k]) in sets for order in orders(names) for k in range(count + 1))
        assert all([n for n in names if n in kept.split("+")] == kept.split("+") for kept in some)  # in their order


def test_any_set_may_still_be_named_and_another_word_may_not():
    data, model = Many(4), ManyNet()
    named = ["rgb+depth+polar", "rgb+heat:mean", "none:zero", "both"]
    assert check_conditions(named, data, model, model.taps(), predicts=True)[0] == named
    for wrong in ("depth+rgb", "both:zero", "rgb+rgb", "+".join(NAMES), "rgb:blur", "rgb:", ""):
        with pytest.raises(ValueError, match="`conditions` must be one of"):
            check_conditions([wrong], data, model, model.taps(), predicts=True)


def naive(features, name):
    """The Shapley value by the formula, and the mean over the orders that were drawn."""
    run = run_of(networks(features, "many"))

    def v(kept):
        kept = [n for n in NAMES if n in kept]
        counts = features.predictions(run, "both" if len(kept) == 6 else "+".join(kept) or "none")
        return (counts["hit"].sum(0) / counts["target"].sum(0)).mean()

    rest = [n for n in NAMES if n != name]
    exact = sum(
        math.factorial(k) * math.factorial(5 - k) / math.factorial(6) * (v({*some, name}) - v(some))
        for k in range(6)
        for some in combinations(rest, k)
    )
    gains = [v({*order[: order.index(name)], name}) - v(order[: order.index(name)]) for order in orders(NAMES)]
    return exact, np.array(gains)


def test_sampled_shapley_values_hold_the_exact_ones(found):
    usual, every = found
    assert len(usual.conditions("many")) < len(every.conditions("many")) == 64
    sampled, exact = (ri.collaboration(features, "many", measures=["utilisation"]) for features in found)
    assert not exact.missing and [m.what for m in sampled.missing] == [
        "interactions and exact Shapley values of many-s0-e1"
    ]
    assert set(exact.table.label) == {"conditional", "Shapley", "interaction"} == {*sampled.table.label, "interaction"}
    wider = []
    for name in NAMES:
        truth, gains = naive(every, name)
        whole, drawn = (found.one("utilisation", modality=name, label="Shapley") for found in (exact, sampled))
        assert whole.value == pytest.approx(truth) and drawn.value == pytest.approx(gains.mean())
        assert drawn.low <= truth <= drawn.high
        error = 2.776 * gains.reshape(-1, 2).mean(1).std(ddof=1) / 5**0.5  # t of four degrees of freedom
        assert drawn.value - drawn.low > error > 0
        wider.append((drawn.high - drawn.low) / (whole.high - whole.low))
    assert np.median(wider) > 1
    total = sampled.rows("utilisation", label="Shapley").value.sum()  # what every order adds up to
    assert total == pytest.approx(exact.rows("utilisation", label="Shapley").value.sum())
