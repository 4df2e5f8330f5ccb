import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rgbd_insight.data.batch import Batch
from rgbd_insight.features import Modality
from rgbd_insight.models import build, load
from rgbd_insight.training import PROFILES, Alignment, Cache, log_spaced, train
from rgbd_insight.training import loop as trainer


class Toy:
    """Left of a vertical edge is class 0, right of it 1 (in colour) or 2 (where it is also far)."""

    name, classes = "toy", ("left", "near", "far")
    modalities = (Modality("rgb", "", 0, 1), Modality("depth", "m", 0, 10))
    size = (8, 16)

    def __init__(self, n: int = 24, wrong: int | None = None) -> None:
        self.n, self.wrong = n, wrong

    def __len__(self) -> int:
        return self.n

    def fingerprint(self) -> dict:
        return {"name": "toy", "n": self.n}

    def batch(self, indices) -> Batch:
        index = torch.as_tensor(list(indices))[:, None, None]
        right = torch.arange(16)[None, None] > 4 + index % 8  # (B, 1, W)
        right = right.expand(-1, 8, -1)
        far = right & (index % 2 == 0)
        labels = right.long() + far.long()
        if self.wrong is not None:
            labels = torch.where(index == self.wrong, 7, labels)
        rgb = right[:, None].float().expand(-1, 3, -1, -1) * 0.8 + 0.1
        depth = 2 + 3 * far[:, None].float()
        ids = tuple(f"s{int(i)}" for i in index.flatten())
        return Batch({"rgb": rgb, "depth": depth}, {"depth": depth > 0}, labels, labels[:, None].short(), ids, ids)


def tiny(fusion="sum", seed=0):
    return build(fusion, classes=3, seed=seed, width=8)


def run(model, out, data=None, **options):
    options = {"epochs": 2, "batch_size": 8, "progress": False, "device": "cpu"} | options
    return train(model, Toy() if data is None else data, out=out, **options)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_learns_and_writes(tmp_path):
    model = tiny()
    curves = run(model, tmp_path, epochs=6, lr=1e-2, modality_dropout=0.0, flip=False)
    assert curves["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert curves["loss"].iloc[-1] < 0.6 * curves["loss"].iloc[0]
    assert curves["accuracy"].iloc[-1] > 0.8
    assert curves["gradient_cosine"].between(-1, 1).all() and (curves[["gradient_rgb", "gradient_depth"]] > 0).all(
        axis=None
    )
    files = sorted(path.name for path in tmp_path.iterdir())
    kept = [f"epoch-{e:04d}.safetensors" for e in (0, 1, 2, 4, 6)]
    assert files == ["curves.parquet", *kept, "state.safetensors"]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "curves.parquet"), curves)
    last = load(tmp_path / kept[-1])
    assert last.epoch == model.epoch == 6 and same(last, model) and not model.training


@pytest.mark.parametrize("fusion", ["rgb", "early", "late"])
def test_streams_in_curves(fusion, tmp_path):
    curves = run(tiny(fusion), tmp_path, epochs=1)
    found = {c.removeprefix("gradient_") for c in curves if c.startswith("gradient_")}
    assert found == {"rgb": {"rgb"}, "early": {"fused"}, "late": {"rgb", "depth", "cosine"}}[fusion]


def test_deterministic_by_seed(tmp_path):
    models = [tiny(), tiny(), tiny()]
    cache = Cache(Toy())
    for i, (model, seed) in enumerate(zip(models, (0, 0, 1), strict=True)):
        torch.manual_seed(i)  # the global state must not matter
        run(model, tmp_path / str(i), data=cache, seed=seed)
    assert same(models[0], models[1]) and not same(models[0], models[2])
    assert (tmp_path / "0/epoch-0002.safetensors").read_bytes() == (tmp_path / "1/epoch-0002.safetensors").read_bytes()


KILLED = """
import os, signal, sys, torch
sys.path.insert(0, sys.argv[2])
torch.set_num_threads(1)
from test_training import run, tiny
from rgbd_insight.training import loop as trainer
step, count = trainer.Run._step, []
def dying(self, *args):
    count.append(1)
    if len(count) == 8:  # in the middle of the third epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args)
trainer.Run._step = dying
run(tiny(), sys.argv[1], epochs=4)
"""


