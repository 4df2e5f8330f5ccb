"""The committed tier: a features directory made small. Use `features` instead."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from rgbd_insight.features.cells import choose_units
from rgbd_insight.features.checks import first_wrong, refuse
from rgbd_insight.features.directory import COMPLETE, PROGRESS, place, publish, read_manifest, recover, take
from rgbd_insight.features.files import CELLS, GRID, MANIFEST, SCHEMA, WITH_CELLS, quantise, read_tensors, write_columns
from rgbd_insight.features.reader import Features
from rgbd_insight.features.schema import FeaturesError, TensorKey
from rgbd_insight.utils.files import LOCK, nothing_left, room, write_json

Chosen = Callable[[str, str], bool]
Keep = Iterable[str] | Chosen | None


def write_quantised(
    features: Features,
    out: str | Path,
    *,
    units: int = 64,
    samples: int | Sequence[int] | None = None,
    keep: Keep = None,
    cells: Keep = None,
    profiles: Keep = None,
    seed: int = 0,
    replace: bool = False,
) -> Path:
    """Write a small copy of `features`: fewer units and samples, one byte a response, the loss measured.

    Parameters
    ----------
    features : Features
        What to copy; a copy may be copied again.
    out : str or Path
        The new directory.
    units : int, optional
        At most so many units a tap, drawn by `seed`; the same ones in every run with that tap and width.
    samples : int or sequence of int, optional
        Indices to keep, or how many (whole groups are drawn by `seed` while they fit), or None for all.
    keep : iterable of str or callable, optional
        Run ids or fusion names to keep, or a function (run, key) -> bool on "stream/level/condition" and
        "condition/hit|target|guess" keys (or other parts of a task); None keeps everything.
    cells : iterable of str or callable, optional
        As `keep`, of the responses at cells; None keeps those whose run and key `keep` keeps.
    profiles : iterable of str or callable, optional
        As `cells`, of the profiles over cells, which are of all units, and of the images on grids.
    seed : int, optional
        Of the two draws.
    replace : bool, optional
        Whether a features directory at `out` is replaced, once the new one is complete; else there must be none.

    Returns
    -------
    Path
        `out`. In its manifest each run's "units" holds the original indices of the units, and "quantised" the loss of
        each tensor: root mean squared error over root mean squared deviation from the units' means.

    Raises
    ------
    FeaturesError
        Where `out` exists and is not to be replaced or is no features directory, or a name in `keep` is unknown.

    Examples
    --------
    >>> import tempfile
    >>> from rgbd_insight.features import load
    >>> features = load("book/features/scenes")
    >>> small = load(write_quantised(features, f"{tempfile.mkdtemp()}/small", units=4, samples=20, keep=["sum"]))
    >>> len(small), small.view("sum", "rgb", 1).shape, set(small.runs["fusion"])
    (20, (20, 4), {'sum'})
    """
    if features.own:
        raise FeaturesError(
            f"`features` must be as they were extracted; {', '.join(own.source for own in features.own)} was joined to "
            "them: copy them before with_concepts"
        )
    out, chosen = Path(out), _choose_samples(features, samples, seed)
    partial = place(out)
    with nothing_left(partial), room(out):
        with take(partial):
            if (partial / PROGRESS).exists():
                raise FeaturesError(f"{partial} holds an unfinished extraction; finish or delete it")
            recover(out)
            try:
                _check_place(out, replace)
                shutil.rmtree(partial / COMPLETE, ignore_errors=True)
                (partial / COMPLETE).mkdir()
                asked = (keep, *(keep if one is None else one for one in (cells, profiles)))
                keeps = tuple(_keep_function(features, one) for one in asked)
                _fill(features, partial / COMPLETE, chosen=chosen, units=units, keeps=keeps, seed=seed)
                publish(partial / COMPLETE, out)
            finally:
                recover(out)
                for path in partial.iterdir():
                    if path.name != LOCK:
                        shutil.rmtree(path)
        with suppress(OSError):  # the next process is in there already
            partial.rmdir()
    return out


def _check_place(out: Path, replace: bool) -> None:
    if out.exists() and not replace:
        raise FeaturesError(f"`out` must not exist; {out} does: delete it, choose another, or give replace=True")
    if out.exists():
        read_manifest(out, False)  # never delete what is not ours


def _fill(
    features: Features, target: Path, *, chosen: np.ndarray, units: int, keeps: tuple[Chosen, ...], seed: int
) -> None:
    """Write all files of the copy, but for the digests."""
    runs = {}
    for run in features.runs.index:
        entry = _write_run(features, run, target, chosen=chosen, units=units, keep=keeps[0], seed=seed)
        cells = _write_cells(features, run, target, chosen=chosen, units=entry["units"], most=units, keep=keeps[1])
        cells |= _write_profiles(features, run, target, chosen, keeps[2])
        entry |= {"cells": cells} if cells["files"] or cells["profiles"] else {}
        runs |= {run: entry} if entry["files"] or entry.get("cells") else {}
    table = features.samples.iloc[chosen]
    write_columns(target / "samples.parquet", {c: table[c].tolist() for c in table.columns})
    save_file({"areas": np.ascontiguousarray(features.areas[chosen])}, target / "concepts.safetensors")
    head = {k: v for k, v in features.manifest.items() if k not in ("runs", "cells")}
    manifest = head | {"schema": SCHEMA, "samples": len(chosen), "runs": runs}
    if any(entry.get("cells") for entry in runs.values()):
        manifest |= {"schema": WITH_CELLS, "cells": features.manifest["cells"]}
        places = features.cell_places
        save_file({part: np.ascontiguousarray(values[chosen]) for part, values in places.items()}, target / CELLS)
    refuse(features.path, first_wrong(manifest), "restore the file")
    write_json(target / MANIFEST, manifest)
    write_json(target / "execution.json", {"runs": [r for r in features.execution["runs"] if r["run"] in runs]})


def _write_run(
    features: Features,
    run: str,
    target: Path,
    *,
    chosen: np.ndarray,
    units: int,
    keep: Chosen,
    seed: int,
) -> dict:
    entry = json.loads(json.dumps(features.entry(run)))
    entry.pop("cells", None)
    before, drawn = entry["quantised"] or {}, entry.get("units") or {}
    keys = [key for names in entry["files"].values() for key in names if keep(run, key)]
    small, counts, entry["quantised"], entry["units"] = {}, {}, {}, {}
    for key in keys:
        values = features.tensor(run, key)[chosen]
        if TensorKey.parse(key).part is not None:
            counts[key] = np.ascontiguousarray(values)  # what scores are made of stays exact
            continue
        tap = TensorKey.parse(key).tap
        picked = choose_units(tap, values.shape[1], units, seed)
        codes, scale, offset, loss = quantise(values[:, picked])
        small |= {key: codes, f"{key}#scale": scale, f"{key}#offset": offset}
        # codes of codes are the same codes: a copy of a copy loses what the first one lost
        entry["quantised"][key] = before.get(key, round(loss, 6))
        entry["units"][tap] = [drawn[tap][u] for u in picked] if tap in drawn else picked.tolist()
        entry["widths"][tap] = len(picked)
    entry["files"] = {}
    if small:
        name = f"{run}.safetensors"
        save_file(small, target / name)
        entry["files"][name] = sorted(key for key in small if "#" not in key)
    if counts:
        name = f"{run}.predictions.parquet"
        entry["files"][name], entry["same"] = sorted(counts), _write_counts(counts, target / name)
    predicted = {TensorKey.parse(key).condition for key in counts}
    recorded = predicted | {TensorKey.parse(key).condition for key in entry["quantised"]}
    entry["conditions"] = [c for c in entry["conditions"] if c in recorded]
    entry["ablations"] = {name: spec for name, spec in entry["ablations"].items() if name in predicted}
    curves = features.curves(run)
    if entry["curves"] is not None and entry["files"]:
        write_columns(target / entry["curves"], {c: curves[c].to_numpy() for c in curves.columns})
    return entry


def _write_cells(
    features: Features, run: str, target: Path, *, chosen: np.ndarray, units: dict, most: int, keep: Chosen
) -> dict:
    """Copy a run's codes at cells; of their units those that `units` has of the tap, else the first `most`."""
    keys, entry = [key for key in features.cell_files(run) if keep(run, key)], features.entry(run).get("cells")
    small, kept = {}, {}
    for key in sorted(keys):
        tap, (codes, scale, offset) = TensorKey.parse(key).tap, features.cell_codes(run, key)
        before = entry["units"][tap]
        picked = [i for i, unit in enumerate(before) if unit in units.get(tap, before)][:most] or [0]
        kept[tap] = [before[i] for i in picked]
        codes = codes[chosen].reshape(len(chosen), -1, len(before))[..., picked].reshape(len(chosen), -1)
        small |= {key: codes, f"{key}#scale": scale[picked], f"{key}#offset": offset[picked]}
    name = f"{run}.cells.safetensors"
    if keys:
        save_file({key: np.ascontiguousarray(values) for key, values in small.items()}, target / name)
    files, loss = {name: sorted(keys)} if keys else {}, {key: entry["loss"][key] for key in keys}
    return {"files": files, "units": kept, "loss": loss}


