"""Weights of other programs, as torch itself would load them, without ever unpickling an object."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from rgbd_insight.utils.reading import check_zip, ordinary

INSIDE = (  # where training scripts put the weights
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "segmenter",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema",
    "ema",
)
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "segmenter.", "ema_model.", "ema.")
COUNTER = "num_batches_tracked"  # of batch normalisation: old files lack it, and a trained network does not look at it
EXTRA = "_extra_state"  # what a module keeps beside its tensors
COUNTED = re.compile(r"(^|\.)(total_ops|total_params)$")  # what thop leaves behind where it has counted operations
AUXILIARY = re.compile(r"(^|\.)aux[^.]*(\.|$)")  # a head that only training has
GLOBAL = re.compile(r"GLOBAL (\S+) was not an allowed global")
TRIES = 100


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Put the weights of a file into `model`; every weight of the model must be there, in its shape.

    Parameters
    ----------
    model : Module
        Any module; where its class loads weights in a way of its own, such as renaming old ones, it does so.
    path : str or Path
        A .safetensors file, or one of ``torch.save``: no object in it is made and no code in it runs, so that settings
        and scores beside the weights do no harm. Weights may stand under "state_dict", "model" or "model_ema" and the
        like, their names behind "module.", "_orig_mod." or "model." and the like, several times over; a weight that
        modules share may be there once, and the counters of batch normalisation may be missing. Heads that only
        training has ("aux…") and counts of operations are left out.

    Returns
    -------
    Module
        The model. A warning lists what was left out, renamed or kept as the model had it.

    Raises
    ------
    ValueError
        Where the file holds other things than tensors, or other weights than the model's.

    Examples
    --------
    >>> import tempfile
    >>> model, path = nn.Linear(2, 1), Path(tempfile.mkdtemp()) / "weights.pt"
    >>> torch.save({"state_dict": {f"module.{k}": torch.zeros_like(v) for k, v in model.state_dict().items()}}, path)
    >>> load_weights(model, path).weight.tolist()
    [[0.0, 0.0]]
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"`checkpoint` must be a file of weights; there is none at {path}")
    state = model.state_dict(keep_vars=True)
    own = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    bare = _bare_names(_tensors(path), own)
    dropped = [k for k in bare if k not in own and (COUNTED.search(k) or AUXILIARY.search(k) or k.endswith(EXTRA))]
    used = {k: v for k, v in bare.items() if k not in dropped}
    given = _completed(used, own)
    faults = _faults(given, own)
    renames = bool({*faults} & {"misses", "does not know"}) and _loads_itself(model)
    if faults and not renames:
        what, names = next(iter(faults.items()))
        raise ValueError(_refusal(path, what, names))
    if renames:
        _load_itself(model, used, path)
    else:
        model.load_state_dict(given | {k: v for k, v in state.items() if k not in own})
    kept = [k for k in given if k not in used and k.endswith(COUNTER)]
    _list(path, dropped, kept, [k for k in used if k not in own] if renames else [])
    if isinstance(getattr(model, "epoch", None), int):
        model.epoch = None  # these weights are of another one, which they do not say
    return model


def _faults(given: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, list[str]]:
    """What keeps `given` from being the weights of the network, and of which of them, in its order."""
    both, alike = given.keys() & own.keys(), _shared(own)
    faults = {
        "misses": own.keys() - both,
        "does not know": given.keys() - both,
        "has in another shape": {k for k in both if given[k].shape != own[k].shape},
        "has as another kind of number": {k for k in both if _kind(given[k]) != _kind(own[k])},
        "shares with another weight, of other values there,": {
            k for k in both if alike[k] in both and not _equal(given[k], given[alike[k]])
        },
    }
    return {what: [name for name in (*own, *given) if name in found] for what, found in faults.items() if found}


def _refusal(path: Path, what: str, names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"`checkpoint` must hold the weights of this very network; with {path} it {what} {names[0]!r}{more}: build the "
        "network as it was trained"
    )


def _list(path: Path, dropped: list[str], kept: list[str], renamed: list[str]) -> None:
    """Warn of what the file and the network do not have in common."""
    said = [
        f"{what} {_some(names)}"
        for what, names in (
            ("left out", dropped),
            ("kept as the network had them", kept),
            ("renamed by the network's own load_state_dict", renamed),
        )
        if names
    ]
    if said:
        warnings.warn(f"weights of {path.name}: {'; '.join(said)}", stacklevel=3)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _loads_itself(model: nn.Module) -> bool:
    """Whether the network, or a part of it, has a way of its own of loading weights."""
    return type(model).load_state_dict is not nn.Module.load_state_dict or any(
        m._load_state_dict_pre_hooks or "_load_from_state_dict" in vars(type(m)) and not _of_torch(m)
        for m in model.modules()
    )


def _of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.")


def _load_itself(model: nn.Module, given: dict[str, Tensor], path: Path) -> None:
    """Let the network load the weights by its own rule; a ValueError where that leaves any of them as it was."""
    before = {k: v.detach().clone() for k, v in model.state_dict().items() if isinstance(v, Tensor)}
    try:
        with torch.no_grad():
            for x in (*model.parameters(), *model.buffers()):
                if x.is_floating_point():
                    x.fill_(torch.nan)
        model.load_state_dict(given)
        state = model.state_dict()
        left = [k for k in before if state[k].is_floating_point() and state[k].numel() and bool(state[k].isnan().all())]
        if left:
            raise ValueError(_refusal(path, "misses", left))
    except Exception as error:
        nn.Module.load_state_dict(model, before, strict=False)
        if isinstance(error, ValueError):
            raise
        said = re.sub(r"\s+", " ", str(error))
        raise ValueError(
            f"`checkpoint` must hold the weights of this very network; its own load_state_dict refuses {path} "
            f"({said[:200]}): build the network as it was trained"
        ) from error


def _kind(x: Tensor) -> tuple[bool, bool]:
    """Whether real with a fraction, or complex: weights of a quantised file are no weights of a network in floats."""
    return x.is_floating_point(), x.is_complex()


def _equal(x: Tensor, y: Tensor) -> bool:
    return x is y or (x.dtype == y.dtype and torch.equal(x, y))


def _shared(own: dict[str, Tensor]) -> dict[str, str]:
    """The first name of the tensor behind each name: modules that share a weight name it twice."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(x), name) for name, x in own.items()}


