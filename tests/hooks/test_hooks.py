import math
from collections import namedtuple
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rgbd_insight.hooks import Tap, as_maps, mute, purity, taps, trace
from rgbd_insight.models import build


class Net(nn.Module):
    """What real networks do to hooks: in-place steps, shared modules, iterated containers, tuples, tokens."""

    def __init__(self):
        super().__init__()
        self.rgb = nn.Conv2d(3, 4, 1)
        self.relu = nn.ReLU(inplace=True)
        self.shared = nn.Conv2d(4, 4, 1)
        self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1)])
        self.pair = Pair()
        self.tokens = Tokens()
        self.last = nn.Identity()
        self.fails = False

    def forward(self, rgb, depth=None):
        x = self.relu(self.rgb(rgb))
        x = self.shared(self.shared(x))
        for block in self.blocks:
            x = block(x)
        if self.fails:
            raise ArithmeticError("inside the model")
        x = self.pair(x)["maps"][1]
        self.tokens(x)
        self.last(x.permute(0, 2, 3, 1))
        return x


Both = namedtuple("Both", "first second")


class Pair(nn.Module):
    def forward(self, x):
        return {"maps": Both(x, 2 * x), "other": None}


class Tokens(nn.Module):
    """(B, 1 + N, C): a class token, then the positions at half the resolution."""

    def forward(self, x):
        x = nn.functional.avg_pool2d(x, 2)
        tokens = x.flatten(2).transpose(1, 2)
        return torch.cat([tokens[:, :1] * 0 - 7, tokens], 1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def rgb():
    return torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(1))


def read(net, rgb, *wanted):
    with torch.no_grad(), trace(net, wanted) as seen:
        net(rgb)
    return [seen[tap] for tap in wanted]


def hooks(net):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


def test_patterns():
    found = taps("{stream}.{level-1}.layer{level}", levels=range(1, 3), streams=("a", "b"), item=1)
    assert [tap.module for tap in found] == ["a.0.layer1", "a.1.layer2", "b.0.layer1", "b.1.layer2"]
    assert [(tap.stream, tap.level, tap.item) for tap in found][1:3] == [("a", 2, 1), ("b", 1, 1)]
    assert taps("f.{level + 2}", [1], streams=("f",))[0].module == "f.3"
    with pytest.raises(ValueError, match="its own place"):
        taps("encoder.layer{level}", levels=[1])


@pytest.mark.parametrize("options", [{"when": "after"}, {"layout": "CHW"}, {"layout": "BNC:3"}])
def test_tap_checks_itself(options):
    with pytest.raises(ValueError, match="must be"):
        Tap("rgb", 1, "x", **options)


def test_clone_survives_in_place_follower(net, rgb):
    (seen,) = read(net, rgb, Tap("rgb", 1, "rgb"))
    assert torch.equal(seen, net.rgb(rgb).detach()) and (seen < 0).any()
    assert not seen.requires_grad


def test_what_is_kept_can_be_reduced_at_once(net, rgb):
    tap = Tap("rgb", 1, "rgb")  # changed in place by what follows
    (maps,) = read(net, rgb, tap)
    with torch.no_grad(), trace(net, [tap], lambda x: x.mean((2, 3))) as means:
        net(rgb)
    assert torch.equal(means[tap], maps.mean((2, 3)))


def test_unfired_tap_names_itself_and_the_nearest(net, rgb):
    with pytest.raises(RuntimeError, match=r"rgb/1 at 'blocks' never fired.*container.*blocks\.0"):
        read(net, rgb, Tap("rgb", 1, "blocks"))
    assert hooks(net) == 0


def test_unknown_module_names_the_nearest(net, rgb):
    with pytest.raises(ValueError, match=r"'shard'.*nearest are shared"):
        read(net, rgb, Tap("rgb", 1, "shard"))
    assert hooks(net) == 0


