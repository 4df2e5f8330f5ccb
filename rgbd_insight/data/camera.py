"""What camera.json declares of a folder of images: the second modality, the lens, the crop."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from rgbd_insight.data.depth import Intrinsics
from rgbd_insight.features import Modality

RESERVED = ("rgb", "both", "none", "fused", "neither", "together")  # words of ours for other things
NAME = re.compile(r"[^\s/:\\]{1,100}")  # the signs that conditions, keys and files put between names are in none
LARGEST = 1e30  # what single precision can still be scaled by
FARTHEST = 1e6  # pixels: no lens has a longer focal length, no image its middle farther away
ABOUT = (
    "it may declare modality (name, unit, scale, low, high, bits), intrinsics (fx, fy, cx, cy) and crop (first row, end"
    " row, first column, end column)"
)


@dataclass(frozen=True)
class Camera:
    """The second modality, how it is stored, and the lens and the crop of the stored images.

    Attributes
    ----------
    modality : Modality
        Name, unit and range.
    scale : float
        Of a stored number, in the modality's unit.
    bits : int
        16, or 8 where a data set is published so.
    intrinsics : Intrinsics or None
        In pixels of the stored images.
    crop : (int, int, int, int) or None
        First row, end row, first column, end column.
    """

    modality: Modality = Modality("depth", "m", 0.0, 10.0)
    scale: float = 0.001
    bits: int = 16
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
        known: dict[str, Any] = _modality(found["modality"]) if "modality" in found else {}
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
        return json.loads(file.read_text(encoding="utf-8-sig"))  # some editors put a mark before the text
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} must be JSON; {error}") from None


def _modality(second: dict) -> dict[str, Any]:
    name, unit = second["name"], second["unit"]
    if not isinstance(name, str) or not NAME.fullmatch(name) or name.lower() in RESERVED:
        rule = f"one word without / and :, and none of {', '.join(RESERVED)}"
        raise ValueError(f"the modality's name must be {rule}; got {_short(name)}")
    if not isinstance(unit, str):
        raise ValueError(f"the modality's unit must be a text; got {_short(unit)}")
    low, high, scale = (_number(second, key) for key in ("low", "high", "scale"))
    if not (low < high and scale >= 1 / LARGEST):
        raise ValueError(f"low < high and scale > 0; got {low:g}, {high:g} and {scale:g}")
    bits = second.get("bits", 16)
    if bits not in (8, 16) or isinstance(bits, float):
        raise ValueError(f"bits must be 16 or 8; got {_short(bits)}")
    return {"modality": Modality(name, unit, low, high), "scale": scale, "bits": bits}


def _lens(lens: dict) -> Intrinsics:
    found = Intrinsics(*(_number(lens, key) for key in ("fx", "fy", "cx", "cy")))
    if not (0 < found.fx <= FARTHEST and 0 < found.fy <= FARTHEST and max(map(abs, found[2:])) <= FARTHEST):
        raise ValueError(
            f"fx and fy must be focal lengths in pixels, above 0, cx and cy a place in the image; got {tuple(found)}"
        )
    return found


def _number(found: dict, key: str) -> float:
    value = found[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST < value < LARGEST:
        raise ValueError(f"{key} must be a finite number; got {_short(value)}")
    return float(value)


def _whole(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and isfinite(value) and value == int(value)


def _short(value: Any) -> str:
    return repr(value)[:60]
