"""Images, networks, features, audits, the ledger of claims, the validation of the measures, campaigns."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import NoReturn

from safetensors import SafetensorError

from rgbd_insight.cli import audit, campaign, claims, data, extract, published, train, validate
from rgbd_insight.utils.messages import say, unforeseen

UNREAD = 141  # what a shell makes of SIGPIPE, which Windows lacks
COMMANDS = {
    "data": data.add,
    "published": published.add,
    "taps": extract.add_taps,
    "train": train.add,
    "extract": extract.add_extract,
    "audit": audit.add,
    "claims": claims.add,
    "validate": validate.add,
    "campaign": campaign.add,
}


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : list of str, optional
        The words after the program's name; None takes them from the shell.

    Returns
    -------
    int
        0; 1 for an error in the data, 2 for one in the command, 130 when interrupted, 141 when nobody reads on what it
        prints, 143 when told to end.

    Examples
    --------
    >>> main(["audit", "features/nothing_here_yet"])
    1
    """
    with suppress(ValueError):  # not in the main thread: whoever started it sees to signals
        signal.signal(signal.SIGTERM, _end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without a sign for what is printed shows another
            stream.reconfigure(errors="replace")
    try:
        _check_words(sys.argv[1:] if argv is None else argv)
        options = _parser().parse_args(argv)
        options.command(options)
        print(end="", flush=True)
    except _Ended as end:
        return say(end, 128 + signal.SIGTERM)
    except _UsageError as error:
        return say(error, 2)
    except data.Found:
        return 1
    except KeyboardInterrupt as stop:
        return say(str(stop) or "stopped; the same command goes on", 130)
    except (ValueError, OSError, RuntimeError, FloatingPointError, SafetensorError) as error:
        return UNREAD if isinstance(error, BrokenPipeError) and _nobody_reads() else say(error, 1)
    except Exception as error:
        return unforeseen(error)
    return 0


class _Ended(BaseException):
    """The system, or whoever manages the machine, asks the process to end."""


def _end(*_: object) -> NoReturn:
    raise _Ended("told to end (SIGTERM); what is finished is kept, and the same command goes on")


def _nobody_reads() -> bool:
    """Whether it is the output that is closed, as by ``| head``; what is left of it is then dropped."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python itself writes it once more at its end
        return True
    return False


class _UsageError(ValueError):
    """The command cannot be read."""


def _check_words(words: list[str]) -> None:
    """No name has a NUL byte in it; and argparse loses a value that is "--"."""
    for word in words:
        if "\0" in word or (word.startswith("--") and word.endswith("=--")):
            raise _UsageError(f"an option must have no NUL byte in it, and not be '--'; got {word[:60]!r}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage in front of it."""
        raise _UsageError(f"{message}; `{self.prog} --help` lists the options")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="rgbd-insight", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="|".join(COMMANDS))
    for add in COMMANDS.values():
        add(commands)
    return parser
