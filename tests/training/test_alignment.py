"""The intervention: what it adds to the loss, and that training obeys it."""

import numpy as np
import pytest
import torch

from rgbd_insight.metrics.cka import debiased_cka as reference
from rgbd_insight.models import build
from rgbd_insight.training import Cache, train
from rgbd_insight.training.alignment import Alignment, debiased_cka
from tests.training.test_training import Toy


def streams(n=40):
    return torch.randn(2, n, 6, generator=torch.Generator().manual_seed(0))


def test_cka_is_that_of_the_measures():
    x, y = streams()
    y = y + x[:, :1]
    assert float(debiased_cka(x, y)) == pytest.approx(reference(x.numpy(), y.numpy()), abs=1e-5)
    assert float(debiased_cka(100 * x + 5, x)) == pytest.approx(1, abs=1e-4)
    assert float(debiased_cka(x[:3], y[:3])) == 0


def test_unrelated_streams_have_none_on_average_and_a_flat_one_gives_no_nan():
    found = [float(debiased_cka(*torch.randn(2, 24, 8))) for _ in range(200)]
    assert abs(np.mean(found)) < 0.03
    x = torch.ones(8, 4, requires_grad=True)
    debiased_cka(x, torch.randn(8, 4)).backward()
    assert x.grad.isfinite().all()


def trained(out, cache, alignment):
    torch.manual_seed(0)
    model = build("late", classes=3, width=8)
    recipe = {"epochs": 6, "batch_size": 24, "lr": 5e-3, "modality_dropout": 0.0, "precision": "fp32", "flip": False}
    train(model, cache, out=out, alignment=alignment, progress=False, device="cpu", **recipe)
    rgb, depth, _ = cache.batch(torch.arange(len(cache)))
    with Alignment(1, 1).watching(model) as heard, torch.no_grad():
        model(rgb, depth)
    last = {tap.stream: x for tap, x in heard.items() if tap.level == 3}
    half = last["rgb"].shape[1] // 2
    return [float(debiased_cka(last["rgb"][:, s], last["depth"][:, s])) for s in (slice(half), slice(half, None))]


def test_training_obeys(tmp_path):
    cache = Cache(Toy(48))
    plain, both, none, placebo = (
        trained(tmp_path / str(i), cache, a)
        for i, a in enumerate((None, Alignment(2.0, 0.0), Alignment(0.0, 2.0), Alignment(2.0, 0.0, placebo=True)))
    )
    assert both[0] > plain[0] + 0.1 and both[0] > placebo[0] + 0.1
    assert none[1] < plain[1]


def test_identity_and_refusals(tmp_path):
    cache = Cache(Toy(24))
    train(build("late", classes=3, width=8), cache, out=tmp_path, epochs=1, alignment=Alignment(1, 0), progress=False)
    with pytest.raises(ValueError, match="differs in 'alignment'"):
        train(build("late", classes=3, width=8), cache, out=tmp_path, epochs=1, progress=False)
    with pytest.raises(ValueError, match="`alignment` must be left out for 'rgb'"):
        train(build("rgb", classes=3, width=8), cache, out=tmp_path / "b", epochs=1, alignment=Alignment(1, 0))
    with pytest.raises(ValueError, match="must be finite and 0 or more"):
        Alignment(-1, 0)
