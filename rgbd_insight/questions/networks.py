"""Which networks a question compares: one run and its other seeds, the twins, or the two halves of one checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, wraps
from itertools import combinations
from typing import Any

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import Features, FeaturesError
from rgbd_insight.questions.guests import WHOLE, freed, remembered
from rgbd_insight.result import Missing, Result, joined
from rgbd_insight.stats import Neighbours, Resampling
from rgbd_insight.stats.order import Shifts
from rgbd_insight.utils.messages import TooFew, Undefined, unknown

TWINS = "twins"
LEAST = 5  # groups: with fewer nothing has an interval
IMAGES, POSITIONS, GRIDS = "images", "positions", "grids"  # what a row of a view is: `Networks.at`


@dataclass(frozen=True)
class Networks:
    """Networks that differ in nothing but their seed.

    Attributes
    ----------
    features : Features
        From `load`.
    name : str
        The fusion, or "twins".
    members : tuple of dict
        For each network, the run of each modality (the same run twice for a fused network).
    ceiling_kind : str
        "other seed", or "split half" where there is one checkpoint only: then the networks are two random halves of
        its units.
    at : str
        What the rows of views, and groups, are of: "images" (a unit's mean over its map), "positions" (the cells that
        are kept of every image) or "grids" (images again, by what stands where in their maps: `Features.grids`).
    """

    features: Features
    name: str
    members: tuple[dict[str, str], ...]
    ceiling_kind: str
    at: str = IMAGES

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities: two where a question compares them (`pairwise`)."""
        return tuple(m.name for m in self.features.modalities)

    @property
    def fused(self) -> bool:
        """Whether both modalities go through one network."""
        return self.name != TWINS

    @property
    def groups(self) -> np.ndarray:
        """What statistics divide into folds and estimates leave out, int (N,): `neighbours_of` the features."""
        return neighbours_of(self.features).groups[self._images]

    def plan(self, permutations: int = stats.USUAL.permutations) -> Resampling:
        """How statistics of `groups` are repeated."""
        plan = neighbours_of(self.features).plan(permutations=permutations)
        if self.at == IMAGES or not plan.shifts:
            return plan
        return replace(plan, shifts=Shifts.of(self.features.groups[self._images]))

    @property
    def _images(self) -> np.ndarray | slice:
        """The image of each row of a view."""
        if self.at == POSITIONS:
            return self.features.cell_table["sample"].to_numpy()
        return self.features.grid_samples if self.at == GRIDS else slice(None)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Levels that every member has."""
        found = [set(self.features.levels(run)) for member in self.members for run in member.values()]
        return tuple(sorted(set.intersection(*found)))

    def view(self, network: int, modality: str, level: int) -> np.ndarray:
        """What a network makes of one modality alone, (N, U); level 0 is all levels, each unit standardised."""
        run, levels = self.members[network][modality], self.levels if level == WHOLE else (level,)
        read = {IMAGES: partial(freed, self.features), POSITIONS: self.features.cells, GRIDS: self.features.grids}
        views = [self._half(network, read[self.at](run, modality, lv)) for lv in levels]
        if not any(view.shape[1] for view in views):
            raise Undefined(
                f"`run` must have two units or more at level {level}, or another seed; of one unit no half is left "
                "to compare it with. Extract another seed."
            )
        if level != WHOLE:
            return views[0]
        joined = np.hstack(views)
        joined = np.ldexp(joined, -np.frexp(np.abs(joined).max(0))[1])  # changes no digit, and squares stay finite
        spread = joined.std(0)
        return (joined - joined.mean(0)) / np.where(spread > 0, spread, 1)

    def _half(self, network: int, x: np.ndarray) -> np.ndarray:
        if self.ceiling_kind != "split half":
            return x
        if self.at == GRIDS:
            raise Undefined("grids hold all units: of one checkpoint there are no halves; extract another seed")
        order = np.random.default_rng(x.shape[1]).permutation(x.shape[1])
        return x[:, np.sort(order[network::2])]

    def seen_from(self, network: int) -> Networks:
        """The same networks with another one as the first."""
        rest = [member for i, member in enumerate(self.members) if i != network]
        return replace(self, members=(self.members[network], *rest))

    def across(self, level: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(first modality of i, second modality of j) for i ≠ j: never one network with itself."""
        a, b = self.modalities
        return [(self.view(i, a, level), self.view(j, b, level)) for i, j in self._pairs]

    def within(self, modality: str, level: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same modality in networks i and j, i ≠ j: the ceiling."""
        return [(self.view(i, modality, level), self.view(j, modality, level)) for i, j in self._pairs if i < j]

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        count = len(self.members)
        return [(i, j) for i in range(count) for j in range(count) if i != j]

    def cells(self, level: int | None = None) -> dict:
        """The columns of a result's row that say which network this is."""
        e = self.features.entry(next(iter(self.members[0].values())))
        epoch = np.nan if "epoch" in e["about"].get("unknown", "") else e["epoch"]  # it is filed under one at any rate
        return {"run": self.name, "fusion": self.name, "seed": e["seed"], "epoch": epoch, "level": level}


def networks(features: Features, run: str) -> Networks:
    """The networks that `run` names: a run id or fusion (with its other seeds), or "twins".

    Raises
    ------
    FeaturesError
        Where there is no such run, or the twins are incomplete.
    ValueError
        Where there are too few groups for any interval.

    Notes
    -----
    A run of which there is one seed only is divided into two halves of its units.
    """
    names, count = [m.name for m in features.modalities], int(features.groups.max()) + 1
    if len(names) < 2:
        raise FeaturesError(
            f"`features` must be of two modalities or more; {features.path} has {names[0]} alone: extract a network of "
            "two inputs"
        )
    if count < LEAST:
        raise TooFew(
            f"`features` must hold at least {LEAST} groups; got {count} in {features.path}. An interval over groups "
            "needs more scenes; more views of the same scenes do not help."
        )
    if run == TWINS:
        seeds = [set(features.runs.loc[features.find(fusion=m, role="final"), "seed"]) for m in names]
        both = sorted(set.intersection(*seeds))
        if not both:
            raise FeaturesError(
                f'`run` "twins" needs a run of each modality with the same seed; {features.path} has none of '
                f"{' or '.join(names)}. Train and extract the fusions {' and '.join(map(repr, names))} with one seed."
            )
        members = tuple({m: features.find(fusion=m, seed=s, role="final")[0] for m in names} for s in both)
    else:
        run = features.resolve(run)
        seen = set(features.conditions(run)) & set(names)  # a wide twin has another name and one modality too
        if features.entry(run)["fusion"] in names or len(seen) == 1:
            raise FeaturesError(
                f"`run` must see more than one modality; {run!r} sees {' and '.join(sorted(seen)) or 'one'} alone. "
                f'Ask for "twins" to compare it with its twin.'
            )
        members = tuple(dict.fromkeys(names, r) for r in (run, *features.siblings(run)))
    name = TWINS if run == TWINS else features.entry(run)["fusion"]
    if len(members) == 1:
        return Networks(features, name, members * 2, "split half")
    return Networks(features, name, members, "other seed")


def neighbours_of(features: Features) -> Neighbours:
    """Whether groups that follow each other are alike, by all that the final runs make of each modality alone.

    It is asked of the features, not of a network, so that all estimates of the same images share their blocks. Where no
    responses were kept, the areas of the concepts stand in for them.
    """
    features = features.whole

    def make() -> Neighbours:
        if (np.diff(features.groups) < 0).any():
            return Neighbours.unknown(features.groups, "the samples of a group do not stand together")
        runs = [
            run for name in features.runs["fusion"].unique() for run in features.find(fusion=name, role="final")[:1]
        ]
        views = [
            features.view(run, m.name, level)
            for run in runs
            for m in features.modalities
            for level in features.levels(run)
            if any(features.has(run, stream, level, m.name) for stream in (m.name, "fused"))
        ]
        return stats.neighbours(views or [features.areas], features.groups)

    return remembered(features, "neighbours", make)


def pairwise(question: Callable[..., Result]) -> Callable[..., Result]:
    """A question about two modalities, which of features with more is asked of every pair.

    Each row then names the pair, in `modality` and `versus`; what is said of one modality beside either of two others
    stands in two rows, as the number of things that an interval holds for together may differ.
    """

    @wraps(question)
    def ask(features: Features, *args: Any, **options: Any) -> Result:
        names = [m.name for m in features.modalities]
        if len(names) <= 2:
            return question(features, *args, **options)
        pairs = list(combinations(names, 2))
        answers = [question(features.pair(*pair), *args, **options) for pair in pairs]
        every = [m for m in answers[0].missing if all(m in answer.missing for answer in answers)]
        parts = []
        for (a, b), answer in zip(pairs, answers, strict=True):
            table = answer.table.astype({"modality": object, "versus": object})
            rest = [m for m in answer.missing if m not in every]
            other, alone = table["modality"].map({a: b, b: a}), table["modality"].isna()
            table["versus"] = table["versus"].where(table["versus"].notna(), other.where(~alone, b))
            table.loc[alone, "modality"] = a
            told = (*every, *(replace(m, what=f"{m.what} ({a} and {b})") for m in rest))
            parts.append(replace(answer, table=table, missing=told))
        found = joined(parts)
        return replace(found, table=found.table.drop_duplicates(ignore_index=True))

    return ask


def missing_seeds(nets: Networks) -> list[Missing]:
    """What a single checkpoint cannot say."""
    if nets.ceiling_kind == "other seed":
        return []
    return [
        Missing(
            f"a second seed of {nets.name}",
            "ceilings are taken between two halves of one network's units, and are higher than between two seeds",
            f'train and extract {nets.name} with another seed, then ri.load("{nets.features.path}") again',
        )
    ]


def made(features: Features, plan: Resampling, *, null: bool = False, **options: Any) -> dict:
    """How a result was made: of what, by how many blocks and, with a `null`, permutations or shifts; and `warnings`."""
    devices = sorted({r["device"].get("name", r["device"]["type"]) for r in features.execution["runs"]})
    found = neighbours_of(features)
    return {
        "data": features.manifest["name"],
        "samples": len(features),
        "devices": devices,
        "path": str(features.path),
        "classes": len(features.classes),
        **({"own concepts": [str(own) for own in features.own]} if features.own else {}),
        **plan.made(found.groups, null=null),
        **found.made(),
        **options,
    }


def chosen_levels(nets: Networks, levels: Sequence[int] | None, *, whole: bool = False) -> tuple[int, ...]:
    """The levels asked for, or all; with `whole`, 0 (all levels side by side) is one of them."""
    known = (*nets.levels, 0) if whole else nets.levels
    if levels is None:
        return known
    wrong = [level for level in levels if level not in known]
    if wrong or not levels:
        raise ValueError(f"`levels` must be among {', '.join(map(str, known))}; got {list(levels)}")
    return tuple(levels)


def chosen_measures(measures: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The measures asked for; an unknown name lists the nearest."""
    measures = (measures,) if isinstance(measures, str) else tuple(measures)
    for name in measures:
        if name not in known:
            raise ValueError(unknown("measures", name, known))
    return measures
