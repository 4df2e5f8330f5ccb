"""Whether what is called a modality's view is that modality's own scene or the guests that stood in for the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rgbd_insight import stats
from rgbd_insight.features import SAME, Features, FeaturesError, partners
from rgbd_insight.metrics import predictivity
from rgbd_insight.metrics.ridge import ridge
from rgbd_insight.questions.networks import TWINS, WHOLE, remembered
from rgbd_insight.result import Missing, Result
from rgbd_insight.stats import Estimate, Resampling, group_codes

GROUPS, IMAGES = 5, 50  # from which an interval can be had, and a prediction fitted
FOLDS, PENALTIES = 10, 10.0 ** np.arange(-2, 2.5, 0.5)  # of the prediction that is taken out
LEAST, CLEAR = 0.5, 0.8  # own shares: below the first a view is refused, below the second it is named
SHARED = (
    "consistent share",
    "specific share",
    "concept ranking",
    "total ranking",
    "label",
    "yardstick",
    "share of",
    "C",
    "S",
)  # how measures begin that rest on the views of both modalities
PREDICTED = (
    "accuracy",
    "class accuracy",
    "utilisation",
    "utilisation by removal",
    "IoU",
    "class IoU",
    "ablation",
    "dose",
    "gradient cosine",
)  # measures that rest on what was predicted, not on a view
AGAIN = "extract it again, ri.extract(model, data, out=…): the guests are then the same for every image, and a constant"
NUMBERS = ["value", "low", "high", "null", "null_high", "p", "ceiling"]
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
    how : str
        A key of `WORDS`: how it is known.
    stream : str
        Where the view was read: the modality's own stream or the fused one.
    """

    value: float
    low: float
    high: float
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
    """How much of a run's view of one modality at a level is that modality's own scene's.

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
    own, it is estimated: by 1 − `guests_share` where there were several draws, by 1 − R² of what the guests' responses
    to the other modality predict of the view where there was one. Both are upper bounds, as what depends on image and
    guest together counts as the image's own.

    Examples
    --------
    >>> from rgbd_insight.features import load
    >>> scenes = load("book/features/scenes")
    >>> own_share(scenes, "sum", "depth", 4).how, own_share(scenes, "sum", "rgb", 4).value < 0.8
    ('pure', True)
    """
    run = features.resolve(run)

    def found() -> OwnShare:
        if level != WHOLE:
            return _own_share(features, run, modality, level)
        parts = [own_share(features, run, modality, lv) for lv in features.levels(run)]
        widths = [features.view(run, modality, lv).shape[1] for lv in features.levels(run)]
        ends = [float(np.average([getattr(p, end) for p in parts], weights=widths)) for end in ("value", "low", "high")]
        worst = min(parts, key=lambda part: part.value)
        return OwnShare(*ends, how=worst.how, stream=worst.stream)

    return remembered(features, ("own share", run, modality, level), found)


def _own_share(features: Features, run: str, modality: str, level: int) -> OwnShare:
    entry = features.entry(run)
    names = [m.name for m in features.modalities]
    stream = modality if features.has(run, modality, level, modality) else "fused"
    moved = features.purity(run).set_index(["stream", "level", "modality"])["moved"]
    (other,) = set(names) - {modality}
    if len({*entry["conditions"]} & {*names}) == 1 or moved.get((stream, level, other)) == 0:
        return OwnShare(1.0, 1.0, 1.0, "pure", stream)
    if entry.get("isolation") == SAME:
        rows = (entry.get("isolated") or {}).get("shares", [])
        place = {"stream": stream, "level": level, "modality": modality}
        for row in rows:
            if place.items() <= row.items():
                ends = (np.nan if row[end] is None else row[end] for end in ("low", "high"))
                return OwnShare(row["share"], *ends, how="recorded", stream=stream)
        return OwnShare(np.nan, np.nan, np.nan, "unknown", stream)
    table = _former_guests(features, entry)
    if table is None:
        return OwnShare(np.nan, np.nan, np.nan, "unknown", stream)
    x, groups = features.view(run, modality, level), features.groups
    if len(table) > 1 and features.groups.max() >= GROUPS - 1:
        part = guests_share(x, groups, table)
        return OwnShare(
            *(float(np.clip(1 - end, 0, 1)) for end in (part.value, part.high, part.low)), "shared guests", stream
        )
    if other in entry["conditions"] and len(x) >= IMAGES:
        hosts = features.view(run, other, level)[table].mean(0)  # (N, V)
        r2 = predictivity(hosts, x, groups).r2
        return OwnShare(float(np.clip(1 - r2, 0, 1)), np.nan, np.nan, "predicted", stream)
    return OwnShare(np.nan, np.nan, np.nan, "unknown", stream)


