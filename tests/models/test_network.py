import json

import pytest
import torch
from safetensors.torch import save_file

from rgbd_insight.data.encodings import encode, hha
from rgbd_insight.hooks import Tap, mute, trace
from rgbd_insight.models import FUSIONS, Fusion, build, cost, load, register, save
from rgbd_insight.models.network import SCALES


def pair(n=2, h=16, w=24):
    draw = torch.Generator().manual_seed(0)
    return torch.rand(n, 3, h, w, generator=draw), 1 + torch.rand(n, 1, h, w, generator=draw)


def tiny(fusion="sum", **options):
    return build(fusion, **({"classes": 3, "width": 8} | options))


def test_build_depends_on_the_seed_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = tiny("se")
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    for a, b in zip(one.state_dict().values(), tiny("se").state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.encoder_rgb.stem[0].weight, tiny("se", seed=1).encoder_rgb.stem[0].weight)


@pytest.mark.parametrize("fusion", ["sum", "concat", "se", "late"])
@pytest.mark.parametrize("twin", ["rgb", "depth"])
def test_twins_start_alike(fusion, twin):
    part = f"encoder_{twin}"
    joint, alone = (getattr(tiny(f), part).state_dict() for f in (fusion, twin))
    assert joint.keys() == alone.keys() and all(torch.equal(joint[k], alone[k]) for k in joint)


def test_odd_sizes_and_class_names():
    model = tiny(classes=("a", "b"))
    assert model.classes == 2
    assert model(*pair(1, 17, 23)).shape == (1, 2, 17, 23)


def test_levels_have_strides_and_widths():
    model = tiny(width=(8, 16, 8), blocks=2)
    wanted = model.taps()
    with trace(model, wanted) as seen:
        model(*pair(2, 16, 24))
    assert len(wanted) == 9 and wanted[-1] == Tap("fused", 3, "fused.level3")
    for tap, x in seen.items():
        assert x.shape == (2, (8, 16, 8)[tap.level - 1], 16 >> tap.level, 24 >> tap.level)


def test_only_chosen_levels_fuse():
    rgb, depth = pair()
    model = tiny(levels=[3]).eval()
    with torch.no_grad(), trace(model, model.taps()) as seen:
        model(rgb, depth)
        one = dict(seen)
        model(rgb, depth + 1)
    moved = {tap.level for tap in one if tap.stream == "fused" and not torch.equal(one[tap], seen[tap])}
    assert moved == {3, 4}


def test_no_reading_is_the_missing_depth():
    model, (rgb, depth) = tiny().eval(), pair()
    assert torch.equal(model(rgb, None), model(rgb, torch.zeros_like(depth)))
    assert torch.equal(model(None, depth), model(torch.full_like(rgb, 0.5), depth))
    holes = depth.clone()
    holes[:, :, :4] = 0
    assert torch.isfinite(model(rgb, holes)).all()


def test_scales_standardise():
    rgb, depth = pair()
    far = tiny(depth_scale=(25.0, 12.0))
    torch.testing.assert_close(far(rgb, depth * 10), tiny()(rgb, depth))


def test_muting_the_fused_map_reaches_the_next_level():
    model = tiny("concat").eval()
    tap, after = Tap("fused", 1, "fused.level1"), Tap("rgb", 2, "encoder_rgb.layer2", when="in")
    with torch.no_grad(), mute(model, {tap: [0]}), trace(model, [after]) as seen:
        model(*pair())
    assert (seen[after][:, 0] == 0).all() and (seen[after][:, 1] != 0).any()


