"""A folder of aligned colour, depth and label images as a dataset, and what it declares of itself."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rgbd_insight.data import concepts
from rgbd_insight.data.batch import Batch
from rgbd_insight.data.camera import FIRST, KEYS, Stored, check_crop, declared, read_camera, read_json
from rgbd_insight.data.labels import Labels, read_labels
from rgbd_insight.data.reading import (
    BadImage,
    read_colour,
    read_image,
    rescale,
)
from rgbd_insight.features import Modality
from rgbd_insight.utils.messages import nearest
from rgbd_insight.utils.reading import Unreadable, left_behind, ordinary

ENDS = 8192  # bytes at each end of a file that go into the fingerprint
SUFFIXES = (".jpg", ".jpeg", ".png")
SIZES = "images of several sizes"  # what `check` calls it
Files = tuple[Path, ...]  # colour, the other modalities and, where there is an image of it, label


class Folder:
    """One split of a folder of images: rgb/ID.jpg or .png, depth/ID.png, label/ID.png, classes.json, splits.json.

    Depth is uint16 millimetres, 0 = no reading; labels are uint8 indices into classes.json, 255 = ignore. An ID may
    have folders in it (rgb/kitchen/0001.png has the ID "kitchen/0001"). Images are read when they are asked for. Labels
    may be of another kind, or not be there: see the notes.

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
    modalities : sequence of mapping, optional
        What camera.json may declare as "modalities", in the place of what it declares.

    Raises
    ------
    ValueError
        For anything missing, at once; for a file that is not as it must be, when it is read.

    Notes
    -----
    What is to be predicted: label/ID.png with classes.json (a list of names, or {"names": […]}), a class a pixel;
    labels.csv with the columns id and label (a name of classes.json), a class an image; labels.csv with id and columns
    of numbers (empty = unknown), numbers of an image; or target/ID.png with target.json (a declaration as of a modality
    in camera.json), a number a pixel. Without any of them there are no labels, and no concepts of classes.
    splits.json: {"train": […], "test": […]}, and the physical scene of each image (the group) as {"groups": {ID: name}}
    or {"test_runs": [[ID, …], …]}; without either, the folder in an ID or a run of consecutive numbers is one group,
    and where that gives no two groups every image is one, with a warning.
    camera.json, optional: {"modality": {…}}, or {"modalities": [{…}, …]} for more than one beside colour, where the
    second is not depth in millimetres: "name", "unit", "low", "high" (the range), "scale" and, where it is not 0,
    "offset" (value = stored · scale + offset), "bits" (16, or 8), "channels" (1 to 16), "missing" (the stored number
    that is no reading, 0, or null where all are), "affine" (for a camera of its own, [a, b, c, d, e, f]: what colour
    shows at column x and row y is at column a·x + b·y + c and row d·x + e·y + f). Its images are in the folder of its
    name, where there is one, or of the second modality in depth/: grey .png, .png of 3 or 4 channels of 8 bits, or .npy
    (H, W, C). Also {"intrinsics": {"fx", "fy", "cx", "cy"}} and {"crop": [first row,
    end row, first column, end column]}, both in pixels of the stored images.
    Images of at most two thirds of the colour's resolution, in the same aspect, are taken for the same view and brought
    to the colour's size by nearest neighbour, with a warning; so are steps of depth of 8 bits warned of.
    Concepts that depth shows need a modality in metres: others have none of their own.

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
    >>> batch.inputs["rgb"].shape, batch.inputs["depth"].unique(), batch.groups
    (torch.Size([1, 3, 24, 32]), tensor([2.5000]), ('office',))
    """

    concurrent = True  # several threads may ask for batches at once

    def __init__(
        self,
        path: str | Path,
        split: str = "test",
        *,
        size: Sequence[int] | None = None,
        crop: bool = True,
        modalities: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.path, self.split = Path(path), split
        if not str(path) or not self.path.is_dir():
            raise ValueError(f"`path` must be a folder with rgb/ and depth/; {str(path)!r} is none")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"`size` must be (H, W) in pixels or None; got {size}")
        self.name = self.path.resolve().name
        self._labels = read_labels(self.path)
        self.classes = self._labels.classes
        camera = read_camera(self.path / "camera.json")
        self._given, self._others = modalities, camera.others if modalities is None else _declared(modalities)
        self._files, self.groups = _read_split(self.path, split, [m.modality.name for m in self._others], self._labels)
        self.ids = tuple(self._files)
        self._labels.check(self.ids)
        self.modalities = (Modality("rgb", "", 0.0, 1.0), *(one.modality for one in self._others))
        self._metric = next((one.modality.name for one in self._others if one.metric), None)
        self.concepts, self.families = concepts.image_concepts(self._labels.named, depth=self._metric is not None)

        width, height = read_image(self._files[self.ids[0]][0]).size
        self._warn_coarse((height, width))
        self._stored = (height, width)
        self._crop = camera.crop if crop else None
        if self._crop is not None:
            check_crop(self._crop, self._stored, self.path / "camera.json")
        top, bottom, left, right = self._crop or (0, height, 0, width)
        self.size = (bottom - top, right - left) if size is None else (int(size[0]), int(size[1]))
        self._same_size = size is None or self._crop is not None or camera.intrinsics is not None
        self.intrinsics = camera.intrinsics and camera.intrinsics.fitted((top, bottom, left, right), self.size)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        told = "" if self._labels.folder or self._labels.table else " without labels"
        return f"Folder({str(self.path)!r}, split={self.split!r}, size={self.size}): {len(self)} image pairs{told}"

    def batch(self, indices: Sequence[int]) -> Batch:
        """Read the samples at `indices`, in that order; concept maps are made on the way."""
        bare = self.inputs(indices)
        second = (bare.inputs[self._metric], bare.valid[self._metric]) if self._metric else (None, None)
        if self._labels.named:
            maps = concepts.concept_maps(bare.inputs["rgb"], *second, bare.labels, self.classes, self.intrinsics)
        else:
            maps = concepts.image_maps(bare.inputs["rgb"], *second, intrinsics=self.intrinsics)
        return replace(bare, concepts=maps)

    def inputs(self, indices: Sequence[int]) -> Batch:
        """As `batch`, without concepts (-1 everywhere), which take most of its time."""
        indices = [int(i) for i in indices]
        if not indices or min(indices) < 0 or max(indices) >= len(self):
            raise ValueError(f"`indices` must be one or more of 0…{len(self) - 1}; got {indices}")
        colour, *readings, label = (np.stack(planes) for planes in zip(*map(self._read, indices), strict=True))
        labels = self._labels.tensor(label)
        rgb = torch.from_numpy(colour).movedim(-1, 1).contiguous().float() / 255  # (B, 3, H, W)
        inputs, valid = {"rgb": rgb}, {}
        for one, stored in zip(self._others, readings, strict=True):  # stored (B, H, W, C)
            values, known = zip(*((one.values(image), one.known(image)) for image in stored), strict=True)
            inputs[one.modality.name] = torch.from_numpy(np.stack(values)).movedim(-1, 1).contiguous()  # (B, C, H, W)
            valid[one.modality.name] = torch.from_numpy(np.stack(known))[:, None]  # (B, 1, H, W)
        none = torch.tensor(-1, dtype=torch.int16).expand(len(rgb), len(self.families), *self.size)
        ids, groups = (tuple(names[i] for i in indices) for names in (self.ids, self.groups))
        return Batch(inputs, valid, labels, none, ids, groups)

    def fingerprint(self) -> dict:
        """Where the samples come from, and a SHA-256 over the .json files and each image file's size and two ends."""
        digest = hashlib.sha256()
        for name in ("classes.json", "splits.json", "camera.json"):
            file = self.path / name
            digest.update(file.read_bytes() if file.exists() else b"none")
        for file in self._labels.beside:
            digest.update(file.read_bytes())
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
            **({} if self._given is None else {"modalities": json.loads(json.dumps(self._given))}),
        }

    def _read(self, index: int) -> list[np.ndarray]:
        """Colour uint8 (H, W, 3), every other modality as stored (H, W, C), label, cropped and resized."""
        first, *others = self._files[self.ids[index]]
        last = others.pop() if self._labels.folder else None
        colour, label = read_colour(first), self._labels.read(self.ids[index], last)
        shape, readings = (colour.height, colour.width), []
        top, bottom, left, right = self._crop or (0, shape[0], 0, shape[1])
        for one, file in zip(self._others, others, strict=True):
            reading = one.read(file)
            stored = one.on(reading, shape)
            _in_register(file, reading.shape[:2], stored is not None, shape, first)
            stored = stored[top:bottom, left:right]
            _check_range(one, file, stored)
            readings.append(rescale(stored, self.size))
        if last is not None:
            _in_register(last, label.shape, label.shape == shape, shape, first)
        if self._same_size and shape != self._stored:
            raise BadImage(
                SIZES,
                f"{first} must be {self._stored} (H, W) like the first image; got {shape}. Give `size`"
                " (images of several sizes can have neither crop nor intrinsics in camera.json).",
            )
        h, w = self.size
        colour = colour.resize((w, h), Image.Resampling.BOX, box=(left, top, right, bottom))
        label = label if last is None else rescale(label[top:bottom, left:right], self.size)
        return [np.asarray(colour), *readings, label]

    def _warn_coarse(self, shape: tuple[int, int]) -> None:
        """Say what of the modalities is coarser than one would think."""
        for one, file in zip(self._others, self._files[self.ids[0]][1:], strict=False):  # the label is behind them
            name, unit = one.modality.name, one.modality.unit
            if one.bits == 8 and one.metric:
                warnings.warn(
                    f"{name} in {self.path} is declared to have 8 bits: its steps are {one.scale:g} {unit}, and what is"
                    " finer (edges, orientations) is lost or made up by them.",
                    stacklevel=3,
                )
            try:
                stored = one.read(file)
            except BadImage:
                continue  # which is said when it is asked for
            height, width = stored.shape[:2]
            if (height, width) != shape and one.affine is None and one.on(stored, shape) is not None:
                warnings.warn(
                    f"{name} in {self.path} is {height}x{width} and colour {shape[0]}x{shape[1]}: it is brought to the"
                    " colour's size by nearest neighbour.",
                    stacklevel=3,
                )


