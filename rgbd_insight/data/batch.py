"""What every dataset hands over: aligned colour, depth, labels and concept maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rgbd_insight.features import Concept, Modality

IGNORE = 255


@dataclass(frozen=True)
class Batch:
    """Aligned image pairs with everything that is known of them.

    Attributes
    ----------
    rgb : Tensor of float (B, 3, H, W)
        In [0, 1].
    depth : Tensor of float (B, 1, H, W)
        In metres (or the unit of the second modality); 0 where there is no reading.
    valid : Tensor of bool (B, 1, H, W)
        False where `depth` has no reading.
    labels : Tensor of int64 (B, H, W)
        Index into the dataset's `classes`; 255 = ignore.
    concepts : Tensor of int16 (B, F, H, W)
        One plane a concept family; the index of a concept in the dataset's `concepts`, -1 where the family says
        nothing.
    ids : tuple of str
        One name a sample, unique in the dataset.
    groups : tuple of str
        The physical scene each sample comes from (the exchangeable thing).
    """

    rgb: Tensor
    depth: Tensor
    valid: Tensor
    labels: Tensor
    concepts: Tensor
    ids: tuple[str, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)[:5]}
        return replace(self, **moved)


@runtime_checkable
class Dataset(Protocol):
    """What training and extraction ask of a dataset; any object with these members is one.

    Attributes
    ----------
    name : str
        Of the data.
    classes : tuple of str
        Task classes, in the order of the labels.
    concepts : tuple of Concept
        In the order of the indices in concept maps.
    families : tuple of str
        Concept families, one plane of the concept maps each.
    modalities : (Modality, Modality)
        Colour, then depth or what takes its place.
    size : (int, int)
        (H, W) of every image.
    groups : tuple of str
        The physical scene of each sample.

    Examples
    --------
    >>> from rgbd_insight.data import Scenes
    >>> isinstance(Scenes(n=2), Dataset)
    True
    """

    name: str
    classes: tuple[str, ...]
    concepts: tuple[Concept, ...]
    families: tuple[str, ...]
    modalities: tuple[Modality, Modality]
    size: tuple[int, int]
    groups: tuple[str, ...]

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`, in that order; the same bytes however they are batched."""
        ...

    def fingerprint(self) -> dict:
        """JSON values that differ whenever the samples differ."""
        ...


def batches(data: Dataset, size: int, indices: Sequence[int] | None = None) -> Iterator[Batch]:
    """The samples of a dataset, batch by batch.

    Parameters
    ----------
    data : Dataset
        Where they come from.
    size : int
        Samples a batch; the last may be smaller.
    indices : sequence of int, optional
        Which samples, in that order; None is all of them.

    Yields
    ------
    Batch
        The next samples.

    Examples
    --------
    >>> from rgbd_insight.data import Scenes
    >>> [len(batch) for batch in batches(Scenes(n=5), 2)]
    [2, 2, 1]
    """
    indices = range(len(data)) if indices is None else indices
    for start in range(0, len(indices), size):
        yield data.batch(indices[start : start + size])


class Held:
    """The same samples as `data`, each made once; everything else is asked of `data`.

    Parameters
    ----------
    data : Dataset
        Any dataset that fits into memory: about 40 bytes a pixel.

    Examples
    --------
    >>> from rgbd_insight.data import Scenes
    >>> data = Scenes(n=3)
    >>> torch.equal(Held(data).batch([2, 0]).depth, data.batch([2, 0]).depth)
    True
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        parts = list(batches(data, 128))
        tensors = [f.name for f in fields(Batch)[:5]]
        self._planes = {name: torch.cat([getattr(part, name) for part in parts]) for name in tensors}
        self._ids = [name for part in parts for name in part.ids]

    def __getattr__(self, name: str) -> object:
        if name == "_data":  # asked for before it is there, as by pickle
            raise AttributeError(name)
        return getattr(self._data, name)

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`."""
        rows = torch.as_tensor(list(indices))
        ids, groups = (tuple(names[i] for i in rows.tolist()) for names in (self._ids, self._data.groups))
        return Batch(**{name: x[rows] for name, x in self._planes.items()}, ids=ids, groups=groups)
