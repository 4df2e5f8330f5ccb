"""Networks as people bring them: several calls, tokens of two modalities, numbers that are not real, compiled code."""

import math
from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rgbd_insight.hooks import Tap, as_maps, at_own_precision, candidates, mute, purity, restless, taps, trace


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rgb, self.depth, self.head = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(1, 4, 3, 1, 1), nn.Conv2d(4, 2, 1)

    def forward(self, rgb, depth):
        return self.head(self.rgb(rgb) + self.depth(depth))


TAPS = [Tap("rgb", 1, "rgb"), Tap("depth", 1, "depth"), Tap("fused", 1, "head", when="in")]


def pairs(n=5, size=(8, 12)):
    draw = torch.Generator().manual_seed(1)
    rgb, depth = torch.rand(n, 3, *size, generator=draw), 1 + torch.rand(n, 1, *size, generator=draw)
    return SimpleNamespace(inputs={"rgb": rgb, "depth": depth}, groups=tuple(range(n)))


def one_by_one(model, rgb, depth):
    return torch.cat([model(rgb[i : i + 1], depth[i : i + 1]) for i in range(len(rgb))])


def unevenly(model, rgb, depth):
    return torch.cat([model(*pair) for pair in zip(rgb.split((2, 3)), depth.split((2, 3)), strict=True)])


def windows(model, rgb, depth):
    half = rgb.shape[-1] // 2
    return torch.cat([model(rgb[..., :half], depth[..., :half]), model(rgb[..., half:], depth[..., half:])], -1)


def flips(model, rgb, depth):
    return model(rgb, depth) + model(rgb.flip(-1), depth.flip(-1)).flip(-1)


def scales(model, rgb, depth):
    small = model(rgb[..., ::2, ::2], depth[..., ::2, ::2])
    return model(rgb, depth) + F.interpolate(small, rgb.shape[-2:])


def some(model, rgb, depth):
    return model(rgb[:3], depth[:3]).mean(0).expand(len(rgb), -1, -1, -1)


@pytest.mark.parametrize("adapt", [one_by_one, unevenly])
def test_calls_that_cover_the_samples_are_joined(adapt):
    net, batch = Net(), pairs()
    with torch.no_grad(), trace(net, TAPS, samples=5) as seen:
        adapt(net, *batch.inputs.values())
    with torch.no_grad(), trace(net, TAPS) as whole:
        net(*batch.inputs.values())
    for tap in TAPS:
        torch.testing.assert_close(seen[tap], whole[tap])
    moved = purity(net, batch, TAPS, adapt=adapt)
    assert [row["moved"] for row in moved] == pytest.approx([row["moved"] for row in purity(net, batch, TAPS)])


@pytest.mark.parametrize(
    ("adapt", "words"), [(windows, "2 times for 5 samples, with 5, 5 rows"), (flips, "5, 5"), (scales, "5, 5")]
)
def test_windows_flips_and_scales_are_refused_with_what_was_seen(adapt, words):
    net, batch = Net(), pairs()
    with pytest.raises(RuntimeError, match=words), torch.no_grad(), trace(net, TAPS, samples=5):
        adapt(net, *batch.inputs.values())
    with pytest.raises(RuntimeError, match="give `adapt`, which calls it with each whole image once"):
        purity(net, batch, TAPS, adapt=adapt)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_rows_of_fewer_samples_are_refused():
    with pytest.raises(RuntimeError, match="hands over 3 rows for 5 samples"):
        purity(Net(), pairs(), TAPS, adapt=some)


def test_a_network_that_is_called_twice_is_listed_once():
    found = candidates(Net(), pairs(), adapt=one_by_one)
    assert list(found["module"]) == ["rgb", "depth", "head"] and found["call"].isna().all()
    assert list(found["stream"]) == ["rgb", "depth", "fused"]


