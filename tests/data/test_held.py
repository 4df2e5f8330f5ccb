"""A dataset in memory is the dataset."""

import pickle

import torch

from rgbd_insight.data import Scenes
from rgbd_insight.data.batch import Dataset, Held


def test_the_same_samples_each_made_once(monkeypatch):
    data, made = Scenes(n=140, toggle=(), seed=3), []
    draw = Scenes.batch
    monkeypatch.setattr(Scenes, "batch", lambda self, rows: made.extend(rows) or draw(self, rows))
    held = Held(data)
    assert made == list(range(140)) and isinstance(held, Dataset) and len(held) == 140
    batch = held.batch([139, 0, 64])
    made.clear()
    again = data.batch([139, 0, 64])
    for one, other in ((batch.inputs, again.inputs), (batch.valid, again.valid)):
        assert list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(batch.labels, again.labels) and torch.equal(batch.concepts, again.concepts)
    assert (batch.ids, batch.groups) == (again.ids, again.groups)
    assert held.fingerprint() == data.fingerprint() and held.classes == data.classes
    copied = pickle.loads(pickle.dumps(held))
    assert torch.equal(copied.batch([5]).inputs["rgb"], held.batch([5]).inputs["rgb"])
