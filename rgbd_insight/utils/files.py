"""Files that are there whole or not at all: whatever the package writes goes through here."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind; one writer at a time is then up to the user
    fcntl = None

LOCK, PARTIAL = "lock", ".partial"
PATIENCE, PAUSE = 60.0, 0.02  # seconds: how long a writer of one file waits for another, and how often it looks
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_CODE = re.compile(r"os error (\d+)")  # as libraries written in Rust put it


class InUse(ValueError):
    """Another process is writing there: says which."""


class NotWritten(OSError):
    """What was to be written is not, for want of room: says where, how much there was, and what is safe."""


class Lock:
    """A folder kept from other processes until `release`, or until this process ends, however it ends.

    Parameters
    ----------
    folder : str or Path
        Made where there is none; holds the file ``lock``, which goes with the release.
    patience : float, optional
        Seconds to wait for a process that has it.

    Raises
    ------
    InUse
        Where another process has it; it is named.

    Notes
    -----
    An advisory lock of the system: it ends with the process, so that nothing has to be cleared away after a kill. Where
    the system or the file system has none, nobody is kept out.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with Lock(folder):
    ...     Lock(folder)
    Traceback (most recent call last):
    rgbd_insight.utils.files.InUse: another process is writing to ...: process ... wait for it, or name another place
    """

    def __init__(self, folder: str | Path, *, patience: float = 0.0) -> None:
        self.path, self._handle = Path(folder) / LOCK, None
        until = time.monotonic() + patience
        with room(self.path.parent):
            while self._handle is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # who had it has just taken the folder away
                    self._take(until)

    def _take(self, until: float) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 200).decode(errors="replace").strip() or "a process"
            os.close(handle)
            if time.monotonic() >= until:
                raise InUse(
                    f"another process is writing to {self.path.parent}: {holder}; wait for it, or name another place"
                ) from None
            time.sleep(PAUSE)
            return
        except OSError:
            pass  # a file system without locks
        if os.path.samestat(os.fstat(handle), os.stat(self.path)):  # else it was released and taken away meanwhile
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()} ({Path(sys.argv[0]).name})".encode())
            self._handle = handle
        else:
            os.close(handle)

    def release(self) -> None:
        """Let others in, and leave nothing behind but the folder."""
        if self._handle is not None:
            with suppress(OSError):  # while it is held: whoever opened it before notices
                if os.path.samestat(os.fstat(self._handle), os.stat(self.path)):
                    self.path.unlink()
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def whole(path: str | Path, *, patience: float = PATIENCE) -> Iterator[Path]:
    """Yield a temporary path that takes the name `path` when the ``with`` ends well, and is removed otherwise.

    Parameters
    ----------
    path : str or Path
        The file, or the new folder, that is to be there afterwards; a file of that name is replaced. Folders above it
        are made.
    patience : float, optional
        Seconds to wait for another process that is writing `path`.

    Yields
    ------
    Path
        Where to write (or which folder to make): inside the folder `path`.partial, together with whatever a library
        puts beside what it writes.

    Raises
    ------
    InUse
        Where another process is still writing `path`.
    NotWritten
        Where there is no room for it.
    ValueError
        Where something else than an unfinished write has the name of that folder, or `path` is a device or a pipe.

    Notes
    -----
    A file's bytes are on the disk before it gets its name: neither a kill nor a loss of power leaves half of it. What
    a kill leaves is cleared away by the next write, or by `sweep`.

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
    home = path.with_name(path.name + PARTIAL)
    partial = home / path.name
    if home.is_file():
        home.unlink()  # as an earlier version left it
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path} is a device, a pipe or a socket, which a file would replace: name another place")
    with nothing_left(path.parent), room(path):
        lock = Lock(home, patience=patience)
        try:
            _clear(home, path.name)
            yield partial
            if partial.is_file():
                sync(partial)
            os.replace(partial, path)
        finally:
            try:
                _clear(home, path.name)
            finally:
                lock.release()
                with suppress(OSError):  # the next process is in there already
                    home.rmdir()


def sweep(folder: str | Path) -> None:
    """Remove what writes into `folder` that were killed have left, and their lock on it; what is under way stays.

    Parameters
    ----------
    folder : str or Path
        Not searched below.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "a.txt.partial").mkdir()
    >>> sweep(folder)
    >>> list(folder.iterdir())
    []
    """
    for home in Path(folder).glob(f"*{PARTIAL}"):
        name = home.name.removesuffix(PARTIAL)
        if home.is_dir() and all(_is_ours(path, name) for path in home.iterdir()):
            with suppress(InUse), Lock(home):
                _clear(home, name)
            with suppress(OSError):
                home.rmdir()
    if (Path(folder) / LOCK).exists():
        with suppress(InUse):
            Lock(folder).release()


def _is_ours(path: Path, name: str) -> bool:
    return path.name in (name, LOCK) or path.name.startswith(".tmp")  # safetensors' own temporary files


def _clear(home: Path, name: str) -> None:
    """Empty the folder of an unfinished write, but for the lock on it."""
    for path in home.iterdir():
        if not _is_ours(path, name):
            raise ValueError(f"{home} is no unfinished write of {name}: it holds {path.name!r}; move it away")
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Inside the ``with``, folders that are made on the way to `folder` and stay empty go where an error ends the work.

    Parameters
    ----------
    folder : Path
        What is to be written to.

    Examples
    --------
    >>> import tempfile
    >>> home = Path(tempfile.mkdtemp())
    >>> with suppress(ValueError), nothing_left(home / "a" / "b"):
    ...     (home / "a" / "b").mkdir(parents=True)
    ...     raise ValueError
    >>> list(home.iterdir())
    []
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):  # it is not empty: what is finished is kept
                path.rmdir()
        raise


@contextmanager
def room(path: Path, safe: str = "what was there before is as it was") -> Iterator[None]:
    """Inside the ``with``, a full disk (or a quota, or a limit on files) ends in an error that says what is safe.

    Parameters
    ----------
    path : Path
        What is being written.
    safe : str, optional
        What is kept.

    Raises
    ------
    NotWritten
        In the place of the error of whatever library noticed.
    """
    try:
        yield
    except Exception as error:  # libraries have errors of their own kinds for it
        code = getattr(error, "errno", None) or next((int(n) for n in _CODE.findall(str(error))), None)
        if code not in FULL:
            raise
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        free = shutil.disk_usage(there).free / 2**20
        raise NotWritten(
            f"{path} cannot be written: {os.strerror(code).lower()}, {free:,.1f} MiB are free there; {safe}. Make "
            "room, and do the same again"
        ) from error


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


def as_json(value: object, *, sort: bool = True) -> str:
    """`value` as the text that `write_json` writes; parameters and errors as there."""
    return json.dumps(value, sort_keys=sort, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


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
    write_text(path, as_json(value, sort=sort))


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
