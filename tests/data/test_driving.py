"""Converters of drives, on small files in the official layouts: four-channel PNGs and lists; frames and raw events."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from rgbd_insight.cli import main
from rgbd_insight.data import Folder, check, eventscape, mfnet

SIZE = (24, 32)


def save(values, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file)


@pytest.fixture
def streets(tmp_path):
    """MFNet: 6 images, by day and by night, lists with a mirrored copy; what is in them."""
    rng, root, truth = np.random.default_rng(0), tmp_path / "ir_seg_dataset", {}
    for i in range(6):
        stem = f"{i:05d}{'DN'[i % 2]}"
        truth[stem] = rng.integers(0, 256, (*SIZE, 4), np.uint8), rng.integers(0, 9, SIZE, np.uint8)
        save(truth[stem][0], root / f"images/{stem}.png")
        save(truth[stem][1], root / f"labels/{stem}.png")
    names = list(truth)
    (root / "train.txt").write_text("\n".join([*names[:4], f"{names[0]}_flip", ""]))
    (root / "test.txt").write_text("\n".join(names[4:]))
    (root / "test_night.txt").write_text(names[5])
    return root, truth


def test_mfnet_is_read_as_it_lies(streets, tmp_path):
    root, truth = streets
    out = mfnet(root, tmp_path / "mf")
    with pytest.warns(UserWarning, match="no groups are known"):
        data = Folder(out, "train")
    assert [m.name for m in data.modalities] == ["rgb", "thermal"] and len(data.classes) == 9 and len(data) == 4
    batch = data.batch(range(4))
    for row, stem in enumerate(data.ids):
        values, label = truth[stem]
        assert np.allclose(batch.inputs["rgb"][row].movedim(0, -1).numpy(), values[..., :3] / 255)
        assert np.allclose(batch.inputs["thermal"][row, 0].numpy(), values[..., 3] / 255)
        assert np.array_equal(batch.labels[row].numpy(), label)
    assert batch.valid["thermal"].all()  # 0 is cold, not missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Folder(out, "test_night").ids == ("00005N",)
    assert not [f for f in check(out).findings if f.mistake == "8-bit depth"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "labels/00003N.png").unlink(), "00003N.png is gone|00003N.png"),
        (lambda root: save(np.zeros((*SIZE, 3), np.uint8), root / "images/00002D.png"), "00002D.png must have four"),
        (lambda root: save(np.zeros((9, 9), np.uint8), root / "labels/00001N.png"), r"00001N.png must be \(24, 32\)"),
        (lambda root: save(np.full(SIZE, 9, np.uint8), root / "labels/00001N.png"), r"0…8 or 255"),
        (
            lambda root: [file.unlink() for file in root.glob("*.txt")],
            "`root` must hold images/, labels/ and t",
        ),
    ],
)
def test_mfnet_that_is_none_leaves_nothing(streets, tmp_path, spoil, words):
    root, _ = streets
    spoil(root)
    with pytest.raises(ValueError, match=words):
        mfnet(root, tmp_path / "mf")
    assert not (tmp_path / "mf").exists()


@pytest.fixture
def towns(tmp_path):
    """EventScape: two drives to train and one to test, of 3 frames; the events of each frame."""
    rng, root, truth = np.random.default_rng(1), tmp_path / "EventScape", {}
    for half, drive in (
        ("Town01-03_train", "sequence_0"),
        ("Town01-03_train", "sequence_1"),
        ("Town05_test", "sequence_9"),
    ):
        for i in range(3):
            here, name = root / half / drive, f"{half[:6]}_{i:04d}"
            save(rng.integers(0, 256, (*SIZE, 3), np.uint8), here / f"rgb/data/{name}_image.png")
            label = rng.integers(0, 23, SIZE, np.uint8)
            save(np.dstack([label, 0 * label, 0 * label]), here / f"semantic/data/{name}_gt_labelIds.png")
            n = 300
            events = {"x": rng.integers(0, 32, n), "y": rng.integers(0, 24, n), "t": np.sort(rng.integers(0, 10**6, n))}
            events["p"] = rng.integers(0, 2, n)
            (here / "events/data").mkdir(parents=True, exist_ok=True)
            np.savez(here / f"events/data/{name}_events.npz", **events)
            truth[f"{half}/{drive}/{i:04d}"] = events, label
    return root, truth


def test_eventscape_is_read_as_it_lies(towns, tmp_path):
    root, truth = towns
    out = eventscape(root, tmp_path / "es", every=2)
    data, test = Folder(out, "train"), Folder(out, "test")
    assert len(data) == 4 and len(test) == 2 and data.modalities[1].planes == 10 and len(data.classes) == 23
    assert set(data.groups) == {"Town01-03_train/sequence_0", "Town01-03_train/sequence_1"}
    batch = data.batch(range(4))
    for row, stem in enumerate(data.ids):
        events, label = truth[stem]
        expected = np.zeros((10, *SIZE))
        span = events["t"].max() - events["t"].min() + 1
        for x, y, t, p in zip(*(events[name] for name in "xytp"), strict=True):
            part = int(5 * (t - events["t"].min()) / span)
            expected[part + (0 if p else 5), y, x] += 1
        assert np.array_equal(batch.inputs["events"][row].numpy(), expected)
        assert np.array_equal(batch.labels[row].numpy(), label)
    assert batch.valid["events"].all()


def test_eventscape_that_is_none_leaves_nothing(towns, tmp_path):
    root, _ = towns
    file = root / "Town05_test/sequence_9/events/data/Town05_0000_events.npz"
    for spoil, words in (
        (
            lambda: np.savez(file, x=[40], y=[0], t=[0], p=[0]),
            r"in images of \(24, 32\) \(H, W\); got one at row 0",
        ),
        (lambda: np.savez(file, x=[1, 2], y=[0], t=[0], p=[0]), "as many x, y, t and p"),
        (lambda: np.savez(file, x=[1]), "of events; There is no item named 'y.npy'"),
        (file.unlink, "must hold one .*_0000_events.npz; it holds 0"),
    ):
        spoil()
        with pytest.raises(ValueError, match=words):
            eventscape(root, tmp_path / "es")
        assert not (tmp_path / "es").exists()
    with pytest.raises(ValueError, match="there is none in"):
        eventscape(tmp_path / "nothing", tmp_path / "es")


def test_both_as_commands(streets, towns, tmp_path, capsys):
    assert main(["data", "mfnet", str(streets[0]), str(tmp_path / "mf")]) == 0
    assert main(["data", "eventscape", str(towns[0]), str(tmp_path / "es"), "--every", "1"]) == 0
    assert capsys.readouterr().out.count("Next: rgbd-insight data check") == 2
    assert len(json.loads((tmp_path / "es/splits.json").read_text())["train"]) == 6