class Stacked(nn.Module):
    """One encoder for both modalities, stacked along the batch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.head = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 2, 1)

    def forward(self, rgb, depth):
        both = self.encoder(torch.cat([rgb, depth.expand(-1, 3, -1, -1)]))
        return self.head(sum(both.chunk(2)))


def test_modalities_stacked_along_the_batch():
    net, batch = Stacked(), pairs()
    with pytest.raises(RuntimeError, match=r"10 rows for 5 samples.*stacked along the batch.*rows=\"1/2\""):
        purity(net, batch, [Tap("rgb", 1, "encoder")])
    halves = [Tap(stream, 1, "encoder", rows=f"{i}/2") for i, stream in enumerate(("rgb", "depth"), 1)]
    moved = {(r["stream"], r["modality"]): r["moved"] for r in purity(net, batch, halves)}
    assert moved["rgb", "depth"] == moved["depth", "rgb"] == 0 < min(moved["rgb", "rgb"], moved["depth", "depth"])
    joined = purity(net, batch, halves, adapt=one_by_one)
    assert [r["moved"] for r in joined] == pytest.approx([r["moved"] for r in purity(net, batch, halves)])
    with torch.no_grad(), trace(net, halves, samples=5) as seen:
        net(*batch.inputs.values())
    assert torch.equal(seen[halves[0]], net.encoder(batch.inputs["rgb"]).detach())
    with torch.no_grad():
        truth = net.head(net.encoder(batch.inputs["rgb"]))
        with mute(net, {halves[1]: [0, 1, 2, 3]}):
            torch.testing.assert_close(net(*batch.inputs.values()), truth)
    with pytest.raises(RuntimeError, match="10 rows have no 3 equal parts"):
        purity(net, batch, [Tap("rgb", 1, "encoder", rows="1/3")])


class Sequences(nn.Module):
    """Tokens of colour, tokens of depth and a global one, in one sequence; 6 x 8 of each for 24 x 32."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth, self.mix = nn.Conv2d(3, 5, 4, 4), nn.Conv2d(1, 5, 4, 4), nn.Identity()

    def forward(self, rgb, depth):
        first, second = (f(x).flatten(2).transpose(1, 2) for f, x in ((self.rgb, rgb), (self.depth, depth)))
        return self.mix(torch.cat([first, second, first[:, :1] * 0 + 9], 1))


def test_two_modalities_and_a_global_token_in_one_sequence():
    net, batch = Sequences(), pairs(size=(24, 32))
    for layout in (None, "BNC"):
        with pytest.raises(RuntimeError, match=r"no grid of 97 tokens.*`tokens`"):
            purity(net, batch, [Tap("rgb", 1, "mix", layout=layout)])
    with pytest.raises(RuntimeError, match=r"97 tokens are 49 more than 6x8.*tokens=\"0:48\""):
        purity(net, batch, [Tap("rgb", 1, "mix", layout="BNC:6x8")])
    streams = [Tap("rgb", 1, "mix", tokens="0:48"), Tap("depth", 1, "mix", tokens="48:-1", layout="BNC:6x8")]
    moved = {(r["stream"], r["modality"]): r["moved"] for r in purity(net, batch, streams)}
    assert moved["rgb", "depth"] == moved["depth", "rgb"] == 0 < min(moved["rgb", "rgb"], moved["depth", "depth"])
    with torch.no_grad(), trace(net, streams, samples=5) as seen:
        truth = net(*batch.inputs.values())
    assert torch.equal(seen[streams[0]], net.rgb(batch.inputs["rgb"]).detach())
    with torch.no_grad(), mute(net, {streams[1]: {2: 7.0}}):
        y = net(*batch.inputs.values())
    assert (
        (y[:, 48:96, 2] == 7).all() and torch.equal(y[:, :48], truth[:, :48]) and torch.equal(y[:, 96:], truth[:, 96:])
    )
    for wrong, words in (("90:140", "there are 97 tokens"), ("5:5", "there are 97"), ("1:49:2", "START:STOP")):
        with pytest.raises((RuntimeError, ValueError), match=words):
            purity(net, batch, [Tap("rgb", 1, "mix", tokens=wrong)])
    with pytest.raises(RuntimeError, match="is no sequence"):
        purity(net, batch, [Tap("rgb", 1, "rgb", tokens="0:2")])
    assert len({str(tap) for tap in streams}) == 2


def test_halves_of_a_sequence_are_of_any_size():
    net = Sequences()
    for size in ((24, 32), (32, 32)):
        batch = pairs(size=size)
        streams = [Tap(stream, 1, "mix", tokens=f"{i}/2") for i, stream in enumerate(("rgb", "depth"), 1)]
        with torch.no_grad(), trace(net, streams) as seen:
            net(*batch.inputs.values())
            assert torch.equal(seen[streams[1]], net.depth(batch.inputs["depth"]))
    for wrong in ("3/2", "0/2", "1/2/3"):
        with pytest.raises(ValueError, match="`tokens` must be START:STOP or PART/PARTS"):
            Tap("rgb", 1, "mix", tokens=wrong)
    with pytest.raises(RuntimeError, match="there are 97 tokens"):
        purity(net, pairs(size=(24, 32)), [Tap("rgb", 1, "mix", tokens="1/98")])


class Drawing(Net):
    """Adds noise to what goes into its head, in evaluation too."""

    def forward(self, rgb, depth):
        mixed = self.rgb(rgb) + self.depth(depth)
        return self.head(mixed + torch.rand_like(mixed))


