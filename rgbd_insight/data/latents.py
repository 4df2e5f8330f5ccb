"""What a latent world is like, how its networks see its latents, and what follows for the population."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np

KINDS = ("both", "rgb", "depth", "both", "rgb", "depth", "both", "rgb", "depth", "together", "both", "neither")
CLUSTERS, LAYOUTS = 4, 3
LAWS = ("normal", "lognormal")


@dataclass(frozen=True)
class Knobs:
    """What a world is like; ranges in brackets are those in which the measures are validated.

    Attributes
    ----------
    n : int
        Images [150, 2000]; cut to whole groups.
    width, other_width : int
        Units of a network of the first and of the second modality [32, 512].
    networks : int
        Networks of each modality, at least 1; each has its own mixing and its own noise.
    group_size, likeness : int and float
        Images of a group, and the share in [0, 1) of every latent's variance that they have in common.
    noise : float
        Standard deviation of a unit's noise, its signal having 1 [.3, .9; beyond: to 3].
    noise_ratio : float
        How many times noisier the second modality's units are [1, 3].
    unit_noise : float
        Each unit's noise is multiplied by e^±a, a uniform up to this [0, 1.2].
    concepts : int
        Number of concepts; kinds go round in the order of `KINDS`.
    concept_overlap : float or None
        Share in [0, 1] of the concepts shown by any modality that both show: one concept in twelve is shown by neither,
        the rest of the others by either in turn, none by both together, in random order. None: the kinds of `KINDS`.
    polysemy : int
        Concepts that a unit encodes [1, 3].
    cooccurrence : float
        Share of a concept's variance that is common to all concepts of its cluster [0, .7].
    layout : float
        Share of a concept's variance that the layout decides, which both modalities show [0, .25].
    coverage : float
        Share of the concepts that are named (have labels) [.25, 1].
    imbalance : float
        Share of the images that show a concept [.15, .5].
    nuisance : float
        Share of a unit's signal that is not concepts [0, 1].
    private : float
        Share of the nuisance that is private to the modality [0, 1].
    shared_dims, private_dims : int
        Dimensions of the shared and of each private nuisance.
    outlier : float
        How many standard deviations one image is moved in every network, 0 for none [0, 20].
    pure : bool
        Units of four pure types in turn (`SHARES`) instead of mixed ones.
    related : bool
        False makes a null world: the second modality's latents are drawn anew.
    law : str
        "normal", or "lognormal": every latent, of concepts and nuisance, is present in `imbalance` of the images with a
        log-normal size and the same small value elsewhere, with mean 0 and variance 1 (excess kurtosis about
        60 at `imbalance` .25). `likeness` and `neighbours` are then those of the normal variables behind it.
    relu : bool
        A unit's signal is the standardised ReLU of its mixture and a bias of its network in [−.5, .5], so that every
        network sees other half-spaces; the truths are then those of a reference draw.
    tails : float
        Degrees of freedom of the noise, Student's t of the same standard deviation: from 3; 0 or infinite for normal
        noise.
    uneven : float
        How unequal the groups are, in [0, 1]: at 0 all have `group_size` images, at 1 their sizes are spread like an
        exponential variable of that mean, from 1 to about five times as many. `n` is then met roughly.
    neighbours : float
        Correlation in [0, .95] of what consecutive groups' images have in common, in the order of the samples.
    label_noise : float
        Share in [0, .5] of the labels that are wrong: of `present` so many are flipped, of the variance of `areas` so
        much is noise. The truths are those of the right labels.

    Examples
    --------
    >>> Knobs(noise=2.0).noise
    2.0
    """

    n: int = 600
    width: int = 64
    other_width: int = 64
    networks: int = 2
    group_size: int = 5
    likeness: float = 0.3
    noise: float = 1.0
    noise_ratio: float = 1.0
    unit_noise: float = 0.0
    concepts: int = 24
    polysemy: int = 1
    cooccurrence: float = 0.0
    layout: float = 0.0
    coverage: float = 1.0
    imbalance: float = 0.5
    nuisance: float = 0.4
    private: float = 0.5
    shared_dims: int = 6
    private_dims: int = 6
    outlier: float = 0.0
    pure: bool = False
    related: bool = True
    law: str = "normal"
    relu: bool = False
    tails: float = 0.0
    uneven: float = 0.0
    neighbours: float = 0.0
    label_noise: float = 0.0
    concept_overlap: float | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"`{name}` must be from {low} to {high}; got {value}. See `Knobs` for what it means.")
        if self.law not in LAWS:
            raise ValueError(f"`law` must be one of {', '.join(LAWS)}; got {self.law!r}.")
        if 0 < self.tails < 3:
            raise ValueError(f"`tails` must be 0 or at least 3; got {self.tails}. Below 3 nothing settles down.")
        if self.cooccurrence + self.layout > 0.95:
            total = self.cooccurrence + self.layout
            raise ValueError(f"`cooccurrence` + `layout` must be at most 0.95; got {total:.2f}. Lower one of them.")
        if self.n < 5 * self.group_size:
            raise ValueError(f"`n` must hold 5 groups of {self.group_size}; got {self.n}. Draw more images.")


_RANGES = {
    "n": (20, 10**7),
    "width": (1, 10**5),
    "other_width": (1, 10**5),
    "networks": (1, 100),
    "group_size": (1, 1000),
    "likeness": (0, 0.99),
    "noise": (0, 100),
    "noise_ratio": (0.01, 100),
    "unit_noise": (0, 3),
    "concepts": (6, 1000),
    "polysemy": (1, 6),
    "cooccurrence": (0, 0.95),
    "layout": (0, 0.95),
    "coverage": (0.01, 1),
    "imbalance": (0.01, 0.99),
    "nuisance": (0, 1),
    "private": (0, 1),
    "shared_dims": (1, 1000),
    "private_dims": (1, 1000),
    "outlier": (0, 1e6),
    "tails": (0, np.inf),
    "uneven": (0, 1),
    "neighbours": (0, 0.95),
    "label_noise": (0, 0.5),
    "concept_overlap": (0, 1),
}


def drawn(ranges: Mapping[str, list], rng: np.random.Generator, **fixed: object) -> Knobs:
    """Knobs drawn at random.

    Parameters
    ----------
    ranges : mapping of str to list
        For each knob [low, high] of floats, drawn from uniformly, or a longer list (or one of whole numbers), of which
        one is chosen.
    rng : Generator
        Draws, in the order of `ranges`.
    **fixed : object
        Knobs that are not drawn.

    Returns
    -------
    Knobs
        The others are at their defaults.

    Raises
    ------
    ValueError
        For a name that is no knob's, or a value out of its range.

    Examples
    --------
    >>> drawn({"noise": [1.0, 3.0], "polysemy": [1, 2, 3]}, np.random.default_rng(0), n=200).n
    200
    """
    known = {f.name for f in fields(Knobs)}
    if wrong := set(ranges) - known:
        names = ", ".join(sorted(known))
        raise ValueError(f"`ranges` must name knobs; got {', '.join(sorted(wrong))}. Known: {names}.")
    found = {}
    for name, values in ranges.items():
        if not values or not all(isinstance(v, int | float | str) for v in values):
            raise ValueError(f"`ranges` must have a list of numbers or names for {name!r}; got {values!r}")
        uniform = len(values) == 2 and any(isinstance(v, float) for v in values)
        found[name] = float(rng.uniform(*values)) if uniform else values[rng.integers(len(values))]
    return Knobs(**(found | fixed))


@dataclass(frozen=True, eq=False)
class Net:
    """One network of a world.

    Attributes
    ----------
    mixing : ndarray
        (D, U) how its units add up the latents; every column has length 1.
    noise : ndarray
        (U,) standard deviation of each unit's noise.
    weights : ndarray
        (K, U) weights of the concepts in each unit.
    types : ndarray
        (U,) pure type of each unit, or −1.
    bias : ndarray
        (U,) what a unit adds to its mixture before its ReLU; zeros where it has none.
    """

    mixing: np.ndarray
    noise: np.ndarray
    weights: np.ndarray
    types: np.ndarray
    bias: np.ndarray


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
        self.kinds = _kinds(knobs, seed)
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
        bias = rng.uniform(-0.5, 0.5, units) if k.relu else np.zeros(units)
        return Net(mixing, noise, weights * np.sqrt(1 - share), types, bias)

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


def _kinds(knobs: Knobs, seed: int) -> np.ndarray:
    """(K,) which modalities show each concept."""
    count = knobs.concepts
    if knobs.concept_overlap is None:
        return np.array(KINDS)[np.arange(count) % len(KINDS)]
    neither = count // len(KINDS)
    both = round(knobs.concept_overlap * (count - neither))
    either = [("rgb", "depth")[i % 2] for i in range(count - neither - both)]
    return np.random.default_rng([seed, 4]).permutation(["both"] * both + either + ["neither"] * neither)


def _unit_length(columns: np.ndarray) -> np.ndarray:
    length = np.sqrt((columns**2).sum(0))
    return columns / np.where(length > 0, length, 1)


def r2(targets: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """(U,) population R² of targets (D, U), of length 1, from inputs (D, P), all linear in independent latents."""
    left, sizes, _ = np.linalg.svd(inputs, full_matrices=False)
    basis = left[:, sizes > 1e-9 * max(sizes.max(initial=0), 1e-300)]
    return ((basis.T @ targets) ** 2).sum(0)


def shares_of(
    targets: np.ndarray, concepts: np.ndarray, other: np.ndarray, same: np.ndarray, r2: Callable = r2
) -> np.ndarray:
    """(U, 4) the variance partitioning of `variance_partitioning` in the population, without noise.

    `r2` gives the (U,) R² of targets from inputs.
    """
    s, x, x2 = (r2(targets, z) for z in (concepts, other, same))
    sx, sx2 = (r2(targets, np.hstack([concepts, z])) for z in (other, same))
    return np.stack([s + x - sx, (x2 - sx2) - (x - sx), sx - s, sx2 - sx], axis=1)
