"""Dissection against the dense way: every map enlarged, every mask multiplied with every concept."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rgbd_insight import stats
from rgbd_insight.metrics import dissection
from rgbd_insight.metrics.dissection import Overlap, TopValues, dissect, iou_statistic
from rgbd_insight.utils.threads import in_threads

SIZES = [
    ((14, 14), (112, 112)),
    ((7, 9), (35, 27)),
    ((5, 4), (13, 19)),
    ((8, 8), (8, 8)),
    ((12, 10), (5, 6)),
    ((1, 1), (4, 4)),
    ((1, 5), (9, 10)),
    ((2, 3), (7, 100)),
]


def draw(seed=0, n=6, units=5, few=(7, 9), many=(35, 27), count=4, planes=2):
    """Smooth maps, half of them rectified, and concepts whose numbers are shared out among the planes."""
    random = torch.Generator().manual_seed(seed)
    maps = F.avg_pool2d(torch.randn(n, units, *few, generator=random), 3, 1, 1)
    maps[:, ::2] = maps[:, ::2].relu()
    labels = torch.randint(-1, count, (n, planes, *many), generator=random)
    for plane in range(planes):
        labels[:, plane][labels[:, plane] % planes != plane] = -1
    return maps, labels


def dense(maps, thresholds, concepts, count):
    """IoU (U, K) from whole masks in float64."""
    size = concepts.shape[-2:]
    grown = F.interpolate(maps.double(), size, mode="bilinear", align_corners=False)
    # Where two corners equal the threshold, weights that add up to 1 but for rounding would lift it above itself.
    masks = (grown > thresholds.double()[:, None, None] + 1e-12).double()
    present = torch.stack([(concepts == k).any(1) for k in range(count)], 1).double()
    both = torch.einsum("nuhw,nkhw->uk", masks, present)
    union = masks.sum((0, 2, 3))[:, None] + present.sum((0, 2, 3)) - both
    return both / union.clamp(min=1)


@pytest.mark.parametrize(("few", "many"), SIZES)
@pytest.mark.parametrize("top", [0.005, 0.1])
def test_iou_is_that_of_whole_masks(few, many, top):
    maps, concepts = draw(1, 6, 5, few, many)
    thresholds = TopValues.from_maps(maps, top=top).thresholds()
    found = dissect(maps, concepts, 4, top)
    torch.testing.assert_close(found, dense(maps, thresholds, concepts, 4), rtol=0, atol=1e-9)


def test_single_precision_half_precision_and_numpy_are_taken():
    maps, concepts = draw(2, many=(28, 36))  # by a power of two: no rounding
    for given in (maps.double(), maps.half(), maps.numpy()):
        thresholds = TopValues.from_maps(torch.as_tensor(given).float(), top=0.05).thresholds()
        want = dense(torch.as_tensor(given), thresholds, concepts, 4)
        torch.testing.assert_close(dissect(given, concepts.numpy(), 4, 0.05), want, rtol=0, atol=1e-9)


@pytest.mark.parametrize("top", [0.005, 0.02, 0.3])
@pytest.mark.parametrize("batch", [1, 7, 40])
def test_thresholds_are_exact_whatever_the_batches(top, batch):
    maps = torch.randn(40, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    parts = [TopValues.from_maps(part, 1000, top) for part in maps.split(batch)]
    state = parts[0]
    for part in parts[1:]:
        state = part + state
    values = maps.transpose(0, 1).flatten(1)
    assert ((values > state.thresholds()[:, None]).sum(1) == round(top * 1000)).all()
    want = np.sort(values.numpy(), axis=1)[:, -round(top * 1000) - 1]
    assert (state.thresholds().numpy() == want).all()


def test_too_many_responses_are_noticed():
    maps = torch.rand(8, 2, 10, 10)
    state = TopValues.from_maps(maps[:4], 400)
    with pytest.raises(ValueError, match="must announce all 800 responses"):
        (state + TopValues.from_maps(maps[4:], 400)).thresholds()
    with pytest.raises(ValueError, match="same `positions`"):
        state + TopValues.from_maps(maps[4:], 800)


def test_overlaps_add_and_subtract():
    maps, concepts = draw(4, n=9)
    thresholds = TopValues.from_maps(maps, top=0.05).thresholds()
    whole = Overlap.from_maps(maps, thresholds, concepts, 4)
    parts = [Overlap.from_maps(m, thresholds, c, 4) for m, c in zip(maps.split(4), concepts.split(4), strict=True)]
    together = parts[0] + parts[1] + parts[2]
    for name in ("both", "unit", "concept"):
        assert (getattr(together, name) == getattr(whole, name)).all()
        assert (getattr(whole - parts[2], name) == getattr(parts[0] + parts[1], name)).all()
    assert (whole - whole).iou().eq(0).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_images_in_parts_and_threads_are_the_same(monkeypatch, threads):
    maps, concepts = draw(5, n=7)
    want = dissect(maps, concepts, 4, 0.05)
    monkeypatch.setattr(dissection, "CHUNK", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(dissect(maps, concepts, 4, 0.05), want)
        assert torch.get_num_threads() == threads
        with pytest.raises(ZeroDivisionError):
            in_threads(lambda x: 1 / x, [1, 0, 1], torch.device("cpu"))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_statistic_takes_labels_from_other_images():
    maps, concepts = draw(6, n=8)
    thresholds = TopValues.from_maps(maps, top=0.05).thresholds()
    statistic = iou_statistic(maps, thresholds, concepts, 4)
    rng = np.random.default_rng(0)
    for rows in (np.arange(8), np.array([1, 2, 5, 7]), np.array([6, 0, 3])):
        for partner in (rows, rng.permutation(rows)):
            want = dense(maps[rows], thresholds, concepts[partner], 4)
            np.testing.assert_allclose(statistic(rows, partner), want, rtol=0, atol=1e-9)


def planted(seed=0, n=150, units=24, concepts=8, image=24):
    """Units of which two thirds answer to a concept, weakly; each concept is a square somewhere in 40 % of images."""
    rng = np.random.default_rng(seed)
    labels = np.full((n, concepts, image, image), -1)
    for i, k in np.argwhere(rng.random((n, concepts)) < 0.4):
        y, x = rng.integers(0, image - 8, 2)
        labels[i, k, y : y + 8, x : x + 8] = k
    truth = np.where(np.arange(units) % 3 < 2, np.arange(units) % concepts, -1)
    drive = np.stack([labels[:, k] >= 0 if k >= 0 else np.zeros((n, image, image), bool) for k in truth], 1)
    seen = F.avg_pool2d(torch.tensor(drive, dtype=torch.float32), 4)
    maps = 1.5 * seen + torch.as_tensor(rng.normal(size=seen.shape), dtype=torch.float32)
    return maps, torch.as_tensor(labels), truth


def test_the_null_finds_planted_units_that_a_fixed_iou_misses():
    """Detectors are judged by permuting images, corrected over concepts and units, not by IoU > .04."""
    maps, labels, truth = planted()
    thresholds = TopValues.from_maps(maps).thresholds()
    statistic = iou_statistic(maps, thresholds, labels, 8)
    found = stats.estimate(statistic, np.arange(len(maps)))
    p = stats.benjamini_hochberg(stats.max_p(found))
    real = truth >= 0
    best = np.asarray(found.value).argmax(1)
    assert ((p[real] < 0.05) & (best[real] == truth[real])).mean() >= 0.9
    assert (p[~real] < 0.05).mean() <= 0.125
    assert (np.asarray(found.value)[real].max(1) > 0.04).mean() < 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_on_a_gpu():
    maps, concepts = draw(7)
    want = dissect(maps, concepts, 4, 0.05)
    torch.testing.assert_close(dissect(maps.cuda(), concepts.cuda(), 4, 0.05).cpu(), want, rtol=0, atol=1e-9)


def test_errors_name_the_argument():
    maps, concepts = draw(8)
    spoiled = maps.clone()
    spoiled[2, 3, 0, 0] = torch.nan
    for call, words in (
        (lambda: dissect(maps[:, :, 0], concepts, 4), r"`maps` must be \(images, units, h, w\)"),
        (lambda: dissect(spoiled, concepts, 4), "`maps` must be finite; got NaN or infinity at image 2, unit 3"),
        (lambda: dissect(maps, concepts[:, 0], 4), r"`concepts` must be whole numbers of shape \(6, planes, H, W\)"),
        (lambda: dissect(maps, concepts.float(), 4), "`concepts` must be whole numbers"),
        (lambda: dissect(maps, concepts, 3), "`concepts` must be −1 .none. to 2; got -1 to 3"),
        (lambda: dissect(maps, concepts, 4, top=5), "`top` must be a share"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