def test_random_numbers_in_evaluation_are_found_and_are_no_impurity():
    net, batch = Drawing(), pairs()
    unlike = restless(net, list(batch.inputs.values()), TAPS)
    assert list(unlike) == [TAPS[2]] and unlike[TAPS[2]] > 0.1 and not restless(Net(), [*batch.inputs.values()], TAPS)
    state = torch.get_rng_state()
    same = SimpleNamespace(inputs={"rgb": batch.inputs["rgb"][:1].expand(2, -1, -1, -1)}, groups=("a", "b"))
    same.inputs["depth"] = batch.inputs["depth"][:2]
    moved = {(r["stream"], r["modality"]): r["moved"] for r in purity(net, same, TAPS)}
    assert moved["fused", "rgb"] == 0 < moved["fused", "depth"]  # the same colour twice moves nothing
    listed = candidates(net, same).set_index("module")
    assert listed.loc["head", "moved by rgb"] == 0 and torch.equal(state, torch.get_rng_state())


def test_a_shared_activation_has_one_row():
    class Shares(Net):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, rgb, depth):
            return self.head(self.act(self.act(self.rgb(rgb)) + self.act(self.depth(depth))))

    short, every = candidates(Shares(), pairs()), candidates(Shares(), pairs(), every=True)
    assert list(short["module"]).count("act") == 1 and list(every["module"]).count("act") == 3


def test_rounding_is_no_impurity():
    class Rounds(Net):
        def forward(self, rgb, depth):
            return self.head(self.rgb(rgb + 1e-8 * depth))

    moved = {(r["stream"], r["modality"]): r["moved"] for r in purity(Rounds(), pairs(), TAPS[:1])}
    assert moved["rgb", "depth"] == 0 < moved["rgb", "rgb"]


def test_a_grid_is_right_or_refused_with_the_choices():
    """Every size from 32 to 128 in steps of 8: what is read is the truth; what is not unique is said."""
    refused = sizes = 0
    for height in range(32, 129, 8):
        for width in range(32, 129, 8):
            for stride in (4, 8, 14, 16, 32):
                for rounded, extra in ((math.ceil, 0), (math.ceil, 1), (math.floor, 0), (math.floor, 1)):
                    h, w = rounded(height / stride), rounded(width / stride)
                    x, sizes = torch.empty(1, h * w + extra, 1), sizes + 1
                    try:
                        assert as_maps(Tap("f", 1, "x"), x, (height, width)).shape[2:] == (h, w)
                    except RuntimeError as error:
                        refused += 1
                        assert f"BNC:{h}x{w}" in str(error) and " or " in str(error)
                        assert as_maps(Tap("f", 1, "x", layout=f"BNC:{h}x{w}"), x, (height, width)).shape[2:] == (h, w)
    assert 0 < refused < 0.1 * sizes


