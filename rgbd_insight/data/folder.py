"""A folder of aligned colour, depth and label images as a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rgbd_insight.data import concepts, declared
from rgbd_insight.data.batch import Batch
from rgbd_insight.data.reading import read_colour, read_image, read_label, read_reading, rescale
from rgbd_insight.features import Modality

TELLING = 8192  # bytes at each end of a file that go into the fingerprint


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
        self.classes = declared.read_classes(self.path / "classes.json")
        camera = declared.read_camera(self.path / "camera.json")
        self._files, self.groups = declared.read_split(self.path, split)
        self.ids = tuple(self._files)
        self.modalities = (Modality("rgb", "", 0.0, 1.0), camera.modality)
        self._scale, self._metric = camera.scale, camera.modality.unit == "m"
        self.concepts, self.families = concepts.image_concepts(self.classes, depth=self._metric)

        width, height = read_image(self._files[self.ids[0]][0]).size
        self._stored = (height, width)
        self._crop = camera.crop if crop else None
        if self._crop is not None:
            declared.check_crop(self._crop, self._stored, self.path / "camera.json")
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
                with file.open("rb") as stream:
                    length = stream.seek(0, 2)
                    digest.update(f"{stem} {length} ".encode())
                    stream.seek(0)
                    digest.update(stream.read(TELLING))
                    stream.seek(max(TELLING, length - TELLING))
                    digest.update(stream.read())
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