def _declared(modalities: Sequence[Mapping[str, Any]]) -> tuple[Stored, ...]:
    try:
        return declared(modalities)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"`modalities` must be declarations ({KEYS}); got one that is not ({type(error).__name__}: {error})"
        ) from None


def _in_register(file: Path, got: tuple[int, int], fits: bool, shape: tuple[int, int], first: Path) -> None:
    if not fits:
        raise BadImage(
            "images out of register", f"{file} must be {shape} (H, W) like {first}; got {got}. Register the images."
        )


def _check_range(one: Stored, file: Path, stored: np.ndarray) -> None:
    """Raise where a reading is none that the modality can have."""
    there, m = stored[one.known(stored)], one.modality
    if not there.size:
        return
    low, high = (float(end) * one.scale + one.offset for end in (there.min(), there.max()))
    if low < m.low - one.scale or high > m.high + one.scale:  # half a step and rounding
        raise BadImage(
            "a reading out of range",
            f"{file} must read {m.low:g}…{m.high:g} {m.unit}; got {low:g}…{high:g}. Declare the right scale, low and"
            ' high as "modality" in camera.json, or store 0 where there is no reading.',
        )


def read_ends(file: Path) -> tuple[int, bytes]:
    """A file's length, and its first and last bytes: enough to tell two images apart, and quickly read."""
    try:
        ordinary(file)
    except Unreadable as error:
        raise BadImage("a damaged file", f"{file} cannot be read ({error}): take it away") from None
    with file.open("rb") as stream:
        length = stream.seek(0, 2)
        stream.seek(0)
        first = stream.read(ENDS)
        stream.seek(max(ENDS, length - ENDS))
        return length, first + stream.read()


