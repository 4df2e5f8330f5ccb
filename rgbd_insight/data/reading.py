"""Read one file, an image or MATLAB's, and say what is wrong with it where something is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import loadmat

from rgbd_insight.utils.files import NotWritten

DEPTH_MODES = ("I;16", "I;16B", "I;16L", "I")  # Pillow's names for 16-bit grey; "I" before Pillow 11


def read_image(path: Path) -> Image.Image:
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
    image = read_image(path)
    if image.mode not in ("RGB", "RGBA", "L", "LA", "P"):
        raise ValueError(f"{path} must be an 8-bit colour image; got Pillow mode {image.mode!r}. Save it as 8-bit RGB.")
    return image if image.mode == "RGB" else image.convert("RGB")


def read_reading(path: Path) -> np.ndarray:
    """The second modality as it is stored: uint16 (H, W), 0 = no reading."""
    image = read_image(path)
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
    image = read_image(path)
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


def read_mat(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Variables of a .mat file of before version 7.3; objects and functions in it are not made.

    Raises
    ------
    ValueError
        Where it is no such file, or a variable is not in it.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing; it is part of what the data set's page distributes")
    try:
        found = loadmat(path, variable_names=names, struct_as_record=False, squeeze_me=True)
    except NotImplementedError:
        raise ValueError(
            f"{path} must be a MATLAB file of before version 7.3; it is HDF5: is it the right one?"
        ) from None
    except Exception as error:  # scipy raises a dozen kinds for a damaged file
        raise ValueError(
            f"{path} must be a MATLAB file; it cannot be read ({type(error).__name__}: {error})"
        ) from error
    absent = [name for name in names if name not in found]
    if absent:
        raise ValueError(f"{path} must hold {', '.join(names)}; {', '.join(absent)} misses: is it the right file?")
    return found


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """An HDF5 file; whatever goes wrong in reading it is a ValueError that names it.

    Raises
    ------
    ValueError
        Where there is no such file, h5py misses, or the file is damaged or another.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing; it is what the data set's page distributes")
    try:
        import h5py
    except ImportError:
        raise ValueError('reading this file needs h5py; install it with pip install "rgbd-insight[data]"') from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except NotWritten:
        raise  # what was read is not to blame
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{path} cannot be read as it must be ({type(error).__name__}: {error}); it is truncated or "
            "another file. Download it again."
        ) from error


def text_at(file: Any, reference: Any) -> str:
    """A MATLAB string: the characters' codes, in an array that the reference leads to."""
    return "".join(chr(code) for code in np.asarray(file[reference]).flatten())
