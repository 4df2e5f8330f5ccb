"""Modalities beside colour as they are declared: bits, channels, a camera of their own, what no reading is."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd_insight.data import Folder, check

SIZE, N = (24, 32), 20
HEAT = {
    "name": "thermal",
    "unit": "°C",
    "scale": 0.5,
    "offset": -20,
    "low": -20,
    "high": 107.5,
    "bits": 8,
    "missing": None,
}
POLAR = {"name": "polar", "unit": "", "scale": 1 / 255, "low": 0, "high": 1, "bits": 8, "channels": 5}


def save(values, file):
    file.parent.mkdir(exist_ok=True)
    np.save(file, values) if file.suffix == ".npy" else Image.fromarray(values).save(file)


@pytest.fixture
def folder(tmp_path):
    """20 images of 24 x 32, with thermal/ of 8 bits and polar/ of 5 channels at half the resolution."""
    rng, path = np.random.default_rng(0), tmp_path / "night"
    path.mkdir()
    for i in range(N):
        save(rng.integers(0, 256, (*SIZE, 3), np.uint8), path / f"rgb/{i:03d}.png")
        save(rng.integers(0, 256, SIZE, np.uint8), path / f"thermal/{i:03d}.png")
        save(rng.integers(1, 256, (12, 16, 5), np.uint8), path / f"polar/{i:03d}.npy")
        save(rng.integers(0, 2, SIZE, np.uint8), path / f"label/{i:03d}.png")
    (path / "classes.json").write_text(json.dumps(["street", "car"]))
    names = [f"{i:03d}" for i in range(N)]
    groups = {name: f"place {i // 2}" for i, name in enumerate(names)}
    (path / "splits.json").write_text(json.dumps({"test": names, "groups": groups}))
    declare(path, [HEAT, POLAR])
    return path


def declare(path, modalities):
    (path / "camera.json").write_text(json.dumps({"modalities": modalities}))


def quietly(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Folder(*args, **options)


def test_each_is_read_as_it_is_declared(folder):
    with pytest.warns(UserWarning, match="polar in .* is 12x16 and colour 24x32"):
        data = Folder(folder)
    assert [m.name for m in data.modalities] == ["rgb", "thermal", "polar"]
    assert [m.planes for m in data.modalities] == [3, 1, 5] and data.families == (
        "class",
        "hue",
        "texture",
        "colour edge",
    )
    batch = data.batch([3])
    stored = np.asarray(Image.open(folder / "thermal/003.png"))
    assert np.allclose(batch.inputs["thermal"][0, 0].numpy(), stored * 0.5 - 20) and batch.valid["thermal"].all()
    five = np.load(folder / "polar/003.npy").repeat(2, 0).repeat(2, 1)
    assert np.allclose(batch.inputs["polar"][0].numpy(), np.moveaxis(five, -1, 0) / 255, atol=1e-6)
    assert batch.inputs["polar"].shape == (1, 5, *SIZE) and list(batch.inputs) == ["rgb", "thermal", "polar"]
    assert check(folder), str(check(folder))  # 8 bits that are declared are no mistake


def test_what_no_reading_is_is_declared(folder):
    hot = np.full(SIZE, 200, np.uint8)
    hot[:4] = 255
    save(hot, folder / "thermal/000.png")
    declare(folder, [HEAT | {"missing": 255}])
    batch = Folder(folder).batch([0])
    assert not batch.valid["thermal"][0, 0, :4].any() and batch.valid["thermal"][0, 0, 4:].all()
    assert (batch.inputs["thermal"][0, 0, :4] == 0).all() and (batch.inputs["thermal"][0, 0, 4:] == 80).all()
    declare(folder, [HEAT | {"high": 60}])
    with pytest.raises(ValueError, match="must read -20…60 °C; got -20…80|must read -20…60 °C; got 80…107.5"):
        Folder(folder).batch([0])


def test_a_camera_of_its_own_is_brought_to_the_colours_view(folder):
    rows, columns = np.indices((10, 20))
    save((10 * rows + columns).astype(np.uint8), folder / "thermal/000.png")
    declare(folder, [HEAT | {"missing": 0, "affine": [0.5, 0, 2, 0, 0.5, -1]}])
    batch = Folder(folder).batch([0])
    y, x = np.indices(SIZE)
    row, column = np.rint(0.5 * y - 1).astype(int), np.rint(0.5 * x + 2).astype(int)
    there = (row >= 0) & (row < 10) & (column < 20)
    expected = np.where(there, 10 * row + column, 0)
    assert np.allclose(batch.inputs["thermal"][0, 0].numpy(), np.where(expected > 0, expected * 0.5 - 20, 0))
    assert np.array_equal(batch.valid["thermal"][0, 0].numpy(), expected > 0)


def test_declared_in_the_call(folder):
    (folder / "camera.json").unlink()
    with pytest.raises(ValueError, match=r"depth is missing"):
        Folder(folder)
    data = Folder(folder, modalities=[HEAT])
    assert [m.name for m in data.modalities] == ["rgb", "thermal"]
    assert data.fingerprint() != Folder(folder, modalities=[HEAT | {"offset": 0, "low": 0}]).fingerprint()
    declare(folder, [HEAT])
    assert torch.equal(Folder(folder).batch([1]).inputs["thermal"], data.batch([1]).inputs["thermal"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channels": 0}, "channels must be a whole number from 1 to 16; got 0"),
        ({"channels": 17}, "channels must be a whole number from 1 to 16; got 17"),
        ({"missing": 256}, "missing must be the stored number that is no reading, 0 to 255, or null"),
        ({"affine": [1, 0, 0]}, "affine must be six numbers"),
        ({"name": "rgb+d"}, r"one word without / : and \+"),
        ({"offset": "1"}, "offset must be a finite number; got '1'"),
    ],
)
def test_what_cannot_be_declared(folder, change, words):
    with pytest.raises(ValueError, match=words):
        Folder(folder, modalities=[HEAT | change])
    declare(folder, [HEAT | change])
    with pytest.raises(ValueError, match=words):
        Folder(folder)


def test_names_and_shapes_that_do_not_fit(folder):
    with pytest.raises(ValueError, match="a name of its own; got thermal, thermal"):
        Folder(folder, modalities=[HEAT, HEAT])
    with pytest.raises(
        ValueError, match=r"000.npy must be uint8 \(H, W, 4\), as camera.json says; got uint8 \(12, 16, 5\)"
    ):
        quietly(folder, modalities=[POLAR | {"channels": 4}]).batch([0])
    with pytest.raises(ValueError, match="000.png must have 3 channels of 8 bits.*got Pillow mode 'L'"):
        quietly(folder, modalities=[HEAT | {"channels": 3}]).batch([0])
    (folder / "polar/000.npy").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(ValueError, match="000.npy cannot be read"):
        quietly(folder, modalities=[POLAR]).batch([0])
