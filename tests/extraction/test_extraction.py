"""extract: what it records is what the network does, however it is interrupted."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from rgbd_insight.claims import digest
from rgbd_insight.data import Folder, with_labels
from rgbd_insight.data.batch import inputs_of
from rgbd_insight.extraction import extract
from rgbd_insight.extraction.blocks import describe
from rgbd_insight.features import TASKS, Ablation, FeaturesError, Parts, guests, load, partners
from rgbd_insight.hooks import Tap, trace
from rgbd_insight.metrics import debiased_cka
from rgbd_insight.report import audit
from tests._toy import TAPS, ToyData, ToyNet, ToyTwin

HERE = Path(__file__).parents[1]
SCORE = TASKS["segmentation"].count


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the scripts: the last bits of a convolution depend on the number of threads
    yield
    torch.set_num_threads(threads)


def script(*arguments, **environment):
    env = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(
        [sys.executable, HERE / "_toy.py", *map(str, arguments)], env=env, capture_output=True, text=True, timeout=120
    )


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in ("execution.json", "SHA256SUMS")}


def run(out, model=None, data=None, **options):
    options = {"batch_size": 5, "progress": False, "device": "cpu"} | options
    return extract(model or ToyNet(), ToyData() if data is None else data, out=out, **options)


def second(data, rows):
    return data.batch(rows.tolist()).inputs["depth"]


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("extracted") / "f")


def test_responses_are_the_mean_of_the_maps(extracted):
    batch, model = ToyData().batch(range(12)), ToyNet()
    with torch.no_grad():
        expected = model.rgb1(batch.inputs["rgb"]).mean((2, 3)).numpy()  # (12, 3)
    np.testing.assert_allclose(extracted.responses("sum", "rgb", 1, "both"), expected, rtol=1e-5, atol=1e-6)
    assert extracted.responses("sum", "depth", 1, "both").shape == (12, 2)


def test_isolated_responses_average_over_the_same_guests_of_other_groups(extracted):
    data, model = ToyData(), ToyNet()
    table, own = guests(data.groups, 4).table, data.batch(range(12))
    with torch.no_grad():
        maps = [model.fuse(model.rgb1(own.inputs["rgb"]) + model.mix(model.depth1(second(data, row)))) for row in table]
    expected = torch.stack(maps).mean((0, 3, 4)).numpy()  # (12, 3)
    np.testing.assert_allclose(extracted.responses("sum", "fused", 1, "rgb"), expected, rtol=1e-5, atol=1e-6)
    # a pure stream does not see the partner
    np.testing.assert_allclose(extracted.view("sum", "rgb", 1), extracted.responses("sum", "rgb", 1, "both"), rtol=1e-6)


def test_isolated_predictions_are_beside_a_partner_of_each_samples_own(extracted):
    """A prediction's mean over the samples is to be one over partners too; "none" takes two of them."""
    data, model = ToyData(), ToyNet()
    (first, second), own = partners(data.groups, 2), data.batch(range(12))
    other, further = data.batch(first.tolist()), data.batch(second.tolist())
    with torch.no_grad():
        alone = model(own.inputs["rgb"], other.inputs["depth"])
        neither = model(other.inputs["rgb"], further.inputs["depth"])
    for condition, logits in (("rgb", alone), ("none", neither)):
        assert (extracted.predictions("sum", condition)["guess"] == SCORE(logits, own.labels)["guess"]).all()


def test_predictions_count_pixels_and_leave_out_ignored_ones(extracted):
    batch = ToyData().batch(range(12))
    with torch.no_grad():
        guess = ToyNet()(*batch.inputs.values()).argmax(1).numpy()
    labels, seen = batch.labels.numpy(), extracted.predictions("sum", "both")
    for c in range(3):
        known = labels != 255
        assert (seen["hit"][:, c] == ((guess == c) & (labels == c)).sum((1, 2))).all()
        assert (seen["target"][:, c] == (labels == c).sum((1, 2))).all()
        assert (seen["guess"][:, c] == ((guess == c) & known).sum((1, 2))).all()
    assert seen["hit"].dtype == np.int32 and extracted.conditions("sum") == ("both", "rgb", "depth", "none")
    assert not extracted.has("sum", "rgb", 1, "none")


