"""The bytes under `features`: safetensors filled block by block, digests, one-byte tensors. Use `features` instead."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open

from rgbd_insight.features.schema import PLAIN_NAME, FeaturesError
from rgbd_insight.utils import reading
from rgbd_insight.utils.files import digest, whole, write_text
from rgbd_insight.utils.reading import Unreadable

SCHEMA, WITH_CELLS = 1, 2  # without and with responses at cells
FORMAT = "rgbd_insight.features"
SUMS = "SHA256SUMS"
MANIFEST = "manifest.json"
CELLS = "cells.safetensors"  # where the cells of each image lie, and what is in them
GRID = "#grid"  # behind the key of a tensor: images on grids; alone: which images
DTYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I32": np.dtype("<i4"), "U8": np.dtype("u1")}


def package_version() -> str:
    """Version of this package, as written into every run."""
    return getattr(sys.modules.get("rgbd_insight"), "__version__", "0.1.0")


def json_value(value: object) -> object:
    """`value` as JSON gives it back (tuples become lists), so that what is stored compares equal to what is asked."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise FeaturesError(f"the manifest can only hold finite JSON values; got {value!r} ({error})") from error


def read_json(path: Path, fix: str) -> object:
    """The JSON value in `path`, or a FeaturesError that ends with `fix`."""
    if not path.is_file():
        raise FeaturesError(f"{path} {_absent(path)}; {fix}")
    try:
        return reading.read_json(path)
    except (Unreadable, OSError) as error:
        raise FeaturesError(f"{path} is not readable JSON ({error}); {fix}") from error


def write_columns(path: Path, columns: dict) -> None:
    """Write columns as parquet with nothing in the file but the data (same data, same bytes)."""
    table = pa.table(columns).replace_schema_metadata(None)
    with whole(path) as partial:
        # measured on pixel counts: a third smaller than with dictionaries at the usual level
        pq.write_table(table, partial, compression="zstd", compression_level=9, use_dictionary=False)


def read_parquet(path: Path, rows: int | None = None) -> pd.DataFrame:
    """A parquet file as a DataFrame; where its number of rows is known, it must have as many."""
    return Columns(path, rows).read()


VALUES, ROOM, WIDEST = 2**28, 2**20, 2**12  # values of a table; bytes of an empty one, and of each value more


class Columns:
    """A parquet file of which some columns are read at a time: with hundreds, finding them takes longer than reading.

    Raises FeaturesError, also from `read`, where the file is damaged or not there, or would fill the memory: a few
    bytes of it can stand for any number of values, so what its footer says of them is looked at before they are made.
    """

    def __init__(self, path: Path, rows: int | None = None) -> None:
        self.path = path
        with _readable(path):
            self._file = pq.ParquetFile(path)
            about = self._file.metadata
            if rows not in (None, about.num_rows):
                raise ValueError(f"it must have {rows} rows, and has {about.num_rows}")
            values = about.num_rows * about.num_columns
            size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
            nested = any(pa.types.is_nested(field.type) for field in self._file.schema_arrow)
            if values > VALUES or size > ROOM + WIDEST * values or nested:
                raise ValueError(f"it would take {values:,} values and {size:,} bytes, which no table of ours has")

    def read(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Some columns, or all, as a DataFrame."""
        with _readable(self.path):
            table = self._file.read(columns)
            for column in columns or ():
                table.column(column)  # arrow leaves out what is not there
            return table.to_pandas()


def read_tensors(path: Path, keys: list[str]) -> list[np.ndarray]:
    """Some tensors of a safetensors file; the others are not touched."""
    with _readable(path), safe_open(path, framework="numpy") as file:
        return [file.get_tensor(key) for key in keys]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn any error of a library that reads `path` into one that says what to do."""
    if not path.is_file():
        raise FeaturesError(f"{path} {_absent(path)}; restore it or extract the run again")
    try:
        yield
    except Exception as error:  # of a damaged file: a dozen kinds, of arrow, safetensors, pandas and numpy
        raise FeaturesError(f"{path} cannot be read ({error}); restore it or extract the run again") from error


def _absent(path: Path) -> str:
    """Why there is no file at `path`, in words."""
    return "is no file" if path.exists() else "does not exist"


def plain(folder: Path, name: str, why: str) -> Path:
    """Path of the file `name` of `folder`; a FeaturesError with `why` where it is not there, or is no file."""
    path = inside(folder, name)
    if not path.is_file():
        raise FeaturesError(f"{path} {_absent(path)} and {why}")
    return path


def inside(folder: Path, name: object) -> Path:
    """Path of the file `name` of `folder`; refuses any name that could lead out of it."""
    if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name):
        raise FeaturesError(
            f"{folder} names a file {name!r}, which leaves the folder or is no plain file name; "
            "do not use a features directory from a source that you do not trust"
        )
    path = folder / name
    if path.is_symlink() and path.resolve().parent != folder.resolve():
        raise FeaturesError(f"{path} is a link that leaves the folder; copy the file itself into {folder}")
    return path


