"""How a network of another making is called, and how it wants its images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rgbd_insight.data import hha

CALLS = ("pair", "list", "stacked", "keywords", "dict")
ENCODINGS = ("metric", "range", "standardised", "hha", "ahh")
ORDERS, MISSING = ("rgb", "bgr"), ("zero", "value")
NEED_METRES = ("metric", "hha", "ahh")
TRIMMED = 0.1  # share of the values at each end that "standardised" leaves out of mean and deviation

Numbers = float | Sequence[float]


@dataclass(frozen=True)
class Inputs:
    """How a network wants its images, and what of it is not known; applied to colour in [0, 1] and depth in metres.

    Parameters
    ----------
    mean, deviation : float or sequence of float (3,), optional
        Of colour, a number or one a channel, in the order of `order`; None leaves colour in [0, 1].
    order : str, optional
        "rgb", or "bgr" where the network was trained on images as OpenCV reads them.
    encoding : str, optional
        "metric": the reading times `scale`. "range": where the reading lies in its modality's range, 0 to 1, times
        `scale`; so are bytes of thermal images, and depth where nobody says how it became bytes. "standardised": minus
        the image's own mean, by its deviation, both without the tenth of its values at either end. "hha": disparity,
        height and angle as bytes over 255; "ahh": the same in the order in which OpenCV reads them.
    scale : float, optional
        See `encoding`.
    depth_mean, depth_deviation : float or sequence of float (3,), optional
        Of the encoded depth; None leaves it as it is.
    missing : str, optional
        Where there is no reading, the network gets 0 ("zero"), or what becomes of a reading of 0 ("value").
    channels : int, optional
        Depth is repeated to as many.
    size : (int, int), optional
        (H, W) that it was trained at.
    classes, ignored : int and str, optional
        How many it tells apart, and which labels its training left out.
    unknown : tuple of str, optional
        What the source does not say and is therefore assumed here.
    source : tuple of str, optional
        Addresses of the public files that say so.

    Attributes
    ----------
    reach, unit, intrinsics : (float, float), str and (fx, fy, cx, cy) or None
        Of the data at hand, see :meth:`on`: the range of the second modality and its unit, and the lens.

    Raises
    ------
    ValueError
        For another encoding or order, where one of a mean and a deviation is missing, and for numbers that cannot be.

    References
    ----------
    S. Gupta, R. Girshick, P. Arbeláez, J. Malik, Learning rich features from RGB-D images for object detection and
    segmentation, ECCV 2014. The bytes are 310 / metres (readings below 1 m are taken for 1 m), centimetres above the
    ground, and degrees + 38, rounded and cut off at 255.

    Examples
    --------
    >>> wants = Inputs(mean=0.5, deviation=0.25, depth_mean=2.0, depth_deviation=0.5)
    >>> rgb, depth = wants(torch.ones(1, 3, 1, 2), torch.tensor([[[[3.0, 0.0]]]]))
    >>> rgb[0, :, 0, 0].tolist(), depth[0, 0, 0].tolist()
    ([2.0, 2.0, 2.0], [2.0, 0.0])
    """

    mean: Numbers | None = None
    deviation: Numbers | None = None
    order: str = "rgb"
    encoding: str = "metric"
    scale: float = 1.0
    depth_mean: Numbers | None = None
    depth_deviation: Numbers | None = None
    missing: str = "zero"
    channels: int = 1
    size: tuple[int, int] | None = field(default=None, repr=False)
    classes: int | None = field(default=None, repr=False)
    ignored: str = field(default="", repr=False)
    unknown: tuple[str, ...] = field(default=(), repr=False)
    source: tuple[str, ...] = field(default=(), repr=False)
    reach: tuple[float, float] = (0.0, 10.0)
    unit: str = "m"
    intrinsics: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        for name, known in (("order", ORDERS), ("encoding", ENCODINGS), ("missing", MISSING)):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(known)}; got {getattr(self, name)!r}: choose one")
        for mean, deviation in (("mean", "deviation"), ("depth_mean", "depth_deviation")):
            if (getattr(self, mean) is None) != (getattr(self, deviation) is None):
                raise ValueError(f"`{mean}` and `{deviation}` must come together; got one of them: give both, or none")
        for name in ("mean", "deviation", "scale", "depth_mean", "depth_deviation", "reach"):
            values = getattr(self, name)
            numbers = () if values is None else [values] if isinstance(values, int | float) else values
            above = 0 if name.endswith("deviation") else -math.inf
            if not all(math.isfinite(value) and value > above for value in numbers):
                must = "above 0" if above == 0 else "finite"
                raise ValueError(f"`{name}` must be {must}; got {values}: take it from the network's own code")
        if self.channels < 1 or self.reach[0] >= self.reach[1]:
            raise ValueError(
                f"`channels` must be 1 or more and `reach` rise from low to high; got {self.channels} and {self.reach}:"
                " give both as the network and the data have them"
            )

    def __call__(self, rgb: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Colour (B, 3, H, W) and depth (B, c, H, W) as the network wants them."""
        valid = depth != 0
        if self.order == "bgr":
            rgb = rgb.flip(1)
        rgb = _standard(rgb, self.mean, self.deviation)
        depth = _standard(self._encoded(depth), self.depth_mean, self.depth_deviation)
        if self.missing == "zero":
            depth = torch.where(valid, depth, 0)
        return rgb, depth.expand(-1, max(self.channels, depth.shape[1]), -1, -1)  # (B, c, H, W)

    def on(self, data: Any) -> Inputs:
        """The same for images of `data`: the range and unit of its second modality, and its lens.

        Raises
        ------
        ValueError
            Where they do not allow the encoding: it wants metres, or a lens. Where they have more modalities than two.
        """
        if len(data.modalities) > 2:
            raise ValueError(
                f"`data` must have two modalities for a network that takes two; got "
                f"{', '.join(m.name for m in data.modalities)}: give an `adapt` of your own, (model, *inputs) -> scores"
            )
        second, lens = data.modalities[1], getattr(data, "intrinsics", None)
        if self.encoding in NEED_METRES and second.unit != "m":
            raise ValueError(
                f"`data` must have depth in metres for a network that wants {self.encoding!r} depth; {second.name} has "
                f"the unit {second.unit!r}: take the map of a network for {second.name}, or give an `adapt` of your own"
            )
        if self.encoding in ("hha", "ahh") and lens is None:
            raise ValueError(
                "`data` must have intrinsics, from which HHA is made; it has none: declare fx, fy, cx and cy in "
                "camera.json, or give an `adapt` of your own"
            )
        lens = None if lens is None else tuple(map(float, lens))
        return replace(self, reach=(float(second.low), float(second.high)), unit=second.unit, intrinsics=lens)

    def lines(self) -> list[str]:
        """What it says, a line each, what is unknown last."""
        colour = "colour in [0, 1]" if self.mean is None else f"colour in [0, 1] minus {_text(self.mean)}"
        colour += "" if self.deviation is None else f", by {_text(self.deviation)}"
        depth = f"{self.encoding} depth" + ("" if self.scale == 1 else f" times {self.scale:g}")
        if self.depth_mean is not None:
            depth += f" minus {_text(self.depth_mean)}, by {_text(self.depth_deviation)}"
        depth += f", {self.channels} channels" if self.channels > 1 else ""
        found = [f"{colour}, {self.order}", f"{depth}; no reading: {'0' if self.missing == 'zero' else 'as a 0'}"]
        found += [] if self.size is None else [f"trained at {self.size[0]}x{self.size[1]}"]
        found += [] if self.classes is None else [f"{self.classes} classes" + f", {self.ignored}" * bool(self.ignored)]
        return found + [f"not known: {text}" for text in self.unknown]

    def _encoded(self, depth: Tensor) -> Tensor:
        """Depth (B, 1, H, W) or HHA (B, 3, H, W) before its mean is taken off."""
        if self.encoding == "range":
            low, high = self.reach
            return self.scale * (depth - low) / (high - low)
        if self.encoding == "standardised":
            return torch.cat([_by_itself(image) for image in depth.split(1)])
        return self.scale * depth if self.encoding == "metric" else self._hha(depth)

    def _hha(self, depth: Tensor) -> Tensor:
        """HHA in bytes over 255 (B, 3, H, W)."""
        if self.intrinsics is None:
            raise ValueError(
                "`adapt` must know the lens to make HHA; it does not: take adapt.on(data), with intrinsics in `data`"
            )
        values, _ = hha(depth.float(), self.intrinsics)  # 1/m, m, degrees
        disparity, height, angle = values.split(1, 1)
        parts = [310 * disparity.clamp(max=1), 100 * height, angle + 38]
        bytes_ = torch.cat(parts if self.encoding == "hha" else parts[::-1], 1).round().clamp(0, 255)
        return (bytes_ / 255).to(depth.dtype)


