"""What every fusion promises, asked of each one in the registry."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch

from rgbd_insight.hooks import purity
from rgbd_insight.models import FUSIONS, build, cost

pytestmark = pytest.mark.parametrize("fusion", FUSIONS)


def inputs(n=2, requires_grad=False):
    draw = torch.Generator().manual_seed(0)
    rgb, depth = torch.rand(n, 3, 16, 24, generator=draw), 1 + 4 * torch.rand(n, 1, 16, 24, generator=draw)
    return rgb.requires_grad_(requires_grad), depth.requires_grad_(requires_grad)


def model(fusion):
    return build(fusion, classes=3, width=8)


def test_shapes(fusion):
    assert model(fusion)(*inputs()).shape == (2, 3, 16, 24)


def test_gradients_reach_the_inputs_that_count_and_every_parameter(fusion):
    net, (rgb, depth) = model(fusion), inputs(requires_grad=True)
    net(rgb, depth).square().sum().backward()
    for name, x in (("rgb", rgb), ("depth", depth)):
        reached = x.grad is not None and bool(x.grad.abs().sum() > 0)
        assert reached == (name in net.modalities)
    unused = [name for name, p in net.named_parameters() if p.grad is None]
    assert not unused


def test_evaluation_is_deterministic_and_samples_do_not_mix(fusion):
    net, (rgb, depth) = model(fusion).eval(), inputs(3)
    with torch.no_grad():
        once, again, alone = net(rgb, depth), net(rgb, depth), net(rgb[1:2], depth[1:2])
    assert torch.equal(once, again)
    torch.testing.assert_close(once[1:2], alone, atol=1e-5, rtol=1e-4)


def test_missing_modality_is_accepted(fusion):
    net, (rgb, depth) = model(fusion).eval(), inputs()
    for pair in ((rgb, None), (None, depth)):
        scores = net(*pair)
        assert scores.shape == (2, 3, 16, 24) and scores.isfinite().all()


def test_measured_purity_is_the_documented(fusion):
    net, (rgb, depth) = model(fusion), inputs(4)
    batch = SimpleNamespace(inputs={"rgb": rgb, "depth": depth}, groups=tuple("abcd"))
    rows = purity(net, batch, net.taps())
    assert {row["stream"] for row in rows} == set(net.streams)
    for stream in net.streams:
        others = {"rgb": ("depth",), "depth": ("rgb",)}.get(stream, ())
        moved = [row["moved"] for row in rows if row["stream"] == stream and row["modality"] in others]
        if others:
            assert (max(moved) == 0) == FUSIONS[fusion].pure[stream]
        else:
            each = {
                m: max(r["moved"] for r in rows if r["stream"] == stream and r["modality"] == m) for m in net.modalities
            }
            assert (min(each.values()) == 0) == FUSIONS[fusion].pure[stream]


WIDTHS = (32, 40, 64, 96, (32, 32, 32, 32), (64, 48, 40, 32))


@cache
def parameters(fusion, width, blocks):
    with torch.device("meta"):
        return build(fusion, width=width, blocks=blocks).parameter_count()


@pytest.mark.parametrize("width", WIDTHS, ids=str)
def test_parameters_match_se(fusion, width):
    operator = FUSIONS[fusion]
    if fusion == "acnet" or (len(operator.encoders) < 2 and not operator.widens):
        pytest.skip("one encoder, or three: exempt and reported")
    for blocks in (1, 2):
        assert 0.95 <= parameters(fusion, width, blocks) / parameters("se", width, blocks) <= 1.05


def test_docstring_has_formula_and_paper(fusion):
    text = FUSIONS[fusion].__doc__
    alone = FUSIONS[fusion].modalities != ("rgb", "depth")
    assert ":math:`" in text and ("References" in text or alone) and "pure" in text


def test_fusing_at_chosen_levels(fusion):
    if not FUSIONS[fusion].exchanges:
        with pytest.raises(ValueError, match="fuses at no level"):
            build(fusion, classes=3, width=8, levels=[2])
        return
    net, (rgb, depth) = build(fusion, classes=3, width=8, levels=[2]).eval(), inputs(4)
    batch = SimpleNamespace(inputs={"rgb": rgb, "depth": depth}, groups=tuple("abcd"))
    moved = {(r["level"], r["modality"]): r["moved"] for r in purity(net, batch, net.taps()) if r["stream"] == "fused"}
    assert moved[1, "depth"] == 0 and min(moved[2, "depth"], moved[2, "rgb"]) > 0


def test_cost_counts_what_is_built_and_run(fusion):
    row = cost([fusion], classes=3, size=(16, 24), width=8).loc[fusion]
    assert row.parameters == model(fusion).parameter_count() and row.flops > 0 and row.parameters_of_se > 0


def test_no_hidden_state(fusion):
    """Whatever an operator keeps, it learns: no buffer, so that nothing differs between processes of one run."""
    assert not list(model(fusion).buffers())
