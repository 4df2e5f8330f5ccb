"""A folder of aligned colour, depth and label images as a dataset, and what it declares of itself."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rgbd_insight.data import concepts
from rgbd_insight.data.batch import Batch
from rgbd_insight.data.depth import Intrinsics
from rgbd_insight.data.reading import read_colour, read_image, read_label, read_reading, rescale
from rgbd_insight.features import Modality
from rgbd_insight.utils.messages import nearest

ENDS = 8192  # bytes at each end of a file that go into the fingerprint
SUFFIXES = (".jpg", ".jpeg", ".png")
Files = dict[str, tuple[Path, Path, Path]]  # colour, second modality and label of each ID, in the order of the split


class Folder:
    """One split of a folder of images: rgb/ID.jpg or .png, depth/ID.png, label/ID.png, classes.json, splits.json.

    Depth is uint16 millimetres, 0 = no reading; labels are uint8 indices into classes.json, 255 = ignore. Images are
    read when they are asked for.

    Parameters
    ----------
    path : str or Path
        The folder.
    split : str, optional
        Name of a list of IDs (or numbers) in splits.json.
    size : sequence of int, optional
        (H, W) to resize to, colour by area averaging, depth and labels by nearest neighbour; None to leave as is.
    crop : bool, optional
        Cut to the crop that camera.json declares, if it declares one (NYUv2's photos have a white frame).

    Raises
    ------
    ValueError
        For anything missing, at once; for a file that is not as it must be, when it is read.

    Notes
    -----
    classes.json: a list of names, or {"names": […]}.
    splits.json: {"train": […], "test": […]}, and the physical scene of each image (the group) as {"groups": {ID: name}}
    or {"test_runs": [[ID, …], …]}; without either, a run of consecutive numbers is one group, and where that gives no
    two groups every image is one, with a warning.
    camera.json, optional: {"modality": {"name", "unit", "scale", "low", "high"}} where the second modality is not depth
    in millimetres (value = stored number · scale); {"intrinsics": {"fx", "fy", "cx", "cy"}} and {"crop": [first row,
    end row, first column, end column]}, both in pixels of the stored images.
    Concepts that depth shows need metres: a second modality in another unit has none of its own.

    Examples
    --------
    >>> import json, tempfile
    >>> path = Path(tempfile.mkdtemp())
    >>> for folder, dtype, value in (("rgb", np.uint8, 90), ("depth", np.uint16, 2500), ("label", np.uint8, 1)):
    ...     (path / folder).mkdir()
    ...     Image.fromarray(np.full((48, 64), value, dtype)).save(path / folder / "desk.png")
    >>> _ = (path / "classes.json").write_text(json.dumps(["wall", "floor"]))
    >>> _ = (path / "splits.json").write_text(json.dumps({"test": ["desk"], "groups": {"desk": "office"}}))
    >>> batch = Folder(path, size=(24, 32)).batch([0])
    >>> batch.rgb.shape, batch.depth.unique(), batch.groups
    (torch.Size([1, 3, 24, 32]), tensor([2.5000]), ('office',))
    """

    def __init__(
        self, path: str | Path, split: str = "test", *, size: Sequence[int] | None = None, crop: bool = True
    ) -> None:
        self.path, self.split = Path(path), split
        if not self.path.is_dir():
            raise ValueError(f"`path` must be a folder with rgb/, depth/ and label/; {self.path} is none")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"`size` must be (H, W) in pixels or None; got {size}")
        self.name = self.path.resolve().name
        self.classes = _read_classes(self.path / "classes.json")
        camera = _read_camera(self.path / "camera.json")
        self._files, self.groups = _read_split(self.path, split)
        self.ids = tuple(self._files)
        self.modalities = (Modality("rgb", "", 0.0, 1.0), camera.modality)
        self._scale, self._metric = camera.scale, camera.modality.unit == "m"
        self.concepts, self.families = concepts.image_concepts(self.classes, depth=self._metric)

        width, height = read_image(self._files[self.ids[0]][0]).size
        self._stored = (height, width)
        self._crop = camera.crop if crop else None
        if self._crop is not None:
            _check_crop(self._crop, self._stored, self.path / "camera.json")
        top, bottom, left, right = self._crop or (0, height, 0, width)
        self.size = (bottom - top, right - left) if size is None else (int(size[0]), int(size[1]))
        self._same_size = size is None or self._crop is not None or camera.intrinsics is not None
        self.intrinsics = camera.intrinsics and camera.intrinsics.fitted((top, bottom, left, right), self.size)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Folder({str(self.path)!r}, split={self.split!r}, size={self.size}): {len(self)} image pairs"

    def batch(self, indices: Sequence[int]) -> Batch:
        """Read the samples at `indices`, in that order; concept maps are made on the way."""
        indices = [int(i) for i in indices]
        if not indices or min(indices) < 0 or max(indices) >= len(self):
            raise ValueError(f"`indices` must be one or more of 0…{len(self) - 1}; got {indices}")
        colour, reading, label = (np.stack(planes) for planes in zip(*map(self._read, indices), strict=True))
        rgb = torch.from_numpy(colour).movedim(-1, 1).contiguous().float() / 255  # (B, 3, H, W)
        depth = torch.from_numpy(reading)[:, None]  # (B, 1, H, W)
        valid = depth != 0
        labels = torch.from_numpy(label).long()  # (B, H, W)
        second = (depth, valid) if self._metric else (None, None)
        maps = concepts.concept_maps(rgb, *second, labels, self.classes, self.intrinsics)
        ids, groups = (tuple(names[i] for i in indices) for names in (self.ids, self.groups))
        return Batch(rgb, depth, valid, labels, maps, ids, groups)

    def fingerprint(self) -> dict:
        """Where the samples come from, and a SHA-256 over the .json files and each image file's size and two ends."""
        digest = hashlib.sha256()
        for name in ("classes.json", "splits.json", "camera.json"):
            file = self.path / name
            digest.update(file.read_bytes() if file.exists() else b"none")
        for stem, files in self._files.items():
            for file in files:
                length, ends = read_ends(file)
                digest.update(f"{stem} {length} ".encode() + ends)
        return {
            "name": self.name,
            "split": self.split,
            "n": len(self),
            "size": list(self.size),
            "crop": None if self._crop is None else list(self._crop),
            "concepts": concepts.VERSION,
            "sha256": digest.hexdigest(),
        }

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Colour uint8 (H, W, 3), reading float32 (H, W), label uint8 (H, W), cropped and resized."""
        files = self._files[self.ids[index]]
        colour, stored, label = read_colour(files[0]), read_reading(files[1]), read_label(files[2], len(self.classes))
        shape = (colour.height, colour.width)
        for file, got in ((files[1], stored.shape), (files[2], label.shape)):
            if got != shape:
                raise ValueError(f"{file} must be {shape} (H, W) like {files[0]}; got {got}. Register the images.")
        if self._same_size and shape != self._stored:
            raise ValueError(
                f"{files[0]} must be {self._stored} (H, W) like the first image; got {shape}. Give `size`"
                " (images of several sizes can have neither crop nor intrinsics in camera.json)."
            )
        top, bottom, left, right = self._crop or (0, shape[0], 0, shape[1])
        self._check_range(files[1], stored[top:bottom, left:right])
        h, w = self.size
        colour = colour.resize((w, h), Image.Resampling.BOX, box=(left, top, right, bottom))
        reading = rescale(stored[top:bottom, left:right], self.size).astype(np.float32) * np.float32(self._scale)
        return np.asarray(colour), reading, rescale(label[top:bottom, left:right], self.size)

    def _check_range(self, file: Path, stored: np.ndarray) -> None:
        second = self.modalities[1]
        there = stored[stored > 0]
        if not there.size:
            return
        low, high = float(there.min()) * self._scale, float(there.max()) * self._scale
        slack = self._scale  # half a step and rounding
        if low < second.low - slack or high > second.high + slack:
            raise ValueError(
                f"{file} must read {second.low:g}…{second.high:g} {second.unit}; got {low:g}…{high:g}. Declare the"
                ' right scale, low and high as "modality" in camera.json, or store 0 where there is no reading.'
            )


@dataclass(frozen=True)
class Camera:
    """The second modality, how it is stored, and the lens and the crop of the stored images."""

    modality: Modality = Modality("depth", "m", 0.0, 10.0)
    scale: float = 0.001
    intrinsics: Intrinsics | None = None
    crop: tuple[int, int, int, int] | None = None


def read_ends(file: Path) -> tuple[int, bytes]:
    """A file's length, and its first and last bytes: enough to tell two images apart, and quickly read."""
    with file.open("rb") as stream:
        length = stream.seek(0, 2)
        stream.seek(0)
        first = stream.read(ENDS)
        stream.seek(max(ENDS, length - ENDS))
        return length, first + stream.read()


def read_json(file: Path, why: str) -> Any:
    """Parse a JSON file, or raise a ValueError that names it and says what it is for."""
    if not file.is_file():
        raise ValueError(f"{file} is missing; {why}")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} must be JSON; {error}") from None


