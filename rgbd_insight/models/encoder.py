"""The parts every network is built from: a small residual encoder and a light top-down decoder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP = 8  # channels that share one normalisation


def norm(width: int) -> nn.GroupNorm:
    """Group normalisation of `width` channels, eight to a group: no state that depends on other samples."""
    return nn.GroupNorm(width // GROUP, width)


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut around them (He et al., 2016)."""

    def __init__(self, before: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.norm1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = norm(width)
        self.shortcut = nn.Identity()
        if stride != 1 or before != width:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), norm(width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))  # (B, width, h, w)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))  # (B, width, h, w)


def stage(before: int, width: int, *, stride: int, blocks: int = 1) -> nn.Sequential:
    """One level of an encoder: `blocks` residual blocks, the first of them with `stride`."""
    first = Block(before, width, stride)
    return nn.Sequential(first, *(Block(width, width) for _ in range(blocks - 1)))


class Encoder(nn.Module):
    """A stem at half resolution and one stage a level: level 1 at stride 2, each further level at twice that.

    Parameters
    ----------
    channels : int
        Input channels.
    widths : sequence of int
        Channels at each level, multiples of eight.
    blocks : int, optional
        Residual blocks a level.
    """

    def __init__(self, channels: int, widths: Sequence[int], blocks: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 5, 2, 2, bias=False), norm(widths[0]), nn.ReLU(inplace=True)
        )
        self.levels = len(widths)
        for level, width in enumerate(widths, start=1):
            before = widths[max(level - 2, 0)]
            setattr(self, f"layer{level}", stage(before, width, stride=1 if level == 1 else 2, blocks=blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        """All levels of `x` (B, channels, H, W), finest first."""
        x = self.stem(x)  # (B, widths[0], H/2, W/2)
        levels = []
        for level in range(1, self.levels + 1):
            x = self.level(x, level)
            levels.append(x)
        return levels

    def level(self, x: Tensor, level: int) -> Tensor:
        """Level `level` from the output of the one before it (of the stem for level 1)."""
        return getattr(self, f"layer{level}")(x)  # (B, widths[level-1], H/2^level, W/2^level)


class Head(nn.Module):
    """Scores from a pyramid: 1x1 laterals added from the coarsest level to the finest, one 3x3, a 1x1 classifier."""

    def __init__(self, widths: Sequence[int], classes: int, channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), norm(channels), nn.ReLU())
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        x = self.lateral[-1](pyramid[-1])  # (B, channels, h, w)
        for lateral, finer in zip(reversed(self.lateral[:-1]), reversed(pyramid[:-1]), strict=True):
            x = resized(x, finer.shape[-2:])
            x = x + lateral(finer)  # (B, channels, 2h, 2w)
        return self.classify(self.smooth(x))  # (B, classes, H/2, W/2)


class Decoder(nn.Module):
    """The mean of one head's scores for each decoded stream, brought to the input's size.

    Parameters
    ----------
    streams : sequence of str
        The decoded streams: one for most fusions, two where scores are averaged.
    widths : sequence of int
        Channels at each level.
    classes : int
        Scores a pixel.
    """

    def __init__(self, streams: Sequence[str], widths: Sequence[int], classes: int) -> None:
        super().__init__()
        channels = 48 if len(streams) == 1 else 32  # two narrow heads have the size of one wide one
        self.heads = nn.ModuleDict({stream: Head(widths, classes, channels) for stream in streams})

    def forward(self, pyramids: dict[str, list[Tensor]], size: tuple[int, int]) -> Tensor:
        scores = [head(pyramids[stream]) for stream, head in self.heads.items()]  # each (B, classes, H/2, W/2)
        mean = scores[0] if len(scores) == 1 else torch.stack(scores).mean(0)
        return resized(mean, size)  # (B, classes, H, W)


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (B, C, h, w) brought to `size` bilinearly: two products, whose gradients a GPU adds up in one order.

    Examples
    --------
    >>> x = torch.rand(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(resized(x, (6, 8)), F.interpolate(x, (6, 8), mode="bilinear"))
    True
    """
    rows, columns = (_weights(n, m, x.device) for n, m in zip(x.shape[-2:], size, strict=True))
    with exactly(x.device):
        return (rows @ x.float() @ columns.T).to(x.dtype)


def exactly(device: torch.device) -> AbstractContextManager:
    """Inside the ``with``, float32 stays float32 also where the network computes in half precision."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


@cache
def _weights(before: int, after: int, device: torch.device) -> Tensor:
    """What each of `after` places takes of each of `before`, (after, before)."""
    with torch.inference_mode(False):  # it is kept, and a later call may be one of training
        unit = torch.eye(before)[None, None]  # (1, 1, before, before): a row for each place
        found = F.interpolate(unit, (before, after), mode="bilinear", align_corners=False)[0, 0].T
        return found.contiguous().to(device)
