"""Concepts of one's own in a dataset: attributes of images from a table, or masks from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rgbd_insight.data.batch import Batch, Dataset
from rgbd_insight.data.reading import rescale
from rgbd_insight.features import Concept, read_mask, read_own

ASPECT = 0.02  # by which height over width of a mask and of the images may differ


def with_concepts(data: Dataset, source: str | Path, *, others: bool = False) -> WithConcepts:
    r"""A dataset with concepts of one's own beside those it has.

    Parameters
    ----------
    data : Dataset
        Any dataset.
    source : str or Path
        A .csv with the columns id, concept and value, 1 where an image shows it (all of the image then counts as it)
        and 0 where not; or a folder of masks, CONCEPT/ID.png, in register with the images (what is not 0 is there).
        What is not listed is not there.
    others : bool, optional
        Whether `source` may name samples that `data` does not have, such as those of another split.

    Returns
    -------
    WithConcepts
        A dataset: to be extracted, or trained on, like any other.

    Raises
    ------
    FeaturesError
        For a source that is not as described; it names the line. Of a value between 0 and 1: maps say where a concept
        is, not how much; join such a table to the features, ``ri.load(…).with_concepts(source)``.

    Examples
    --------
    >>> import tempfile
    >>> from rgbd_insight.data import Scenes
    >>> scenes, file = Scenes(n=2), Path(tempfile.mkdtemp()) / "mine.csv"
    >>> _ = file.write_text("\n".join(["id,concept,value", *(f"{name},cosy,1" for name in scenes.batch([0, 1]).ids)]))
    >>> data = with_concepts(scenes, file)
    >>> data.concepts[-1].name, bool((data.batch([1]).concepts[0, -1] == len(data.concepts) - 1).all())
    ('cosy', True)
    """
    return WithConcepts(data, source, others=others)


class WithConcepts:
    """What `with_concepts` returns: everything but concepts is asked of the dataset.

    Parameters
    ----------
    data : Dataset
        Any dataset.
    source : str or Path
        As for `with_concepts`.
    others : bool, optional
        As for `with_concepts`.
    """

    def __init__(self, data: Dataset, source: str | Path, *, others: bool = False) -> None:
        self._data = data
        ids = list(getattr(data, "ids", ())) or [name for i in range(len(data)) for name in self._bare([i]).ids]
        self._own = read_own(source, ids, [c.name for c in data.concepts], others=others)
        between = np.argwhere((self._own.areas > 0) & (self._own.areas < 1)) if not self._own.masks else []
        if len(between):
            row, k = between[0]
            raise ValueError(
                f"`source` must hold 0 or 1 for a dataset; {self._own.names[k]!r} of {ids[row]!r} is "
                f"{self._own.areas[row, k]:g}: join the table to the features, ri.load(…).with_concepts(source)"
            )
        self._rows = {name: row for row, name in enumerate(ids)}
        self.families = (*data.families, *self._own.names)
        self.concepts = (*data.concepts, *(Concept(name, name) for name in self._own.names))

    def __getattr__(self, name: str) -> object:
        if name == "_data":  # asked for before it is there, as by pickle
            raise AttributeError(name)
        return getattr(self._data, name)

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`."""
        batch = self._data.batch(indices)
        return replace(batch, concepts=torch.cat([batch.concepts, self._planes(batch)], 1))

    def inputs(self, indices: Sequence[int]) -> Batch:
        """As `batch`, without concepts (-1 everywhere)."""
        batch = self._bare(indices)
        none = batch.concepts.new_full((len(batch), len(self.families), *self.size), -1)
        return replace(batch, concepts=none)

    def fingerprint(self) -> dict:
        """Those of the data, and what was read beside it."""
        return self._data.fingerprint() | {"own concepts": self._own.digest}

    def _bare(self, indices: Sequence[int]) -> Batch:
        return getattr(self._data, "inputs", self._data.batch)(indices)

    def _planes(self, batch: Batch) -> Tensor:
        """A plane (B, K, H, W) of each own concept."""
        first = len(self._data.concepts)
        planes = torch.full((len(batch), len(self._own.names), *self.size), -1, dtype=torch.int16)
        for row, name in enumerate(batch.ids):
            for k, concept in enumerate(self._own.names):
                file = self._own.masks.get((name, concept))
                if file is not None:
                    planes[row, k][torch.from_numpy(self._mask(file))] = first + k
                elif self._own.areas[self._rows[name], k] == 1:
                    planes[row, k] = first + k
        return planes.to(batch.concepts.device)

    def _mask(self, file: Path) -> np.ndarray:
        """Where a mask is not 0, at the images' size."""
        mask, (h, w) = read_mask(file), self.size
        if abs(mask.shape[0] / mask.shape[1] / (h / w) - 1) > ASPECT:
            raise ValueError(f"{file} must have the aspect of the images, {h} x {w}; got {mask.shape}: crop it alike")
        return rescale(mask.astype(np.uint8), self.size) > 0
