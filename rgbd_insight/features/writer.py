"""Writing a features directory so that a crash at any moment costs one block of samples. Use `features` instead."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from rgbd_insight.features.cell_writing import BESIDE, MAPS, PRESENT, QUANTISED, WritesCells
from rgbd_insight.features.checks import (
    first_wrong,
    wrong_areas,
    wrong_places,
    wrong_samples,
    wrong_values,
)
from rgbd_insight.features.directory import (
    COMPLETE,
    LATER,
    PROGRESS,
    RUN_KEY,
    cell_conditions,
    check_same,
    cut,
    earlier_entry,
    extended,
    fill_samples,
    link,
    place,
    publish,
    read_manifest,
    read_progress,
    recover,
    run_name,
    sum_of,
    take,
    times,
)
from rgbd_insight.features.files import (
    CELLS,
    FORMAT,
    MANIFEST,
    SCHEMA,
    SUMS,
    WITH_CELLS,
    BlockFile,
    inside,
    json_value,
    package_version,
    read_json,
    read_tensors,
    write_columns,
)
from rgbd_insight.features.schema import SAMPLE_COLUMNS, FeaturesError, TensorKey
from rgbd_insight.utils.files import LOCK, room, sync, write_json

ROWS, PROFILES = "samples.jsonl", "profiles.safetensors"
_REWRITTEN = {MANIFEST, "execution.json", SUMS}


class FeatureWriter(WritesCells):
    """Add one run to a features directory, block by block, resuming where an earlier attempt stopped.

    Parameters
    ----------
    out : str or Path
        The directory; work goes on in `out`.partial and is moved in whole when it is complete.
    head : dict
        What is true of every run: name, fingerprint, modalities, classes, concepts, families, size, samples.
    run : dict
        This run: fusion, seed, epoch, role, about, task (`Scoring.as_json`), taps, draws, isolation, block (samples a
        block), conditions (names), ablations ({name: description}), and cells (of an image, at which responses are kept
        too; 0 or absent: none).

    Attributes
    ----------
    id : str
        The run's name.
    conditions, ablations : list of str and dict of str to dict
        Those still to be recorded (the finished ones are left alone).
    cells : list of str
        Conditions whose responses at cells are still to be recorded.
    complete : bool
        Nothing is left to do.
    fresh : bool
        The run is not in the directory yet.
    done : int
        Samples safely on disk.

    Raises
    ------
    FeaturesError
        Where `out`, or what an earlier attempt left, was made from other data, taps or settings: it names the key.
        Where `head` or `run` could not be read back, or where another process writes to `out`.
    """

    def __init__(self, out: str | Path, head: dict, run: dict) -> None:
        if missing := {"concepts", "modalities"} - head.keys():
            raise FeaturesError(f"`head` must say the {' and '.join(sorted(missing))} of the data; it has {list(head)}")
        self.out, self.id = Path(out), run_name(run)
        self.partial = place(self.out)
        self.head, self.run = json_value(head), json_value(run | {"version": package_version()})
        self.done, self._lock, self._files, self._state = 0, None, {}, {}
        try:
            with room(self.out):
                self._begin()
        except BaseException:
            self.close()
            raise

    def write(
        self,
        start: int,
        *,
        responses: dict,
        predictions: dict,
        areas: np.ndarray,
        samples: dict,
        cells: dict | None = None,
    ) -> None:
        """Put one block of samples on the disk; when this returns it survives a crash.

        Parameters
        ----------
        start : int
            Index of the block's first sample; must be `done`.
        responses : dict
            {"stream/level/condition": float (B, U)}.
        predictions : dict
            {"condition/part": int (B, C), or float of a task whose parts are sums}.
        areas : ndarray of float (B, K)
            Share of the pixels that carry each concept.
        samples : dict
            {column: B values}, the columns of samples.parquet.
        cells : dict, optional
            Where `place_cells` was called: "places", {"row", "column": uint8 (B, c), "shares": uint8 (B, c·K)},
            "responses", {"stream/level/condition": float (B, c·U)}; and for profiles over all g cells of the grid,
            "maps", {"stream/level/condition": float (B, U·g)} and "present", {"present": uint8 (B, g·K)}.

        Raises
        ------
        FeaturesError
            Where a value could not be read back: it is out of its range, or there are more or fewer than samples.
        NotWritten
            Where the disk is full.
        """
        if start != self.done or self.complete:
            raise FeaturesError(f"`start` must be {self.done}, the samples written so far; got {start}")
        counts = {key: part for key, part in predictions.items() if np.issubdtype(part.dtype, np.integer)}
        sums = {key: part for key, part in predictions.items() if key not in counts}
        named = {"predictions.safetensors": counts, "sums.safetensors": sums, "safetensors": responses}
        if cells:
            named["cells.safetensors"] = cells["responses"]
            wrong = wrong_places(cells["places"], len(areas), self._state["cells"], len(self.head["concepts"]))
            self._refuse(wrong)
        blocks = {"concepts.safetensors": {"areas": areas}}
        blocks |= {name: cells[part] for name, part in BESIDE.items() if cells and cells[part]}
        blocks |= {self._name(suffix): block for suffix, block in named.items() if block}
        self._check_block(areas, samples, [item for block in named.values() for item in block.items()])
        rows = zip(*(np.asarray(samples[c]).tolist() for c in SAMPLE_COLUMNS), strict=True)
        with room(self.partial, f"{self.done} of {self.head['samples']} samples are safe in it"):
            if not self._state["widths"]:
                self._state["widths"] = {f: {k: v.shape[1] for k, v in block.items()} for f, block in blocks.items()}
                self._open_files(create=True)
            for name, block in blocks.items():
                self._files[name].write(start, block)
            with open(self.partial / ROWS, "ab") as file:
                file.writelines(json.dumps(row).encode() + b"\n" for row in rows)
                file.flush()
                os.fsync(file.fileno())
                before, after = self._state["bytes"], file.tell()
            stop = start + len(areas)
            done = [*self._state["blocks"], [stop, after, self._sum(start, stop, before, after)]]
            self._save(self._state | {"done": stop, "bytes": after, "blocks": done})
        self.done = stop

    def finish(
        self,
        *,
        purity: list | None = None,
        isolated: dict | None = None,
        curves: pd.DataFrame | None = None,
        execution: dict | None = None,
        profiles: dict[str, np.ndarray] | None = None,
        grids: dict[str, float] | None = None,
    ) -> Path:
        """Move the complete run into the directory in one step; returns the directory.

        `profiles` are over cells, with images on grids among them, of whose products `grids` are the errors.
        """
        if self.complete:
            return self.out
        if self.done != self.head["samples"]:
            raise FeaturesError(
                f"{self.partial} holds {self.done} of {self.head['samples']} samples; write the rest before finish()"
            )
        with room(self.out, f"all samples are safe in {self.partial}"):
            manifest = self._describe(purity, isolated, self._quantise())
            if profiles:
                name, keys = self._name("profiles.safetensors"), sorted(key for key in profiles if "#" not in key)
                self._refuse(self._wrong_profiles(profiles))
                save_file(profiles, self.partial / PROFILES)
                manifest["runs"][self.id]["cells"]["profiles"][name] = keys
                manifest["runs"][self.id]["cells"]["grids"] |= grids or {}
            self._refuse(first_wrong(manifest))
            publish(self._fill(manifest, curves, execution), self.out)
        self.complete = True
        self._clear()
        self.close()
        return self.out

    def _fill(self, manifest: dict, curves: pd.DataFrame | None, execution: dict | None) -> Path:
        """Make the whole directory, as it will be, beside what was written; returns it."""
        target, name = self.partial / COMPLETE, f"{self.id}.curves.parquet"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        self._fill_data(target)
        if curves is not None and not (target / name).exists():
            write_columns(target / name, {str(c): curves[c].to_numpy() for c in curves.columns})
        if (target / name).exists():
            manifest["runs"][self.id]["curves"] = name
        write_json(target / MANIFEST, manifest)
        now = {"run": self.id, **(execution or {}), "conditions": [*self.conditions, *self.ablations]}
        now |= ({"cells": self.cells} if self.cells else {}) | times(self._state["seconds"], self.head["samples"])
        earlier = [] if self._manifest is None else read_json(self.out / "execution.json", "restore it")["runs"]
        write_json(target / "execution.json", {"runs": [*earlier, now]})
        return target

    def close(self) -> None:
        """Let go of the lock on the unfinished directory; where no block was completed, nothing is left of it."""
        if self._lock is None:
            return
        if self._state and self.done == 0:
            self._clear()
        self._lock.release()
        self._lock = None
        with suppress(OSError):  # it is kept where a run can be resumed
            self.partial.rmdir()

    def _begin(self) -> None:
        # where the run is complete there is nothing to write, and perhaps no right to
        if self.partial.exists() or not (self.out / MANIFEST).exists() or not self._look():
            self._lock = take(self.partial)
            recover(self.out)
            self._look()
        self._refuse(first_wrong(self._describe([], None, {})))
        self._resume()

    def _look(self) -> bool:
        """Compare with what there is in the directory; returns whether nothing is left to do."""
        self._manifest = read_manifest(self.out, False) if self.out.exists() else None
        entry = earlier_entry(self.out, self._manifest, self.head, self.run)
        self.fresh = entry is None
        self.conditions = [c for c in self.run["conditions"] if self.fresh or c not in entry["conditions"]]
        self.ablations = {n: a for n, a in self.run["ablations"].items() if self.fresh or n not in entry["ablations"]}
        kept = cell_conditions(entry)
        able = ("both", *(m["name"] for m in self.head["modalities"])) if self.run.get("cells") else ()
        self.cells = [c for c in self.run["conditions"] if c in able and c not in kept]
        self.complete = not self.conditions and not self.ablations and not self.cells
        return self.complete

    def _refuse(self, wrong: str | None) -> None:
        if wrong is not None:
            raise FeaturesError(f"what is to be in {self.out} could not be read back: {wrong}; change that first")

    def _check_block(self, areas: np.ndarray, samples: dict, tensors: list[tuple[str, np.ndarray]]) -> None:
        n, pixels = len(areas), int(np.prod(self.head["size"]))
        table = pd.DataFrame({column: list(samples[column]) for column in SAMPLE_COLUMNS})
        self._refuse(wrong_samples(table, n) or wrong_areas(areas, (n, len(self.head["concepts"]))))
        for key, values in tensors:
            self._refuse(wrong_values(TensorKey.parse(key), values, (n, None), pixels))

    def _key(self) -> dict:
        run = {k: self.run.get(k) for k in RUN_KEY}
        todo = {"conditions": self.conditions, "ablations": self.ablations}
        todo |= {"cells": [self.run["cells"], self.cells]} if self.cells else {}
        return {"schema": SCHEMA, **{f"data.{k}": v for k, v in self.head.items()}, **run, **todo}

    def _resume(self) -> None:
        if self._lock is not None and (self.partial / PROGRESS).exists():
            state = read_progress(self.partial)
            key = state["key"]
            entry = (self._manifest or {"runs": {}})["runs"].get(run_name(key), {"conditions": [], "ablations": {}})
            moved_in = {*key["conditions"], *key["ablations"]} <= {*entry["conditions"], *entry["ablations"]}
            moved_in &= {*key.get("cells", [0, []])[1]} <= cell_conditions(entry)
            if moved_in or state["done"] == 0:
                self._clear()  # a crash came just after the end, or before the first block: nothing is lost
            elif not self.complete:
                check_same(self.partial, key, self._key(), f"delete {self.partial}, or finish what was begun there")
                self._state, self.done = state, state["done"]
                self._open_files(create=False)
                self._check_blocks()
        if self.complete and self._lock is not None:
            if not (self.partial / PROGRESS).exists():
                self._clear()
            self.close()
        elif not self.complete and not self._state:
            self._save({"key": self._key(), "done": 0, "bytes": 0, "blocks": [], "seconds": 0.0, "widths": {}})
        self._clock = time.monotonic()

    def _sum(self, start: int, stop: int, before: int, after: int) -> str:
        """Digest of a block as it is on the disk: rows `start` to `stop`, and its lines, bytes `before` to `after`."""
        with open(self.partial / ROWS, "rb") as file:
            file.seek(before)
            lines = hashlib.sha256(file.read(after - before)).hexdigest()
        return sum_of([lines, *(self._files[name].sum(start, stop) for name in sorted(self._files))])

    def _check_blocks(self) -> None:
        start, before = 0, 0
        for stop, after, written in self._state["blocks"]:
            if self._sum(start, stop, before, after) != written:
                raise FeaturesError(
                    f"samples {start} to {stop - 1} in {self.partial} have changed since they were written; delete it, "
                    "and extract again"
                )
            start, before = stop, after

    def _open_files(self, *, create: bool) -> None:
        for name, widths in self._state["widths"].items():
            kinds = {"predictions.safetensors": "I32", "sums.safetensors": "F64"}
            dtype = next((kind for end, kind in kinds.items() if name.endswith(end)), "F32")
            dtype = "U8" if name in (CELLS, PRESENT) else dtype
            self._files[name] = BlockFile(inside(self.partial, name), widths, self.head["samples"], dtype)
            if create:
                self._files[name].create()
            elif not self._files[name].intact():
                raise FeaturesError(f"{self.partial / name} is damaged; delete {self.partial} and extract again")
        (self.partial / ROWS).touch()
        os.truncate(self.partial / ROWS, self._state["bytes"])  # drops a block that was not completed

    def _save(self, state: dict) -> None:
        now = time.monotonic()
        state["seconds"] += now - getattr(self, "_clock", now)
        self._clock = now
        write_json(self.partial / PROGRESS, state | {"sha256": sum_of(state)})
        sync(self.partial)
        self._state = state

    def _name(self, suffix: str) -> str:
        if self.fresh:
            return f"{self.id}.{suffix}"
        asked = [self.conditions, self.ablations, *([self.cells] if self.cells else [])]
        todo = json.dumps(asked, sort_keys=True).encode()
        return f"{self.id}.{hashlib.sha256(todo).hexdigest()[:8]}.{suffix}"

    def _clear(self) -> None:
        """Empty the unfinished directory, but for the lock on it."""
        for path in self.partial.iterdir():
            if path.name not in (PROGRESS, LOCK):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.partial / PROGRESS).unlink(missing_ok=True)  # last: what a crash leaves is known to the next start
        self._state = {}

    def _fill_data(self, target: Path) -> None:
        fill_samples(self.partial / ROWS, None if self._manifest is None else self.out, target)
        if self._manifest is not None:
            for path in self.out.iterdir():
                if path.name not in _REWRITTEN:
                    link(path, target / path.name)
        made = {self._name("cells.safetensors"): QUANTISED, self._name("profiles.safetensors"): PROFILES}
        for name in [*self._files, self._name("profiles.safetensors")]:
            source = self.partial / made.get(name, name)  # concepts and cells are kept as the first run wrote them
            if name not in (MAPS, PRESENT) and not (target / name).exists() and source.exists():
                link(source, target / name)

    def _describe(self, purity: list | None, isolated: dict | None, losses: dict[str, float]) -> dict:
        manifest, known = self._manifest, self._state.get("widths", {})
        if manifest is None:
            areas = read_tensors(self.partial / "concepts.safetensors", ["areas"])[0] if known else None  # (N, K)
            cuts = [0.0 if areas is None else cut(areas[:, k]) for k in range(len(self.head["concepts"]))]
            concepts = [c | {"cut": cuts[k]} for k, c in enumerate(self.head["concepts"])]
            manifest = {"format": FORMAT, "schema": SCHEMA, **self.head, "concepts": concepts, "runs": {}}
        files = {n: sorted(w) for n, w in known.items() if n not in ("concepts.safetensors", *BESIDE)}
        at_cells = files.pop(self._name("cells.safetensors"), None)
        widths = {TensorKey.parse(key).tap: width for key, width in known.get(self._name("safetensors"), {}).items()}
        new = {k: self.run.get(k) for k in RUN_KEY if k not in LATER or self.run.get(k)} | {
            "conditions": self.conditions,
            "ablations": self.ablations,
            "purity": json_value(purity or []),
            "isolated": json_value(isolated),
            "files": files,
            "widths": widths,
            "levels": sorted({tap["level"] for tap in self.run["taps"]}),
        }
        if at_cells:
            cells = self._state["cells"]
            manifest |= {"schema": WITH_CELLS, "cells": {part: cells[part] for part in ("grid", "count")}}
            files = {self._name("cells.safetensors"): at_cells}
            new["cells"] = {"files": files, "units": cells["units"], "loss": losses, "profiles": {}, "grids": {}}
        entry = extended(manifest["runs"].get(self.id), new)
        return manifest | {"version": package_version(), "runs": manifest["runs"] | {self.id: entry}}
