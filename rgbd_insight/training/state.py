"""What a training run leaves in its folder: weights by epoch, curves, and all that it needs to go on after a kill."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rgbd_insight.utils.files import write_parquet
from rgbd_insight.utils.tensors import Damaged, read_tensors, write_tensors

NAME = "state.safetensors"


def checkpoint(folder: str | Path, epoch: int) -> Path:
    """The file of the weights after an epoch, in the folder of a run.

    Parameters
    ----------
    folder : str or Path
        The `out` of :func:`train`.
    epoch : int
        From 0, the untrained network.

    Returns
    -------
    Path
        Whether or not the file is there.

    Examples
    --------
    >>> checkpoint("runs/sum-s0", 4).name
    'epoch-0004.safetensors'
    """
    return Path(folder) / f"epoch-{epoch:04d}.safetensors"


def checkpoints(folder: str | Path) -> dict[int, Path]:
    """The files of weights that there are in the folder of a run.

    Parameters
    ----------
    folder : str or Path
        The `out` of :func:`train`.

    Returns
    -------
    dict of int to Path
        By epoch, rising.

    Examples
    --------
    >>> checkpoints("no/such/folder")
    {}
    """
    files = {file.stem.removeprefix("epoch-"): file for file in Path(folder).glob("epoch-*.safetensors")}
    return {int(number): files[number] for number in sorted(filter(str.isdecimal, files), key=int)}


def write(out: Path, model: nn.Module, optimizer: torch.optim.Optimizer, about: dict) -> None:
    """Write weights, optimizer and `about` (JSON values: the recipe, the epoch, the curves) to `out`."""
    tensors = {f"model/{name}": x for name, x in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, x in optimizer.state[parameter].items():
            tensors[f"optimizer/{name}/{key}"] = x
    write_tensors(out / NAME, tensors, "about", json.dumps(about))


def read(out: Path) -> tuple[dict, dict[str, Tensor]] | None:
    """The `about` of the state in `out` and its tensors; None where there is none."""
    if not (out / NAME).is_file():
        return None
    try:
        text, tensors = read_tensors(out / NAME, "about")
        about = json.loads(text or "")
    except Damaged as error:
        raise Damaged(f"{error}: remove the file to start again") from None
    except (ValueError, RecursionError, SafetensorError):
        about = None
    if not _whole(about):
        raise ValueError(f"{out / NAME} is damaged: it does not say of which run it is; remove it to start again")
    return about, tensors


def _whole(about: object) -> bool:
    """Whether all is there that a run looks up."""
    run, curves = (about.get("run"), about.get("curves")) if isinstance(about, dict) else (None, None)
    rows = isinstance(curves, list) and all(isinstance(row, dict) and row.keys() >= {"epoch", "loss"} for row in curves)
    rows = rows and all(isinstance(x, int | float | None) for row in curves for x in row.values())
    size = run["data"].get("size") if isinstance(run, dict) and isinstance(run.get("data"), dict) else ""
    return rows and (
        size is None or (isinstance(size, list) and len(size) == 2 and all(type(n) is int and n > 0 for n in size))
    )


def restore(found: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the tensors of a state into `model` and `optimizer`, in the memory layout that the parameters have."""
    model.load_state_dict({name[6:]: x for name, x in found.items() if name.startswith("model/")})
    for name, parameter in model.named_parameters():
        prefix = f"optimizer/{name}/"
        for key in (key for key in found if key.startswith(prefix)):
            x = found[key]
            # the layout decides which kernel adds the moments up, and with it the last bit of the next step
            kept = torch.empty_like(parameter).copy_(x) if x.shape == parameter.shape else x
            if optimizer.defaults["capturable"]:
                kept = kept.to(parameter.device)  # the count of steps too
            optimizer.state[parameter][key.removeprefix(prefix)] = kept


def write_curves(out: Path, curves: list[dict]) -> pd.DataFrame:
    """The curves as a table, written to `out`/curves.parquet."""
    table = pd.DataFrame(curves)
    write_parquet(out / "curves.parquet", table)
    return table
