"""The fault campaign, `make faults`: kills, flipped bytes, full disks, two writers at once, readers meanwhile,
errors inside networks, every command typed and every public function called wrongly.

A short form of it is a test. Every fault must end in one line that names a file or a process, or in the same bytes as
without it; what is left over by a kill must be gone when the same work was done again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import torch

from rgbd_insight.features import FeaturesError, load, write_quantised
from rgbd_insight.models import build
from rgbd_insight.models import load as load_model
from rgbd_insight.training import state
from tests.faults import _work
from tests.faults._commands import WORDS, malformed_commands
from tests.faults._forward import forwards
from tests.faults._inject import (
    ALLOCATES,
    BAD,
    DONE,
    REFUSED,
    forked,
    full,
    killing,
    limited,
    operations,
    started,
)
from tests.faults._malformed import malformed
from tests.faults._work import WORKS, Work, contents
from tests.features.test_features import written

KILLS = {  # how many in the long form; in the short one a fraction of them
    "extract": 60,
    "extract a second run": 120,
    "copy": 40,
    "train": 40,
    "convert nyuv2": 30,
    "convert sunrgbd": 20,
    "campaign": 24,
    "report": 20,
    "tables": 20,
}
FLIPS, SHORT = 2000, 12
LIMITS = (0, 64, 700, 3000, 20000)  # bytes that a file may have


def prepared(work: Work, at: Path) -> Path:
    """A new folder with what the work needs."""
    at.mkdir()
    work.prepare(at)
    return at


def spread(n: int, count: int) -> list[int]:
    """`count` of the operations 1 to n, from the first to the last; some twice where there are fewer."""
    return [round(x) for x in np.linspace(1, n, count)]


def kills(work: Work, home: Path, count: int) -> Counter:
    """Kill the work at `count` of its file operations; what is there can be read, and the work can be done again."""
    template = prepared(work, home / "template")
    work.do(shutil.copytree(template, home / "warm"))  # what is imported or made on the way is then there for all
    whole = shutil.copytree(template, home / "whole")
    n = operations(whole, partial(work.do, whole))
    wanted, found = contents(whole), Counter()
    for i, k in enumerate(spread(n, count)):
        at = shutil.copytree(template, home / f"at{i}")
        code = forked(killing(at, k, partial(work.do, at)), home / "log")
        found["kills" if code == -signal.SIGKILL else "ended before"] += 1
        steps = {"unreadable after a kill": partial(work.read, at), "not to be done again": partial(work.do, at)}
        for what, again in steps.items():
            if forked(again, home / "log") != DONE:
                found[what] += 1
                print(f"{work.name}, operation {k} of {n}: {what}: {(home / 'log').read_text()}", file=sys.stderr)
        left = contents(at)
        if left != wanted:
            found["other bytes"] += 1
            print(f"{work.name}, operation {k}: {sorted(left.items() ^ wanted.items())[:4]}", file=sys.stderr)
        shutil.rmtree(at)
    return found


def disks(work: Work, home: Path, count: int) -> Counter:
    """Fill the disk at `count` moments, and limit the size of files: an error that names a path, nothing damaged."""
    template = prepared(work, home / "template")
    work.do(shutil.copytree(template, home / "warm"))  # what is imported or made on the way is then there for all
    whole = shutil.copytree(template, home / "whole")
    n = operations(whole, partial(work.do, whole), ALLOCATES)
    wanted, found = contents(whole), Counter()
    faults = [partial(full, k=k) for k in spread(n, count)]
    faults += [partial(limited, size) for size in LIMITS[:: 1 if count > 4 else 2]]
    for i, fault in enumerate(faults):
        at = shutil.copytree(template, home / f"at{i}")
        do = partial(work.do, at)
        code = forked(fault(root=at, work=do) if fault.func is full else fault(do), home / "log")
        said = (home / "log").read_text() if code == REFUSED else ""
        found["full disks" if code == REFUSED else "enough room" if code == DONE else "crashes on a full disk"] += 1
        if code == REFUSED and not ("cannot be written" in said and "MiB are free" in said and str(at) in said):
            found["a full disk that is not explained"] += 1
            print(f"{work.name}: {said}", file=sys.stderr)
        elif code == BAD:
            print(f"{work.name}: {(home / 'log').read_text()}", file=sys.stderr)
        for what, again in {"unreadable": partial(work.read, at), "not to be done again": do}.items():
            if forked(again, home / "log") != DONE:
                found[f"{what} after a full disk"] += 1
                print(f"{work.name}, fault {i}: {what}: {(home / 'log').read_text()}", file=sys.stderr)
        if contents(at) != wanted:
            found["other bytes after a full disk"] += 1
            print(f"{work.name}: {sorted(contents(at).items() ^ wanted.items())[:4]}", file=sys.stderr)
        shutil.rmtree(at)
    return found


def _values(folder: Path, verify: bool) -> list:
    features = load(folder, verify=verify)
    got = [features.areas, features.samples.to_numpy(), features.concepts.to_numpy(), features.present]
    for run in features.runs.index:
        got += [features.curves(run), features.purity(run), features.ablations(run), features.execution]
        got += [features.tensor(run, key) for keys in features.entry(run)["files"].values() for key in keys]
        got += [features.predictions(run, condition) for condition in features.conditions(run)]
    return got


def flips(home: Path, count: int) -> Counter:
    """Flip bytes of every kind of file: named where digests are compared, and never another's error."""
    written(home / "f")
    write_quantised(load(home / "f"), home / "q", units=3)
    _work.learn(home, epochs=1)
    files = [path for folder in ("f", "q", "run") for path in sorted((home / folder).iterdir())]
    files = [path for path in files if path.name != "curves.parquet"]
    random, found = np.random.default_rng(0), Counter()
    model = build("sum", classes=1, width=8)
    wanted = load_model(home / "run" / "epoch-0001.safetensors").state_dict()
    for i in range(count):
        path = files[i % len(files)]
        good = path.read_bytes()
        # half of them in the first kilobyte, where structure is
        place = int(random.integers(min(len(good), 1024) if i // len(files) % 2 else len(good)))
        damaged = bytes([good[place] ^ int(random.integers(1, 256))])
        path.write_bytes(good[:place] + damaged + good[place + 1 :])
        found["flips"] += 1
        try:
            if path.parent.name == "run":
                _flipped_weights(path, found, wanted)
            else:
                _flipped_features(path, found)
        finally:
            path.write_bytes(good)
    del model
    return found


def _flipped_features(path: Path, found: Counter) -> None:
    for verify in (True, False):
        try:
            _values(path.parent, verify)
        except FeaturesError as error:
            if str(path.parent) not in str(error) or (verify and path.name not in str(error)):
                found["flips blamed on another file"] += 1
                print(f"{path.name}: {error}", file=sys.stderr)
        except Exception as error:
            found["flips that end in another's error"] += 1
            print(f"{path.name}, verify={verify}: {error!r}", file=sys.stderr)
        else:
            if verify:
                found["flips not noticed"] += 1
                print(f"{path.name}: not noticed", file=sys.stderr)


def _flipped_weights(path: Path, found: Counter, wanted: dict) -> None:
    try:
        if path.name == state.NAME:
            state.read(path.parent)
        else:
            got = load_model(path).state_dict()
            if path.name == "epoch-0001.safetensors" and all(torch.equal(got[k], wanted[k]) for k in wanted):
                return  # a space in the header became another white space
    except ValueError as error:
        if path.name not in str(error):
            found["flips blamed on another file"] += 1
            print(f"{path.name}: {error}", file=sys.stderr)
    except Exception as error:
        found["flips that end in another's error"] += 1
        print(f"{path.name}: {error!r}", file=sys.stderr)
    else:
        found["flips not noticed"] += 1
        print(f"{path.name}: not noticed", file=sys.stderr)


def pairs(home: Path, count: int, only: tuple[str, ...] | None = None) -> Counter:
    """Two writers of every kind at once: each has its result or is told who is writing, and nothing is mixed."""
    kinds = {
        "extract": [partial(_work.write_run, seed=seed) for seed in (0, 1)],
        "copy": [_work.copy] * 2,
        "train": [partial(_work.learn, seed=seed, epochs=1) for seed in (0, 1)],
        "convert nyuv2": [_work.convert] * 2,
        "convert sunrgbd": [_work.convert_sun] * 2,
        "campaign": [_work.campaign] * 2,
        "report": [_work.report] * 2,
        "tables": [partial(_work.tables, name=name) for name in ("a", "b")],
    }
    found = Counter()
    for kind, works in kinds.items():
        if only and kind not in only:
            continue
        works[0](prepared(WORKS[kind], home / f"{kind} warm"))
        for i in range(count):
            at = prepared(WORKS[kind], home / f"{kind} {i}")
            pids = [started(partial(work, at), home / f"log{j}") for j, work in enumerate(works)]
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
            found["pairs"] += 1
            found["writers told to wait"] += codes.count(REFUSED)
            wrong = _mixed(kind, at, works, codes, home)
            if wrong:
                found["pairs gone wrong"] += 1
                print(f"{kind} {i}: {codes}, {wrong}", file=sys.stderr)
            shutil.rmtree(at)
    return found


def _mixed(kind: str, at: Path, works: list, codes: list[int], home: Path) -> str:
    """What is wrong after two writers: one that failed unexplained, or a result that is not that of who said ok."""
    words = ("another process is writing", "must be a new folder", "must be empty or hold this run")
    for j, code in enumerate(codes):
        said = (home / f"log{j}").read_text() if code in (REFUSED, BAD) else ""
        if code == BAD or (code == REFUSED and not any(word in said for word in words)):
            return said
    if DONE not in codes:
        return "nobody wrote"
    alone = prepared(WORKS[kind], home / "alone")
    for work, code in zip(works, codes, strict=True):
        if code == DONE and forked(partial(work, alone), home / "log0") != DONE:
            return (home / "log0").read_text()
    got, wanted = contents(at), contents(alone)
    shutil.rmtree(alone)
    return "" if got == wanted else f"{sorted({*got} ^ {*wanted})[:4]}"


def readers(home: Path, runs: int) -> Counter:
    """Read a directory again and again while runs are added to it."""
    _work.write_run(home)

    def adding() -> None:
        for seed in range(1, runs + 1):
            _work.write_run(home, seed)

    pid, found = started(adding, home / "log"), Counter()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        try:
            _work.read_all(home)
        except FeaturesError as error:
            found["readers told of damage that is none"] += 1
            print(error, file=sys.stderr)
        found["reads meanwhile"] += 1
    if len(load(home / "f").runs) != runs + 1:
        found["runs lost meanwhile"] += 1
    return found


GOOD = {
    "kills",
    "ended before",
    "full disks",
    "enough room",
    "flips",
    "pairs",
    "writers told to wait",
    "reads meanwhile",
    "errors in forward",
    "called less often",
    "functions",
    "malformed calls",
    "malformed calls refused",
    "malformed calls fine",
    "malformed commands",
    "malformed commands refused",
    "malformed commands fine",
    *(f"malformed words: {kind}" for kind in WORDS),
    *(f"malformed: {kind}" for kind in ("type", "number", "name", "values", "names", "shape", "members")),
}


def run(short: bool = False) -> dict[str, dict[str, int]]:
    """Everything; the counts of each part."""
    counts: dict[str, dict[str, int]] = {}
    cheap = ("extract a second run", "copy", "report", "tables")
    with tempfile.TemporaryDirectory(prefix="faults-") as base:
        home = Path(base).resolve()

        def part(name: str, do: object, *given: object) -> None:
            begun, place = time.monotonic(), home / name.replace(" ", "-")
            place.mkdir()
            of_work = given and isinstance(given[0], Work)
            counts[name] = dict(do(*given[:1], place, *given[1:]) if of_work else do(place, *given))
            print(f"{name}: {json.dumps(counts[name])} ({time.monotonic() - begun:.0f} s)", flush=True)

        for name, count in KILLS.items():
            if not short or name in cheap:
                part(f"kill {name}", kills, WORKS[name], max(4, count // SHORT) if short else count)
                part(f"fill {name}", disks, WORKS[name], 2 if short else min(count, 20))
        part("flip", flips, FLIPS // 20 if short else FLIPS)
        part("two at once", pairs, 2 if short else 20, ("train", "convert sunrgbd", "tables") if short else None)
        part("read meanwhile", readers, 5 if short else 40)
        if not short:  # tests of their own have short forms of these
            part("fail in forward", forwards, 150)
            part("type wrongly", malformed_commands)
            part("call wrongly", malformed)
    return counts


def bad(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    """What must be 0, and is not."""
    total = sum((Counter(part) for part in counts.values()), Counter())
    return {what: n for what, n in total.items() if what not in GOOD and n}


def main() -> int:
    """Run it, print the counts, and return whether a fault was not borne."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a part of it, in seconds")
    counts = run(parser.parse_args().short)
    total = sum((Counter(part) for part in counts.values()), Counter())
    print(json.dumps({"total": dict(total), "not borne": bad(counts)}, indent=1))
    return int(bool(bad(counts)))


if __name__ == "__main__":
    sys.exit(main())
