"""Which unit of a stream tells a concept best, and what a unit tells best."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.auroc import pair_counts
from rgbd_insight.metrics.probes import decodability
from rgbd_insight.metrics.ranking import PredictedStatistic, Ranking, bounded, concept_weights, rank_units
from rgbd_insight.metrics.semantic import profiles
from rgbd_insight.metrics.soft_matching import max_correlation
from rgbd_insight.questions.networks import TWINS, Networks, neighbours_of, networks
from rgbd_insight.stats import Resampling
from rgbd_insight.utils.messages import nearest


@dataclass(frozen=True)
class Unit:
    """A unit and a concept that it tells.

    Attributes
    ----------
    run, stream, level, condition, unit : str, str, int, str, int
        Which responses; `unit` is a column of them.
    concept : str
        Name of the concept.
    s, low, high : float
        2·AUROC - 1 with its interval, in [-1, 1]: 1 where every scene with the concept moves the unit more than every
        scene without it, negative where the unit responds *less* to it. NaN where the concept is too rare.
    images : int
        Number of images that s was measured on; none of them took part in the choice.
    """

    run: str
    stream: str
    level: int
    condition: str
    unit: int
    concept: str
    s: float
    low: float
    high: float
    images: int

    def responses(self, features: Features) -> np.ndarray:
        """Its mean response to each image (N,)."""
        return features.responses(self.run, self.stream, self.level, self.condition)[:, self.unit]


def best_unit(
    features: Features,
    run: str,
    stream: str,
    level: int | None = None,
    *,
    unit: int | None = None,
    concepts: Iterable[str] | None = None,
    condition: str | None = None,
) -> Unit:
    """The unit of a stream, and the concept, with the largest |s|: chosen on half of the groups, s from the others.

    Parameters
    ----------
    features : Features
        Of any network.
    run : str
        A run id, a fusion, or "twins" (the run of the modality that `stream` names).
    stream, level : str, int or None
        Which units; by default those of all levels.
    unit : int, optional
        Only this one (with `level`): what does it tell best?
    concepts : iterable of str, optional
        Names of those to choose from; by default all.
    condition : str, optional
        What the network was given; by default only the modality that the stream is named after, the other input being
        another scene's, and "both" for a fused stream.

    Returns
    -------
    Unit

    Raises
    ------
    ValueError
        For an unknown stream, level, unit or concept, and where no concept is frequent enough to choose from (one that
        is named alone, with its unit, needs no choice; its s is then NaN).

    Notes
    -----
    s_uk is that of `metrics.semantic.profiles`. The largest of thousands of s is too large by luck; as the two halves
    share no group, the s that is given is not.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> found = best_unit(ri.load("book/features/scenes"), "sum", "depth", 4, concepts=["rug", "niche"])
    >>> found.concept, found.low > 0.9
    ('niche', True)
    """
    run = _resolved(features, run, stream)
    condition = condition or (stream if stream in (m.name for m in features.modalities) else "both")
    wanted = _concepts(features, concepts)
    present, groups = features.present[:, wanted], neighbours_of(features).groups  # (N, K)
    found = []
    for lv in _levels(features, run, stream, level, unit):
        x = features.responses(run, stream, lv, condition)  # (N, U)
        columns = _columns(x, unit)
        halves = profiles(x[:, columns], present, groups, folds=2).by_fold  # (2, U, K)
        size = np.where(np.isfinite(halves[0]), np.abs(halves[0]), -1)
        u, k = np.unravel_index(size.argmax(), size.shape)
        if size[u, k] >= 0 or size.size == 1:  # one unit and one concept: nothing to choose
            found.append((size[u, k], lv, int(columns[u]), wanted[k], halves[1, u, k]))
    if not found:
        raise ValueError(
            f"`features` must show one of the concepts often enough to choose by it; {features.path} has "
            f"{len(features)} images. Extract more, or name one unit and one concept."
        )
    _, lv, u, k, s = max(found, key=lambda f: f[0])
    x = features.responses(run, stream, lv, condition)
    rows = np.flatnonzero(stats.group_folds(groups, 2) == 1)  # the fold that did not choose
    known = np.isfinite(s)
    low, high = _interval(x[rows, u], features.present[rows, k], groups[rows]) if known else (np.nan, np.nan)
    return Unit(run, stream, lv, condition, u, features.concepts["name"][k], float(s), low, high, len(rows))


def _interval(x: np.ndarray, there: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Of 2·AUROC - 1 of responses (n,) to images that show a concept or not (n,)."""

    def s(rows: np.ndarray, _: np.ndarray) -> float:
        wins, pairs = pair_counts(x[None, rows], there[None, rows])
        return 2 * wins[0] / pairs[0] - 1 if pairs[0] else np.nan

    found = stats.estimate(s, groups, null=False)
    return max(found.low, -1.0), min(found.high, 1.0)


