"""What every dataset promises, for each of them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd_insight.data.attributes import with_labels
from rgbd_insight.data.batch import IGNORE, Dataset, Held, batches, joined
from rgbd_insight.data.depth import Sensor
from rgbd_insight.data.folder import Folder
from rgbd_insight.data.scenes import Scenes


def tensors(batch):
    """Every tensor of a batch, by name."""
    images = {f"{field} {name}": x for field in ("inputs", "valid") for name, x in getattr(batch, field).items()}
    return images | {"labels": batch.labels, "concepts": batch.concepts}


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
    "scenes of three cameras": lambda path, seed: Scenes(5, seed=seed, cameras=3),
    "all of it": lambda path, seed: Held(
        Scenes(2, seed=seed, cameras=3, sensor=Sensor(), toggle=["map", "radiator"], redundancy=1, layout=0.5)
    ),
    "other labels": lambda path, seed: with_labels(
        Scenes(5, seed=seed, cameras=3), lambda batch: (batch.labels > 2).long(), classes=("surface", "thing")
    ),
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
    assert list(batch.inputs) == [m.name for m in data.modalities] and set(batch.valid) <= set(batch.inputs)
    for m in data.modalities:
        assert batch.inputs[m.name].dtype == torch.float32
        assert tuple(batch.inputs[m.name].shape) == (n, m.planes, h, w)
    for known in batch.valid.values():
        assert known.dtype == torch.bool and tuple(known.shape) == (n, 1, h, w)
    assert batch.labels.dtype == torch.int64 and tuple(batch.labels.shape) == (n, h, w)
    assert batch.concepts.dtype == torch.int16 and tuple(batch.concepts.shape) == (n, len(data.families), h, w)
    assert len(batch) == n == len(data.groups) == len(set(batch.ids))
    assert batch.groups == tuple(data.groups)


def test_ranges(data):
    batch = data.batch(range(len(data)))
    assert 0 <= float(batch.inputs["rgb"].min()) and float(batch.inputs["rgb"].max()) <= 1
    assert batch.inputs["depth"].isfinite().all() and torch.equal(batch.inputs["depth"] != 0, batch.valid["depth"])
    for m in data.modalities[1:]:
        readings = batch.inputs[m.name][batch.valid.get(m.name, slice(None))]
        assert m.low <= float(readings.min()) < float(readings.max()) <= m.high
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
    one, other = tensors(joined(parts)), tensors(whole)
    assert list(one) == list(other) and all(torch.equal(one[name], other[name].flip(0)) for name in one)
    assert sum((part.ids for part in parts), ()) == whole.ids[::-1]
    assert sum((part.groups for part in parts), ()) == whole.groups[::-1]


def test_made_again_it_is_the_same(data, make):
    again = Folder(data.path, data.split, size=data.size) if isinstance(data, Folder) else make()
    assert again.fingerprint() == data.fingerprint()
    one, other = tensors(again.batch([1])), tensors(data.batch([1]))
    assert list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_fingerprints_tell_samples_apart(data, make):
    first = data.fingerprint()
    assert json.loads(json.dumps(first)) == first == data.fingerprint()
    other = make(1)
    assert not torch.equal(other.batch([0]).inputs["rgb"], data.batch([0]).inputs["rgb"])
    assert other.fingerprint() != first


def test_a_sample_that_is_not_there(data):
    with pytest.raises(ValueError, match="`indices` must be"):
        data.batch([len(data)])
