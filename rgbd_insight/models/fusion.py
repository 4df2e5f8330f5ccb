"""How two streams are put together: one registry of operators, the only thing in which the networks differ.

The network drives both encoders level by level and calls the operator of each level with that level's features::

    fused, rgb_next, depth_next = operator(rgb, depth)

`fused` goes to the decoder, `rgb_next` and `depth_next` into the next level of the two encoders. An operator that takes
more than two modalities (`several`) is given the maps of the others too, whose encoders go on as they are. A new fusion
is one class with :func:`register`; nothing else needs to change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from rgbd_insight.utils.messages import unknown

FUSIONS: dict[str, type[Fusion]] = {}
Stage = Callable[[], nn.Module]  # makes one more stage of the encoder at a level


def register(name: str) -> Callable[[type[Fusion]], type[Fusion]]:
    """Enter a subclass of :class:`Fusion` in `FUSIONS` under `name`.

    Parameters
    ----------
    name : str
        The name given to ``build``; must not be taken.

    Returns
    -------
    callable
        A class decorator.

    Raises
    ------
    ValueError
        Where the name is taken.

    Examples
    --------
    >>> from rgbd_insight.models.fusion import FUSIONS, Fusion, register
    >>> @register("maximum")
    ... class Maximum(Fusion):
    ...     def forward(self, rgb, depth, before=None):
    ...         fused = rgb.maximum(depth)
    ...         return fused, rgb, depth
    >>> FUSIONS.pop("maximum").name
    'maximum'
    """

    def enter(operator: type[Fusion]) -> type[Fusion]:
        if name in FUSIONS:
            raise ValueError(
                f"`name` must be new; got {name!r}, which is {FUSIONS[name].__name__}: choose another name"
            )
        operator.name = name
        FUSIONS[name] = operator
        return operator

    return enter


def find(name: str) -> type[Fusion]:
    """The operator registered as `name`; an unknown name is a ValueError that lists the nearest."""
    if name not in FUSIONS:
        raise ValueError(unknown("fusion", name, FUSIONS))
    return FUSIONS[name]


class Fusion(nn.Module):
    """The contract of an operator; this base class leaves both streams apart and fuses nothing.

    Parameters
    ----------
    width : int
        Channels of this level.
    before : int, optional
        Channels of the level before (0 at level 1), for operators with a branch of their own.
    stage : callable, optional
        Makes one more stage of the encoder, from the level before to this one, likewise (None at level 1). Kept as
        `branch`, it begins with the encoder's weights where that is pretrained.
    others : int, optional
        How many modalities there are beside colour and depth; asked only of operators that take `several`.

    Notes
    -----
    Class attributes say what the network must build:

    `modalities`: the inputs that reach the scores; `encoders`: the encoders there are; `decodes`: the streams whose
    pyramids are decoded (their scores are averaged); `exchanges`: whether there is an operator at the levels at all;
    `remembers`: whether ``forward`` takes the fused map of the level before as its third argument (None at level 1);
    `several`: whether it is defined for further modalities too; `others` are then their maps, each of an encoder that
    goes on as it is;
    `widens`: whether its one encoder is made wider, until there are as many parameters as in `se`;
    `pure`: for each stream, whether it is unmoved by the other input *at every level*, by construction.
    """

    name: ClassVar[str] = ""
    modalities: ClassVar[tuple[str, ...]] = ("rgb", "depth")
    encoders: ClassVar[tuple[str, ...]] = ("rgb", "depth")
    decodes: ClassVar[tuple[str, ...]] = ("fused",)
    exchanges: ClassVar[bool] = True
    remembers: ClassVar[bool] = False
    several: ClassVar[bool] = False
    widens: ClassVar[bool] = False
    pure: ClassVar[dict[str, bool]] = {"rgb": True, "depth": True}

    def __init__(self, width: int, *, before: int = 0, stage: Stage | None = None, others: int = 0) -> None:
        super().__init__()
        self.width = width

    def forward(
        self, rgb: Tensor, depth: Tensor, before: Tensor | None = None, others: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(fused, rgb_next, depth_next), each (B, width, h, w), of the level's features."""
        return rgb, rgb, depth

    @classmethod
    def takes(cls) -> str:
        """How many modalities reach the scores: "one", "two" or "two or more".

        Examples
        --------
        >>> [find(name).takes() for name in ("rgb", "cross", "sum")]
        ['one', 'two', 'two or more']
        """
        return "one" if len(cls.modalities) == 1 else "two or more" if cls.several else "two"

    def penalty(self) -> Tensor | None:
        """What the operator adds to the loss of a step, or None."""
        return None


def alone(name: str) -> type[Fusion]:
    """A modality by itself, the twin of every other network's encoder of it: as `RGB` and `Depth` are."""
    known = {"modalities": (name,), "encoders": (name,), "decodes": (name,), "exchanges": False, "pure": {name: True}}
    return type(name, (Fusion,), known | {"name": name, "__doc__": f"{name} alone."})


