"""Networks as people bring them, from the first block to the audit: every row a sample's, or a line that says why."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rgbd_insight.cli import main
from rgbd_insight.extraction import extract
from rgbd_insight.hooks import Tap
from rgbd_insight.models import build, load, load_weights, save
from rgbd_insight.report import audit
from tests._toy import ToyData, ToyNet


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(out="f", model=None, data=None, **options):
    options = {"batch_size": 5, "progress": False, "device": "cpu", "draws": 1} | options
    return extract(model or ToyNet(), ToyData() if data is None else data, out=out, **options)


def nothing_is_left(folder):
    return not [path for path in folder.iterdir() if path.name.startswith("f")]


def some_at_a_time(model, rgb, depth):
    return torch.cat([model(*pair) for pair in zip(rgb.split(2), depth.split(2), strict=True)])


def backwards(model, rgb, depth):
    return torch.cat([model(rgb[i : i + 1], depth[i : i + 1]) for i in reversed(range(len(rgb)))]).flip(0)


def shifted(model, rgb, depth):
    rows = [*range(1, len(rgb)), 0]
    return torch.cat([model(rgb[i : i + 1], depth[i : i + 1]) for i in rows]).roll(1, 0)


def windows(model, rgb, depth):
    return torch.cat([model(rgb[..., i : i + 4], depth[..., i : i + 4]) for i in (0, 4)], -1)


def flips(model, rgb, depth):
    return model(rgb, depth) + model(rgb.flip(-1), depth.flip(-1)).flip(-1)


def test_a_network_called_for_some_samples_at_a_time_is_extracted_as_in_one_call():
    whole, parts = run("whole"), run("parts", adapt=some_at_a_time)
    for condition in ("both", "rgb", "depth"):
        for stream in ("rgb", "depth", "fused"):
            one, other = (x.responses("sum", stream, 1, condition) for x in (whole, parts))
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert (whole.purity("sum")["moved"] - parts.purity("sum")["moved"]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("adapt", "words"),
    [
        (windows, "2 times for 5 samples, with 5, 5 rows.*windows"),
        (flips, "2 times for 5 samples, with 5, 5 rows"),
        (backwards, "not the samples in order: sample 1 of 5 alone is answered as row 5"),
        (shifted, "not the samples in order: sample 1 of 5 alone is answered as row 5"),
    ],
)
def test_rows_that_are_not_the_samples_are_refused_at_the_first_block(at, adapt, words):
    asked = []

    class Watched(ToyData):
        def batch(self, indices):
            asked.append(list(indices))
            return super().batch(indices)

    with pytest.raises(RuntimeError, match=words):
        run(adapt=adapt, data=Watched())
    assert asked[:2] == [[0], [0, 1, 2, 3, 4]]  # the first sample tells the task; partners come with the block
    assert [5, 6, 7, 8, 9] not in asked and nothing_is_left(at)


def test_modalities_stacked_along_the_batch_are_said_at_the_first_block(at):
    class Stacked(ToyNet):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(3, 4, 1)

        def forward(self, rgb, depth):
            self.one(torch.cat([rgb, depth.expand(-1, 3, -1, -1)]))
            return super().forward(rgb, depth)

    with pytest.raises(RuntimeError, match='hands over 10 rows for 5 samples.*rows="1/2"'):
        run(model=Stacked(), taps=[Tap("rgb", 1, "one")])
    assert nothing_is_left(at)
    found = run(model=Stacked(), taps=[Tap(s, 1, "one", rows=f"{i}/2") for i, s in enumerate(("rgb", "depth"), 1)])
    batch, model = ToyData().batch(range(12)), Stacked()
    with torch.no_grad():
        truth = model.one(batch.inputs["depth"].expand(-1, 3, -1, -1)).mean((2, 3)).numpy()
    np.testing.assert_allclose(found.responses("sum", "depth", 1, "both"), truth, rtol=1e-5, atol=1e-6)
    assert [tap.get("rows") for tap in found.entry("sum")["taps"]] == ["1/2", "2/2"]


class Keeping(ToyNet):
    """Keeps what it makes in `forward`, as networks keep grids and position codes."""

    def __init__(self):
        super().__init__()
        self.grid, self.memory = None, []

    def forward(self, rgb, depth):
        if self.grid is None:
            self.grid = torch.linspace(0, 1, rgb.shape[-1])
        self.memory.append(rgb * self.rgb1.weight.mean())
        return super().forward(rgb * self.grid, depth)


def test_what_a_module_keeps_of_an_extraction_can_be_trained_with():
    model, batch = Keeping().train(), ToyData().batch([0, 1])
    run(model=model)
    logits = model(*batch.inputs.values()) * model.memory[0].mean()
    F.cross_entropy(logits, batch.labels, ignore_index=255).backward()
    assert model.training and all(p.grad is not None for p in model.rgb1.parameters())
    assert not model.grid.is_inference() and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.half])
@pytest.mark.parametrize("adapt", [None, some_at_a_time])
def test_networks_of_half_precision_need_no_cast(kind, adapt):
    model = ToyNet().to(kind)
    half, full = run("half", model, adapt=adapt), run("full")
    one, other = (x.responses("sum", "fused", 1, "both") for x in (half, full))
    np.testing.assert_allclose(one, other, atol=0.02)
    assert model.rgb1.weight.dtype == kind and not model._forward_pre_hooks
    same = half.predictions("sum", "both")["hit"].sum() / full.predictions("sum", "both")["hit"].sum()
    assert 0.9 < same < 1.1


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("taps", [None, [Tap("rgb", 1, "rgb1")]])
def test_a_scripted_network_is_refused_in_our_words(at, taps):
    batch = ToyData().batch([0, 1])
    model = torch.jit.trace(ToyNet().eval(), tuple(batch.inputs.values()))
    with pytest.raises(ValueError, match="TorchScript|`taps` must be given"):
        run(model=model, taps=taps)
    assert nothing_is_left(at)


class Strided(ToyNet):
    """Down by 16 and up again, joined with what came before."""

    def forward(self, rgb, depth):
        low = F.avg_pool2d(rgb, 16, 16)
        return super().forward(rgb + F.interpolate(low, scale_factor=16), depth)


def test_a_size_that_the_strides_do_not_divide_is_named_with_the_one_that_fits(at):
    data = ToyData(size=(40, 56))
    with pytest.raises(ValueError, match=r"fails at 40x56 and runs at 48x64: give Folder\(size=\(48, 64\)\)"):
        run(model=Strided(), data=data)
    assert nothing_is_left(at)
    assert len(run(model=Strided(), data=ToyData(size=(48, 64)))) == 12


def test_another_error_of_the_network_is_its_own(at):
    class Broken(ToyNet):
        def forward(self, rgb, depth):
            return super().forward(depth, rgb)

    with pytest.raises(RuntimeError, match="expected input"):
        run(model=Broken())


class Made(ToyNet):
    """Hands on numbers of another kind."""

    def __init__(self, make):
        super().__init__()
        self.make, self.made = make, nn.Identity()

    def forward(self, rgb, depth):
        self.made(self.make(rgb))
        return super().forward(rgb, depth)


@pytest.mark.parametrize(
    ("make", "values"),
    [(torch.fft.fft2, "abs"), (lambda x: (9 * x).int(), "count"), (lambda x: x > 0.5, "count")],
)
def test_numbers_that_are_not_real_are_refused_or_taken_as_asked(at, make, values):
    with pytest.raises(RuntimeError, match=f'values="{values}"'):
        run(model=Made(make), taps=[Tap("f", 1, "made")], conditions="both")
    assert nothing_is_left(at)
    found = run(model=Made(make), taps=[Tap("f", 1, "made", values=values)], conditions="both")
    truth = make(ToyData().batch(range(12)).inputs["rgb"])
    truth = (truth.abs() if values == "abs" else truth.double()).mean((2, 3)).numpy()
    np.testing.assert_allclose(found.responses("sum", "f", 1, "both"), truth, rtol=1e-5)


class Foreign(ToyNet):
    """A network that says nothing of its training."""

    epoch = None


@pytest.mark.parametrize(
    ("given", "epoch", "role", "said"),
    [
        ({}, "unknown", "unknown", "Not known of the network: epoch, role"),
        ({"role": "final"}, "unknown", "final", "Not known of the network: epoch"),
        ({"epoch": 0}, 0, "final", "The run is untrained"),
        ({"epoch": 40}, 40, "final", None),
    ],
)
def test_how_far_a_network_was_trained_is_given_or_unknown(given, epoch, role, said):
    found = run(model=Foreign(), data=ToyData(24), run={"fusion": "mine", "seed": 0} | given)
    report = audit(found, permutations=20)
    assert (report.card["epoch"], report.card["role"]) == (epoch, role)
    told = [text for text in report.warnings if text.startswith(("The run is untrained", "Not known"))]
    assert (said is None and not told) or (len(told) == 1 and told[0].startswith(said))


def test_an_untrained_network_is_known_to_be_so():
    entry = run(model=Foreign(), run={"fusion": "mine", "role": "untrained"}).entry("mine-s0-e0-untrained")
    assert entry["epoch"] == 0 and "unknown" not in entry["about"]


def test_weights_of_a_checkpoint_are_of_no_epoch_until_it_is_said(at):
    model = build("sum", classes=28, width=8)
    torch.save(model.state_dict(), at / "trained.pt")
    other = load_weights(build("sum", classes=28, width=8), at / "trained.pt")
    assert model.epoch == 0 and other.epoch is None
    assert load(save(other, at / "kept.safetensors")).epoch is None
    save(model, at / "epoch-0000.safetensors")
    command = f"extract --model {at} --checkpoint trained.pt --n 22 --draws 1 --device cpu --out".split()
    for options, about, epoch in (
        ([], "epoch, role", 0),
        (["--role", "final"], "epoch", 0),
        (["--epoch", "12", "--role", "checkpoint"], None, 12),
    ):
        out = f"f{len(options)}"
        assert main([*command, out, *options]) == 0
        (entry,) = json.loads((at / out / "manifest.json").read_text())["runs"].values()
        assert entry["about"].get("unknown") == about and entry["epoch"] == epoch
    assert main([*command, "g", "--epoch", "late"]) == 1
    assert main([*command, "g", "--role", "half"]) == 2