def test_purity_and_covariates(extracted):
    moved = extracted.purity("sum").set_index(["stream", "modality"])["moved"]
    assert moved["rgb", "depth"] == 0.0 and moved["depth", "rgb"] == 0.0 and moved["fused", "depth"] > 0
    batch = ToyData().batch(range(12))
    row, valid = extracted.samples.iloc[4], batch.valid["depth"][4]
    depth = batch.inputs["depth"][4][valid].double()
    assert row["id"] == "s4" and row["group"] == "g2"
    np.testing.assert_allclose(
        row[["brightness", "mean_depth", "depth_std", "missing"]].astype(float),
        [batch.inputs["rgb"][4].mean(), depth.mean(), depth.std(correction=0), 1 - valid.float().mean()],
        rtol=1e-6,
    )
    blind = replace(batch, valid={"depth": torch.zeros_like(batch.valid["depth"])})
    assert describe(blind)["mean_depth"][0] == 0 and describe(blind)["missing"][0] == 1


def test_areas_and_cuts(extracted):
    np.testing.assert_allclose(extracted.areas[:, 0], 1)
    np.testing.assert_allclose(extracted.areas[:, 1], np.where(np.arange(12) % 3 == 0, 0.5, 0))
    assert extracted.concepts["cut"].tolist() == [1.0, 0.005, 0.005]
    assert extracted.present[:, 1].tolist() == [i % 3 == 0 for i in range(12)] and not extracted.present[:, 2].any()


@pytest.mark.parametrize("groups", ["aabbccdd", "aaaabc", "ab", "abcabcabcaa"])
def test_partners_are_of_another_group(groups):
    table, codes = partners(list(groups), 6), np.array(list(groups))
    assert (codes[table] != codes).all()
    if max(groups.count(g) for g in groups) * 2 <= len(groups):
        assert all(sorted(row) == list(range(len(groups))) for row in table)
    assert (table == partners(list(groups), 6)).all()


