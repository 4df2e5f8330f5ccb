"""A features directory as a whole: its manifest read and checked, its parts compared, put in place. Use `features`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.features.files import (
    FORMAT,
    MANIFEST,
    SCHEMA,
    check_safetensors,
    inside,
    read_json,
    read_parquet,
    verify_sums,
    write_columns,
    write_sums,
)
from rgbd_insight.features.schema import SAMPLE_COLUMNS, FeaturesError, Modality
from rgbd_insight.utils.files import sync

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind; one extraction at a time is then up to the user
    fcntl = None

RUN_KEY = ("fusion", "seed", "epoch", "role", "about", "taps", "draws", "isolation", "block", "version")
_HEAD = {
    "name": str,
    "fingerprint": dict,
    "modalities": list,
    "classes": list,
    "concepts": list,
    "families": list,
    "size": list,
    "samples": int,
    "runs": dict,
}
_RUN = {
    "fusion": str,
    "seed": int,
    "epoch": int,
    "role": str,
    "about": dict,
    "taps": list,
    "conditions": list,
    "ablations": dict,
    "purity": list,
    "files": dict,
}


def read_manifest(folder: Path, verify: bool) -> dict:
    """The checked manifest of a features directory; with `verify`, after comparing every file with its digest."""
    old = folder.with_name(folder.name + ".old")
    if not folder.is_dir():
        fix = (
            f"a crash left {old}: rename it to {folder.name}"
            if old.is_dir()
            else f"make it with ri.extract(model, data, taps, out={str(folder)!r})"
        )
        raise FeaturesError(f"{folder} is not a directory; {fix}")
    path = folder / MANIFEST
    manifest = read_json(path, "name a directory that ri.extract wrote, or restore the file")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FeaturesError(f"{path} was not written by rgbd_insight; name a directory that ri.extract wrote")
    if manifest.get("schema") != SCHEMA:
        raise FeaturesError(
            f"{path} has schema {manifest.get('schema')!r} and this version of rgbd_insight reads "
            f"{SCHEMA}; install the matching version or extract again"
        )
    if verify:
        verify_sums(folder)
    _check_keys(path, manifest, _HEAD)
    for run, entry in manifest["runs"].items():
        _check_keys(path, entry, _RUN, f" of run {run!r}")
    try:
        [Modality(**m) for m in manifest["modalities"]]
        concept_table(manifest)
        wrong = next(_wrong_parts(manifest), None)
    except (KeyError, TypeError, AttributeError) as error:
        raise FeaturesError(f"{path} is damaged ({error!r} in its parts); restore the file") from error
    if wrong:
        raise FeaturesError(f"{path} is damaged: {wrong}; restore the file")
    _check_files(folder, manifest)
    return manifest


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


def _check_keys(path: Path, value: object, kinds: dict[str, type], where: str = "") -> None:
    for key, kind in kinds.items():
        if not isinstance(value, dict) or not isinstance(value.get(key), kind):
            raise FeaturesError(f"{path} is damaged: {key!r}{where} is not a {kind.__name__}; restore the file")


def _wrong_parts(manifest: dict) -> Iterator[str]:
    """What is of another kind than it must be, inside the lists and dicts of the manifest."""
    for m in manifest["modalities"]:
        if not _are(str, m["name"], m["unit"]) or not _are((int, float), m["low"], m["high"]):
            yield "a modality must have name and unit, low and high"
    for part in ("classes", "families"):
        if not _are(str, *manifest[part]):
            yield f"{part} must be texts"
    if len(manifest["size"]) != 2 or not _are(int, *manifest["size"]):
        yield "size must be height and width"
    for c in manifest["concepts"]:
        seen = (c["visible"] or {}).values()
        if not _are(str, c["name"], c["family"], c["kind"]) or not _are((int, float), c["cut"], *seen):
            yield "a concept must have name, family and kind, cut and visibility"
    for run, entry in manifest["runs"].items():
        if not entry["taps"]:
            yield f"run {run!r} must have taps"
        if not all(_are(str, tap["stream"]) and _are(int, tap["level"]) for tap in entry["taps"]):
            yield f"a tap of run {run!r} must have stream and level"
        if not _are(str, *entry["conditions"]) or not all(_are(str, *keys) for keys in entry["files"].values()):
            yield f"conditions and files of run {run!r} must be texts"
        if not all(_are(str, p["stream"], p["modality"]) and _are((int, float), p["moved"]) for p in entry["purity"]):
            yield f"the purity of run {run!r} must have stream, modality and moved"


def _are(kind: type | tuple[type, ...], *values: object) -> bool:
    return all(isinstance(value, kind) and not isinstance(value, bool) for value in values)


def _check_files(folder: Path, manifest: dict) -> None:
    listed = ["samples.parquet", "concepts.safetensors", "execution.json"]
    for entry in manifest["runs"].values():
        listed += [*entry["files"], *([entry["curves"]] if entry.get("curves") else [])]
    for name in listed:
        path = inside(folder, name)
        if not path.is_file():
            raise FeaturesError(f"{path} does not exist and the manifest lists it; restore it or extract again")
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