def _read_classes(file: Path) -> tuple[str, ...]:
    """Class names, from a list or from {"names": […]}."""
    found = read_json(file, 'it holds the class names, {"names": ["wall", …]}')
    names = found.get("names") if isinstance(found, dict) else found
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{file} must be a list of names or {{"names": […]}}; got {str(found)[:60]}')
    if len(set(names)) < len(names) or len(names) > 255:
        raise ValueError(f"{file} must hold 1…255 names, each once; got {len(names)}, {len(set(names))} different")
    if isinstance(found, dict) and found.get("ignore_index", 255) != 255:
        raise ValueError(f"{file} must have ignore_index 255; got {found['ignore_index']}. Store 255 in the labels.")
    return tuple(names)


def _read_camera(file: Path) -> Camera:
    """What camera.json declares; notes and other keys in it are left alone."""
    if not file.exists():
        return Camera()
    found = read_json(file, "")
    known = {}
    try:
        if "modality" in found:
            second = found["modality"]
            low, high, scale = (float(second[key]) for key in ("low", "high", "scale"))
            if not (low < high and 0 < scale < float("inf")):
                raise ValueError("low < high and scale > 0")
            known = {"modality": Modality(str(second["name"]), str(second["unit"]), low, high), "scale": scale}
        lens = found.get("intrinsics", found.get("this_resolution"))
        if lens is not None:
            known["intrinsics"] = Intrinsics(*(float(lens[key]) for key in ("fx", "fy", "cx", "cy")))
        crop = found.get("crop", found.get("crop_this_resolution_rows_cols"))
        if crop is not None:
            top, bottom, left, right = (int(edge) for edge in crop)
            known["crop"] = (top, bottom, left, right)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{file} is not as it must be ({type(error).__name__}: {error}); it may declare modality (name, unit,"
            " scale, low, high), intrinsics (fx, fy, cx, cy) and crop (first row, end row, first column, end column)"
        ) from None
    return Camera(**known)


