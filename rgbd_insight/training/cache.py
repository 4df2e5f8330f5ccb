"""A training set in memory, made once and shared by the runs of a process."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from tqdm.auto import tqdm

from rgbd_insight.data import IGNORE, Dataset, batches
from rgbd_insight.features import Modality
from rgbd_insight.utils.files import sweep
from rgbd_insight.utils.tensors import read_tensors, write_tensors

PLANES = ("rgb", "depth", "labels")
STEPS = 32767  # of the depth code: 0 (no reading) to twice the modality's range


class Cache:
    """The images and labels of a dataset as compact tensors: 6 bytes a pixel.

    Parameters
    ----------
    data : Dataset
        The dataset; every sample is asked for once.
    progress : bool, optional
        Show a bar while the samples are made.

    Attributes
    ----------
    rgb : Tensor of uint8 (N, 3, H, W)
        Colour, 0 to 255.
    depth : Tensor of int16 (N, 1, H, W)
        The second modality, in steps of `scale`; 0 where there is no reading.
    labels : Tensor of uint8 (N, H, W)
        255 = ignore.
    others : dict of str to Tensor of int16 (N, C, H, W)
        Modalities beside these two, each in steps of its `scales`; 0 where there is no reading.
    ids, classes, name, fingerprint : tuple of str, tuple of str, str, dict
        Of the dataset.

    Raises
    ------
    ValueError
        Where the dataset is empty, or a reading lies beyond twice its modality's range, or a label over 255.
    """

    def __init__(self, data: Dataset, *, progress: bool = False) -> None:
        if not len(data):
            raise ValueError(f"`data` must have samples; got 0 in {data.name!r}: check its split and path")
        self.name, self.classes, self.fingerprint = data.name, tuple(data.classes), data.fingerprint()
        second, *further = data.modalities[1:]
        self.scale, self.scales = _step(second), {m.name: _step(m) for m in further}
        parts, ids, others = [], [], {name: [] for name in self.scales}
        with tqdm(total=len(data), desc="samples", disable=not progress) as bar:
            for batch in batches(data, 128):
                if batch.labels is None or batch.labels.ndim != 3 or batch.labels.is_floating_point():
                    raise ValueError(
                        f"`data` must have a class for every pixel, as this training is of segmentation; {data.name!r} "
                        "has other labels or none: train with your own code, and extract with task="
                    )
                rgb, depth, *_ = batch.inputs.values()
                parts.append((to_bytes(rgb), _in_steps(depth, second, batch.ids), batch.labels.to(torch.uint8)))
                for m in further:
                    others[m.name].append(_in_steps(batch.inputs[m.name], m, batch.ids))
                _check_labels(batch.labels, IGNORE + 1, batch.ids)
                ids += batch.ids
                bar.update(len(batch))
        self.rgb, self.depth, self.labels = (torch.cat(column).contiguous() for column in zip(*parts, strict=True))
        self.ids, self.others = tuple(ids), {name: torch.cat(part) for name, part in others.items()}

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def kept(cls, data: Dataset, path: Path, *, progress: bool = False) -> Cache:
        """The cache of `data` from the file `path`, which is written first where it is not there or of other data.

        Raises
        ------
        ValueError
            Where the file is damaged.
        """
        about = {"name": data.name, "classes": list(data.classes), "fingerprint": data.fingerprint()}
        stored = cls._read(path, json.loads(json.dumps(about)))
        if stored is not None:
            return stored
        made = cls(data, progress=progress)
        tensors = {name: getattr(made, name) for name in PLANES} | made.others
        more = {"scale": made.scale, "ids": made.ids, "scales": made.scales}
        write_tensors(path, tensors, "about", json.dumps(about | more))
        return made

    @classmethod
    def _read(cls, path: Path, about: dict) -> Cache | None:
        if not path.is_file():
            return None
        sweep(path.parent)  # a kill just after it was written leaves an empty folder beside it
        try:
            text, tensors = read_tensors(path, "about")
            stored = json.loads(text)
        except (SafetensorError, ValueError, TypeError) as error:
            raise ValueError(f"{path} cannot be used ({error}); delete it: it is made again") from error
        if any(stored.get(key) != about[key] for key in about):
            return None
        found = cls.__new__(cls)
        found.rgb, found.depth, found.labels = (tensors[name] for name in PLANES)
        found.scales = stored.get("scales", {})
        found.others = {name: tensors[name] for name in found.scales}
        found.name, found.classes, found.fingerprint = stored["name"], tuple(stored["classes"]), stored["fingerprint"]
        found.scale, found.ids = stored["scale"], tuple(stored["ids"])
        return found

    def to(self, device: torch.device | str) -> Cache:
        """The same cache with its tensors on `device`."""
        moved = copy.copy(self)
        moved.rgb, moved.depth, moved.labels = (x.to(device) for x in (self.rgb, self.depth, self.labels))
        moved.others = {name: x.to(device) for name, x in self.others.items()}
        return moved

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Of `rows`, colour (B, 3, H, W) in [0, 1], depth (B, 1, H, W) in its unit, labels int64 (B, H, W), others."""
        rows = rows.to(self.rgb.device)
        others = (x[rows].float() * self.scales[name] for name, x in self.others.items())
        return self.rgb[rows].float() / 255, self.depth[rows].float() * self.scale, self.labels[rows].long(), *others

    def check_labels(self, classes: int) -> None:
        """Raise a ValueError that names the first sample with a class of `classes` or more."""
        _check_labels(self.labels, classes, self.ids)

    def class_weights(self, classes: int, samples: int = 512) -> Tensor:
        """Inverse square roots of class frequencies in the first `samples`, (classes,); mean 1 where they occur."""
        counts = torch.bincount(self.labels[:samples].flatten().long(), minlength=IGNORE + 1)[:classes].double()
        found = counts > 0
        weights = counts.clamp_min(1).rsqrt()
        return torch.where(found, weights / weights[found].mean(), 1.0).float()


def to_bytes(rgb: Tensor) -> Tensor:
    """Colour in [0, 1] as uint8."""
    return (rgb.clamp(0, 1) * 255).round().to(torch.uint8)


def _step(modality: Modality) -> float:
    """What a step of a modality's code is, in its unit."""
    return 2 * max(abs(modality.low), abs(modality.high)) / STEPS


def _in_steps(x: Tensor, modality: Modality, ids: tuple[str, ...]) -> Tensor:
    """Readings (B, C, H, W) as int16; a reading, however close to 0, stays a reading."""
    steps = (x / _step(modality)).round()
    least = -STEPS if modality.low < 0 else 0
    wrong = ~((steps >= least) & (steps <= STEPS)).flatten(1).all(1)
    if wrong.any():
        low, high = (_step(modality) * end for end in (least, STEPS))
        raise ValueError(
            f"`{modality.name}` must be {low:g} to {high:g}; sample {ids[int(wrong.nonzero()[0])]!r} has others: check "
            "its unit"
        )
    return torch.where((steps == 0) & (x != 0), x.sign(), steps).to(torch.int16)


def _check_labels(labels: Tensor, classes: int, ids: tuple[str, ...]) -> None:
    wrong = ((labels != IGNORE) & ((labels >= classes) | (labels < 0))).flatten(1)  # (N, H*W)
    if wrong.any():
        row = int(wrong.any(1).nonzero()[0])
        value = int(labels[row].flatten()[wrong[row]][0])
        raise ValueError(
            f"`labels` must be below {classes} (or {IGNORE}, ignore); sample {ids[row]!r} has class {value}: "
            "build the model with as many classes as the data has"
        )
