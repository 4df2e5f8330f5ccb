"""Extraction: the only loop that runs a model over a dataset in order to look inside it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from rgbd_insight.data import Dataset
from rgbd_insight.extraction.blocks import check_conditions, check_dataset, check_taps
from rgbd_insight.extraction.calling import call_name, fitted, identity
from rgbd_insight.extraction.control import redrawn
from rgbd_insight.extraction.extractor import Extractor, at_rest
from rgbd_insight.extraction.loading import Loader
from rgbd_insight.extraction.profiles import grids_of, profiles_of
from rgbd_insight.extraction.scoring import scorer
from rgbd_insight.features import ROLES, SAME, Ablation, Features, FeatureWriter, load
from rgbd_insight.features.files import read_parquet
from rgbd_insight.hooks import Tap, bare
from rgbd_insight.utils.distributed import processes
from rgbd_insight.utils.files import nothing_left
from rgbd_insight.utils.messages import checked_whole, unknown


def extract(
    model: nn.Module,
    data: Dataset,
    taps: Sequence[Tap] | None = None,
    out: str | Path = "features/mine",
    *,
    adapt: Callable[..., Tensor] | None = None,
    task: str | None = None,
    run: dict[str, Any] | None = None,
    conditions: Sequence[str | Ablation] | None = None,
    draws: int = 4,
    cells: int = 0,
    control: bool = False,
    batch_size: int = 64,
    workers: int | None = None,
    claims: str | None = None,
    device: str | torch.device | None = None,
    progress: bool = True,
) -> Features:
    """Record what every unit of `model` answers to every sample of `data`, and what the model predicts.

    Parameters
    ----------
    model : Module
        Called with the inputs in the order of ``data.modalities``, as ``model(rgb, depth)``; returns what its task
        wants, such as logits (B, C, H, W). Left as it was: mode, device, no hooks. What ``nn.DataParallel`` or
        ``torch.compile`` put around it is taken off.
    data : Dataset
        Any object with the members of `data.Dataset`.
    taps : sequence of Tap, optional
        The places to read, at most one a stream and level; None takes ``model.taps()``. A `models.TapMap` also says how
        the network is called and how it wants its images.
    out : str or Path, optional
        The features directory; the run is added to what it holds, and a killed call goes on where it stopped.
    adapt : callable, optional
        ``adapt(model, *inputs) -> logits``, as ``adapt(model, rgb, depth)``, for a model that takes its inputs in
        another way (a list, one stacked tensor, keywords, three channels of depth) or returns more, or smaller logits;
        None is ``model(*inputs)``, or as the taps say. A `models.Adapter` is told of the data: range, unit and lens.
    task : str, optional
        "segmentation", "classification" (logits (B, C)), "saliency" (one plane of logits), "regression" (numbers, of
        pixels or images) or "none" (responses only, no predictions); `features.TASKS` says how each is scored. None
        finds it from labels and output, and refuses where more than one fits. Without labels (None in the batches)
        every prediction is scored against the network's own from all its inputs, as agreement.
    run : dict of str to object, optional
        Fusion, seed, epoch and role ("final", "checkpoint", "untrained") of the model, else its own attributes are
        taken, and where neither says the epoch it is unknown, as audits say; "curves" (a DataFrame or a parquet file of
        training curves); other JSON values are kept under "about".
    conditions : sequence of (str or Ablation), optional
        What the model is given. "both" (all inputs as they are, however many); a modality's name (*source-isolated*:
        all other inputs come from another group's image; responses are averaged over `draws` guests, the same for all
        samples, predictions are beside a partner of each sample's own); of three or more modalities some, as
        "rgb+depth" (predictions only); "none" (all inputs from partners; predictions only); "NAME:zero", "NAME:mean",
        "NAME:noise" (what NAME names as it is, the others replaced; predictions only; with "none" for NAME all are); an
        `Ablation` (predictions only). None is "both", every modality, all of "rgb+depth" and the like (of more than
        four modalities those that `features.usual_subsets` lists, as there would be 2^M), and "none". A
        model with one modality (a twin) has only the condition of its name. Conditions that the run already has are not
        recorded again.
    draws : int, optional
        Guests that every sample's responses are averaged over under the source-isolated conditions, 1 or more.
    cells : int, optional
        Cells of every image at which responses are kept too, one at random in each of so many blocks of the grid of the
        coarsest tap, to whose cells all taps' maps are averaged: of up to 64 units a tap, one byte each, under "both"
        and isolated (`Features.cells`). Of isolated views also what all cells say: profiles of every unit
        (`Features.position_profiles`) and images by what stands where (`Features.grids`). 16 suit most grids; 0 is
        none. Runs of a directory must have the same grid.
    control : bool, optional
        Extract the same network with its weights drawn anew too (`redrawn`), as the untrained run of its fusion and
        seed: what the architecture alone does, beside which one checkpoint can be judged.
    batch_size : int, optional
        Samples a block; part of the run's identity, as the last bits of the numbers depend on it.
    workers : int, optional
        Threads that read the next block while the network runs; 0 reads each when it is due. None reads ahead for a GPU
        where `data` says, by a true `concurrent` of its class as `data.Folder` has, that several threads may ask it at
        once. Numbers and bytes are the same.
    claims : str, optional
        Digest of the claims that were stated before this call (`rgbd_insight.claims.digest()`), which execution.json
        keeps beside the device and the date; None where none were.
    device : str or torch.device, optional
        None takes a GPU where there is one, else the device the model is on.
    progress : bool, optional
        Show a progress bar on stderr.

    Returns
    -------
    Features
        `Features` of the whole directory `out`.

    Raises
    ------
    ValueError
        Where data, taps, conditions or the model's answer are not as described; it names the sample and the fix.
    FeaturesError
        Where `out` was made from other data, taps or settings, or from other weights under the same name.

    Notes
    -----
    A response is the mean of a unit's map over its positions, summed in float64 and stored as float32. Statistics that
    stand in for an input or a unit ("mean") are taken over `batch_size` samples spread evenly over the data. The guests
    are the same for all samples, as guests of their own would be variance that every measure takes for the samples';
    samples of a guest's group have a reserve (`features.guests`). How much of each tap is the guests' is measured and
    kept (`Features.shares`); a prediction is one number a sample, whose mean is to be one over partners too. The same
    call on the same device with the same number of threads gives the same bytes, however often it is interrupted, and
    under ``torchrun`` with any number of processes: each takes whole blocks, and the first writes them in order.

    Examples
    --------
    >>> import tempfile
    >>> from rgbd_insight.data import Scenes
    >>> from rgbd_insight.models import build
    >>> data = Scenes(n=6)
    >>> model = build("sum", classes=len(data.classes), width=8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     features = extract(model, data, out=f"{folder}/mine", batch_size=3, progress=False)
    ...     features.view("sum", "rgb", 1).shape[0]
    6
    """
    check_dataset(data)
    model, adapt = bare(model), fitted(adapt, taps, data)
    taps = check_taps(model, taps)
    names, ablations = check_conditions(conditions, data, model, taps, predicts=task != "none")
    _check_numbers(draws, batch_size, cells, workers)
    about, curves = _describe_run(model, run)
    if adapt is not None:
        about["about"] = {"called by": call_name(adapt)} | about["about"]
    with at_rest(model, device) as chosen:
        found = scorer(model, data, task, adapt, chosen)
    untrained = {"fusion": about["fusion"], "seed": about["seed"], "epoch": 0, "role": "untrained"}
    if control and untrained.items() <= about.items():
        raise ValueError("`control` is for a trained network; this one is untrained: leave it out")
    about |= identity(model, adapt)
    run = about | {
        "task": found.scoring.as_json(),
        "taps": [tap.as_json() for tap in taps],
        "draws": draws,
        "cells": cells,
        "isolation": SAME if len(getattr(model, "modalities", data.modalities)) > 1 else None,
        "block": batch_size,
        "conditions": names,
        "ablations": {a.name: a.as_json() for a in ablations},
    }
    team = processes()
    with _writing(out, data, run, first=team.first) as writer:
        todo = team.broadcast(
            writer and _Todo(writer.done, writer.conditions, tuple(writer.ablations), writer.cells, writer.complete)
        )
        if not todo.complete:
            with at_rest(model, device) as chosen, Loader(data, chosen, workers) as loader:
                how = {"scorer": found, "draws": draws, "block": batch_size, "adapt": adapt}
                extractor, execution = Extractor(model, loader, taps, **how), _provenance(chosen, claims)
                _record(extractor, writer, todo, ablations, cells, curves, execution, progress=progress and team.first)
    team.barrier()
    if control:
        same = {"task": found.task.name, "conditions": names, "draws": draws, "cells": cells, "batch_size": batch_size}
        same |= {"adapt": adapt, "claims": claims, "device": device, "workers": workers, "progress": progress}
        extract(redrawn(model), data, taps, out, run=untrained | {"control": "weights drawn anew"}, **same)
    return load(out)


def _check_numbers(draws: int, batch_size: int, cells: int, workers: int | None) -> None:
    checked_whole("draws", draws, 1, 10**3, "4 are usual, 16 where guests move a tap much")
    checked_whole("batch_size", batch_size, 1, 10**6, "64 are usual, fewer where memory is short")
    checked_whole("workers", 0 if workers is None else workers, 0, 256, "as many as there are cores, 0 is none")
    checked_whole("cells", cells, 0, 10**4, "16 suit most grids, 0 is none")


@contextmanager
def _writing(out: str | Path, data: Dataset, run: dict, *, first: bool) -> Iterator[FeatureWriter | None]:
    """The writer, in the first process; where an error comes before a block is whole, nothing is left of it."""
    with nothing_left(Path(out)):
        writer = FeatureWriter(out, _head(data), run) if first else None
        try:
            yield writer
        finally:
            if writer:
                writer.close()


@dataclass(frozen=True)
class _Todo:
    """What the first process found still to be recorded, as every process must know it."""

    done: int
    conditions: list[str]
    ablations: tuple[str, ...]
    cells: list[str]
    complete: bool


def _record(
    extractor: Extractor,
    writer: FeatureWriter | None,
    todo: _Todo,
    ablations: list[Ablation],
    cells: int,
    curves: pd.DataFrame | None,
    execution: dict,
    *,
    progress: bool,
) -> None:
    """Record all that is left, and in the first process move the run into the directory."""
    if todo.cells:
        plan = extractor.plan_cells(cells)
        if writer:
            writer.place_cells(plan.grid, plan.units)
    wanted = [a for a in ablations if a.name in todo.ablations]
    _extract_blocks(extractor, writer, todo, wanted, progress=progress)
    if writer:
        execution |= {"processes": processes().count} | ({"restless": extractor.unlike} if extractor.unlike else {})
        _finish(extractor, writer, todo, curves, execution)


def _extract_blocks(
    extractor: Extractor, writer: FeatureWriter | None, todo: _Todo, ablations: list[Ablation], *, progress: bool
) -> None:
    """Extract all blocks that are left, one a process at a time; the first process writes them in their order.

    A block is written in a thread of its own, while the next one is extracted.
    """
    n, block, team = len(extractor.data), extractor.block, processes()
    blocks, written = [range(s, min(s + block, n)) for s in range(todo.done, n, block)], Future()
    written.set_result(None)
    extractor.expect(blocks[team.rank :: team.count], todo.conditions, ablations, ends=team.first)
    extractor.prepare(todo.conditions, ablations)

    def write(rows: range, part: dict) -> None:
        writer.write(rows.start, **part)
        bar.update(len(rows))

    with tqdm(total=n, initial=todo.done, unit="image", desc=writer and writer.id, disable=not progress) as bar:
        try:
            with ThreadPoolExecutor(1) as beside:  # when left, however it is left, what is under way has been written
                for turn in range(0, len(blocks), team.count):
                    mine = blocks[turn + team.rank : turn + team.rank + 1]
                    own = [extractor.block_of(rows, todo.conditions, ablations, todo.cells) for rows in mine]
                    parts = [part for parts in team.gather(own) for part in parts]
                    for rows, part in zip(blocks[turn:], parts, strict=False):
                        written.result()  # an error of the last one; and no more than one waits
                        written = beside.submit(write, rows, part)
                written.result()
        except KeyboardInterrupt:
            if writer is None:
                raise
            raise KeyboardInterrupt(
                f"stopped; {writer.done} of {n} samples are safe in {writer.partial}: the same call goes on from there"
            ) from None


def _finish(
    extractor: Extractor, writer: FeatureWriter, todo: _Todo, curves: pd.DataFrame | None, execution: dict
) -> None:
    """Add what is asked of the run as a whole, and move it into the directory."""
    groups = extractor.data.groups
    on_grids, losses = grids_of(writer, groups) if todo.cells else ({}, {})
    writer.finish(
        purity=extractor.purity() if writer.fresh else None,
        isolated=extractor.isolation() if extractor.isolates(todo.conditions) else None,
        curves=curves,
        execution=execution,
        profiles=profiles_of(writer, groups) | on_grids if todo.cells else None,
        grids=losses,
    )


def _head(data: Dataset) -> dict:
    return {
        "name": data.name,
        "fingerprint": data.fingerprint(),
        "modalities": [m.as_json() for m in data.modalities],
        "classes": list(data.classes),
        "concepts": [asdict(c) for c in data.concepts],
        "families": list(data.families),
        "size": list(data.size),
        "samples": len(data),
    }


def _describe_run(model: nn.Module, run: dict[str, Any] | None) -> tuple[dict, pd.DataFrame | None]:
    run = dict(run or {})
    curves = run.pop("curves", None)
    if isinstance(curves, str | Path):
        curves = read_parquet(Path(curves))
    own = {"fusion": "custom", "seed": 0, "epoch": None, "role": None}
    main = {key: run.pop(key, getattr(model, key, default)) for key, default in own.items()}
    if main["epoch"] is None and main["role"] != "untrained":  # nobody says how far it was trained
        run["unknown"] = "epoch, role" if main["role"] is None else "epoch"
    main |= {key: value for key, value in {"epoch": 0, "role": "final"}.items() if main[key] is None}
    if main["role"] not in ROLES:
        raise ValueError(unknown('run["role"]', str(main["role"]), ROLES))
    for key in ("seed", "epoch"):
        if not isinstance(main[key], int | np.integer) or main[key] < 0:
            raise ValueError(f'`run["{key}"]` must be a whole number from 0; got {main[key]!r}')
    main |= {"fusion": str(main["fusion"]), "seed": int(main["seed"]), "epoch": int(main["epoch"]), "about": run}
    return main, curves


def _provenance(device: torch.device, claims: str | None) -> dict:
    """Device, torch version, commit of this package and digest of the claims, for execution.json."""
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine()
    return {
        "device": {"type": device.type, "name": name},
        "torch": torch.__version__,
        "commit": _commit(Path(__file__).parents[1]),
        "claims": claims,
    }


def _commit(package: Path) -> str | None:
    if os.environ.get("RGBD_INSIGHT_COMMIT"):  # where the code was copied without its history
        return os.environ["RGBD_INSIGHT_COMMIT"]
    try:
        lines = subprocess.run(
            ["git", "-C", str(package), "rev-parse", "--show-toplevel", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.split("\n")
    except (OSError, subprocess.SubprocessError):
        return None
    return lines[1] if Path(lines[0]) == package.parent else None  # not of a project that merely holds an environment
