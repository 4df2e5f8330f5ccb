"""Write a folder of images that `Folder` reads: whole, or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Target:
    """A folder in the making; see `writing`."""

    path: Path

    def image(self, stem: str, colour: np.ndarray, metres: np.ndarray, label: np.ndarray) -> None:
        """Store colour uint8 (H, W, 3), depth float (H, W) in metres with 0 = missing, label uint8 (H, W)."""
        millimetres = np.where(np.isfinite(metres), metres, 0).clip(0, 65.535) * 1000
        Image.fromarray(np.ascontiguousarray(colour)).save(self.path / "rgb" / f"{stem}.png")
        Image.fromarray(millimetres.round().astype(np.uint16)).save(self.path / "depth" / f"{stem}.png")
        Image.fromarray(np.ascontiguousarray(label)).save(self.path / "label" / f"{stem}.png")

    def declare(self, name: str, value: Any) -> None:
        """Store a .json file."""
        text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
        (self.path / name).write_text(text, encoding="utf-8")


@contextmanager
def writing(out: str | Path) -> Iterator[Target]:
    """A new folder at `out`, there only if the ``with`` ends well.

    Raises
    ------
    ValueError
        Where there is something at `out` already.
    """
    out = Path(out)
    if out.exists():
        raise ValueError(f"`out` must be a new folder; there is something at {out}: name another, or remove it")
    partial = out.with_name(out.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)  # of a conversion that was killed
    made = [folder for folder in (out.parent, *out.parent.parents) if not folder.exists()]
    try:
        for name in ("rgb", "depth", "label"):
            (partial / name).mkdir(parents=True)
        yield Target(partial)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in made:
            folder.rmdir()
        raise
