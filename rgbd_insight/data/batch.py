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
    rgb : float (B, 3, H, W), in [0, 1].
    depth : float (B, 1, H, W), in metres (or the unit of the second modality); 0 where there is no reading.
    valid : bool (B, 1, H, W), False where `depth` has no reading.
    labels : int64 (B, H, W), index into the dataset's `classes`; 255 = ignore.
    concepts : int16 (B, F, H, W), one plane a concept family; the index of a concept in the dataset's `concepts`,
        -1 where the family says nothing.
    ids : one name a sample, unique in the dataset.
    groups : the physical scene each sample comes from (the exchangeable thing).
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
    """What training and extraction ask of a dataset; any object with these members is one."""

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
    """Yield `data` in order in batches of `size` (the last may be smaller)."""
    indices = range(len(data)) if indices is None else indices
    for start in range(0, len(indices), size):
        yield data.batch(indices[start : start + size])


class Held:
    """The same samples as `data`, each made once; everything else is asked of `data`.

    Parameters
    ----------
    data : any dataset that fits into memory: about 40 bytes a pixel.

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
