"""Weights as people bring them: what surrounds them does no harm, and other weights are never taken for these."""

import argparse
import os
import warnings
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_model
from torch import nn

from rgbd_insight.models import load_weights


class Siamese(nn.Module):
    """One encoder for both inputs, under two names."""

    def __init__(self):
        super().__init__()
        self.rgb = nn.Conv2d(3, 4, 1)
        self.depth = self.rgb
        self.bn = nn.BatchNorm2d(4)


class Inside(nn.Module):
    """A network all of whose names begin as a wrapper's do."""

    def __init__(self):
        super().__init__()
        self.model = nn.Linear(2, 2)


@dataclass
class Settings:
    """Of a class of the user's own."""

    lr: float = 1.0


class Evil:
    def __reduce__(self):
        return os.system, ("touch owned",)


class Opens:
    def __reduce__(self):
        return open, ("owned", "w")


@pytest.fixture
def trained():
    torch.manual_seed(1)
    return Siamese()


def behind(prefix, state):
    return {f"{prefix}{name}": x for name, x in state.items()}


def without(word, state):
    return OrderedDict((name, x) for name, x in state.items() if word not in name)


WRAPPED = {
    "counters missing": lambda s: without("num_batches", s),
    "tied, first name": lambda s: without("depth", s),
    "tied, last name": lambda s: without("rgb", s),
    **{
        f"behind {prefix}": lambda s, prefix=prefix: behind(prefix, s)
        for prefix in (
            "_orig_mod.module.",
            "module.module.",
            "module._orig_mod.",
            "model.",
            "model._orig_mod.",
            "net.module.",
            "ema_model.module.",
            "segmenter.",
        )
    },
    **{
        f"under {key}": lambda s, key=key: {key: behind("module.", s), "best_val": 0.5, "epoch_start": 3}
        for key in ("segmenter", "model_ema", "net", "ema_state_dict")
    },
    "under model, which is under state_dict": lambda s: {"state_dict": {"model": s}, "model": {"depth": 50}},
    "counts of operations": lambda s: s | {"total_ops": torch.zeros(1), "rgb.total_params": torch.zeros(1)},
    "a head of training": lambda s: s | {"aux_head.0.weight": torch.zeros(3), "head.auxlayer.bias": torch.zeros(1)},
    "extra state": lambda s: s | {"bn._extra_state": torch.zeros(2)},
    "Lightning": lambda s: {"state_dict": behind("model.", s), "hyper_parameters": {"lr": 1.0}, "loops": None},
    "a numpy scalar beside": lambda s: {"state_dict": s, "best": np.float64(0.5)},
    "a numpy array beside": lambda s: {"state_dict": s, "curve": np.arange(3)},
    "a Namespace beside": lambda s: {"model": s, "args": argparse.Namespace(lr=1, out=Path("x"))},
    "classes of one's own beside": lambda s: {"model": s, "cfg": Settings(2.0), "seen": Counter("ab"), "f": len},
    "numbers and texts among": lambda s: s | {"epoch": 3, "name": "x", "scores": [1.0], "none": None},
}


@pytest.mark.filterwarnings("ignore:weights of")
@pytest.mark.parametrize("wrap", WRAPPED)
def test_what_surrounds_weights_does_no_harm(tmp_path, trained, wrap):
    torch.save(WRAPPED[wrap](dict(trained.state_dict())), tmp_path / "x.pth")
    model = load_weights(Siamese(), tmp_path / "x.pth")
    assert all(torch.equal(x, trained.state_dict()[name]) for name, x in model.state_dict().items())
    assert model.rgb.weight is model.depth.weight


def test_tied_weights_are_read_from_safetensors(tmp_path, trained):
    save_model(trained, str(tmp_path / "x.safetensors"))
    assert torch.equal(load_weights(Siamese(), tmp_path / "x.safetensors").depth.weight, trained.rgb.weight)


def test_names_that_are_the_networks_own_keep_what_looks_like_a_prefix(tmp_path):
    kept = Inside()
    for i, wrap in enumerate((lambda s: s, lambda s: behind("model.", s), lambda s: behind("module.", s))):
        torch.save(wrap(kept.state_dict()), tmp_path / f"{i}.pth")
        assert torch.equal(load_weights(Inside(), tmp_path / f"{i}.pth").model.weight, kept.model.weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s | {"depth.weight": s["depth.weight"] + 1}, "shares with another weight"),
        (lambda s: without("running", s), "misses 'bn.running_mean' and 1 more"),
        (lambda s: s | {"rgb.weight": s["rgb.weight"].to(torch.int8)}, "another kind of number 'rgb.weight'"),
        (lambda s: s | {"bn.bias": s["bn.bias"].to(torch.complex64)}, "another kind of number 'bn.bias'"),
        (lambda s: s | {"extra": torch.zeros(1)}, "does not know 'extra'"),
        (lambda s: behind("model.", s) | {"loss.weight": torch.zeros(1)}, "misses 'rgb.weight'"),
    ],
)
def test_other_weights_are_refused(tmp_path, trained, change, said):
    torch.save(change(dict(trained.state_dict())), tmp_path / "x.pth")
    with pytest.raises(ValueError, match=said):
        load_weights(Siamese(), tmp_path / "x.pth")


