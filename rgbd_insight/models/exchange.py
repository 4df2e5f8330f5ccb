"""Fusions that hand over what one stream has no use for: channels with a small scale, positions with a low score."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rgbd_insight.models.encoder import norm
from rgbd_insight.models.fusion import Fusion, register

SHARE = 8  # one in so many channels, or positions, is handed over


class Mixture(nn.Module):
    """What the decoder reads where there is no fused branch: α r + (1 − α) d, α learned, 1/2 at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.balance = nn.Parameter(torch.zeros(1))

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        share = self.balance.sigmoid()
        return share * rgb + (1 - share) * depth  # (B, width, h, w)


@register("exchange")
class Exchange(Fusion):
    r"""Channels of small scale are replaced by the other's: :math:`r'_c = |γ_c| < θ\ ?\ \hat d_c : \hat r_c`.

    Notes
    -----
    :math:`\hat x_c = γ_c N(x)_c + β_c` with N the normalisation (of eight channels, not of a batch), γ and β of each
    modality's own; θ = .02. Colour may be replaced in the first half of the channels and depth in the second, and
    :math:`λ Σ|γ_c|` over those halves (λ = .001) is added to the loss, as in the paper. Training there is long and
    starts from γ = 1; here one channel in eight of each half starts at γ = 0, so that there is an exchange from the
    first step on. The paper shares the encoders' convolutions and averages scores; here each modality has its own
    encoder, as everywhere in this zoo, and the decoder reads :math:`f = α r' + (1 - α) d'`, α learned. `rgb` and
    `depth` are pure at level 1 only.

    References
    ----------
    Y. Wang, W. Huang, F. Sun, T. Xu, Y. Rong, J. Huang. Deep Multimodal Fusion by Channel Exchanging. NeurIPS 2020.

    Examples
    --------
    >>> import torch
    >>> operator = Exchange(8)
    >>> fused, rgb, depth = operator(torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4))
    >>> (rgb == depth).all((0, 2, 3)).tolist()  # channel 0 of rgb is depth's, channel 4 of depth is rgb's
    [True, False, False, False, True, False, False, False]
    """

    pure: ClassVar = {"rgb": False, "depth": False, "fused": False}
    threshold: ClassVar[float] = 0.02
    sparsity: ClassVar[float] = 1e-3

    def __init__(self, width: int, *, before: int = 0, blocks: int = 1) -> None:
        super().__init__(width)
        self.rgb, self.depth, self.mix = norm(width), norm(width), Mixture()
        self.halves = {"rgb": slice(0, width // 2), "depth": slice(width // 2, width)}
        count = max(width // 2 // SHARE, 1)
        for name, half in self.halves.items():
            with torch.no_grad():
                getattr(self, name).weight[half.start : half.start + count] = 0

    def _replaced(self, name: str) -> Tensor:
        """Channels of a stream that the other's take the place of, bool (1, width, 1, 1)."""
        small = getattr(self, name).weight.detach().abs() < self.threshold
        half, place = self.halves[name], torch.arange(self.width, device=small.device)
        return (small & (place >= half.start) & (place < half.stop))[None, :, None, None]

    def forward(self, rgb: Tensor, depth: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        rgb, depth = self.rgb(rgb), self.depth(depth)  # (B, width, h, w)
        rgb, depth = (
            torch.where(self._replaced("rgb"), depth, rgb),
            torch.where(self._replaced("depth"), rgb, depth),
        )
        return self.mix(rgb, depth), rgb, depth

    def penalty(self) -> Tensor:
        """λ Σ|γ| over the channels that may be replaced."""
        scales = [getattr(self, name).weight[half] for name, half in self.halves.items()]
        return self.sparsity * torch.cat(scales).abs().sum()


@register("token_exchange")
class TokenExchange(Fusion):
    r"""Positions of low score are replaced by the other's: :math:`r'_p = low(s_p)\ ?\ P(d_p) : s_p r_p`.

    Notes
    -----
    :math:`s(x_p) = σ(\mathrm{MLP}(x_p))` scores each position of each stream; P is a bottleneck of two 1x1
    convolutions from the other stream. The paper replaces scores below .02, to which a penalty brings them in long
    training; here *low* means the lowest eighth of the image's positions (none where there are fewer than eight), so
    that there is an exchange from the first step on and no penalty is needed. Gradients reach the scores through the
    positions that are kept. The decoder reads :math:`f = α r' + (1 - α) d'`, α learned, where the paper averages
    scores. The bottlenecks are width/4 and width/8, which matches the size to `se`. `rgb` and `depth` are pure at
    level 1 only.

    References
    ----------
    Y. Wang, X. Chen, L. Cao, W. Huang, F. Sun, Y. Wang. Multimodal Token Fusion for Vision Transformers. CVPR 2022.

    Examples
    --------
    >>> import torch
    >>> operator = TokenExchange(8)
    >>> int(operator._low(torch.rand(1, 1, 4, 4)).sum())
    2
    """

    pure: ClassVar = {"rgb": False, "depth": False, "fused": False}

    def __init__(self, width: int, *, before: int = 0, blocks: int = 1) -> None:
        super().__init__(width)
        self.score_rgb, self.score_depth = (self._narrow(width, width // 8, 1) for _ in range(2))
        self.from_depth, self.from_rgb = (self._narrow(width, width // 4, width) for _ in range(2))
        self.mix = Mixture()

    @staticmethod
    def _narrow(width: int, middle: int, out: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(width, middle, 1), nn.GELU(), nn.Conv2d(middle, out, 1))

    @staticmethod
    def _low(score: Tensor) -> Tensor:
        """The lowest eighth of the positions, bool (B, 1, h, w)."""
        flat = score.detach().flatten(1)  # (B, h * w)
        lowest = flat.topk(flat.shape[1] // SHARE, 1, largest=False).indices  # (B, h * w // 8)
        return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, lowest, True).view_as(score)

    def forward(self, rgb: Tensor, depth: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        score_rgb, score_depth = self.score_rgb(rgb).sigmoid(), self.score_depth(depth).sigmoid()  # (B, 1, h, w)
        rgb_next = torch.where(self._low(score_rgb), self.from_depth(depth), score_rgb * rgb)  # (B, width, h, w)
        depth_next = torch.where(self._low(score_depth), self.from_rgb(rgb), score_depth * depth)  # (B, width, h, w)
        return self.mix(rgb_next, depth_next), rgb_next, depth_next
