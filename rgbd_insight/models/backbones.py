"""Two encoders of the `transformers` library as the streams of one segmentation network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rgbd_insight.hooks import Tap
from rgbd_insight.models.encoder import Decoder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on which these encoders were trained
DEPTH = (2.5, 1.2)  # mean and standard deviation of indoor depth, metres


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
