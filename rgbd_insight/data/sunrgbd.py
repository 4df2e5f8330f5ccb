"""The layout of SUN RGB-D: scene folders, rotated depth, labels and splits of its toolbox."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rgbd_insight.data.reading import led_to, open_hdf5, part_of, read_colour, read_mat, read_reading
from rgbd_insight.utils.reading import left_behind

NAMES = (
    "wall",
    "floor",
    "cabinet",
    "bed",
    "chair",
    "sofa",
    "table",
    "door",
    "window",
    "bookshelf",
    "picture",
    "counter",
    "blinds",
    "desk",
    "shelves",
    "curtain",
    "dresser",
    "pillow",
    "mirror",
    "floor_mat",
    "clothes",
    "ceiling",
    "books",
    "fridge",
    "tv",
    "paper",
    "towel",
    "shower_curtain",
    "box",
    "whiteboard",
    "person",
    "night_stand",
    "toilet",
    "sink",
    "lamp",
    "bathtub",
    "bag",
)
REACH = 8.0  # metres
HOME = "SUNRGBD/"  # the toolbox's paths begin elsewhere and hold this
NUMBERED = re.compile(r"(.*?)(\d+)$")
LOST = 5000  # folders below the root after which there would have been a scene
RUNS = ("NYUdata", "b3dodata")  # numbered frames of the same places in a row


@dataclass(frozen=True)
class Scene:
    """A folder with image/ and depth/: where it is, its path from SUNRGBD/ on, and the recording it belongs to."""

    path: Path
    name: str
    group: str


@dataclass(frozen=True)
class Toolbox:
    """Labels and splits; both empty where there is no toolbox."""

    labels: Path | None = None
    index: dict[str, int] = field(default_factory=dict)
    train: frozenset[str] = frozenset()
    names: tuple[str, ...] = NAMES

    @property
    def origin(self) -> str:
        """Where labels come from, in words."""
        return "SUNRGBD2Dseg.mat, 37 classes" if self.labels else "seg.mat of each scene, names among the 37 classes"

    def split(self, scene: Scene) -> str:
        """The official half; "test" where it is not known."""
        return "train" if scene.name in self.train else "test"

    def label(self, scene: Scene) -> np.ndarray:
        """Class of each pixel, uint8 (H, W), 255 for none."""
        if self.labels is None:
            return _own_label(scene)
        with open_hdf5(self.labels) as file:
            reference = file["SUNRGBD2Dseg"]["seglabel"][self.index[scene.name]][0]
            stored = part_of(led_to(file, reference)).T.astype(int)  # stored (W, H), 0 = none
        if stored.ndim != 2 or stored.max(initial=0) > len(NAMES):
            raise ValueError(
                f"{self.labels} must hold labels 0 to {len(NAMES)}; got {stored.max(initial=0)} for {scene.name}"
            )
        return np.where(stored > 0, stored - 1, 255).astype(np.uint8)


def find_scenes(root: Path) -> list[Scene]:
    """Every folder below `root` with image/ and depth/ or depth_bfx/, in the order of their paths."""
    if not root.is_dir():
        raise ValueError(f"`root` must be the folder that holds SUNRGBD/; {root} is none")
    home = root / "SUNRGBD" if (root / "SUNRGBD").is_dir() else root
    paths = sorted(_scenes_below(home))
    names = [path.relative_to(home).as_posix() for path in paths]
    groups, before = [], ("", -1, "")
    for name in names:
        group, before = _group(name, before)
        groups.append(group)
    return [Scene(*found) for found in zip(paths, names, groups, strict=True)]


def _scenes_below(home: Path) -> Iterator[Path]:
    """Folders with image/ and depth/ or depth_bfx/; in any other place than the data set's, the search has an end."""
    first, looked = None, 0
    for place, folders, _ in os.walk(home):
        looked += 1
        if "image" in folders and not {"depth", "depth_bfx"}.isdisjoint(folders):
            first = Path(place)
            yield first
            folders.clear()  # a scene has none inside
        folders[:] = sorted(name for name in folders if not left_behind(Path(name)))
        if first is None and looked == LOST:
            break
    if first is None:
        raise ValueError(
            f"`root` must hold scene folders with image/ and depth/; {home} has none among its first {looked:,} "
            "folders: name the folder that holds SUNRGBD/"
        )


