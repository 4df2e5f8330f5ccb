"""Read one file, an image or MATLAB's, and say what is wrong with it where something is."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import loadmat, whosmat

from rgbd_insight.utils.files import NotWritten
from rgbd_insight.utils.reading import PIXELS, Unreadable, check_mat, open_image, read_array

CHANNELS = 4  # of the images of a data set, at most
DEPTH_MODES = ("I;16", "I;16B", "I;16L", "I")  # Pillow's names for 16-bit grey; "I" before Pillow 11


LOSSLESS = ("PNG", "TIFF", "BMP", "PPM", "GIF")  # labels in anything else are not what was saved
GREYS = {"L;2": 85, "L;4": 17}  # 2- and 4-bit grey, and what Pillow multiplies its values by
TURNED = 0x0112  # the tag of EXIF that says how a viewer is to turn an image


class BadImage(ValueError):
    """An image that is not as it must be.

    Parameters
    ----------
    mistake : str
        What `check` calls it.
    text : str
        The message: names the file and says what to do.

    Examples
    --------
    >>> BadImage("8-bit depth", "0001.png must be 16-bit").mistake
    '8-bit depth'
    """

    def __init__(self, mistake: str, text: str) -> None:
        super().__init__(text)
        self.mistake = mistake


def read_image(path: Path) -> Image.Image:
    """Return the decoded image; `info["raw"]` says how its values are stored, where it is a PNG.

    Raises
    ------
    BadImage
        Where it cannot be read, is to be turned by whoever shows it, or is too large for an image; it names the file.
    """
    try:
        with open_image(path) as image:
            raw = str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""
            image.load()
            turned = image.getexif().get(TURNED, 1)
    except FileNotFoundError:
        raise BadImage(
            "a damaged file", f"{path} is gone since the folder was opened; put it back or open the folder again"
        ) from None
    except (Unreadable, OSError) as error:
        text = f"{path} cannot be read ({error}). It is cut short, too large or no image: copy it again, or resize it."
        raise BadImage("a damaged file", text) from error
    if turned not in (0, 1):
        raise BadImage(
            "an image to be turned",
            f"{path} must be stored upright; its EXIF orientation is {turned}, so viewers show it turned. Turn its"
            " pixels (PIL.ImageOps.exif_transpose) where depth and label are upright, else remove the tag.",
        )
    image.info["raw"] = raw
    return image


def read_colour(path: Path) -> Image.Image:
    """8-bit RGB image; a grey one gets three equal channels, transparency is dropped with a warning."""
    image = read_image(path)
    if image.mode not in ("RGB", "RGBA", "L", "LA", "P", "PA") or "16" in image.info["raw"]:
        got = "16 bits a channel" if "16" in image.info["raw"] else f"Pillow mode {image.mode!r}"
        raise BadImage(
            "an image of another kind", f"{path} must be an 8-bit colour image; got {got}. Save it as 8-bit RGB."
        )
    if image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255:
        warnings.warn(
            f"{path.parent} has images with transparent pixels; their colours are read as they are stored, which may"
            " be any. Save them as 8-bit RGB, on the background that was meant.",
            stacklevel=2,
        )
    return image if image.mode == "RGB" else image.convert("RGB")


def read_reading(path: Path, *, bits: int = 16, channels: int = 1) -> np.ndarray:
    """A modality beside colour as it is stored: uint16 (H, W, C); 8 `bits` and other channels only where declared.

    One channel is a grey PNG, 3 or 4 channels of 8 bits may be a PNG; any number of channels may be a NumPy array
    (H, W, C) in an .npy file.
    """
    if path.suffix == ".npy":
        return _read_array(path, bits, channels)
    image = read_image(path)
    if channels > 1:
        if bits != 8 or image.mode != {3: "RGB", 4: "RGBA"}.get(channels) or "16" in image.info["raw"]:
            raise BadImage(
                "an image of another kind",
                f"{path} must have {channels} channels of {bits} bits, as camera.json says; got Pillow mode"
                f" {image.mode!r}. A PNG holds 3 or 4 of 8 bits; save others as a NumPy array, .npy.",
            )
        return np.asarray(image).astype(np.uint16)
    return _read_grey(path, image, bits)[..., None]


def _read_array(path: Path, bits: int, channels: int) -> np.ndarray:
    """An .npy file of whole numbers (H, W, C), or (H, W) of one channel; nothing in it is executed."""
    try:
        values = read_array(path)
    except (Unreadable, OSError) as error:
        raise BadImage(
            "a damaged file", f"{path} cannot be read ({error}); it is no NumPy array. Copy it again."
        ) from None
    values = values[..., None] if values.ndim == 2 else values
    kind = np.uint8 if bits == 8 else np.uint16
    if values.ndim != 3 or values.shape[-1] != channels or values.dtype != kind:
        raise BadImage(
            "an image of another kind",
            f"{path} must be {kind.__name__} (H, W, {channels}), as camera.json says; got {values.dtype}"
            f" {values.shape}. Save it so, or declare what it is.",
        )
    return values.astype(np.uint16)


def _read_grey(path: Path, image: Image.Image, bits: int) -> np.ndarray:
    """A grey PNG (H, W)."""
    if bits == 8 and image.mode == "L" and image.info["raw"] not in GREYS:
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("L", "P") and bits != 8:
        raise BadImage(
            "8-bit depth",
            f"{path} must be a 16-bit grey PNG; got an 8-bit one. Go back to the sensor's file: 8 bits hold too few"
            " steps, and a picture of depth is no depth. Where a data set is published so, declare its scale and"
            ' "bits": 8 in camera.json, "modality".',
        )
    values = np.asarray(image)
    if bits == 8 or image.mode not in DEPTH_MODES or values.min() < 0 or values.max() > 65535:
        got = f"Pillow mode {image.mode!r}"
        if bits != 8 and image.mode in DEPTH_MODES:
            got = f"numbers from {values.min()} to {values.max()}"
        want = f"{bits}-bit grey PNG" + (', as camera.json says ("bits": 8)' if bits == 8 else "")
        fix = "Save one uint16 channel." if bits == 16 else "Leave out bits."
        raise BadImage("an image of another kind", f"{path} must be a {want}; got {got}. {fix}")
    return values.astype(np.uint16)


def read_label(path: Path, classes: int) -> np.ndarray:
    """Class of each pixel: uint8 (H, W), below `classes` or 255 = ignore."""
    image = read_image(path)
    if image.mode not in ("L", "P") or image.format not in LOSSLESS:
        got = f"Pillow mode {image.mode!r}" if image.format in LOSSLESS else f"a {image.format}, which changes values"
        raise BadImage(
            "an image of another kind",
            f"{path} must be an 8-bit grey PNG of class indices; got {got}. Save one uint8 channel.",
        )
    label = np.asarray(image) // GREYS.get(image.info["raw"], 1)
    wrong = np.unique(label[(label >= classes) & (label != 255)])
    if wrong.size:
        raise BadImage(
            "labels that are no class",
            f"{path} must hold 0…{classes - 1} or 255 (ignore); got {', '.join(map(str, wrong[:5]))}. Add the missing"
            " names to classes.json, or shift labels that begin at 1.",
        )
    return label


def aligned(reading: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
    """`reading` at `shape` (H, W) of its colour image; None where it is of another view.

    Depth of at most two thirds of the resolution, in the same aspect to a pixel, is taken for the same view: every
    pixel of it stands for several, by nearest neighbour.

    Examples
    --------
    >>> aligned(np.array([[1, 2]]), (2, 4)).tolist(), aligned(np.ones((9, 12)), (12, 16)) is None
    ([[1, 1, 2, 2], [1, 1, 2, 2]], True)
    """
    (h, w), (height, width) = reading.shape[:2], shape
    if (h, w) == (height, width):
        return reading
    same_aspect = round(height * w / width) == h or round(width * h / height) == w
    return rescale(reading, shape) if same_aspect and 3 * h <= 2 * height and 3 * w <= 2 * width else None


def rescale(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`array` (H, W) or (H, W, C) at `size` by nearest neighbour: no reading and no label is made up."""
    sizes = zip(size, array.shape[:2], strict=True)
    rows, columns = (((2 * np.arange(new) + 1) * old) // (2 * new) for new, old in sizes)
    return array[rows[:, None], columns]


def moved(array: np.ndarray, shape: tuple[int, int], affine: Sequence[float], outside: int) -> np.ndarray:
    """`array` (H, W, C) as another camera of `shape` sees it, by nearest neighbour; `outside` where it does not.

    Examples
    --------
    >>> moved(np.array([[[1], [2]]]), (1, 4), (1, 0, -1, 0, 1, 0), 0)[..., 0].tolist()
    [[0, 1, 2, 0]]
    """
    y, x = np.indices(shape)
    a, b, c, d, e, f = affine
    column, row = (np.rint(np.clip(v, -1, 2**31)).astype(int) for v in (a * x + b * y + c, d * x + e * y + f))
    there = (row >= 0) & (row < array.shape[0]) & (column >= 0) & (column < array.shape[1])
    found = np.full((*shape, *array.shape[2:]), outside, array.dtype)
    found[there] = array[row[there], column[there]]
    return found


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
        check_mat(path)
        for name, shape, _ in whosmat(path):
            if math.prod(shape) > PIXELS:
                raise Unreadable(f"its variable {name} says to hold {shape} values")
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
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError, IndexError, Unreadable) as error:
        raise ValueError(
            f"{path} cannot be read as it must be ({type(error).__name__}: {error}); it is truncated or "
            "another file. Download it again."
        ) from error


def part_of(array: Any, *index: int) -> np.ndarray:
    """An array of an HDF5 file, or what it has at `index`, once that is known to be of the size of an image.

    Raises
    ------
    Unreadable
        Where it is larger, or is stored in pieces that are: a few bytes can stand for any number of them.
    """
    for shape in (array.shape[len(index) :], array.chunks or ()):
        if math.prod(shape) > CHANNELS * PIXELS:
            raise Unreadable(f"{array.name} says to hold {shape} values at a time")
    return np.asarray(array[index] if index else array)


def text_at(file: Any, reference: Any) -> str:
    """A MATLAB string: the characters' codes, in an array that the reference leads to."""
    return "".join(chr(code) for code in part_of(led_to(file, reference)).flatten())


def led_to(file: Any, reference: Any) -> Any:
    """The array that a reference in an HDF5 file leads to; Unreadable where it leads nowhere."""
    try:
        return file[reference]
    except ValueError as error:
        raise Unreadable(f"a reference in it leads nowhere: {error}") from None