def _write_profiles(features: Features, run: str, target: Path, chosen: np.ndarray, keep: Chosen) -> dict[str, dict]:
    """Copy a run's profiles over cells and images on grids; returns what the manifest says of both."""
    files, name = features.profile_files(run), f"{run}.profiles.safetensors"
    keys = sorted(key for key in files if keep(run, key))
    if not keys:
        return {"profiles": {}, "grids": {}}
    losses = {key: loss for key, loss in features.entry(run)["cells"].get("grids", {}).items() if key in keys}
    tables = {key: read_tensors(files[key.removesuffix("#iou")], [key])[0] for k in keys for key in (k, f"{k}#iou")}
    if losses:
        _, rows, now = np.intersect1d(features.grid_samples, chosen, return_indices=True)
        rows, now = rows[np.argsort(now)], np.sort(now)  # in the order of the copy
        tables |= {f"{key}{GRID}": read_tensors(files[key], [f"{key}{GRID}"])[0][rows] for key in losses}
        tables[GRID] = now.astype(np.int32)
    save_file(tables, target / name)
    return {"profiles": {name: keys}, "grids": losses}


def _write_counts(counts: dict[str, np.ndarray], path: Path) -> dict[str, str]:
    """Write counts or sums (N, C), mostly zeros, as compressed columns; equal ones once. Returns {key: its equal}."""
    first: dict[bytes, str] = {}
    same, columns = {}, {}
    for key in sorted(counts):
        values = counts[key].ravel()
        original = first.setdefault(values.tobytes(), key)
        if original != key:
            same[key] = original
        else:
            whole = np.issubdtype(values.dtype, np.integer)
            columns[key] = values.astype(np.min_scalar_type(int(values.max(initial=0)))) if whole else values
    write_columns(path, columns)
    return same