def _former_guests(features: Features, entry: dict) -> np.ndarray | None:
    """Every image's own guests (draws, N) in a run of an earlier version; None where they cannot be known."""
    whole = features.manifest["fingerprint"].get("n") == len(features)  # of a part, they were drawn from the whole
    if not whole or not isinstance(entry.get("draws"), int):
        return None
    table = partners(features.samples["group"].tolist(), entry["draws"])
    return table if all(len(np.unique(row)) == len(features) for row in table) else None


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
    """A view of an earlier version's features without what its guests predict of it, linearly and held out.

    Parameters
    ----------
    features : Features
        From `load`.
    run, modality, level : str, str, int
        Of `Features.view`.

    Returns
    -------
    array (N, U)
        The view itself where its guests are nobody's or the same for every image.

    Raises
    ------
    FeaturesError
        Where it is not known who the guests were, or their own responses were not recorded.

    Notes
    -----
    Ridge on the mean over draws of the guests' responses to the other modality at that level, over 10 folds of groups;
    the penalty with the least error. What is not linear in these responses stays, and so does what depends on image
    and guest together: ask `guests_share` of the result how much is left. A correction for features that cannot be
    extracted again; the same guests for every image need none.

    Examples
    --------
    >>> from rgbd_insight.features import load
    >>> scenes = load("book/features/scenes")
    >>> freed(scenes, "sum", "rgb", 4).var() < scenes.view("sum", "rgb", 4).var()
    np.True_
    """
    run, x = features.resolve(run), features.view(run, modality, level)
    entry = features.entry(run)
    if entry.get("isolation") == SAME or own_share(features, run, modality, level).how == "pure":
        return x
    (other,) = {m.name for m in features.modalities} - {modality}
    table = _former_guests(features, entry)
    if table is None or other not in entry["conditions"]:
        raise FeaturesError(
            f"`run` must be one whose guests are known, with the condition {other!r}; {run!r} is not: "
            "extract it again, the guests are then the same for every image"
        )
    hosts = features.view(run, other, level).astype(float)[table].mean(0)  # (N, V)
    return x - _predicted(hosts, x.astype(float), features.groups)


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


def judged(features: Features, result: Result) -> Result:
    """The result without the numbers of views that are mostly their guests', and with what is said of mixed ones.

    Parameters
    ----------
    features : Features
        That the result was made of.
    result : Result
        Of a question; numbers of predictions are left alone.

    Returns
    -------
    Result
        Where a view that a row rests on is refused, the row's numbers are NaN; `missing` names the refused and the
        mixed views of every run.

    Notes
    -----
    A view is refused where less than half of its variance is its own scene's (`LEAST`): its main directions, which CKA
    and principal components follow, are then other scenes'. Below .8 (`CLEAR`) it is mixed: what it shares with
    another modality's stream is too small by a fifth or more, and what is called specific is too large, as its other
    seeds had the same guests and repeat what these added.
    """
    names, table = [m.name for m in features.modalities], result.table.copy()
    seen: dict[tuple[str, str, int], OwnShare] = {}
    spoiled = []
    columns = ["measure", "run", "seed", "epoch", "modality", "versus", "level"]
    for cells, part in table.groupby(columns, dropna=False, sort=False):
        places = list(_places(features, names, dict(zip(columns, cells, strict=True))))
        seen |= {place: own_share(features, *place) for place in places}
        spoiled += part.index.tolist() if any(seen[place].refused for place in places) else []
    table.loc[spoiled, NUMBERS] = np.nan
    return replace(result, table=table, missing=tuple(dict.fromkeys([*result.missing, *_told(features, seen)])))


def _places(features: Features, names: list[str], row: dict) -> Iterator[tuple[str, str, int]]:
    """The views (run, modality, level) that a row rests on."""
    if row["run"] == TWINS or row["measure"] in PREDICTED:
        return
    both = row["measure"].startswith(SHARED)
    if not both and row["modality"] not in names:
        return
    levels = [WHOLE] if pd.isna(row["level"]) else [int(row["level"])]
    for run in _runs(features, row):
        for name in names if both else dict.fromkeys([row["modality"], *({row["versus"]} & {*names})]):
            for level in levels:
                yield run, name, level


def _runs(features: Features, row: dict) -> list[str]:
    """The run of a row, and those it is compared with: a checkpoint's end of training, a final run's other seeds."""
    seeds = features.find(seed=row["seed"]) if pd.notna(row["seed"]) else []
    run = row["run"] if row["run"] in features.runs.index else features.resolve(row["run"])
    if row["run"] not in features.runs.index:  # the name of several, of which the row names the first
        run = next((r for r in seeds if r in features.find(fusion=row["run"], role="final")), run)
    entry = features.entry(run)
    if entry["role"] != "final":
        ends = features.find(fusion=entry["fusion"], seed=entry["seed"], role="final")
        return [run, *ends] if row["versus"] == "final" else [run]
    return [run, *features.siblings(run)]


def _told(features: Features, seen: dict[tuple[str, str, int], OwnShare]) -> list[Missing]:
    """What is to be said of views that are refused or mixed, once for each run and modality."""
    kinds: dict[tuple, list[str]] = {}
    for (run, modality, level), share in sorted(seen.items()):
        kind = "refused" if share.refused else "unknown" if np.isnan(share.value) else "mixed"
        if kind != "mixed" or share.qualified:
            where = "all levels" if level == WHOLE else f"level {level}"
            number = "" if kind == "unknown" else f" {share.value:.2f}"
            kinds.setdefault((run, modality, kind, share.how, share.stream), []).append(where + number)
    return [Missing(*_words(*key, ", ".join(found)), AGAIN) for key, found in kinds.items()]


def _words(run: str, modality: str, kind: str, how: str, stream: str, found: str) -> tuple[str, str]:
    """What is missing of a run's views, and why."""
    place = f"{run}'s view of {modality}" + ("" if stream == modality else f", which is read at the {stream} tap")
    if kind == "unknown":
        return (
            f"whether {place} is its own ({found})",
            "guests stood in for the other input; how much is theirs is not known",
        )
    part = f"share of the variance that is its own scene's ({WORDS[how]}): {found}"
    if kind == "refused":
        return place, f"it is mostly other scenes', whose input stood in for the other one; {part}"
    return f"{place}, without its guests", f"other scenes' input stood in for the other one; {part}"