def _group(name: str, before: tuple[str, int, str]) -> tuple[str, tuple[str, int, str]]:
    """The recording of a scene, and what the next one has to know of it."""
    parts = name.split("/")
    numbered = NUMBERED.fullmatch(name)
    if "sun3ddata" in parts:
        return "/".join(parts[:-1]), before
    if not numbered or not set(RUNS) & set(parts):
        return name, before
    stem, number = numbered[1], int(numbered[2])
    group = before[2] if (stem, number) == (before[0], before[1] + 1) else name
    return group, (stem, number, group)


def read_toolbox(root: Path, scenes: list[Scene]) -> Toolbox:
    """The toolbox beside the scenes; empty where there is none."""
    box = root / "SUNRGBDtoolbox"
    if not box.is_dir():
        return Toolbox()
    split = read_mat(box / "traintestSUNRGBD" / "allsplit.mat", ("alltrain",))["alltrain"]
    train = frozenset(_inside(path) for path in np.atleast_1d(split))
    meta = read_mat(box / "Metadata" / "SUNRGBDMeta.mat", ("SUNRGBDMeta",))["SUNRGBDMeta"]
    index = {_inside(entry.rgbpath).rsplit("/image/", 1)[0]: i for i, entry in enumerate(np.atleast_1d(meta))}
    labels = box / "Metadata" / "SUNRGBD2Dseg.mat"
    absent = [scene.name for scene in scenes if scene.name not in index]
    if absent:
        raise ValueError(
            f"{box} must know every scene; {absent[0]} and {len(absent) - 1} more are not in SUNRGBDMeta.mat"
        )
    if not labels.is_file():
        raise ValueError(f"{labels} is missing; it is part of the toolbox and holds the labels")
    return Toolbox(labels, index, train)


def read_scene(scene: Scene, label: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour uint8 (H, W, 3), depth in metres (H, W) and the label."""
    folder = next(scene.path / name for name in ("depth", "depth_bfx") if (scene.path / name).is_dir())
    colour = np.asarray(read_colour(_only(scene.path / "image", (".jpg", ".png"))))
    file = _only(folder, (".png",))
    metres = unrotate(read_reading(file)[..., 0]).clip(0, REACH * 1000) / 1000
    for what, shape in ((file, metres.shape), (scene.path / "seg", label.shape)):
        if shape != colour.shape[:2]:
            raise ValueError(f"{what} must be {colour.shape[:2]} (H, W) like the scene's image; got {shape}")
    return colour, metres, label


def unrotate(stored: np.ndarray) -> np.ndarray:
    """Millimetres, from 16 bits that were rotated left by 3.

    Examples
    --------
    >>> unrotate(np.array([16000, 1], np.uint16)).tolist()
    [2000, 8192]
    """
    return (stored >> 3) | (stored << 13)


def _own_label(scene: Scene) -> np.ndarray:
    """The scene's own seg.mat, names mapped to the 37 classes where they are among them."""
    found = read_mat(scene.path / "seg.mat", ("names", "seglabel"))
    names = ["_".join(str(name).lower().replace("-", " ").split()) for name in np.atleast_1d(found["names"])]
    table = np.array([255, *(NAMES.index(name) if name in NAMES else 255 for name in names)], np.uint8)
    label = np.asarray(found["seglabel"])
    if label.ndim != 2 or not np.issubdtype(label.dtype, np.integer) or label.max(initial=0) >= len(table):
        raise ValueError(f"{scene.path / 'seg.mat'} must hold `seglabel` (H, W) with 0 to {len(names)}; it does not")
    return table[label]


def _only(folder: Path, suffixes: tuple[str, ...]) -> Path:
    known = (file for file in sorted(folder.iterdir()) if file.suffix.lower() in suffixes)
    files = [file for file in known if not left_behind(Path(file.name))]
    if len(files) != 1:
        raise ValueError(f"{folder} must hold one image; got {len(files)}")
    return files[0]


def _inside(path: Any) -> str:
    """A path of the toolbox, from SUNRGBD/ on."""
    text = str(path)
    return text[text.rfind(HOME) + len(HOME) :].strip("/") if HOME in text else text.strip("/")
