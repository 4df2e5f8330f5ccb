"""Images and camera.json as phones, tools and systems leave them: read as they are meant, or refused by name."""

import json
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from rgbd_insight.data.folder import Folder
from rgbd_insight.data.sunrgbd import find_scenes, read_scene

SIZE = (12, 16)


def raw_png(file, bits, colour_type, rows, width):
    """A PNG of any depth, written by hand: Pillow writes fewer kinds than it reads."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def save(array, file, **options):
    file.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(array).save(file, **options)


def folder(path, ids=("a", "b", "c"), classes=3):
    rng = np.random.default_rng(0)
    for stem in ids:
        save(rng.integers(0, 256, (*SIZE, 3), np.uint8), path / f"rgb/{stem}.png")
        save(rng.integers(500, 9000, SIZE).astype(np.uint16), path / f"depth/{stem}.png")
        save(rng.choice([0, 1, 2, 255], SIZE).astype(np.uint8), path / f"label/{stem}.png")
    (path / "classes.json").write_text(json.dumps([f"class {k}" for k in range(classes)]))
    (path / "splits.json").write_text(json.dumps({"test": list(ids), "groups": {stem: stem for stem in ids}}))
    return path


@pytest.fixture
def path(tmp_path):
    return folder(tmp_path / "photos")


def turned(file):
    tag = Image.Exif()
    tag[0x0112] = 6
    save(np.full((*SIZE, 3), 90, np.uint8), file, exif=tag)


def sixteen(file):
    raw_png(file, 16, 2, [struct.pack(">48H", *[900] * 48)] * 12, 16)


def lossy(file):
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(file, "JPEG")


BAD = {
    "a photo to be turned": ("rgb/b.png", turned, "EXIF orientation is 6.*exif_transpose"),
    "a label to be turned": ("label/b.png", turned, "EXIF orientation is 6"),
    "CMYK": ("rgb/b.png", lambda f: Image.new("CMYK", SIZE[::-1]).save(f, "JPEG"), "Pillow mode 'CMYK'"),
    "16-bit colour": ("rgb/b.png", sixteen, "16 bits a channel"),
    "16-bit grey for colour": ("rgb/b.png", lambda f: save(np.full(SIZE, 900, np.uint16), f), "8-bit colour"),
    "1-bit colour": ("rgb/b.png", lambda f: Image.new("1", SIZE[::-1]).save(f), "Pillow mode '1'"),
    "float depth": ("depth/b.png", lambda f: Image.fromarray(np.ones(SIZE, np.float32)).save(f, "TIFF"), "mode 'F'"),
    "32-bit depth": (
        "depth/b.png",
        lambda f: Image.fromarray(np.full(SIZE, 70000, np.int32)).save(f, "TIFF"),
        "numbers from 70000 to 70000",
    ),
    "depth below 0": (
        "depth/b.png",
        lambda f: Image.fromarray(np.full(SIZE, -1, np.int32)).save(f, "TIFF"),
        "numbers from -1",
    ),
    "a picture of depth": ("depth/b.png", lambda f: save(np.ones((*SIZE, 3), np.uint8), f), "Pillow mode 'RGB'"),
    "8-bit depth": ("depth/b.png", lambda f: save(np.ones(SIZE, np.uint8), f), '"bits": 8'),
    "1-bit depth": ("depth/b.png", lambda f: Image.new("1", SIZE[::-1]).save(f), "16-bit grey PNG"),
    "16-bit label": ("label/b.png", lambda f: save(np.ones(SIZE, np.uint16), f), "8-bit grey PNG"),
    "1-bit label": ("label/b.png", lambda f: Image.new("1", SIZE[::-1]).save(f), "Pillow mode '1'"),
    "float label": ("label/b.png", lambda f: Image.fromarray(np.ones(SIZE, np.float32)).save(f, "TIFF"), "mode 'F'"),
    "a label in JPEG": ("label/b.png", lossy, "a JPEG, which changes values"),
    "a bomb": ("rgb/b.png", lambda f: raw_png(f, 1, 0, [b"\0"], 10**9), "too large"),
    "a bomb of depth": ("depth/b.png", lambda f: raw_png(f, 16, 0, [b"\0"], 10**9), "too large"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_meant_is_refused_by_name(path, kind):
    name, write, said = BAD[kind]
    write(path / name)
    with pytest.raises(ValueError, match=f"{name} .*{said}"):
        Folder(path).batch([1])


def test_grey_of_few_bits_holds_the_classes_that_were_saved(tmp_path):
    path = folder(tmp_path / "photos", classes=60)  # as Pillow reads it, 3 of 4 bits would be class 51
    raw_png(path / "label" / "b.png", 4, 0, [bytes([0x01, 0x23] * 4)] * 12, 16)
    assert Folder(path).batch([1]).labels.unique().tolist() == [0, 1, 2, 3]
    raw_png(path / "label" / "b.png", 2, 0, [bytes([0b00011011] * 4)] * 12, 16)
    assert Folder(path).batch([1]).labels.unique().tolist() == [0, 1, 2, 3]


def test_palettes_are_colours_of_a_photo_and_indices_of_a_label(path):
    image = Image.fromarray(np.tile(np.uint8([0, 1, 2, 1]), (12, 4)))
    image = Image.frombytes("P", SIZE[::-1], image.tobytes())
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(path / "label" / "b.png")
    image.save(path / "rgb" / "b.png")
    batch = Folder(path).batch([1])
    assert batch.labels[0, 0, :4].tolist() == [0, 1, 2, 1] and batch.inputs["rgb"][0, :, 0, 0].tolist() == [1, 0, 0]


def test_transparency_is_dropped_with_a_word_and_none_is_without(path):
    pixels = np.full((*SIZE, 4), 255, np.uint8)
    save(pixels, path / "rgb" / "b.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Folder(path).batch([1])
    pixels[0, 0, 3] = 9
    save(pixels, path / "rgb" / "b.png")
    with pytest.warns(UserWarning, match="rgb has images with transparent pixels"):
        Folder(path).batch([1])


def coarse(path, size, ids="abc"):
    rng = np.random.default_rng(1)
    for stem in ids:
        save(rng.integers(500, 9000, size).astype(np.uint16), path / f"depth/{stem}.png")


def test_depth_of_lower_resolution_is_brought_to_the_colours_with_a_word(path):
    coarse(path, (6, 8))
    with pytest.warns(UserWarning, match="6x8 and colour 12x16.*nearest neighbour"):
        data = Folder(path)
    stored = np.asarray(Image.open(path / "depth/b.png"))
    assert np.allclose(data.batch([1]).inputs["depth"][0, 0].numpy(), stored.repeat(2, 0).repeat(2, 1) / 1000)
    with pytest.warns(UserWarning):
        assert np.allclose(Folder(path, size=(6, 8)).batch([1]).inputs["depth"][0, 0].numpy(), stored / 1000)


@pytest.mark.parametrize("size", [(12, 15), (11, 15), (6, 6), (6, 16), (24, 32)])
def test_depth_of_another_view_is_refused(path, size):
    coarse(path, size)
    with pytest.raises(ValueError, match=r"depth/b.png must be \(12, 16\).*Register"):
        Folder(path).batch([1])


EIGHT = {"name": "depth", "unit": "m", "scale": 0.04, "low": 0, "high": 10.2, "bits": 8}


def test_8_bit_depth_is_read_where_it_is_declared_with_a_word(path):
    (path / "camera.json").write_text(json.dumps({"modality": EIGHT}))
    for stem in "abc":
        save(np.full(SIZE, 50, np.uint8), path / f"depth/{stem}.png")
    with pytest.warns(UserWarning, match="declared to have 8 bits: its steps are 0.04 m"):
        data = Folder(path)
    assert data.batch([1]).inputs["depth"].unique().tolist() == [2.0]
    save(np.full(SIZE, 2000, np.uint16), path / "depth/b.png")
    with pytest.raises(ValueError, match="8-bit grey PNG, as camera.json says"):
        data.batch([1])
    save(np.full((*SIZE, 3), 50, np.uint8), path / "depth/b.png")
    with pytest.raises(ValueError, match="8-bit grey PNG, as camera.json says"):
        data.batch([1])


def test_ids_may_have_folders_which_are_scenes(tmp_path):
    ids = ("kitchen/0001", "kitchen/0002", "hall/0001")
    path = folder(tmp_path / "nested", ids)
    (path / "splits.json").write_text(json.dumps({"test": [f"{stem}.png" for stem in ids], "other": ids[:2]}))
    data = Folder(path)
    assert data.ids == ids and data.groups == ("kitchen", "kitchen", "hall") and len(data.batch([2]).ids) == 1
    with pytest.warns(UserWarning, match="no groups are known"):
        Folder(path, "other")
    groups = {f"{stem}.png": "house" for stem in ids}
    (path / "splits.json").write_text(json.dumps({"test": ids, "groups": groups}))
    assert set(Folder(path).groups) == {"house"}
    (path / "rgb/hall/0001.png").unlink()
    with pytest.raises(ValueError, match=r"rgb/hall/0001\.png is missing"):
        Folder(path)


def test_what_systems_and_editors_leave_behind_is_no_image(path):
    before = Folder(path).fingerprint()
    for sub in ("rgb", "depth", "label"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._b.png", "b.png~", "._b.jpg", ".b.png.swp"):
            (path / sub / name).write_bytes(b"\0\5\x16\7")
        for inner in ("@eaDir", "__MACOSX", ".ipynb_checkpoints"):
            (path / sub / inner).mkdir()
            (path / sub / inner / "b.png").write_bytes(b"x")
    for name in ("classes.json", "splits.json"):  # as a Windows editor saves it
        (path / name).write_bytes(b"\xef\xbb\xbf" + (path / name).read_bytes())
    data = Folder(path)
    assert data.ids == ("a", "b", "c") and len(data.batch([0, 1, 2])) == 3 and data.classes[0] == "class 0"
    assert data.fingerprint().keys() == before.keys()


def test_left_behind_files_do_not_stop_the_converter(tmp_path):
    scene = tmp_path / "SUNRGBD" / "kv1" / "one"
    save(np.zeros((*SIZE, 3), np.uint8), scene / "image" / "x.jpg")
    save(np.full(SIZE, 16000, np.uint16), scene / "depth" / "x.png")
    for name in ("image/._x.jpg", "depth/._x.png", "image/.DS_Store"):
        (scene / name).write_bytes(b"\0\5\x16\7")
    for name in ("image/._x.jpg", "depth/._x.png"):
        other = tmp_path / "SUNRGBD" / "__MACOSX" / "kv1" / "one" / name
        other.parent.mkdir(parents=True)
        other.write_bytes(b"\0\5\x16\7")
    (found,) = find_scenes(tmp_path)
    assert read_scene(found, np.zeros(SIZE, np.uint8))[1].max() == 2.0


DEPTH = {"name": "depth", "unit": "m", "scale": 0.001, "low": 0, "high": 10}
LENS = {"fx": 100, "fy": 100, "cx": 8, "cy": 6}


@pytest.mark.parametrize(
    "text",
    [
        *(json.dumps({"modality": DEPTH | {"name": name}}) for name in ("rgb", "RGB", "both", "none", "fused", "")),
        *(json.dumps({"modality": DEPTH | {"name": name}}) for name in ("a/b", "a b", "a:b", 3, None, [], "x" * 200)),
        *(json.dumps({"modality": DEPTH | {key: value}}) for key in ("scale", "high") for value in ("1", True, None)),
        *(json.dumps({"modality": DEPTH | {"scale": value}}) for value in (0, -1, float("nan"), 1e308, 1e-320)),
        *(json.dumps({"modality": DEPTH | {"high": value}}) for value in (0, -5, float("inf"), float("nan"))),
        *(json.dumps({"modality": DEPTH | {"bits": value}}) for value in (1, 12, "8", 8.0, True, None)),
        json.dumps({"modality": DEPTH | {"unit": 3}}),
        json.dumps({"modality": []}),
        *(json.dumps({"intrinsics": LENS | {"fx": value}}) for value in (0, -1, float("nan"), 1e308, "9", True)),
        *(json.dumps({"intrinsics": LENS | {"cy": value}}) for value in (float("inf"), 1e308, None)),
        *(json.dumps({"crop": value}) for value in ("0123", [0, 1, 2], [0, 1.5, 0, 2], [True, 2, 0, 2], 3, {"a": 1})),
        '{"crop": [0, 1e400, 0, 4]}',
        '{"crop": [0, 12, 0, 1e4]}',
        '{"intrinsics": {"fx": 1e400, "fy": 1, "cx": 0, "cy": 0}}',
        "[1]",
        '"x"',
        "[" * 100000,
    ],
)
def test_a_camera_that_cannot_be_is_refused_by_name(path, text):
    (path / "camera.json").write_text(text)
    with pytest.raises(ValueError, match=r"camera\.json"):
        Folder(path)
