"""Worlds that are not linear, normal and even: the corrected partitioning on each kind of them."""

from __future__ import annotations

import numpy as np

from rgbd_insight.data import World
from rgbd_insight.data.worlds import MODALITIES
from rgbd_insight.metrics.attenuation import corrected_partitioning
from rgbd_insight.metrics.partitioning import SHARES, variance_partitioning
from rgbd_insight.validation.plan import kind_knobs


def account(plan: dict, seed: int, kind: str, pooled: bool = False) -> list[dict]:
    """Shares of a level as the chapters take them, beside what the other networks' signal tells of it.

    The level is of rgb where the seed is even, and of depth where it is odd, so that a kind whose modalities differ is
    seen from both sides. `pooled`: also uncorrected, of all other networks and of one.

    What one network's units leave out, no correction can tell: the truth is what all other networks' signals tell
    together, of the part of the level's signal that is linear in them. A level's shares are sums over units of variance
    1, noise of their own included, over such a sum: a noisy unit counts for less, in the truth as well.
    """
    p, rng = plan["account"], np.random.default_rng([seed, 8])
    count = int(rng.integers(p["networks"][0], p["networks"][-1] + 1))
    size = {"n": p["n"][rng.integers(len(p["n"]))], "width": 64, "other_width": 64, "noise_ratio": 1.0}
    knobs = kind_knobs(plan, seed, kind, networks=1 + count, **size)
    world = World(knobs, seed)
    modality, other = MODALITIES[:: 1 if seed % 2 == 0 else -1]
    y, nets = world.stream(modality), range(1, 1 + count)
    streams = world.streams(other, nets), world.streams(modality, nets)
    found = {"corrected": corrected_partitioning(y, world.areas, *streams, world.groups).level}
    if pooled:
        for name, few in (("all pooled", streams), ("one", [z[:1] for z in streams])):
            found[name] = variance_partitioning(y, world.areas, *few, world.groups).level
    signal = 1 / (1 + world.plan.net(modality, 0).noise ** 2)  # of each unit's variance
    planted = signal @ world.unit_shares(modality, beside=nets)
    base = {"ours": True, "kind": kind, "n": len(y), "width": y.shape[1], "count": count, "noise": knobs.noise}
    return [
        base | {"measure": "account", "condition": condition, "part": share, "value": value, "truth": truth}
        for condition, level in found.items()
        for share, value, truth in zip(SHARES, level, planted / planted.sum(), strict=True)
    ]
