"""Networks of your own code and weights of other programs, without ever unpickling an object."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rgbd_insight.utils.messages import unknown

INSIDE = ("state_dict", "model_state_dict", "state_dict_ema", "model", "net")  # where training scripts put the weights
PREFIXES = ("module.", "_orig_mod.")  # of nn.DataParallel and torch.compile


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
        A .safetensors file, or one of ``torch.save``, which is read with ``weights_only=True``: no object in it is made
        and no code in it runs. Weights may stand under "state_dict" or "model", and their names begin with "module.".

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
    given, own = _tensors(path), model.state_dict()
    absent = [name for name in own if name not in given]
    extra = [name for name in given if name not in own]
    wrong = [name for name in own if name in given and given[name].shape != own[name].shape]
    for what, names in (("misses", absent), ("does not know", extra), ("has in another shape", wrong)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(
                f"`checkpoint` must hold the weights of this very network; with {path} it {what} "
                f"{names[0]!r}{more}: build the network as it was trained"
            )
    model.load_state_dict(given)
    return model


def _tensors(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a file, wrappings taken off."""
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
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
    if not isinstance(found, dict) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise ValueError(f"{path} must hold tensors by name; got {type(found).__name__}: save model.state_dict()")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


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
