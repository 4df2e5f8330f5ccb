"""The parts networks are built from: a small residual encoder, pretrained ones of a library, a top-down decoder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgbd_insight.hooks import Tap

GROUP = 8  # channels that share one normalisation
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on which these encoders were trained
DEPTH = (2.5, 1.2)  # mean and standard deviation of indoor depth, metres


def norm(width: int) -> nn.GroupNorm:
    """Group normalisation of `width` channels, eight to a group: no state that depends on other samples."""
    return nn.GroupNorm(width // GROUP, width)


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut around them (He et al., 2016)."""

    def __init__(self, before: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.norm1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = norm(width)
        self.shortcut = nn.Identity()
        if stride != 1 or before != width:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), norm(width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))  # (B, width, h, w)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))  # (B, width, h, w)


class Levels(nn.Module):
    """An encoder as its users call it: a `stem`, then `layer1` to `layerL`, of which there are `levels`."""

    stem: nn.Module
    levels: int

    def forward(self, x: Tensor) -> list[Tensor]:
        """All levels of `x` (B, channels, H, W), finest first."""
        x = self.stem(x)  # (B, width of the stem, H/2, W/2)
        levels = []
        for level in range(1, self.levels + 1):
            x = self.level(x, level)
            levels.append(x)
        return levels

    def level(self, x: Tensor, level: int) -> Tensor:
        """Level `level` from the output of the one before it (of the stem for level 1)."""
        return getattr(self, f"layer{level}")(x)


class Encoder(Levels):
    """A stem at half resolution and one stage a level: level 1 at stride 2, each further level at twice that.

    Parameters
    ----------
    channels : int
        Input channels.
    widths : sequence of int
        Channels at each level, multiples of eight.
    blocks : int, optional
        Residual blocks a level.
    """

    name: ClassVar[str] = "small"
    imagenet: ClassVar[bool] = False  # whether there are weights to begin with
    rgb_scale: ClassVar[tuple[float, float]] = (0.5, 0.25)  # mean and standard deviation that colour is scaled by
    decoder: ClassVar[int] = 48  # channels of the decoder that goes with it

    def __init__(self, channels: int, widths: Sequence[int], blocks: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 5, 2, 2, bias=False), norm(widths[0]), nn.ReLU(inplace=True)
        )
        self.levels = len(widths)
        for level in range(1, self.levels + 1):
            setattr(self, f"layer{level}", self.stage(level, widths, blocks))

    @classmethod
    def stage(cls, level: int, widths: Sequence[int], blocks: int = 1) -> nn.Sequential:
        """One level of the encoder by itself: `blocks` residual blocks, the first with the level's stride."""
        before, width = widths[max(level - 2, 0)], widths[level - 1]
        first = Block(before, width, 1 if level == 1 else 2)
        return nn.Sequential(first, *(Block(width, width) for _ in range(blocks - 1)))


class _Head(nn.Module):
    """Scores from a pyramid: 1x1 laterals added from the coarsest level to the finest, one 3x3, a 1x1 classifier."""

    def __init__(self, widths: Sequence[int], classes: int, channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), norm(channels), nn.ReLU())
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        x = self.lateral[-1](pyramid[-1])  # (B, channels, h, w)
        for lateral, finer in zip(reversed(self.lateral[:-1]), reversed(pyramid[:-1]), strict=True):
            x = resized(x, finer.shape[-2:])
            x = x + lateral(finer)  # (B, channels, 2h, 2w)
        return self.classify(self.smooth(x))  # (B, classes, H/2, W/2)


