"""How much of a modality's view is its own scene's, how much the guests' that stood in for the other input."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight import stats
from rgbd_insight.features import SAME, Features, partners
from rgbd_insight.metrics import predictivity
from rgbd_insight.metrics.ridge import ridge
from rgbd_insight.stats import Estimate, Resampling, group_codes

WHOLE = 0  # in the column `level`: all levels of a stream side by side
GROUPS, IMAGES = 5, 50  # from which an interval can be had, and a prediction fitted
FOLDS, PENALTIES = 10, 10.0 ** np.arange(-2, 2.5, 0.5)  # of the prediction that is taken out
LEAST, CLEAR = 0.5, 0.8  # own shares: below the first a view is refused, below the second it is named
T = TypeVar("T")

_REMEMBERED: WeakKeyDictionary[Features, dict[Hashable, Any]] = WeakKeyDictionary()


def remembered(features: Features, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` returned when it was first asked for under this key: several questions ask the same of features."""
    known = _REMEMBERED.setdefault(features, {})
    if key not in known:
        known[key] = make()
    return known[key]


WORDS = {
    "pure": "the other input does not reach it",
    "recorded": "measured when the features were extracted",
    "shared guests": "from images that share a guest; at most",
    "predicted": "from what the guests predict of it; at most",
    "unknown": "not recorded",
}


@dataclass(frozen=True)
class OwnShare:
    """How much of the variance of a view over images is the kept modality's own scene's.

    Attributes
    ----------
    value, low, high : float
        In [0, 1], with its 95 % interval over groups; NaN where unknown, ends NaN where there is no interval.
    recorded : float
        As the view was recorded: less than the value where `freed` took out what the guests predict.
    how : str
        A key of `WORDS`: how it is known.
    stream : str
        Where the view was read: the modality's own stream or the fused one.
    """

    value: float
    low: float
    high: float
    recorded: float
    how: str
    stream: str

    @property
    def refused(self) -> bool:
        """Whether less than `LEAST` is its own: then its main directions are other scenes'."""
        return self.value < LEAST

    @property
    def qualified(self) -> bool:
        """Whether less than `CLEAR` is its own, or nobody knows: a similarity is then too small by a fifth or more."""
        return not self.refused and not self.value >= CLEAR


def own_share(features: Features, run: str, modality: str, level: int) -> OwnShare:
    """How much of a run's view of one modality at a level, as questions use it, is that modality's own scene's.

    Parameters
    ----------
    features : Features
        From `load`.
    run, modality, level : str, str, int
        Of `Features.view`; level 0 is all levels side by side, each unit standardised.

    Returns
    -------
    OwnShare

    Notes
    -----
    Features of today say it themselves (`features.Parts.own_share`). Of older ones, whose images had guests of their
    own, it is estimated: by 1 − `guests_share` where there were several draws, as recorded and of the `freed` view that
    questions use. Of one draw no two images share a guest: then it is 1 − R² of what the guests' responses to the other
    modality predict of the view, as recorded, since nothing tells what is left. Both are upper bounds, as what depends
    on image and guest together counts as the image's own.

    Examples
    --------
    >>> from rgbd_insight.features import load
    >>> scenes = load("book/features/scenes")
    >>> found = own_share(scenes, "sum", "rgb", 4)
    >>> own_share(scenes, "sum", "depth", 4).how, found.recorded < 0.8 < found.value
    ('pure', True)
    """
    run = features.resolve(run)

    def found() -> OwnShare:
        if level != WHOLE:
            return _own_share(features, run, modality, level)
        parts = [own_share(features, run, modality, lv) for lv in features.levels(run)]
        widths = [features.view(run, modality, lv).shape[1] for lv in features.levels(run)]
        ends = ("value", "low", "high", "recorded")
        means = (float(np.average([getattr(part, end) for part in parts], weights=widths)) for end in ends)
        worst = min(parts, key=lambda part: part.recorded)
        return OwnShare(*means, how=worst.how, stream=worst.stream)

    return remembered(features, ("own share", run, modality, level), found)