@pytest.mark.parametrize("groups", ["aabbccdd", "aaaabc", "ab", "abcabcabcaa", "abcdefghijkl", "aaaaaaaabbc"])
@pytest.mark.parametrize("draws", [1, 4, 6])
def test_guests_are_the_same_for_all_but_their_own_groups(groups, draws):
    found, codes = guests(list(groups), draws), np.array(list(groups))
    assert found.table.shape == (draws, len(groups)) and (codes[found.table] != codes).all()
    for row, guest, reserve in zip(found.table, found.first, found.reserve, strict=True):
        assert (row == np.where(codes == codes[guest], reserve, guest)).all()
    least = np.sort(np.unique(codes, return_counts=True)[1])
    count = min(draws, len(least) // 2)
    assert (found.table != found.first[:, None]).any(0).sum() == least[:count].sum()  # as few as there can be
    assert len({*codes[found.first]}) == count and not {*codes[found.first]} & {*codes[found.reserve]}
    assert (found.table == guests(list(groups), draws).table).all()
    if len(least) >= 16:
        assert (found.first[:4] == guests(list(groups), 4).first).all()


def test_who_the_guests_were_and_how_much_is_theirs_is_written_down(extracted):
    kept = extracted.entry("sum")
    assert kept["isolation"] == "same guests"
    found = guests(ToyData().groups, 4)
    assert kept["isolated"]["guests"] == [f"s{i}" for i in found.first]
    assert kept["isolated"]["reserves"] == [f"s{i}" for i in found.reserve]
    groups = np.array(ToyData().groups)
    assert kept["isolated"]["reserved"] == np.isin(groups, groups[found.first]).sum()
    shares = {(r["stream"], r["modality"]): r for r in kept["isolated"]["shares"]}
    assert shares["rgb", "rgb"]["share"] == shares["depth", "depth"]["share"] == 1.0  # pure: exactly
    assert shares["rgb", "rgb"]["guest"] + shares["rgb", "rgb"]["both"] < 1e-20
    assert shares["rgb", "depth"]["own"] == 0.0  # what the kept input does not reach
    assert extracted.shares("sum").to_dict("records") == kept["isolated"]["shares"]
    mixed = shares["fused", "rgb"]
    assert 0 < mixed["guest"] and 0 < mixed["both"] < mixed["own"]
    np.testing.assert_allclose(mixed["own"] + mixed["guest"] + mixed["both"], 1)
    assert mixed["share"] == mixed["own"] / (mixed["own"] + mixed["both"] / 4)


class Hosting(torch.nn.Module):
    """A stream that goes on with `weight` times as much of the other input: enc(own + weight · guest)."""

    fusion, seed, epoch = "hosting", 0, 1

    def __init__(self, weight, bend):
        super().__init__()
        torch.manual_seed(0)
        self.weight, self.bend = weight, bend
        self.mix = torch.nn.Linear(4, 12)
        self.read = torch.nn.Identity()

    def taps(self):
        return [Tap("rgb", 1, "read")]

    def forward(self, rgb, depth):
        own, other = (x[:, :1, ::4, ::4].flatten(1) * scale for x, scale in ((rgb, 1.0), (depth, 0.1)))  # (B, 4) each
        units = self.mix(own + self.weight * other)
        self.read((units.relu() if self.bend else units)[:, :, None, None])
        return torch.zeros(len(rgb), 3, *rgb.shape[-2:])


class Alike(ToyData):
    """Depth and colour of one distribution, drawn apart."""

    def __init__(self, n):
        super().__init__(n)
        self.groups = tuple(f"g{i}" for i in range(n))

    def batch(self, indices):
        batch = super().batch(indices)
        depth = batch.inputs["rgb"][:, 1:2] * 10
        return replace(batch, inputs=batch.inputs | {"depth": depth}, valid={})


@pytest.mark.parametrize("bend", [False, True])
def test_the_same_guests_leave_a_constant_where_guests_of_ones_own_leave_variance(tmp_path, bend):
    """Planted: enc(own + k · guest) for k from 0 to 3. Theory for a linear enc and D guests: 1 / (1 + k²/D) and 1."""
    data, old, new, real = Alike(200), [], [], []
    alone = run(tmp_path / "alone", Hosting(0, bend), data, conditions="rgb", batch_size=50)
    own = alone.view("hosting", "rgb", 1)
    for weight in range(4):
        model = Hosting(weight, bend)
        found = run(tmp_path / f"{weight}", model, data, conditions="rgb", batch_size=50)
        row = next(r for r in found.entry("hosting")["isolated"]["shares"] if r["modality"] == "rgb")
        old.append(Parts(row["own"], row["guest"], row["both"]).own_share(4, same=False))
        new.append(row["share"])
        batch, views = data.batch(range(200)), []
        for partner in partners(data.groups, 4):
            with torch.no_grad(), trace(model, model.taps()) as now:
                model(batch.inputs["rgb"], data.batch(partner.tolist()).inputs["depth"])
            views.append(next(iter(now.values()))[..., 0, 0].numpy())
        real.append(debiased_cka(np.mean(views, 0), own))  # of the former isolation, with the scene alone
        assert debiased_cka(found.view("hosting", "rgb", 1), own) > (0.7 if bend else 0.95)
    theory = 1 / (1 + np.arange(4) ** 2 / 4)
    if not bend:
        np.testing.assert_allclose(old, theory, atol=0.15)  # four guests: three degrees of freedom of their variance
        assert min(new) > 0.99
    assert (np.diff(old) < 0).all() and (np.diff(real) < 0).all() and old[3] < 0.6 and real[3] < 0.8
    assert min(new) > 0.8


def test_twin_records_its_own_condition(tmp_path):
    features = run(tmp_path / "f", ToyTwin())
    assert features.conditions("rgb") == ("rgb",) and features.streams("rgb") == ("rgb",)
    assert features.view("rgb", "rgb", 1).shape == (12, 3)
    with pytest.raises(ValueError, match="of 'rgb' alone"):
        run(tmp_path / "g", ToyTwin(), conditions=("both",))


def test_ablations_are_added_to_a_finished_run(tmp_path):
    features = run(tmp_path / "f")
    before = features.responses("sum", "rgb", 1, "both").copy()
    cuts = [Ablation("off", {("fused", 1): (0, 1, 2)}, "zero"), Ablation("still", {("rgb", 1): (1,)}, "mean", "rgb")]
    more = run(tmp_path / "f", conditions=cuts)
    with torch.no_grad():
        always = int(ToyNet().head(torch.zeros(1, 3, 1, 1)).argmax())
    assert (np.delete(more.predictions("sum", "off")["guess"], always, axis=1) == 0).all()
    assert more.ablations("sum") == {a.name: a for a in cuts}
    assert more.conditions("sum") == features.conditions("sum")
    assert (more.responses("sum", "rgb", 1, "both") == before).all()
    stamp = (tmp_path / "f" / "manifest.json").stat().st_mtime_ns
    run(tmp_path / "f", conditions=["both", *cuts])  # nothing left to do
    assert (tmp_path / "f" / "manifest.json").stat().st_mtime_ns == stamp
    with pytest.raises(FeaturesError, match="'off'.*rename"):
        run(tmp_path / "f", conditions=[Ablation("off", {("fused", 1): (0,)}, "zero")])


def test_replaced_inputs(tmp_path):
    features = run(tmp_path / "f", conditions=("rgb:zero", "rgb:mean", "depth:noise", "none:zero", "none:noise"))
    batch = ToyData().batch(range(12))
    with torch.no_grad():
        logits = ToyNet()(batch.inputs["rgb"], torch.zeros_like(batch.inputs["depth"]))
    assert (features.predictions("sum", "rgb:zero")["hit"] == SCORE(logits, batch.labels)["hit"]).all()
    assert features.predictions("sum", "depth:noise")["target"].sum() == 12 * 56
    with torch.no_grad():
        blank = ToyNet()(torch.zeros_like(batch.inputs["rgb"]), torch.zeros_like(batch.inputs["depth"]))
    assert (features.predictions("sum", "none:zero")["hit"] == SCORE(blank, batch.labels)["hit"]).all()


def test_noise_in_both_inputs_is_the_noise_of_each(tmp_path):
    given = {}

    class Watched(ToyNet):
        def forward(self, rgb, depth):
            given[len(given)] = rgb, depth
            return super().forward(rgb, depth)

    run(tmp_path / "f", Watched(), conditions=("depth:noise", "rgb:noise", "none:noise"), batch_size=12)
    (noise, depth), (rgb, hiss), both = given[0], given[1], given[2]
    own = ToyData().batch(range(12))
    assert torch.equal(rgb, own.inputs["rgb"]) and torch.equal(depth, own.inputs["depth"])
    assert torch.equal(both[0], noise) and torch.equal(both[1], hiss)
    assert 0 <= noise.min() < noise.max() <= 1 and 0 <= hiss.min() < hiss.max() <= 10


def test_killed_extraction_ends_in_the_same_bytes(tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    run(whole, batch_size=3)
    died = script("die", torn, TOY_KILL_AT="6")
    assert died.returncode == -9, died.stderr
    assert not torn.exists() and (tmp_path / "torn.partial" / "progress.json").exists()
    asked = []

    class Watched(ToyData):
        def batch(self, indices):
            asked.append(list(indices))
            return super().batch(indices)

    run(torn, data=Watched(), batch_size=3)
    assert [0, 1, 2] not in asked and [6, 7, 8] in asked
    assert contents(torn) == contents(whole) and not (tmp_path / "torn.partial").exists()


def test_interrupt_says_how_to_go_on_and_leaves_the_model_alone(tmp_path):
    class Impatient(ToyData):
        def batch(self, indices):
            if isinstance(indices, range) and indices[0] == 5:
                raise KeyboardInterrupt
            return super().batch(indices)

    model = ToyNet().train()
    model.head.eval()
    with pytest.raises(KeyboardInterrupt, match="5 of 12 samples are safe"):
        run(tmp_path / "f", model, Impatient())
    assert model.training and not model.head.training and not model.rgb1._forward_hooks
    with pytest.raises(FeaturesError, match="f.partial was made with 'draws' = 4, and now 2"):
        run(tmp_path / "f", model, draws=2)
    assert len(run(tmp_path / "f", model)) == 12


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    done = script("measure", tmp_path)
    assert done.returncode == 0, done.stderr
    _, few, many = map(int, done.stdout.split())
    assert many <= 1.1 * few  # the images alone would be 50 MiB, the labels 25


def test_curves_and_extras_travel_with_the_run(tmp_path):
    curves = pd.DataFrame({"step": [1, 2], "loss": [0.5, 0.25]})
    features = run(tmp_path / "f", run={"curves": curves, "role": "checkpoint", "params": 12, "seed": 4})
    assert features.runs.index.tolist() == ["sum-s4-e3-checkpoint"]
    pd.testing.assert_frame_equal(features.curves("sum-s4-e3-checkpoint"), curves)
    assert features.entry("sum-s4-e3-checkpoint")["about"] == {"params": 12}
    assert features.execution["runs"][0]["device"]["type"] == "cpu"


def test_the_digest_of_the_claims_is_kept_beside_the_device(tmp_path):
    """A table that is later made of the features can say whether its claims were stated before them."""
    stated = run(tmp_path / "f", claims=digest())
    assert stated.execution["runs"][0]["claims"] == digest() and len(digest()) == 64
    more = run(tmp_path / "f", conditions=["rgb:zero"], claims="0" * 64)  # added after the claims were changed
    assert [r["claims"] for r in more.execution["runs"]] == [digest(), "0" * 64]
    unstated = run(tmp_path / "g").execution["runs"][0]
    assert unstated["claims"] is None and {"device", "torch", "commit", "date", "processes"} <= unstated.keys()


def spoiled(field, value):
    class Spoiled(ToyData):
        def batch(self, indices):
            batch = super().batch(indices)
            images = batch.inputs | {"labels": batch.labels, "concepts": batch.concepts}
            values = images[field].clone()
            values[[i == 7 for i in indices]] = value
            if field in batch.inputs:
                return replace(batch, inputs=batch.inputs | {field: values})
            return replace(batch, **{field: values})

    return Spoiled()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("depth", float("nan"), "`depth` must be finite; got nan in sample 's7'"),
        ("depth", float("inf"), "`depth` must be finite; got inf"),
        ("rgb", 255.0, r"`rgb` must be in \[0, 1\]; got 255.0 in sample 's7'.*divide"),
        ("labels", 9, "`labels` must be 0 to 2, or 255.*got 9"),
        ("concepts", 3, r"`concepts` must be -1 \(none\) to 2; got 3"),
    ],
)
def test_spoiled_samples_are_named(tmp_path, field, value, words):
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "f", data=spoiled(field, value))


