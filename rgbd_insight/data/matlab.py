"""Read MATLAB's two kinds of file: HDF5 (version 7.3) with h5py, older ones with scipy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat


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
def opened(path: Path) -> Iterator[Any]:
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
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{path} cannot be read as it must be ({type(error).__name__}: {error}); it is truncated or "
            "another file. Download it again."
        ) from error


def text_at(file: Any, reference: Any) -> str:
    """A MATLAB string: the characters' codes, in an array that the reference leads to."""
    return "".join(chr(code) for code in np.asarray(file[reference]).flatten())
