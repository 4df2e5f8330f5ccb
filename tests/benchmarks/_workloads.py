"""The inputs of the benchmarks, regenerated from a seed."""

import numpy as np
import torch
import torch.nn.functional as F

WIDTHS = (64, 128, 256, 512, 512)
GROUP = 5  # images of one scene
TOP = 0.005
BLOCKS = {"B1": (500, 512, 14), "B2": (500, 256, 28)}  # images, units, cells a side
PLANES, CONCEPTS, IMAGE = 5, 40, 112


def workload_a(n=2000, widths=WIDTHS, seed=0):
    """Two streams x 5 levels, float32 (N, U), not centred; scenes of 5 images, 40 common causes, levels far from 0."""
    rng = np.random.default_rng(seed)
    scene = np.arange(n) // GROUP
    common = rng.normal(size=(scene[-1] + 1, 40))[scene] + rng.normal(size=(n, 40))
    return [
        (0.3 * common @ rng.normal(size=(40, w)) + rng.normal(size=(n, w)) + rng.normal(1, 1, w)).astype(np.float32)
        for w in (*widths, *widths)
    ]


def workload_b(kind, seed=0, images=None):
    """Rectified smooth maps (N, U, h, h), and label planes int16 (N, 5, 112, 112) with 8 concepts each, in patches."""
    n, units, side = BLOCKS[kind]
    n = images or n
    random = torch.Generator().manual_seed(seed)
    maps = torch.empty(n, units, side, side)
    for i in range(0, n, 50):
        noise = torch.randn(len(maps[i : i + 50]), units, side, side, generator=random)
        maps[i : i + 50] = F.avg_pool2d(noise, 3, 1, 1).relu_()
    each = CONCEPTS // PLANES
    patches = torch.randint(-1, each, (n, PLANES, IMAGE // 8, IMAGE // 8), generator=random, dtype=torch.int16)
    planes = patches.repeat_interleave(8, 2).repeat_interleave(8, 3)
    offset = each * torch.arange(PLANES, dtype=torch.int16)[:, None, None]
    return maps, torch.where(planes >= 0, planes + offset, -1)


def workload_v(n=654, concepts=24, units=128, seed=0):
    """One level pair: units made of concepts, of what both modalities share and of what one has, and noise."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // 5
    scenes = groups[-1] + 1

    def causes(width):
        return rng.normal(size=(scenes, width))[groups] + rng.normal(size=(n, width))

    named, shared, own = causes(concepts), causes(12), causes(12)
    other = np.hstack([named, shared]) @ rng.normal(size=(concepts + 12, 64)) + 2 * rng.normal(size=(n, 64))
    same = np.hstack([named, shared, own]) @ rng.normal(size=(concepts + 24, 64)) + 2 * rng.normal(size=(n, 64))
    mix = [part @ rng.normal(size=(part.shape[1], units)) / np.sqrt(part.shape[1]) for part in (named, shared, own)]
    y = sum(mix) + 1.5 * rng.normal(size=(n, units))
    return y, named, other, same, groups