def _keep_function(features: Features, keep: Keep) -> Chosen:
    if keep is None:
        return lambda run, key: True
    if callable(keep):
        return keep
    names: set[str] = set()
    for name in [keep] if isinstance(keep, str) else keep:
        names |= set(features.find(fusion=name)) or {features.resolve(name)}
    return lambda run, key: run in names


def choose_images(groups: np.ndarray, most: int, seed: int = 0) -> np.ndarray:
    """At most `most` of N images, rising: whole groups, drawn by `seed` while they fit; all where there are no more.

    Parameters
    ----------
    groups : array of int (N,)
        Codes of the groups, from 0.
    most, seed : int
        How many at most; of the draw.

    Returns
    -------
    ndarray of int
        Empty where every group is larger.

    Examples
    --------
    >>> choose_images(np.array([0, 0, 1, 1, 1, 2]), 3).tolist(), len(choose_images(np.arange(9), 20))
    ([0, 1, 5], 9)
    """
    if len(groups) <= most:
        return np.arange(len(groups))
    sizes, taken, left = np.bincount(groups), [], most
    for group in np.random.default_rng([seed, 1]).permutation(len(sizes)):
        if sizes[group] <= left:
            taken.append(group)
            left -= sizes[group]
    return np.flatnonzero(np.isin(groups, taken))


def _choose_samples(features: Features, samples: int | Sequence[int] | None, seed: int) -> np.ndarray:
    if samples is None:
        return np.arange(len(features))
    if not isinstance(samples, int):
        chosen = np.asarray(samples)
        inside = chosen.size > 0 and chosen.min() >= 0 and chosen.max() < len(features)
        if not inside or len({*chosen.tolist()}) < chosen.size:
            raise FeaturesError(f"`samples` must be different indices from 0 to {len(features) - 1}; got {samples!r}")
        return chosen
    chosen = choose_images(features.groups, samples, seed)
    if not len(chosen):
        sizes = np.bincount(features.groups)
        raise FeaturesError(f"`samples` must hold at least one group ({sizes.min()} samples); got {samples}")
    return chosen
