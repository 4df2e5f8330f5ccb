"""How samples come to the network: in threads, ahead of it, once while there is room; the same bytes in every way."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd_insight.data import Folder, with_labels
from rgbd_insight.extraction import extract, loading
from rgbd_insight.extraction.loading import Loader
from tests._toy import ToyData, ToyNet

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    ids = [f"{i:02d}" for i in range(23)]
    for name in ("rgb", "depth", "label"):
        (path / name).mkdir()
    for stem in ids:
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(path / f"rgb/{stem}.jpg")
        Image.fromarray(rng.integers(0, 6000, (24, 32), np.uint16)).save(path / f"depth/{stem}.png")
        Image.fromarray(rng.integers(0, 3, (24, 32), np.uint8)).save(path / f"label/{stem}.png")
    groups = {stem: f"g{i // 2}" for i, stem in enumerate(ids)}
    for name, value in (("classes", ["wall", "floor", "thing"]), ("splits", {"test": ids, "groups": groups})):
        (path / f"{name}.json").write_text(json.dumps(value))
    return path


def run(out, data, **options):
    options = {"batch_size": 5, "progress": False, "device": "cpu"} | options
    return extract(ToyNet(), data, out=out, **options)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in ("execution.json", "SHA256SUMS")}


@pytest.fixture(scope="module")
def usual(folder, tmp_path_factory):
    return contents(run(tmp_path_factory.mktemp("usual") / "f", Folder(folder)).path)


class Noted(Folder):
    """Notes which images are read."""

    def __init__(self, path):
        super().__init__(path)
        self.seen = []

    def _read(self, index):
        self.seen.append(index)
        return super()._read(index)


@pytest.mark.parametrize(("workers", "room"), [(0, 2**28), (3, 2**28), (1, 2**28), (2, 40_000), (0, 0)])
def test_every_way_of_reading_gives_the_same_bytes(folder, usual, tmp_path, monkeypatch, workers, room):
    monkeypatch.setattr(loading, "KEPT", room)
    data, threads = Noted(folder), torch.get_num_threads()
    assert contents(run(tmp_path / "other", data, workers=workers).path) == usual
    assert torch.get_num_threads() == threads
    assert set(data.seen) == set(range(23))
    if room == 2**28:
        assert max(map(data.seen.count, range(1, 23))) <= 2  # the first one also for the task


def test_a_block_of_all_reads_every_image_once(folder, tmp_path):
    data = Noted(folder)
    run(tmp_path / "f", data, batch_size=32)
    assert sorted(data.seen) == [0, *range(23)]


def test_what_is_kept_stays_within_its_room(folder, monkeypatch):
    size = 24 * 32 * (4 * 4 + 1)  # bytes of a sample's inputs, and where depth is read
    monkeypatch.setattr(loading, "KEPT", 3 * size)
    data, blocks = Noted(folder), [range(0, 8), range(8, 16)]
    partners = np.array([[*range(8, 16), *range(8)]])
    with Loader(data, CPU) as loader:
        loader.expect(blocks, partners, [0, 1])
        for rows in blocks:
            own, (other,) = loader.block(rows)
            assert len(loader._kept) <= 3
            assert list(other.ids) == [data.ids[i] for i in partners[0, rows.start : rows.stop]]
            assert torch.equal(own.inputs["rgb"], Folder(folder).batch(rows).inputs["rgb"])
        loader.inputs([0, 1])
        assert not loader._kept  # all that was due was asked for
    assert len(data.seen) == 16 + 8 + 5  # own, partners, and those that were not kept of the first block


class Waiting(ToyNet):
    """Goes on only when the dataset has been asked for the block behind the one it is given."""

    def __init__(self, asked):
        super().__init__()
        self.asked = asked

    def forward(self, rgb, depth):
        assert self.asked.wait(20)
        return super().forward(rgb, depth)


class Telling(ToyData):
    """Tells when the samples from 6 on are asked for; the last ones are spoiled where `wrong`."""

    def __init__(self, wrong=False):
        super().__init__(12)
        self.asked, self.wrong, self.threads = threading.Event(), wrong, set()

    def batch(self, indices):
        batch = super().batch(indices)
        if indices == range(6, 9):
            self.asked.set()
            self.threads.add(torch.get_num_threads())
        if self.wrong and 11 in indices:
            batch = replace(batch, inputs=batch.inputs | {"rgb": batch.inputs["rgb"] + 2})
        return batch


def test_the_next_block_is_read_while_the_network_runs(tmp_path):
    data = Telling()
    data.inputs = data.batch
    options = {"batch_size": 6, "conditions": "both", "progress": False, "device": "cpu"}
    extract(Waiting(data.asked), data, task="segmentation", out=tmp_path / "f", workers=2, **options)
    assert data.threads == {1}


def test_an_error_in_a_block_read_ahead_is_named_and_leaves_no_thread(tmp_path):
    before = threading.active_count()
    options = {"conditions": "both", "batch_size": 3, "workers": 2}
    with pytest.raises(ValueError, match=r"`rgb` must be in \[0, 1\].*'s11'"):
        run(tmp_path / "f", Telling(wrong=True), **options)
    assert threading.active_count() == before
    again = run(tmp_path / "f", Telling(), **options)  # what was written before it is safe
    assert contents(again.path) == contents(run(tmp_path / "g", Telling(), **options).path)


def test_threads_are_for_those_who_say_that_they_may_be_asked_so(folder):
    class Mine(Folder):
        def batch(self, indices):
            return super().batch(indices)

    data = Folder(folder)
    assert loading._threads(data, CPU, None) == (torch.get_num_threads(), False)
    count, ahead = loading._threads(data, GPU, None)
    assert ahead and 1 <= count <= loading.THREADS
    for other in (Mine(folder), with_labels(data, None), ToyData()):
        assert loading._threads(other, GPU, None) == (1, False)
        assert loading._threads(other, CPU, 3) == (3, True)
    assert loading._threads(data, GPU, 0) == (1, False)


def test_what_goes_to_a_gpu_is_pinned_whole(folder, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: pinned.append(x) or x)
    with Loader(Folder(folder), GPU, 2) as loader:
        own, _ = loader._front.submit(loader._block, range(3)).result()
    assert len(pinned) == 5 and all(x.is_contiguous() for x in pinned)  # colour, depth, valid, labels, concepts
    assert own.inputs["rgb"].shape[0] == 3
    repeated = torch.zeros(1).expand(4)
    assert loading._pinned(repeated).is_contiguous() and loading._pinned(torch.empty(2, device="meta")).is_meta


def test_without_labels_the_whole_is_run_once(tmp_path):
    class Counting(ToyNet):
        calls = 0

        def forward(self, rgb, depth):
            self.calls += 1
            return super().forward(rgb, depth)

    counts = []
    for data in (ToyData(), with_labels(ToyData(), None, classes=ToyData.classes)):
        model = Counting()
        extract(model, data, out=tmp_path / f"{len(counts)}", task="segmentation", progress=False, device="cpu")
        counts.append(model.calls)
    assert counts[1] == counts[0] + 1  # by which the task was found
