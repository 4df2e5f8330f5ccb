"""How a network of another making is called, and where its scores are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUTS = ("pair", "list", "stacked", "keywords")


@dataclass(frozen=True)
class Adapter:
    """A callable for `adapt`: hands colour and depth over as a network wants them, brings its scores to their size.

    Parameters
    ----------
    inputs
        "pair" calls model(rgb, depth), "list" model([rgb, depth]), "stacked" model of one tensor (B, 3 + c, H, W),
        "keywords" ``model(first=rgb, second=depth)`` with the two `names`.
    names
        The keywords.
    depth_channels
        Depth is repeated to as many channels.
    logits
        Keys of the scores in what the model returns, outermost first; () where it returns them alone.
    rgb_scale, depth_scale
        (mean, standard deviation), numbers or one a channel, that the network was trained with; None leaves values as
        they are, colour in [0, 1] and depth in metres. Missing depth stays 0.

    Raises
    ------
    ValueError
        For another `inputs`.

    Examples
    --------
    >>> class Other(nn.Module):
    ...     def forward(self, images):
    ...         return {"scores": [F.avg_pool2d(images[0] + images[1], 4)]}
    >>> adapt = Adapter("list", depth_channels=3, logits=("scores", 0))
    >>> adapt(Other(), torch.rand(2, 3, 8, 12), torch.rand(2, 1, 8, 12)).shape
    torch.Size([2, 3, 8, 12])
    """

    inputs: str = "pair"
    names: tuple[str, str] = ("rgb", "depth")
    depth_channels: int = 1
    logits: tuple[int | str, ...] = ()
    rgb_scale: tuple[Any, Any] | None = None
    depth_scale: tuple[Any, Any] | None = None

    def __post_init__(self) -> None:
        if self.inputs not in INPUTS:
            raise ValueError(
                f"`inputs` must be one of {', '.join(INPUTS)}; got {self.inputs!r}: choose how it is called"
            )

    def __call__(self, model: nn.Module, rgb: Tensor, depth: Tensor) -> Tensor:
        """Scores (B, C, H, W) of `model` for colour (B, 3, H, W) and depth (B, 1, H, W)."""
        size = rgb.shape[-2:]
        valid = depth != 0
        if self.rgb_scale is not None:
            rgb = (rgb - _column(self.rgb_scale[0], rgb)) / _column(self.rgb_scale[1], rgb)
        depth = depth.expand(-1, self.depth_channels, -1, -1)  # (B, c, H, W)
        if self.depth_scale is not None:
            scaled = (depth - _column(self.depth_scale[0], depth)) / _column(self.depth_scale[1], depth)
            depth = torch.where(valid, scaled, 0)
        if self.inputs == "keywords":
            found = model(**dict(zip(self.names, (rgb, depth), strict=True)))
        elif self.inputs == "pair":
            found = model(rgb, depth)
        else:
            found = model([rgb, depth] if self.inputs == "list" else torch.cat([rgb, depth], 1))
        return _resized(self._scores(found), size)

    def _scores(self, found: Any) -> Tensor:
        for key in self.logits:
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError) as error:
                kind = type(found).__name__
                raise ValueError(f"`logits` must lead to the scores; got {key!r} for a {kind}: name another") from error
        if not isinstance(found, Tensor) or found.ndim != 4:
            got = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ValueError(f"`logits` must lead to scores (B, C, h, w); got {got}: name the key of the scores")
        return found


def _column(values: float | Sequence[float], like: Tensor) -> Tensor:
    """A number a channel as (C, 1, 1), or one number."""
    column = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    return column[:, None, None] if column.ndim else column


def _resized(scores: Tensor, size: torch.Size) -> Tensor:
    """Scores (B, C, H, W) at `size`."""
    if scores.shape[-2:] == size:
        return scores
    return F.interpolate(scores, size, mode="bilinear", align_corners=False)
