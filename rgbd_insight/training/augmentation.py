"""Augmentation in register: what moves colour moves depth and labels alike, on the device, from draws that are given.

Nothing is drawn here: a step can be replayed, and a run in several processes sees the samples of a run in one.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = (0.299, 0.587, 0.114)  # what each colour adds to brightness (ITU-R BT.601)
DRAWS = 6  # numbers a sample beside mirroring and what is left out: zoom, two of its place, three of colour


def zoomed(rgb: Tensor, readings: Tensor, labels: Tensor, draws: Tensor, most: float) -> tuple[Tensor, Tensor, Tensor]:
    """The three enlarged by factors up to `most` and cropped to their size, each sample at a place of its own.

    Parameters
    ----------
    rgb, readings, labels : Tensor (B, 3, H, W), (B, C, H, W), (B, H, W)
        Of a batch; `readings` are the channels of all modalities beside colour.
    draws : Tensor (B, 3)
        In [0, 1): the logarithm of the factor, and where the crop lies from left to right and from top to bottom.
    most : float
        The largest factor.

    Returns
    -------
    tuple of Tensor
        The same shapes. Colour is interpolated bilinearly, readings and labels are nearest neighbours, so that neither
        a missing reading nor a class is mixed with others.

    Examples
    --------
    >>> x = torch.arange(12.0).reshape(1, 1, 3, 4)
    >>> _, depth, _ = zoomed(x.expand(1, 3, 3, 4), x, x[:, 0].long(), torch.tensor([[1.0, 0.0, 0.0]]), 2.0)
    >>> depth[0, 0, 0].tolist()  # twice as large, from the upper left corner
    [0.0, 0.0, 1.0, 1.0]
    """
    size = torch.exp(-draws[:, :1] * math.log(most))  # (B, 1): of what is seen, as a share of the image
    centre = (2 * draws[:, 1:] - 1) * (1 - size)  # (B, 2) in [-1, 1]: x, y
    theta = torch.diag_embed(size.expand(-1, 2))  # (B, 2, 2)
    grid = F.affine_grid(torch.cat([theta, centre[..., None]], 2), list(rgb.shape), align_corners=False)  # (B, H, W, 2)
    rgb = F.grid_sample(rgb, grid, "bilinear", "border", align_corners=False)
    # half-way between two pixels rounding decides: all planes are moved as one, so that they stay in register
    exact = torch.cat([readings, labels[:, None].to(readings.dtype)], 1)
    exact = F.grid_sample(exact, grid, "nearest", "border", align_corners=False)
    return rgb, exact[:, :-1], exact[:, -1].long()


def coloured(rgb: Tensor, draws: Tensor, most: float) -> Tensor:
    """Colour in [0, 1] with other brightness, contrast and saturation.

    Parameters
    ----------
    rgb : Tensor (B, 3, H, W)
        In [0, 1].
    draws : Tensor (B, 3)
        In [0, 1): of brightness, contrast and saturation.
    most : float
        Each is multiplied by a factor from 1 - `most` to 1 + `most`.

    Returns
    -------
    Tensor
        (B, 3, H, W) in [0, 1].

    Examples
    --------
    >>> grey = torch.full((1, 3, 2, 2), 0.5)
    >>> round(float(coloured(grey, torch.tensor([[0.0, 0.5, 0.5]]), 0.2).mean()), 6)  # a fifth darker
    0.4
    """
    bright, contrast, saturation = (1 + most * (2 * draws - 1))[:, :, None, None, None].unbind(1)  # (B, 1, 1, 1) each
    rgb = rgb * bright
    mean = _grey(rgb).mean((2, 3), keepdim=True)  # (B, 1, 1, 1)
    rgb = mean + contrast * (rgb - mean)
    grey = _grey(rgb)
    return (grey + saturation * (rgb - grey)).clamp(0, 1)


def _grey(rgb: Tensor) -> Tensor:
    """Brightness (B, 1, H, W); no tensor of weights comes from the host, which a step that is captured must not ask."""
    return sum(share * rgb[:, i : i + 1] for i, share in enumerate(GREY))
