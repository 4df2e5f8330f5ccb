"""What every dataset promises, for each of them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd_insight.data.batch import IGNORE, Dataset, batches
from rgbd_insight.data.depth import Sensor
from rgbd_insight.data.folder import Folder
from rgbd_insight.data.scenes import Scenes

FIELDS = ("rgb", "depth", "valid", "labels", "concepts")


def folder(path, seed, n=5, **options):
    """A folder of `n` images with holes in their depth, groups declared."""
    rng = np.random.default_rng(seed)
    for name in ("rgb", "depth", "label"):
        (path / name).mkdir(parents=True)
    ids = [f"img{i}" for i in range(n)]
    for i in ids:
        depth = rng.integers(700, 6000, (20, 24)) * (rng.random((20, 24)) > 0.2)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(path / f"rgb/{i}.jpg")
        Image.fromarray(depth.astype(np.uint16)).save(path / f"depth/{i}.png")
        Image.fromarray(rng.choice([0, 1, 255], (20, 24)).astype(np.uint8)).save(path / f"label/{i}.png")
    (path / "classes.json").write_text(json.dumps(["wall", "floor"]))
    (path / "splits.json").write_text(json.dumps({"test": ids, "groups": {i: f"room {i[-1] > '2'}" for i in ids}}))
    return Folder(path, **options)


DATASETS = {
    "folder": lambda path, seed: folder(path / f"a{seed}", seed),
    "folder resized": lambda path, seed: folder(path / f"b{seed}", seed, size=(10, 14)),
    "scenes": lambda path, seed: Scenes(5, seed=seed),
    "scenes with a sensor": lambda path, seed: Scenes(5, seed=seed, sensor=Sensor()),
    "scenes in pairs": lambda path, seed: Scenes(3, seed=seed, toggle="dome"),
}


@pytest.fixture(params=DATASETS)
def make(request, tmp_path):
    return lambda seed=0: DATASETS[request.param](tmp_path, seed)


@pytest.fixture
def data(make):
    return make()


def test_it_is_a_dataset(data):
    assert isinstance(data, Dataset)
    assert data.modalities[0].name == "rgb" and data.modalities[1].low < data.modalities[1].high
    assert len(set(data.classes)) == len(data.classes) and len(set(data.families)) == len(data.families)
    assert {concept.family for concept in data.concepts} == set(data.families)
    names = [(concept.family, concept.name) for concept in data.concepts]
    assert len(set(names)) == len(names)


def test_shapes_and_types(data):
    n, (h, w) = len(data), data.size
    batch = data.batch(range(n))
    assert [getattr(batch, name).dtype for name in FIELDS] == [
        torch.float32,
        torch.float32,
        torch.bool,
        torch.int64,
        torch.int16,
    ]
    assert [tuple(getattr(batch, name).shape) for name in FIELDS] == [
        (n, 3, h, w),
        (n, 1, h, w),
        (n, 1, h, w),
        (n, h, w),
        (n, len(data.families), h, w),
    ]
    assert len(batch) == n == len(data.groups) == len(set(batch.ids))
    assert batch.groups == tuple(data.groups)


def test_ranges(data):
    batch = data.batch(range(len(data)))
    assert 0 <= float(batch.rgb.min()) and float(batch.rgb.max()) <= 1
    assert batch.depth.isfinite().all() and torch.equal(batch.depth != 0, batch.valid)
    readings = batch.depth[batch.valid]
    assert data.modalities[1].low <= float(readings.min()) and float(readings.max()) <= data.modalities[1].high
    labels = batch.labels[batch.labels != IGNORE]
    assert 0 <= int(labels.min()) and int(labels.max()) < len(data.classes)


def test_concepts_are_of_their_family(data):
    maps = data.batch(range(len(data))).concepts
    for plane, family in zip(maps.unbind(1), data.families, strict=True):
        found = plane.unique().tolist()
        assert min(found) >= -1 and max(found) < len(data.concepts)
        assert {data.concepts[k].family for k in found if k >= 0} <= {family}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_same_bytes_in_every_batch_size_and_order(data, size):
    n = len(data)
    whole = data.batch(range(n))
    order = list(range(n))[::-1]
    parts = list(batches(data, size, order))
    for name in FIELDS:
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name).flip(0)), name
    assert sum((part.ids for part in parts), ()) == whole.ids[::-1]
    assert sum((part.groups for part in parts), ()) == whole.groups[::-1]


def test_made_again_it_is_the_same(data, make):
    again = Folder(data.path, data.split, size=data.size) if isinstance(data, Folder) else make()
    assert again.fingerprint() == data.fingerprint()
    for name in FIELDS:
        assert torch.equal(getattr(again.batch([1]), name), getattr(data.batch([1]), name))


def test_fingerprints_tell_samples_apart(data, make):
    first = data.fingerprint()
    assert json.loads(json.dumps(first)) == first == data.fingerprint()
    other = make(1)
    assert not torch.equal(other.batch([0]).rgb, data.batch([0]).rgb)
    assert other.fingerprint() != first


def test_a_sample_that_is_not_there(data):
    with pytest.raises(ValueError, match="`indices` must be"):
        data.batch([len(data)])
