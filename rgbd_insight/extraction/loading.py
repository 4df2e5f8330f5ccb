"""Samples on their way to the network: read in threads, ahead of a GPU, and kept while they are asked for again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgbd_insight.data import Batch, Dataset
from rgbd_insight.data.batch import inputs_of, joined
from rgbd_insight.extraction.blocks import check_batch
from rgbd_insight.utils.distributed import processes

KEPT = 2**28  # bytes, at most, of inputs that are kept for those who will ask for them
THREADS = 8  # that read ahead of a GPU, at most

Block = tuple[Batch, list[Batch]]  # with concepts, and the partners' inputs in every draw


class Loader:
    """Batches of `data`, checked and on `device`; the same bytes in every way of reading them.

    Where the network computes on another device, or `workers` are asked for, the block after the one at hand is read
    meanwhile. Threads, as decoding and torch let go of Python's lock: nothing has to be pickled, and no program needs a
    ``__main__`` of its own. Only a dataset that says so (`concurrent`) is asked by several of them unasked.

    Parameters
    ----------
    data : Dataset
        What is read.
    device : torch.device
        Where batches go.
    workers : int or None
        As for `extract`.
    """

    def __init__(self, data: Dataset, device: torch.device, workers: int | None = None) -> None:
        self.data, self.device = data, device
        self.threads, self.ahead = _threads(data, device, workers)
        self._pool = _started(self.threads) if self.threads > 1 else None
        self._front = _started(1) if self.ahead else None  # one at a time: what is kept needs no lock
        self._due: Counter[int] = Counter()  # how often each sample will still be asked for, without concepts
        self._kept: dict[int, Batch] = {}
        self._room = KEPT
        self._after: dict[range, range] = {}
        self._coming: dict[range, Future] = {}
        self._partners = np.empty((0, len(data)), int)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._pool, self._front):
            if pool:  # what is read ahead ends with the part at hand
                pool.shutdown(cancel_futures=True)

    def expect(self, blocks: Sequence[range], partners: np.ndarray, others: Iterable[int] = ()) -> None:
        """Say what will be asked for: blocks in their order, beside `partners` (draws, N), and once each `others`."""
        self._after, self._partners = dict(zip(blocks, blocks[1:], strict=False)), partners
        self._due = Counter(int(row) for rows in blocks for row in partners[:, rows.start : rows.stop].flat)
        self._due.update(int(row) for row in others)

    def block(self, rows: range) -> Block:
        """The samples `rows` with their concepts, and the inputs of their partners."""
        own, others = self._coming.pop(rows).result() if rows in self._coming else self._ask(self._block, rows)
        return own.to(self.device), [other.to(self.device) for other in others]

    def read_on(self, rows: range) -> None:
        """Begin with the block that follows `rows`, where it can be read meanwhile."""
        if self._front and (following := self._after.get(rows)):
            self._coming[following] = self._front.submit(self._block, following)

    def inputs(self, rows: Sequence[int]) -> Batch:
        """The inputs of some samples, without labels and concepts."""
        return self._ask(self._inputs, [int(row) for row in rows]).to(self.device)

    def _ask(self, load: Callable[..., Any], rows: Sequence[int]) -> Any:
        return self._front.submit(load, rows).result() if self._front else load(rows)

    def _block(self, rows: range) -> Block:
        own = self._read(self.data.batch, rows)
        self._keep(own, rows)
        return self._ready(own), [self._inputs(draw[rows.start : rows.stop].tolist()) for draw in self._partners]

    def _inputs(self, rows: list[int]) -> Batch:
        absent = [row for row in dict.fromkeys(rows) if row not in self._kept]
        found = {row: self._kept[row] for row in rows if row in self._kept}
        for row in rows:
            self._due[row] -= 1
            if self._due[row] <= 0 and row in self._kept:
                self._room += _bytes(self._kept.pop(row))
        if absent:
            read = _bare(self._read(inputs_of(self.data), absent))
            self._keep(read, absent)
            if absent == rows:
                return self._ready(read)
            found |= {row: _one(read, i) for i, row in enumerate(absent)}
        return self._ready(joined([found[row] for row in rows]))

    def _read(self, load: Callable[[Sequence[int]], Batch], rows: Sequence[int]) -> Batch:
        """What `load` gives for `rows`, checked, a part a thread."""

        def part(some: Sequence[int]) -> Batch:
            return check_batch(load(some), self.data)

        size = -(-len(rows) // self.threads)
        if self._pool is None or size == len(rows):
            return part(rows)
        return joined(list(self._pool.map(part, (rows[s : s + size] for s in range(0, len(rows), size)))))

    def _keep(self, batch: Batch, rows: Sequence[int]) -> None:
        """Keep the inputs that are asked for again, while there is room."""
        for i, row in enumerate(rows):
            if self._due[row] > 0 and row not in self._kept:
                one = _one(_bare(batch), i)
                if (size := _bytes(one)) <= self._room:
                    self._kept[row], self._room = one.each(Tensor.clone), self._room - size

    def _ready(self, batch: Batch) -> Batch:
        return batch.each(_pinned) if self.device.type == "cuda" else batch


def _threads(data: Dataset, device: torch.device, workers: int | None) -> tuple[int, bool]:
    """How many threads read, and whether they read ahead: on a CPU the network needs all cores itself."""
    if workers is not None:
        return max(workers, 1), workers > 0
    kind = next((kind for kind in type(data).__mro__ if "batch" in vars(kind)), type(data))  # not of whom it changes
    if not vars(kind).get("concurrent", False) or "batch" in getattr(data, "__dict__", ()):
        return 1, False
    if device.type == "cpu":
        return torch.get_num_threads(), False
    return max(1, min(THREADS, (os.cpu_count() or 1) // processes().count)), True


def _started(count: int) -> ThreadPoolExecutor:
    """Threads that each compute alone: what torch splits over threads is slow where several do so at once."""
    pool, all_there, threads = ThreadPoolExecutor(count), Barrier(count), torch.get_num_threads()
    torch.set_num_threads(1)  # what threads that first ask for it from here on begin with
    try:
        for begun in [pool.submit(lambda: (all_there.wait(), torch.get_num_threads())) for _ in range(count)]:
            begun.result()
    finally:
        torch.set_num_threads(threads)
    return pool


def _pinned(x: Tensor) -> Tensor:
    """Where a GPU can fetch it while it computes; not possible of what is repeated in memory, or on a GPU already."""
    return x.contiguous().pin_memory() if x.device.type == "cpu" else x


def _bare(batch: Batch) -> Batch:
    return replace(batch, labels=None, concepts=batch.concepts[:, :0])


def _one(batch: Batch, i: int) -> Batch:
    """Sample `i` of a batch, a view."""
    one = batch.each(lambda x: x[i : i + 1])
    return replace(one, ids=batch.ids[i : i + 1], groups=batch.groups[i : i + 1])


def _bytes(batch: Batch) -> int:
    return sum(x.nbytes for images in (batch.inputs, batch.valid) for x in images.values())
