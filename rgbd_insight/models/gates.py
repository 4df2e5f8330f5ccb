"""Fusions that weigh channels or positions by gates: squeeze-and-excitation, attention complement, separation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from rgbd_insight.models.fusion import Fusion, Stage, register


class Excite(nn.Module):
    """Squeeze-and-excitation (Hu et al., 2018): channels weighted in (0, 1) by the image's own channel means."""

    def __init__(self, width: int, reduction: int = 4) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, width // reduction, 1)
        self.excite = nn.Conv2d(width // reduction, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()  # (B, width, 1, 1)
        return x * weight  # (B, width, h, w)


def _gathered(gates: SE | ACNet, rgb: Tensor, depth: Tensor, others: Sequence[Tensor]) -> Tensor:
    """What every modality's own gate lets pass, added up (B, width, h, w)."""
    more = (gate(x) for gate, x in zip(gates.others, others, strict=True))
    return sum(more, start=gates.rgb(rgb) + gates.depth(depth))


@register("se")
class SE(Fusion):
    r"""Each modality reweighted by channel, then added: :math:`f_l = s(r_l)\,r_l + s'(d_l)\,d_l`.

    Notes
    -----
    :math:`s(x) = σ(V\,\mathrm{relu}(U\,\bar{x}))`, with x̄ the mean over positions; the fused map goes on in the
    colour encoder. The reduction is 4, not the paper's 16, because the levels here are narrow. `rgb` is pure at
    level 1 only, `depth` is pure. Further modalities are reweighted and added as depth is.

    References
    ----------
    D. Seichter, M. Köhler, B. Lewandowski, T. Wengefeld, H.-M. Gross. Efficient RGB-D Semantic Segmentation for
    Indoor Scene Analysis (ESANet). ICRA 2021.

    Examples
    --------
    >>> import torch
    >>> fused, rgb, depth = SE(8)(torch.ones(1, 8, 2, 2), torch.zeros(1, 8, 2, 2))
    >>> bool((fused < 1).all()), rgb is fused, depth.unique().tolist()
    (True, True, [0.0])
    """

    several = True
    pure: ClassVar = {"rgb": False, "depth": True, "fused": False}

    def __init__(self, width: int, *, before: int = 0, stage: Stage | None = None, others: int = 0) -> None:
        super().__init__(width)
        self.rgb, self.depth = Excite(width), Excite(width)
        self.others = nn.ModuleList(Excite(width) for _ in range(others))

    def forward(
        self, rgb: Tensor, depth: Tensor, before: Tensor | None = None, others: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        fused = _gathered(self, rgb, depth, others)
        return fused, fused, depth


class _Attend(nn.Module):
    """Channels weighted in (0, 1) by one matrix of the image's own channel means: x ⊙ σ(W x̄ + b)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x.mean((2, 3), keepdim=True)).sigmoid()  # (B, width, h, w)


@register("acnet")
class ACNet(Fusion):
    r"""A third branch that collects from both: :math:`f_l = M_l(f_{l-1}) + a_l(r_l)\,r_l + a'_l(d_l)\,d_l`.

    Notes
    -----
    :math:`a(x) = σ(W\bar{x})`, x̄ the mean over positions; M is an encoder stage of the branch's own, made and begun as
    the encoders' are, absent at level 1. The fused map goes on in that branch alone: `rgb` and `depth` are both pure.
    With the third branch the network is half as large again: it is exempt from the matching of sizes. Where it does not
    fuse, the branch starts again from the colour stream. Further modalities are collected as depth is.

    References
    ----------
    X. Hu, K. Yang, L. Fei, K. Wang. ACNet: Attention Based Network to Exploit Complementary Features for RGBD
    Semantic Segmentation. ICIP 2019.

    Examples
    --------
    >>> import torch
    >>> x = torch.rand(1, 8, 2, 2)
    >>> fused, rgb, depth = ACNet(8)(x, x)
    >>> rgb is x and depth is x, bool((fused < 2 * x).all())
    (True, True)
    """

    remembers = several = True
    pure: ClassVar = {"rgb": True, "depth": True, "fused": False}

    def __init__(self, width: int, *, before: int = 0, stage: Stage | None = None, others: int = 0) -> None:
        super().__init__(width)
        self.rgb, self.depth = _Attend(width), _Attend(width)
        self.branch = stage() if stage is not None else None
        self.others = nn.ModuleList(_Attend(width) for _ in range(others))

    def forward(
        self, rgb: Tensor, depth: Tensor, before: Tensor | None = None, others: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        fused = _gathered(self, rgb, depth, others)
        if self.branch is not None:
            fused = fused + self.branch(before)
        return fused, rgb, depth


@register("sagate")
class SAGate(Fusion):
    r"""Filter, correct, then choose by position: :math:`f = α ⊙ r + (1 - α) ⊙ d`, :math:`r_{l+1} = E(\tfrac12(r + f))`.

    Notes
    -----
    Separation: :math:`r' = r + w_d ⊙ d` and :math:`d' = d + w_r ⊙ r` with channel weights
    :math:`w = σ(V\,\mathrm{relu}(U[\bar r; \bar d]))` of each direction. Aggregation: :math:`(α, 1-α)` is the softmax
    at each position of a 1x1 convolution of :math:`[r'; d']` to two maps. Propagation: both encoders go on with the
    mean of their own features and the fused ones. The bottleneck is width/8, which matches the size to `se`. `rgb` and
    `depth` are pure at level 1 only.

    References
    ----------
    X. Chen, K.-Y. Lin, J. Wang, W. Wu, C. Qian, H. Li, G. Zeng. Bi-directional Cross-Modality Feature Propagation with
    Separation-and-Aggregation Gate for RGB-D Semantic Segmentation. ECCV 2020.

    Examples
    --------
    >>> import torch
    >>> x = torch.rand(1, 8, 2, 2)
    >>> fused, rgb, depth = SAGate(8)(x, x)
    >>> torch.allclose(fused, x), torch.allclose(rgb, x)
    (True, True)
    """

    pure: ClassVar = {"rgb": False, "depth": False, "fused": False}

    def __init__(self, width: int, *, before: int = 0, stage: Stage | None = None) -> None:
        super().__init__(width)
        self.from_depth = self._filter(width)
        self.from_rgb = self._filter(width)
        self.choose = nn.Conv2d(2 * width, 2, 1)

    @staticmethod
    def _filter(width: int) -> nn.Sequential:
        middle = max(width // 8, 1)
        return nn.Sequential(
            nn.Conv2d(2 * width, middle, 1), nn.ReLU(inplace=True), nn.Conv2d(middle, width, 1), nn.Sigmoid()
        )

    def forward(self, rgb: Tensor, depth: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        means = torch.cat([rgb, depth], 1).mean((2, 3), keepdim=True)  # (B, 2 * width, 1, 1)
        whole_rgb = rgb + self.from_depth(means) * depth  # (B, width, h, w)
        whole_depth = depth + self.from_rgb(means) * rgb  # (B, width, h, w)
        share = self.choose(torch.cat([whole_rgb, whole_depth], 1)).softmax(1)  # (B, 2, h, w)
        fused = share[:, :1] * rgb + share[:, 1:] * depth  # (B, width, h, w)
        return fused, (rgb + fused) / 2, (depth + fused) / 2


@register("insight")
class Insight(Fusion):
    r"""Half in common, half private: :math:`f = [\tfrac12 (r_c + d_c);\; s(r_p)\,r_p + s'(d_p)\,d_p]`.

    Notes
    -----
    The first half of the channels is common: its mean goes to the decoder and on in both encoders. The second is
    private: each stream goes on with its own, the decoder reads their squeeze-and-excited sum as in `se`. The operator
    follows from the rule that `claims.toml` states for the seventh claim, as do the weights of the alignment that it
    is trained with. `rgb` and `depth` are pure at level 1 only.

    References
    ----------
    Ours, after the squeeze-and-excitation of J. Hu, L. Shen, G. Sun. Squeeze-and-Excitation Networks. CVPR 2018.

    Examples
    --------
    >>> import torch
    >>> fused, rgb, depth = Insight(8)(torch.ones(1, 8, 2, 2), torch.zeros(1, 8, 2, 2))
    >>> rgb[0, :, 0, 0].tolist(), depth[0, :, 0, 0].tolist()
    ([0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0])
    """

    pure: ClassVar = {"rgb": False, "depth": False, "fused": False}

    def __init__(self, width: int, *, before: int = 0, stage: Stage | None = None) -> None:
        super().__init__(width)
        self.rgb, self.depth = Excite(width // 2), Excite(width // 2)

    def forward(self, rgb: Tensor, depth: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        (rgb_common, rgb_own), (depth_common, depth_own) = rgb.chunk(2, 1), depth.chunk(2, 1)  # (B, width / 2, h, w)
        common = (rgb_common + depth_common) / 2
        private = self.rgb(rgb_own) + self.depth(depth_own)
        return tuple(torch.cat([common, own], 1) for own in (private, rgb_own, depth_own))  # each (B, width, h, w)
