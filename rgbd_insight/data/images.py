"""Read one image file, and say what is wrong with it where something is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

DEPTH_MODES = ("I;16", "I;16B", "I;16L", "I")  # Pillow's names for 16-bit grey; "I" before Pillow 11


def decode(path: Path) -> Image.Image:
    """Return the decoded image, or raise a ValueError that names the file."""
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise ValueError(f"{path} is gone since the folder was opened; put it back or open the folder again") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read ({error}); it is truncated or no image. Copy it again.") from error


def read_colour(path: Path) -> Image.Image:
    """8-bit RGB image; a grey one gets three equal channels, transparency is dropped."""
    image = decode(path)
    if image.mode not in ("RGB", "RGBA", "L", "LA", "P"):
        raise ValueError(f"{path} must be an 8-bit colour image; got Pillow mode {image.mode!r}. Save it as 8-bit RGB.")
    return image if image.mode == "RGB" else image.convert("RGB")


def read_reading(path: Path) -> np.ndarray:
    """The second modality as it is stored: uint16 (H, W), 0 = no reading."""
    image = decode(path)
    if image.mode in ("L", "P", "1"):
        raise ValueError(
            f"{path} must be a 16-bit grey PNG; got an 8-bit one. Go back to the sensor's file: 8 bits hold too few"
            " steps, and a picture of depth is no depth."
        )
    if image.mode not in DEPTH_MODES:
        raise ValueError(f"{path} must be a 16-bit grey PNG; got Pillow mode {image.mode!r}. Save one uint16 channel.")
    return np.asarray(image).astype(np.uint16)


def read_label(path: Path, classes: int) -> np.ndarray:
    """Class of each pixel: uint8 (H, W), below `classes` or 255 = ignore."""
    image = decode(path)
    if image.mode not in ("L", "P"):
        raise ValueError(f"{path} must be an 8-bit grey PNG of class indices; got Pillow mode {image.mode!r}")
    label = np.asarray(image)
    wrong = np.unique(label[(label >= classes) & (label != 255)])
    if wrong.size:
        raise ValueError(
            f"{path} must hold 0…{classes - 1} or 255 (ignore); got {', '.join(map(str, wrong[:5]))}. Add the missing"
            " names to classes.json, or shift labels that begin at 1."
        )
    return label


def rescale(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`array` (H, W) at `size` by nearest neighbour: no reading and no label is made up."""
    rows, columns = (((2 * np.arange(new) + 1) * old) // (2 * new) for new, old in zip(size, array.shape, strict=True))
    return array[rows[:, None], columns]