@dataclass(frozen=True, repr=False)
class Adapter:
    """A callable for `adapt`: hands colour and depth over as a network wants them, brings its scores to their size.

    Parameters
    ----------
    inputs : str, optional
        "pair" calls model(rgb, depth), "list" model([rgb, depth]), "stacked" model of one tensor (B, 3 + c, H, W),
        "keywords" ``model(first=rgb, second=depth)`` and "dict" ``model({"first": rgb, "second": depth})`` with the two
        `names`.
    names : (str, str), optional
        The keywords, or keys.
    logits : tuple of (int or str), optional
        Keys of the scores in what the model returns, outermost first; () where it returns them alone.
    images : Inputs, optional
        How it wants its images; the default leaves colour in [0, 1] and depth in metres.

    Raises
    ------
    ValueError
        For another `inputs`.

    Examples
    --------
    >>> class Other(nn.Module):
    ...     def forward(self, images):
    ...         return {"scores": [F.avg_pool2d(images[0] + images[1], 4)]}
    >>> adapt = Adapter("list", logits=("scores", 0), images=Inputs(channels=3))
    >>> adapt(Other(), torch.rand(2, 3, 8, 12), torch.rand(2, 1, 8, 12)).shape
    torch.Size([2, 3, 8, 12])
    """

    inputs: str = "pair"
    names: tuple[str, str] = ("rgb", "depth")
    logits: tuple[int | str, ...] = ()
    images: Inputs = Inputs()

    def __post_init__(self) -> None:
        if self.inputs not in CALLS:
            raise ValueError(
                f"`inputs` must be one of {', '.join(CALLS)}; got {self.inputs!r}: choose how it is called"
            )

    def __repr__(self) -> str:
        """What is not as by default, and how it is called."""
        return f"Adapter(inputs={self.inputs!r}{_changed(self, ('names', 'logits'))}{_changed(self.images)})"

    def __call__(self, model: nn.Module, rgb: Tensor, depth: Tensor) -> Tensor:
        """Scores (B, C, H, W) of `model` for colour (B, 3, H, W) and depth (B, 1, H, W)."""
        pair = self.images(rgb, depth)
        named = dict(zip(self.names, pair, strict=True))
        if self.inputs == "keywords":
            found = model(**named)
        elif self.inputs == "pair":
            found = model(*pair)
        else:
            found = model({"dict": named, "list": list(pair)}.get(self.inputs) or torch.cat(pair, 1))
        return _resized(self._scores(found), rgb.shape[-2:])

    def on(self, data: Any) -> Adapter:
        """The same for images of `data`, as :meth:`Inputs.on`."""
        return replace(self, images=self.images.on(data))

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


