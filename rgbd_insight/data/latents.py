"""How the networks of a latent world see its latents, and what follows for the population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rgbd_insight.data.worlds import Knobs

KINDS = ("both", "rgb", "depth", "both", "rgb", "depth", "both", "rgb", "depth", "together", "both", "neither")
CLUSTERS, LAYOUTS = 4, 3


@dataclass(frozen=True, eq=False)
class Net:
    """One network of a world.

    Attributes
    ----------
    mixing : (D, U) how its units add up the latents; every column has length 1.
    noise : (U,) standard deviation of each unit's noise.
    weights : (K, U) weights of the concepts in each unit.
    types : (U,) pure type of each unit, or −1.
    """

    mixing: np.ndarray
    noise: np.ndarray
    weights: np.ndarray
    types: np.ndarray


class Plan:
    """Latents, concepts and networks of a world.

    The latents stand in this order: an own one for each concept, a second cue for each concept, a common one for each
    cluster of concepts, the layout's, the shared nuisance's, the private nuisance's of either modality.
    """

    def __init__(self, knobs: Knobs, seed: int) -> None:
        self.knobs, self.seed, count = knobs, seed, knobs.concepts
        edges = np.cumsum([0, count, count, CLUSTERS, LAYOUTS, knobs.shared_dims, *[knobs.private_dims] * 2])
        self.own, self.cue, self.cluster, self.layout, self.shared, rgb, depth = (
            slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)
        )
        self.private, self.size = {"rgb": rgb, "depth": depth}, int(edges[-1])
        rng = np.random.default_rng([seed, 0])
        self.kinds = np.array(KINDS)[np.arange(count) % len(KINDS)]
        self.named = np.sort(rng.permutation(count)[: max(round(knobs.coverage * count), 1)])
        self.concepts = self._concepts()
        self.cache: dict[tuple[str, int], Net] = {}

    def _concepts(self) -> np.ndarray:
        """(D, K), every column of length 1."""
        k, count = self.knobs, self.knobs.concepts
        out = np.zeros((self.size, count))
        at, alone = np.arange(count), 1 - k.cooccurrence - k.layout
        together = self.kinds == "together"
        out[self.own][at, at] = np.sqrt(alone * np.where(together, 0.5, 1))
        out[self.cue][at, at] = np.sqrt(alone * np.where(together, 0.5, 0))
        out[self.cluster][at % CLUSTERS, at] = np.sqrt(k.cooccurrence)
        out[self.layout][at % LAYOUTS, at] = np.sqrt(k.layout)
        return out

    def shown(self, modality: str) -> np.ndarray:
        """(D, K) what a modality shows of each concept: itself, one cue of a conjunction, or nothing."""
        out = self.concepts * np.isin(self.kinds, ("both", modality))
        cue = np.zeros_like(out)
        at = np.flatnonzero(self.kinds == "together")
        cue[self.own if modality == "rgb" else self.cue][at, at] = 1
        return out + cue

    def lacking(self, modality: str) -> np.ndarray:
        """(K,) how much of each concept the other modality lacks."""
        return np.select([self.kinds == modality, self.kinds == "together"], [1.0, 0.5], 0.0)

    def visible(self, modality: str) -> np.ndarray:
        """(D, ·) everything that a network of the modality can see: shown concepts, layout and nuisance."""
        eye = np.eye(self.size)
        blocks = [self.shown(modality)]
        if self.knobs.nuisance > 0 or self.knobs.pure:
            blocks += [eye[:, self.layout]] * (self.knobs.layout > 0)
            blocks += [eye[:, self.shared]] * (self.knobs.private < 1)
            blocks += [eye[:, self.private[modality]]] * (self.knobs.private > 0)
        return np.hstack(blocks)

    def net(self, modality: str, network: int) -> Net:
        """The network, made once."""
        if (modality, network) not in self.cache:
            self.cache[modality, network] = self._net(modality, network)
        return self.cache[modality, network]

    def _net(self, modality: str, network: int) -> Net:
        k, second = self.knobs, modality == "depth"
        rng = np.random.default_rng([self.seed, 3, int(second), network])
        units = k.other_width if second else k.width
        types = np.arange(units) % 4 if k.pure else np.full(units, -1)
        weights = self._weights(modality, types, rng)
        concepts = _unit_length(self.shown(modality) @ weights)
        nuisance = self._nuisance(modality, types, rng)
        share = np.where(types < 0, k.nuisance, np.where(types < 2, 0.0, 1.0))
        mixing = _unit_length(np.sqrt(1 - share) * concepts + np.sqrt(share) * nuisance)
        noise = k.noise * (k.noise_ratio if second else 1) * np.exp(rng.uniform(-1, 1, units) * k.unit_noise)
        return Net(mixing, noise, weights * np.sqrt(1 - share), types)

    def _weights(self, modality: str, types: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(K, U) weights: `polysemy` concepts a unit, of one kind and named where the unit is pure."""
        seen = np.isin(self.kinds, ("both", modality, "together"))
        named = np.isin(np.arange(len(self.kinds)), self.named)
        pools = {-1: seen, 0: named & (self.kinds == "both"), 1: named & (self.kinds == modality)}
        weights = np.zeros((len(self.kinds), len(types)))
        for u, kind in enumerate(types):
            pool = np.flatnonzero(pools.get(int(kind), seen & False))
            if not len(pool):
                if kind in (0, 1):
                    raise ValueError("`coverage` must leave a named concept of each kind in a pure world. Raise it.")
                continue
            chosen = rng.choice(pool, min(self.knobs.polysemy, len(pool)), replace=False)
            weights[chosen, u] = rng.choice([-1, 1], len(chosen)) * rng.uniform(0.5, 1.5, len(chosen))
        return weights

    def _nuisance(self, modality: str, types: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(D, U) nuisance of length 1: `private` of its variance from private latents, layout with the shared ones."""
        k = self.knobs
        shared, private = np.zeros((2, self.size, len(types)))
        shared[self.shared] = rng.normal(size=(k.shared_dims, len(types)))
        if k.layout > 0:
            shared[self.layout] = rng.normal(size=(LAYOUTS, len(types)))
        private[self.private[modality]] = rng.normal(size=(k.private_dims, len(types)))
        part = np.where(types < 0, k.private, np.where(types == 3, 1.0, 0.0))
        return np.sqrt(1 - part) * _unit_length(shared) + np.sqrt(part) * _unit_length(private)


def _unit_length(columns: np.ndarray) -> np.ndarray:
    length = np.sqrt((columns**2).sum(0))
    return columns / np.where(length > 0, length, 1)


def r2(targets: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """(U,) population R² of targets (D, U), of length 1, from inputs (D, P), all linear in independent latents."""
    left, sizes, _ = np.linalg.svd(inputs, full_matrices=False)
    basis = left[:, sizes > 1e-9 * max(sizes.max(initial=0), 1e-300)]
    return ((basis.T @ targets) ** 2).sum(0)


def shares_of(targets: np.ndarray, concepts: np.ndarray, other: np.ndarray, same: np.ndarray) -> np.ndarray:
    """(U, 4) the variance partitioning of `variance_partitioning` in the population, without noise."""
    s, x, x2 = (r2(targets, z) for z in (concepts, other, same))
    sx, sx2 = (r2(targets, np.hstack([concepts, z])) for z in (other, same))
    return np.stack([s + x - sx, (x2 - sx2) - (x - sx), sx - s, sx2 - sx], axis=1)
