"""How a features directory is named, compared and put in place. Use `features` instead."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.features.files import read_parquet, write_columns, write_sums
from rgbd_insight.features.manifest import read_manifest
from rgbd_insight.features.schema import SAMPLE_COLUMNS, FeaturesError
from rgbd_insight.utils.files import sync

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind; one extraction at a time is then up to the user
    fcntl = None

RUN_KEY = ("fusion", "seed", "epoch", "role", "about", "taps", "draws", "block", "version")


def cut(area: np.ndarray) -> float:
    """The area from which a concept counts as present, given its `area` (N,) in every image.

    Notes
    -----
    0.005 of the image; the median where more than 80 % of the images pass that (the concept is everywhere, and
    "present" then means "more of it than usual").

    Examples
    --------
    >>> cut(np.array([0.0, 0.5])), cut(np.array([0.25, 0.5, 0.75]))
    (0.005, 0.5)
    """
    return float(np.median(area)) if np.mean(area >= 0.005) > 0.8 else 0.005


def check_same(path: Path, found: dict, wanted: dict, fix: str) -> None:
    """Raise a FeaturesError naming the first key under which `found` (in `path`) is not `wanted`."""
    for key in sorted(found.keys() | wanted.keys()):
        if found.get(key) != wanted.get(key):
            shown = [s if len(s) <= 200 else s[:200] + "…" for s in (repr(found.get(key)), repr(wanted.get(key)))]
            raise FeaturesError(f"{path} was made with {key!r} = {shown[0]}, and now {shown[1]} is asked for; {fix}")


def lock(partial: Path) -> int | None:
    """Keep other processes out of an unfinished directory until the returned handle is closed."""
    if fcntl is None:
        return None
    handle = os.open(partial / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise FeaturesError(
            f"another process is writing to {partial}; wait for it, or use another `out` and join the "
            "two with ri.load(a, b)"
        ) from error
    return handle


def link(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        sync(target)


def recover(out: Path) -> None:
    """Finish what a crash left of `publish`: bring the old directory back, or delete it if the new one is there."""
    old = out.with_name(out.name + ".old")
    if old.is_dir():
        read_manifest(old, False)  # never delete or move what is not ours
        if out.exists():
            shutil.rmtree(old)
        else:
            os.rename(old, out)
    with suppress(OSError):
        os.rmdir(out)  # only succeeds on an empty directory, which a user may have made beforehand


def publish(target: Path, out: Path) -> None:
    """Put the finished directory `target` in the place of `out`, so that a crash leaves one of the two whole."""
    write_sums(target)
    for path in target.iterdir():
        sync(path)
    sync(target)
    old = out.with_name(out.name + ".old")
    if out.exists():
        os.rename(out, old)
    os.rename(target, out)
    sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def extended(old: dict | None, new: dict) -> dict:
    """A run's entry in the manifest: `new`, with what an earlier call recorded of the same run."""
    old = old or {"conditions": [], "ablations": {}, "files": {}, "purity": [], "widths": {}}
    merged = {key: old[key] | new[key] for key in ("ablations", "files", "widths")}
    return (
        new
        | merged
        | {
            "conditions": old["conditions"] + new["conditions"],
            "curves": None,
            "quantised": None,
            "purity": new["purity"] or old["purity"],
        }
    )


def fill_samples(rows: Path, out: Path | None, target: Path) -> None:
    """Write samples.parquet into `target` from the lines in `rows`; with `out`, check that it has the same ones."""
    with open(rows, encoding="utf-8") as file:
        table = pd.DataFrame([json.loads(line) for line in file], columns=list(SAMPLE_COLUMNS))
    if out is None:
        write_columns(target / "samples.parquet", {c: table[c].tolist() for c in SAMPLE_COLUMNS})
    elif not read_parquet(out / "samples.parquet")[["id", "group"]].equals(table[["id", "group"]]):
        raise FeaturesError(
            f"{out} holds other samples under the same fingerprint; make the dataset's fingerprint() "
            "depend on its samples and extract into another `out`"
        )
