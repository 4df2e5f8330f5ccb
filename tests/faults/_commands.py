"""Malformed words for every option of every command: each in one line, and nothing written."""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import torch

from rgbd_insight.cli import campaign as campaigns
from rgbd_insight.cli import commands, extract, main, train, validate
from rgbd_insight.models import build, save
from tests.faults import _work
from tests.faults._malformed import Hang, bounded, limited
from tests.features.test_features import written

SECONDS = 30  # beyond which a command hangs
HUGE = "9" * 30
WORDS = {  # kind -> what may be given for any option
    "nothing": ["", " ", "-", "--"],
    "number": ["-1", "0", "1.5", "nan", "inf", "1e20", HUGE, "9" * 5000, "0x10", "１", "-" + HUGE],
    "name": [
        "no such thing",
        "x" * 300,
        "x" * 5000,
        "<b>$\\frac0$\n",
        "\x1b[31mred",
        "caf\udce9",
        "a\0b",
        "{stream",
        "%s",
    ],
    "form": [
        "a:b",
        "scenes:3",
        "folder:",
        "folder:no such",
        "folder:file",
        "folder:folder",
        "no_module:f",
        "os:no",
        "1x0",
    ],
    "place": ["file", "folder", "fifo", "/dev/zero", "/dev/null", "dangling", "loop", "dangling/inside", "file/inside"],
    "folder": [".", "..", "/", "../..", "x:y", "~", "damaged", "damaged.json", "empty.json"],
}
HEAVY = {  # what a command does with options that are right, where that takes long
    train: ("train", "everything"),
    extract: ("extract",),
    validate: ("validate",),
    campaigns: ("everything", "run_all", "run_claims", "compare", "position_tables", "three_modalities"),
}
GOOD: dict[str, list[str]] = {  # words besides the one that is wrong, so that nothing else is
    "train": ["--fusion", "rgb", "--n", "4", "--width", "8", "--epochs", "1", "--out", "new"],
    "extract": ["--model", "run", "--n", "4", "--out", "new"],
    "taps": ["run"],
    "audit": ["f", "--permutations", "20"],
    "claims": ["f", "--results", "results", "--only", "7"],
    "validate": ["--quick", "--out", "new"],
    "data check": ["folder"],
    "data nyuv2": ["file", "new"],
    "data sunrgbd": ["folder", "new"],
    "campaign ship": ["new"],
}


@dataclass(frozen=True)
class Case:
    """One command with one word that is wrong: its name, the option, the kind of the word, the word, and all words."""

    command: str
    option: str
    kind: str
    word: str
    words: tuple[str, ...]


