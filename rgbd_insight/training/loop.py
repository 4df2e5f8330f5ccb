"""The one training loop: AdamW, one schedule, deterministic by seed, resumable after a kill."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path

import pandas as pd
import torch

from rgbd_insight.data import Dataset
from rgbd_insight.models import Network, save
from rgbd_insight.models.network import SEEDS
from rgbd_insight.training import state
from rgbd_insight.training.cache import Cache
from rgbd_insight.training.recipe import Recipe, log_spaced
from rgbd_insight.training.run import Run, repeatable
from rgbd_insight.utils.distributed import device_for, processes
from rgbd_insight.utils.files import Lock, nothing_left, room, sweep
from rgbd_insight.utils.messages import checked_whole, unknown


def train(
    model: Network,
    data: Dataset | Cache,
    *,
    out: str | Path,
    seed: int = 0,
    device: str | torch.device | None = None,
    checkpoints: Iterable[int] | None = None,
    resume: bool = True,
    progress: bool = True,
    **recipe: object,
) -> pd.DataFrame:
    """Train `model` in place; checkpoints, curves and the state for resuming go to `out`.

    Parameters
    ----------
    model : Network
        From ``build``; left on `device`, in evaluation mode.
    data : Dataset or Cache
        Training samples; give a :class:`Cache` where several runs share them.
    out : str or Path
        A folder: epoch-0000.safetensors …, curves.parquet, state.safetensors.
    seed : int, optional
        Of order, mirroring and modality dropout.
    device : str or torch.device, optional
        Default: the GPU where there is one.
    checkpoints : iterable of int, optional
        Epochs after which weights are kept; default 0, 1, 2, 4, 8, … and the last.
    resume : bool, optional
        Go on after the last whole epoch found in `out`; False starts again.
    progress : bool, optional
        Show a bar.
    **recipe : object
        Fields of :class:`Recipe`.

    Returns
    -------
    DataFrame
        A row an epoch: epoch, loss, accuracy (share of labelled pixels), lr, gradient_<stream> (mean norm at each
        encoder) and, with two encoders, gradient_cosine (of the two encoders' gradients from level 2 on; -1 to 1); with
        more, gradient_cosine_A+B of every two.

    Raises
    ------
    ValueError
        Where the data is empty or has a class that the model lacks (the sample is named), where an option is unknown,
        where `out` holds another run (the differing key is named), or where another process trains into it.
    FloatingPointError
        Where the loss is not finite (epoch and step are named).

    Notes
    -----
    All randomness of an epoch comes from (seed, epoch), so a run that was killed ends, on one device and number of
    threads, in the same weights as one that was not. Under ``torchrun`` each process takes a share of every batch and
    gradients are added up: a run of two processes differs from a run of one by rounding alone (tested: losses of two
    epochs agree to 1e-5 of their value), and may be continued with another number of them.

    Examples
    --------
    >>> from rgbd_insight.training.recipe import PROFILES
    >>> sorted(PROFILES["tiny"]["train"].items())
    [('batch_size', 16), ('epochs', 2)]
    """
    for name in recipe:
        if name not in {f.name for f in fields(Recipe)}:
            raise ValueError(unknown("option", name, [f.name for f in fields(Recipe)]))
    recipe = Recipe(**recipe)  # it says what is wrong with it before any image is read
    checked_whole("seed", seed, 0, SEEDS - 1, "0 is the default")
    kept = set(log_spaced(recipe.epochs) if checkpoints is None else checkpoints)
    for epoch in kept:
        checked_whole("checkpoints", epoch, 0, recipe.epochs, "name epochs of this training")
    team, device = processes(), device_for(device)
    progress = progress and team.first
    run = Run(model, Cache(data, progress=progress) if not isinstance(data, Cache) else data, recipe)
    run.prepare(device, seed)
    out = Path(out)
    with nothing_left(out), room(out, "every whole epoch is safe there"), Lock(out) if team.first else nullcontext():
        if team.first:
            sweep(out)
        if not resume and team.first:
            for old in [out / state.NAME, *state.checkpoints(out).values()]:
                old.unlink(missing_ok=True)  # an older run's checkpoints would pass for this one's
        team.barrier()
        curves = run.found(out)
        now = state.checkpoint(out, len(curves))
        if team.first and len(curves) in kept and not (curves and now.exists()):
            save(model, now)  # untrained; or a kill came just before it was written
        for epoch in range(len(curves) + 1, run.recipe.epochs + 1):
            with repeatable(device):
                curves.append(run.epoch(epoch, progress))
            if team.first:
                state.write_curves(out, curves)
                state.write(out, model, run.optimizer, {"run": run.identity, "curves": curves})
                if epoch in kept:  # last: weights of the last epoch say that all is there
                    save(model, state.checkpoint(out, epoch))
        team.barrier()
        model.eval()
        return state.write_curves(out, curves) if team.first else pd.DataFrame(curves)
