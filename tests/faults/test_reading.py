"""Files that never end, that say more than they hold, or unfold to more than they can mean: one line, and at once."""

import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
import torch
from scipy.io import savemat

from rgbd_insight.data.camera import read_json
from rgbd_insight.data.driving import read_events
from rgbd_insight.data.folder import read_ends
from rgbd_insight.data.labels import read_labels
from rgbd_insight.data.reading import read_image, read_mat, read_reading
from rgbd_insight.data.sunrgbd import find_scenes
from rgbd_insight.experiments import unpack
from rgbd_insight.features import FeaturesError, read_mask, read_own
from rgbd_insight.models import load_weights, read_tap_map
from rgbd_insight.report import read_report
from rgbd_insight.utils import reading
from rgbd_insight.utils.files import whole
from rgbd_insight.utils.reading import Unreadable, check_mat
from tests.faults._malformed import limited

READERS = {  # what a file is called → who reads it
    "concepts.csv": lambda path: read_own(path, ["a"], ["b"]),
    "mask.png": read_mask,
    "image.png": read_image,
    "ends.png": read_ends,
    "depth.npy": read_reading,
    "events.npz": lambda path: read_events(path, (4, 4)),
    "splits.mat": lambda path: read_mat(path, ("x",)),
    "camera.json": lambda path: read_json(path, ""),
    "labels.csv": lambda path: read_labels(path.parent),
    "taps.toml": read_tap_map,
    "report.json": read_report,
    "weights.pt": lambda path: load_weights(torch.nn.Linear(2, 2), path),
    "results.tar.gz": lambda path: unpack([path], path.parent / "work"),
}


