"""A features directory as a whole: its manifest read and checked, its parts compared, put in place. Use `features`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from rgbd_insight.features.checks import first_wrong, refuse
from rgbd_insight.features.files import (
    CELLS,
    FORMAT,
    MANIFEST,
    SCHEMA,
    WITH_CELLS,
    check_safetensors,
    inside,
    plain,
    read_json,
    read_parquet,
    verify_sums,
    write_columns,
    write_sums,
)
from rgbd_insight.features.schema import SAMPLE_COLUMNS, FeaturesError, RunId, TensorKey
from rgbd_insight.utils.files import LOCK, PARTIAL, PAUSE, InUse, Lock, as_json, sync

PROGRESS, COMPLETE, OLD = "progress.json", "complete", "old"  # what the folder beside a directory may hold
_OURS = (LOCK, COMPLETE, OLD)
PATIENCE = 5.0  # seconds that a reader waits for a directory that is being put in place
T = TypeVar("T")

IDENTITY = ("weights", "adapt")  # digests of what the run was made with
LATER = ("task", *IDENTITY)  # which runs of earlier versions lack
RUN_KEY = ("fusion", "seed", "epoch", "role", "about", "taps", "draws", "isolation", "block", "version", *LATER)
ANOTHER = "another network needs another name: seed, epoch, role or fusion (--seed, --epoch, --role, --name), or `out`"


def read_manifest(folder: Path, verify: bool) -> dict:
    """The checked manifest of a features directory; with `verify`, after comparing every file with its digest."""
    if not folder.is_dir():
        asides = (folder.with_name(folder.name + PARTIAL) / OLD, folder.with_name(folder.name + ".old"))
        old = next((aside for aside in asides if aside.is_dir()), None)
        fix = (
            f"a crash left {old}: move it to {folder}"
            if old
            else f"make it with ri.extract(model, data, taps, out={str(folder)!r})"
        )
        raise FeaturesError(f"{folder} is not a directory; {fix}")
    path = inside(folder, MANIFEST)
    manifest = read_json(path, "name a directory that ri.extract wrote, or restore the file")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FeaturesError(f"{path} was not written by rgbd_insight; name a directory that ri.extract wrote")
    if manifest.get("schema") != (WITH_CELLS if "cells" in manifest else SCHEMA):
        raise FeaturesError(
            f"{path} has schema {manifest.get('schema')!r} and this version of rgbd_insight reads {SCHEMA}, and "
            f"{WITH_CELLS} where there are cells; install the matching version or extract again"
        )
    if verify:
        verify_sums(folder)
    refuse(path, first_wrong(manifest), "restore the file")
    _check_files(folder, manifest)
    return manifest


def read_execution(folder: Path) -> list[dict]:
    """What execution.json says of each run."""
    path = inside(folder, "execution.json")
    found = read_json(path, "restore it from its source or extract again")
    runs = found.get("runs") if isinstance(found, dict) else None
    right = isinstance(runs, list) and all(isinstance(run, dict) and isinstance(run.get("run"), str) for run in runs)
    refuse(
        path, None if right else "it must hold runs, each with its name", "restore it from its source or extract again"
    )
    return runs


def concept_table(manifest: dict) -> pd.DataFrame:
    """Concepts as a DataFrame: name, family, kind, visible_<modality> (NaN where unknown), cut; index k."""
    names = [m["name"] for m in manifest["modalities"]]
    rows = []
    for concept in manifest["concepts"]:
        visible = concept["visible"] or {}
        seen = {f"visible_{name}": visible.get(name, np.nan) for name in names}
        rows.append({c: concept[c] for c in ("name", "family", "kind")} | seen | {"cut": concept["cut"]})
    columns = ["name", "family", "kind", *(f"visible_{name}" for name in names), "cut"]
    return pd.DataFrame(rows, columns=columns).rename_axis("k")


def run_table(manifest: dict) -> pd.DataFrame:
    """Runs as a DataFrame ordered by fusion, seed, epoch and role: those columns and data; index run id."""
    columns = ["fusion", "seed", "epoch", "role"]
    rows = sorted(([run, *(entry[c] for c in columns)] for run, entry in manifest["runs"].items()), key=lambda r: r[1:])
    table = pd.DataFrame(rows, columns=["run", *columns]).set_index("run")
    return table.assign(data=manifest["name"])


def _check_files(folder: Path, manifest: dict) -> None:
    listed = ["samples.parquet", "concepts.safetensors", "execution.json", *([CELLS] if "cells" in manifest else [])]
    for entry in manifest["runs"].values():
        cells = entry.get("cells") or {"files": {}}
        listed += [*cells["files"], *cells.get("profiles", {})]
        listed += [*entry["files"], *([entry["curves"]] if entry.get("curves") else [])]
    for name in listed:
        path = plain(folder, name, "the manifest lists it; restore it or extract again")
        if name.endswith(".safetensors"):
            check_safetensors(path)


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


def earlier_entry(out: Path, manifest: dict | None, head: dict, run: dict) -> dict | None:
    """What the manifest of `out` says of a run, or None; a FeaturesError where it was made from other things."""
    if manifest is None:
        return None
    cuts = [{k: v for k, v in c.items() if k != "cut"} for c in manifest["concepts"]]
    fix = "choose another `out` or delete this one"
    check_same(out, {**{k: manifest[k] for k in head}, "concepts": cuts}, head, fix)
    if run.get("cells") and "cells" in manifest:
        check_same(out, {"cells": manifest["cells"]["count"]}, {"cells": run["cells"]}, fix)
    entry = manifest["runs"].get(run_name(run))
    if entry is not None:
        if entry.get("quantised") is not None:
            raise FeaturesError(f"{out} holds a quantised copy of {run_name(run)!r}; extract into another `out`")
        first = IDENTITY if "weights" in entry else ()
        for keys, cure in ((first, ANOTHER), ([k for k in RUN_KEY if k not in IDENTITY], fix)):
            check_same(out, {k: entry.get(k) for k in keys}, {k: run.get(k) for k in keys}, cure)
        old, new = (
            {n: e["ablations"][n] for n in run["ablations"].keys() & entry["ablations"].keys()} for e in (entry, run)
        )
        check_same(out, old, new, "rename the ablation")
    return entry


def run_name(run: dict) -> str:
    """The id of a run that is described as in a manifest."""
    return str(RunId.described(run))


def read_progress(partial: Path) -> dict:
    """What an earlier attempt has noted of itself."""
    path, fix = partial / PROGRESS, f"delete {partial}, and extract again"
    state = read_json(path, fix)
    written = state.pop("sha256", None) if isinstance(state, dict) else None
    if written != sum_of(state):
        raise FeaturesError(f"{path} is damaged, or of an earlier version; {fix}")
    return state


def sum_of(value: object) -> str:
    """Digest of a JSON value."""
    return hashlib.sha256(as_json(value).encode()).hexdigest()


def times(seconds: float, samples: int) -> dict[str, object]:
    """How long a run took, when it ended and how fast it was, for execution.json."""
    return {
        "seconds": round(seconds, 3),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "images_per_second": round(samples / seconds, 2) if seconds > 0 else None,
    }


def cell_conditions(entry: dict | None) -> set[str]:
    """The conditions under which a run, described as in a manifest, has responses at cells."""
    files = ((entry or {}).get("cells") or {"files": {}})["files"]
    return {TensorKey.parse(key).condition for keys in files.values() for key in keys}


def link(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        sync(target)


def place(out: Path) -> Path:
    """Where a directory is made ready before it is moved to `out`; raises where something else has that name."""
    partial = out.with_name(out.name + PARTIAL)
    if partial.exists():
        names = {path.name for path in partial.iterdir()}
        if PROGRESS not in names and not all(name in _OURS or name.startswith(PROGRESS) for name in names):
            raise FeaturesError(f"{partial} is no unfinished extraction; move it away")
    return partial


def take(partial: Path, *, patience: float = 0.0) -> Lock:
    """Keep other processes from making the same directory ready, until the lock is released."""
    try:
        return Lock(partial, patience=patience)
    except InUse as error:
        raise FeaturesError(f"{error}; runs in two directories are joined by ri.load(a, b)") from None


def recover(out: Path) -> None:
    """Finish or undo what a crash left of `publish`; to be called under the lock."""
    with suppress(OSError):
        os.rmdir(out)  # only succeeds on an empty directory, which a user may have made beforehand
    old, former = out.with_name(out.name + PARTIAL) / OLD, out.with_name(out.name + ".old")
    if old.is_dir():
        if out.exists():
            shutil.rmtree(old)
        else:
            os.rename(old, out)
    elif former.is_dir() and not out.exists():  # where an earlier version put it
        read_manifest(former, False)  # never move what is not ours
        os.rename(former, out)


def publish(target: Path, out: Path) -> None:
    """Put the finished directory `target` in the place of `out`; a crash at any moment leaves one of the two whole.

    The old one goes into the folder that `target` is in, where all is ours: `recover` brings it back or deletes it.
    """
    old = target.with_name(OLD)
    write_sums(target)
    for path in target.iterdir():
        sync(path)
    sync(target)
    if out.exists():
        os.rename(out, old)
    os.rename(target, out)
    sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def steady(folders: Sequence[Path], read: Callable[[], T]) -> T:
    """What `read` returns; asked again where one of `folders` was replaced meanwhile, or was left aside by a crash."""
    until = time.monotonic() + PATIENCE
    while True:
        before = [_generation(folder) for folder in folders]
        try:
            found = read()
            if [_generation(folder) for folder in folders] == before or time.monotonic() > until:
                return found
        except (FeaturesError, OSError) as error:
            aside = [f for f in folders if (f.with_name(f.name + PARTIAL) / OLD).is_dir() and not f.exists()]
            changed = [_generation(folder) for folder in folders] != before
            if time.monotonic() > until or not (aside or changed):
                if isinstance(error, FeaturesError):
                    raise
                raise FeaturesError(f"{folders[0]} cannot be read ({error}); restore it or extract again") from error
            for folder in aside:
                _bring_back(folder)
            time.sleep(PAUSE)


def _bring_back(folder: Path) -> None:
    """Wait for whoever is about to put the new directory there; where nobody is, bring back the old one."""
    with suppress(FeaturesError, OSError), take(place(folder), patience=PATIENCE):
        recover(folder)


def _generation(folder: Path) -> tuple[int, int] | None:
    """Another value for every directory that has had this name; None where there is none."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


def extended(old: dict | None, new: dict) -> dict:
    """A run's entry in the manifest: `new`, with what an earlier call recorded of the same run."""
    old = old or {"conditions": [], "ablations": {}, "files": {}, "purity": [], "widths": {}}
    merged = {key: old[key] | new[key] for key in ("ablations", "files", "widths")}
    if old.get("cells") or new.get("cells"):
        both = [entry.get("cells") or {} for entry in (old, new)]
        parts = ("files", "units", "loss", "profiles", "grids")
        merged["cells"] = {part: both[0].get(part, {}) | both[1].get(part, {}) for part in parts}
    return (
        new
        | merged
        | {
            "conditions": old["conditions"] + new["conditions"],
            "curves": None,
            "quantised": None,
            "purity": new["purity"] or old["purity"],
            "isolated": new["isolated"] or old.get("isolated"),
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