def with_(model=None, **attributes):
    thing = model if model is not None else ToyData()
    for name, value in attributes.items():
        setattr(thing, name, value)
    return thing


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": with_(groups=("g",) * 12)}, "two or more groups; got only 'g'"),
        ({"data": with_(n=0)}, "empty dataset"),
        ({"data": with_(groups=("g", "h"))}, "each of the 12 samples; got 2"),
        ({"data": with_(classes=("a", "b", "c", "d"))}, r"logits of shape \(5, 4, 8, 8\).*got \(5, 3, 8, 8\)"),
        ({"conditions": ("deth",)}, "got 'deth'.*nearest are .*depth"),
        ({"conditions": ()}, "must name at least one"),
        ({"conditions": [Ablation("x", {("rgb", 7): (0,)})]}, r"got .*7"),
        ({"conditions": [Ablation("x", {("rgb", 1): (9,)})]}, "must be 0 to 2; got 9"),
        ({"conditions": [Ablation("both", {})]}, "Ablation's name"),
        ({"draws": 0}, "`draws` must be a whole number from 1 to 1,000; got 0"),
        ({"batch_size": 1.5}, "`batch_size`"),
        ({"workers": -1}, "`workers` must be a whole number from 0 to 256; got -1"),
        ({"run": {"role": "finl"}}, "'finl'.*final"),
        ({"run": {"fusion": "../x"}}, "plain file name"),
        ({"taps": [TAPS[0], TAPS[0]]}, "one a stream and level"),
        ({"taps": []}, "one or more"),
        ({"model": torch.nn.Identity()}, "`taps` must be given"),
    ],
)
def test_bad_arguments_are_explained(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "f", **options)
    assert not (tmp_path / "f").exists()


