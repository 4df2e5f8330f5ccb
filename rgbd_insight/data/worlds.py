"""Latent worlds: pairs of representations whose shared, private and joint parts are planted and known exactly.

No image is drawn. Where all is linear in independent latents, every population value (CKA, predictivity, the variance
partitioning) follows from covariances and is exact, whatever the law of the latents. Where the units are rectified, it
is read from a large draw of the same networks without noise (`rgbd_insight.data.reference`).

Kinds of worlds beside the linear, normal ones, by their knobs: sparse log-normal latents (`law="lognormal"`), ReLU
units (`relu=True`), heavy-tailed noise (`tails=3`), unequal groups (`uneven=1`), neighbouring groups that are alike
(`neighbours=.6`), wrong labels (`label_noise=.15`), unequal widths and noise (`other_width`, `noise_ratio`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from scipy.special import ndtri

from rgbd_insight.data.latents import Knobs, Net, Plan, r2, shares_of
from rgbd_insight.data.reference import FAR, Reference, reference, sampled_r2, sparse_lognormal

MODALITIES = ("rgb", "depth")


class World:
    """One world: networks of two modalities that look at the same images, and the truth about them.

    Parameters
    ----------
    knobs : Knobs, optional
        What it is like.
    seed : int, optional
        Decides mixing, noise and images; the same seed and knobs give the same world.
    draw : int, optional
        Decides the images and the noise alone: another draw of the same networks.

    Attributes
    ----------
    groups : ndarray of int (N,)
        The scene of each image.
    sizes : ndarray of int (G,)
        Images of each scene.
    areas : ndarray
        (N, K) how much of each *named* concept an image shows.
    present : ndarray of bool (N, K)
        Which image shows which named concept.
    kinds : ndarray
        (K,) kind of every named concept: both, rgb, depth, together, neither.
    outlier : int or None
        Row of the outlying image, or None.
    exact : bool
        Whether truths follow from covariances, or are read from a reference draw (where the units are rectified).

    Notes
    -----
    With independent latents z of mean 0 and variance 1, of which the images of a group share `likeness`, a stream is
    z A + noise, and a concept is z c with unit variance. A concept planted in *both*, *rgb* or *depth* is shown there
    as it is; of one planted *together* each modality shows one of two independent cues whose sum it is. So all
    population values are functions of A and the noise. With ReLU units the stream is max(z A + b, 0), standardised,
    + noise.

    Examples
    --------
    >>> world = World(Knobs(n=100, width=8), seed=1)
    >>> world.stream("rgb", 0).shape, world.areas.shape
    ((100, 8), (100, 24))
    >>> bool((world.stream("rgb", 0) == World(Knobs(n=100, width=8), seed=1).stream("rgb", 0)).all())
    True
    >>> round(float(world.shares("rgb", 0).sum()), 6)
    1.0
    """

    def __init__(self, knobs: Knobs | None = None, seed: int = 0, draw: int = 0) -> None:
        self.knobs, self.seed, self.draw = knobs or Knobs(), seed, draw
        self.plan = Plan(self.knobs, seed)
        k = self.knobs
        self.exact = not k.relu
        self.sizes = _sizes(k, np.random.default_rng([seed, FAR + 1]))
        self.groups = np.repeat(np.arange(len(self.sizes)), self.sizes)
        self.kinds = self.plan.kinds[self.plan.named]
        self.outlier = len(self.groups) // 2 if k.outlier else None

    @cached_property
    def latents(self) -> Mapping[str, np.ndarray]:
        """Modality → (N, D); the same array for both, where the world is not a null world."""
        first = self._latents(0)
        return {MODALITIES[0]: first, MODALITIES[1]: first if self.knobs.related else self._latents(1)}

    def _latents(self, which: int) -> np.ndarray:
        k, rng = self.knobs, np.random.default_rng([self.seed, self.draw, 1, which])
        common = rng.normal(size=(len(self.sizes), self.plan.size))
        if k.neighbours:
            from scipy.signal import lfilter  # heavy, and few worlds need it

            common[1:] *= np.sqrt(1 - k.neighbours**2)
            common = lfilter([1], [1, -k.neighbours], common, axis=0)
        common = common.repeat(self.sizes, axis=0)
        z = np.sqrt(k.likeness) * common + np.sqrt(1 - k.likeness) * rng.normal(size=common.shape)
        return sparse_lognormal(z, k.imbalance) if k.law == "lognormal" else z

    @cached_property
    def areas(self) -> np.ndarray:
        """(N, K) named concepts, of the first modality's images, as the first annotator sees them."""
        return self.rated(0)[0]

    @property
    def present(self) -> np.ndarray:
        """(N, K) whether the area is among the largest `imbalance` of the population, as the first annotator says."""
        return self.rated(0)[1]

    def rated(self, annotator: int) -> tuple[np.ndarray, np.ndarray]:
        """Areas and presence, (N, K) each, as one annotator says; annotators err independently, by `label_noise`."""
        k, areas = self.knobs, self.latents[MODALITIES[0]] @ self.plan.concepts[:, self.plan.named]
        cut = -ndtri(k.imbalance) if k.law == "normal" else self._reference.thresholds
        present = areas > cut
        if k.label_noise == 0:
            return areas, present
        rng = np.random.default_rng([self.seed, self.draw, FAR, annotator])
        wrong = rng.random(size=areas.shape) < k.label_noise
        noise = rng.normal(size=areas.shape)
        return np.sqrt(1 - k.label_noise) * areas + np.sqrt(k.label_noise) * noise, present ^ wrong

    def stream(self, modality: str, network: int = 0) -> np.ndarray:
        """(N, U) responses of one network."""
        net = self._net(modality, network)
        which = MODALITIES.index(modality)
        rng = np.random.default_rng([self.seed, self.draw, 2, which, network])
        latents, tails = self.latents[modality], self.knobs.tails
        x = self._reference.signal((modality, network), latents) if self.knobs.relu else latents @ net.mixing
        if 0 < tails < np.inf:
            x += rng.standard_t(tails, size=x.shape) * np.sqrt((tails - 2) / tails) * net.noise
        else:
            x += rng.normal(size=x.shape) * net.noise
        if self.outlier is not None:
            # the image is far out in every network, so that all of them agree about it and about nothing else
            x[self.outlier] += self.knobs.outlier * np.sqrt(1 + net.noise**2) * rng.choice([-1, 1], size=x.shape[1])
        return x

    def streams(self, modality: str, networks: range | list[int]) -> list[np.ndarray]:
        """Responses of several networks."""
        return [self.stream(modality, i) for i in networks]

    def _net(self, modality: str, network: int) -> Net:
        if modality not in MODALITIES or not 0 <= network < self.knobs.networks:
            raise ValueError(
                f"`modality` must be one of {', '.join(MODALITIES)} and `network` below {self.knobs.networks}; got "
                f"{modality!r}, {network}. Set `networks` in the knobs."
            )
        return self.plan.net(modality, network)

    def concept_specificity(self, modality: str, network: int = 0) -> np.ndarray:
        """(U,) variance-weighted share of a unit's concepts that the other modality lacks, in [0, 1].

        A conjunction counts one half (the other modality shows the other cue); NaN where a unit has no concept.
        """
        weight = self._net(modality, network).weights ** 2  # (K, U)
        lacking = self.plan.lacking(modality)
        total = weight.sum(0)
        return np.divide(lacking @ weight, total, out=np.full(len(total), np.nan), where=total > 0)

    def shared_concepts(self, networks: range | list[int] = (0,)) -> float:
        """Variance-weighted share of the concepts of both modalities' networks that the other modality shows too.

        From 0 (no concept of either is shown by the other) to 1; the modalities count alike, a conjunction one half.
        """
        shares = []
        for modality in MODALITIES:
            weight = np.sum([(self._net(modality, i).weights ** 2).sum(1) for i in networks], axis=0)  # (K,)
            shares.append(1 - self.plan.lacking(modality) @ weight / weight.sum())
        return float(np.mean(shares))

    def total_specificity(self, modality: str, network: int = 0) -> np.ndarray:
        """(U,) share of a unit's signal (nuisance included) that no linear function of the other's signal explains.

        Of a rectified unit: of the part of its signal that is linear in what its own modality sees.
        """
        signal = self._signal((modality, network))
        other, same = (self._r2(signal, self._columns(self.plan.visible(m))) for m in (_other(modality), modality))
        return 1 - (other if self.exact else other / same)

    def unit_shares(self, modality: str, network: int = 0, beside: range | list[int] | None = None) -> np.ndarray:
        """(U, 4) planted partitioning (`partitioning.SHARES`): of the signal, for perfect networks of either modality.

        `beside` names networks whose signal takes the place of what a perfect network of their modality sees: few units
        may leave out what both modalities show. Of rectified units the shares sum to less than 1: nothing linear tells
        all of them.
        """
        plan, both = self.plan, (_other(modality), modality)
        if beside is None:
            seen = [self._columns(plan.visible(m)) for m in both]
        else:
            seen = [np.hstack([self._signal((m, i)) for i in beside]) for m in both]
        concepts = self._columns(plan.concepts[:, plan.named])
        return shares_of(self._signal((modality, network)), concepts, *seen, r2=self._r2)

    def shares(self, modality: str, network: int = 0) -> np.ndarray:
        """(4,) planted shares of the level: the units' together, which have a signal of equal size."""
        return self.unit_shares(modality, network).mean(0)

    def types(self, modality: str, network: int = 0) -> np.ndarray:
        """(U,) planted type of each unit, an index of `partitioning.SHARES`, where the world is `pure`."""
        return self._net(modality, network).types

    @property
    def shared_dimension(self) -> float:
        """Share of the dimensions of the first modality's nuisance that the second has too."""
        return self.knobs.shared_dims / (self.knobs.shared_dims + self.knobs.private_dims)

    @property
    def shared_variance(self) -> float:
        """Share of the first modality's signal variance (its first network's) that the second's signal explains."""
        return float(1 - self.total_specificity(MODALITIES[0]).mean())

    def population_cka(self, first: tuple[str, int], second: tuple[str, int]) -> float:
        """CKA of two networks, given as (modality, network), in the limit of many images (without the outlier)."""
        cross = np.square(self._cross(first, second)).sum()
        own = [np.square(self._covariance(net)).sum() for net in (first, second)]
        return float(cross / np.sqrt(own[0] * own[1]))

    def population_predictivity(self, x: tuple[str, int], y: tuple[str, int], components: int = 32) -> float:
        """R² of all units of y from the leading principal components of x, in the limit of many images."""
        values, vectors = np.linalg.eigh(self._covariance(x))
        kept = slice(-min(components, len(values)), None)
        cross = vectors[:, kept].T @ self._cross(x, y)  # (d, V)
        return float((cross**2 / values[kept, None]).sum() / np.trace(self._covariance(y)))

    def _covariance(self, net: tuple[str, int]) -> np.ndarray:
        return self._product(net, net) + np.diag(self._net(*net).noise ** 2)

    def _cross(self, first: tuple[str, int], second: tuple[str, int]) -> np.ndarray:
        if first == second:
            return self._covariance(first)
        related = self.knobs.related or first[0] == second[0]
        return self._product(first, second) * related

    def _product(self, first: tuple[str, int], second: tuple[str, int]) -> np.ndarray:
        """(U, V) covariances of two networks' signals."""
        a, b = self._signal(first), self._signal(second)
        return a.T @ b / (1 if self.exact else len(a))

    @property
    def _reference(self) -> Reference:
        return reference(self.knobs, self.seed)

    def _columns(self, coefficients: np.ndarray) -> np.ndarray:
        """Linear functions of the latents: as their coefficients (D, ·), or as what they are in the reference draw."""
        return coefficients if self.exact else self._reference.latents @ coefficients

    def _signal(self, net: tuple[str, int]) -> np.ndarray:
        """A network's signal in the same form."""
        mixing = self._net(*net).mixing
        return mixing if self.exact else self._reference.signal(net, self._reference.latents)

    def _r2(self, targets: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return (r2 if self.exact else sampled_r2)(targets, inputs)


def _other(modality: str) -> str:
    return MODALITIES[1 - MODALITIES.index(modality)]


def _sizes(knobs: Knobs, rng: np.random.Generator) -> np.ndarray:
    """(G,) images of each group: quantiles of an exponential variable in a random order, as far as they are uneven."""
    count, even = knobs.n // knobs.group_size, 1 - knobs.uneven
    spread = -np.log1p(-rng.permutation((np.arange(count) + 0.5) / count))
    return np.maximum(np.round(knobs.group_size * (even + knobs.uneven * spread)), 1).astype(int)
