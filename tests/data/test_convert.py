"""Converters, on small files in exactly the official layouts: transposed axes, rotated bits, MATLAB structs."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from rgbd_insight.data import Folder
from rgbd_insight.data.convert import nyuv2, sunrgbd
from rgbd_insight.data.sunrgbd import NAMES, unrotate
from tests.data._official import nyu_names, rotated, sun_scene, write_nyuv2, write_toolbox

h5py = pytest.importorskip("h5py", reason="h5py (the extra data) is not installed")


@pytest.fixture
def official(tmp_path):
    """A labelled file of 6 images, 24 x 32, of three places, with its splits.mat; what is in it."""
    return tmp_path / "nyu_depth_v2_labeled.mat", write_nyuv2(tmp_path / "nyu_depth_v2_labeled.mat")


def test_nyuv2_is_read_as_it_lies(official, tmp_path):
    file, truth = official
    out = nyuv2(file, tmp_path / "nyu")
    train, test = Folder(out, "train"), Folder(out, "test")
    assert (train.ids, test.ids) == (("0001", "0002", "0004"), ("0003", "0005", "0006"))
    assert train.groups == ("kitchen_0001", "kitchen_0001", "office_0002") and train.size == (24, 32)
    batch = train.batch([0, 1, 2])
    for row, i in enumerate((0, 1, 3)):
        colour = (batch.inputs["rgb"][row] * 255).round().byte().movedim(0, -1).numpy()
        assert np.array_equal(colour, truth["images"][i])
        assert np.allclose(batch.inputs["depth"][row, 0].numpy(), truth["rawDepths"][i], atol=6e-4)
        assert not batch.valid["depth"][row, 0, :3].any()  # missing stays missing
    filled = Folder(nyuv2(file, tmp_path / "filled", depth="filled"), "train").batch([0])
    assert np.allclose(filled.inputs["depth"][0, 0].numpy(), truth["depths"][0], atol=6e-4)
    assert filled.valid["depth"].all()


def test_nyuv2_classes(official, tmp_path):
    file, truth = official
    names = nyu_names()
    for classes in (40, 13):
        data = Folder(nyuv2(file, tmp_path / str(classes), classes=classes), "train")
        labels = data.batch([0]).labels[0].numpy()
        assert len(data.classes) == classes
        raw = {name: labels[truth["labels"][0] == names.index(name) + 1] for name in ("wall", "bed", "ottoman thing")}
        assert {data.classes[k] for k in raw["wall"]} == {"wall"} and {data.classes[k] for k in raw["bed"]} == {"bed"}
        other = {40: {"otherprop", "otherstructure", "otherfurniture"}, 13: {"objects", "furniture"}}[classes]
        assert {data.classes[k] for k in raw["ottoman thing"]} <= other
        assert (labels[truth["labels"][0] == 0] == 255).all()


def test_nyuv2_of_the_official_size_has_its_lens_and_crop(tmp_path):
    write_nyuv2(tmp_path / "x.mat", n=2, size=(480, 640), train=[1], test=[2])
    out = nyuv2(tmp_path / "x.mat", tmp_path / "nyu")
    about = json.loads((out / "camera.json").read_text())
    assert about["crop"] == [44, 471, 40, 601] and Folder(out, size=(60, 80)).size == (60, 80)
    assert Folder(out).size == (427, 561)


def damaged(change):
    def make(path):
        write_nyuv2(path)
        with h5py.File(path, "r+") as file:
            change(file)

    return make


def drop(name):
    return damaged(lambda file: file.__delitem__(name))


def replaced(name, value):
    def change(file):
        del file[name]
        file[name] = value

    return damaged(change)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "there is none at"),
        (lambda path: path.write_bytes(b"MATLAB 5.0"), "cannot be read as it must be .OSError"),
        (lambda path: (write_nyuv2(path), path.write_bytes(path.read_bytes()[:2000])), "cannot be read as it must be"),
        (drop("names"), "KeyError"),
        (drop("rawDepths"), "KeyError"),
        (replaced("rawDepths", np.zeros((6, 24, 32), np.float32)), r"`rawDepths` \(6, 32, 24\); got \(6, 24, 32\)"),
        (replaced("images", np.zeros((6, 32, 24, 3), np.uint8)), "`images` uint8 .N, 3, W, H.; got"),
        (replaced("labels", np.full((6, 32, 24), 900, np.uint16)), "cannot be read as it must be .IndexError"),
    ],
)
def test_files_that_are_none_leave_nothing(tmp_path, make, words):
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[2]]})
    make(tmp_path / "x.mat")
    there = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=words):
        nyuv2(tmp_path / "x.mat", tmp_path / "deep" / "nyu")
    assert {path.name for path in tmp_path.iterdir()} == there


def test_splits_and_names_of_another_file_are_refused(official, tmp_path):
    file, _ = official
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[7]]})
    with pytest.raises(ValueError, match="test split must number images 1 to 6; got .7."):
        nyuv2(file, tmp_path / "nyu")
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[1]]})
    with pytest.raises(ValueError, match="testNdxs misses"):
        nyuv2(file, tmp_path / "nyu")
    (tmp_path / "splits.mat").unlink()
    with pytest.raises(ValueError, match="splits.mat is missing"):
        nyuv2(file, tmp_path / "nyu")
    names = nyu_names()
    names[20], names[21] = names[21], names[20]  # the wall is elsewhere
    write_nyuv2(file, names=names)
    with pytest.raises(ValueError, match="the official 894 names; got 894, with 'wall' at another place"):
        nyuv2(file, tmp_path / "nyu")
    with pytest.raises(ValueError, match="`classes` must be 40 or 13"):
        nyuv2(file, tmp_path / "nyu", classes=39)


def test_nothing_is_overwritten(official, tmp_path):
    (tmp_path / "nyu").mkdir()
    with pytest.raises(ValueError, match="there is something at"):
        nyuv2(official[0], tmp_path / "nyu")


def test_bits_are_rotated_back():
    millimetres = np.arange(0, 8192, 7, dtype=np.uint16)
    assert np.array_equal(unrotate(rotated(millimetres)), millimetres)


SUN = (
    "kv1/NYUdata/NYU0001",
    "kv1/NYUdata/NYU0002",
    "kv1/NYUdata/NYU0009",
    "xtion/sun3ddata/hall/0001-a",
    "xtion/sun3ddata/hall/0044-b",
    "kv2/kinect2data/000065_2014",
)


@pytest.fixture
def sun(tmp_path):
    return tmp_path / "data", {name: sun_scene(tmp_path / "data" / "SUNRGBD" / name, i) for i, name in enumerate(SUN)}


def check_pixels(data, truth, out):
    sources = json.loads((out / "sources.json").read_text())
    for row, stem in enumerate(data.ids):
        colour, millimetres, label = truth[sources[stem]]
        batch = data.batch([row])
        assert np.array_equal((batch.inputs["rgb"][0] * 255).round().byte().movedim(0, -1).numpy(), colour)
        assert np.allclose(batch.inputs["depth"][0, 0].numpy(), np.minimum(millimetres, 8000) / 1000, atol=1e-6)
        assert np.array_equal(batch.labels[0].numpy(), label)


def test_sunrgbd_without_its_toolbox(sun, tmp_path):
    root, truth = sun
    out = sunrgbd(root, tmp_path / "sun")
    data = Folder(out, "test")
    assert len(data) == 6 and data.classes == NAMES
    groups = json.loads((out / "splits.json").read_text())["groups"]
    sources = json.loads((out / "sources.json").read_text())
    by_name = {sources[stem]: group for stem, group in groups.items()}
    assert by_name[SUN[0]] == by_name[SUN[1]] != by_name[SUN[2]]  # a run of consecutive numbers
    assert by_name[SUN[3]] == by_name[SUN[4]] == "xtion/sun3ddata/hall"
    check_pixels(data, truth, out)


def test_sunrgbd_with_its_toolbox(sun, tmp_path):
    root, truth = sun
    labels = write_toolbox(root / "SUNRGBDtoolbox", SUN, train=SUN[3:5])
    truth = {name: (*truth[name][:2], labels[name]) for name in SUN}
    out = sunrgbd(root, tmp_path / "sun")
    assert [len(Folder(out, half)) for half in ("train", "test")] == [2, 4]
    for half in ("train", "test"):
        check_pixels(Folder(out, half), truth, out)


def break_sun(root, how):
    scene = root / "SUNRGBD" / SUN[0]
    if how == "no depth":
        next((scene / "depth").iterdir()).unlink()
    if how == "8-bit":
        Image.fromarray(np.zeros((12, 16), np.uint8)).save(scene / "depth" / "0.png")
    if how == "size":
        Image.fromarray(np.zeros((12, 17), np.uint16)).save(scene / "depth" / "0.png")
    if how == "no labels":
        (scene / "seg.mat").unlink()
    if how == "label":
        savemat(scene / "seg.mat", {"names": np.array(["wall"], object), "seglabel": np.full((12, 16), 2, np.uint8)})
    if how == "not MATLAB":
        (scene / "seg.mat").write_bytes(b"\x80\x04cos\nsystem\n")
    if how == "truncated":
        file = next((scene / "image").iterdir())
        file.write_bytes(file.read_bytes()[:60])
    if how == "half a toolbox":
        (root / "SUNRGBDtoolbox").mkdir()
    if how == "another toolbox":
        write_toolbox(root / "SUNRGBDtoolbox", SUN[1:], train=SUN[1:2])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no depth", "must hold one image; got 0"),
        ("8-bit", "must be a 16-bit grey PNG"),
        ("size", r"must be \(12, 16\) .H, W. like the scene's image"),
        ("no labels", "seg.mat is missing"),
        ("label", "must hold `seglabel`"),
        ("not MATLAB", "must be a MATLAB file"),
        ("truncated", "cannot be read"),
        ("half a toolbox", "allsplit.mat is missing"),
        ("another toolbox", "must know every scene; kv1/NYUdata/NYU0001 and 0 more"),
    ],
)
def test_sun_folders_that_are_none_leave_nothing(sun, tmp_path, how, words):
    root, _ = sun
    break_sun(root, how)
    with pytest.raises(ValueError, match=words):
        sunrgbd(root, tmp_path / "sun")
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_no_scenes(tmp_path):
    with pytest.raises(ValueError, match="has none"):
        sunrgbd(tmp_path, tmp_path / "sun")
    with pytest.raises(ValueError, match="is none"):
        sunrgbd(tmp_path / "nowhere", tmp_path / "sun")