def _check_crop(crop: tuple[int, int, int, int], stored: tuple[int, int], file: Path) -> None:
    """Raise a ValueError where the crop does not lie in the image."""
    top, bottom, left, right = crop
    if not (0 <= top < bottom <= stored[0] and 0 <= left < right <= stored[1]):
        raise ValueError(f"`crop` in {file} must lie in the images of {stored} (H, W); got {list(crop)}")


def _read_split(path: Path, split: str) -> tuple[Files, tuple[str, ...]]:
    """Files of every ID of a split, and the group of each."""
    file = path / "splits.json"
    splits = read_json(file, 'it lists the IDs of each split, {"train": […], "test": […]}')
    if not isinstance(splits, dict):
        raise ValueError(f'{file} must be {{"train": […], "test": […]}}; got a {type(splits).__name__}')
    names = [name for name, ids in splits.items() if isinstance(ids, list) and not name.endswith("_runs")]
    if split not in names:
        near = nearest(split, names)
        raise ValueError(f"`split` must be one of the lists in {file}; got {split!r}: the nearest are {near}")
    if not splits[split]:
        raise ValueError(f"`split` must have images; {split!r} is empty in {file}")
    _check_entries(splits, split, file)
    colours = _listing(path / "rgb", SUFFIXES)
    ids = [_stem(entry, colours) for entry in splits[split]]
    twice = {stem for stem in ids if ids.count(stem) > 1} if len(set(ids)) < len(ids) else ()
    if twice:
        raise ValueError(f"{file} must name each ID once in {split!r}; got {', '.join(sorted(twice)[:3])} again")
    folders = {"rgb": colours} | {name: _listing(path / name, (".png",)) for name in ("depth", "label")}
    for folder, found in folders.items():
        missing = [stem for stem in ids if stem not in found]
        if missing:
            raise ValueError(
                f"{path / folder / missing[0]}.png is missing, and so are {len(missing) - 1} more of {split!r} in"
                f" {folder}/. Add them, or take these IDs out of {file}."
            )
    return {stem: tuple(found[stem] for found in folders.values()) for stem in ids}, _groups(splits, split, ids, file)


