"""An intervention on two streams: halves of their channels that are to agree, and halves that are not to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from rgbd_insight.hooks import Tap, as_maps, hooked
from rgbd_insight.metrics.hsic import centred_hsic
from rgbd_insight.models import Network

FLOOR = 1e-6  # of n(n − 3) HSIC(x, x), which may come out below 0 in a small batch


@dataclass(frozen=True)
class Alignment:
    """Added to the loss: common · (1 − CKA of common halves) + private · CKA of private halves, mean over levels.

    Attributes
    ----------
    common, private : float
        Weights of the two terms, 0 or more and finite.
    placebo : bool
        Compare each image's colour with another image's depth: the same terms, which no content can satisfy.

    Notes
    -----
    The first half of a level's channels is common, the second private. Responses are pooled over the image; CKA is
    linear and debiased over the images of a batch, so that it is 0 on average where the two have nothing in common.

    Raises
    ------
    ValueError
        For another weight.
    """

    common: float
    private: float
    placebo: bool = False

    def __post_init__(self) -> None:
        if not (min(self.common, self.private) >= 0 and max(self.common, self.private) < float("inf")):
            raise ValueError(f"`common` and `private` must be finite and 0 or more; got {self.common}, {self.private}")

    @contextmanager
    def watching(self, model: Network) -> Iterator[dict[Tap, Tensor]]:
        """What both streams answer in the forward pass inside the ``with``, image-pooled, gradients included."""
        responses: dict[Tap, Tensor] = {}

        def record(tap: Tap, x: Tensor, size: tuple[int, int] | None) -> None:
            responses[tap] = as_maps(tap, x, size).float().mean((2, 3))  # (B, units)

        with hooked(model, [tap for tap in model.taps() if tap.stream in ("rgb", "depth")], record):
            yield responses

    def __call__(self, responses: dict[Tap, Tensor]) -> Tensor:
        """The terms' sum for the responses of `watching`."""
        streams = {(tap.stream, tap.level): x for tap, x in responses.items()}
        terms = []
        for level in sorted({tap.level for tap in responses}):
            rgb, depth = streams["rgb", level], streams["depth", level]
            if self.placebo:
                depth = depth.roll(1, 0)  # the order of a batch is random
            half = rgb.shape[1] // 2
            agree = debiased_cka(rgb[:, :half], depth[:, :half])
            leak = debiased_cka(rgb[:, half:], depth[:, half:])
            terms.append(self.common * (1 - agree) + self.private * leak)
        return torch.stack(terms).mean()


def debiased_cka(x: Tensor, y: Tensor) -> Tensor:
    """Debiased linear CKA of a batch, with gradients: at most about 1, 0 on average for unrelated streams.

    Parameters
    ----------
    x, y : Tensor (B, U), Tensor (B, V)
        Responses to the same images.

    Returns
    -------
    Tensor
        A scalar; 0 for a batch of fewer than 4 images.

    Notes
    -----
    `metrics.cka.debiased_cka` of the batch, but for a floor under both norms, which may be 0 or less in a small one.

    Examples
    --------
    >>> x = torch.randn(32, 5, generator=torch.Generator().manual_seed(0))
    >>> round(float(debiased_cka(x, 3 * x + 1)), 4)
    1.0
    """
    if len(x) < 4:
        return (x.sum() + y.sum()) * 0
    x, y = _unit_size(x), _unit_size(y)
    floor = FLOOR / (len(x) * (len(x) - 3))
    own = _hsic(x, x).clamp_min(floor) * _hsic(y, y).clamp_min(floor)
    return _hsic(x, y) / own.sqrt()


def _unit_size(x: Tensor) -> Tensor:
    """Centred rows (B, U) of mean squared length 1: the floor then means the same everywhere."""
    x = x - x.mean(0)
    return x / x.square().sum(1).mean().clamp_min(1e-12).sqrt()


def _hsic(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased HSIC of centred rows."""
    lengths = x.square().sum(1), y.square().sum(1)  # (B,) each
    return centred_hsic((x.T @ y).square().sum(), lengths[0] @ lengths[1], (lengths[0].sum(), lengths[1].sum()), len(x))