def _read_split(
    path: Path, split: str, others: Sequence[str], labels: Labels
) -> tuple[dict[str, Files], tuple[str, ...]]:
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
    named = [name if i or (path / name).is_dir() else FIRST for i, name in enumerate(others)]
    folders = {"rgb": colours} | {name: _listing(path / name, (".png", ".npy")) for name in named}
    folders |= {labels.folder: _listing(path / labels.folder, (".png",))} if labels.folder else {}
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
    """Image files of a folder and those below it by their IDs: their paths without the suffix."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is missing; it holds one image an ID")
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if file.suffix.lower() not in suffixes or left_behind(inside):
            continue
        stem = inside.with_suffix("").as_posix()
        if stem in found:
            raise ValueError(f"{folder} must hold one image an ID; got {found[stem].name} and {file.name}")
        found[stem] = file
    return found


def _stem(entry: str | int, known: Container[str]) -> str:
    """ID that an entry of splits.json means: itself, or without a file's suffix; for a number, with zeros before."""
    if isinstance(entry, int):
        padded = (f"{entry:0{width}d}" for width in range(1, 13))
        return next((stem for stem in padded if stem in known), f"{entry:04d}")
    path = Path(entry)
    plain = path.suffix.lower() in SUFFIXES and entry not in known and path.with_suffix("").as_posix() in known
    return path.with_suffix("").as_posix() if plain else entry


def _groups(splits: dict, split: str, ids: Sequence[str], file: Path) -> tuple[str, ...]:
    """Physical scene of each ID, as declared, else the folder or the run of consecutive numbers that it is in."""
    runs, known = splits.get(f"{split}_runs"), set(ids)
    named = splits.get("groups")
    if named is not None:
        named = {_stem(entry, known): group for entry, group in named.items()}
    elif runs is not None:
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
    folders = tuple(stem.rpartition("/")[0] for stem in ids)
    return folders if len(set(folders)) > 1 else _consecutive(ids, file)


def _consecutive(ids: Sequence[str], file: Path) -> tuple[str, ...]:
    """Runs of consecutive numbers, or with a warning every image by itself where that gives no two groups."""
    names = [stem.rpartition("/")[2] for stem in ids]
    if all(name.isdecimal() for name in names):
        start: dict[int, str] = {}
        for name in sorted(names, key=int):
            start[int(name)] = start.get(int(name) - 1, f"run {name}")
        groups = tuple(start[int(name)] for name in names)
        if len(set(groups)) > 1 or len(ids) == 1:
            return groups
    warnings.warn(
        f"no groups are known, so every image is taken for a scene of its own. Where several show one place, declare"
        f' "groups": {{ID: name}} in {file}: else intervals are too narrow.',
        stacklevel=5,
    )
    return tuple(ids)
