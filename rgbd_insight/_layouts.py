"""How a tapped tensor lies in memory, and the same tensor as maps (B, units, h, w)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from rgbd_insight._wires import Tap


def unit_axis(tap: Tap, x: Tensor) -> int:
    """The axis of the units."""
    return tap.channels if tap.channels is not None else -1 if x.ndim == 3 else 1


def as_maps(tap: Tap, x: Tensor, size: tuple[int, int] | None) -> Tensor:
    """`x` in the layout (B, units, h, w)."""
    layout = tap.layout or ("BNC" if x.ndim == 3 else "NCHW")
    if layout == "NCHW" and x.ndim == 2:
        return x[:, :, None, None]
    if x.ndim != (3 if layout.startswith("BNC") else 4):
        raise RuntimeError(f"tap {tap}: {tuple(x.shape)} is not {layout}: change `layout`")
    if layout == "NCHW":
        return x
    if layout == "NHWC":
        return x.permute(0, 3, 1, 2)
    h, w = _grid(tap, x.shape[1], size)
    return x[:, x.shape[1] - h * w :].transpose(1, 2).unflatten(2, (h, w))  # (B, N, C) -> (B, C, h, w)


def _grid(tap: Tap, tokens: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """Rows and columns of `tokens` tokens, with or without a class token in front."""
    if tap.layout and ":" in tap.layout:
        h, w = (int(n) for n in tap.layout[4:].split("x"))
        if h * w > tokens:
            raise RuntimeError(f"tap {tap}: {tokens} tokens are fewer than {h}x{w}: change `layout`")
        return h, w
    strides = range(1, max(size) + 1) if size else ()
    for count in (tokens, tokens - 1):
        for rounded in (math.ceil, math.floor):  # patches over the border are padded, or left out
            for stride in strides:
                h, w = rounded(size[0] / stride), rounded(size[1] / stride)
                if h * w == count:
                    return h, w
    raise RuntimeError(f"tap {tap}: no grid of {tokens} tokens fits an input of {size}: give `layout`, as BNC:12x16")
