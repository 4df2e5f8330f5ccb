"""Plant one mistake after another in a copy of the package and see whether the tests notice: `make mutants`.

Every mistake of mutants.toml names the file, the text that is replaced (it must stand there once), what it becomes, and
the tests that must fail. A mistake that only keeps the tests from being collected has not been noticed.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutants.toml")
COPIED = ("rgbd_insight", "tests", "pyproject.toml", "environment.yml", "requirements.txt", "_config.yml", "README.md")
FAILED = 1  # pytest's exit status where tests ran and some failed


@dataclass(frozen=True)
class Mutant:
    """One mistake: in `file`, `before` becomes `after`; `tests` (arguments of pytest) must notice."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


def mutants(path: Path = LIST) -> list[Mutant]:
    """The list of mistakes, in order."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**entry | {"tests": tuple(entry["tests"])}) for entry in entries]


def planted(text: str, mutant: Mutant) -> str:
    """The text of the file with the mistake in it."""
    if text.count(mutant.before) != 1:
        raise ValueError(
            f"`before` of {mutant.name!r} must stand once in {mutant.file}; it stands there "
            f"{text.count(mutant.before)} times. Bring mutants.toml up to date with the code."
        )
    return text.replace(mutant.before, mutant.after)


def copied(folder: Path, root: Path = ROOT) -> Path:
    """A working copy in `folder`: code and tests copied, all else linked."""
    for path in root.iterdir():
        if path.name in COPIED:
            ignored = shutil.ignore_patterns("__pycache__")
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, folder / path.name, **({"ignore": ignored} if path.is_dir() else {}))
        elif path.name not in (".git", ".venv", "_build"):
            (folder / path.name).symlink_to(path)
    return folder


def status(folder: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Exit status of pytest in a working copy, and the last lines that it printed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header", *tests]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, "\n".join((done.stdout + done.stderr).splitlines()[-6:])


def tried(mutant: Mutant, folder: Path) -> tuple[str, str]:
    """What became of a mistake ("caught", "missed" or "broken") and what pytest said."""
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(planted(text, mutant), encoding="utf-8")
    try:
        code, said = status(folder, mutant.tests)
    finally:
        path.write_text(text, encoding="utf-8")
    return {0: "missed", FAILED: "caught"}.get(code, "broken"), said


def main(argv: list[str] | None = None) -> int:
    """Try all mistakes, or those whose name holds a word; 0 where all are caught and the tests pass without."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only mistakes whose name holds one of these")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(argv)
    chosen = [m for m in mutants() if not asked.words or any(word in m.name for word in asked.words)]
    with tempfile.TemporaryDirectory() as base:
        free: queue.Queue[Path] = queue.Queue()
        for i in range(asked.workers):
            (folder := Path(base) / str(i)).mkdir()
            free.put(copied(folder))

        def with_copy(work, *given):
            folder = free.get()
            try:
                return work(*given, folder)
            finally:
                free.put(folder)

        with ThreadPoolExecutor(asked.workers) as pool:
            clean = sorted({m.tests for m in chosen})
            found = list(pool.map(lambda tests: with_copy(lambda t, f: status(f, t), tests), clean))
            failing = [(tests, said) for tests, (code, said) in zip(clean, found, strict=True) if code != 0]
            for tests, said in failing:
                print(f"these fail without a mistake: {' '.join(tests)}\n{said}")
            if failing:
                return 1
            caught = 0
            for mutant, (verdict, said) in zip(chosen, pool.map(lambda m: with_copy(tried, m), chosen), strict=True):
                caught += verdict == "caught"
                print(f"{verdict:7} {mutant.name}" + ("" if verdict == "caught" else f"\n{said}"), flush=True)
    print(f"{caught} of {len(chosen)} mistakes are caught")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