def _completed(given: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """`given` with what files leave out: further names of a shared weight, counters of batches."""
    first = _shared(own)
    kept = {first[name]: name for name in given if name in own}  # any of a weight's names may be the one that was kept
    found = dict(given)
    for name, x in own.items():
        if name in given:
            continue
        if first[name] in kept:
            found[name] = given[kept[first[name]]]
        elif name.rpartition(".")[2] == COUNTER:
            found[name] = x.detach()
    return found


def _bare_names(given: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """`given` without what wrappers put before every name, as long as no name is the network's own."""
    while not given.keys() & own.keys():
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in given)), None)
        if prefix is None:
            break
        given = {name.removeprefix(prefix): tensor for name, tensor in given.items()}
    return given


class _Beside:
    """Takes the place of any object that a file holds beside its tensors: whatever made it is not called."""

    def __init__(self, *_: object, **__: object) -> None:
        """Of what is used to make it, nothing is kept."""

    def __setstate__(self, _: object) -> None:
        """Its state is nothing to us."""


def _saved(path: Path) -> Any:
    """What ``torch.save`` wrote: tensors, containers, numbers and texts; anything else is a `_Beside`."""
    others: list[str] = []
    with suppress(ValueError):  # a file of before torch 1.6: what it holds is found one by one
        others = get_unsafe_globals_in_checkpoint(path)
    for _ in range(TRIES):
        try:
            with safe_globals([(_Beside, name) for name in others]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            found = GLOBAL.search(str(error))
            if found is None or found[1] in others:
                raise
            others.append(found[1])
    raise ValueError(f"more than {TRIES} kinds of objects")


def _tensors(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a file, wrappings taken off."""
    try:
        if zipfile.is_zipfile(ordinary(path)):
            check_zip(path)
        found: Any = load_file(path) if path.suffix == ".safetensors" else _saved(path)
    except SafetensorError as error:
        raise ValueError(f"{path} must be a safetensors file; it is none ({error}): save it again") from error
    except pickle.UnpicklingError as error:
        raise ValueError(_unread(path, str(error))) from error
    except Exception as error:  # whatever the reader of a damaged file, or of one that is none, stumbles over
        raise ValueError(f"{path} cannot be read as weights ({error}); save model.state_dict() again") from error
    while isinstance(found, dict) and (inside := next((k for k in INSIDE if _holds(found.get(k))), None)):
        found = found[inside]
    pairs = found.items() if isinstance(found, dict) else ()
    tensors = {k: v for k, v in pairs if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        got = "an object of its own code" if isinstance(found, _Beside) else type(found).__name__
        raise ValueError(f"{path} must hold tensors by name; got {got}: save model.state_dict()")
    return tensors


def _holds(value: Any) -> bool:
    """Whether it is a dict with tensors in it, or with a dict that may have some."""
    return isinstance(value, dict) and any(isinstance(x, Tensor | dict) for x in value.values())


def _unread(path: Path, said: str) -> str:
    """What to say of a file that torch does not read without running code: the object, where it names one."""
    found = GLOBAL.search(said)
    what = "it is damaged, or holds objects" if found is None else f"it holds {found[1]}, or other objects"
    return (
        f"{path} must hold tensors alone; {what} whose code would be run: where you trust it, load it once with "
        "torch.load(path, weights_only=False) and save its state_dict(), best as .safetensors"
    )