class Decoder(nn.Module):
    """The mean of one head's scores for each decoded stream, brought to the input's size.

    Parameters
    ----------
    streams : sequence of str
        The decoded streams: one for most fusions, two where scores are averaged.
    widths : sequence of int
        Channels at each level.
    classes : int
        Scores a pixel.
    channels : int, optional
        Of one head; two have two thirds of them each, which is the size of one.
    """

    def __init__(self, streams: Sequence[str], widths: Sequence[int], classes: int, channels: int = 48) -> None:
        super().__init__()
        channels = channels if len(streams) == 1 else channels * 2 // 3
        self.heads = nn.ModuleDict({stream: _Head(widths, classes, channels) for stream in streams})

    def forward(self, pyramids: dict[str, list[Tensor]], size: tuple[int, int]) -> Tensor:
        scores = [head(pyramids[stream]) for stream, head in self.heads.items()]  # each (B, classes, H/2, W/2)
        mean = scores[0] if len(scores) == 1 else torch.stack(scores).mean(0)
        return resized(mean, size)  # (B, classes, H, W)


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (B, C, h, w) brought to `size` bilinearly: two products, whose gradients a GPU adds up in one order.

    Examples
    --------
    >>> x = torch.rand(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(resized(x, (6, 8)), F.interpolate(x, (6, 8), mode="bilinear"))
    True
    """
    rows, columns = (_weights(n, m, x.device) for n, m in zip(x.shape[-2:], size, strict=True))
    with exactly(x.device):
        return (rows @ x.float() @ columns.T).to(x.dtype)


def exactly(device: torch.device) -> AbstractContextManager:
    """Inside the ``with``, float32 stays float32 also where the network computes in half precision."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


@cache
def _weights(before: int, after: int, device: torch.device) -> Tensor:
    """What each of `after` places takes of each of `before`, (after, before)."""
    with torch.inference_mode(False):  # it is kept, and a later call may be one of training
        unit = torch.eye(before)[None, None]  # (1, 1, before, before): a row for each place
        found = F.interpolate(unit, (before, after), mode="bilinear", align_corners=False)[0, 0].T
        return found.contiguous().to(device)


class TwoBackbones(nn.Module):
    """Encoders that run apart, their maps added at every level, and one decoder; made by :func:`backbones`.

    Attributes
    ----------
    fusion, seed, epoch : str, int, int
        As of `Network`.
    classes : int
        Scores a pixel.
    """

    fusion, epoch = "backbones", 0

    def __init__(self, rgb: nn.Module, depth: nn.Module, widths: Sequence[int], classes: int, seed: int) -> None:
        super().__init__()
        self.encoder_rgb, self.encoder_depth, self.classes, self.seed = rgb, depth, classes, seed
        # where each level can be read and muted as one plain tensor, whatever the encoder returns
        for stream in ("rgb", "depth", "fused"):
            setattr(self, stream, nn.ModuleList(nn.Identity() for _ in widths))
        self.decoder = Decoder(("fused",), widths, classes)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        """Scores (B, classes, H, W) for colour (B, 3, H, W) in [0, 1] and depth (B, 1, H, W) in metres."""
        mean, std = DEPTH
        scaled = torch.where(depth > 0, (depth - mean) / std, 0).expand(-1, 3, -1, -1)  # (B, 3, H, W)
        streams = {}
        for name, x in (("rgb", (rgb - self.mean) / self.std), ("depth", scaled)):
            maps = _maps(getattr(self, f"encoder_{name}"), x)
            streams[name] = [read(y) for read, y in zip(getattr(self, name), maps, strict=True)]
        pairs = zip(self.fused, streams["rgb"], streams["depth"], strict=True)
        fused = [read(a + b) for read, a, b in pairs]  # each (B, widths[k], h, w)
        return self.decoder({"fused": fused}, rgb.shape[-2:])

    def taps(self) -> list[Tap]:
        """Both streams and their sum at every level."""
        return [Tap(s, k + 1, f"{s}.{k}") for s in ("rgb", "depth", "fused") for k in range(len(self.fused))]


def backbones(
    rgb: Any, depth: Any = None, *, classes: int | Sequence[str] = 28, levels: int = 4, seed: int = 0
) -> TwoBackbones:
    """A network of two `transformers` encoders: ResNet, ConvNeXt, Swin, SegFormer, DINOv2 and others.

    Parameters
    ----------
    rgb : object
        A configuration of the library (random weights from `seed`), or a name on its hub or a folder (its weights, read
        as safetensors and without code from there). An AutoBackbone, or a model that hands over hidden states as maps.
    depth : object, optional
        The same for depth, which is repeated to three channels; None takes `rgb`'s again, with weights of its own.
    classes : int or sequence of str, optional
        Number of classes, or their names.
    levels : int, optional
        The last so many levels of the encoders are read; their widths must agree.
    seed : int, optional
        Of random weights.

    Returns
    -------
    TwoBackbones
        The network, in evaluation mode. Its decoder is untrained: train it with `ri.train`, or audit what the encoders
        say.

    Raises
    ------
    ValueError
        Where the library is not installed, a name leads nowhere, or the encoders' widths differ.

    Notes
    -----
    F_k = R_k + D_k at each level, and nothing goes back into the encoders: both streams are pure.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = [_encoder(source, levels) for source in (rgb, rgb if depth is None else depth)]
        (first, widths), (second, others) = made
        if widths != others:
            raise ValueError(f"`depth` must have the widths of `rgb`, {widths}; got {others}: choose encoders alike")
        count = classes if isinstance(classes, int) else len(classes)
        return TwoBackbones(first, second, widths, count, seed).eval()


def _encoder(source: Any, levels: int) -> tuple[nn.Module, list[int]]:
    """An encoder of the library that answers with its last `levels` maps, and their channels."""
    try:
        from transformers import AutoBackbone, AutoConfig, AutoModel
    except ImportError:
        raise ValueError(
            'these encoders need the library transformers; install it with pip install "rgbd-insight[pretrained]"'
        ) from None
    named = isinstance(source, str)
    try:
        config = AutoConfig.from_pretrained(source) if named else source
        stages = getattr(config, "stage_names", None)
        if stages is not None and len(stages) > levels:
            indices = list(range(len(stages) - levels, len(stages)))
            model = AutoBackbone.from_pretrained(source, out_indices=indices, use_safetensors=True) if named else None
            if model is None:
                config.out_indices = indices
                model = AutoBackbone.from_config(config)
            return model, list(model.channels)
        model = AutoModel.from_pretrained(source, use_safetensors=True) if named else AutoModel.from_config(config)
        widths = list(getattr(config, "hidden_sizes", ()))[-levels:]
        if len(widths) < levels:
            raise ValueError(f"it has {len(widths)} levels with maps and {levels} are asked for")
        return model, widths
    except (OSError, ValueError, AttributeError, KeyError) as error:
        what = source if named else type(source).__name__
        raise ValueError(
            f"{what!r} must be an encoder that hands over maps; {error}: give a backbone's name or "
            "configuration, or fewer `levels`"
        ) from error


def _maps(encoder: nn.Module, x: Tensor) -> list[Tensor]:
    """The encoder's maps, finest first, each (B, C, h, w)."""
    if hasattr(encoder, "channels"):
        return list(encoder(x).feature_maps)
    found = encoder(x, output_hidden_states=True).hidden_states
    return list(found[-len(encoder.config.hidden_sizes) :])
