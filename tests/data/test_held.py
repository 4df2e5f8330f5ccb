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
    for name in ("rgb", "depth", "valid", "labels", "concepts"):
        assert torch.equal(getattr(batch, name), getattr(again, name)), name
    assert (batch.ids, batch.groups) == (again.ids, again.groups)
    assert held.fingerprint() == data.fingerprint() and held.classes == data.classes
    copied = pickle.loads(pickle.dumps(held))
    assert torch.equal(copied.batch([5]).rgb, held.batch([5]).rgb)
