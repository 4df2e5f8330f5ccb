"""Small networks with the structure of published ones: names, calls and containers, and nothing else of them.

What they compute is ours; which module is called with what, and what it hands over, follows the originals.
"""

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = (6, 8, 10, 12)


def conv(a, b, stride=2):
    """A convolution with a rectifier that works in place, as most originals have it."""
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


def steps(first):
    """(channels in, channels out) of the four levels."""
    return list(zip((first, *WIDTHS[:-1]), WIDTHS, strict=True))


class Decode(nn.Module):
    """Scores from four levels, at the size of the first."""

    def __init__(self, classes):
        super().__init__()
        self.sides = nn.ModuleList(nn.Conv2d(w, classes, 1) for w in WIDTHS)

    def forward(self, maps):
        sides = [side(x) for side, x in zip(self.sides, maps, strict=True)]
        return sum(F.interpolate(x, sides[0].shape[-2:], mode="bilinear") for x in sides)


class Gate(nn.Module):
    """A weighted sum of two maps, called with both."""

    def __init__(self, width):
        super().__init__()
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1), nn.Sigmoid())

    def forward(self, a, b):
        return a * self.weigh(a) + b * self.weigh(b)


class Iterated(nn.Module):
    """An encoder whose levels are containers that are never called: their blocks are."""

    def __init__(self, channels):
        super().__init__()
        self.first = conv(channels, WIDTHS[0])
        for k, (a, b) in enumerate(steps(WIDTHS[0]), 1):
            setattr(self, f"layer{k}", nn.Sequential(conv(a, b), conv(b, b, 1)))

    def forward_layer(self, x, k):
        for block in getattr(self, f"layer{k}"):
            x = block(x)
        return x


class ESANet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder_rgb, self.encoder_depth = Iterated(3), Iterated(1)
        for k, width in enumerate((WIDTHS[0], *WIDTHS)):
            setattr(self, f"se_layer{k}", Gate(width))
        self.decoder = Decode(classes)

    def forward(self, rgb, depth):
        rgb, depth = self.encoder_rgb.first(rgb), self.encoder_depth.first(depth)
        fuse, maps = self.se_layer0(rgb, depth), []
        for k in range(1, 5):
            rgb, depth = self.encoder_rgb.forward_layer(fuse, k), self.encoder_depth.forward_layer(depth, k)
            fuse = getattr(self, f"se_layer{k}")(rgb, depth)
            maps.append(fuse)
        return self.decoder(maps)


class ESANetAdd(nn.Module):
    """As ESANet, its sums without a module."""

    def __init__(self, classes):
        super().__init__()
        self.encoder_rgb, self.encoder_depth = Iterated(3), Iterated(1)
        for k in (1, 2, 3):
            setattr(self, f"skip_layer{k}", nn.Sequential())
        self.context_module, self.decoder = conv(WIDTHS[-1], WIDTHS[-1], 1), Decode(classes)

    def forward(self, rgb, depth):
        rgb, depth = self.encoder_rgb.first(rgb), self.encoder_depth.first(depth)
        fuse, maps = rgb + depth, []
        for k in range(1, 5):
            rgb, depth = self.encoder_rgb.forward_layer(fuse, k), self.encoder_depth.forward_layer(depth, k)
            fuse = rgb + depth
            maps.append(getattr(self, f"skip_layer{k}")(fuse) if k < 4 else self.context_module(fuse))
        return self.decoder(maps)


class Final(nn.Module):
    """Scores, corrected by what the first skip layer hands over."""

    def __init__(self, width, classes):
        super().__init__()
        self.deconv = nn.Conv2d(width, classes, 1)

    def forward(self, scores, skipped):
        return scores + self.deconv(skipped)


class RedNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.conv1_d = conv(3, WIDTHS[0]), conv(1, WIDTHS[0])
        self.agant0, self.final = conv(WIDTHS[0], WIDTHS[0], 1), Final(WIDTHS[0], classes)
        for k, (a, b) in enumerate(steps(WIDTHS[0]), 1):
            for name, layer in ((f"layer{k}", conv(a, b)), (f"layer{k}_d", conv(a, b)), (f"agant{k}", conv(b, b, 1))):
                setattr(self, name, layer)
        self.decode = Decode(classes)

    def forward(self, rgb, depth):
        x, depth = self.conv1(rgb), self.conv1_d(depth)
        fuses = [x + depth]
        for k in range(1, 5):
            x, depth = getattr(self, f"layer{k}")(fuses[-1]), getattr(self, f"layer{k}_d")(depth)
            fuses.append(x + depth)
        maps = [getattr(self, f"agant{k}")(fuses[k]) for k in (4, 3, 2, 1)]
        scores = self.decode(maps[::-1])
        return self.final(F.interpolate(scores, fuses[0].shape[-2:]), self.agant0(fuses[0]))


class ACNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.conv1_d = conv(3, WIDTHS[0]), conv(1, WIDTHS[0])
        for k, (a, b) in enumerate(steps(WIDTHS[0]), 1):
            for name in (f"layer{k}", f"layer{k}_d", f"layer{k}_m"):
                setattr(self, name, conv(a, b))
            setattr(self, f"atten_{k}", Gate(b))
            setattr(self, f"agant{k}", conv(b, b, 1))
        self.decode = Decode(classes)

    def forward(self, rgb, depth):
        rgb, depth, maps = self.conv1(rgb), self.conv1_d(depth), []
        m = rgb + depth
        for k in range(1, 5):
            rgb, depth = getattr(self, f"layer{k}")(rgb), getattr(self, f"layer{k}_d")(depth)
            m = getattr(self, f"layer{k}_m")(m) + getattr(self, f"atten_{k}")(rgb, depth)
            maps.append(getattr(self, f"agant{k}")(m))
        return self.decode(maps)


class Twofold(nn.Module):
    """Takes and returns the list of both streams."""

    def __init__(self, a, b):
        super().__init__()
        self.one, self.hha_one = conv(a, b), conv(a, b)

    def forward(self, x):
        return [self.one(x[0]), self.hha_one(x[1])]


class Separation(nn.Module):
    """Both streams, corrected by what they share, and the map that they share."""

    def __init__(self, width):
        super().__init__()
        self.gate = Gate(width)

    def forward(self, x):
        merged = self.gate(*x)
        return [(x[0] + merged) / 2, (x[1] + merged) / 2], merged


class DualResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.hha_conv1 = conv(3, WIDTHS[0]), conv(3, WIDTHS[0])
        for k, (a, b) in enumerate(steps(WIDTHS[0]), 1):
            setattr(self, f"layer{k}", nn.Sequential(Twofold(a, b)))
        self.sagates = nn.ModuleList(Separation(width) for width in WIDTHS)

    def forward(self, rgb, hha):
        x, merges = [self.conv1(rgb), self.hha_conv1(hha)], []
        for k, gate in enumerate(self.sagates, 1):
            x, merged = gate(getattr(self, f"layer{k}")(x))
            merges.append(merged)
        return merges