def test_model_driven_without_its_own_call(net, rgb):
    with pytest.raises(RuntimeError, match="never fired"), trace(net, [Tap("rgb", 1, "shared")]):
        net.rgb(rgb)
    with trace(net, [Tap("rgb", 1, "rgb")]) as seen:
        net.rgb(rgb)
    assert len(seen) == 1


def test_second_call_is_ambiguous_until_call_is_given(net, rgb):
    with pytest.raises(RuntimeError, match="more than once.*give `call`"):
        read(net, rgb, Tap("rgb", 1, "shared"))
    first, second = read(net, rgb, Tap("rgb", 1, "shared", call=0), Tap("rgb", 2, "shared", call=1))
    torch.testing.assert_close(net.shared(first).detach(), second)
    with pytest.raises(RuntimeError, match="called 2 times"):
        read(net, rgb, Tap("rgb", 1, "shared", call=2))


def test_items(net, rgb):
    first, second = (read(net, rgb, Tap("rgb", 1, "pair", item=("maps", i)))[0] for i in (0, 1))
    assert torch.equal(second, 2 * first)
    with pytest.raises(RuntimeError, match=r"dict, not a tensor: give `item`, of \['maps', 'other'\]"):
        read(net, rgb, Tap("rgb", 1, "pair"))
    with pytest.raises(RuntimeError, match="no item 5 in a Both"):
        read(net, rgb, Tap("rgb", 1, "pair", item=("maps", 5)))


def test_input_side(net, rgb):
    before, after = read(net, rgb, Tap("rgb", 1, "blocks.0", when="in"), Tap("rgb", 1, "shared", call=1))
    assert torch.equal(before, after)


def test_layouts(net, rgb):
    tokens, given, last, truth = read(
        net,
        rgb,
        Tap("f", 1, "tokens"),
        Tap("f", 2, "tokens", layout="BNC:3x4"),
        Tap("f", 3, "last", layout="NHWC"),
        Tap("f", 4, "pair", item=("maps", 1)),
    )
    assert torch.equal(last, truth)
    assert tokens.shape == (2, 4, 3, 4) and torch.equal(tokens, given)
    torch.testing.assert_close(tokens, nn.functional.avg_pool2d(truth, 2))
    with pytest.raises(RuntimeError, match="change `layout`"):
        read(net, rgb, Tap("f", 1, "last", layout="BNC"))
    (odd,) = read(net, rgb[:, :, :, :7], Tap("f", 1, "tokens"))
    assert odd.shape == (2, 4, 3, 3)  # the pooling leaves the seventh column out
    with pytest.raises(RuntimeError, match="no grid of 11 tokens.*give `layout`"):
        as_maps(Tap("f", 1, "tokens"), torch.zeros(2, 11, 4), (6, 8))


@pytest.mark.parametrize("size", [(48, 64), (47, 61), (30, 90)])
@pytest.mark.parametrize("stride", [4, 8, 14])
@pytest.mark.parametrize("rounded", [math.ceil, math.floor])
@pytest.mark.parametrize("extra", [0, 1])
def test_grids_of_tokens_with_and_without_a_class_token(size, stride, rounded, extra):
    h, w = (rounded(n / stride) for n in size)
    truth = torch.rand(2, 5, h, w)
    tokens = torch.cat([torch.full((2, extra, 5), -9.0), truth.flatten(2).transpose(1, 2)], 1)
    assert torch.equal(as_maps(Tap("f", 1, "x"), tokens, size), truth)


def test_vector_becomes_one_position():
    net = nn.Sequential(nn.Linear(3, 5))
    assert read(net, torch.rand(2, 3), Tap("rgb", 1, "0"))[0].shape == (2, 5, 1, 1)


def test_model_is_untouched_and_hooks_go_even_when_it_raises(net, rgb):
    net.train()
    truth = net(rgb)
    with trace(net, [Tap("rgb", 1, "rgb")]):
        assert torch.equal(net(rgb), truth)
    net.fails = True
    with pytest.raises(ArithmeticError, match="inside"):
        read(net, rgb, Tap("rgb", 1, "rgb"))
    assert hooks(net) == 0 and net.training


