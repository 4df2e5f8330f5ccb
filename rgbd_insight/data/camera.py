"""What camera.json declares of a folder of images: its modalities beside colour, the lens, the crop."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from rgbd_insight.data.depth import Intrinsics
from rgbd_insight.data.reading import aligned, moved, read_reading
from rgbd_insight.features import Modality
from rgbd_insight.utils import reading
from rgbd_insight.utils.reading import Unreadable

RESERVED = ("rgb", "both", "none", "fused", "neither", "together")  # words of ours for other things
NAME = re.compile(r"[^\s/:+\\]{1,100}")  # the signs that conditions, keys and files put between names are in none
CHANNELS = 16  # at most
FIRST = "depth"  # the folder of the second modality, where there is none of its own name
KEYS = "name, unit, scale, offset, low, high, bits, channels, missing, affine"
LARGEST = 1e30  # what single precision can still be scaled by
FARTHEST = 1e6  # pixels: no lens has a longer focal length, no image its middle farther away
ABOUT = (
    f"it may declare modality or a list of modalities ({KEYS}), intrinsics (fx, fy, cx, cy) and crop (first row, end"
    " row, first column, end column)"
)


@dataclass(frozen=True)
class Stored:
    """A modality beside colour, and how its images are stored.

    Attributes
    ----------
    modality : Modality
        Name, unit, range and channels.
    scale, offset : float
        A value is ``stored · scale + offset``, in the modality's unit.
    bits : int
        16, or 8 where they are published so.
    missing : int or None
        The stored number that is no reading (in all channels); None where every number is one.
    affine : tuple of float (6,) or None
        For a camera of its own, (a, b, c, d, e, f): what a pixel (column x, row y) of the colour image shows is at
        column a·x + b·y + c and row d·x + e·y + f of its image; None where both show the same view.
    """

    modality: Modality = Modality("depth", "m", 0.0, 10.0)
    scale: float = 0.001
    offset: float = 0.0
    bits: int = 16
    missing: int | None = 0
    affine: tuple[float, ...] | None = None

    @property
    def metric(self) -> bool:
        """Whether it says how far things are."""
        return self.modality.unit == "m" and self.modality.planes == 1

    def read(self, file: Path) -> np.ndarray:
        """An image of it as it is stored, (H, W, C)."""
        return read_reading(file, bits=self.bits, channels=self.modality.planes)

    def on(self, stored: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
        """An image of it as the colour image of `shape` (H, W) sees it; None where it is of another view."""
        if self.affine is None:
            return aligned(stored, shape)
        return moved(stored, shape, self.affine, 0 if self.missing is None else self.missing)

    def known(self, stored: np.ndarray) -> np.ndarray:
        """Where there is a reading, bool (H, W)."""
        if self.missing is None:
            return np.ones(stored.shape[:2], bool)
        return (stored != self.missing).any(-1)

    def values(self, stored: np.ndarray) -> np.ndarray:
        """What is stored in the modality's unit, float32 (H, W, C); 0 where there is no reading."""
        found = stored.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        return np.where(self.known(stored)[..., None], found, np.float32(0))


@dataclass(frozen=True)
class Camera:
    """The modalities beside colour, and the lens and the crop of the stored images.

    Attributes
    ----------
    others : tuple of Stored
        One or more, in the order in which a network is given them.
    intrinsics : Intrinsics or None
        In pixels of the stored images.
    crop : (int, int, int, int) or None
        First row, end row, first column, end column.
    """

    others: tuple[Stored, ...] = (Stored(),)
    intrinsics: Intrinsics | None = None
    crop: tuple[int, int, int, int] | None = None


def read_camera(file: Path) -> Camera:
    """What camera.json declares; notes and other keys in it are left alone.

    Raises
    ------
    ValueError
        Where what it declares cannot be: it names the file and the entry.
    """
    if not file.exists():
        return Camera()
    found = read_json(file, "")
    try:
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}")
        known: dict[str, Any] = {}
        if "modality" in found or "modalities" in found:
            known["others"] = declared(found["modalities"] if "modalities" in found else [found["modality"]])
        lens = found.get("intrinsics", found.get("this_resolution"))
        if lens is not None:
            known["intrinsics"] = _lens(lens)
        crop = found.get("crop", found.get("crop_this_resolution_rows_cols"))
        if crop is not None:
            if not isinstance(crop, list) or len(crop) != 4 or not all(_whole(edge) for edge in crop):
                raise ValueError(f"crop must be four whole numbers; got {_short(crop)}")
            known["crop"] = tuple(int(edge) for edge in crop)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file} is not as it must be ({type(error).__name__}: {error}); {ABOUT}") from None
    return Camera(**known)


