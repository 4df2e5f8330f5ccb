"""What the tables need of finished runs, small enough to be carried to another machine. Use `campaign` instead."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from rgbd_insight.features import load, write_quantised
from rgbd_insight.features.files import MANIFEST

ALL_UNITS = 1 << 30


def ship(work: Path, out: Path) -> list[Path]:
    """Copy every finished run that `out` does not hold yet, one byte a response; returns the new folders.

    The copies take the place of the full features: put `out`/extracted into `work` elsewhere, and go on there.
    """
    new = []
    for folder in _finished(work / "extracted"):
        copy = out / folder.relative_to(work)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_quantised(load(folder, verify=False), copy, units=ALL_UNITS, keep=_keeps(folder.parent.name))
            new.append(copy)
    for path in (*(work / "extracted").glob("*/finished/*"), *(work / "extracted").glob("*/*.parquet")):
        copy = out / path.relative_to(work)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return new


def _finished(root: Path) -> Iterator[Path]:
    for manifest in sorted(root.glob(f"*/*/{MANIFEST}")):
        # a zoo's run is finished when its mark is there: its checkpoints come after its last epoch
        marks = root / manifest.parent.parent.name / "finished"
        if not marks.exists() or (marks / f"extract_one-{manifest.parent.name}").exists():
            yield manifest.parent


def _keeps(data: str):
    """What is kept of a run on one kind of data: a stream's own responses, and what was predicted of whole networks."""

    def keeps(run: str, key: str) -> bool:
        *place, last = key.split("/")
        if last in ("hit", "target", "guess"):
            whole = last != "guess" or place[0] in ("both", "rgb", "depth")
            return data not in ("labels", "pairs") and " " not in place[0] and whole
        if data == "derived":
            return False
        exchanged = last == "both" and "-s0-" in run and data != "intervention"
        return (
            place[0] == last or (place[0] == "fused" and run.startswith("early")) or (exchanged and place[0] != "fused")
        )

    return keeps