def test_every_forward_pass_is_new(net, rgb):
    tap = Tap("rgb", 1, "rgb")
    with trace(net, [tap]) as seen:
        net(rgb)
        one = seen[tap]
        net(rgb * 2)
        assert not torch.equal(one, seen[tap])


def test_mute_zero_value_and_layouts(net, rgb):
    tap = Tap("rgb", 1, "rgb")
    with mute(net, {tap: [0, 2]}), torch.no_grad():
        x = read(net, rgb, Tap("rgb", 2, "shared", call=0, when="in"))[0]
    assert (x[:, [0, 2]] == 0).all() and (x[:, [1, 3]] != 0).any()
    y = net(rgb)
    with mute(net, {Tap("f", 1, "pair", item=("maps", 1)): {3: 0.25}}):
        z = net(rgb)
    assert (z[:, 3] == 0.25).all() and torch.equal(z[:, :3], y[:, :3])
    with mute(net, {Tap("f", 1, "tokens"): [1]}):
        _, tokens = read(net, rgb, tap, Tap("f", 1, "tokens"))
    assert (tokens[:, 1] == 0).all() and (tokens[:, 0] != 0).any()
    with mute(net, {Tap("f", 1, "blocks.0", when="in"): {0: 9.0}}):
        assert (read(net, rgb, Tap("f", 1, "blocks.0", when="in"))[0][:, 0] == 9).all()
    assert torch.equal(net(rgb), y) and hooks(net) == 0


def test_mute_errors(net, rgb):
    with pytest.raises(RuntimeError, match=r"units must be 0 to 3; got \[4\]"), mute(net, {Tap("rgb", 1, "rgb"): [4]}):
        net(rgb)
    with pytest.raises(RuntimeError, match="never fired"), mute(net, {Tap("rgb", 1, "blocks"): [0]}):
        net(rgb)
    assert hooks(net) == 0


class Pairs(nn.Module):
    """Takes its two images as `how` says."""

    def __init__(self, how):
        super().__init__()
        self.how, self.rgb, self.depth = how, nn.Conv2d(3, 4, 2, 2), nn.Conv2d(1, 4, 2, 2)
        self.sum = Sum()

    def forward(self, *given, **named):
        if self.how == "stacked":
            given = given[0].split((3, 1), 1)
        if self.how == "list":
            given = given[0]
        rgb, depth = (named["image"], named["depth"]) if self.how == "keywords" else given
        return {"out": self.sum(a=self.rgb(rgb), b=self.depth(input=depth))}


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b


ADAPT = {
    "list": lambda model, rgb, depth: model([rgb, depth])["out"],
    "stacked": lambda model, rgb, depth: model(torch.cat([rgb, depth], 1))["out"],
    "keywords": lambda model, rgb, depth: model(image=rgb, depth=depth)["out"],
    "pair": lambda model, rgb, depth: model(rgb, depth)["out"],
}


@pytest.mark.parametrize("how", ADAPT)
def test_inputs_of_every_form(how):
    model, batch = Pairs(how), pairs()
    wanted = [Tap("rgb", 1, "rgb"), Tap("depth", 1, "depth"), Tap("fused", 1, "sum")]
    moved = {(r["stream"], r["modality"]): r["moved"] for r in purity(model, batch, wanted, adapt=ADAPT[how])}
    assert moved["rgb", "depth"] == moved["depth", "rgb"] == 0.0
    assert min(moved["rgb", "rgb"], moved["depth", "depth"], moved["fused", "rgb"], moved["fused", "depth"]) > 0


def test_keyword_arguments_are_inputs_too():
    model, batch = Pairs("pair"), pairs()
    a, only = Tap("rgb", 1, "sum", when="in", item="a"), Tap("depth", 1, "depth", when="in")
    with torch.no_grad(), trace(model, [a, only]) as seen:
        model(*batch.inputs.values())
    rgb, depth = batch.inputs.values()
    assert torch.equal(seen[a], model.rgb(rgb).detach()) and torch.equal(seen[only], depth)
    with mute(model, {a: [0, 1, 2, 3]}), torch.no_grad():
        assert torch.equal(model(*batch.inputs.values())["out"], model.depth(batch.inputs["depth"]))
    with pytest.raises(RuntimeError, match=r"give `item`, of \['a', 'b'\]"), trace(model, [replace(a, item=None)]):
        model(*batch.inputs.values())