class Reached(Exception):
    """Everything was found right: what is done then takes long, and is tested elsewhere."""


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that can be typed, and what reads its options."""

    def below(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        parts = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in parts:
            for word, sub in action.choices.items():
                yield from below(f"{name} {word}".strip(), sub)
        if not parts:
            yield name, parser

    yield from below("", commands._parser())


def cases() -> Iterator[Case]:
    """Every option and place of every command with every word, without one, and options that there are not."""
    for name, parser in parsers():
        good = GOOD.get(name, [])
        for action in parser._actions:
            option = action.option_strings[-1] if action.option_strings else action.dest
            if option == "--help":
                continue
            if action.option_strings and action.nargs == 0:
                yield _case(name, option, "form", "x", [*good, f"{option}=x"])
                continue
            if action.option_strings:
                yield _case(name, option, "nothing", "(none)", [*good, option])
            for kind, words in WORDS.items():
                for word in words:
                    yield _case(name, option, kind, word, _with(good, action, word, parser))
        yield _case(name, "--no-such-option", "name", "x", [*good, "--no-such-option", "x"])
        yield _case(name, "no-such-place", "name", "one too many", [*good, "--", *["one too many"] * 3])


def _case(name: str, option: str, kind: str, word: str, words: Sequence[str]) -> Case:
    return Case(name, option, kind, word, (*name.split(), *words))


def _with(good: list[str], action: argparse.Action, word: str, parser: argparse.ArgumentParser) -> list[str]:
    """`good` with the word in the place of what it has there."""
    places = [a for a in parser._actions if not a.option_strings]
    if not action.option_strings:
        at = places.index(action)
        given = [*good[: len(places)], *["new"] * (len(places) - len(good))]
        return [*good[len(places) :], "--", *given[:at], word, *given[at + 1 : len(places)]]
    option = action.option_strings[-1]
    rest = list(good)
    if option in rest:
        del rest[rest.index(option) : rest.index(option) + 2]
    return [*rest, f"{option}={word}"]


def prepare(home: Path) -> None:
    """What the words name: a file, folders, links that lead nowhere, a pipe, a run, features, damaged ones."""
    torch.set_num_threads(1)
    (home / "file").write_text("")
    (home / "folder").mkdir()
    os.mkfifo(home / "fifo")
    os.symlink("nowhere/at/all", home / "dangling")
    os.symlink("loop", home / "loop")
    save(build("rgb", classes=28, width=8), home / "run" / "epoch-0001.safetensors")
    written(home / "f")
    _work.tables(home)
    shutil.copytree(home / "f", home / "damaged")
    (home / "damaged" / "manifest.json").write_text("{")
    (home / "damaged.json").write_text("{")
    (home / "empty.json").write_text("{}")


@contextmanager
def _light() -> Iterator[None]:
    """What takes long ends as soon as it is reached."""
    with ExitStack() as stack:
        for module, names in HEAVY.items():
            for name in names:
                stack.enter_context(mock.patch.object(module, name, side_effect=Reached))
        yield


def verdict(case: Case) -> tuple[str, str]:
    """How a command ends, "refused" or "fine" where it is well, and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with limited(SECONDS), redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = main(list(case.words))
    except Hang:
        return "hang", ""
    except BaseException as error:
        return "end in a traceback", repr(error)
    finally:
        plt.close("all")
    said = err.getvalue()
    if code == 0 or "Reached" in said or (code == 1 and not said):
        return "fine", out.getvalue()
    if "no check foresaw" in said:
        return "were not foreseen", said
    if (
        code not in (1, 2)
        or not said.startswith("rgbd-insight: ")
        or said.count("\n") != 1
        or not said[:-1].isprintable()
    ):
        return "end in other than a line", f"{code}: {said}"
    quoted = any(name in repr(case.word) for name in re.findall("'(.+?)'", said))
    begun = re.sub(r"\W+", " ", case.word)[:20].strip()
    by_word = quoted or begun in re.sub(r"\W+", " ", said)
    if case.option not in said and not by_word and not re.search("[`/]", said):  # by itself, its value, or the file
        return "are not named", said
    return "refused", said


def malformed_commands(home: Path, every: int = 1) -> Counter:
    """Give each `every`-th malformed word to the commands, and count how they end."""
    prepare(home)
    found, begun, before = Counter(), Path.cwd(), None
    os.chdir(home)
    try:
        before = _there(home)
        with _light(), bounded():
            for i, case in enumerate(cases()):
                if i % every == 0:
                    _judge(case, home, before, found)
    finally:
        os.chdir(begun)
    return found


def _there(home: Path) -> dict[Path, int]:
    """Everything below, with its time of change."""
    return {path: path.lstat().st_mtime_ns for path in home.rglob("*") if "__pycache__" not in path.parts}


def _judge(case: Case, home: Path, before: dict[Path, int], found: Counter) -> None:
    how, said = verdict(case)
    found["malformed commands"] += 1
    found[f"malformed words: {case.kind}"] += 1
    found[f"malformed commands {how}"] += 1
    after = _there(home)
    changed = {path for path in after if after[path] != before.get(path)}
    gone = before.keys() - after.keys()
    if gone or (changed and how != "fine"):
        found["malformed commands that change files"] += 1
    if how not in ("refused", "fine") or gone or (changed and how != "fine"):
        print(
            f"{case.command} {case.option}={case.word[:40]!r}: {how}: {said[:300]} {sorted(changed)[:3]}",
            file=sys.stderr,
        )
    elif os.environ.get("SHOW"):
        print(f"{how}: {case.command} {case.option}={case.word[:40]!r}: {said[:200]!r}", file=sys.stderr)
    for path in sorted(after.keys() - before.keys(), reverse=True):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    before.update({path: path.lstat().st_mtime_ns for path in (home, *changed) if path in before and path.exists()})
