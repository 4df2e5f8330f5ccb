"""Files that are there whole or not at all: whatever the package writes goes through here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd


@contextmanager
def whole(path: str | Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name when the ``with`` ends well, and is removed otherwise.

    Parameters
    ----------
    path : str or Path
        The file, or the new folder, that is to be there afterwards; a file of that name is replaced. Folders above it
        are made.
    shared : bool
        Whether several processes may write `path` at a time: each then has a temporary name of its own.

    Yields
    ------
    Path
        Where to write (or which folder to make).

    Notes
    -----
    A file's bytes are on the disk before it gets its name: neither a kill nor a loss of power leaves half of it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "notes.txt"
    >>> with whole(path) as partial:
    ...     _ = partial.write_text("all of it")
    ...     path.exists()
    False
    >>> path.read_text(), [file.name for file in path.parent.iterdir()]
    ('all of it', ['notes.txt'])
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial" if shared else f"{path.name}.partial")
    _remove(partial)  # of a process that was killed
    try:
        yield partial
        if partial.is_file():
            sync(partial)
        os.replace(partial, path)
    except BaseException:
        _remove(partial)
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Force a file, or the entries of a folder, to the disk.

    Parameters
    ----------
    path : Path
        Which; of a folder, nothing is done where the system keeps no such entries (Windows).
    """
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 with line feeds, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file.
    text : str
        What is to be in it.
    """
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: object, *, sort: bool = True) -> None:
    """Write `value` to `path` as JSON, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file.
    value : JSON value
        Numbers must be finite.
    sort : bool
        Whether keys are sorted: equal values then give equal bytes.

    Raises
    ------
    ValueError
        For a number that is not finite.
    TypeError
        For what JSON does not know.
    """
    text = json.dumps(value, sort_keys=sort, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def write_parquet(path: str | Path, table: pd.DataFrame) -> None:
    """Write `table` without its index to `path` as compressed parquet, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file.
    table : DataFrame
        What is to be in it.
    """
    with whole(path) as partial:
        table.to_parquet(partial, index=False, compression="zstd")


def digest(path: str | Path) -> str:
    """SHA-256 of a file, read in pieces.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "empty"
    >>> path.touch()
    >>> digest(path)[:8]
    'e3b0c442'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
