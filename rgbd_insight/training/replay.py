"""Training on a GPU: the same bits every time, and a step that is recorded once and then replayed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.backends import cudnn

WARM = 3  # steps before the recording: libraries choose their kernels and their memory in them


class Replayed:
    """A training step as a CUDA graph: launching its thousand small kernels one by one takes longer than they do.

    Parameters
    ----------
    step : takes tensors on a GPU, changes weights in place and returns tensors; no value is looked at on the way.

    Notes
    -----
    The first steps, and batches of another size, are taken as they are; the arithmetic is the same.
    """

    def __init__(self, step: Callable[..., dict[str, Tensor]]) -> None:
        self.step, self.taken, self.graph = step, 0, None
        self.side = torch.cuda.Stream()

    def __call__(self, *given: Tensor) -> dict[str, Tensor]:
        """Take one step."""
        if self.graph is None and self.taken >= WARM:
            self._record(given)
        if self.graph is None or given[0].shape != self.given[0].shape:
            self.taken += 1
            return self._aside(given)
        for kept, new in zip(self.given, given, strict=True):
            kept.copy_(new)
        self.graph.replay()
        return {name: x.clone() for name, x in self.said.items()}

    def _aside(self, given: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """On a stream of its own, as a step must be before it can be recorded."""
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            said = self.step(*given)
        torch.cuda.current_stream().wait_stream(self.side)
        return said

    def _record(self, given: tuple[Tensor, ...]) -> None:
        self.given = [x.clone() for x in given]
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.side):
            self.said = self.step(*self.given)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Inside the ``with``, a GPU adds up in the same order every time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the library is first used
    if device.type != "cuda":
        yield
        return
    with cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32):
        yield
