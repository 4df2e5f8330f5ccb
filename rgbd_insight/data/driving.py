"""Turn drives of colour and heat, or colour and events, as they are distributed, into folders that `Folder` reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rgbd_insight.data.convert import Target, writing
from rgbd_insight.data.reading import BadImage, read_image, read_label
from rgbd_insight.utils.reading import Unreadable, read_arrays, read_text

MFNET = ("unlabelled", "car", "person", "bike", "curve", "car stop", "guardrail", "colour cone", "bump")
HEAT = {"name": "thermal", "unit": "", "scale": 1 / 255, "low": 0, "high": 1, "bits": 8, "missing": None}
CARLA = (
    *("unlabelled", "building", "fence", "other", "pedestrian", "pole", "road line", "road", "pavement", "vegetation"),
    *("vehicle", "wall", "traffic sign", "sky", "ground", "bridge", "rail track", "guard rail", "traffic light"),
    *("static", "dynamic", "water", "terrain"),
)
BINS = 5  # of time between two frames, for each polarity
EVENTS = {"name": "events", "unit": "events", "scale": 1, "low": 0, "high": 255, "bits": 8, "missing": None}
FRAME = re.compile(r".*_(\d{4,})_image\.png")
HALVES = {"train": "train", "val": "val", "test": "test"}  # what the name of a folder ends in


def mfnet(root: str | Path, out: str | Path, *, progress: bool = False) -> Path:
    """Convert MFNet's images of streets by day and by night: colour and heat in the four channels of one PNG.

    Parameters
    ----------
    root : str or Path
        The folder with images/, labels/ and train.txt, val.txt, test.txt and the like, lists of names.
    out : str or Path
        The new folder.
    progress : bool, optional
        Show a bar on stderr.

    Returns
    -------
    Path
        The path `out`: rgb/, thermal/ (8 bits, as a share of the largest number; every pixel has a reading), label/ (9
        classes, "unlabelled" among them, as the benchmark counts them) and every list as a split. Names that end in
        "_flip", mirrored copies that some lists add, are left out.

    Raises
    ------
    ValueError
        Where a folder, list or image is missing or another; nothing is written then.

    Notes
    -----
    Which frames belong to one drive is not distributed: no groups are declared, and `Folder` says so.

    References
    ----------
    Q. Ha, K. Watanabe, T. Karasawa, Y. Ushiku, T. Harada, MFNet: towards real-time semantic segmentation for autonomous
    vehicles with multi-spectral scenes, IROS 2017.
    """
    root = Path(root)
    lists = {file.stem: _names(file) for file in sorted(root.glob("*.txt"))}
    if not (root / "images").is_dir() or not (root / "labels").is_dir() or not lists:
        raise ValueError(f"`root` must hold images/, labels/ and train.txt, test.txt …; got {str(root)!r}")
    stems = sorted({stem for names in lists.values() for stem in names})
    if not stems:
        raise ValueError(f"`root` must have lists that name images; those in {root} are empty")
    with writing(out, ("rgb", "thermal", "label")) as target:
        for stem in tqdm(stems, unit="image", disable=not progress):
            file = root / "images" / f"{stem}.png"
            image = read_image(file)
            if image.mode != "RGBA":
                raise ValueError(f"{file} must have four channels, colour and heat; got Pillow mode {image.mode!r}")
            values = np.asarray(image)  # (H, W, 4)
            label = read_label(root / "labels" / f"{stem}.png", len(MFNET))
            _same(label.shape, values.shape[:2], root / "labels" / f"{stem}.png")
            target.store(stem, rgb=values[..., :3], thermal=values[..., 3], label=label)
        _declare(target, lists, MFNET, HEAT, {})
    return Path(out)


def _names(file: Path) -> list[str]:
    """The names in a list, without mirrored copies."""
    try:
        names = [line.strip() for line in read_text(file).splitlines()]
    except Unreadable as error:
        raise ValueError(f"{file} must be a list of names; {error}") from None
    return list(dict.fromkeys(name for name in names if name and not name.endswith("_flip")))


def eventscape(root: str | Path, out: str | Path, *, every: int = 10, progress: bool = False) -> Path:
    """Convert EventScape's drives through simulated towns: colour, and the events between two frames.

    Parameters
    ----------
    root : str or Path
        The folder with Town01-03_train/, Town05_val/ and the like; in each the drives, and in each drive
        `rgb/data/*_NNNN_image.png`, `events/data/*_NNNN_events.npz` (x, y, t, p) and
        `semantic/data/*_NNNN_gt_labelIds.png`.
    out : str or Path
        The new folder.
    every : int, optional
        Only every so many-th frame, as neighbours are nearly the same.
    progress : bool, optional
        Show a bar on stderr.

    Returns
    -------
    Path
        The path `out`: rgb/, events/ (how many in each of 5 equal parts of the time before the frame, 255 at most,
        first where it grows brighter, then where it grows darker: 10 channels; no event is a reading), label/ (CARLA's
        23 classes) and the splits. A drive is a group.

    Raises
    ------
    ValueError
        Where there are no drives, or a file is missing or another; nothing is written then.

    References
    ----------
    D. Gehrig, M. Rüegg, M. Gehrig, J. Hidalgo-Carrió, D. Scaramuzza, Combining events and frames using recurrent
    asynchronous multimodal networks for monocular depth prediction, IEEE Robotics and Automation Letters 2021.
    """
    root = Path(root)
    lists: dict[str, list[str]] = {}
    files: dict[str, Path] = {}
    groups: dict[str, str] = {}
    for image in sorted(root.glob("*/*/rgb/data/*_image.png")):
        drive, found = image.parents[2], FRAME.fullmatch(image.name)
        half = next((h for h in HALVES if drive.parent.name.endswith(h)), None)
        if half is None or found is None or int(found[1]) % every:
            continue
        stem = f"{drive.parent.name}/{drive.name}/{found[1]}"
        files[stem], groups[stem] = image, f"{drive.parent.name}/{drive.name}"
        lists.setdefault(half, []).append(stem)
    if not files:
        raise ValueError(f"`root` must hold …_train/DRIVE/rgb/data/…_0000_image.png; there is none in {str(root)!r}")
    with writing(out, ("rgb", "events", "label")) as target:
        for stem, image in tqdm(files.items(), unit="image", disable=not progress):
            drive, number = image.parents[2], stem.rpartition("/")[2]
            colour = np.asarray(read_image(image).convert("RGB"))
            events = read_events(_one(drive / "events" / "data", f"*_{number}_events.npz"), colour.shape[:2])
            file = _one(drive / "semantic" / "data", f"*_{number}_gt_labelIds.png")
            label = _carla(file)
            _same(label.shape, colour.shape[:2], file)
            target.store(stem, rgb=colour, events=events, label=label)
        _declare(target, lists, CARLA, EVENTS | {"channels": 2 * BINS}, {"groups": groups})
    return Path(out)


def read_events(file: Path, size: tuple[int, int]) -> np.ndarray:
    """How many events of each polarity and part of the time fall on each pixel, uint8 (H, W, 2 · BINS)."""
    try:
        x, y, t, p = (values.astype(np.int64).ravel() for values in read_arrays(file, tuple("xytp")).values())
    except (Unreadable, OSError) as error:
        raise ValueError(f"{file} must hold x, y, t and p of events; {error}") from None
    if len({len(x), len(y), len(t), len(p)}) > 1 or (x < 0).any() or (y < 0).any():
        raise ValueError(
            f"{file} must hold as many x, y, t and p, and places from 0; got {len(x)}, {len(y)}, {len(t)}, {len(p)}"
        )
    if len(x) and (x.max() >= size[1] or y.max() >= size[0]):
        raise ValueError(
            f"{file} must have events in images of {size} (H, W); got one at row {y.max()}, column {x.max()}"
        )
    counts = np.zeros((*size, 2 * BINS), np.int64)
    if len(x):
        part = (BINS * (t - t.min())) // (t.max() - t.min() + 1)
        np.add.at(counts, (y, x, part + BINS * (p <= 0)), 1)
    return counts.clip(0, 255).astype(np.uint8)


def _carla(file: Path) -> np.ndarray:
    """Class of each pixel; CARLA writes it into the first channel of a colour image."""
    image = read_image(file)
    if image.mode in ("L", "P"):
        return read_label(file, len(CARLA))
    label = np.asarray(image.convert("RGBA"))[..., 0]
    if label.max() >= len(CARLA):
        raise ValueError(f"{file} must hold CARLA's classes 0 to {len(CARLA) - 1}; got {label.max()}")
    return label


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern)) if folder.is_dir() else []
    if len(found) != 1:
        raise ValueError(f"{folder} must hold one {pattern}; it holds {len(found)}")
    return found[0]


def _same(got: tuple[int, ...], want: tuple[int, ...], file: Path) -> None:
    if tuple(got) != tuple(want):
        raise BadImage(
            "images out of register", f"{file} must be {tuple(want)} (H, W) like its image; got {tuple(got)}"
        )


def _declare(target: Target, lists: dict[str, list[str]], names: Sequence[str], modality: dict, more: dict) -> None:
    target.declare("splits.json", lists | more)
    target.declare("classes.json", {"names": list(names), "ignore_index": 255})
    target.declare("camera.json", {"modalities": [modality]})