def _check_entries(splits: dict, split: str, file: Path) -> None:
    """Raise a ValueError where an ID or what is said of groups is of another kind."""
    runs = splits.get(f"{split}_runs")
    nested = isinstance(runs, list) and all(isinstance(run, list) for run in runs)
    if runs is not None and not nested:
        raise ValueError(f'"{split}_runs" in {file} must be a list of lists of IDs; got {str(runs)[:60]}')
    if not isinstance(splits.get("groups"), dict | None):
        raise ValueError(f'"groups" in {file} must be {{ID: name}}; got {str(splits["groups"])[:60]}')
    for entry in [*splits[split], *(entry for run in runs or () for entry in run)]:
        if isinstance(entry, bool) or not isinstance(entry, str | int):
            raise ValueError(f"{file} must name images by their IDs, texts or whole numbers; got {str(entry)[:60]}")


def _listing(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Image files of a folder by their stems."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is missing; it holds one image an ID")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in suffixes:
            if file.stem in found:
                raise ValueError(f"{folder} must hold one image an ID; got {found[file.stem].name} and {file.name}")
            found[file.stem] = file
    return found


def _stem(entry: str | int, known: dict[str, Path]) -> str:
    """ID that an entry of splits.json means: itself, or for a number the ID of that value, zeros before it or not."""
    if isinstance(entry, str):
        return entry
    return next((stem for stem in (f"{entry:0{width}d}" for width in range(1, 13)) if stem in known), f"{entry:04d}")


def _groups(splits: dict, split: str, ids: Sequence[str], file: Path) -> tuple[str, ...]:
    """Physical scene of each ID, as declared, else the run of consecutive numbers that it is in."""
    runs = splits.get(f"{split}_runs")
    named = splits.get("groups")
    if named is None and runs is not None:
        known = dict.fromkeys(ids)
        named = {}
        for run in runs:
            stems = [_stem(entry, known) for entry in run]
            named |= dict.fromkeys(stems, f"run {stems[0]}" if stems else "")
    if named is not None:
        without = [stem for stem in ids if stem not in named]
        if without:
            what = "groups" if "groups" in splits else f"{split}_runs"
            rest = f"{without[0]} and {len(without) - 1} more have none"
            raise ValueError(f"`{what}` in {file} must name the group of every ID; {rest}")
        return tuple(str(named[stem]) for stem in ids)
    return _consecutive(ids, file)


def _consecutive(ids: Sequence[str], file: Path) -> tuple[str, ...]:
    """Runs of consecutive numbers, or with a warning every image by itself where that gives no two groups."""
    if all(stem.isdecimal() for stem in ids):
        start: dict[int, str] = {}
        for stem in sorted(ids, key=int):
            start[int(stem)] = start.get(int(stem) - 1, f"run {stem}")
        groups = tuple(start[int(stem)] for stem in ids)
        if len(set(groups)) > 1 or len(ids) == 1:
            return groups
    warnings.warn(
        f"no groups are known, so every image is taken for a scene of its own. Where several show one place, declare"
        f' "groups": {{ID: name}} in {file}: else intervals are too narrow.',
        stacklevel=5,
    )
    return tuple(ids)
