"""Read files that others made: ordinary ones, and in memory that is known to be bounded before it is taken."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import stat
import tomllib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS = 2**26  # of an image: more than any camera of scenes has
TEXT = 2**27  # bytes of JSON and TOML; what they are read into takes at most 40 times as many
LEAST, TIMES = 2**26, 100  # compressed data may unfold to so many bytes and so many times those of its file
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "PPM", "GIF", "WEBP")  # of Pillow's others, some start a program
LEFT = ("@eadir", "__macosx", "thumbs.db", "desktop.ini")  # folders and files that systems put beside images
KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a character beyond 16 bits; both together are one
COMPRESSED = 15  # the type of an element of a MATLAB file


class Unreadable(ValueError):
    """Why a file cannot be read, without its name: whoever asked for it says which, and what to do."""


def ordinary(path: str | Path) -> Path:
    """`path` where it is a file on a disk, or a link to one: a pipe never ends, and neither does /dev/zero.

    Raises
    ------
    Unreadable
        Where it is something else.
    OSError
        Where there is nothing.

    Examples
    --------
    >>> ordinary("/dev/null")
    Traceback (most recent call last):
    rgbd_insight.utils.reading.Unreadable: it is a device, and no ordinary file
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in KINDS if is_kind(mode)), "a device")
        raise Unreadable(f"it is {kind}, and no ordinary file")
    return Path(path)


def left_behind(path: Path) -> bool:
    """Whether a system or an editor put a file there: .DS_Store, ._x, Thumbs.db, x~, or anything in such a folder.

    Examples
    --------
    >>> [left_behind(Path(name)) for name in ("a/._0001.png", "__MACOSX/0001.png", "0001.png~", "a/0001.png")]
    [True, True, True, False]
    """
    hidden = any(part.startswith(".") or part.lower() in LEFT for part in path.parts)
    return hidden or path.name.endswith("~")


def read_text(path: str | Path, most: int = TEXT) -> str:
    """Text in UTF-8 of up to `most` bytes, without the mark that some editors put before it; errors as `read_json`."""
    with open(ordinary(path), "rb") as file:
        held = file.read(most + 1)
    if len(held) > most:
        raise Unreadable(f"it has more than {most:,} bytes, which no such file needs")
    try:
        return held.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is no text in UTF-8: {error}") from None


def read_json(path: str | Path) -> Any:
    """The JSON value in a file: each name once, and numbers that are finite.

    Raises
    ------
    Unreadable
        Where it is none, or something else than an ordinary file.
    OSError
        Where there is nothing, or it may not be read.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "twice.json"
    >>> _ = file.write_text('{"train": ["a"], "train": ["b"]}')
    >>> read_json(file)
    Traceback (most recent call last):
    rgbd_insight.utils.reading.Unreadable: it names 'train' twice: leave one of the two out
    """
    try:
        text = read_text(path)
        found = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
        if HALF.search(text):
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except UnicodeEncodeError as error:
        raise Unreadable(f"it holds {error.object[error.start]!r}, which is half a character") from None
    except json.JSONDecodeError as error:
        raise Unreadable(str(error)) from None
    except ValueError as error:  # ours, or a number of more digits than Python takes
        raise error if isinstance(error, Unreadable) else Unreadable(str(error)) from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise Unreadable(f"it names {next(n for n in names if names.count(n) > 1)!r} twice: leave one of the two out")
    return found