def test_resumes_after_sigkill_bitwise(tmp_path):
    here = Path(__file__).parent
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        env = os.environ | {"PYTHONPATH": str(here.parents[1])}
        command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(here)]
        ended = subprocess.run(command, env=env, check=False, timeout=120)
        assert ended.returncode == -signal.SIGKILL
        assert pd.read_parquet(tmp_path / "killed/curves.parquet")["epoch"].tolist() == [1, 2]
        resumed, whole = tiny(), tiny()
        one, two = run(resumed, tmp_path / "killed", epochs=4), run(whole, tmp_path / "whole", epochs=4)
    finally:
        torch.set_num_threads(threads)
    assert same(resumed, whole)
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    for name in ("epoch-0004.safetensors", "state.safetensors"):
        a, b = load_file(tmp_path / "killed" / name), load_file(tmp_path / "whole" / name)
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    first, again = tiny(), tiny()
    curves = run(first, tmp_path)
    monkeypatch.setattr(trainer.Run, "_step", lambda *args: pytest.fail("trained again"))
    pd.testing.assert_frame_equal(run(again, tmp_path), curves)
    assert same(first, again) and again.epoch == 2


def test_other_run_in_folder_names_the_key(tmp_path):
    run(tiny(), tmp_path, epochs=1)
    with pytest.raises(ValueError, match="differs in 'lr'.*resume=False"):
        run(tiny(), tmp_path, epochs=1, lr=1e-4)
    with pytest.raises(ValueError, match="differs in 'model'"):
        run(tiny("se"), tmp_path, epochs=1)
    (tmp_path / "epoch-0009.safetensors").touch()
    run(tiny("se"), tmp_path, epochs=1, resume=False)
    assert load(tmp_path / "epoch-0001.safetensors").fusion == "se"
    assert not (tmp_path / "epoch-0009.safetensors").exists()


def test_modality_dropout_spares_twins_and_never_drops_both(tmp_path, monkeypatch):
    seen = {}
    for fusion in ("sum", "rgb"):
        real, inputs = build(fusion, classes=3, width=8), []
        forward = real.forward
        real.forward = lambda rgb, depth, inputs=inputs, forward=forward: (
            inputs.append((rgb, depth)) or forward(rgb, depth)
        )
        run(real, tmp_path / fusion, epochs=2, modality_dropout=0.4, precision="fp32")
        rgb, depth = (torch.cat(x) for x in zip(*inputs, strict=True))
        seen[fusion] = ((rgb == 0.5).flatten(1).all(1), (depth == 0).flatten(1).all(1))
    dropped_rgb, dropped_depth = seen["sum"]
    assert dropped_rgb.any() and dropped_depth.any() and not (dropped_rgb & dropped_depth).any()
    assert not seen["rgb"][0].any() and not seen["rgb"][1].any()


