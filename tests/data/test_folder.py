import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd_insight.data.batch import Dataset
from rgbd_insight.data.folder import Folder

CLASSES = ["wall", "floor", "chair"]
NUMBERS = [1, 2, 3, 7, 8, 12]


def save(array, file):
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(file)


def write(path, name, value):
    (path / name).write_text(json.dumps(value))


@pytest.fixture
def path(tmp_path):
    """Six image pairs of 12 x 16 in runs of 3, 2 and 1."""
    path, rng = tmp_path / "photos", np.random.default_rng(0)
    path.mkdir()
    for i in NUMBERS:
        save(rng.integers(0, 256, (12, 16, 3), np.uint8), path / f"rgb/{i:04d}.png")
        save(rng.integers(500, 9000, (12, 16)).astype(np.uint16), path / f"depth/{i:04d}.png")
        save(rng.choice([0, 1, 2, 255], (12, 16)).astype(np.uint8), path / f"label/{i:04d}.png")
    write(path, "classes.json", {"names": CLASSES, "ignore_index": 255})
    write(path, "splits.json", {"test": NUMBERS, "train": [], "named": ["0002", "0001"]})
    return path


def stored(path, folder, number):
    return np.asarray(Image.open(path / folder / f"{number:04d}.png"))


def test_what_is_stored_is_what_is_handed_over(path):
    data = Folder(path)
    batch = data.batch([4, 0])
    assert isinstance(data, Dataset)
    assert (len(data), data.size, data.classes, data.name) == (6, (12, 16), tuple(CLASSES), "photos")
    assert batch.ids == ("0008", "0001")
    assert np.array_equal((batch.inputs["rgb"][0] * 255).round().byte().movedim(0, -1).numpy(), stored(path, "rgb", 8))
    assert np.allclose(batch.inputs["depth"][0, 0].numpy(), stored(path, "depth", 8) / 1000)
    assert np.array_equal(batch.labels[1].numpy(), stored(path, "label", 1))


def test_no_reading_stays_none(path):
    depth = stored(path, "depth", 1).copy()
    depth[:3] = 0
    save(depth, path / "depth/0001.png")
    batch = Folder(path, size=(6, 8)).batch([0])
    assert not batch.valid["depth"][0, 0, 0].any() and batch.valid["depth"][0, 0, 2:].all()
    assert torch.equal(batch.inputs["depth"] == 0, ~batch.valid["depth"])


def test_resizing_averages_colour_and_makes_up_no_depth_or_label(path):
    batch = Folder(path, size=(6, 8)).batch([0])
    colour = stored(path, "rgb", 1).reshape(6, 2, 8, 2, 3).mean((1, 3))
    assert np.abs(batch.inputs["rgb"][0].movedim(0, -1).numpy() * 255 - colour).max() <= 1
    assert np.isin((batch.inputs["depth"][0] * 1000).round().numpy(), stored(path, "depth", 1)).all()
    assert np.array_equal(batch.labels[0].numpy(), stored(path, "label", 1)[1::2, 1::2])


def test_the_declared_crop_is_cut_unless_told_not_to(path):
    write(path, "camera.json", {"crop_this_resolution_rows_cols": [2, 10, 4, 16]})
    data = Folder(path)
    assert data.size == (8, 12)
    assert np.array_equal(data.batch([0]).labels[0].numpy(), stored(path, "label", 1)[2:10, 4:16])
    assert Folder(path, crop=False).size == (12, 16)
    assert Folder(path, crop=False).fingerprint() != data.fingerprint()


def test_another_modality_is_declared(path):
    heat = {"name": "thermal", "unit": "K", "scale": 0.05, "low": 0, "high": 500}
    write(path, "camera.json", {"modality": heat})
    data = Folder(path)
    assert (data.modalities[1].name, data.modalities[1].high) == ("thermal", 500)
    assert np.allclose(data.batch([0]).inputs["thermal"][0, 0].numpy(), stored(path, "depth", 1) * 0.05)
    assert "depth edge" not in data.families and data.batch([0]).concepts.shape[1] == len(data.families)


def test_groups_are_runs_of_consecutive_numbers(path):
    assert Folder(path).groups == ("run 0001",) * 3 + ("run 0007",) * 2 + ("run 0012",)


def test_declared_groups_come_first(path):
    splits = json.loads((path / "splits.json").read_text())
    write(path, "splits.json", splits | {"test_runs": [[1, 2], [3, 7], [8, 12]]})
    assert Folder(path).groups == ("run 0001",) * 2 + ("run 0003",) * 2 + ("run 0008",) * 2
    write(path, "splits.json", splits | {"groups": {f"{i:04d}": "kitchen" if i < 8 else "hall" for i in NUMBERS}})
    assert Folder(path).groups == ("kitchen",) * 4 + ("hall",) * 2
    write(path, "splits.json", splits | {"groups": {"0001": "kitchen"}})
    with pytest.raises(ValueError, match="`groups` in .* 0002 and 4 more"):
        Folder(path)


