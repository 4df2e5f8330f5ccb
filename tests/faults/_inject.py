"""Faults at chosen moments: a process that is killed at a file operation, or whose disk is full from there on."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

DONE, REFUSED, BAD = 0, 3, 4  # how a forked piece of work ends
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
ALLOCATES = {"open", "os.mkdir", "os.link", "os.rename"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def forked(work: Callable[[], object], log: Path | None = None) -> int:
    """Do `work` in a process of its own, forked from this one, whose imports it has; returns DONE, REFUSED, BAD or −9.

    What it says goes to `log`. REFUSED is an error in one line, of the kinds that the commands print as such.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = BAD
    try:
        code = _ended(work, log)
    finally:
        os._exit(code)


def started(work: Callable[[], object], log: Path | None = None) -> int:
    """As `forked`, without waiting; returns the process."""
    pid = os.fork()
    if pid:
        return pid
    code = BAD
    try:
        code = _ended(work, log)
    finally:
        os._exit(code)


def _ended(work: Callable[[], object], log: Path | None) -> int:
    try:
        work()
    except (ValueError, OSError, RuntimeError) as error:
        if log:
            log.write_text(f"{type(error).__name__}: {error}")
        return REFUSED
    except BaseException:
        if log:
            log.write_text(traceback.format_exc())
        return BAD
    return DONE


def at_operation(root: Path, k: int, act: Callable[[str], None], only: set[str] | None = None) -> Callable[[], int]:
    """From now on, this process calls `act` before its k-th change of a file below `root`; returns the counter.

    Python announces every operation to an audit hook before it is done, whichever module asks for it; `os.fsync`,
    which it does not announce, is counted too.
    """
    count, home = [0], str(root)

    def seen(event: str) -> None:
        if only is None or event in only:
            count[0] += 1
            if count[0] >= k:
                act(event)

    def hook(event: str, args: tuple) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(path, str | bytes | os.PathLike) and flags & WRITES and os.fspath(path).startswith(home):
                seen(event)
        elif event in CHANGES:
            path, *rest = args
            relative = event in ("os.remove", "os.rmdir") and rest[0] != -1  # as rmtree names them
            if relative or (isinstance(path, str | os.PathLike) and os.fspath(path).startswith(home)):
                seen(event)

    fsync = os.fsync

    def counted(handle: int) -> None:
        seen("fsync")
        fsync(handle)

    os.fsync = counted
    sys.addaudithook(hook)
    return lambda: count[0]


def killing(root: Path, k: int, work: Callable[[], object]) -> Callable[[], object]:
    """`work`, killed with SIGKILL at its k-th file operation below `root`."""

    def dying() -> None:
        at_operation(root, k, lambda _: os.kill(os.getpid(), signal.SIGKILL))
        work()

    return dying


def full(root: Path, k: int, work: Callable[[], object]) -> Callable[[], object]:
    """`work` on a disk that is full from its k-th operation below `root` on that needs room."""

    def refuse(event: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def failing() -> None:
        at_operation(root, k, refuse, ALLOCATES)
        work()

    return failing


def limited(size: int, work: Callable[[], object]) -> Callable[[], object]:
    """`work` where no file may grow beyond `size` bytes: libraries that write by themselves meet it too."""
    import resource

    def failing() -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            work()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return failing


def operations(root: Path, work: Callable[[], object], only: set[str] | None = None) -> int:
    """How many operations below `root` `work` takes; done in a process of its own."""
    read, write = os.pipe()

    def counting() -> None:
        count = at_operation(root, 1 << 30, lambda _: None, only)
        work()
        os.write(write, str(count()).encode())

    code = forked(counting)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    if code != DONE:
        raise AssertionError(f"the work without a fault ended with {code}")
    return int(text)