def _own_share(features: Features, run: str, modality: str, level: int) -> OwnShare:
    entry, stream = features.entry(run), _stream(features, run, modality, level)
    other = _others(features, modality)[0]  # the only one in features of earlier versions
    unknown = OwnShare(*4 * [np.nan], "unknown", stream)
    if _pure(features, run, modality, level):
        return OwnShare(1.0, 1.0, 1.0, 1.0, "pure", stream)
    if entry.get("isolation") == SAME:
        rows = (entry.get("isolated") or {}).get("shares", [])
        place = {"stream": stream, "level": level, "modality": modality}
        for row in rows:
            if place.items() <= row.items():
                ends = (np.nan if row[end] is None else row[end] for end in ("low", "high"))
                return OwnShare(row["share"], *ends, row["share"], how="recorded", stream=stream)
        return unknown
    table = _former_guests(features, entry, other)
    if table is None:
        return unknown
    x, groups = features.view(run, modality, level), features.groups
    if len(table) > 1 and groups.max() >= GROUPS - 1:
        was, left = (guests_share(y, groups, table) for y in (x, freed(features, run, modality, level)))
        ends = (float(np.clip(1 - end, 0, 1)) for end in (left.value, left.high, left.low, was.value))
        return OwnShare(*ends, "shared guests", stream)
    if len(x) < IMAGES:
        return unknown
    share = float(np.clip(1 - predictivity(_hosts(features, run, other, level, table), x, groups).r2, 0, 1))
    return OwnShare(share, np.nan, np.nan, share, "predicted", stream)


def _former_guests(features: Features, entry: dict, other: str) -> np.ndarray | None:
    """Every image's own guests (draws, N) in a run of an earlier version; None where they cannot be known.

    Nor where what they lead to in the `other` modality was not recorded.
    """
    whole = features.manifest["fingerprint"].get("n") == len(features)  # of a part, they were drawn from the whole
    if not whole or not isinstance(entry.get("draws"), int) or other not in entry["conditions"]:
        return None
    table = partners(features.samples["group"].tolist(), entry["draws"])
    return table if all(len(np.unique(row)) == len(features) for row in table) else None


def _hosts(features: Features, run: str, other: str, level: int, table: np.ndarray) -> np.ndarray:
    """What the guests `table` (D, N) themselves lead to in the other modality, mean over draws (N, V)."""
    return features.view(run, other, level).astype(float)[table].mean(0)


def guests_share(x: ArrayLike, groups: ArrayLike, table: np.ndarray, plan: Resampling = stats.USUAL) -> Estimate:
    """The share of a view's variance over images that is due to guests, where every image had guests of its own.

    Parameters
    ----------
    x : array (N, U)
        Mean over D guests of the responses to each image.
    groups : array (N,)
        Physical scene of each image, 5 or more.
    table : array of int (D, N)
        The guests, each once a draw: as `features.partners` gives them. D ≥ 2.
    plan : Resampling
        Of the jackknife.

    Returns
    -------
    Estimate
        In [0, 1] but for noise. What depends on image and guest together is not in it.

    Raises
    ------
    ValueError
        Where there is one draw only: no two images share a guest then.

    Notes
    -----
    x_i = own_i + (1/D) Σ_d guest_{i,d} + rest. Two images of different groups that share a guest have the covariance
    σ²_guest/D² beyond that of any two: its mean over such pairs, times D (the variance that D guests put into x), over
    the variance of x between images of different groups. Exact whatever function of the guest it is.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = partners([str(i) for i in range(400)], 4)
    >>> own, guest = rng.normal(size=(2, 400, 20))
    >>> found = guests_share(own + 2 * guest[table].mean(0), np.arange(400), table)  # 2²/4 of guests beside 1
    >>> found.low < 0.5 < found.high
    True
    """
    x, codes = np.asarray(x, float), group_codes(groups)
    if len(table) < 2:
        raise ValueError(f"`table` must hold two draws or more; got {len(table)}: no two images share a guest")
    x = x - x.mean(0)
    statistic = _SharedGuests(x, codes, table)
    return stats.estimate(statistic, codes, plan, null=False)


