"""A dataset kept in memory, for those who ask for its samples again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch

from rgbd_insight.data.batch import Batch, Dataset, batches


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
