"""Networks of your own code: what a word names, and the network that its factory makes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from rgbd_insight.models.checkpoints import load_weights
from rgbd_insight.utils.messages import unknown


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
    with importable():
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
            with importable(getattr(sys.modules.get(word.partition(":")[0]), "__file__", None)):
                made = made()
        except (Exception, SystemExit) as error:  # whatever the factory's own code raises
            raise ValueError(
                f"{word}() failed ({type(error).__name__}: {error}); write a function without arguments "
                "that returns the network"
            ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{word} must make a torch.nn.Module; got a {type(made).__name__}")
    return (made if checkpoint is None else load_weights(made, checkpoint)).eval()


@contextmanager
def importable(file: str | None = None) -> Iterator[None]:
    """Inside the ``with`` the current folder, and that of `file`, come first where Python looks for modules.

    Parameters
    ----------
    file : str, optional
        Of code that imports what lies beside it, when it is run or only when a function of it is called.

    Examples
    --------
    >>> before = list(sys.path)
    >>> with importable("elsewhere/networks.py"):
    ...     sys.path[1]
    'elsewhere'
    >>> sys.path == before
    True
    """
    places = [str(Path.cwd()), *([] if file is None else [str(Path(file).parent)])]
    sys.path[:0] = places
    try:
        yield
    finally:
        for place in places:
            if place in sys.path:
                sys.path.remove(place)