class SAGate(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone, self.head = DualResNet(), Decode(classes)

    def forward(self, rgb, hha):
        return self.head(self.backbone(rgb, hha))


class Patches(nn.Module):
    """Overlapping patches as tokens (B, N, C), with their grid."""

    def __init__(self, a, b, stride):
        super().__init__()
        self.proj, self.norm = nn.Conv2d(a, b, stride + 1, stride, (stride + 1) // 2), nn.LayerNorm(b)

    def forward(self, x):
        x = self.proj(x)
        return self.norm(x.flatten(2).transpose(1, 2)), *x.shape[-2:]


class Mix(nn.Module):
    """A block over tokens."""

    def __init__(self, width):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x, h, w):
        return x + self.mlp(x)


def maps_of(tokens, h, w):
    """(B, N, C) as (B, C, h, w)."""
    return tokens.reshape(len(tokens), h, w, -1).permute(0, 3, 1, 2).contiguous()


class Rectify(nn.Module):
    """Both maps, each with a little of the other."""

    def forward(self, a, b):
        return a + 0.5 * b, b + 0.5 * a


class DualSegformer(nn.Module):
    def __init__(self):
        super().__init__()
        for k, (a, b) in enumerate(steps(3), 1):
            for extra in ("", "extra_"):
                setattr(self, f"{extra}patch_embed{k}", Patches(a, b, 4 if k == 1 else 2))
                setattr(self, f"{extra}block{k}", nn.ModuleList([Mix(b), Mix(b)]))
                setattr(self, f"{extra}norm{k}", nn.LayerNorm(b))
        self.FRMs = nn.ModuleList(Rectify() for _ in WIDTHS)
        self.FFMs = nn.ModuleList(Gate(width) for width in WIDTHS)

    def level(self, x, k, extra):
        x, h, w = getattr(self, f"{extra}patch_embed{k}")(x)
        for block in getattr(self, f"{extra}block{k}"):
            x = block(x, h, w)
        return maps_of(getattr(self, f"{extra}norm{k}")(x), h, w)

    def forward(self, rgb, other):
        fused = []
        for k in range(1, 5):
            rgb, other = self.FRMs[k - 1](self.level(rgb, k, ""), self.level(other, k, "extra_"))
            fused.append(self.FFMs[k - 1](rgb, other))
        return fused


class CMX(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone, self.decode_head = DualSegformer(), Decode(classes)

    def forward(self, rgb, modal_x, label=None):
        scores = self.decode_head(self.backbone(rgb, modal_x))
        return F.interpolate(scores, rgb.shape[-2:], mode="bilinear")


class Windows(nn.Module):
    """A level over tokens that hands its grid on."""

    def __init__(self, width):
        super().__init__()
        self.blocks = nn.ModuleList([Mix(width), Mix(width)])

    def forward(self, x, h, w):
        for block in self.blocks:
            x = block(x, h, w)
        return x, h, w


class DualSwin(nn.Module):
    """Levels that hand over tokens, rectified before their norms, merged by fours on the way down."""

    def __init__(self):
        super().__init__()
        for end in ("", "_d"):
            setattr(self, f"patch_embed{end}", nn.Conv2d(3, WIDTHS[0], 4, 4))
            setattr(self, f"layers{end}", nn.ModuleList(Windows(width) for width in WIDTHS))
            setattr(self, f"downsamples{end}", nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in steps(3)[1:]))
            for k, width in enumerate(WIDTHS):
                setattr(self, f"norm{end}{k}", nn.LayerNorm(width))
        self.FRMs = nn.ModuleList(Rectify() for _ in WIDTHS)
        self.FFMs = nn.ModuleList(Gate(width) for width in WIDTHS)

    def forward(self, rgb, other):
        maps, outs = [self.patch_embed(rgb), self.patch_embed_d(other)], []
        for k in range(4):
            h, w = maps[0].shape[-2:]
            tokens = [x.flatten(2).transpose(1, 2) for x in maps]
            found = [layers[k](x, h, w)[0] for layers, x in zip((self.layers, self.layers_d), tokens, strict=True)]
            maps = self.FRMs[k](*(maps_of(x, h, w) for x in found))
            norms = (getattr(self, f"norm{k}"), getattr(self, f"norm_d{k}"))
            normed = [f(x.flatten(2).transpose(1, 2)) for f, x in zip(norms, maps, strict=True)]
            outs.append(self.FFMs[k](*(maps_of(x, h, w) for x in normed)))
            if k < 3:
                downs = (self.downsamples[k], self.downsamples_d[k])
                maps = [down(F.pad(x, (0, w % 2, 0, h % 2))) for down, x in zip(downs, maps, strict=True)]
        return tuple(outs)


class CMXSwin(CMX):
    def __init__(self, classes):
        super().__init__(classes)
        self.backbone = DualSwin()


class ChannelNorm(nn.LayerNorm):
    """A norm over the channels of maps (B, C, h, w)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Hub(DualSegformer):
    """Colour is tokens; the others come as a list and are maps."""

    def __init__(self):
        super().__init__()
        for k, (a, b) in enumerate(steps(3), 1):
            for name in (f"extra_patch_embed{k}", f"extra_block{k}"):
                delattr(self, name)
            setattr(self, f"extra_norm{k}", ChannelNorm(b))
            setattr(self, f"extra_down{k}", nn.Conv2d(a, b, 3, 4 if k == 1 else 2, 1))

    def forward(self, x):
        (rgb, other), fused = x, []
        for k in range(1, 5):
            rgb = self.level(rgb, k, "")
            other = getattr(self, f"extra_norm{k}")(getattr(self, f"extra_down{k}")(other))
            rgb, other = self.FRMs[k - 1](rgb, other)
            fused.append(self.FFMs[k - 1](rgb, other))
        return fused


class CMNeXt(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone, self.decode_head = Hub(), Decode(classes)

    def forward(self, x):
        return F.interpolate(self.decode_head(self.backbone(x)), x[0].shape[-2:], mode="bilinear")


class Parallel(nn.Module):
    """One module for every stream of a list."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, streams):
        return [self.module(x) for x in streams]


class NormParallel(nn.Module):
    """A norm of its own for each stream of a list: ln_0 and ln_1, or bn_0 and bn_1."""

    def __init__(self, name, make):
        super().__init__()
        self.name = name
        for i in (0, 1):
            setattr(self, f"{name}_{i}", make())

    def forward(self, streams):
        return [getattr(self, f"{self.name}_{i}")(x) for i, x in enumerate(streams)]


class ExchangeChannels(nn.Module):
    def forward(self, x, norms, threshold):
        small = [norm.weight.abs() < threshold for norm in norms]
        small = [mask | (torch.arange(len(mask)) == i) for i, mask in enumerate(small)]  # at least one is swapped
        swap = [mask[None, :, None, None] for mask in small]
        return [torch.where(swap[0], x[1], x[0]), torch.where(swap[1], x[0], x[1])]


class CENBlock(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1 = Parallel(nn.Conv2d(a, b, 3, stride, 1))
        self.bn1, self.relu = NormParallel("bn", lambda: nn.BatchNorm2d(b)), Parallel(nn.ReLU(inplace=True))
        self.exchange = ExchangeChannels()

    def forward(self, x):
        return self.relu(self.exchange(self.bn1(self.conv1(x)), [self.bn1.bn_0, self.bn1.bn_1], 0.02))


class Ensemble(nn.Module):
    """Scores of both streams from one head, and their weighted mean as the third."""

    def __init__(self, classes):
        super().__init__()
        self.decoder, self.alpha = Decode(classes), nn.Parameter(torch.ones(2))

    def scores(self, first, second):
        out = [self.decoder(first), self.decoder(second)]
        alpha = self.alpha.softmax(0)
        return [*out, alpha[0] * out[0].detach() + alpha[1] * out[1].detach()], alpha


class CEN(Ensemble):
    def __init__(self, classes):
        super().__init__(classes)
        self.conv1 = Parallel(nn.Conv2d(3, WIDTHS[0], 3, 2, 1))
        for k, (a, b) in enumerate(steps(WIDTHS[0]), 1):
            setattr(self, f"layer{k}", nn.Sequential(CENBlock(a, b, 2), CENBlock(b, b, 1)))

    def forward(self, x):
        x, maps = self.conv1(x), []
        for k in range(1, 5):
            x = getattr(self, f"layer{k}")(x)
            maps.append(x)
        return self.scores(*zip(*maps, strict=True))


class ExchangeTokens(nn.Module):
    def forward(self, x, mask, mask_threshold):
        keep = [(m >= mask_threshold)[..., None] for m in mask]
        return [torch.where(keep[0], x[0], x[1]), torch.where(keep[1], x[1], x[0])]


class MaskedAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj, self.exchange = Parallel(nn.Linear(width, width)), ExchangeTokens()

    def forward(self, x, h, w, mask):
        x = self.proj(x)
        if mask is not None:
            x = self.exchange(x, mask, mask_threshold=0.5)
        return x


class PixelAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj, self.judge = Parallel(nn.Linear(width, width)), nn.Linear(2 * width, width)

    def forward(self, x, h, w, mask=None):
        score = self.judge(torch.cat(x, -1)).softmax(-1)
        return self.proj([x[0] + score * x[1], x[1] + score * x[0]])


class TokenBlock(nn.Module):
    def __init__(self, width, attention):
        super().__init__()
        self.norm1, self.attn = NormParallel("ln", lambda: nn.LayerNorm(width)), attention(width)

    def forward(self, x, h, w, mask):
        return [a + b for a, b in zip(x, self.attn(self.norm1(x), h, w, mask), strict=True)]


class ParallelTransformer(nn.Module):
    def __init__(self, attention):
        super().__init__()
        for k, (a, b) in enumerate(steps(3), 1):
            setattr(self, f"patch_embed{k}", Parallel(nn.Conv2d(a, b, 5, 4 if k == 1 else 2, 2)))
            setattr(self, f"block{k}", nn.ModuleList([TokenBlock(b, attention), TokenBlock(b, attention)]))
            setattr(self, f"norm{k}", NormParallel("ln", lambda b=b: nn.LayerNorm(b)))
        self.score_predictor = nn.ModuleList(Parallel(nn.Linear(b, 2)) for b in WIDTHS)

    def forward(self, x):
        outs, masks = [], []
        for k in range(1, 5):
            x = getattr(self, f"patch_embed{k}")(x)
            h, w = x[0].shape[-2:]
            x = [y.flatten(2).transpose(1, 2) for y in x]
            for block in getattr(self, f"block{k}"):
                masks.append([score.softmax(2)[:, :, 0] for score in self.score_predictor[k - 1](x)])
                x = block(x, h, w, masks[-1])
            x = [maps_of(y, h, w) for y in getattr(self, f"norm{k}")(x)]
            outs.append(x)
        return outs, masks


class TokenFusion(Ensemble):
    attention = MaskedAttention

    def __init__(self, classes):
        super().__init__(classes)
        self.encoder = ParallelTransformer(self.attention)

    def forward(self, x):
        outs, masks = self.encoder(x)
        return self.scores(*zip(*outs, strict=True))[0], masks


class GeminiFusion(TokenFusion):
    attention = PixelAttention


class CrossBlock(nn.Module):
    """Both streams of a list, each after it attended to the other, for one image at a time."""

    def __init__(self, width):
        super().__init__()
        self.norm1, self.judge = Parallel(nn.LayerNorm(width)), nn.Linear(2 * width, width)

    def forward(self, x, mask_matrix):
        a, b = self.norm1(x)
        pairs = [(a[i] + self.judge(torch.cat([a[i], b[i]], -1)) * b[i], b[i] + a[i]) for i in range(len(a))]
        return [y + torch.stack(z) for y, z in zip(x, zip(*pairs, strict=True), strict=True)]


class SwinLayer(nn.Module):
    """A level over lists of tokens that also hands over the next level's."""

    def __init__(self, a, b):
        super().__init__()
        self.blocks = nn.ModuleList([CrossBlock(a), CrossBlock(a)])
        self.downsample = nn.Conv2d(a, b, 2, 2) if b else None

    def forward(self, x, h, w):
        for block in self.blocks:
            x = block(x, None)
        if self.downsample is None:
            return x, h, w, x, h, w
        down = [self.downsample(F.pad(maps_of(y, h, w), (0, w % 2, 0, h % 2))) for y in x]
        return x, h, w, [y.flatten(2).transpose(1, 2) for y in down], (h + 1) // 2, (w + 1) // 2


class ParallelSwin(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Parallel(nn.Conv2d(3, WIDTHS[0], 4, 4))
        self.layers = nn.ModuleList(SwinLayer(a, b) for a, b in zip(WIDTHS, (*WIDTHS[1:], 0), strict=True))
        for k, width in enumerate(WIDTHS):
            setattr(self, f"norm{k}", NormParallel("ln", lambda width=width: nn.LayerNorm(width)))

    def forward(self, x):
        x, outs = self.patch_embed(x), []
        h, w = x[0].shape[-2:]
        x = [y.flatten(2).transpose(1, 2) for y in x]
        for k, layer in enumerate(self.layers):
            out, height, width, x, h, w = layer(x, h, w)
            outs.append([maps_of(y, height, width) for y in getattr(self, f"norm{k}")(out)])
        return [list(maps) for maps in zip(*outs, strict=True)]


class GeminiFusionSwin(Ensemble):
    def __init__(self, classes):
        super().__init__(classes)
        self.encoder = nn.Module()
        self.encoder.body = ParallelSwin()

    def forward(self, x):
        return self.scores(*self.encoder.body(x))[0], None


class LastChannels(nn.Module):
    """A block over maps with channels last, (B, h, w, C) and half as many for depth; the last hands on its middle."""

    def __init__(self, width, last=False):
        super().__init__()
        self.one, self.two = nn.Linear(width + width // 2, width), nn.Linear(width + width // 2, width // 2)
        self.last = last

    def forward(self, x, x_e):
        both = torch.cat([x, x_e], -1)
        return x + self.one(both), self.two(both) if self.last else x_e + self.two(both)


class DFormerEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        strides = (4, 2, 2, 2)
        self.downsample_layers = nn.ModuleList(
            nn.Conv2d(a, b, s + 1, s, s // 2) for (a, b), s in zip(steps(3), strides, strict=True)
        )
        depth = zip((1, *(w // 2 for w in WIDTHS[:-1])), (w // 2 for w in WIDTHS), strides, strict=True)
        self.downsample_layers_e = nn.ModuleList(nn.Conv2d(a, b, s + 1, s, s // 2) for a, b, s in depth)
        self.stages = nn.ModuleList(nn.Sequential(LastChannels(w), LastChannels(w, w == WIDTHS[-1])) for w in WIDTHS)

    def forward(self, x, x_e):
        x_e, outs = x_e[:, 0].unsqueeze(1), []
        for down, down_e, stage in zip(self.downsample_layers, self.downsample_layers_e, self.stages, strict=True):
            x, x_e = down(x).permute(0, 2, 3, 1), down_e(x_e).permute(0, 2, 3, 1)
            for block in stage:
                x, x_e = block(x, x_e)
            x, x_e = x.permute(0, 3, 1, 2), x_e.permute(0, 3, 1, 2)
            outs.append(x)
        return outs


class RandomHead(nn.Module):
    """Scores from maps that are rebuilt from bases drawn anew in every call, in evaluation too."""

    def __init__(self, classes):
        super().__init__()
        self.align, self.conv_seg = conv(sum(WIDTHS), WIDTHS[-1], 1), nn.Conv2d(WIDTHS[-1], classes, 1)

    def forward(self, maps):
        size = maps[0].shape[-2:]
        x = torch.cat([F.interpolate(y, size) for y in maps], 1)  # (B, C, h, w)
        bases = F.normalize(torch.rand(len(x), x.shape[1], 4), dim=1)
        x = x + torch.einsum("bcr,bdr,bdhw->bchw", bases, bases, x)
        return self.conv_seg(self.align(x))


class DFormer(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone, self.decode_head = DFormerEncoder(), RandomHead(classes)

    def forward(self, rgb, modal_x=None, label=None):
        scores = self.decode_head.forward(self.backbone(rgb, modal_x))  # no hook on the head itself fires
        return F.interpolate(scores, rgb.shape[-2:], mode="bilinear")


class Geometry(nn.Module):
    """A level over maps with channels last that returns its map and the next level's input."""

    def __init__(self, a, b):
        super().__init__()
        self.mix, self.downsample = nn.Linear(a, a), nn.Conv2d(a, b, 3, 2, 1) if b else None

    def forward(self, x, x_e):
        near = F.interpolate(x_e, x.shape[1:3]).permute(0, 2, 3, 1)  # (B, h, w, 1)
        x = x + self.mix(x) * torch.exp(-near)
        if self.downsample is None:
            return x, x
        return x, self.downsample(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class DFormerv2Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, WIDTHS[0], 5, 4, 2)
        self.layers = nn.ModuleList(Geometry(a, b) for a, b in zip(WIDTHS, (*WIDTHS[1:], 0), strict=True))

    def forward(self, x, x_e):
        x, x_e, outs = self.patch_embed(x).permute(0, 2, 3, 1), x_e[:, 0].unsqueeze(1), []
        for layer in self.layers:
            x_out, x = layer(x, x_e)
            outs.append(x_out.permute(0, 3, 1, 2).contiguous())
        return tuple(outs)


class DFormerv2(CMX):
    def __init__(self, classes):
        super().__init__(classes)
        self.backbone = DFormerv2Encoder()


class Down(nn.Module):
    """Colour is maps, depth tokens; from the second level on the merged map goes on in place of depth."""

    def __init__(self, k, colour, depth):
        super().__init__()
        stride = 4 if k == 1 else 2
        self.rgb_stem, self.rgb_layer = (
            nn.Conv2d(*colour, stride + 1, stride, stride // 2),
            conv(colour[1], colour[1], 1),
        )
        self.depth_stem, self.depth_layer = Patches(*depth, stride), nn.ModuleList([Mix(depth[1])])
        self.depth_norm = nn.LayerNorm(depth[1])
        if k > 1:
            self.SCC = Merge(depth[1], colour[1])

    def forward(self, image, depth):
        rgb = self.rgb_layer(self.rgb_stem(image))
        x, h, w = self.depth_stem(depth)
        for block in self.depth_layer:
            x = block(x, h, w)
        depth = maps_of(self.depth_norm(x), h, w)
        return rgb, self.SCC(depth, rgb) if hasattr(self, "SCC") else depth


class Merge(nn.Module):
    def __init__(self, depth, colour):
        super().__init__()
        self.conv1 = nn.Conv2d(depth + colour, depth, 1)

    def forward(self, depth, rgb):
        rgb = F.interpolate(rgb, depth.shape[-2:])
        return depth + self.conv1(torch.cat([depth, rgb], 1))


class AsymFormer(nn.Module):
    def __init__(self, classes):
        super().__init__()
        for k, (colour, depth) in enumerate(zip(steps(3), steps(1), strict=True), 1):
            setattr(self, f"down_sample_{k}", Down(k, colour, depth))
        self.Decoder = Decode(classes)

    def forward(self, image, depth):
        size, maps = image.shape[-2:], []
        for k in range(1, 5):
            image, depth = getattr(self, f"down_sample_{k}")(image, depth)
            maps.append(depth)
        return F.interpolate(self.Decoder(maps), size, mode="bilinear")


class Backbone(nn.Module):
    """Maps of all levels, as a tuple."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, 4 if k == 0 else 2, 1) for k, (a, b) in enumerate(steps(3)))

    def forward(self, x):
        outs = []
        for layer in self.layers:
            x = layer(x).relu_()
            outs.append(x.clone())
        return tuple(outs)


class ConcatMamba(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mix = nn.Linear(2 * width, width)

    def forward(self, a, b):
        return self.mix(torch.cat([a, b], -1))


class CrossMamba(nn.Module):
    def forward(self, a, b):
        return a + 0.5 * b, b + 0.5 * a


class SigmaEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.vssm = Backbone()
        self.cross_mamba = nn.ModuleList(CrossMamba() for _ in WIDTHS)
        self.channel_attn_mamba = nn.ModuleList(ConcatMamba(w) for w in WIDTHS)

    def forward(self, x_rgb, x_e):
        outs_rgb, outs_x, fused = self.vssm(x_rgb), self.vssm(x_e), []
        for i in range(4):
            a, b = (x[i].permute(0, 2, 3, 1).contiguous() for x in (outs_rgb, outs_x))
            fused.append(self.channel_attn_mamba[i](*self.cross_mamba[i](a, b)).permute(0, 3, 1, 2))
        return fused


class Sigma(CMX):
    def __init__(self, classes):
        super().__init__(classes)
        self.backbone = SigmaEncoder()


class Patched(nn.Module):
    """An image as tokens."""

    def __init__(self, channels, width):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, 16, 16)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Attending(nn.Module):
    """A block in which every token hears of all."""

    def __init__(self, width):
        super().__init__()
        self.mix, self.mean = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return x + self.mix(x) + self.mean(x.mean(1, keepdim=True))


class MultiMAE(nn.Module):
    """One sequence of both modalities' tokens and a global one."""

    def __init__(self, classes):
        super().__init__()
        self.input_adapters = nn.ModuleDict({"rgb": Patched(3, 8), "depth": Patched(1, 8)})
        self.global_tokens, self.encoder = nn.Parameter(torch.ones(1, 1, 8)), nn.Sequential(*map(Attending, [8] * 12))
        self.output_adapters = nn.ModuleDict({"semseg": nn.Linear(8, classes)})

    def forward(self, x, return_all_layers=False):
        b, _, h, w = x["rgb"].shape
        tokens = [self.input_adapters[name](images) for name, images in x.items()]
        sequence = self.encoder(torch.cat([*tokens, self.global_tokens.expand(b, -1, -1)], 1))
        first = self.output_adapters["semseg"](sequence[:, : tokens[0].shape[1]])
        return {"semseg": F.interpolate(maps_of(first, h // 16, w // 16), (h, w), mode="bilinear")}


class MixEncoder(nn.Module):
    """Levels of overlapping patches and their norms, as a library's encoder holds them."""

    def __init__(self, channels):
        super().__init__()
        self.encoder = nn.Module()
        pairs = steps(channels)
        self.encoder.patch_embeddings = nn.ModuleList(Patches(a, b, 2 if k else 4) for k, (a, b) in enumerate(pairs))
        self.encoder.layer_norm = nn.ModuleList(nn.LayerNorm(width) for width in WIDTHS)

    def forward(self, x):
        maps = []
        for patches, norm in zip(self.encoder.patch_embeddings, self.encoder.layer_norm, strict=True):
            tokens, h, w = patches(x)
            x = maps_of(norm(tokens), h, w)
            maps.append(x)
        return maps


class SegFormerPair(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.rgb, self.depth, self.decode = MixEncoder(3), MixEncoder(3), Decode(classes)

    def forward(self, rgb, depth):
        return self.decode([a + b for a, b in zip(self.rgb(rgb), self.depth(depth), strict=True)])


NAMED = (ESANet, RedNet, ACNet, CMX, CMNeXt, CEN, TokenFusion, GeminiFusion, DFormer, DFormerv2, AsymFormer, Sigma)
STANDINS = {made.__name__: made for made in (*NAMED, MultiMAE)} | {
    "ESANet-add": ESANetAdd,
    "SA-Gate": SAGate,
    "CMX-Swin": CMXSwin,
    "CMX-thermal": CMX,
    "CMNeXt-thermal": CMNeXt,
    "GeminiFusion-Swin": GeminiFusionSwin,
    "SegFormer-pair": SegFormerPair,
}


def standin(name, classes, seed=0):
    """The stand-in of a published network, with weights from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return STANDINS[name](classes).eval()