@register("rgb")
class RGB(Fusion):
    r"""Colour alone: :math:`f_l = r_l`, the twin of every other network's colour encoder.

    Notes
    -----
    The depth input is accepted and not looked at. `rgb` is pure.
    """

    modalities = encoders = decodes = ("rgb",)
    exchanges = False
    pure: ClassVar = {"rgb": True}


@register("depth")
class Depth(Fusion):
    r"""Depth alone: :math:`f_l = d_l`, the twin of every other network's depth encoder.

    Notes
    -----
    The colour input is accepted and not looked at. `depth` is pure.
    """

    modalities = encoders = decodes = ("depth",)
    exchanges = False
    pure: ClassVar = {"depth": True}


@register("rgb_wide")
class RGBWide(RGB):
    r"""Colour alone at the size of two encoders: :math:`f_l = r_l` with about :math:`\sqrt2` times the channels.

    Notes
    -----
    What a fused network gains over `rgb` may be its size; what it gains over this one is not. `rgb` is pure.
    """

    widens = True


@register("depth_wide")
class DepthWide(Depth):
    r"""Depth alone at the size of two encoders: :math:`f_l = d_l` with about :math:`\sqrt2` times the channels.

    Notes
    -----
    See `rgb_wide`. `depth` is pure.
    """

    widens = True


@register("early")
class Early(Fusion):
    r"""One encoder on all inputs: :math:`f_0 = [x^{rgb}; x^{depth}]`, :math:`f_l = E_l(f_{l-1})`.

    Notes
    -----
    There is one stream, `fused`, and it is not pure. Further modalities are further channels.

    References
    ----------
    C. Couprie, C. Farabet, L. Najman, Y. LeCun. Indoor Semantic Segmentation using depth information. ICLR 2013.
    """

    encoders = decodes = ("fused",)
    exchanges = False
    several = True
    pure: ClassVar = {"fused": False}


@register("late")
class Late(Fusion):
    r"""Two networks whose scores are averaged: :math:`y = \tfrac12 (D^{rgb}(r_1 … r_L) + D^{depth}(d_1 … d_L))`.

    Notes
    -----
    Each stream has a decoder head of its own; the streams never meet before the scores. All are pure. Further
    modalities are further streams, and the scores of all are averaged.

    References
    ----------
    J. Long, E. Shelhamer, T. Darrell. Fully Convolutional Networks for Semantic Segmentation. CVPR 2015 (its RGB-D
    experiment sums the scores of a colour and a depth network).
    """

    decodes = ("rgb", "depth")
    exchanges = False
    several = True


@register("sum")
class Sum(Fusion):
    r"""Depth is added into the colour branch: :math:`f_l = r_l + d_l`, :math:`r_{l+1} = E^{rgb}_{l+1}(f_l)`.

    Notes
    -----
    No parameters. `rgb` is pure at level 1 only (it goes on as the sum), `depth` is pure. Further modalities are added
    as depth is, and are pure.

    References
    ----------
    C. Hazirbas, L. Ma, C. Domokos, D. Cremers. FuseNet: Incorporating Depth into Semantic Segmentation via
    Fusion-based CNN Architecture. ACCV 2016.

    Examples
    --------
    >>> import torch
    >>> fused, rgb, depth = Sum(8)(torch.ones(1, 8, 2, 2), torch.ones(1, 8, 2, 2))
    >>> fused.unique().tolist(), rgb is fused, depth.unique().tolist()
    ([2.0], True, [1.0])
    """

    several = True
    pure: ClassVar = {"rgb": False, "depth": True, "fused": False}

    def forward(
        self, rgb: Tensor, depth: Tensor, before: Tensor | None = None, others: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        fused = sum(others, start=rgb + depth)  # (B, width, h, w)
        return fused, fused, depth


@register("concat")
class Concat(Fusion):
    r"""A learned mixture of all channels: :math:`f_l = W_l [r_l; d_l] + b_l`, :math:`r_{l+1} = E^{rgb}_{l+1}(f_l)`.

    Notes
    -----
    W is a 1x1 convolution of 2 x width to width channels. `rgb` is pure at level 1 only, `depth` is pure. Of M
    modalities all are stacked, and W takes M x width channels.

    References
    ----------
    The common baseline; for one comparison of it see C. Hazirbas et al. (FuseNet, ACCV 2016) and X. Hu, K. Yang,
    L. Fei, K. Wang. ACNet. ICIP 2019.

    Examples
    --------
    >>> import torch
    >>> fused, rgb, depth = Concat(8)(torch.ones(1, 8, 2, 2), torch.ones(1, 8, 2, 2))
    >>> fused.shape, rgb is fused
    (torch.Size([1, 8, 2, 2]), True)
    """

    several = True
    pure: ClassVar = {"rgb": False, "depth": True, "fused": False}

    def __init__(self, width: int, *, before: int = 0, stage: Stage | None = None, others: int = 0) -> None:
        super().__init__(width)
        self.mix = nn.Conv2d((2 + others) * width, width, 1)

    def forward(
        self, rgb: Tensor, depth: Tensor, before: Tensor | None = None, others: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        fused = self.mix(torch.cat([rgb, depth, *others], 1))  # (B, width, h, w)
        return fused, fused, depth