def _changed(part: Adapter | Inputs, names: Sequence[str] | None = None) -> str:
    """The fields that are not as by default, as in a call; of `Inputs` those that change what the network is given."""
    given = [f for f in fields(part) if (f.repr if names is None else f.name in names)]
    return "".join(f", {f.name}={v!r}" for f in given if (v := getattr(part, f.name)) != f.default)


def _text(values: Numbers) -> str:
    numbers = [values] if isinstance(values, int | float) else values
    return " ".join(f"{value:.4g}" for value in numbers)


def _standard(x: Tensor, mean: Numbers | None, deviation: Numbers | None) -> Tensor:
    return x if mean is None else (x - _column(mean, x)) / _column(deviation, x)


def _column(values: Numbers, like: Tensor) -> Tensor:
    """A number a channel as (C, 1, 1), or one number."""
    column = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    return column[:, None, None] if column.ndim else column


def _by_itself(image: Tensor) -> Tensor:
    """An image (1, 1, H, W) minus the mean of its middle readings, by their deviation."""
    readings = image[image != 0].sort().values
    n = len(readings)
    middle = readings[int(TRIMMED * n) : int((1 - TRIMMED) * n)]
    if len(middle) < 2:
        return torch.zeros_like(image)
    return (image - middle.mean()) / (middle.var() + 1e-6).sqrt()


def _resized(scores: Tensor, size: torch.Size) -> Tensor:
    """Scores (B, C, H, W) at `size`."""
    if scores.shape[-2:] == size:
        return scores
    return F.interpolate(scores, size, mode="bilinear", align_corners=False)
