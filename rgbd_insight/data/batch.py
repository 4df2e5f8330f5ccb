"""What every dataset hands over: aligned images of each modality, labels and concept maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rgbd_insight.features import IGNORE as IGNORE
from rgbd_insight.features import Concept, Modality


@dataclass(frozen=True)
class Batch:
    """Aligned images of every modality with everything that is known of them.

    Attributes
    ----------
    inputs : dict of str to Tensor of float (B, C, H, W)
        The images of every modality, in the order of the dataset's `modalities`, which is that in which a network is
        given them: ``model(*batch.inputs.values())``. In the modality's unit, colour in [0, 1]; 0 where there is no
        reading.
    valid : dict of str to Tensor of bool (B, 1, H, W)
        False where a modality has no reading; modalities that are read everywhere may be left out.
    labels : Tensor, or None
        What is to be predicted: int64 (B, H, W) or (B,), the class of every pixel or image, an index into the dataset's
        `classes`, 255 = ignore; float (B, H, W), (B,) or (B, D), numbers of every pixel or image, NaN = unknown; or
        None where the data have no labels.
    concepts : Tensor of int16 (B, F, H, W)
        One plane a concept family; the index of a concept in the dataset's `concepts`, -1 where the family says
        nothing.
    ids : tuple of str
        One name a sample, unique in the dataset.
    groups : tuple of str
        The physical scene each sample comes from (the exchangeable thing).
    """

    inputs: dict[str, Tensor]
    valid: dict[str, Tensor]
    labels: Tensor | None
    concepts: Tensor
    ids: tuple[str, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        return self.each(lambda x: x.to(device, non_blocking=True))

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with every one of its tensors changed."""
        inputs, valid = ({name: change(x) for name, x in images.items()} for images in (self.inputs, self.valid))
        labels = None if self.labels is None else change(self.labels)
        return replace(self, inputs=inputs, valid=valid, labels=labels, concepts=change(self.concepts))


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
    modalities : tuple of Modality
        Two or more: colour, then depth or what takes its place, then any others; a network is given them in this order.
    size : (int, int)
        (H, W) of every image.
    groups : tuple of str
        The physical scene of each sample.

    Notes
    -----
    A class whose `batch` may be called by several threads at once may say so by ``concurrent = True``: extraction then
    reads ahead of a GPU. One with a method `inputs`, `batch` without concepts, is asked for these where that is enough.

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
    modalities: tuple[Modality, ...]
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
    if size < 1:
        raise ValueError(f"`size` must be 1 or more samples a batch; got {size}")
    indices = range(len(data)) if indices is None else indices
    for start in range(0, len(indices), size):
        yield data.batch(indices[start : start + size])


def joined(parts: Sequence[Batch]) -> Batch:
    """Batches of the same modalities, one after another.

    Parameters
    ----------
    parts : sequence of Batch
        One or more.

    Returns
    -------
    Batch
        All their samples.

    Examples
    --------
    >>> from rgbd_insight.data import Scenes
    >>> data = Scenes(n=3)
    >>> joined([data.batch([2]), data.batch([0, 1])]).ids == data.batch([2, 0, 1]).ids
    True
    """
    first = parts[0]
    return Batch(
        inputs={name: torch.cat([part.inputs[name] for part in parts]) for name in first.inputs},
        valid={name: torch.cat([part.valid[name] for part in parts]) for name in first.valid},
        labels=None if first.labels is None else torch.cat([part.labels for part in parts]),
        concepts=torch.cat([part.concepts for part in parts]),
        ids=tuple(name for part in parts for name in part.ids),
        groups=tuple(name for part in parts for name in part.groups),
    )


def inputs_of(data: Dataset) -> Callable[[Sequence[int]], Batch]:
    """What hands over the inputs of samples whose concepts nobody asks for: `data.inputs`, where there is one.

    Only where the class that says what a batch is says so too: of a class that changes its parent's batches, and of an
    object that hands on what it does not have, `batch` is asked.
    """
    owners = [next((kind for kind in type(data).__mro__ if name in vars(kind)), None) for name in ("batch", "inputs")]
    return data.inputs if owners[0] is owners[1] and "batch" not in getattr(data, "__dict__", ()) else data.batch


class Around:
    """A dataset around another one, of which everything is asked that is not said here.

    Parameters
    ----------
    data : Dataset
        Any dataset.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data

    def __getattr__(self, name: str) -> object:
        if name == "_data":  # asked for before it is there, as by pickle
            raise AttributeError(name)
        return getattr(self._data, name)

    def __len__(self) -> int:
        return len(self._data)


class Held(Around):
    """The same samples as `data`, each made once; everything else is asked of `data`.

    Parameters
    ----------
    data : Dataset
        Any dataset that fits into memory: about 40 bytes a pixel.

    Examples
    --------
    >>> from rgbd_insight.data import Scenes
    >>> data = Scenes(n=3)
    >>> torch.equal(Held(data).batch([2, 0]).labels, data.batch([2, 0]).labels)
    True
    """

    def __init__(self, data: Dataset) -> None:
        super().__init__(data)
        self._all = joined(list(batches(data, 128)))

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`."""
        rows = torch.as_tensor(list(indices))
        for i in rows.tolist():
            if not 0 <= i < len(self):
                raise ValueError(f"`indices` must be in 0…{len(self) - 1}; got {i}")
        ids, groups = (tuple(names[i] for i in rows.tolist()) for names in (self._all.ids, self._data.groups))
        return replace(self._all.each(lambda x: x[rows]), ids=ids, groups=groups)