class _SharedGuests:
    """`guests_share` of some of the images, as `stats.estimate` asks for it."""

    def __init__(self, x: np.ndarray, codes: np.ndarray, table: np.ndarray) -> None:
        self.x, self.codes, self.draws = x, codes, len(table)
        owner = np.argsort(table, axis=1)  # (D, N): who had each sample as a guest
        pairs = np.concatenate([np.stack([owner[a], owner[b]], 1) for a, b in combinations(range(len(table)), 2)])
        self.pairs = pairs[codes[pairs[:, 0]] != codes[pairs[:, 1]]]  # (P, 2), of images of different groups
        self.products = np.einsum("pu,pu->p", x[self.pairs[:, 0]], x[self.pairs[:, 1]])
        self.squares = np.einsum("nu,nu->n", x, x)

    def __call__(self, rows: np.ndarray, partner: np.ndarray) -> float:
        kept = np.zeros(len(self.x), bool)
        kept[rows] = True
        x, codes = self.x[kept], self.codes[kept]
        sums = np.zeros((int(codes.max()) + 1, x.shape[1]))
        np.add.at(sums, codes, x)  # (G, U)
        apart = (len(x) ** 2 - (np.bincount(codes) ** 2).sum()) / 2  # pairs of different groups
        usual = ((x.sum(0) ** 2).sum() - (sums**2).sum()) / 2 / apart
        there = kept[self.pairs].all(1)
        beyond = (self.products[there].mean() - usual) / (1 - there.sum() / apart)
        return float(self.draws * beyond / (self.squares[kept].mean() - usual))


def freed(features: Features, run: str, modality: str, level: int) -> np.ndarray:
    """A view without what its guests predict of it, linearly and held out, where every image had guests of its own.

    Parameters
    ----------
    features : Features
        From `load`.
    run, modality, level : str, str, int
        Of `Features.view`.

    Returns
    -------
    array (N, U)
        The view itself where there were no guests, where they were the same for every image, or are not known.

    Notes
    -----
    Ridge on the mean over draws of the guests' responses to the other modality at that level, over 10 folds of groups;
    the penalty with the least error. What is not linear in these responses stays, and so does what depends on image
    and guest together: `own_share` says how much is left. A correction for features that cannot be extracted again; the
    same guests for every image need none.

    Examples
    --------
    >>> from rgbd_insight.features import load
    >>> scenes = load("book/features/scenes")
    >>> bool(freed(scenes, "sum", "rgb", 4).var() < scenes.view("sum", "rgb", 4).var())
    True
    """
    run = features.resolve(run)

    def found() -> np.ndarray:
        x, entry, other = features.view(run, modality, level), features.entry(run), _others(features, modality)[0]
        if entry.get("isolation") == SAME or _pure(features, run, modality, level):
            return x
        table = _former_guests(features, entry, other)
        if table is None or features.groups.max() < 1:
            return x
        return x - _predicted(_hosts(features, run, other, level, table), x.astype(float), features.groups)

    return remembered(features, ("freed", run, modality, level), found)


def _pure(features: Features, run: str, modality: str, level: int) -> bool:
    """Whether no other input reaches the view, or there is none."""
    others, stream = _others(features, modality), _stream(features, run, modality, level)
    moved = features.purity(run).set_index(["stream", "level", "modality"])["moved"]
    alone = len({*features.conditions(run)} & {modality, *others}) == 1
    return alone or all(moved.get((stream, level, other)) == 0 for other in others)


def _others(features: Features, modality: str) -> list[str]:
    """All modalities of which a guest's input stands beside this one."""
    return [m.name for m in features.whole.modalities if m.name != modality]


def _stream(features: Features, run: str, modality: str, level: int) -> str:
    """Where a view is read: `Features.view`."""
    return modality if features.has(run, modality, level, modality) else "fused"


def _predicted(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The deviations (N, V) of `y` that `x` (N, U) predicts on groups it has not seen, by the best of `PENALTIES`."""
    fold = stats.group_folds(groups, min(FOLDS, int(groups.max()) + 1))
    found = np.zeros((len(PENALTIES), *y.shape))
    for train in (fold != f for f in np.unique(fold)):
        spread = x[train].std(0)
        z = (x - x[train].mean(0)) / np.where(spread > 0, spread, np.inf)
        for i, penalty in enumerate(PENALTIES):
            found[i, ~train] = z[~train] @ ridge(z[train], y[train] - y[train].mean(0), penalty)
    errors = ((y - y.mean(0) - found) ** 2).sum((1, 2))
    return found[errors.argmin()]
