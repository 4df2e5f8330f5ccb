"""Fusions in which one stream asks the other: cross-attention over the image, attention at each position."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rgbd_insight.models.exchange import Mixture
from rgbd_insight.models.fusion import Fusion, register


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


class Context(nn.Module):
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

    def __init__(self, width: int, *, before: int = 0, blocks: int = 1) -> None:
        super().__init__(width)
        middle = max(width // 8, 1)
        self.rectify = Rectify(width)
        self.context_rgb, self.context_depth = Context(width, middle), Context(width, middle)
        self.out_rgb, self.out_depth = nn.Conv2d(middle, width, 1), nn.Conv2d(middle, width, 1)
        self.merge = nn.Sequential(
            nn.Conv2d(2 * width, middle, 1),
            nn.Conv2d(middle, middle, 3, 1, 1, groups=middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, width, 1),
        )

    def forward(self, rgb: Tensor, depth: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        rgb, depth = self.rectify(rgb, depth)  # each (B, width, h, w)
        ask_rgb, know_rgb = self.context_rgb(rgb)
        ask_depth, know_depth = self.context_depth(depth)
        size = rgb.shape[-2:]
        told_rgb = (ask_rgb @ know_depth).transpose(1, 2).unflatten(2, size)  # (B, middle, h, w)
        told_depth = (ask_depth @ know_rgb).transpose(1, 2).unflatten(2, size)  # (B, middle, h, w)
        whole_rgb, whole_depth = rgb + self.out_rgb(told_rgb), depth + self.out_depth(told_depth)  # (B, width, h, w)
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

    def __init__(self, width: int, *, before: int = 0, blocks: int = 1) -> None:
        super().__init__(width)
        middle = max(width // 8, 1)
        self.relate = nn.Conv2d(2 * width, 1, 1)
        self.rgb, self.depth, self.mix = Ask(width, middle), Ask(width, middle), Mixture()

    def forward(self, rgb: Tensor, depth: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        relation = self.relate(torch.cat([rgb, depth], 1)).sigmoid()  # (B, 1, h, w)
        rgb, depth = self.rgb(rgb, depth, relation), self.depth(depth, rgb, relation)  # each (B, width, h, w)
        return self.mix(rgb, depth), rgb, depth
