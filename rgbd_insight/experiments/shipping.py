"""Small copies of features: those that the book is built on, and what is carried to another machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rgbd_insight.experiments.plans import ISOLATED, Plan
from rgbd_insight.experiments.steps import JobName, finished, folder
from rgbd_insight.features import MANIFEST, AblationName, RunId, TensorKey, load, write_quantised

ALL_UNITS = 1 << 30


def copies(chosen: Iterable[Plan], work: Path, book: Path) -> None:
    """Write the small copies of the plans' features that the book is built on.

    Parameters
    ----------
    chosen : iterable of Plan
        Their deep runs must be finished.
    work : Path
        Where the full features are.
    book : Path
        The copies go into its folder ``features``; an older one of the same name is replaced.
    """
    for plan in chosen:
        if plan.deep != ():
            full = load(*(folder(plan, work, run) for run in plan.main_runs))
            write_quantised(full, book / "features" / plan.name, keep=plan.keeps, replace=True)
        beside = book / "features" / f"{plan.name}-twins"
        if plan.deep and plan.twin_seeds:
            twins = [run for run in plan.runs if run.network in ISOLATED and run not in plan.deep]
            full = load(*(folder(plan, work, run) for run in twins))
            write_quantised(full, beside, keep=_essential, replace=True)
        elif plan.deep != ():  # what an earlier campaign left there is of another recipe, perhaps of other images
            shutil.rmtree(beside, ignore_errors=True)
    found = sorted((work / "extracted" / "derived").glob(f"*/{MANIFEST}"))
    if found:
        full = load(*(path.parent for path in found))
        write_quantised(full, book / "features" / "derived", keep=_essential, replace=True)


def _essential(run: str, key: str) -> bool:
    """Of runs that are there for their number: what a stream answers to its own modality, and what is predicted."""
    tensor = TensorKey.parse(key)
    if tensor.part is not None:
        return tensor.part != "guess" and tensor.condition in ("both", *ISOLATED)
    return tensor.stream == tensor.condition


def ship(work: Path, out: Path) -> list[Path]:
    """Copy what the tables need of every finished run that `out` does not hold yet, one byte a response.

    The copies take the place of the full features: put `out`/extracted into `work` elsewhere, and go on there.

    Parameters
    ----------
    work : Path
        Where weights and full features are.
    out : Path
        Another folder.

    Returns
    -------
    list of Path
        The new folders.
    """
    new = []
    for home in _finished(work):
        copy = out / home.relative_to(work)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_quantised(load(home, verify=False), copy, units=ALL_UNITS, keep=_keeps(home.parent.name))
            new.append(copy)
    for path in (*(work / "extracted").glob("*/finished/*"), *(work / "extracted").glob("*/*.parquet")):
        copy = out / path.relative_to(work)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return new


def _finished(work: Path) -> Iterator[Path]:
    """Features of finished runs: of a plan's when its mark is there, as its checkpoints come after its last epoch."""
    for manifest in sorted((work / "extracted").glob(f"*/*/{MANIFEST}")):
        home = manifest.parent
        done = finished(work, home.parent.name)
        if not done or JobName("extract", home.parent.name, home.name) in done:
            yield home


def _keeps(data: str) -> Callable[[str, str], bool]:
    """What is kept of a run on one kind of data: a stream's own responses, and what was predicted of whole networks."""

    def keeps(run: str, key: str) -> bool:
        of, tensor = RunId.parse(run), TensorKey.parse(key)
        if tensor.part is not None:
            whole = tensor.part != "guess" or tensor.condition in ("both", *ISOLATED)
            return data not in ("labels", "pairs") and AblationName.parse(tensor.condition) is None and whole
        if data == "derived":
            return False
        exchanged = tensor.condition == "both" and of.seed == 0 and data != "intervention"
        fused = tensor.stream == "fused"
        return tensor.stream == tensor.condition or (fused and of.network == "early") or (exchanged and not fused)

    return keeps
