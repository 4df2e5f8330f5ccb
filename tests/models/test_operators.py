"""Each operator against its formula, written out in numpy or by position."""

import numpy as np
import pytest
import torch

from rgbd_insight.models import build
from rgbd_insight.models.encoder import Encoder
from rgbd_insight.models.exchange import Cross, Exchange, Gemini, TokenExchange
from rgbd_insight.models.gates import ACNet, SAGate


def maps(width=16, h=4, w=6):
    torch.manual_seed(0)
    return torch.rand(2, 2, width, h, w)  # rgb and depth, each (2, width, h, w)


def dense(layer, x):
    """A 1x1 convolution as a matrix on the last axis of `x`."""
    y = x @ layer.weight[:, :, 0, 0].detach().numpy().T.astype(float)
    return y if layer.bias is None else y + layer.bias.detach().numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def last(x):
    return x.movedim(1, -1).double().numpy()  # (B, h, w, width)


def check(found, expected):
    np.testing.assert_allclose(last(found.detach()), expected, rtol=1e-4, atol=1e-5)


def test_acnet():
    (r, d), before = maps(), torch.rand(2, 8, 8, 12)
    operator = ACNet(16, before=8, stage=lambda: Encoder.stage(2, (8, 16)))
    fused, rgb, depth = operator(r, d, before)
    parts = [
        last(x) * sigmoid(dense(gate.weigh, last(x).mean((1, 2), keepdims=True)))
        for gate, x in ((operator.rgb, r), (operator.depth, d))
    ]
    check(fused, parts[0] + parts[1] + last(operator.branch(before).detach()))
    assert rgb is r and depth is d


def test_sagate():
    r, d = maps()
    operator = SAGate(16)
    fused, rgb, depth = operator(r, d)
    x, y = last(r), last(d)
    means = np.concatenate([x, y], -1).mean((1, 2), keepdims=True)

    def weights(part):
        return sigmoid(dense(part[2], np.maximum(dense(part[0], means), 0)))

    whole = np.concatenate([x + weights(operator.from_depth) * y, y + weights(operator.from_rgb) * x], -1)
    share = softmax(dense(operator.choose, whole), -1)
    expected = share[..., :1] * x + share[..., 1:] * y
    check(fused, expected)
    check(rgb, (x + expected) / 2)
    check(depth, (y + expected) / 2)


def test_exchange_follows_its_scales():
    r, d = maps()
    operator = Exchange(16)
    with torch.no_grad():
        operator.rgb.weight[5], operator.rgb.weight[12], operator.depth.weight[9] = 0.01, 0.0, -0.019
    fused, rgb, depth = operator(r, d)
    plain = operator.rgb(r), operator.depth(d)
    taken = torch.zeros(2, 16, dtype=torch.bool)
    taken[0, [0, 5]] = True  # channel 12 is small too, but colour may only be replaced in its first half
    taken[1, [8, 9]] = True
    for found, own, other, mask in ((rgb, *plain, taken[0]), (depth, *plain[::-1], taken[1])):
        assert torch.equal(found[:, mask], other[:, mask]) and torch.equal(found[:, ~mask], own[:, ~mask])
    torch.testing.assert_close(fused, (rgb + depth) / 2)
    expected = 1e-3 * (operator.rgb.weight[:8].abs().sum() + operator.depth.weight[8:].abs().sum())
    torch.testing.assert_close(operator.penalty(), expected)


def test_penalty_of_a_network_is_that_of_its_operators():
    model = build("exchange", classes=3, width=8)
    each = [operator.penalty() for operator in model.exchange.values()]
    torch.testing.assert_close(model.penalty(), sum(each))
    assert build("se", classes=3, width=8).penalty() is None and build("rgb", classes=3, width=8).penalty() is None


def test_token_exchange_replaces_the_lowest_eighth():
    r, d = maps()
    operator = TokenExchange(16)
    _, rgb, depth = operator(r, d)
    for found, own, other, score, replacement in (
        (rgb, r, d, operator.score_rgb, operator.from_depth),
        (depth, d, r, operator.score_depth, operator.from_rgb),
    ):
        s, expected = score(own).sigmoid(), replacement(other)
        for image in range(2):
            low = np.argsort(s[image, 0].flatten().detach().numpy())[:3]  # of 24 positions
            x = (s[image] * own[image]).flatten(1)
            x[:, low] = expected[image].flatten(1)[:, low]
            torch.testing.assert_close(found[image].flatten(1), x)


def test_cross_attention_by_hand():
    r, d = maps()
    operator = Cross(16)
    fused, rgb, depth = operator(r, d)
    both = np.concatenate([last(r), last(d)], -1)
    pooled = np.concatenate([both.mean((1, 2)), both.max((1, 2))], -1)
    part = operator.rectify.channels
    channel = sigmoid(dense(part[2], np.maximum(dense(part[0], pooled), 0)))[:, None, None]
    part = operator.rectify.positions
    place = sigmoid(dense(part[2], np.maximum(dense(part[0], both), 0)))
    x = last(r) + 0.5 * (channel[..., 16:] + place[..., 1:]) * last(d)
    y = last(d) + 0.5 * (channel[..., :16] + place[..., :1]) * last(r)
    check(rgb, x)
    check(depth, y)

    def asked(own, other):
        q = dense(own[0].project, own[1]).reshape(2, 24, -1)[..., :2]
        k, v = np.split(dense(other[0].project, other[1]).reshape(2, 24, -1)[..., 2:], 2, -1)
        return (q @ softmax(k.transpose(0, 2, 1) @ v / 24, 1)).reshape(2, 4, 6, 2)

    streams = (operator.context_rgb, x), (operator.context_depth, y)
    x, y = x + dense(operator.out_rgb, asked(*streams)), y + dense(operator.out_depth, asked(*streams[::-1]))
    merged = torch.from_numpy(np.concatenate([x, y], -1)).float().movedim(-1, 1)
    check(fused, x + y + last(operator.merge(merged).detach()))


def test_gemini_attends_to_itself_and_its_counterpart():
    r, d = maps()
    operator = Gemini(16)
    fused, rgb, depth = operator(r, d)
    x, y = last(r), last(d)
    relation = sigmoid(dense(operator.relate, np.concatenate([x, y], -1)))

    def asked(part, own, other):
        noise = part.noise_key[0, :, 0, 0].detach().numpy(), part.noise_value[0, :, 0, 0].detach().numpy()
        q = dense(part.query, own)
        keys = np.stack([dense(part.key, own + noise[0]), dense(part.key, relation * other)], -2)
        values = np.stack([dense(part.value, own + noise[1]), dense(part.value, other)], -2)
        weight = softmax((q[..., None, :] * keys).sum(-1) / np.sqrt(2), -1)
        return own + dense(part.out, (weight[..., None] * values).sum(-2))

    check(rgb, asked(operator.rgb, x, y))
    check(depth, asked(operator.depth, y, x))
    torch.testing.assert_close(fused, (rgb + depth) / 2)


@pytest.mark.parametrize("twin", ["rgb", "depth"])
def test_wide_twins_have_the_size_of_two_encoders(twin):
    wide, se = build(f"{twin}_wide", width=64), build("se", width=64)
    assert wide.modalities == (twin,) and abs(wide.parameter_count() / se.parameter_count() - 1) < 0.02
    assert wide.config["widths"] == build(f"{twin}_wide", width=64, seed=1).config["widths"]
