"""Errors inside a network's `forward`, at any module and call, under any condition: nothing of an extraction stays."""

import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rgbd_insight.extraction import extract
from rgbd_insight.features import Ablation
from rgbd_insight.models import build
from tests._toy import ToyData, ToyNet
from tests.faults._work import contents

ERRORS = (RuntimeError, ValueError, KeyError, IndexError, MemoryError, KeyboardInterrupt, SystemExit)
CONDITIONS = ("both", "rgb", "depth", "none", "rgb:zero", "depth:mean", "both+cut")
CUT = Ablation("cut", {("rgb", 1): (0,)})


class Odd(nn.Module):
    """A network with parts that behave otherwise in training, half of them frozen."""

    fusion, seed, epoch = "odd", 0, 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = ToyNet()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.norm.eval()

    def taps(self) -> list:
        return [tap.__class__(tap.stream, tap.level, f"net.{tap.module}") for tap in self.net.taps()]

    def forward(self, rgb: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(self.net(rgb, depth)))


def networks() -> list[nn.Module]:
    """Networks that errors are put into."""
    odd = Odd().train()
    odd.norm.eval()
    return [ToyNet().train(), odd, build("sum", classes=3, width=8).eval()]


@contextmanager
def failing(module: nn.Module, at: int, kind: type[BaseException]) -> Iterator[list[int]]:
    """A module whose `at`-th call ends in an error; yields how often it was called."""
    inner, calls = module.forward, [0]

    def forward(*args: object, **kwargs: object) -> object:
        calls[0] += 1
        if calls[0] == at:
            raise kind("planted")
        return inner(*args, **kwargs)

    module.forward = forward
    try:
        yield calls
    finally:
        del module.forward


def state_of(model: nn.Module) -> dict:
    """All that an extraction could leave in a network, or in the process."""
    found = {
        name: (
            module.training,
            *(len(getattr(module, kind)) for kind in vars(module) if kind.endswith("_hooks")),
            sorted(key for key in vars(module) if key != "forward"),
        )
        for name, module in model.named_modules()
    }
    weights = {name: (p.requires_grad, p.dtype, p.device) for name, p in model.named_parameters()}
    values = [t.detach().numpy().tobytes() for t in (*model.parameters(), *model.buffers())]
    process = (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.random.get_rng_state().numpy().tobytes(),
        sorted(thread.name for thread in threading.enumerate() if thread.name != "tqdm_monitor"),  # one a process
    )
    return {"modules": found, "weights": weights, "values": values, "process": process}


def call(model: nn.Module, conditions: tuple, out: Path) -> None:
    """The extraction that is disturbed."""
    extract(model, ToyData(8), out=out, conditions=conditions, batch_size=3, draws=2, progress=False, device="cpu")


def forwards(home: Path, count: int) -> Counter:
    """Fail `count` times at random modules, calls and conditions; what is left, in the network, process and folder."""
    random, found = np.random.default_rng(0), Counter()
    models = networks()
    for i in range(count):
        model = models[i % len(models)]
        names = [str(name) for name in random.choice(CONDITIONS, random.integers(1, 4), replace=False)]
        conditions = tuple(CUT if name == "both+cut" else name for name in names)
        modules = [module for module in model.modules() if not list(module.children())] + [model]
        module, kind = modules[random.integers(len(modules))], ERRORS[random.integers(len(ERRORS))]
        at, before = home / f"at{i}", state_of(model)
        with failing(module, int(random.integers(1, 14)), kind) as calls:
            try:
                call(model, conditions, at / "below" / "f")
            except kind as error:
                found["errors in forward"] += 1
                wrong = _left(model, before, at, error)
            else:
                found["called less often"] += 1
                wrong = [] if calls[0] < 14 else ["an error that is swallowed"]
        if at.exists():
            wrong += _resumed(model, conditions, at, home / "whole")
            shutil.rmtree(at)
        for what in wrong:
            found[what] += 1
            print(
                f"{type(model).__name__}, {type(module).__name__}, {conditions}, {kind.__name__}: {what}",
                file=sys.stderr,
            )
    return found


def _left(model: nn.Module, before: dict, at: Path, error: BaseException) -> list[str]:
    after = state_of(model)
    wrong = [f"{part} changed by an error" for part in before if before[part] != after[part]]
    if "planted" not in str(error) and not isinstance(error, KeyboardInterrupt):
        wrong.append("an error in other words")
    if at.exists() and not any(path.suffix == ".safetensors" for path in at.rglob("*")):
        wrong.append("folders without a block left by an error")
    return wrong


def _resumed(model: nn.Module, conditions: tuple, at: Path, whole: Path) -> list[str]:
    """What differs from an extraction without the error, when the call is made again."""
    call(model, conditions, at / "below" / "f")
    call(model, conditions, whole / "below" / "f")
    same = contents(at) == contents(whole)
    shutil.rmtree(whole)
    return [] if same else ["other bytes after an error"]
