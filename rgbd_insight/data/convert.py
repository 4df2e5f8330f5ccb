"""Turn what data sets' own pages distribute into folders that `Folder` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from rgbd_insight.data.reading import open_hdf5, part_of, read_mat, text_at
from rgbd_insight.data.sunrgbd import find_scenes, read_scene, read_toolbox
from rgbd_insight.utils.files import room, whole, write_json
from rgbd_insight.utils.reading import read_toml

DEPTHS = {"raw": "rawDepths", "filled": "depths"}
LENS = {"fx": 518.857901, "fy": 519.469611, "cx": 324.582449, "cy": 252.736166}  # the toolbox counts pixels from 1
CROP = [44, 471, 40, 601]  # rows and columns inside the photographs' white frame, from the toolbox
FRAME = (480, 640)


def nyuv2(
    file: str | Path,
    out: str | Path,
    *,
    splits: str | Path | None = None,
    classes: int = 40,
    depth: str = "raw",
    progress: bool = False,
) -> Path:
    """Convert nyu_depth_v2_labeled.mat (1449 pairs of 480 x 640) into a folder of images.

    Parameters
    ----------
    file : str or Path
        nyu_depth_v2_labeled.mat, HDF5 as distributed; read image by image. Needs the extra `data`.
    out : str or Path
        The new folder.
    splits : str or Path, optional
        The official splits.mat; None looks for it beside `file`.
    classes : int, optional
        40 or 13; the 894 names are mapped to them. Unlabelled pixels are 255.
    depth : str, optional
        "raw" (missing readings stay missing) or "filled" (in-painted by the data set's authors).
    progress : bool, optional
        Show a bar on stderr.

    Returns
    -------
    Path
        The path `out`. Groups are the file's scene names; camera.json holds the lens and the crop inside the white
        frame.

    Raises
    ------
    ValueError
        Where a file is missing, damaged or another; nothing is written then.

    References
    ----------
    N. Silberman, D. Hoiem, P. Kohli, R. Fergus, Indoor segmentation and support inference from RGBD images, ECCV 2012.
    """
    if classes not in (40, 13) or depth not in DEPTHS:
        raise ValueError(f"`classes` must be 40 or 13 and `depth` raw or filled; got {classes} and {depth!r}")
    file = Path(file)
    if not file.is_file():
        raise ValueError(f"`file` must be nyu_depth_v2_labeled.mat; there is none at {str(file)!r}")
    splits = Path(splits) if splits else file.with_name("splits.mat")
    if not splits.is_file():
        raise ValueError(f"`splits` must be the official splits.mat; {splits} is missing, of the data set's page")
    halves = read_mat(splits, ("trainNdxs", "testNdxs"))
    with open_hdf5(file) as source, writing(out) as target:
        _check_nyuv2(source, file, DEPTHS[depth])
        table, names = _mapping(source, file, classes)
        n = len(source["images"])
        stems = [f"{i:04d}" for i in range(1, n + 1)]
        parts = {"train": halves["trainNdxs"], "test": halves["testNdxs"]}
        listed = {part: _stems(indices, stems, part) for part, indices in parts.items()}
        for i, stem in enumerate(tqdm(stems, unit="image", disable=not progress)):
            label = table[part_of(source["labels"], i).T]  # stored (W, H)
            colour = part_of(source["images"], i).transpose(2, 1, 0)  # stored (3, W, H)
            target.image(stem, colour, part_of(source[DEPTHS[depth]], i).T, label)
        scenes = [text_at(source, reference) for reference in part_of(source["scenes"]).flatten()]
        target.declare("splits.json", listed | {"groups": dict(zip(stems, scenes, strict=True))})
        target.declare("classes.json", {"names": names, "ignore_index": 255})
        size = tuple(source["images"].shape[:1:-1])
        target.declare("camera.json", _camera(size, depth))
    return Path(out)


def _check_nyuv2(source: Any, file: Path, depth: str) -> None:
    """Raise a ValueError where arrays are not laid out as in the official file."""
    n, channels, width, height = (tuple(source["images"].shape) + (0,) * 4)[:4]
    if channels != 3 or source["images"].dtype != np.uint8:
        raise ValueError(
            f"{file} must hold `images` uint8 (N, 3, W, H); got {source['images'].shape}: is it the official?"
        )
    for name in (depth, "labels"):
        if tuple(source[name].shape) != (n, width, height):
            raise ValueError(f"{file} must hold `{name}` {(n, width, height)}; got {tuple(source[name].shape)}")
    if source["scenes"].size != n:
        raise ValueError(f"{file} must name a scene for each of the {n} images; got {source['scenes'].size}")


def _mapping(source: Any, file: Path, classes: int) -> tuple[np.ndarray, list[str]]:
    """Class of each of the file's labels, uint8 (K + 1,) with 255 for none, and the classes' names."""
    about = read_toml(Path(__file__).with_name("nyuv2.toml"))
    raw = [text_at(source, reference) for reference in part_of(source["names"]).flatten()]
    to40 = about["to40"]
    wrong = [
        name
        for name, k in zip(raw, to40, strict=False)
        if name in about["names40"] and about["names40"].index(name) != k - 1
    ]
    if len(raw) != len(to40) or wrong:
        raise ValueError(
            f"{file} must hold the official {len(to40)} names; got {len(raw)}"
            f"{', with ' + repr(wrong[0]) + ' at another place' if wrong else ''}"
        )
    table = np.array([0, *to40])
    if classes == 13:
        table = np.array([0, *about["to13"]])[table]
    return np.where(table > 0, table - 1, 255).astype(np.uint8), about[f"names{classes}"]


def _stems(indices: Any, stems: Sequence[str], part: str) -> list[str]:
    """IDs of the images that a list of numbers from 1 names."""
    numbers = np.atleast_1d(indices).astype(int).flatten()
    if not numbers.size or numbers.min() < 1 or numbers.max() > len(stems):
        raise ValueError(
            f"the {part} split must number images 1 to {len(stems)}; got {numbers[:3]}…: name the "
            "splits.mat of this file"
        )
    return [stems[i - 1] for i in numbers]


def _camera(size: tuple[int, int], depth: str) -> dict:
    about = {"depth": {"raw": "as measured, 0 = no reading", "filled": "in-painted by the authors"}[depth]}
    return about | ({"intrinsics": LENS, "crop": CROP} if tuple(size) == FRAME else {})


def sunrgbd(root: str | Path, out: str | Path, *, progress: bool = False) -> Path:
    """Convert the SUN RGB-D folders (and its toolbox, where it lies beside them) into a folder of images.

    Parameters
    ----------
    root : str or Path
        The folder that holds SUNRGBD/ and, for the official labels and splits, SUNRGBDtoolbox/. A scene is a folder
        with image/ and depth_bfx/ or depth/.
    out : str or Path
        The new folder.
    progress : bool, optional
        Show a bar on stderr.

    Returns
    -------
    Path
        The path `out`. IDs are running numbers; sources.json names the folder of each. Sizes differ between the
        sensors, so give `size` to `Folder`.

    Raises
    ------
    ValueError
        Where there is no scene, or a file is damaged; nothing is written then.

    Notes
    -----
    Depth is stored with its 16 bits rotated left by 3; millimetres are (v >> 3) | (v << 13), and readings beyond 8 m
    are 8 m, as the toolbox reads them. The in-painted depth_bfx/ is taken where a scene has only that: depth/ keeps
    missing readings missing. Labels are the toolbox's 37 classes (SUNRGBD2Dseg.mat), else the names of each scene's own
    seg.mat that are among the 37; anything else is 255. Groups are recordings: the frames of one SUN3D place, runs of
    consecutive numbers in NYU's and B3DO's lists, each folder by itself elsewhere.

    References
    ----------
    S. Song, S. P. Lichtenberg, J. Xiao, SUN RGB-D: a RGB-D scene understanding benchmark suite, CVPR 2015.
    """
    scenes = find_scenes(Path(root))
    toolbox = read_toolbox(Path(root), scenes)
    with writing(out) as target:
        stems = [f"{i:05d}" for i in range(1, len(scenes) + 1)]
        for stem, scene in zip(stems, tqdm(scenes, unit="image", disable=not progress), strict=True):
            target.image(stem, *read_scene(scene, toolbox.label(scene)))
        _declare_sunrgbd(target, stems, scenes, toolbox)
    return Path(out)


def _declare_sunrgbd(target: Target, stems: list[str], scenes: list, toolbox: Any) -> None:
    listed: dict[str, Any] = {"train": [], "test": []}
    for stem, scene in zip(stems, scenes, strict=True):
        listed[toolbox.split(scene)].append(stem)
    listed["groups"] = {stem: scene.group for stem, scene in zip(stems, scenes, strict=True)}
    target.declare("splits.json", listed)
    target.declare("classes.json", {"names": list(toolbox.names), "ignore_index": 255})
    target.declare("sources.json", {stem: scene.name for stem, scene in zip(stems, scenes, strict=True)})
    about = {"depth": "bits rotated back; beyond 8 m read as 8 m; 0 = no reading"}
    target.declare("camera.json", about | {"labels": toolbox.origin})


@dataclass(frozen=True)
class Target:
    """A folder in the making, and what it is to be called; see `writing`."""

    path: Path
    out: Path

    def image(self, stem: str, colour: np.ndarray, metres: np.ndarray, label: np.ndarray) -> None:
        """Store colour uint8 (H, W, 3), depth float (H, W) in metres with 0 = missing, label uint8 (H, W)."""
        millimetres = np.where(np.isfinite(metres), metres, 0).clip(0, 65.535) * 1000
        self.store(stem, rgb=colour, depth=millimetres.round().astype(np.uint16), label=label)

    def store(self, stem: str, **images: np.ndarray) -> None:
        """Store an image (H, W) or (H, W, C) in each folder, as .png where it holds so many channels, else as .npy."""
        for folder, values in images.items():
            values, picture = np.ascontiguousarray(values), values.ndim == 2 or values.shape[2] in (3, 4)
            file = self.path / folder / f"{stem}.{'png' if picture else 'npy'}"
            with room(self.out, f"{folder}/{file.name} was being written, and the file that is converted is as it was"):
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(file) if picture else np.save(file, values)

    def declare(self, name: str, value: Any) -> None:
        """Store a .json file."""
        write_json(self.path / name, value, sort=False)


@contextmanager
def writing(out: str | Path, folders: Sequence[str] = ("rgb", "depth", "label")) -> Iterator[Target]:
    """A new folder at `out`, there only if the ``with`` ends well.

    Raises
    ------
    ValueError
        Where there is something at `out` already, or another process is making it.
    """
    out = Path(out)
    made = [folder for folder in (out.parent, *out.parent.parents) if not folder.exists()]
    try:
        with whole(out, patience=0) as partial:
            if out.exists():
                raise ValueError(f"`out` must be a new folder; there is something at {out}: name another, or remove it")
            for name in folders:
                (partial / name).mkdir(parents=True)
            yield Target(partial, out)
    except BaseException:
        for folder in made:
            with suppress(OSError):  # another process writes beside it
                folder.rmdir()
        raise
