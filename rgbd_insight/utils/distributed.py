"""Several processes of one run, as ``torchrun`` starts them; where there is one process, all of this does nothing."""

from __future__ import annotations

import atexit
import os
from functools import cache

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Processes:
    """The processes of this run.

    Attributes
    ----------
    rank, count : int
        Which of how many processes this is.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def first(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.rank == 0

    @property
    def beside(self) -> int:
        """How many of these processes share this machine."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if self.count > 1 else 1

    @property
    def share(self) -> slice:
        """What this process takes of a batch: every sample goes to one process."""
        return slice(self.rank, None, self.count)

    def sum(self, x: Tensor) -> Tensor:
        """The sum of `x` over the processes."""
        if self.count > 1:
            x = x.clone()
            dist.all_reduce(x)
        return x

    def sum_gradients(self, model: nn.Module) -> None:
        """Put the sum over the processes in the place of every gradient; a process without any adds nothing."""
        if self.count == 1:
            return
        parameters = list(model.parameters())
        sizes = [p.numel() for p in parameters]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        for p, part in zip(parameters, self.sum(flat).split(sizes), strict=True):
            p.grad = part.view_as(p).contiguous(memory_format=_layout(p))

    def broadcast(self, value: object) -> object:
        """The first process's `value`, in every process."""
        if self.count > 1:
            received = [value]
            dist.broadcast_object_list(received, src=0)
            return received[0]
        return value

    def gather(self, value: object) -> list:
        """The `value` of all processes, in their order, in the first process; an empty list in the others."""
        if self.count == 1:
            return [value]
        received = [None] * self.count if self.first else None
        dist.gather_object(value, received, dst=0)
        return received or []

    def barrier(self) -> None:
        """Go on when every process has come here."""
        if self.count > 1:
            dist.barrier()


def _layout(p: Tensor) -> torch.memory_format:
    packed = p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if packed and not p.is_contiguous() else torch.contiguous_format


@cache
def processes() -> Processes:
    """The processes of this run, connected: gloo on CPUs, and nccl for tensors on GPUs."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes()
    if not dist.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        atexit.register(dist.destroy_process_group)
    return Processes(dist.get_rank(), count)


def device_for(device: str | torch.device | None, fallback: torch.device | str = "cpu") -> torch.device:
    """The device asked for; else this process's GPU where there is one, else `fallback`."""
    if device is not None:
        try:
            return torch.device(device)
        except RuntimeError:
            raise ValueError(f"`device` must be one that torch knows, such as cpu or cuda:0; got {device!r}") from None
    if not torch.cuda.is_available():
        return torch.device(fallback)
    return torch.device("cuda", torch.cuda.current_device()) if processes().count > 1 else torch.device("cuda")
