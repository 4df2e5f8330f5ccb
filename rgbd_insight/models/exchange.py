"""Fusions in which streams hand each other channels or positions, or look into each other by attention."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rgbd_insight.models.encoder import norm
from rgbd_insight.models.fusion import Fusion, Stage, register

SHARE = 8  # one in so many channels, or positions, is handed over


class _Mixture(nn.Module):
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

    def __init__(self, width: int, *, before: int = 0, stage: Stage | None = None) -> None:
        super().__init__(width)
        self.rgb, self.depth, self.mix = norm(width), norm(width), _Mixture()
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

    def __init__(self, width: int, *, before: int = 0, stage: Stage | None = None) -> None:
        super().__init__(width)
        self.score_rgb, self.score_depth = (self._narrow(width, width // 8, 1) for _ in range(2))
        self.from_depth, self.from_rgb = (self._narrow(width, width // 4, width) for _ in range(2))
        self.mix = _Mixture()

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


class Rectify(nn.Module):
    """Each stream corrected by the other, by channel and by position (the first half of CMX's operator)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        middle = max(width // 16, 1)
        self.channels = nn.Sequential(
            nn.Conv2d(4 * width, middle, 1), nn.ReLU(inplace=True), nn.Conv2d(middle, 2 * width, 1), nn.Sigmoid()
        )
        self.positions = nn.Sequential(
            nn.Conv2d(2 * width, middle, 1), nn.ReLU(inplace=True), nn.Conv2d(middle, 2, 1), nn.Sigmoid()
        )

    def forward(self, rgb: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([rgb, depth], 1)  # (B, 2 * width, h, w)
        pooled = torch.cat(
            [both.mean((2, 3), keepdim=True), both.amax((2, 3), keepdim=True)], 1
        )  # (B, 4 * width, 1, 1)
        by_channel_rgb, by_channel_depth = self.channels(pooled).chunk(2, 1)  # each (B, width, 1, 1)
        by_place_rgb, by_place_depth = self.positions(both).chunk(2, 1)  # each (B, 1, h, w)
        return (
            rgb + (by_channel_depth + by_place_depth) * depth / 2,  # (B, width, h, w)
            depth + (by_channel_rgb + by_place_rgb) * rgb / 2,  # (B, width, h, w)
        )


class _Context(nn.Module):
    """A stream summed up as a matrix of keys by values, which another stream's positions then look things up in."""

    def __init__(self, width: int, middle: int) -> None:
        super().__init__()
        self.middle = middle
        self.project = nn.Conv2d(width, 3 * middle, 1, bias=False)  # queries, keys, values

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, h * w, middle) and context (B, middle, middle): softmax over keys of KᵀV / h·w."""
        query, key, value = self.project(x).flatten(2).transpose(1, 2).chunk(3, -1)  # each (B, h * w, middle)
        return query, (key.transpose(1, 2) @ value / key.shape[1]).softmax(1)  # (B, middle, middle)


@register("cross")
class Cross(Fusion):
    r"""Rectify both, then let each look into the other: :math:`f = g(r + O\,Q_r C_d,\; d + O'\,Q_d C_r)`.

    Notes
    -----
    Rectification, of which the encoders go on with the result: :math:`r' = r + \tfrac12 (w^C_d + w^S_d) ⊙ d`, and
    likewise for depth, :math:`w^C = σ(\mathrm{MLP}[\mathrm{mean}; \max])` by channel, :math:`w^S` by position. Fusion:
    the context of a stream is :math:`C = \mathrm{softmax}(K^\top V / n)` over n positions, and the other stream's
    queries multiply it, at a cost that is linear in n; g adds the two and a bottleneck with a depthwise 3x3
    convolution of :math:`[r; d]`. One head; bottlenecks of width/8 and width/16 match the size to `se`. `rgb` and
    `depth` are pure at level 1 only.

    References
    ----------
    J. Zhang, H. Liu, K. Yang, X. Hu, R. Liu, R. Stiefelhagen. CMX: Cross-Modal Fusion for RGB-X Semantic Segmentation
    with Transformers. IEEE T-ITS 2023.

    Examples
    --------
    >>> import torch
    >>> fused, rgb, depth = Cross(8)(torch.rand(1, 8, 4, 4), torch.zeros(1, 8, 4, 4))
    >>> fused.shape, bool((depth > 0).all())  # depth has something of colour now
    (torch.Size([1, 8, 4, 4]), True)
    """

    pure: ClassVar = {"rgb": False, "depth": False, "fused": False}

    def __init__(self, width: int, *, before: int = 0, stage: Stage | None = None) -> None:
        super().__init__(width)
        middle = max(width // 8, 1)
        self.rectify = Rectify(width)
        self.context_rgb, self.context_depth = _Context(width, middle), _Context(width, middle)
        self.out_rgb, self.out_depth = nn.Conv2d(middle, width, 1), nn.Conv2d(middle, width, 1)
        self.merge = nn.Sequential(
            nn.Conv2d(2 * width, middle, 1),
            nn.Conv2d(middle, middle, 3, 1, 1, groups=middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, width, 1),
        )

    def forward(self, rgb: Tensor, depth: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        rgb, depth = self.rectify(rgb, depth)  # each (B, width, h, w)
        query_rgb, context_rgb = self.context_rgb(rgb)
        query_depth, context_depth = self.context_depth(depth)
        size = rgb.shape[-2:]
        from_depth = (query_rgb @ context_depth).transpose(1, 2).unflatten(2, size)  # (B, middle, h, w)
        from_rgb = (query_depth @ context_rgb).transpose(1, 2).unflatten(2, size)  # (B, middle, h, w)
        whole_rgb, whole_depth = rgb + self.out_rgb(from_depth), depth + self.out_depth(from_rgb)  # (B, width, h, w)
        fused = whole_rgb + whole_depth + self.merge(torch.cat([whole_rgb, whole_depth], 1))  # (B, width, h, w)
        return fused, rgb, depth


class Ask(nn.Module):
    """Attention of a stream at each position to two things only: itself and the other stream there."""

    def __init__(self, width: int, middle: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(width, middle, 1, bias=False) for _ in range(3))
        self.out = nn.Conv2d(middle, width, 1, bias=False)
        # without something added to its own key, a position would mostly attend to itself
        self.noise_key = nn.Parameter(0.1 * torch.randn(1, width, 1, 1))
        self.noise_value = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, own: Tensor, other: Tensor, relation: Tensor) -> Tensor:
        query = self.query(own)  # (B, middle, h, w)
        keys = torch.stack([self.key(own + self.noise_key), self.key(relation * other)], 1)  # (B, 2, middle, h, w)
        values = torch.stack([self.value(own + self.noise_value), self.value(other)], 1)  # (B, 2, middle, h, w)
        weight = ((query[:, None] * keys).sum(2, keepdim=True) / query.shape[1] ** 0.5).softmax(1)  # (B, 2, 1, h, w)
        return own + self.out((weight * values).sum(1))  # (B, width, h, w)


@register("gemini")
class Gemini(Fusion):
    r"""Attention at each position to itself and its counterpart: :math:`r' = r + O\,Σ_j a_j V z_j`, :math:`z = (r, d)`.

    Notes
    -----
    :math:`a = \mathrm{softmax}(q^\top [K(r + n);\; K(φ d)] / \sqrt{c})` with the query from the stream itself, a
    learned noise n of the level on its own key and value, and the relation :math:`φ = σ(w[r; d])` of the two at that
    position. The encoders go on with r' and d'; the decoder reads :math:`f = α r' + (1 - α) d'`, α learned, where the
    paper averages scores. One head of width/8 matches the size to `se`. `rgb` and `depth` are pure at level 1 only.

    References
    ----------
    D. Jia, J. Guo, K. Han, H. Wu, C. Zhang, C. Xu, X. Chen. GeminiFusion: Efficient Pixel-wise Multimodal Fusion for
    Vision Transformer. ICML 2024.

    Examples
    --------
    >>> import torch
    >>> fused, rgb, depth = Gemini(8)(torch.rand(1, 8, 4, 4), torch.rand(1, 8, 4, 4))
    >>> torch.allclose(fused, (rgb + depth) / 2)
    True
    """

    pure: ClassVar = {"rgb": False, "depth": False, "fused": False}

    def __init__(self, width: int, *, before: int = 0, stage: Stage | None = None) -> None:
        super().__init__(width)
        middle = max(width // 8, 1)
        self.relate = nn.Conv2d(2 * width, 1, 1)
        self.rgb, self.depth, self.mix = Ask(width, middle), Ask(width, middle), _Mixture()

    def forward(self, rgb: Tensor, depth: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        relation = self.relate(torch.cat([rgb, depth], 1)).sigmoid()  # (B, 1, h, w)
        rgb, depth = self.rgb(rgb, depth, relation), self.depth(depth, rgb, relation)  # each (B, width, h, w)
        return self.mix(rgb, depth), rgb, depth