def test_unknown_groups_warn(path):
    with pytest.warns(UserWarning, match="no groups are known"):
        data = Folder(path, "named")
    assert data.groups == data.ids == ("0002", "0001")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Folder(path)


def test_the_fingerprint_sees_one_changed_pixel(path):
    before = Folder(path).fingerprint()
    assert json.loads(json.dumps(before)) == before == Folder(path).fingerprint()
    label = stored(path, "label", 7).copy()
    label[5, 5] = (label[5, 5] + 1) % 3
    save(label, path / "label/0007.png")
    assert Folder(path).fingerprint() != before


def opening(path, split="test", **options):
    return lambda: Folder(path, split, **options)


def test_what_is_missing_is_named_at_once(path):
    for call, message in [
        (opening(path / "nowhere"), "`path` must be a folder"),
        (opening(path, "tets"), r"`split` must be .*'tets': the nearest are test, "),
        (opening(path, "train"), "'train' is empty"),
        (opening(path, size=(0, 4)), "`size` must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    for name in ("depth/0007.png", "label/0012.png", "rgb/0001.png", "classes.json", "splits.json"):
        kept = (path / name).read_bytes()
        (path / name).unlink()
        with pytest.raises(ValueError, match=f"{name.split('.')[0]}.* is missing"):
            Folder(path)
        (path / name).write_bytes(kept)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("classes.json", {"labels": 3}, "must be a list of names"),
        ("classes.json", ["a", "a"], "each once"),
        ("classes.json", {"names": ["a"], "ignore_index": 0}, "ignore_index 255"),
        ("splits.json", [1, 2], "got a list"),
        ("splits.json", {"test": [1, 1]}, "each ID once"),
        ("splits.json", {"test": [1, 99]}, "0099.png is missing"),
        ("camera.json", {"crop": [0, 99, 0, 4]}, "`crop` .* must lie"),
        ("camera.json", {"modality": {"name": "heat"}}, "not as it must be .KeyError"),
        ("camera.json", {"intrinsics": {"fx": 1}}, "not as it must be"),
    ],
)
def test_wrong_declarations_are_refused(path, name, value, message):
    write(path, name, value)
    with pytest.raises(ValueError, match=message):
        Folder(path)


def test_json_that_is_none(path):
    (path / "splits.json").write_text("{")
    with pytest.raises(ValueError, match="splits.json must be JSON"):
        Folder(path)


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("depth", np.full((12, 16), 9, np.uint8), "8-bit one"),
        ("depth", np.full((12, 16, 3), 9, np.uint8), "16-bit grey PNG; got Pillow mode 'RGB'"),
        ("depth", np.full((12, 15), 900, np.uint16), r"must be \(12, 16\)"),
        ("depth", np.full((12, 16), 65535, np.uint16), "got 65.535…65.535. Declare"),
        ("label", np.full((12, 16), 3, np.uint8), "0…2 or 255 .*got 3. Add"),
        ("label", np.full((11, 16), 0, np.uint8), r"got \(11, 16\)"),
        ("label", np.full((12, 16), 0, np.uint16), "8-bit grey PNG"),
        ("rgb", np.full((12, 16), 900, np.uint16), "8-bit colour"),
    ],
)
def test_wrong_images_are_named_when_they_are_read(path, name, array, message):
    save(array, path / name / "0007.png")
    data = Folder(path)
    data.batch([0])
    with pytest.raises(ValueError, match=f"{name}/0007.png .*{message}"):
        data.batch([3])


def test_truncated_and_vanished_images(path):
    file = path / "depth/0007.png"
    data, whole = Folder(path), file.read_bytes()
    for keep in (len(whole) // 2, 10, 0):
        file.write_bytes(whole[:keep])
        with pytest.raises(ValueError, match="depth/0007.png cannot be read"):
            data.batch([3])
    file.unlink()
    with pytest.raises(ValueError, match="depth/0007.png is gone"):
        data.batch([3])


def test_images_of_several_sizes_need_a_size(path):
    for folder in ("rgb", "depth", "label"):
        save(stored(path, folder, 7)[:10], path / folder / "0007.png")
    with pytest.raises(ValueError, match="rgb/0007.png .*Give `size`"):
        Folder(path).batch([3])
    assert Folder(path, size=(6, 8)).batch([0, 3]).inputs["rgb"].shape == (2, 3, 6, 8)


@pytest.mark.parametrize("indices", [[], [6], [-1]])
def test_indices_out_of_range(path, indices):
    with pytest.raises(ValueError, match="`indices` must be"):
        Folder(path).batch(indices)
