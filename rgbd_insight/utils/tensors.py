"""Tensors on disk with a text beside them and a digest over both: a flipped byte is never taken for other weights."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from rgbd_insight.utils.files import whole

_SEALED = re.compile(r"([0-9a-f]{64}) (.*)", re.DOTALL)


class Damaged(ValueError):
    """The bytes are not those that were written."""


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], key: str, text: str) -> None:
    """Write tensors to a .safetensors file with `text` in its metadata, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file.
    tensors : mapping of str to Tensor
        On any device.
    key : str
        The only entry of the metadata: the order of several is not fixed, and equal content gives equal bytes.
    text : str
        What it says.

    Notes
    -----
    The entry holds the SHA-256 of text and tensors, a space, and the text.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.safetensors"
    >>> write_tensors(path, {"x": torch.ones(2)}, "about", "two ones")
    >>> text, tensors = read_tensors(path, "about")
    >>> text, tensors["x"].tolist()
    ('two ones', [1.0, 1.0])
    """
    kept = {name: x.detach().cpu().contiguous() for name, x in tensors.items()}
    with whole(path) as partial:
        save_file(kept, partial, {key: f"{_digest(text, kept)} {text}"})


def read_tensors(path: str | Path, key: str) -> tuple[str | None, dict[str, Tensor]]:
    """The text and the tensors of a file from `write_tensors`.

    Parameters
    ----------
    path : str or Path
        The file.
    key : str
        Of the text.

    Returns
    -------
    (str or None, dict of str to Tensor)
        None where the metadata has no such entry. A file without a digest, of an earlier version, is taken as it is.

    Raises
    ------
    Damaged
        Where the digest is not that of the content.
    SafetensorError
        Where it is no such file.
    """
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(key)
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    sealed = _SEALED.fullmatch(text or "")
    if sealed is None:
        return text, tensors
    if _digest(sealed[2], tensors) != sealed[1]:
        raise Damaged(f"{path} is damaged: its digest is not that of what is in it; restore it, or make it again")
    return sealed[2], tensors


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        x = tensors[name]
        found.update(f"\n{name} {x.dtype} {tuple(x.shape)}\n".encode())
        found.update(x.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