def test_an_operator_with_its_own_branch_is_one_class():
    @register("remembering")
    class Remembering(Fusion):
        remembers = True

        def __init__(self, width, *, before=0, stage=None):
            super().__init__(width)
            self.down = torch.nn.Conv2d(before, width, 2, 2) if before else None

        def forward(self, rgb, depth, before=None):
            fused = rgb + depth
            return fused if before is None else fused + self.down(before), rgb, depth

    try:
        model = tiny("remembering")
        assert model(*pair()).shape == (2, 3, 16, 24) and len(model.taps()) == 12
    finally:
        del FUSIONS["remembering"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build("summ"), "nearest are sum"),
        (lambda: build("sum", widht=8), "nearest are"),
        (lambda: build("sum", width=12), "multiples of 8"),
        (lambda: build("sum", classes=0), "`classes` must be 1 to 255"),
        (lambda: build("sum", blocks=0), "`blocks` must be"),
        (lambda: build("sum", levels=[5]), "`levels` must be among 1 to 4"),
        (lambda: build("late", levels=[1]), "fuses at no level"),
        (lambda: tiny()(None, None), "at least one input"),
        (lambda: tiny()(torch.rand(2, 16, 16, 3), None), r"`rgb` must be \(B, 3, H, W\)"),
        (lambda: tiny()(torch.rand(2, 3, 8, 8), torch.rand(2, 1, 4, 4)), "in register"),
    ],
)
def test_clear_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_saved_and_loaded(fusion, tmp_path):
    model = tiny(fusion, depth_scale=(1.5, 0.5), seed=3)
    model.epoch = 7
    again = load(save(model, tmp_path / "deep" / "m.safetensors"))
    assert (again.config, again.epoch, again.seed, again.fusion) == (model.config, 7, 3, fusion)
    assert again.modalities == model.modalities and again.streams == model.streams and not again.training
    assert torch.equal(again(*pair()), model.eval()(*pair()))
    assert json.dumps(again.config)
    first = (tmp_path / "deep/m.safetensors").read_bytes()
    assert save(again, tmp_path / "deep/n.safetensors").read_bytes() == first
    assert len(list((tmp_path / "deep").iterdir())) == 2


