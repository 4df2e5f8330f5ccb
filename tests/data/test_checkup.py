"""Every mistake is found in a folder that has it and not in one that has not."""

import json

import numpy as np
import pytest
from PIL import Image

from rgbd_insight.data import Folder, Scenes, check
from rgbd_insight.data.evidence import register
from tests.data._official import rotated

CLASSES = ["wall", "floor", "ceiling", "box"]
SIZE, N = (48, 64), 24


def picture(seed):
    """A room as people photograph it: warm light, floor below, ceiling above, boxes that colour and depth both show."""
    rng, (h, w) = np.random.default_rng(seed), SIZE
    label, depth = np.zeros(SIZE, np.uint8), np.full(SIZE, rng.uniform(2500, 4000))
    top, bottom = rng.integers(6, 12), rng.integers(32, 40)
    label[:top], label[bottom:] = 2, 1
    depth[:top] -= np.linspace(900, 0, top)[:, None]
    depth[bottom:] -= np.linspace(0, 1200, h - bottom)[:, None]
    shade = rng.uniform(90, 200, 4)[label]
    for _ in range(4):
        r, c, a, b = rng.integers(4, 30), rng.integers(2, 44), rng.integers(8, 16), rng.integers(8, 18)
        label[r : r + a, c : c + b], depth[r : r + a, c : c + b] = 3, rng.uniform(900, 2200)
        shade[r : r + a, c : c + b] = rng.uniform(20, 250)
    warm = shade[..., None] * np.array([1.0, 0.86, 0.7]) + rng.normal(0, 6, (h, w, 3))
    depth = depth + rng.normal(0, 8, SIZE)
    depth[rng.random(SIZE) < 0.03] = 0
    return warm.clip(0, 255).astype(np.uint8), depth.clip(0, 60000).astype(np.uint16), label


@pytest.fixture
def make(tmp_path):
    """Writes the folder, with each image changed by `change`, splits by `splits`, other classes or camera."""

    def write(change=lambda c, d, lab: (c, d, lab), splits=None, classes=CLASSES, camera=None):
        for name in ("rgb", "depth", "label"):
            (tmp_path / name).mkdir()
        for i in range(N):
            for name, image in zip(("rgb", "depth", "label"), change(*picture(i)), strict=True):
                Image.fromarray(np.ascontiguousarray(image)).save(tmp_path / name / f"{i:03d}.png")
        ids = [f"{i:03d}" for i in range(N)]
        groups = {stem: f"room {i // 2}" for i, stem in enumerate(ids)}
        splits = splits or {"train": ids[:16], "test": ids[16:]}
        (tmp_path / "splits.json").write_text(json.dumps({"groups": groups} | splits))
        (tmp_path / "classes.json").write_text(json.dumps(classes))
        if camera:
            (tmp_path / "camera.json").write_text(json.dumps(camera))
        return tmp_path

    return write


def mistakes(path):
    return [finding.mistake for finding in check(path).findings]


def test_a_clean_folder_and_clean_scenes_have_none(make):
    path = make()
    assert check(path) and check(path).looked == N and "no mistakes found" in str(check(path))
    assert check(Folder(path, "train")) and check(Scenes(32))


