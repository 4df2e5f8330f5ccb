"""Weights as people bring them: what surrounds them does no harm, and other weights are never taken for these."""

import argparse
import os
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
        for prefix in ("_orig_mod.module.", "module.module.", "module._orig_mod.", "model.", "model._orig_mod.")
    },
    "Lightning": lambda s: {"state_dict": behind("model.", s), "hyper_parameters": {"lr": 1.0}, "loops": None},
    "a numpy scalar beside": lambda s: {"state_dict": s, "best": np.float64(0.5)},
    "a numpy array beside": lambda s: {"state_dict": s, "curve": np.arange(3)},
    "a Namespace beside": lambda s: {"model": s, "args": argparse.Namespace(lr=1, out=Path("x"))},
    "classes of one's own beside": lambda s: {"model": s, "cfg": Settings(2.0), "seen": Counter("ab"), "f": len},
    "numbers and texts among": lambda s: s | {"epoch": 3, "name": "x", "scores": [1.0], "none": None},
}


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