def _no_number(word: str) -> None:
    raise Unreadable(f"it holds {word}, which is no number: write null where there is none")


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables in a TOML file; errors as `read_json`."""
    try:
        return tomllib.loads(read_text(path))
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:
        raise error if isinstance(error, Unreadable) else Unreadable(str(error)) from None


@contextmanager
def open_table(path: str | Path) -> Iterator[csv.DictReader]:
    """The lines of a .csv in UTF-8, one at a time; columns have names, each another, without blanks around them.

    Raises
    ------
    Unreadable
        As soon as a line is met that is none; else as `read_json`.
    """
    try:
        with open(ordinary(path), encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, strict=True)
            table.fieldnames = names = [name.strip() for name in table.fieldnames or ()]
            if "" in names or len(set(names)) < len(names):
                raise Unreadable(f"its columns must have a name of their own each; got {', '.join(names)[:200]}")
            yield table
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is no text in UTF-8: {error}") from None
    except csv.Error as error:
        raise Unreadable(f"line {table.reader.line_num} is no line of a table: {error}") from None


@contextmanager
def open_image(path: str | Path) -> Iterator[Image]:
    """An image whose pixels are made where the ``with`` asks for them; whatever goes wrong there is `Unreadable` too.

    Raises
    ------
    Unreadable
        Where it is no image of the usual formats, is cut short, or has more than 2²⁶ pixels.
    FileNotFoundError
        Where there is nothing.
    """
    from PIL import Image  # whoever reads no image need not wait for it

    try:
        with Image.open(ordinary(path), formats=FORMATS) as image:
            if image.width * image.height > PIXELS:
                raise Unreadable(f"its {image.width:,} x {image.height:,} pixels are too many for an image: resize it")
            yield image
    except (Unreadable, FileNotFoundError):
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable(f"it is too large for an image: {error}") from None
    except Exception as error:  # each format has errors of its own for what is damaged
        raise Unreadable(str(error) or type(error).__name__) from error


def read_array(path: str | Path) -> np.ndarray:
    """The array in an .npy file that holds as many numbers as it says; no object is made. Errors as `read_json`."""
    with open(ordinary(path), "rb") as file:
        return _array(file, os.fstat(file.fileno()).st_size)


def read_arrays(path: str | Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays of an .npz file by their names; errors as `read_json`."""
    check_zip(path)
    try:
        with zipfile.ZipFile(path) as held:
            found = {}
            for name in names:
                with held.open(f"{name}.npy") as file:
                    found[name] = _array(file, held.getinfo(f"{name}.npy").file_size)
            return found
    except KeyError as error:
        raise Unreadable(str(error.args[0])) from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise Unreadable(str(error)) from None


def _array(file: BinaryIO, size: int) -> np.ndarray:
    """An array in numpy's format in a file of `size` bytes."""
    form = np.lib.format
    try:
        read = form.read_array_header_1_0 if form.read_magic(file) == (1, 0) else form.read_array_header_2_0
        shape, _, kind = read(file)
        if kind.hasobject or math.prod(shape) * kind.itemsize != size - file.tell():
            raise Unreadable(f"it says to hold {shape} of {kind}, and does not")
        file.seek(0)
        return form.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, TypeError, MemoryError) as error:
        raise error if isinstance(error, Unreadable) else Unreadable(f"it is no array of numpy: {error}") from None


def check_unfolded(path: str | Path, size: int) -> None:
    """Raise Unreadable where `size` bytes are more than a file can hold of which one could make use.

    Examples
    --------
    >>> check_unfolded(__file__, 10**9)
    Traceback (most recent call last):
    rgbd_insight.utils.reading.Unreadable: it would unfold to 1,000,000,000 bytes, more than 100 times its own
    """
    if size > LEAST + TIMES * os.stat(path).st_size:
        raise Unreadable(f"it would unfold to {size:,} bytes, more than {TIMES} times its own")


def check_zip(path: str | Path) -> None:
    """Raise Unreadable where an archive, such as .npz or what `torch.save` writes, unfolds to more than is allowed."""
    try:
        with zipfile.ZipFile(ordinary(path)) as held:
            check_unfolded(path, sum(entry.file_size for entry in held.infolist()))
    except zipfile.BadZipFile as error:
        raise Unreadable(str(error)) from None


def check_mat(path: str | Path) -> None:
    """Raise Unreadable where the compressed variables of a MATLAB file unfold to more than is allowed."""
    size, kept = 0, os.stat(ordinary(path)).st_size
    with open(path, "rb") as file:
        head = file.read(128)
        order = "big" if head[126:] == b"MI" else "little"
        while len(tag := file.read(8)) == 8:
            kind, length = (int.from_bytes(tag[i : i + 4], order) for i in (0, 4))
            held = file.read(min(length, kept))
            if kind == COMPRESSED:
                unfold, most = zlib.decompressobj(), 2**20
                while held and not unfold.eof:
                    size += len(unfold.decompress(held, most))
                    held = unfold.unconsumed_tail
                    check_unfolded(path, size)
