"""A dataset and a two-stream network small enough to check by hand; also a script that the crash tests kill."""

from __future__ import annotations

import os
import resource
import signal
import sys
from dataclasses import replace

import torch
from torch import nn

from rgbd_insight.data.batch import IGNORE, Batch
from rgbd_insight.extraction import extract
from rgbd_insight.features import Concept, Modality
from rgbd_insight.hooks import Tap

TAPS = [Tap("rgb", 1, "rgb1"), Tap("depth", 1, "depth1"), Tap("fused", 1, "fuse")]


class ToyData:
    """`n` noise images, two a group; concept 0 is everywhere, 1 in the left half of every third image, 2 never."""

    name = "toy"
    classes = ("wall", "floor", "thing")
    concepts = (
        Concept("wall", "class", "both", {"rgb": 1.0, "depth": 1.0}),
        Concept("left", "place"),
        Concept("never", "place"),
    )
    families = ("class", "place")
    modalities = (Modality("rgb", "", 0, 1), Modality("depth", "m", 0, 10))

    def __init__(self, n: int = 12, *, size: tuple[int, int] = (8, 8), seed: int = 0) -> None:
        self.n, self.size, self.seed = n, size, seed
        self.groups = tuple(f"g{i // 2}" for i in range(n))

    def __len__(self) -> int:
        return self.n

    def fingerprint(self) -> dict:
        return {"n": self.n, "size": self.size, "seed": self.seed}

    def batch(self, indices) -> Batch:
        h, w = self.size
        pairs = [torch.rand(4, h, w, generator=torch.Generator().manual_seed(1000 * self.seed + i)) for i in indices]
        stack = torch.stack(pairs)  # (B, 4, H, W)
        depth = 10 * stack[:, 3:]
        depth[depth < 1] = 0
        labels = (stack[:, 0] * 3).long().clamp(0, 2)
        labels[:, 0] = IGNORE
        concepts = torch.full((len(pairs), 2, h, w), -1, dtype=torch.int16)
        concepts[:, 0] = 0
        for row, i in enumerate(indices):
            if i % 3 == 0:
                concepts[row, 1, :, : w // 2] = 1
        return Batch(
            {"rgb": stack[:, :3], "depth": depth},
            {"depth": depth > 0},
            labels,
            concepts,
            tuple(f"s{i}" for i in indices),
            tuple(self.groups[i] for i in indices),
        )


class ToyNet(nn.Module):
    """Two pure streams of 3 and 2 units, their sum of projections, and a head of 3 classes."""

    fusion, seed, epoch = "sum", 0, 3

    def __init__(self, seed: int = 0, width: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.seed = seed
        self.rgb1, self.depth1 = nn.Conv2d(3, width, 1), nn.Conv2d(1, 2, 1)
        self.mix, self.fuse, self.head = nn.Conv2d(2, width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, 3, 1)

    def taps(self):
        return TAPS

    def forward(self, rgb, depth):
        return self.head(self.fuse(self.rgb1(rgb) + self.mix(self.depth1(depth))))


class Three(ToyData):
    """Colour, depth and heat, which is an 8-bit camera's: what is in the left half is warm."""

    name = "three"
    modalities = (*ToyData.modalities, Modality("thermal", "°C", -20, 100))

    def batch(self, indices) -> Batch:
        batch = super().batch(indices)
        draws = [torch.rand(1, *self.size, generator=torch.Generator().manual_seed(10**6 + i)) for i in indices]
        warm = 20 + 10 * torch.stack(draws) + 30 * (batch.concepts[:, 1:] == 1)  # (B, 1, H, W)
        return replace(batch, inputs=batch.inputs | {"thermal": warm})


class ThreeNet(nn.Module):
    """A stream of each of three modalities, their sum, and a head of 3 classes."""

    fusion, epoch = "sum", 3

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.seed = seed
        self.rgb1, self.depth1, self.thermal1 = (nn.Conv2d(c, 3, 1) for c in (3, 1, 1))
        self.fuse, self.head = nn.ReLU(), nn.Conv2d(3, 3, 1)

    def taps(self):
        return [*TAPS, Tap("thermal", 1, "thermal1")]

    def forward(self, rgb, depth, thermal):
        return self.head(self.fuse(self.rgb1(rgb) + self.depth1(depth) + self.thermal1(thermal) / 10))


class ToyTwin(ToyNet):
    """Colour alone."""

    fusion, modalities = "rgb", ("rgb",)

    def taps(self):
        return TAPS[:1]

    def forward(self, rgb, depth):
        return self.head(self.fuse(self.rgb1(rgb)))


class Deadly(ToyData):
    """Kills its own process with SIGKILL when it is asked for sample `at` as the first of a block."""

    def batch(self, indices):
        if list(indices)[0] == int(os.environ["TOY_KILL_AT"]) and isinstance(indices, range):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(indices)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "die":
        cells = int(os.environ.get("TOY_CELLS", 0))
        extract(ToyNet(), Deadly(), out=sys.argv[2], batch_size=3, cells=cells, progress=False)
    else:
        for turn, n in enumerate((200, 200, 2000)):  # the first call also loads and warms up the libraries
            extract(
                ToyNet(),
                ToyData(n, size=(40, 40)),
                out=f"{sys.argv[2]}/{turn}",
                batch_size=100,
                conditions="both",
                progress=False,
                device="cpu",
                cells=int(os.environ.get("TOY_CELLS", 0)),
            )
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