def _streams_of(features: Features, run: str) -> tuple[str, ...]:
    """Streams of a run; of "twins", the two modalities."""
    return networks(features, TWINS).modalities if run == TWINS else features.streams(run)


def levels_of(features: Features, run: str) -> tuple[int, ...]:
    """Levels of a run; of "twins", those that both have."""
    return networks(features, TWINS).levels if run == TWINS else features.levels(run)


def _resolved(features: Features, run: str, stream: str) -> str:
    known = _streams_of(features, run)
    if stream not in known:
        raise ValueError(
            f"`stream` must be one of {', '.join(known)}, those of {run}; got {stream!r}. Nearest: "
            f"{nearest(stream, known)}"
        )
    return networks(features, TWINS).members[0][stream] if run == TWINS else features.resolve(run)


def _levels(features: Features, run: str, stream: str, level: int | None, unit: int | None) -> tuple[int, ...]:
    known = tuple(sorted({tap["level"] for tap in features.entry(run)["taps"] if tap["stream"] == stream}))
    if level is None and unit is None:
        return known
    if level not in known:
        raise ValueError(f"`level` must be one of {', '.join(map(str, known))}, those of {run}; got {level!r}")
    return (level,)


def _columns(x: np.ndarray, unit: int | None) -> np.ndarray:
    if unit is None:
        return np.arange(x.shape[1])
    if not 0 <= unit < x.shape[1]:
        raise ValueError(f"`unit` must be in 0…{x.shape[1] - 1}; got {unit}")
    return np.array([unit])


def _concepts(features: Features, names: Iterable[str] | None) -> np.ndarray:
    """Their indices."""
    known = features.concepts["name"].tolist()
    names = known if names is None else list(names)
    for name in names:
        if name not in known:
            raise ValueError(
                f"`concepts` must be names of concepts of {features.path}; got {name!r}. Nearest: "
                f"{nearest(name, known)}"
            )
    if not names:
        raise ValueError("`concepts` must name at least one; got none. Leave it out for all.")
    return np.array([known.index(name) for name in names])


def ranked(
    nets: Networks, modality: str, level: int, plan: Resampling | None = None, *, among: np.ndarray | None = None
) -> Ranking:
    """The two rankings of the first network's units; `among` bool (N,) keeps some samples only.

    All other networks of every modality say together what they have of each unit. Responses are held back where they
    lie far out: one image on which everything does would decide the order.
    """
    features = nets.features
    among = np.ones(len(features), bool) if among is None else among
    rest_of = [m for m in nets.modalities if m != modality]
    groups, present = nets.groups[among], features.present[among]

    def stream(member: int, name: str) -> np.ndarray:
        return bounded(nets.view(member, name, level)[among])

    x, rest = stream(0, modality), range(1, len(nets.members))
    others, same = ([np.hstack([stream(j, m) for m in names]) for j in rest] for names in (rest_of, [modality]))
    delta = np.mean([decodability(y, present, groups).delta for y in others], axis=0)
    closest = np.max([max_correlation(x, y) for y in others], axis=0)
    r2 = stats.estimate(PredictedStatistic(x, others, same, groups), groups, plan or nets.plan(), null=False)
    return rank_units(concept_weights(x, features.areas[among], groups), delta, closest, r2)
