"""An intervention on two streams: halves of their channels that are to agree, and halves that are not to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from rgbd_insight.hooks.tap import Tap, as_maps, wired
from rgbd_insight.models import Network

FLOOR = 1e-6  # of a debiased norm, which may come out below 0 in a small batch


@dataclass(frozen=True)
class Alignment:
    """Added to the loss: common · (1 − CKA of common halves) + private · CKA of private halves, mean over levels.

    Attributes
    ----------
    common, private : weights of the two terms, 0 or more.
    placebo : compare each image's colour with another image's depth: the same terms, which no content can satisfy.

    Notes
    -----
    The first half of a level's channels is common, the second private. Responses are pooled over the image; CKA is
    linear and debiased over the images of a batch, so that it is 0 on average where the two have nothing in common.

    Raises
    ------
    ValueError
        For a weight below 0.
    """

    common: float
    private: float
    placebo: bool = False

    def __post_init__(self) -> None:
        if not min(self.common, self.private) >= 0:
            raise ValueError(f"`common` and `private` must be 0 or more; got {self.common} and {self.private}")

    @contextmanager
    def watching(self, model: Network) -> Iterator[dict[Tap, Tensor]]:
        """What both streams answer in the forward pass inside the ``with``, image-pooled, gradients included."""
        heard: dict[Tap, Tensor] = {}

        def record(tap: Tap, x: Tensor, size: tuple[int, int] | None) -> None:
            heard[tap] = as_maps(tap, x, size).float().mean((2, 3))  # (B, units)

        with wired(model, [tap for tap in model.taps() if tap.stream in ("rgb", "depth")], record):
            yield heard

    def __call__(self, heard: dict[Tap, Tensor]) -> Tensor:
        """The terms' sum for what `watching` heard."""
        streams = {(tap.stream, tap.level): x for tap, x in heard.items()}
        terms = []
        for level in sorted({tap.level for tap in heard}):
            rgb, depth = streams["rgb", level], streams["depth", level]
            if self.placebo:
                depth = depth.roll(1, 0)  # the order of a batch is random
            half = rgb.shape[1] // 2
            agree = debiased_cka(rgb[:, :half], depth[:, :half])
            leak = debiased_cka(rgb[:, half:], depth[:, half:])
            terms.append(self.common * (1 - agree) + self.private * leak)
        return torch.stack(terms).mean()


def debiased_cka(x: Tensor, y: Tensor) -> Tensor:
    """Debiased linear CKA of (B, U) and (B, V), at most about 1; 0 for a batch of fewer than 4 images.

    Examples
    --------
    >>> x = torch.randn(32, 5, generator=torch.Generator().manual_seed(0))
    >>> round(float(debiased_cka(x, 3 * x + 1)), 4)
    1.0
    """
    if len(x) < 4:
        return (x.sum() + y.sum()) * 0
    k, m = _centred(x), _centred(y)  # (B, B)
    own = ((k * k).sum().clamp_min(FLOOR) * (m * m).sum().clamp_min(FLOOR)).sqrt()
    return (k * m).sum() / own


def _centred(x: Tensor) -> Tensor:
    """The U-centred Gram matrix (B, B), of mean diagonal 1 beforehand: the floor then means the same everywhere."""
    x = x - x.mean(0)
    k = x @ x.T  # (B, B)
    k = k / k.diagonal().mean().clamp_min(1e-12)
    n = len(k)
    k = k - k.diagonal().diag()
    means = k.sum(1) / (n - 2)
    k = k - means[:, None] - means[None] + k.sum() / ((n - 1) * (n - 2))
    return k - k.diagonal().diag()