def test_what_was_left_out_or_kept_is_listed(tmp_path, trained):
    more = {f"aux_head.{i}.weight": torch.zeros(1) for i in range(5)} | {"total_ops": torch.zeros(1)}
    torch.save(without("num_batches", trained.state_dict()) | more, tmp_path / "x.pth")
    with pytest.warns(UserWarning, match=r"weights of x.pth: left out aux_head.0.weight, .* and 3 more; kept as .*bn"):
        load_weights(Siamese(), tmp_path / "x.pth")
    torch.save(trained.state_dict(), tmp_path / "y.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(Siamese(), tmp_path / "y.pth")


class Renames(Siamese):
    """Knows what its weights were called before."""

    def load_state_dict(self, state_dict, strict=True):
        new = {name.replace("colour.", "rgb."): x for name, x in state_dict.items()}
        return super().load_state_dict(new, strict=strict)


class Forgives(Siamese):
    """Takes what it knows and says nothing of the rest."""

    def load_state_dict(self, state_dict, strict=True):
        return super().load_state_dict(state_dict, strict=False)


class Hooked(Siamese):
    """Its part knows what its weights were called before."""

    def __init__(self):
        super().__init__()
        self.bn._register_load_state_dict_pre_hook(self.rename)

    def rename(self, state, prefix, *_):
        state.update({f"{prefix}bias": state.pop(f"{prefix}beta")} if f"{prefix}beta" in state else {})


def test_a_network_that_renames_old_weights_does_so(tmp_path, trained):
    old = {name.replace("rgb.", "colour."): x for name, x in without("depth", trained.state_dict()).items()}
    torch.save({"state_dict": behind("module.", old)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="misses 'rgb.weight'"):
        load_weights(Siamese(), tmp_path / "x.pth")
    for made, state in (
        (Renames, old | {"depth.weight": old["colour.weight"], "depth.bias": old["colour.bias"]}),
        (Hooked, {name.replace("bn.bias", "bn.beta"): x for name, x in trained.state_dict().items()}),
    ):
        torch.save(state, tmp_path / "y.pth")
        with pytest.warns(UserWarning, match="renamed by the network's own load_state_dict (colour|bn.beta)"):
            model = load_weights(made(), tmp_path / "y.pth")
        assert all(torch.equal(x, trained.state_dict()[name]) for name, x in model.state_dict().items())


def test_a_rule_of_its_own_leaves_no_weight_untrained(tmp_path, trained):
    torch.save(without("bn.weight", trained.state_dict()), tmp_path / "x.pth")
    model = Forgives()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    with pytest.raises(ValueError, match="misses 'bn.weight'"):
        load_weights(model, tmp_path / "x.pth")
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    with pytest.raises(ValueError, match="its own load_state_dict refuses .*x.pth"):
        load_weights(Renames(), tmp_path / "x.pth")


class Extra(nn.Linear):
    """Keeps a number beside its tensors."""

    seen = 3

    def get_extra_state(self):
        return self.seen

    def set_extra_state(self, state):
        self.seen = state


def test_extra_state_stays_as_the_network_made_it(tmp_path):
    trained = Extra(2, 2)
    for state in (trained.state_dict(), without("_extra", trained.state_dict())):
        torch.save(state, tmp_path / "x.pth")
        model = load_weights(Extra(2, 2), tmp_path / "x.pth")
        assert torch.equal(model.weight, trained.weight) and model.seen == 3


def test_files_of_before_zip_may_hold_settings_too(tmp_path, trained):
    whole = {"model": trained.state_dict(), "args": argparse.Namespace(lr=1), "cfg": Settings(2.0), "where": Path("x")}
    torch.save(whole, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(load_weights(Siamese(), tmp_path / "old.pth").rgb.weight, trained.rgb.weight)


def test_what_cannot_be_read_without_running_code_is_named(tmp_path, trained):
    torch.save({"state_dict": trained.state_dict() | {"x": Opens()}}, tmp_path / "x.pth")
    try:
        load_weights(Siamese(), tmp_path / "x.pth")
    except ValueError as error:
        assert "torch.load(path, weights_only=False)" in str(error) or "misses" in str(error)


@pytest.mark.parametrize("value", [Evil(), Opens(), {"x": Opens()}])
def test_no_code_beside_weights_is_run(tmp_path, trained, value, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": trained.state_dict(), "more": value}, "x.pth")
    try:
        load_weights(Siamese(), "x.pth")
    except ValueError as error:
        assert "x.pth" in str(error)
    assert not Path("owned").exists()


def test_a_whole_network_is_told_to_be_one(tmp_path, trained):
    torch.save(nn.Linear(2, 1), tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth must hold tensors .*state_dict"):
        load_weights(Siamese(), tmp_path / "x.pth")
