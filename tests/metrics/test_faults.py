"""Ten faults that were measured in public implementations of these measures; none of them is here."""

import numpy as np
import pytest
import torch
from torch import nn

from rgbd_insight import stats
from rgbd_insight.extraction import extract
from rgbd_insight.features import FeaturesError, load
from rgbd_insight.hooks import Tap, trace
from rgbd_insight.metrics import baselines
from rgbd_insight.metrics.baselines import cka
from rgbd_insight.metrics.cka import cka_statistic, debiased_cka
from rgbd_insight.metrics.dissection import Overlap, TopValues, dissect, iou_statistic
from rgbd_insight.metrics.hsic import Moments
from tests._toy import ToyData, ToyNet


def streams(seed=0, n=400, widths=(64, 32), mix=0.8):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 20))
    parts = (mix * common @ rng.normal(size=(20, w)) / 4 + rng.normal(size=(n, w)) for w in widths)
    return [part.astype(np.float32) for part in parts]


def gram_cka(x, y):
    """Debiased CKA in float64 from Gram matrices of centred streams."""

    def centred(s):
        s = s.astype(np.float64)
        s = s - s.mean(0)
        k, n = s @ s.T, len(s)
        np.fill_diagonal(k, 0)
        k = k - k.sum(0) / (n - 2) - k.sum(1)[:, None] / (n - 2) + k.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(k, 0)
        return k

    a, b = centred(x), centred(y)
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def streaming(x, y, batch):
    """Debiased CKA from states of batches."""
    cuts = range(batch, len(x), batch)
    parts = zip(np.split(x, cuts), np.split(y, cuts), strict=True)
    hsic = Moments.total(*(Moments.from_rows(*part) for part in parts)).hsic()
    return hsic[0, 1] / np.sqrt(hsic[0, 0] * hsic[1, 1])


@pytest.mark.parametrize("constant", [10, 30, 100, 300])
@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4])
def test_1_a_constant_or_a_scale_changes_nothing(constant, scale):
    x, y = streams()
    want = gram_cka(x, y)
    moved = (x.astype(np.float64) + constant) * scale
    assert debiased_cka(moved, y) == pytest.approx(want, abs=1e-9)
    assert streaming(moved, y, 33) == pytest.approx(want, abs=1e-9)
    rounded = moved.astype(np.float32)  # what single precision keeps of such values
    assert streaming(rounded, y, 33) == pytest.approx(gram_cka(rounded, y), abs=1e-7)


@pytest.mark.parametrize("rest", [1, 2, 3, 4])
def test_2_any_last_batch_counts_by_its_samples(rest):
    x, y = (s[: 320 + rest] for s in streams())
    assert streaming(x, y, 32) == pytest.approx(gram_cka(x, y), abs=1e-9)
    assert np.isfinite(baselines.minibatch_cka(x, y, 32))


def test_3_negative_estimates_are_kept():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 60, 8))
    statistic = cka_statistic(x, y)
    null = np.array([statistic(np.arange(60), rng.permutation(60)) for _ in range(200)])
    assert (null == 0).sum() == 0 and 0.3 < (null < 0).mean() < 0.7


class Shuffled(ToyData):
    """The same images in another order."""

    order = np.random.default_rng(0).permutation(12)

    def __init__(self) -> None:
        super().__init__(12)
        self.own, self.groups = self.groups, tuple(self.groups[i] for i in self.order)

    def fingerprint(self):
        return super().fingerprint() | {"order": "shuffled"}

    def batch(self, indices):
        groups, self.groups = self.groups, self.own
        batch = super().batch([int(self.order[i]) for i in indices])
        self.groups = groups
        return batch


def test_4_two_passes_in_different_orders_are_never_paired_by_position(tmp_path):
    """A pass in another order cannot be joined; paired by sample id, the model is the same as itself."""
    options = {"progress": False, "batch_size": 4, "conditions": "both"}
    first = extract(ToyNet(), ToyData(12), out=tmp_path / "first", **options)
    second = extract(ToyNet(), Shuffled(), out=tmp_path / "second", run={"seed": 1}, **options)
    with pytest.raises(FeaturesError, match="cannot be joined"):
        load(tmp_path / "first", tmp_path / "second")
    x, y = (f.responses(f.runs.index[0], "rgb", 1, "both") for f in (first, second))
    ids = [f.samples["id"].tolist() for f in (first, second)]
    assert ids[0] != ids[1] and debiased_cka(x, y) < 0.5
    assert debiased_cka(x, y[[ids[1].index(i) for i in ids[0]]]) == pytest.approx(1, abs=1e-6)