def test_foreign_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="end in .safetensors; got 'm.pt'"):
        save(tiny(), tmp_path / "m.pt")
    with pytest.raises(FileNotFoundError, match="there is none"):
        load(tmp_path / "none.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="must be a network of format"):
        load(tmp_path / "foreign.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk, and not a header")
    with pytest.raises(ValueError, match="must be a safetensors file"):
        load(tmp_path / "junk.safetensors")


def test_training_after_inference_of_the_same_size():
    model = build("sum", classes=5, width=8)
    pair = torch.rand(1, 3, 40, 56), torch.rand(1, 1, 40, 56) + 1
    with torch.inference_mode():
        model(*pair)
    model(*pair).sum().backward()
    assert all(p.grad is not None for p in model.decoder.parameters())


@pytest.mark.parametrize("name", list(SCALES))
def test_depth_can_be_given_in_other_ways(name, tmp_path):
    lens = (40.0, 40.0, 27.5, 19.5)
    model = build("se", classes=3, width=8, encoding=name, intrinsics=lens)
    depth = torch.rand(2, 1, 40, 56) + 1
    depth[:, :, :5] = 0
    values, there = encode(depth, name, lens)
    if name == "hha":  # the network takes the image's own down for down
        values, there = hha(depth, lens, gravity=(0, 1, 0))
    given = model._encoded(depth)
    assert given.shape[1] == values.shape[1] + 1 and torch.equal(given[:, -1:] > 0, there)
    mean, std = (torch.tensor(x)[None, :, None, None] for x in SCALES[name])
    torch.testing.assert_close(given[:, :-1], torch.where(there, (values - mean) / std, 0))
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors").eval()
    rgb = torch.rand(2, 3, 40, 56)
    assert torch.equal(again(rgb, depth), model.eval()(rgb, depth)) and again(rgb, None).shape == (2, 3, 40, 56)


WRONG = [
    ({"encoding": "hhaa"}, "nearest are hha"),
    ({"encoding": "hha"}, "`intrinsics` must be"),
    ({"encoding": "normals", "intrinsics": (1, 2)}, "`intrinsics` must be"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_encodings_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        build("sum", classes=3, width=8, **options)


THIRD = {"thermal": {"channels": 1, "scale": (20.0, 5.0)}}


@pytest.mark.parametrize("fusion", [*(name for name, one in FUSIONS.items() if one.several), "thermal", "rgb"])
def test_a_third_modality_has_an_encoder_of_its_own(fusion):
    model = build(fusion, 5, width=8, others=THIRD).eval()
    rgb, depth, thermal = torch.rand(2, 3, 24, 32), torch.rand(2, 1, 24, 32) + 1, 20 + 5 * torch.rand(2, 1, 24, 32)
    with torch.no_grad():
        scores = model(rgb, depth, thermal)
        moved = [not torch.equal(scores, model(*given)) for given in (
            (1 - rgb, depth, thermal), (rgb, depth + 1, thermal), (rgb, depth, thermal + 3))]  # fmt: skip
    assert scores.shape == (2, 5, 24, 32)
    assert moved == [name in model.modalities for name in ("rgb", "depth", "thermal")]
    assert len(model.taps()) == 4 * len(model.streams)
    with pytest.raises(ValueError, match="`others` must be the images of thermal; got 0 of them"):
        model(rgb, depth)


def test_a_third_modality_starts_the_encoders_of_two_as_they_are():
    two, three = build("sum", 5, width=8, seed=3), build("sum", 5, width=8, seed=3, others=THIRD)
    for name, x in two.encoder_rgb.state_dict().items():
        assert torch.equal(x, three.encoder_rgb.state_dict()[name])
    assert "others" not in two.config and three.config["others"] == {"thermal": {"channels": 1, "scale": [20.0, 5.0]}}
    with pytest.raises(
        ValueError, match="`others` must be left out for 'cross', which is defined for two modalities; got thermal"
    ):
        build("cross", 5, others=THIRD)
    with pytest.raises(ValueError, match="names of letters that no fusion has; got 'sum'"):
        build("sum", 5, others={"sum": {}})


def three():
    draw = torch.Generator().manual_seed(1)
    rgb, depth, thermal = (torch.rand(2, c, 24, 32, generator=draw) + 0.1 for c in (3, 1, 1))
    return rgb, 3 * depth, 40 * thermal


def by_hand(fusion, operator, rgb, depth, thermal, before):
    """The formula of an operator for three maps, written out."""
    if fusion == "sum":
        return rgb + depth + thermal
    if fusion == "concat":
        w, b = operator.mix.weight[:, :, 0, 0], operator.mix.bias
        return torch.einsum("oc,bchw->bohw", w, torch.cat([rgb, depth, thermal], 1)) + b[None, :, None, None]
    gates = operator.rgb, operator.depth, operator.others[0]
    if fusion == "se":
        squeezed = [(x.mean((2, 3)), g) for x, g in zip((rgb, depth, thermal), gates, strict=True)]
        weights = [torch.sigmoid((m @ g.squeeze.weight[..., 0, 0].T + g.squeeze.bias).relu()
                   @ g.excite.weight[..., 0, 0].T + g.excite.bias) for m, g in squeezed]  # fmt: skip
    else:
        weights = [torch.sigmoid(x.mean((2, 3)) @ g.weigh.weight[..., 0, 0].T + g.weigh.bias)
                   for x, g in zip((rgb, depth, thermal), gates, strict=True)]  # fmt: skip
    found = sum(w[:, :, None, None] * x for w, x in zip(weights, (rgb, depth, thermal), strict=True))
    return found if fusion == "se" or before is None else found + operator.branch(before)


@pytest.mark.parametrize("fusion", ["sum", "concat", "se", "acnet"])
def test_three_maps_are_fused_as_the_formula_says(fusion):
    model = build(fusion, 3, width=8, others=THIRD).eval()
    with torch.no_grad(), trace(model, model.taps(), lambda maps: maps) as found:
        model(*three())
    maps = {(tap.stream, tap.level): x for tap, x in found.items()}
    for level in (1, 2):
        given = [maps[m, level] for m in model.modalities]  # of each encoder before it goes on
        wanted = by_hand(fusion, model.exchange[f"level{level}"], *given, maps.get(("fused", level - 1)))
        torch.testing.assert_close(maps["fused", level], wanted.detach())


@pytest.mark.parametrize("fusion", [name for name, one in FUSIONS.items() if one.several])
def test_a_missing_third_is_one_without_readings_and_is_in_register(fusion):
    model, (rgb, depth, thermal) = build(fusion, 3, width=8, others=THIRD).eval(), three()
    with torch.no_grad():
        assert torch.equal(model(rgb, depth, None), model(rgb, depth, torch.zeros_like(thermal)))
        assert model(None, None, thermal).isfinite().all()
    with pytest.raises(ValueError, match="`rgb` and `thermal` must be in register"):
        model(rgb, depth, thermal[..., 1:])
    with pytest.raises(ValueError, match=r"`thermal` must be \(B, 1, H, W\); got \(2, 3, 24, 32\)"):
        model(rgb, depth, rgb)
    with pytest.raises(ValueError, match="rgb or depth or thermal must be given; got None for all of them"):
        model(None, None, None)


@pytest.mark.parametrize("fusion", ["early", "sum", "rgb_wide"])
def test_the_cost_of_three_modalities_is_counted(fusion):
    row = cost([fusion], classes=3, size=(16, 24), width=8, others=THIRD).loc[fusion]
    assert row.parameters == build(fusion, 3, width=8, others=THIRD).parameter_count() and row.flops > 0
    assert row.flops > cost([fusion], classes=3, size=(16, 24), width=8).loc[fusion].flops