def test_tokens_find_their_grid_when_the_images_come_in_a_list(rgb):
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = Tokens()

        def forward(self, images):
            return self.tokens(images[0])

    model, tap = Listed(), Tap("rgb", 1, "tokens")
    with trace(model, [tap]) as seen:
        model([rgb, rgb])
    assert seen[tap].shape == (2, 3, 3, 4)


@pytest.mark.parametrize("name", ["blocks.0", "blocks.-1"])
@pytest.mark.parametrize("wrap", [lambda net: net, nn.DataParallel, lambda net: torch.compile(net, backend="eager")])
def test_wrappers_may_be_left_out_of_names(net, rgb, wrap, name):
    (truth,) = read(net, rgb, Tap("rgb", 1, "blocks.0"))
    wrapped = wrap(net)
    assert torch.equal(read(wrapped, rgb, Tap("rgb", 1, name))[0], truth)
    assert torch.equal(read(nn.Sequential(wrapped), rgb, Tap("rgb", 1, f"0.{name}"))[0], truth)
    assert hooks(net) == 0


def test_code_that_was_compiled_before_is_seen(net, rgb):
    compiled = torch.compile(net, backend="eager")
    compiled(rgb)
    tap = Tap("rgb", 1, "rgb")
    with mute(compiled, {tap: [0, 1, 2, 3]}):
        silent = compiled(rgb)
    assert read(compiled, rgb, tap)[0].shape == (2, 4, 6, 8) and not torch.equal(silent, compiled(rgb))
    net.compile(backend="eager")
    net(rgb)
    assert torch.equal(read(net, rgb, tap)[0], read(compiled, rgb, tap)[0])


def test_several_devices_are_one_inside_and_several_afterwards(net, rgb):
    spread = nn.DataParallel(net)
    spread.device_ids = [0, 1]  # as on a machine with two GPUs
    with trace(spread, [Tap("rgb", 1, "rgb")]):
        assert spread.device_ids == [0]
        net(rgb)
    assert spread.device_ids == [0, 1]


def test_a_last_block_that_is_not_there(net, rgb):
    with pytest.raises(ValueError, match="'blocks.-2'.*nearest are blocks"):
        read(net, rgb, Tap("rgb", 1, "blocks.-2"))


def pairs(n=4, groups=None):
    draw = torch.Generator().manual_seed(0)
    rgb, depth = torch.rand(n, 3, 16, 16, generator=draw), 1 + torch.rand(n, 1, 16, 16, generator=draw)
    return SimpleNamespace(inputs={"rgb": rgb, "depth": depth}, groups=groups or tuple(range(n)))


def test_purity_is_exact_and_restores_training():
    model = build("sum", classes=2, width=8)
    model.decoder.eval()
    modes = [m.training for m in model.modules()]
    moved = {(r["stream"], r["level"], r["modality"]): r["moved"] for r in purity(model, pairs(), model.taps())}
    assert [m.training for m in model.modules()] == modes
    assert moved["rgb", 1, "depth"] == 0.0 and moved["depth", 4, "rgb"] == 0.0
    assert min(moved["rgb", 1, "rgb"], moved["rgb", 2, "depth"], moved["fused", 1, "depth"]) > 0.01


def test_purity_takes_partners_of_other_groups():
    model = build("rgb", classes=2, width=8)
    batch = pairs(4, groups=("a", "b", "a", "b"))
    batch.inputs["rgb"][2:] = batch.inputs["rgb"][:2]  # within a group nothing changes
    assert purity(model, batch, model.taps())[0]["moved"] > 0
    with pytest.raises(ValueError, match="two or more samples; got 1"):
        purity(model, pairs(1), model.taps())
