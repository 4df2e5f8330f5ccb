"""What one brings to a dataset: concepts, from a table of attributes or a folder of masks, and labels of any task."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rgbd_insight.data.batch import Around, Batch, Dataset, inputs_of
from rgbd_insight.data.reading import rescale
from rgbd_insight.features import Concept, read_mask, read_own

SEEN = 16  # samples, whose labels tell those of two datasets apart
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


def with_labels(data: Dataset, labels: Callable[[Batch], Tensor] | None, *, classes: Sequence[str] = ()) -> WithLabels:
    """A dataset with other labels, or without any.

    Parameters
    ----------
    data : Dataset
        Any dataset.
    labels : callable or None
        From a batch to what is to be predicted, in one of the forms of `Batch.labels`; None: there are no labels.
    classes : sequence of str, optional
        Of labels that are classes; none of numbers.

    Returns
    -------
    WithLabels
        A dataset: to be extracted like any other. Its concepts are those of `data`.

    Examples
    --------
    >>> from rgbd_insight.data import Scenes
    >>> far = with_labels(Scenes(n=4), lambda batch: batch.inputs["depth"].mean((1, 2, 3)))
    >>> far.batch([0, 3]).labels.shape, far.classes, with_labels(far, None).batch([1]).labels
    (torch.Size([2]), (), None)
    """
    return WithLabels(data, labels, classes=classes)


class WithLabels(Around):
    """What `with_labels` returns.

    Parameters
    ----------
    data : Dataset
        Any dataset.
    labels : callable or None
        As for `with_labels`.
    classes : sequence of str, optional
        As for `with_labels`.
    """

    def __init__(self, data: Dataset, labels: Callable[[Batch], Tensor] | None, *, classes: Sequence[str] = ()) -> None:
        super().__init__(data)
        self._labels, self.classes = labels, tuple(classes)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`."""
        return self._labelled(self._data.batch(indices))

    def inputs(self, indices: Sequence[int]) -> Batch:
        """As `batch`, without concepts where the dataset can leave them out."""
        return self._labelled(inputs_of(self._data)(indices))

    def fingerprint(self) -> dict:
        """Those of the data, and a SHA-256 over the labels of up to 16 samples."""
        some = np.unique(np.linspace(0, len(self) - 1, min(SEEN, len(self))).astype(int)).tolist()
        found = None if self._labels is None else self.inputs(some).labels.cpu().numpy()
        seen = "none" if found is None else hashlib.sha256(np.ascontiguousarray(found).tobytes()).hexdigest()
        return self._data.fingerprint() | {"own labels": seen, "own classes": list(self.classes)}

    def _labelled(self, batch: Batch) -> Batch:
        return replace(batch, labels=None if self._labels is None else self._labels(batch))


class WithConcepts(Around):
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
        super().__init__(data)
        ids = list(getattr(data, "ids", ())) or [name for i in range(len(data)) for name in inputs_of(data)([i]).ids]
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

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`."""
        batch = self._data.batch(indices)
        return replace(batch, concepts=torch.cat([batch.concepts, self._planes(batch)], 1))

    def inputs(self, indices: Sequence[int]) -> Batch:
        """As `batch`, without concepts (-1 everywhere)."""
        batch = inputs_of(self._data)(indices)
        none = batch.concepts.new_full((len(batch), len(self.families), *self.size), -1)
        return replace(batch, concepts=none)

    def fingerprint(self) -> dict:
        """Those of the data, and what was read beside it."""
        return self._data.fingerprint() | {"own concepts": self._own.digest}

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