class BlockFile:
    """A safetensors file of known size whose rows are written block by block, in place.

    Parameters
    ----------
    path : Path
        Where the file is.
    widths : dict of str to int
        {key: columns}; every tensor is (rows, columns).
    rows : int
        Number of rows of every tensor.
    dtype : str, optional
        "F32", "F64", "I32" or "U8", the same for every tensor.
    fixed : dict of str to ndarray of float32, optional
        Further tensors, one axis each, that are there from the start.
    """

    def __init__(
        self,
        path: Path,
        widths: dict[str, int],
        rows: int,
        dtype: str = "F32",
        fixed: dict[str, np.ndarray] | None = None,
    ) -> None:
        self.path, self.widths, self.rows, self.dtype = Path(path), dict(widths), rows, DTYPES[dtype]
        self.offsets, header, end, self._fixed = {}, {}, 0, b""
        for key, values in sorted((fixed or {}).items()):  # four bytes a value come first, as readers may align them
            self._fixed += np.ascontiguousarray(values, DTYPES["F32"]).tobytes()
            header[key] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [end, len(self._fixed)]}
            end = len(self._fixed)
        for key in sorted(widths):
            self.offsets[key], end = end, end + rows * widths[key] * self.dtype.itemsize
            header[key] = {"dtype": dtype, "shape": [rows, widths[key]], "data_offsets": [self.offsets[key], end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # the data must start at a multiple of 8 bytes
        self._head = len(text).to_bytes(8, "little") + text
        self._size = len(self._head) + end

    def create(self) -> None:
        """Reserve the whole file; rows not yet written read as zero."""
        with open(self.path, "wb") as file:
            file.write(self._head + self._fixed)
            file.truncate(self._size)
            file.flush()
            os.fsync(file.fileno())

    def intact(self) -> bool:
        """Whether the file on disk has this header and this size."""
        if not self.path.is_file() or self.path.stat().st_size != self._size:
            return False
        with open(self.path, "rb") as file:
            return file.read(len(self._head)) == self._head

    def read(self, key: str, start: int, stop: int) -> np.ndarray:
        """The rows `start` to `stop` of a tensor, or to its last one."""
        width, stop = self.widths[key], min(stop, self.rows)
        with open(self.path, "rb") as file:
            file.seek(len(self._head) + self.offsets[key] + start * width * self.dtype.itemsize)
            return np.frombuffer(file.read((stop - start) * width * self.dtype.itemsize), self.dtype).reshape(-1, width)

    def mapped(self, key: str) -> np.ndarray:
        """All rows of a tensor as they lie on the disk; what is not looked at is not read."""
        shape, offset = (self.rows, self.widths[key]), len(self._head) + self.offsets[key]
        return np.memmap(self.path, self.dtype, "r", offset, shape)

    def sum(self, start: int, stop: int) -> str:
        """SHA-256 of the rows `start` to `stop` of every tensor."""
        found = hashlib.sha256()
        with open(self.path, "rb") as file:
            for key in sorted(self.widths):
                row = self.widths[key] * self.dtype.itemsize
                file.seek(len(self._head) + self.offsets[key] + start * row)
                found.update(file.read((stop - start) * row))
        return found.hexdigest()

    def write(self, start: int, block: dict[str, np.ndarray]) -> None:
        """Put the rows from `start` on of every tensor onto the disk, and wait until they are there."""
        if set(block) != set(self.widths):
            raise FeaturesError(f"{self.path.name} holds {sorted(self.widths)}; got a block with {sorted(block)}")
        with open(self.path, "r+b") as file:
            for key, values in block.items():
                width = self.widths[key]
                if values.ndim != 2 or values.shape[1] != width or start + len(values) > self.rows:
                    raise FeaturesError(
                        f"{self.path.name}: {key!r} takes rows {start} to at most {self.rows} of "
                        f"{width} columns; got an array of shape {values.shape}"
                    )
                file.seek(len(self._head) + self.offsets[key] + start * width * self.dtype.itemsize)
                file.write(np.ascontiguousarray(values, self.dtype).tobytes())
            file.flush()
            os.fsync(file.fileno())


def check_safetensors(path: Path) -> dict:
    """The header of a safetensors file whose size is what the header says, else a FeaturesError."""
    size, fix = path.stat().st_size, "restore it from its source or extract the run again"
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise FeaturesError(f"{path} is truncated: {size} bytes do not even hold its header; {fix}")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise FeaturesError(f"{path} is not a safetensors file ({error}); {fix}") from error
    if size != end:
        raise FeaturesError(
            f"{path} is {'truncated' if size < end else 'too long'}: it has {size} bytes and its "
            f"header says {end}; {fix}"
        )
    return header


def write_sums(folder: Path) -> None:
    """Write the digests of every file of `folder` in the format of `sha256sum -c`."""
    names = sorted(p.name for p in folder.iterdir() if p.name != SUMS)
    write_text(folder / SUMS, "".join(f"{digest(folder / name)}  {name}\n" for name in names))


def _read_sums(folder: Path) -> dict[str, str]:
    """{file name: digest} of `folder`; the names are not checked yet."""
    path = inside(folder, SUMS)
    if not path.is_file():
        raise FeaturesError(f"{path} {_absent(path)}; restore it, or extract again into a new folder")
    sums, lines = {}, path.read_bytes().decode("utf-8", errors="replace").split("\n")
    if lines.pop():  # every line ends in a line feed, the last one too
        raise FeaturesError(f"{path} is cut short or damaged at its end; restore the file from its source")
    for number, line in enumerate(lines, 1):
        value, gap, name = line[:64], line[64:66], line[66:]
        if not re.fullmatch("[0-9a-f]{64}", value) or gap != "  ":
            raise FeaturesError(f"{path}, line {number}, is damaged: {line!r}; restore the file from its source")
        if name in sums:
            raise FeaturesError(f"{path}, line {number}, names {name!r} again; restore the file from its source")
        sums[name] = value
    return sums


def verify_sums(folder: Path) -> None:
    """Raise a FeaturesError naming the first file that is missing, extra or changed since it was written."""
    sums, fix = _read_sums(folder), "restore it from its source or extract the run again"
    present = {p.name for p in folder.iterdir()} - {SUMS}
    gone, extra = sorted(sums.keys() - present), sorted(present - sums.keys())
    for name in extra if gone else ():
        found = digest(folder / name) if (folder / name).is_file() else None
        for other in (other for other in gone if sums[other] == found):
            raise FeaturesError(f"{folder / SUMS} is damaged: it gives {name} the name {other!r}; restore it")
    for name in gone:
        plain(folder, name, f"{SUMS} lists it; {fix}")
    for name in extra:
        raise FeaturesError(f"{folder / name} is not listed in {SUMS}; delete it, or restore {SUMS}")
    for name, value in sums.items():
        path = plain(folder, name, f"{SUMS} lists it; {fix}")
        if digest(path) != value:
            if name.endswith(".safetensors"):
                check_safetensors(path)  # says more where the file is cut short
            raise FeaturesError(f"{path} has changed: its digest is not the one in {SUMS}; {fix}")


def quantise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """One byte a value, with scale and offset for every unit.

    Parameters
    ----------
    values : ndarray
        Finite (N, U) responses.

    Returns
    -------
    (ndarray, ndarray, ndarray, float)
        Codes uint8 (N, U), scale float32 (U,), offset float32 (U,), and the loss: root mean squared error over the root
        mean squared deviation from the units' means (0 where every unit is constant).

    Notes
    -----
    x ≈ offset + scale·code, offset = min, scale = (max − min)/255: no value moves by more than scale/2.

    Examples
    --------
    >>> codes, scale, offset, loss = quantise(np.array([[0.0], [1.0], [4.0]], np.float32))
    >>> codes.ravel().tolist(), loss < 0.01
    ([0, 64, 255], True)
    """
    low = values.min(0).astype(np.float32)  # (U,)
    scale = ((values.max(0) - low) / 255).astype(np.float32)  # (U,)
    codes = encode(values, scale, low)  # (N, U)
    error = np.mean((dequantise(codes, scale, low).astype(np.float64) - values) ** 2)
    variance = np.mean((values.astype(np.float64) - values.mean(0, dtype=np.float64)) ** 2)
    codes = np.ascontiguousarray(codes)  # safetensors writes the memory as it lies
    return codes, scale, low, float(math.sqrt(error / variance)) if variance > 0 else 0.0


def encode(values: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """One byte a value (N, U), given the scale and the offset of every unit (U,)."""
    return np.clip(np.rint((values - offset) / np.where(scale > 0, scale, 1)), 0, 255).astype(np.uint8)


def dequantise(codes: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The float32 responses (N, U) behind one-byte `codes` (N, U)."""
    return codes.astype(np.float32) * scale + offset