def test_5_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(KeyError), trace(model.eval(), [Tap("rgb", 1, "0")]):
        model(torch.rand(2, 3, 8, 8))
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_6_channels_are_not_rows_and_wide_layers_are_not_alike():
    rng = np.random.default_rng(2)
    maps = rng.normal(size=(80, 6, 4, 4)) + 5 * rng.normal(size=(1, 6, 1, 1))
    with pytest.raises(ValueError, match="must be .images, units."):
        debiased_cka(maps, maps)
    flat = maps.reshape(80, -1)
    assert abs(debiased_cka(flat, rng.permutation(flat))) < 0.1
    wide = rng.normal(size=(2, 256, 512))
    assert cka(*wide) > 0.6 and abs(debiased_cka(*wide)) < 0.05


def test_7_svcca_keeps_what_the_variance_needs_and_pwcca_takes_any_widths():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 30))
    assert baselines.subspaces.leading(x - x.mean(0), 0.99).shape[1] >= 29
    wide, narrow = streams(4, widths=(64, 8))
    values = baselines.pwcca(wide, narrow), baselines.pwcca(narrow, wide)
    assert all(0 < value < 1 for value in values)
    table = baselines.matrix("pwcca", [wide, narrow])
    np.testing.assert_allclose(table, [[1, values[0]], [values[1], 1]], atol=1e-9)


def test_8_a_constant_map_is_active_up_to_its_corners():
    maps = torch.full((3, 1, 7, 7), 2.0)
    concepts = torch.zeros(3, 1, 56, 56, dtype=torch.long)
    overlap = Overlap.from_maps(maps, torch.tensor([1.999]), concepts, count=1)
    assert overlap.both.item() == 3 * 56 * 56 and overlap.iou().item() == 1


def test_9_detectors_are_judged_by_a_null():
    """Here: what a fixed IoU would call a detector. `test_dissection.py` has the planted units that it misses."""
    random = torch.Generator().manual_seed(0)
    maps = torch.rand(24, 12, 6, 6, generator=random)
    everywhere = torch.where(torch.rand(24, 1, 24, 24, generator=random) < 0.9, 0, -1)
    assert (dissect(maps, everywhere, 1, top=0.3) > 0.04).all()
    thresholds = TopValues.from_maps(maps, top=0.3).thresholds()
    found = stats.estimate(iou_statistic(maps, thresholds, everywhere, 1), np.arange(24))
    assert (stats.benjamini_hochberg(stats.max_p(found)) < 0.05).mean() <= 0.1


def test_10_parts_merge_by_their_sizes_and_the_diagonal_is_one():
    layers = streams(5, n=90, widths=(6, 7, 8))
    for measure in ("cka", "minibatch_cka", "svcca", "pwcca", "procrustes", "rsa", "knn_overlap"):
        np.testing.assert_allclose(np.diag(baselines.matrix(measure, layers)), 1, atol=1e-9)
    rows = np.arange(90)
    np.testing.assert_allclose(np.diag(cka_statistic(layers, layers)(rows, rows)), 1, atol=1e-12)
    small, large = ([s[part] for s in layers] for part in (slice(0, 7), slice(7, 90)))
    merged = Moments.from_rows(*small) + Moments.from_rows(*large)
    np.testing.assert_allclose(merged.mean, np.concatenate([s.mean(0, dtype=np.float64) for s in layers]), atol=1e-12)
    np.testing.assert_allclose(merged.hsic(), Moments.from_rows(*layers).hsic(), rtol=1e-10)
    for measure, option in (("svcca", {"kept": 0.5}), ("knn_overlap", {"k": 3}), ("minibatch_cka", {"batch": 9})):
        changed = baselines.matrix(measure, layers, **option)[0, 1]
        assert changed != baselines.matrix(measure, layers)[0, 1]