def test_a_tap_that_never_fires_is_named(tmp_path):
    with pytest.raises((ValueError, RuntimeError), match="rgb9"):
        run(tmp_path / "f", taps=[Tap("rgb", 1, "rgb9")])


def test_not_a_number_from_the_model_is_named(tmp_path):
    model = ToyNet()
    with torch.no_grad():
        model.rgb1.bias[0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity for sample 's0'"):
        run(tmp_path / "f", model)


def test_progress_goes_to_stderr(tmp_path, capsys):
    run(tmp_path / "f", progress=True)
    shown = capsys.readouterr()
    assert "12/12" in shown.err and not shown.out and len(load(tmp_path / "f")) == 12


def test_a_second_modality_that_is_not_depth(tmp_path):
    """Thermal images in a folder, declared in camera.json, from the pixels to the audit and back by its own name."""
    rng, ids = np.random.default_rng(0), [f"t{i:02d}" for i in range(24)]
    for name in ("rgb", "depth", "label"):
        (tmp_path / "heat" / name).mkdir(parents=True)
    for stem in ids:
        images = {"rgb": rng.integers(0, 256, (16, 16, 3), np.uint8), "label": rng.integers(0, 3, (16, 16), np.uint8)}
        images["depth"] = rng.integers(5600, 6600, (16, 16), np.uint16)  # 280 to 330 K in steps of .05
        for name, image in images.items():
            Image.fromarray(image).save(tmp_path / "heat" / name / f"{stem}.png")
    camera = {"modality": {"name": "thermal", "unit": "K", "scale": 0.05, "low": 250, "high": 350}}
    for name, value in (
        ("camera", camera),
        ("classes", ["sky", "road", "person"]),
        ("splits", {"test": ids, "groups": {stem: stem for stem in ids}}),
    ):
        (tmp_path / "heat" / f"{name}.json").write_text(json.dumps(value))
    taps = [replace(tap, stream="thermal") if tap.stream == "depth" else tap for tap in TAPS]
    found = run(tmp_path / "f", data=Folder(tmp_path / "heat"), taps=taps, draws=1)
    assert found.conditions("sum") == ("both", "rgb", "thermal", "none")
    moved = found.purity("sum").set_index(["stream", "modality"])["moved"]
    assert moved["thermal", "rgb"] == 0 < moved["thermal", "thermal"]
    assert found.view("sum", "thermal", 1).shape == (24, 2)
    report = audit(found, permutations=20)
    assert report.card["modalities"] == "rgb (0 to 1), thermal (250 to 350 K)"
    answers = " ".join(report.answers.values())
    assert "rgb and thermal" in answers and "depth" not in answers


class Lean(ToyData):
    """Makes concepts only where they are asked for, and notes who asked for what."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.whole, self.bare = [], []

    def batch(self, indices):
        self.whole += indices
        return super().batch(indices)

    def inputs(self, indices):
        self.bare += indices
        batch = super().batch(indices)
        return replace(batch, concepts=torch.full_like(batch.concepts, -1))


def test_concepts_are_made_once_a_sample(extracted, tmp_path):
    data = Lean()
    features = run(tmp_path / "f", data=data)
    assert data.whole == list(range(12)) and len({*data.bare[1:]}) == len(data.bare[1:]) < 12
    assert contents(features.path) == contents(extracted.path)


def test_inputs_are_asked_only_of_who_says_what_a_batch_is():
    class Darker(Lean):
        def batch(self, indices):
            batch = super().batch(indices)
            return replace(batch, inputs=batch.inputs | {"rgb": batch.inputs["rgb"] / 2})

    class Masked:
        def __init__(self, data):
            self.data = data

        def __getattr__(self, name):
            return getattr(self.data, name)

        def batch(self, indices):
            return self.data.batch(indices)

    patched = Lean()
    patched.batch = ToyData().batch
    for data in (Darker(), Masked(Lean()), patched, ToyData()):
        assert inputs_of(data) == data.batch
    lean = Lean()
    assert inputs_of(lean) == lean.inputs
    labelled = with_labels(Masked(Darker()), None)  # a dataset around one that hands on what it does not have
    assert torch.equal(labelled.inputs([0]).inputs["rgb"], labelled.batch([0]).inputs["rgb"])
