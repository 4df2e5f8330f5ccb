"""The one segmentation network: an encoder per modality, a fusion operator per level, one decoder."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from rgbd_insight.data import ENCODINGS, NEED_INTRINSICS
from rgbd_insight.hooks import Tap
from rgbd_insight.models.efficientnet import EfficientNetLite, EfficientNetLite1, EfficientNetLite2, imagenet_weights
from rgbd_insight.models.encoder import GROUP, Decoder, Encoder, exactly
from rgbd_insight.models.fusion import FUSIONS, Fusion, alone, find
from rgbd_insight.utils.messages import checked_whole, unknown

SEEDS = 2**63  # what a table can hold
WIDEST = 2**15  # channels, beyond which no memory holds a level
ENCODERS = {kind.name: kind for kind in (Encoder, EfficientNetLite, EfficientNetLite1, EfficientNetLite2)}
IMAGENET, RANDOM = "imagenet", "random"  # what an encoder begins with
OPTIONS = {
    "levels": None,
    "rgb_scale": None,
    "depth_scale": (2.5, 1.2),
    "encoding": "metric",
    "intrinsics": None,
    "weights": None,
}
# of what depth may be given as, beside metres: mean and standard deviation of each channel in ordinary rooms
SCALES = {
    "inverse": ((0.45,), (0.25,)),
    "log": ((0.85,), (0.5,)),
    "normals": ((0.0,) * 3, (0.6,) * 3),
    "hha": ((0.45, 1.2, 60.0), (0.25, 0.8, 40.0)),
}


class Network(nn.Module):
    """Segmentation of images of two modalities or more; made by :func:`build`.

    Attributes
    ----------
    fusion, seed, epoch : str, int, int
        How it was made and how long it was trained (0: not at all).
    modalities : tuple of str
        The inputs that reach the scores.
    streams : tuple of str
        The streams that can be tapped.
    config : dict
        JSON values, enough to build it again.
    classes : int
        Scores a pixel.
    """

    def __init__(self, config: dict) -> None:
        super().__init__()
        self.config = json.loads(json.dumps(config))  # lists for tuples, so that it compares equal after loading
        others = config.get("others") or {}
        operator = find(config["fusion"]) if config["fusion"] not in others else alone(config["fusion"])
        widths = config["widths"]
        channels = _channels(config["encoding"], others)
        self.fusion, self.seed, self.classes, self.epoch = operator.name, config["seed"], config["classes"], 0
        self.operator, self.depths = operator, len(widths)
        self.others = tuple(others) if operator.several else ()  # beside the two that operators are written for
        self.modalities = operator.modalities + self.others
        self.encoders, self.decodes = (
            part if "fused" in part else part + self.others for part in (operator.encoders, operator.decodes)
        )
        self.streams = self.encoders + (("fused",) if operator.exchanges else ())
        for name in self.encoders:
            make = partial(self.kind, channels[name], widths, config["blocks"])
            setattr(self, f"encoder_{name}", self._seeded(f"encoder_{name}", make))
        if operator.exchanges:
            self.exchange = self._seeded("exchange", self._operators)
            # where the fused stream can be read and muted as one plain tensor, whatever the operator returns
            self.fused = nn.ModuleDict({f"level{k}": nn.Identity() for k in range(1, self.depths + 1)})
        decoder = partial(Decoder, self.decodes, widths, self.classes, self.kind.decoder)
        self.decoder = self._seeded("decoder", decoder)

    @property
    def kind(self) -> type[Encoder | EfficientNetLite]:
        """The class of its encoders."""
        return ENCODERS[self.config["encoder"]]

    def _seeded(self, part: str, make: Callable[[], nn.Module]) -> nn.Module:
        """Make a part from its own seed: twins then start from the same weights, and no global state moves."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(f"{self.seed}/{part}".encode()))
            return make()

    def _operators(self) -> nn.ModuleDict:
        """The operator of every level; a level that is not chosen leaves the streams apart."""
        widths, blocks = self.config["widths"], self.config["blocks"]
        chosen = self.config["levels"] or range(1, len(widths) + 1)
        made = {}
        for level, width in enumerate(widths, start=1):
            kind = self.operator if level in chosen else Fusion
            before = widths[level - 2] if level > 1 else 0
            stage = partial(self.kind.stage, level, widths, blocks) if before else None
            more = {"others": len(self.others)} if self.others else {}  # not asked of those that take two
            made[f"level{level}"] = kind(width, before=before, stage=stage, **more)
        return nn.ModuleDict(made)

    def _start(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with pretrained `weights` of an encoder, in every encoder and in branches that are made like it."""
        for name in self.encoders:
            self._encoder(name).start(weights, name)
        for level, operator in self.exchange.items() if self.operator.exchanges else ():
            if getattr(operator, "branch", None) is not None:
                prefix = level.replace("level", "layer") + "."
                operator.branch.load_state_dict(
                    {k.removeprefix(prefix): x for k, x in weights.items() if k.startswith(prefix)}
                )

    def forward(self, rgb: Tensor | None, depth: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """Scores (B, classes, H, W) for colour (B, 3, H, W) in [0, 1] and depth (B, 1, H, W) in metres.

        A missing input is None: the network then gets the mean input (of colour), or no reading anywhere. `others` are
        the modalities that `build` was given beside these, in their order and units; 0 where there is no reading.
        """
        given = self._standardised(rgb, depth, *others)
        size = next(iter(given.values())).shape[-2:]
        now = {name: self._encoder(name).stem(given[name]) for name in self.encoders}
        pyramids = {stream: [] for stream in self.decodes}
        for level in range(1, self.depths + 1):
            now |= {name: self._encoder(name).level(now[name], level) for name in self.encoders}
            if self.operator.exchanges:
                self._fuse(now, level)
            for stream, pyramid in pyramids.items():
                pyramid.append(now[stream])  # (B, widths[level-1], h, w)
        return self.decoder(pyramids, size)

    def _encoder(self, name: str) -> Encoder | EfficientNetLite:
        return getattr(self, f"encoder_{name}")

    def _fuse(self, now: dict[str, Tensor], level: int) -> None:
        """Put the level's fused map, and what goes on in each encoder, into `now`."""
        operator = self.exchange[f"level{level}"]
        before = (now.get("fused"),) if operator.remembers else ()
        more = {"others": [now[name] for name in self.others]} if self.others else {}
        fused, rgb, depth = operator(now["rgb"], now["depth"], *before, **more)
        read = self.fused[f"level{level}"](fused)
        # what a hook does to the fused map also reaches the encoder in which it goes on
        now |= {"fused": read, "rgb": read if rgb is fused else rgb, "depth": read if depth is fused else depth}

    def _standardised(self, *images: Tensor | None) -> dict[str, Tensor]:
        """The encoders' inputs: rgb (B, 3, H, W), others with the mask of their readings (B, c + 1, H, W), or all."""
        others = self.config.get("others") or {}
        if len(images) != 2 + len(others):
            raise ValueError(
                f"`others` must be the images of {', '.join(others) or 'no modality'}; got {len(images) - 2} of them: "
                "build the network with the `others` that the data have"
            )
        given = {name: x for name, x in zip(("rgb", "depth", *others), images, strict=True) if x is not None}
        channels = _channels(self.config["encoding"], others)
        like, found = _checked_inputs(given, others), {}
        for name in ("rgb", "depth", *others):
            if name not in given:  # the mean input: no reading, and a mask that says so
                found[name] = like.new_zeros(len(like), channels[name], *like.shape[-2:])
            elif name == "rgb":
                mean, std = self.config["rgb_scale"]
                found[name] = (given[name] - mean) / std
            else:
                x = given[name]
                found[name] = self._encoded(x) if name == "depth" else _with_mask(x, others[name]["scale"])
        if "fused" in self.encoders:
            found["fused"] = torch.cat([found[name] for name in self.modalities], 1)
        return {name: found[name] for name in self.encoders}

    def _encoded(self, depth: Tensor) -> Tensor:
        """Depth as the encoder is given it, standardised, and the mask of its values: (B, c + 1, H, W)."""
        name = self.config["encoding"]
        if name == "metric":
            return _with_mask(depth, self.config["depth_scale"])
        with exactly(depth.device):
            more = {"gravity": torch.eye(3, device=depth.device)[1]} if name == "hha" else {}  # the image's own down
            lens = (self.config["intrinsics"],) if name in NEED_INTRINSICS else ()
            values, there = ENCODINGS[name](depth.float(), *lens, **more)
            parts = [(values[:, [i]] - mean) / std for i, (mean, std) in enumerate(zip(*SCALES[name], strict=True))]
            valid = there.to(values.dtype)
            return torch.cat([*(part * valid for part in parts), valid], 1)

    def taps(self) -> list[Tap]:
        """Every stream at every level, in the order of `streams`."""
        found = []
        for stream in self.streams:
            pattern = "encoder_{stream}.layer{level}" if stream in self.encoders else "fused.level{level}"
            for level in range(1, self.depths + 1):
                found.append(Tap(stream, level, pattern.format(stream=stream, level=level)))
        return found

    def penalty(self) -> Tensor | None:
        """What the operators add to the loss of a step; None where none does."""
        parts = [operator.penalty() for operator in self.exchange.values()] if self.operator.exchanges else []
        parts = [part for part in parts if part is not None]
        return torch.stack(parts).sum() if parts else None

    def parameter_count(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.parameters())


def _channels(encoding: str, others: Mapping[str, Mapping]) -> dict[str, int]:
    """Input channels of each encoder; all but colour come with the mask of their values."""
    depth = 1 + (1 if encoding == "metric" else len(SCALES[encoding][0]))
    each = {"rgb": 3, "depth": depth} | {name: about["channels"] + 1 for name, about in others.items()}
    return each | {"fused": sum(each.values())}


def _with_mask(x: Tensor, scale: Sequence[float]) -> Tensor:
    """Readings (B, c, H, W) standardised, 0 where there is none, and the mask of those that are: (B, c + 1, H, W)."""
    valid, (mean, std) = (x != 0).any(1, keepdim=True).to(x.dtype), scale
    return torch.cat([(x - mean) / std * valid, valid], 1)


def _checked_inputs(given: Mapping[str, Tensor], others: Mapping[str, Mapping]) -> Tensor:
    """The first of the images that are given; a ValueError that says what is wrong with them, if anything."""
    channels = {"rgb": 3, "depth": 1} | {name: about["channels"] for name, about in others.items()}
    if not given:
        raise ValueError(f"{' or '.join(channels)} must be given; got None for all of them: pass at least one input")
    first, like = next(iter(given.items()))
    for name, x in given.items():
        if x.ndim != 4 or x.shape[1] != channels[name]:
            wanted = f"(B, {channels[name]}, H, W)"
            raise ValueError(f"`{name}` must be {wanted}; got {tuple(x.shape)}: add or move the axes")
        if (len(x), x.shape[-2:]) != (len(like), like.shape[-2:]):
            shapes = f"{tuple(like.shape)} and {tuple(x.shape)}"
            raise ValueError(f"`{first}` and `{name}` must be in register; got {shapes}: resize one")
    return like


def build(
    fusion: str = "sum",
    classes: int | Sequence[str] = 28,
    *,
    seed: int = 0,
    width: int | Sequence[int] | None = None,
    blocks: int | None = None,
    encoder: str = "small",
    others: Mapping[str, Mapping[str, object]] | None = None,
    **options: object,
) -> Network:
    """A network whose first weights depend on `seed` alone; encoders of one seed start alike in every fusion.

    Parameters
    ----------
    fusion : str, optional
        A name in ``FUSIONS``; it fixes the modalities.
    classes : int or sequence of str, optional
        Number of classes, or their names; the default is as many as the planted scenes have.
    seed : int, optional
        Of the initial weights; the global random state is neither read nor moved.
    width : int or sequence of int, optional
        Channels at every level of the small encoder, multiples of eight; one number w means (w, 2w, 3w, 4w), and 32 is
        the default. `rgb_wide` and `depth_wide` multiply them, up to the size of `se`.
    blocks : int, optional
        Residual blocks a level of the small encoder; default 1.
    encoder : str, optional
        "small", a residual network, or "efficientnet_lite0" (also 1, 2), which begins with ImageNet weights. Those have
        a width of their own, levels at strides 4 to 32, and statistics of batch normalisation that are frozen. The
        decoder is twice as wide there.
    others : mapping of str to mapping, optional
        Modalities beside colour and depth, in the order in which the data has them: name -> {"channels": c, "scale":
        (mean, standard deviation of its readings)}. "early", "late", "sum", "concat", "se" and "acnet" fuse them too,
        the other operators are defined for two; a `fusion` of one of these names is that modality alone.
    **options : object
        `levels`: the levels at which to fuse (default all; elsewhere the decoder reads the colour stream); `rgb_scale`,
        `depth_scale`: (mean, standard deviation) of the inputs, depth in metres over valid readings; `encoding`: what
        depth is turned into first, "metric" (nothing), "inverse", "log", "normals" or "hha" (whose direction down is
        the image's own); `intrinsics`: (fx, fy, cx, cy) in pixels, for the last two; `weights`: what the encoders begin
        with, "imagenet" (of the installed package), "random", or a file that `rgbd-insight campaign pretrained` has
        prepared.

    Returns
    -------
    Network
        The network, on the CPU, in training mode.

    Raises
    ------
    ValueError
        Where the fusion or an option is unknown, a value is out of range, or the ImageNet weights are not there.

    Examples
    --------
    >>> import torch
    >>> model = build("sum", classes=5, width=8)
    >>> model(torch.rand(2, 3, 24, 32), torch.rand(2, 1, 24, 32) + 1).shape
    torch.Size([2, 5, 24, 32])
    >>> model.streams, model.config["widths"]
    (('rgb', 'depth', 'fused'), [8, 16, 24, 32])
    """
    others = _checked_others(others)
    operator = alone(fusion) if fusion in others else find(fusion)
    if others and not operator.several and len(operator.modalities) > 1:
        more = ", ".join(name for name, one in FUSIONS.items() if one.several)
        raise ValueError(
            f"`others` must be left out for {fusion!r}, which is defined for two modalities; got {', '.join(others)}: "
            f"of more, {more} are defined"
        )
    for name in options:
        if name not in OPTIONS:
            raise ValueError(unknown("option", name, OPTIONS))
    count = classes if isinstance(classes, int) else len(classes)
    if encoder not in ENCODERS:
        raise ValueError(unknown("encoder", encoder, ENCODERS))
    kind = ENCODERS[encoder]
    widths, blocks = _sizes(kind, operator, width, blocks)
    seed = checked_whole("seed", seed, 0, SEEDS - 1, "0 is the default")
    config = {"fusion": fusion, "classes": count, "seed": seed, "widths": widths, "blocks": blocks, "encoder": encoder}
    config |= OPTIONS | {"rgb_scale": kind.rgb_scale} | options | ({"others": others} if others else {})
    given = config["weights"] or (IMAGENET if kind.imagenet else RANDOM)
    config["weights"] = RANDOM if given == RANDOM else IMAGENET
    if config["weights"] == IMAGENET and not kind.imagenet:
        raise ValueError(
            f'`weights` must be "random" for encoder={encoder!r}; got {given!r}: it is trained from nothing'
        )
    _check_config(config, operator)
    model = Network(_widened(config) if operator.widens else config)
    if config["weights"] == IMAGENET and not next(model.parameters()).is_meta:
        model._start(imagenet_weights(kind, None if given == IMAGENET else given))
    return model


def _checked_others(others: Mapping[str, Mapping[str, object]] | None) -> dict[str, dict]:
    """Further modalities as JSON values."""
    found = {}
    for name, about in (others or {}).items():
        channels, scale = about.get("channels", 1), about.get("scale", (0.0, 1.0))
        if not str(name).isidentifier() or name in FUSIONS or name in ("fused", "both", "none"):
            raise ValueError(f"`others` must have names of letters that no fusion has; got {name!r}: rename it")
        checked_whole(f"others[{name!r}]['channels']", channels, 1, 16, "1 is usual")
        if len(scale) != 2 or not float(scale[1]) > 0:
            raise ValueError(f"`others[{name!r}]['scale']` must be mean and standard deviation; got {scale}")
        found[name] = {"channels": channels, "scale": [float(x) for x in scale]}
    return found


def _sizes(
    kind: type, operator: type[Fusion], width: int | Sequence[int] | None, blocks: int | None
) -> tuple[list[int], int]:
    """Widths of the levels and blocks of each; those of a pretrained encoder are what they are."""
    if kind.imagenet:
        for name, value in (("width", width), ("blocks", blocks)):
            if value is not None:
                raise ValueError(
                    f"`{name}` must be left out for encoder={kind.name!r}; got {value}: its weights fix it"
                )
        if operator.widens:
            raise ValueError(
                f"`encoder` must be 'small' for {operator.name!r}; got {kind.name!r}, of which there are no wider "
                "weights: compare with efficientnet_lite2"
            )
        return kind.widths(), 1
    width = 32 if width is None else width
    blocks = checked_whole("blocks", 1 if blocks is None else blocks, 1, 100, "one residual block is the least")
    return [width * k for k in (1, 2, 3, 4)] if isinstance(width, int) else list(width), blocks


def _widened(config: dict) -> dict:
    """The same with levels of √2 times the width, rounded up or down to what comes nearest to the size of `se`."""

    def count(**change: object) -> int:
        with torch.device("meta"):  # shapes without numbers
            return Network(config | change).parameter_count()

    wanted = count(fusion="se")
    lower = [int(2**0.5 * w) // GROUP * GROUP for w in config["widths"]]
    tried = [[w + up for w, up in zip(lower, ups, strict=True)] for ups in product((0, GROUP), repeat=len(lower))]
    return config | {"widths": min(tried, key=lambda widths: abs(count(widths=widths) - wanted))}


def _check_config(config: dict, operator: type[Fusion]) -> None:
    """Raise a ValueError that names the first value out of range."""
    widths, levels = config["widths"], config["levels"]
    if not 1 <= config["classes"] <= 255:
        raise ValueError(f"`classes` must be 1 to 255; got {config['classes']}: 255 is the ignore label")
    if not widths or any(w < GROUP or w % GROUP or w > WIDEST for w in widths):
        raise ValueError(
            f"`width` must be multiples of {GROUP} up to {WIDEST}; got {widths}: channels are normalised {GROUP} to "
            "a group"
        )
    _check_encoding(config["encoding"], config["intrinsics"])
    if levels is None:
        return
    if not operator.exchanges:
        raise ValueError(f"`levels` must be left out for {operator.name!r}; got {levels}: it fuses at no level")
    if not levels or not set(levels) <= set(range(1, len(widths) + 1)):
        raise ValueError(f"`levels` must be among 1 to {len(widths)}; got {levels}: there are {len(widths)} levels")


def _check_encoding(name: str, intrinsics: Sequence[float] | None) -> None:
    if name not in ENCODINGS:
        raise ValueError(unknown("encoding", str(name), ENCODINGS))
    if name in NEED_INTRINSICS and (intrinsics is None or len(intrinsics) != 4):
        raise ValueError(f"`intrinsics` must be (fx, fy, cx, cy) for encoding={name!r}; got {intrinsics}")