def declared(entries: Sequence[Mapping[str, Any]]) -> tuple[Stored, ...]:
    """The modalities that a list of declarations describes.

    Raises
    ------
    ValueError, TypeError, KeyError
        Where one cannot be.
    """
    if not isinstance(entries, list | tuple) or not entries:
        raise ValueError(f"modalities must be a list of one or more; got {_short(entries)}")
    found = tuple(map(_stored, entries))
    names = [one.modality.name for one in found]
    if len(set(names)) < len(names):
        raise ValueError(f"each modality must have a name of its own; got {', '.join(names)}")
    return found


def check_crop(crop: tuple[int, int, int, int], stored: tuple[int, int], file: Path) -> None:
    """Raise a ValueError where the crop does not lie in the image."""
    top, bottom, left, right = crop
    if not (0 <= top < bottom <= stored[0] and 0 <= left < right <= stored[1]):
        raise ValueError(f"`crop` in {file} must lie in the images of {stored} (H, W); got {list(crop)}")


def read_json(file: Path, why: str) -> Any:
    """Parse a JSON file, or raise a ValueError that names it and says what it is for."""
    if not file.is_file():
        raise ValueError(f"{file} is missing; {why}")
    try:
        return reading.read_json(file)
    except Unreadable as error:
        raise ValueError(f"{file} must be JSON; {error}") from None


def _stored(entry: Mapping[str, Any]) -> Stored:
    name, unit = entry["name"], entry["unit"]
    if not isinstance(name, str) or not NAME.fullmatch(name) or name.lower() in RESERVED:
        rule = f"one word without / : and +, and none of {', '.join(RESERVED)}"
        raise ValueError(f"a modality's name must be {rule}; got {_short(name)}")
    if not isinstance(unit, str):
        raise ValueError(f"the modality's unit must be a text; got {_short(unit)}")
    low, high, scale = (_number(entry, key) for key in ("low", "high", "scale"))
    if not (low < high and scale >= 1 / LARGEST):
        raise ValueError(f"low < high and scale > 0; got {low:g}, {high:g} and {scale:g}")
    bits, channels, missing = entry.get("bits", 16), entry.get("channels", 1), entry.get("missing", 0)
    if bits not in (8, 16) or isinstance(bits, float):
        raise ValueError(f"bits must be 16 or 8; got {_short(bits)}")
    if not _whole(channels) or isinstance(channels, float) or not 1 <= channels <= CHANNELS:
        raise ValueError(f"channels must be a whole number from 1 to {CHANNELS}; got {_short(channels)}")
    if missing is not None and (not _whole(missing) or not 0 <= missing < 2**bits):
        raise ValueError(
            f"missing must be the stored number that is no reading, 0 to {2**bits - 1}, or null where all are; got "
            f"{_short(missing)}"
        )
    affine = entry.get("affine")
    if affine is not None:
        if not isinstance(affine, list | tuple) or len(affine) != 6:
            raise ValueError(f"affine must be six numbers, [a, b, c, d, e, f]; got {_short(affine)}")
        affine = tuple(_number(dict(enumerate(affine)), i) for i in range(6))
    # of one channel it is only said where it would be taken for a picture
    said = None if channels == 1 and Modality(name, unit, low, high).planes == 1 else int(channels)
    offset = _number({"offset": 0, **entry}, "offset")
    return Stored(Modality(name, unit, low, high, said), scale, offset, bits, missing, affine)


def _lens(lens: dict) -> Intrinsics:
    found = Intrinsics(*(_number(lens, key) for key in ("fx", "fy", "cx", "cy")))
    if not (0 < found.fx <= FARTHEST and 0 < found.fy <= FARTHEST and max(map(abs, found[2:])) <= FARTHEST):
        raise ValueError(
            f"fx and fy must be focal lengths in pixels, above 0, cx and cy a place in the image; got {tuple(found)}"
        )
    return found


def _number(found: Mapping, key: Any) -> float:
    value = found[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST < value < LARGEST:
        raise ValueError(f"{key} must be a finite number; got {_short(value)}")
    return float(value)


def _whole(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and isfinite(value) and value == int(value)


def _short(value: Any) -> str:
    return repr(value)[:60]
