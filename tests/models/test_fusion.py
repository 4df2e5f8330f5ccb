import pytest
import torch

from rgbd_insight.models.fusion import FUSIONS, Concat, Fusion, Sum, find, register
from rgbd_insight.models.gates import SE, Excite


def maps(width=8):
    draw = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, width, 3, 4, generator=draw)


def test_sum_is_the_sum():
    rgb, depth = maps()
    fused, goes_on, kept = Sum(8)(rgb, depth)
    assert torch.equal(fused, rgb + depth) and goes_on is fused and kept is depth
    assert not list(Sum(8).parameters())


def test_concat_is_a_matrix_on_all_channels():
    rgb, depth = maps()
    operator = Concat(8)
    weight = operator.mix.weight[:, :, 0, 0]
    expected = torch.einsum("uc,bchw->buhw", weight, torch.cat([rgb, depth], 1)) + operator.mix.bias[:, None, None]
    torch.testing.assert_close(operator(rgb, depth)[0], expected)


def test_excite_by_hand():
    x, _ = maps()
    gate = Excite(8)
    u, v = gate.squeeze.weight[:, :, 0, 0], gate.excite.weight[:, :, 0, 0]
    hidden = torch.relu(x.mean((2, 3)) @ u.T + gate.squeeze.bias)
    weight = torch.sigmoid(hidden @ v.T + gate.excite.bias)
    torch.testing.assert_close(gate(x), x * weight[:, :, None, None])
    assert u.shape == (2, 8)


def test_se_adds_what_is_left_of_each():
    rgb, depth = maps()
    operator = SE(8)
    torch.testing.assert_close(operator(rgb, depth)[0], operator.rgb(rgb) + operator.depth(depth))


def test_base_keeps_streams_apart():
    rgb, depth = maps()
    fused, a, b = Fusion(8)(rgb, depth)
    assert fused is rgb and a is rgb and b is depth


def test_registry():
    assert {"rgb", "depth", "early", "late", "sum", "concat", "se"} <= set(FUSIONS)
    assert all(operator.name == name for name, operator in FUSIONS.items())
    with pytest.raises(ValueError, match="which is Sum"):
        register("sum")(type("Other", (Fusion,), {}))
    with pytest.raises(ValueError, match="got 'eraly': the nearest are early"):
        find("eraly")