def refused(name, path):
    """The line in which the reader of `name` refuses what lies at `path`; nothing is written."""
    before = set(path.parent.iterdir())
    with limited(5), pytest.raises((ValueError, OSError)) as caught:
        READERS[name](path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)
    assert set(path.parent.iterdir()) == before
    return str(caught.value)


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_and_a_device_are_read_by_nobody(tmp_path, name):
    os.mkfifo(tmp_path / name)
    refused(name, tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    refused(name, tmp_path / name)


def png(width, height):
    """An image of one bit a pixel, cut short: its size is known before its pixels are."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def mat(size):
    """A MATLAB file with one compressed variable of nothing but zeros."""
    held = zlib.compress(struct.pack("<II", 14, size) + bytes(size))
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, len(held)) + held


def npz(size):
    held = io.BytesIO()
    np.savez_compressed(held, **dict.fromkeys("xytp", np.zeros(size // 8, np.int64)))
    return held.getvalue()


def weights(size):
    """What `torch.save` writes, compressed, which it never does."""
    saved, held = io.BytesIO(), io.BytesIO()
    torch.save({"weight": torch.zeros(size // 4)}, saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return held.getvalue()


def tar(size):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as target:
        about = tarfile.TarInfo("a/b/c/d")
        about.size = size
        target.addfile(about, io.BytesIO(bytes(size)))
    return held.getvalue()


BOMBS = {"splits.mat": mat, "events.npz": npz, "weights.pt": weights, "results.tar.gz": tar}


@pytest.mark.parametrize("name", BOMBS)
def test_what_unfolds_beyond_all_use_is_not_unfolded(tmp_path, name, monkeypatch):
    monkeypatch.setattr(reading, "LEAST", 2**16)
    (tmp_path / name).write_bytes(BOMBS[name](2**22))
    assert "it would unfold to" in refused(name, tmp_path / name)


@pytest.mark.parametrize("name", ["mask.png", "image.png"])
@pytest.mark.parametrize("size", [(9000, 8000), (10**5, 10**5)])
@pytest.mark.filterwarnings("ignore:Image size")
def test_an_image_larger_than_any_is_not_made(tmp_path, name, size):
    (tmp_path / name).write_bytes(png(*size))
    assert "too " in refused(name, tmp_path / name)


def test_an_image_of_a_format_that_starts_a_program_is_none(tmp_path):
    (tmp_path / "image.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    assert "cannot identify" in refused("image.png", tmp_path / "image.png")


@pytest.mark.parametrize("shape", [(10**6, 10**6), (40000, 40000), (1,)])
def test_an_array_that_holds_other_than_it_says_is_not_made(tmp_path, shape):
    head = f"{{'descr': '<u2', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    held = b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head.encode() + bytes(64)
    (tmp_path / "depth.npy").write_bytes(held)
    assert f"says to hold {shape}" in refused("depth.npy", tmp_path / "depth.npy")
    with zipfile.ZipFile(tmp_path / "events.npz", "w") as target:
        for name in "xytp":
            target.writestr(f"{name}.npy", held)
    assert f"says to hold {shape}" in refused("events.npz", tmp_path / "events.npz")


def test_an_archive_in_the_place_of_an_array_is_none(tmp_path):
    (tmp_path / "depth.npy").write_bytes(npz(9))
    refused("depth.npy", tmp_path / "depth.npy")


def test_a_variable_of_more_values_than_it_holds_is_not_made(tmp_path):
    path = tmp_path / "splits.mat"
    savemat(path, {"x": np.arange(6)})
    held = path.read_bytes()
    path.write_bytes(held.replace(struct.pack("<ii", 1, 6), struct.pack("<ii", 50000, 50000)))
    assert "says to hold (50000, 50000)" in refused("splits.mat", path)
    savemat(path, {"x": np.arange(6)}, do_compression=True)
    check_mat(path)
    assert read_mat(path, ("x",))["x"].tolist() == list(range(6))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "names 'a' twice"),
        ('{"a": NaN}', "holds NaN"),
        ('{"a": -Infinity}', "holds -Infinity"),
        ("[" * 10**5, "nested too deeply"),
        ("9" * 5000, "digits"),
        ('{"a": "caf\udce9"}', "no text in UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["camera.json", "report.json"])
def test_json_that_means_two_things_or_none_is_refused(tmp_path, name, text, words):
    (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    assert words in refused(name, tmp_path / name)


@pytest.mark.parametrize("text", ["x = " + "[" * 10**5, "x = " + "9" * 5000, "x = '\udce9'", "\0"])
def test_toml_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "taps.toml").write_bytes(text.encode(errors="surrogateescape"))
    refused("taps.toml", tmp_path / "taps.toml")


def test_a_text_without_end_is_not_read(tmp_path):
    path = tmp_path / "long.json"
    path.write_text('"' + "x" * 100 + '"')
    assert reading.read_text(path, 102) == path.read_text()
    with pytest.raises(Unreadable, match="more than 101 bytes"):
        reading.read_text(path, 101)


@pytest.mark.parametrize("name", ["concepts.csv", "labels.csv"])
@pytest.mark.parametrize("line", ["a," + "x" * 200_000 + ",1", 'a,"x,1'])
def test_a_line_that_is_none_of_a_table_is_named(tmp_path, name, line):
    header = "id,concept,value" if name == "concepts.csv" else "id,age,height"
    (tmp_path / name).write_text(f"{header}\n{line}\n")
    assert "line 2" in refused(name, tmp_path / name)


def test_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,age,age\na,1,2\n")  # the last would have been taken
    assert "a name of their own each; got id, age, age" in refused("labels.csv", path)
    path.write_bytes(b"\xef\xbb\xbfid , age\r\na,1\r\n")
    assert read_labels(tmp_path).table["a"].tolist() == [1]


@pytest.fixture
def masks(tmp_path):
    """A folder of masks as it must be, and what systems leave in one."""
    for name in ("masks/cosy/a.png", "masks/cosy/._a.png", "masks/__MACOSX/cosy/._a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(png(8, 8))
    return tmp_path / "masks"


def test_masks_are_looked_for_where_ids_lead_and_nowhere_else(masks, monkeypatch):
    assert read_own(masks, ["a"], ["b"]).names == ("cosy",)
    (masks / "other" / "deep" / "deeper").mkdir(parents=True)
    seen, iterdir = [], type(masks).iterdir
    monkeypatch.setattr(type(masks), "iterdir", lambda path: seen.append(path.name) or iterdir(path))
    with pytest.raises(FeaturesError, match="other/deep is a folder, and the ids of the data lead to none there"):
        read_own(masks, ["a"], ["b"])
    assert seen == ["masks", "cosy", "other"]
    with pytest.raises(FeaturesError, match="other/deep/deeper is a folder"):
        read_own(masks, ["deep/a"], ["b"])


def test_masks_of_other_samples_are_not_read(masks):
    (masks / "cosy" / "b.png").write_text("no image")
    with pytest.warns(UserWarning, match="1 of 2"):
        read_own(masks, ["a", "c"], ["b"], others=True)
    with pytest.raises(FeaturesError, match="names 1 samples that the data do not have, b"):
        read_own(masks, ["a"], ["b"])


def test_the_search_for_scenes_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setitem(find_scenes.__globals__, "LOST", 5)
    for i in range(9):
        (tmp_path / f"folder {i}").mkdir()
    with pytest.raises(ValueError, match="has none among its first 5 folders"):
        find_scenes(tmp_path)
    (tmp_path / "a" / "depth").mkdir(parents=True)
    (tmp_path / "a" / "image").mkdir()
    assert [scene.name for scene in find_scenes(tmp_path)] == ["a"]  # it comes first, and then there is no end to it


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "x")
    with pytest.raises(ValueError, match="a device, a pipe or a socket"), whole(tmp_path / "x"):
        pass
    assert stat.S_ISFIFO((tmp_path / "x").stat().st_mode) and len(list(tmp_path.iterdir())) == 1
