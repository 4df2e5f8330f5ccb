"""Networks of your own code and weights of other programs, without ever unpickling an object."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from rgbd_insight.utils.messages import unknown

INSIDE = ("state_dict", "model_state_dict", "state_dict_ema", "model", "net")  # where training scripts put the weights
PREFIXES = ("module.", "_orig_mod.", "model.")  # of nn.DataParallel, torch.compile and Lightning
COUNTER = "num_batches_tracked"  # of batch normalisation: old files lack it, and a trained network does not look at it


def import_object(word: str) -> Any:
    """What "module:name" names; the current folder is searched first, as Python itself does.

    Parameters
    ----------
    word : str
        A dotted module and a dotted name in it. Importing runs the module's code: name only what you trust.

    Returns
    -------
    object
        Whatever bears the name.

    Raises
    ------
    ValueError
        Where there is no such module or name, or its code fails; it lists the nearest names.

    Examples
    --------
    >>> import_object("torch.nn:ReLU").__name__
    'ReLU'
    """
    place, colon, name = word.partition(":")
    if not colon or not all(part.isidentifier() for part in [*place.split("."), *name.split(".")]):
        raise ValueError(f'must be "module:name", such as my_networks:make; got {word!r}')
    with _current_folder():
        try:
            found = importlib.import_module(place)
        except (Exception, SystemExit) as error:  # whatever the module's own code raises
            raise ValueError(
                f"{place!r} cannot be imported ({type(error).__name__}: {error}); run the command where "
                "Python finds it, or install it"
            ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{word}: " + unknown("name", part, vars(found) if hasattr(found, "__dict__") else ()))
        found = getattr(found, part)
    return found


def import_model(word: str, checkpoint: str | Path | None = None) -> nn.Module:
    """The network that a factory of your own code makes, with weights from `checkpoint`, in evaluation mode.

    Parameters
    ----------
    word : str
        "module:factory"; the factory is called without arguments, and a network itself is taken as it is.
    checkpoint : str or Path, optional
        Weights for :func:`load_weights`; None leaves those that the factory made.

    Returns
    -------
    Module
        In evaluation mode.

    Raises
    ------
    ValueError
        Where the factory fails or makes no ``nn.Module``, or the weights do not fit.

    Examples
    --------
    >>> import_model("torch.nn:Identity")
    Identity()
    """
    made = import_object(word)
    if not isinstance(made, nn.Module):
        if not callable(made):
            raise ValueError(f"{word} must be a function that makes a network; got a {type(made).__name__}")
        try:
            made = made()
        except (Exception, SystemExit) as error:  # whatever the factory's own code raises
            raise ValueError(
                f"{word}() failed ({type(error).__name__}: {error}); write a function without arguments "
                "that returns the network"
            ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{word} must make a torch.nn.Module; got a {type(made).__name__}")
    return (made if checkpoint is None else load_weights(made, checkpoint)).eval()


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Put the weights of a file into `model`; every weight of the model must be there, in its shape.

    Parameters
    ----------
    model : Module
        Any module.
    path : str or Path
        A .safetensors file, or one of ``torch.save``: no object in it is made and no code in it runs, so that settings
        and scores beside the weights do no harm. Weights may stand under "state_dict" or "model", their names behind
        "module.", "_orig_mod." or "model.", several times over; a weight that modules share may be there once, and the
        counters of batch normalisation may be missing.

    Returns
    -------
    Module
        The model.

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
    own = {k: v for k, v in model.state_dict(keep_vars=True).items() if isinstance(v, Tensor)}
    given = _completed(_bare_names(_tensors(path), own), own)
    both = given.keys() & own.keys()
    alike = _shared(own)
    faults = {
        "misses": own.keys() - both,
        "does not know": given.keys() - both,
        "has in another shape": {k for k in both if given[k].shape != own[k].shape},
        "has as another kind of number": {k for k in both if _kind(given[k]) != _kind(own[k])},
        "shares with another weight, of other values there,": {
            k for k in both if alike[k] in both and not _equal(given[k], given[alike[k]])
        },
    }
    for what, found in faults.items():
        names = [name for name in (*own, *given) if name in found]  # in the order of the network
        if names:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise ValueError(
                f"`checkpoint` must hold the weights of this very network; with {path} it {what} "
                f"{names[0]!r}{more}: build the network as it was trained"
            )
    model.load_state_dict(given)
    if isinstance(getattr(model, "epoch", None), int):
        model.epoch = None  # these weights are of another one, which they do not say
    return model


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
    with suppress(ValueError):  # a file of before torch 1.6 or one that is none: what it holds is refused or plain
        others = get_unsafe_globals_in_checkpoint(path)
    with safe_globals([(_Beside, name) for name in others]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _tensors(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a file, wrappings taken off."""
    try:
        found: Any = load_file(path) if path.suffix == ".safetensors" else _saved(path)
    except SafetensorError as error:
        raise ValueError(f"{path} must be a safetensors file; it is none ({error}): save it again") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} must hold tensors alone; it is damaged, or holds objects whose code would be run: "
            "save model.state_dict(), best as .safetensors"
        ) from error
    except Exception as error:  # whatever the reader of a damaged file, or of one that is none, stumbles over
        raise ValueError(f"{path} cannot be read as weights ({error}); save model.state_dict() again") from error
    while isinstance(found, dict) and (inside := next((k for k in INSIDE if isinstance(found.get(k), dict)), None)):
        found = found[inside]
    pairs = found.items() if isinstance(found, dict) else ()
    tensors = {k: v for k, v in pairs if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        got = "an object of its own code" if isinstance(found, _Beside) else type(found).__name__
        raise ValueError(f"{path} must hold tensors by name; got {got}: save model.state_dict()")
    return tensors


@contextmanager
def _current_folder() -> Iterator[None]:
    """The current folder first on the path, as for ``python -m``; an installed command leaves it out."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