PLANTED = {
    "8-bit depth": lambda c, d, lab: (c, (d // 40).astype(np.uint8), lab),
    "bit-rotated depth": lambda c, d, lab: (c, rotated(d), lab),
    "red and blue swapped": lambda c, d, lab: (c[..., ::-1], d, lab),
    "labels shifted by one": lambda c, d, lab: (c, d, lab + 1),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found_and_no_other(make, mistake):
    found = check(make(PLANTED[mistake]))
    assert [finding.mistake for finding in found.findings] == [mistake], str(found)
    assert not found and all(finding.why and finding.fix for finding in found.findings)


def test_depth_stretched_from_eight_bits(make):
    path = make(lambda c, d, lab: (c, (d // 40).astype(np.uint16) * 40, lab))
    assert mistakes(path) == ["8-bit depth"]


@pytest.mark.parametrize(("factor", "unit"), [(10, "tenths of a millimetre"), (0.1, "centimetres")])
def test_a_wrong_unit(make, factor, unit):
    found = check(make(lambda c, d, lab: (c, (d * factor).astype(np.uint16), lab)))
    assert "a wrong unit of depth" in [f.mistake for f in found.findings] and unit in str(found)


def test_a_declared_unit_is_none(make):
    camera = {"modality": {"name": "depth", "unit": "m", "scale": 0.0001, "low": 0, "high": 10}}
    assert mistakes(make(lambda c, d, lab: (c, (d * 10).clip(0, 65535).astype(np.uint16), lab), camera=camera)) == []


@pytest.mark.parametrize(("down", "right"), [(0, 4), (-3, 0), (3, -4)])
def test_depth_out_of_register(make, down, right):
    found = check(make(lambda c, d, lab: (c, np.roll(d, (down, right), (0, 1)), lab)))
    assert [f.mistake for f in found.findings] == ["images out of register"]
    assert f"{down:+d} rows and {right:+d} columns" in str(found)


def test_mirrored_depth_and_other_sizes(make):
    path = make(lambda c, d, lab: (c, d[:, ::-1], lab))
    assert mistakes(path) == ["images out of register"]
    Image.fromarray(np.zeros((48, 63), np.uint16)).save(path / "depth" / "000.png")
    assert mistakes(path) == ["images out of register"]


@pytest.mark.parametrize(
    "names", [["floor", "ceiling", "box", "lamp", "wall"], ["lamp", "wall", "floor", "ceiling", "box"]]
)
def test_names_one_off_are_seen_by_floor_and_ceiling(make, names):
    # 0 to 3 are wall, floor, ceiling, box: these lists put every name one too low or too high
    assert mistakes(make(classes=names)) == ["labels shifted by one"]


def test_one_scene_in_two_splits(make):
    ids = [f"{i:03d}" for i in range(N)]
    path = make(splits={"train": ids[:17], "test": ids[17:]})  # room 8 is in both
    assert mistakes(path) == ["one scene in two splits"] and "'room 8' and 0 more" in str(check(path))


def test_one_image_under_two_names(make):
    path = make()
    (path / "rgb" / "020.png").write_bytes((path / "rgb" / "003.png").read_bytes())
    assert "003 and 020 are one image" in str(check(path))


def test_a_selection_is_no_leak_but_a_test_half_of_it_is(make):
    ids = [f"{i:03d}" for i in range(N)]
    path = make(splits={"train": ids[:16], "train_minus_val": ids[:12], "test": ids[16:]})
    assert check(path)
    (path / "splits.json").write_text(json.dumps({"train": ids, "test": ids[16:]}))
    assert mistakes(path) == ["one scene in two splits"]


def test_damaged_files_and_folders_are_findings(make):
    path = make()
    file = path / "rgb" / "009.png"
    file.write_bytes(file.read_bytes()[:90])
    assert mistakes(path) == ["a damaged file"]
    (path / "classes.json").write_text("{")
    assert mistakes(path) == ["a folder that cannot be opened"]
    (path / "splits.json").write_text("[]")
    assert mistakes(path) == ["a folder that cannot be opened"]
    with pytest.raises(ValueError, match="is none"):
        check(path / "nowhere")


def test_another_modality_is_not_judged_as_depth(make):
    camera = {"modality": {"name": "thermal", "unit": "°C", "scale": 0.01, "low": 0, "high": 100}}
    path = make(lambda c, d, lab: (c, rotated(d // 8), lab), camera=camera)
    assert mistakes(path) == []


def with_third(path, change):
    """The folder with a second camera of depth, whose images are those of the first after `change`."""
    depth = {"name": "depth", "unit": "m", "scale": 0.001, "low": 0, "high": 10}
    (path / "camera.json").write_text(json.dumps({"modalities": [depth, depth | {"name": "lidar"}]}))
    (path / "lidar").mkdir()
    for file in sorted((path / "depth").iterdir()):
        Image.fromarray(np.ascontiguousarray(change(np.asarray(Image.open(file))))).save(path / "lidar" / file.name)
    return path


WRONG_THIRD = {
    "images out of register": lambda d: np.roll(d, 4, 1),
    "bit-rotated depth": rotated,
    "a wrong unit of depth": lambda d: d // 100,
    "8-bit depth": lambda d: (d // 40).astype(np.uint16) * 40,
}


@pytest.mark.parametrize("mistake", WRONG_THIRD)
def test_a_third_modality_is_looked_over_as_the_second(make, mistake):
    path = with_third(make(), WRONG_THIRD[mistake])
    found = check(path).findings
    assert [f.mistake for f in found] == [mistake] and f"{path.name}, lidar" in [f.where for f in found]
    if mistake in ("images out of register", "a wrong unit of depth"):
        data = Folder(path, "train")
        assert [(f.mistake, f.where) for f in check(data).findings] == [(mistake, f"{data.name}, lidar")]


def test_a_third_modality_without_a_mistake(make):
    assert mistakes(with_third(make(), lambda d: d)) == []


def panels(seed, turn, shift=(0, 0), n=32):
    """Images whose edges all run one way, upright, level or slanting, seen alike by colour and depth; then shifted."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:120, 0:160]
    along = {"upright": columns, "level": rows, "slanting": (rows + columns) // 2}[turn]
    colours, readings = [], []
    for _ in range(n):
        ends = np.sort(rng.choice(np.arange(4, along.max() - 4), 4, replace=False))
        panel = np.searchsorted(ends, along)
        floor = 0.5 * np.linspace(0, 1, 120)[:, None]
        colours.append(rng.uniform(30, 220, (5, 3))[panel] + rng.normal(0, 3, (120, 160, 3)))
        reading = rng.uniform(1, 4, 5)[panel] + floor + rng.normal(0, 0.01, (120, 160))
        readings.append(np.roll(reading, shift, (0, 1)))
    return colours, readings


@pytest.mark.parametrize("turn", ["upright", "level", "slanting"])
def test_edges_that_run_one_way_are_no_shift_along_them(turn):
    found = [register(*panels(seed, turn)) for seed in range(10)]
    assert not [r.fault for r in found if r.fault] and all("run one way" in r.unknown for r in found)


@pytest.mark.parametrize(
    ("turn", "shift", "said"),
    [
        ("upright", (0, 5), "+0 rows and +5"),
        ("upright", (6, 5), "+0 rows and +5"),
        ("level", (-4, 0), "-4 rows and +0"),
    ],
)
def test_a_shift_across_such_edges_is_found(turn, shift, said):
    assert said in register(*panels(1, turn, shift)).fault


def test_what_cannot_be_judged_is_said_and_is_no_mistake(make):
    path = make(lambda c, d, lab: (c, np.full_like(d, 2000), lab))
    assert check(path) and "register not judged: there are 0 images with edges" in str(check(path))


REFUSED = {
    "labels that are no class": ("label", np.full(SIZE, 77, np.uint8)),
    "an image of another kind": ("label", np.zeros(SIZE, np.uint16)),
    "a reading out of range": ("depth", np.full(SIZE, 65500, np.uint16)),
    "8-bit depth": ("depth", np.full(SIZE, 9, np.uint8)),
    "images out of register": ("depth", np.full((48, 60), 900, np.uint16)),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_extract_refuses_in_one_image_is_said_whichever_it_is(make, mistake):
    path, (sub, array) = make(), REFUSED[mistake]
    for stem in ("013", "017"):
        Image.fromarray(array).save(path / sub / f"{stem}.png")
    found = check(path, sample=10)  # neither is among them
    assert [f.mistake for f in found.findings] == [mistake] and "013.png" in str(found) and "1 more" in str(found)
    with pytest.raises(ValueError, match="013.png"):
        Folder(path, "train").batch([13])


@pytest.mark.parametrize("mode", ["1", "F"])
def test_labels_of_another_kind_are_said(make, mode):
    path = make()
    Image.new(mode, SIZE[::-1]).save(path / "label" / "005.png", "PNG" if mode == "1" else "TIFF")
    assert mistakes(path) == ["an image of another kind"]


def test_declared_8_bit_depth_and_depth_of_lower_resolution_are_no_mistakes(make):
    camera = {"modality": {"name": "depth", "unit": "m", "scale": 0.04, "low": 0, "high": 10.2, "bits": 8}}
    path = make(lambda c, d, lab: (c, (d[::2, ::2] // 40).astype(np.uint8), lab), camera=camera)
    assert mistakes(path) == []