class Few(nn.Module):
    """Two tokens for 48 x 64: two, side by side, or one after a class token."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Identity()

    def forward(self, rgb, depth):
        return self.tokens(F.adaptive_avg_pool2d(rgb, (1, 2)).flatten(2).transpose(1, 2))


def test_every_grid_that_fits_is_a_candidate():
    found = candidates(Few(), pairs(size=(48, 64)))
    assert list(found["layout"]) == ["BNC:1x2", "BNC:1x1"] and list(found["width"]) == [2, 1]
    with pytest.raises(RuntimeError, match="may be BNC:1x2 or BNC:1x1 after a class token: give `layout`"):
        purity(Few(), pairs(size=(48, 64)), [Tap("rgb", 1, "tokens")])


Both = namedtuple("Both", "rgb depth")


@dataclass(frozen=True)
class Out:
    maps: Both
    loss: object = None


class Named(Net):
    def __init__(self):
        super().__init__()
        self.both, self.last = Wrap(), Wrap()

    def forward(self, rgb, depth):
        found = self.both(self.rgb(rgb), self.depth(depth))
        return self.head(found.maps.rgb + found.maps.depth)


class Wrap(nn.Module):
    def forward(self, a, b):
        return Out(Both(a, b))


def test_fields_of_dataclasses_and_named_tuples_are_items():
    net, batch = Named(), pairs()
    found = [Tap("rgb", 1, "both", item=("maps", "rgb")), Tap("depth", 1, "both", item=("maps", 1))]
    moved = {(r["stream"], r["modality"]): r["moved"] for r in purity(net, batch, found)}
    assert moved["rgb", "depth"] == moved["depth", "rgb"] == 0 < min(moved["rgb", "rgb"], moved["depth", "depth"])
    with torch.no_grad(), mute(net, {found[0]: [0, 1, 2, 3]}):
        assert torch.equal(net(*batch.inputs.values()), net.head(net.depth(batch.inputs["depth"])))
    for item, words in ((None, r"a Out, not a tensor: give `item`, of \['maps', 'loss'\]"), ("map", "no item 'map'")):
        with pytest.raises(RuntimeError, match=words):
            purity(net, batch, [Tap("rgb", 1, "both", item=item)])
    with pytest.raises(RuntimeError, match=r"a Both, not a tensor: give `item`, of \['rgb', 'depth'\]"):
        purity(net, batch, [Tap("rgb", 1, "both", item="maps")])
    listed = candidates(net, batch)
    assert {("maps", 0), ("maps", 1)} <= set(listed["item"])


class Numbers(nn.Module):
    """Hands on what `kind` says."""

    def __init__(self, make):
        super().__init__()
        self.make, self.made = make, nn.Identity()

    def forward(self, rgb, depth):
        self.made(self.make(rgb))
        return rgb


@pytest.mark.parametrize(
    ("make", "asked", "fix"),
    [
        (torch.fft.fft2, "abs", 'complex64 numbers.*values="abs"'),
        (lambda x: (x * 9).long(), "count", 'int64 numbers.*values="count"'),
        (lambda x: x > 0.5, "count", 'bool numbers.*values="count"'),
    ],
)
def test_numbers_that_are_not_real_are_taken_only_where_asked(make, asked, fix):
    net, batch = Numbers(make), pairs()
    with pytest.raises(RuntimeError, match=fix), trace(net, [Tap("f", 1, "made")]):
        net(*batch.inputs.values())
    tap = Tap("f", 1, "made", values=asked)
    with trace(net, [tap]) as seen:
        net(*batch.inputs.values())
    truth = make(batch.inputs["rgb"])
    assert torch.equal(seen[tap], truth.abs() if asked == "abs" else truth.double())
    other = Tap("f", 1, "made", values="count" if asked == "abs" else "abs")
    with pytest.raises(RuntimeError, match="numbers: give"), trace(net, [other]):
        net(*batch.inputs.values())
    plain = Net()
    with pytest.raises(RuntimeError, match="float32 numbers: leave `values` out"):
        purity(plain, batch, [Tap("f", 1, "rgb", values=asked)])


@pytest.mark.parametrize(
    "option", [{"tokens": "3"}, {"rows": "3/2"}, {"rows": "0/2"}, {"rows": "half"}, {"values": "real"}]
)
def test_new_options_check_themselves(option):
    with pytest.raises(ValueError, match=f"`{next(iter(option))}` must be"):
        Tap("rgb", 1, "x", **option)


def test_a_pattern_for_parts_of_one_module():
    found = taps("block{level}", [1, 2], streams=("rgb",), tokens="0:48") + taps("b", [1], streams=("d",), rows="2/2")
    assert [tap.tokens for tap in found] == ["0:48", "0:48", None] and found[2].rows == "2/2"
    assert "tokens" in found[0].as_json() and not {"tokens", "rows", "values"} & Tap("rgb", 1, "x").as_json().keys()


@pytest.mark.filterwarnings("ignore:`torch.jit")
def traced(net):
    return torch.jit.trace(net, tuple(pairs().inputs.values()))


@pytest.mark.parametrize("compiled", [torch.jit.script, traced])
def test_compiled_code_that_cannot_be_read_is_said(compiled):
    net, batch = compiled(Net().eval()), pairs()
    for ask in (lambda: purity(net, batch, TAPS), lambda: candidates(net, batch)):
        with pytest.raises(ValueError, match=r"compiled by TorchScript.*state_dict\(\)"):
            ask()
    with pytest.raises(ValueError, match=r"tap rgb/1 at 'rgb': the module is compiled"), trace(net, TAPS):
        pass
    outer = nn.Sequential(net)
    with pytest.raises(ValueError, match="compiled by TorchScript"), trace(outer, [Tap("rgb", 1, "0.rgb")]):
        pass


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_compiled_parts_that_are_not_tapped_do_no_harm():
    net = Net()
    net.head = torch.jit.script(net.head)
    batch = pairs()
    assert purity(net, batch, TAPS[:2])[0]["moved"] > 0
    assert {"rgb", "depth"} <= set(candidates(net, batch)["module"])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.half, torch.double])
@pytest.mark.parametrize("adapt", [None, one_by_one, lambda model, rgb, depth: model(depth=depth, rgb=rgb)])
def test_inputs_come_in_the_precision_of_the_network(kind, adapt):
    net, batch = Net().to(kind), pairs()
    moved = purity(net, batch, TAPS, adapt=adapt)
    truth = purity(Net(), batch, TAPS)
    assert [r["moved"] for r in moved] == pytest.approx([r["moved"] for r in truth], abs=0.02)
    assert len(candidates(net, batch, adapt=adapt)) == 3
    assert not net._forward_pre_hooks
    mixed = Net()
    mixed.head.to(kind)
    with at_own_precision(mixed), pytest.raises(RuntimeError):
        mixed(*batch.inputs.values())