def test_flip_keeps_register(tmp_path):
    cache = Cache(Toy())
    run_ = trainer.Run(tiny(), cache, trainer.Recipe(modality_dropout=0.0, precision="fp32"))
    run_.prepare(torch.device("cpu"), 0)
    (rgb, depth), labels = run_._augmented(
        torch.arange(24), torch.rand(24, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(24, 6)
    )
    _, _, unflipped = cache.batch(torch.arange(24))
    assert 0 < (labels != unflipped).flatten(1).any(1).sum() < 24
    assert torch.equal(rgb[:, 0] > 0.5, labels > 0)
    assert torch.equal(depth[:, 0] > 4, labels == 2)


class Checked(Toy):
    """Every pixel has a number of its own, which colour, depth and label all say."""

    size, classes = (8, 16), tuple(map(str, range(128)))

    def batch(self, indices) -> Batch:
        batch = super().batch(indices)
        number = torch.arange(128).reshape(1, 8, 16).expand(len(batch.labels), -1, -1)
        inputs = {"rgb": (number[:, None] / 255).expand(-1, 3, -1, -1), "depth": 0.05 * (1.0 + number[:, None])}
        return dataclasses.replace(batch, inputs=inputs, labels=number)


def test_zoom_keeps_register_and_mixes_neither_depth_nor_classes(tmp_path):
    cache, model = Cache(Checked()), build("sum", classes=128, width=8)
    recipe = trainer.Recipe(modality_dropout=0.0, precision="fp32", zoom=2.0, flip=False)
    run_ = trainer.Run(model, cache, recipe)
    run_.prepare(torch.device("cpu"), 0)
    moves = torch.rand(24, 6, generator=torch.Generator().manual_seed(0))
    moves[0, :3] = torch.tensor([0.0, 0.5, 0.5])  # a factor of 1 changes nothing
    moves[1, :3] = torch.tensor([1.0, 1.0, 0.0])  # the upper right quarter, twice as large
    (rgb, depth), labels = run_._augmented(torch.arange(24), torch.ones(24, 2), moves)
    torch.testing.assert_close(depth[:, 0], 0.05 * (1.0 + labels), atol=1e-3, rtol=0)
    whole = torch.arange(128).reshape(8, 16)
    assert torch.equal(labels[0], whole)
    assert torch.equal(labels[1], whole[:4, 8:].repeat_interleave(2, 0).repeat_interleave(2, 1))
    # colour lies between neighbours, hence within a row and a column of what depth says
    assert ((rgb[:, 0] * 255 - labels).abs() <= 9).all() and (rgb[:, 0] * 255 - labels).abs().max() > 0.1
    seen = labels.flatten(1).float().std(1)
    assert len(seen.unique()) > 12  # each sample has its own factor and place


def test_jitter_changes_colour_alone_and_is_within_its_range():
    cache = Cache(Toy())
    run_ = trainer.Run(tiny(), cache, trainer.Recipe(modality_dropout=0.0, precision="fp32", jitter=0.3, flip=False))
    run_.prepare(torch.device("cpu"), 0)
    moves = torch.rand(24, 6, generator=torch.Generator().manual_seed(1))
    (rgb, depth), labels = run_._augmented(torch.arange(24), torch.ones(24, 2), moves)
    before = cache.batch(torch.arange(24))
    assert torch.equal(depth, before[1]) and torch.equal(labels, before[2])
    assert 0 <= rgb.min() and rgb.max() <= 1
    # by hand: grey pictures have no saturation; brightness b, then contrast c about the picture's mean
    bright, contrast = (1 + 0.3 * (2 * moves[:, 3:5] - 1)).T[:, :, None, None, None]
    mean = (before[0] * bright).mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(rgb, (mean + contrast * (before[0] * bright - mean)).clamp(0, 1), atol=1e-5, rtol=0)


def test_encoders_learn_at_their_own_rate(tmp_path):
    start, one, still = tiny(), tiny(), tiny()
    run(one, tmp_path / "one", epochs=1)
    run(still, tmp_path / "still", epochs=1, encoder_lr=0.0)
    for name, x in still.state_dict().items():
        same = torch.equal(x, start.state_dict()[name])
        assert same == name.startswith("encoder_")
    assert not any(torch.equal(x, y) for x, y in zip(one.parameters(), start.parameters(), strict=True) if x.ndim == 4)


@pytest.mark.parametrize(("name", "value"), [("zoom", 0.5), ("jitter", 2), ("encoder_lr", -1), ("zoom", float("nan"))])
def test_what_augmentation_cannot_be(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a number from"):
        trainer.Recipe(**{name: value})


def test_cache_is_exact_enough():
    data = Toy()
    rgb, depth, labels = Cache(data).batch(torch.tensor([3, 0]))
    truth = data.batch([3, 0])
    assert (rgb - truth.inputs["rgb"]).abs().max() < 0.002 and (depth - truth.inputs["depth"]).abs().max() < 4e-4
    assert torch.equal(labels, truth.labels)


def test_cache_keeps_readings_and_gaps_apart():
    class Near(Toy):
        def batch(self, indices):
            batch = super().batch(indices)
            near = torch.where(batch.labels[:, None] == 0, 0.0, 1e-6)
            return dataclasses.replace(batch, inputs=batch.inputs | {"depth": near})

    cache = Cache(Near())
    assert torch.equal(cache.depth[:, 0] > 0, cache.labels > 0)


def test_class_weights_are_inverse_square_roots():
    cache = Cache(Toy())
    counts = np.bincount(cache.labels.numpy().ravel(), minlength=3)
    weights = cache.class_weights(5).numpy()
    np.testing.assert_allclose(weights[:3] / weights[0], np.sqrt(counts[0] / counts), rtol=1e-5)
    assert weights[:3].mean() == pytest.approx(1) and (weights[3:] == 1).all()


def test_clear_errors(tmp_path):
    with pytest.raises(ValueError, match="must have samples; got 0"):
        run(tiny(), tmp_path, data=Toy(0))
    with pytest.raises(ValueError, match="sample 's5' has class 7"):
        run(tiny(), tmp_path, data=Toy(wrong=5))
    with pytest.raises(ValueError, match="nearest are epochs"):
        run(tiny(), tmp_path, epoch=3)
    with pytest.raises(ValueError, match="`modality_dropout` must be"):
        run(tiny(), tmp_path, modality_dropout=0.7)

    class Millimetres(Toy):
        def batch(self, indices):
            batch = super().batch(indices)
            return dataclasses.replace(batch, inputs=batch.inputs | {"depth": batch.inputs["depth"] * 1000})

    with pytest.raises(ValueError, match="sample 's0'.*unit"):
        run(tiny(), tmp_path, data=Millimetres())
    assert not list(tmp_path.iterdir())


def test_loss_that_is_not_finite_names_epoch_and_step(tmp_path):
    model = tiny()
    with torch.no_grad():
        model.encoder_rgb.stem[0].weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="epoch 1, step 0: lower `lr`"):
        run(model, tmp_path)


def test_unlabelled_batches_teach_nothing(tmp_path):
    class Unlabelled(Toy):
        def batch(self, indices):
            batch = super().batch(indices)
            return dataclasses.replace(batch, labels=torch.full_like(batch.labels, 255))

    curves = run(tiny(), tmp_path, data=Unlabelled(), epochs=1)
    assert curves["loss"].tolist() == [0.0] and curves["accuracy"].tolist() == [0.0]


def test_profiles_and_checkpoints():
    assert set(PROFILES) == {"tiny", "small", "full"}
    for profile in PROFILES.values():
        trainer.Recipe(**profile["train"])
        build("se", classes=3, **profile["model"])
    assert [log_spaced(n) for n in (1, 2, 9)] == [(0, 1), (0, 1, 2), (0, 1, 2, 4, 8, 9)]


def test_a_kept_cache_is_read_again_and_made_anew_for_other_data(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "toy.safetensors"
    first = Cache.kept(Toy(), path)
    made = []
    whole = Toy.batch
    monkeypatch.setattr(Toy, "batch", lambda self, rows: made.append(1) or whole(self, rows))
    again = Cache.kept(Toy(), path)
    assert not made and again.ids == first.ids and again.scale == first.scale and again.classes == first.classes
    for name in ("rgb", "depth", "labels"):
        assert torch.equal(getattr(again, name), getattr(first, name))
    assert len(Cache.kept(Toy(12), path)) == 12 and made
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing half-written is left


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("fusion", ["sum", "exchange", "token_exchange", "cross", "gemini"])
def test_on_a_gpu_the_same_bits_come_out_replayed_or_step_by_step(tmp_path, fusion, monkeypatch):
    data = Cache(Toy(40))
    options = {"device": "cuda", "epochs": 4}
    first, again, plain = (tiny(fusion) for _ in range(3))
    run(first, tmp_path / "a", data, **options)
    run(again, tmp_path / "b", data, **options)
    assert same(first, again)
    monkeypatch.setattr("rgbd_insight.training.run.Replayed", lambda step: step)
    run(plain, tmp_path / "c", data, **options)
    assert same(first, plain)


class Warm(Checked):
    """With a third modality of two channels, one of which is below zero: the number of the pixel, and its negative."""

    modalities = (*Checked.modalities, Modality("events", "counts", -10, 10, 2))

    def batch(self, indices) -> Batch:
        batch = super().batch(indices)
        number = (batch.labels + 1.0)[:, None] / 20
        inputs = batch.inputs | {"events": torch.cat([number, -number], 1)}
        return dataclasses.replace(batch, inputs=inputs)


def three(fusion="sum", **options):
    others = {"events": {"channels": 2, "scale": (0.0, 2.0)}}
    return build(fusion, classes=128, width=8, others=others, **options)


@pytest.mark.parametrize("moved", [{"zoom": 2.0, "flip": False}, {"zoom": 1.0, "flip": True}])
def test_a_third_modality_is_moved_with_the_others(moved):
    cache = Cache(Warm())
    run_ = trainer.Run(three(), cache, trainer.Recipe(modality_dropout=0.0, precision="fp32", **moved))
    run_.prepare(torch.device("cpu"), 0)
    draw = torch.Generator().manual_seed(0)
    (_, depth, events), labels = run_._augmented(
        torch.arange(24), torch.rand(24, 2, generator=draw), torch.rand(24, 6, generator=draw)
    )
    assert (labels != cache.labels).flatten(1).any(1).sum() > 5
    torch.testing.assert_close(depth[:, 0], 0.05 * (1.0 + labels), atol=1e-3, rtol=0)
    torch.testing.assert_close(events[:, 0], 0.05 * (1.0 + labels), atol=1e-3, rtol=0)
    torch.testing.assert_close(events[:, 1], -events[:, 0])


def test_of_three_modalities_never_two_are_left_out():
    cache = Cache(Warm())
    run_ = trainer.Run(three(), cache, trainer.Recipe(modality_dropout=1 / 3, precision="fp32", flip=False))
    run_.prepare(torch.device("cpu"), 0)
    chances = torch.stack([torch.ones(24), (torch.arange(24) + 0.5) / 24], 1)
    (rgb, depth, events), _ = run_._augmented(torch.arange(24), chances, torch.zeros(24, 6))
    gone = torch.stack([(rgb == 0.5).flatten(1).all(1), *((x == 0).flatten(1).all(1) for x in (depth, events))])
    assert gone.sum(1).tolist() == [8, 8, 8] and (gone.sum(0) == 1).all()
    with pytest.raises(ValueError, match="`modality_dropout` must be 0 to 0.333 for 3 modalities; got 0.4"):
        trainer.Run(three(), cache, trainer.Recipe(modality_dropout=0.4))


def test_every_two_of_three_encoders_have_a_cosine_and_an_intervention_wants_two(tmp_path):
    curves = run(three(), tmp_path, Warm(), epochs=1)
    pairs = {"rgb+depth", "rgb+events", "depth+events"}
    assert {c.removeprefix("gradient_cosine_") for c in curves if "cosine" in c} == pairs
    assert curves[[c for c in curves if "cosine" in c]].abs().le(1).all(axis=None)
    with pytest.raises(ValueError, match="`alignment` must be left out for 'sum'.*it compares two encoders"):
        trainer.Run(three(), Cache(Warm()), trainer.Recipe(alignment=Alignment(1.0, 1.0)))


def test_readings_of_a_third_modality_are_kept_or_refused_as_those_of_the_second(tmp_path):
    data = Warm()
    cache = Cache.kept(data, tmp_path / "cache.safetensors")
    again = Cache.kept(data, tmp_path / "cache.safetensors")
    assert torch.equal(cache.others["events"], again.others["events"]) and cache.scales == again.scales
    batch = data.batch(range(24))
    kept = cache.batch(torch.arange(24))[3]
    torch.testing.assert_close(kept, batch.inputs["events"].float(), atol=4e-4, rtol=0)

    class Odd(Warm):
        value = 1e-6

        def batch(self, indices):
            batch = super().batch(indices)
            batch.inputs["events"][:, 1, 0, 0] = self.value
            return batch

    assert (Cache(Odd()).others["events"][:, 1, 0, 0] == 1).all()  # a reading, however close to 0, stays one
    Odd.value = -20.5
    with pytest.raises(ValueError, match="`events` must be -20 to 20; sample 's0' has others: check its unit"):
        Cache(Odd())
