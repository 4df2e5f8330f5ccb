"""Both axes: how alike two streams are, how differently they speak of concepts, and the score that joins them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import combinations_with_replacement, permutations

import numpy as np

from rgbd_insight import metrics, stats
from rgbd_insight.features import Features, FeaturesError
from rgbd_insight.metrics.joint import QUADRANTS, QuadrantShares, joint_score, plug_in_scale, semantic_scale
from rgbd_insight.metrics.semantic import concept_variance
from rgbd_insight.questions.asking import SEEDS, Answer
from rgbd_insight.questions.networks import (
    GRIDS,
    IMAGES,
    POSITIONS,
    TWINS,
    Networks,
    chosen_levels,
    chosen_measures,
    made,
    missing_seeds,
    networks,
    pairwise,
    remembered,
)
from rgbd_insight.questions.positions import FOLDS, decoded_at_cells
from rgbd_insight.questions.specificity import Probed, probe
from rgbd_insight.result import Missing, Result, numbers
from rgbd_insight.stats import Estimate, Resampling, averaged
from rgbd_insight.utils.messages import TooFew, unknown

Number = float | np.ndarray
SIMILARITY, VARIANCE, SCORE = "feature similarity", "semantic variance", "joint discrepancy"
MOVED, UNITS = "moved by joint training", "units in quadrant"
RAW = " raw"  # before it is put between null and ceiling
ENDS = {SIMILARITY: (0.0, 1.0), VARIANCE: (1.0, 0.0), SCORE: (1.0, 0.0)}  # of unrelated streams, and of two seeds
PAIRS = " of levels"  # of every level with every level
PLANE = (SIMILARITY, SIMILARITY + RAW, VARIANCE, VARIANCE + RAW, SCORE, MOVED)
MEASURES = (*PLANE, UNITS, SIMILARITY + PAIRS, VARIANCE + PAIRS)
PLACES = {  # what stands for an image: which measures it has, and what is said of the others
    IMAGES: (MEASURES, ""),
    POSITIONS: (
        tuple(m for m in MEASURES if m != UNITS),
        "what a unit says of a concept at positions is said of its surroundings too: no strata hold them",
    ),
    GRIDS: (
        (SIMILARITY, SIMILARITY + RAW, MOVED, SIMILARITY + PAIRS),
        'grids are kept as inner products of images: what is decoded from them is at="positions"',
    ),
}


@pairwise
def joint(
    features: Features,
    run: str,
    *,
    levels: Sequence[int] | None = None,
    measures: Sequence[str] = PLANE,
    at: str = IMAGES,
    permutations: int = 200,
) -> Result:
    """Feature similarity and semantic variance of the two modalities at every level, on one scale, and their join.

    Parameters
    ----------
    features : Features
        From `load`; needs the source-isolated conditions.
    run : str
        A run id or fusion name, or "twins" for the two unimodal networks.
    levels : sequence of int, optional
        Default all.
    measures : sequence of str
        Any of "feature similarity" (debiased CKA, 0 at its null and 1 between two seeds of one modality), "semantic
        variance" (of what can be decoded, 0 between two seeds of one modality and 1 where no concept is decoded from
        both modalities), "joint discrepancy" (½ (1 − similarity + variance)), the first two with " raw" appended (as
        measured: `null` is the value of streams with nothing in common, `ceiling` that of two seeds), "moved by joint
        training" (how far a fused network stands from its twins on the axis in `label`), and "units in quadrant" (the
        share of units that are alike or not and agree or not, see `QuadrantShares`; a few seconds a level).
    at : str
        What is compared: "images" (a unit's mean over its map), "positions" (places of the images: what a unit answers
        in each cell that was kept, where other things, the rest of the image and the place are alike) or "grids"
        (images, by what stands where in their maps: similarity alone). The last two need `extract(..., cells=16)`.
    permutations : int
        For the null of the similarity, at least 20.

    Returns
    -------
    Result
        Every number is of pairs of networks of different seeds, mean over them. Of similarity and variance, what
        cannot be put on the scale is in `missing`; the discrepancy then stands on the other, and its `label` says so.

    Raises
    ------
    FeaturesError
        Where the run or a needed response is missing.
    ValueError
        For an unknown level, measure or `at`.

    Notes
    -----
    With c the debiased CKA between the modalities, c₀ its mean under permuted groups and c₁ the one between two seeds
    of one modality (mean over both), s = (c − c₀)/(c₁ − c₀). With V = mean_k ½ (δ_1k − δ_2k)² over concepts, V₀ the one
    between two seeds of one modality and V₁ = mean_k ½ (δ_1k² + δ_2k²), v = (V − V₀)/(V₁ − V₀); see `semantic_scale`.
    Either is missing where its denominator is less than 3 standard errors. The joint
    discrepancy is `joint_score`; its properties are proved there. All intervals are from the same leave-outs.

    At positions the rows of both streams are cells. The null of c exchanges whole images, each cell for the one in the
    same block of another image, so that s = 0 is what the place alone makes alike; δ is that of `PositionDecodability`
    within strata of `cell_context`. Groups are those of the images, so that cells of one image are never two cases.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> photographs = ri.load("book/features/nyuv2")
    >>> alone, together = (ri.joint(photographs, run, levels=[4]).one("joint discrepancy") for run in ("twins", "sum"))
    >>> bool(alone.high < together.low)  # trained together, the streams stay further apart
    True
    """
    if at not in PLACES:
        raise ValueError(unknown("at", at, PLACES))
    nets = replace(networks(features, run), at=at)
    plan = nets.plan(permutations)
    levels, measures = chosen_levels(nets, levels), chosen_measures(measures, MEASURES)
    known, why = PLACES[at]
    none = [m for m in measures if m not in known]
    call = f'ri.joint(features, {run!r}, at="{IMAGES}")'
    found = Answer(features, [*missing_seeds(nets), *(Missing(f"{m} at {at}", why, call) for m in none)])
    measures = [m for m in measures if m in known]
    twins = _twins(nets) if MOVED in measures else None
    for level in levels:
        if set(measures) & set(PLANE):
            with found.asking("both axes", nets, level):
                axes = axes_of(nets, level, plan)
                found.rows += [row for row in _rows(nets, level, axes) if row["measure"] in measures]
                found.missing += [
                    Missing(f"{axis} at level {level} of {nets.name}", why, SEEDS) for axis, why in axes.missing.items()
                ]
                if twins is not None and level in twins.levels:
                    found.rows += _moved(nets, twins, level, plan)
        if UNITS in measures:
            with found.asking(UNITS, nets, level):
                found.rows += _quadrants(nets, level, plan)
    for measure, ask in ((SIMILARITY + PAIRS, _similarity_of_levels), (VARIANCE + PAIRS, _variance_of_levels)):
        if measure in measures:
            with found.asking(measure):
                found.rows += [row | {"measure": measure} for row in ask(nets, levels, plan)]
    null = any(row["measure"].startswith((SIMILARITY, SCORE)) for row in found.rows)
    return found.result("joint", made(features, plan, null=null, at=at), nets)


@dataclass(frozen=True, eq=False)
class Axes:
    """Where two modalities stand at a level.

    Attributes
    ----------
    raw : dict of str to dict
        Axis → columns of its row as measured, with the values of unrelated streams and of two seeds.
    scaled : dict of str to Estimate
        Feature similarity, semantic variance and joint discrepancy on their scales; without those that have none.
    missing : dict of str to str
        Axis → why it cannot be put on its scale.
    """

    raw: dict[str, dict]
    scaled: dict[str, Estimate]
    missing: dict[str, str]


def axes_of(nets: Networks, level: int, plan: Resampling) -> Axes:
    """Both axes and their join; made once, as several figures and chapters ask for them."""

    def make() -> Axes:
        similarity, alike = _similarity(nets, level, plan)
        if nets.at == GRIDS:
            why = {SIMILARITY: similarity.missing} if similarity.missing else {}
            return Axes({SIMILARITY: alike}, {} if why else {SIMILARITY: similarity}, why)
        agreement, spoken = _variance(nets, level, plan)
        scaled = {SIMILARITY: similarity, VARIANCE: stats.combine(lambda a: 1 - a, agreement)}
        missing = {name: one.missing for name, one in ((SIMILARITY, similarity), (VARIANCE, agreement)) if one.missing}
        scaled = {name: one for name, one in scaled.items() if np.isfinite(one.value)}
        if scaled:
            names, parts = zip(*scaled.items(), strict=True)

            def score(*values: np.ndarray) -> np.ndarray:
                known = dict(zip(names, values, strict=True))
                return joint_score(*(known.get(axis, np.nan) for axis in (SIMILARITY, VARIANCE)))

            scaled[SCORE] = stats.combine(score, *parts)
        return Axes({SIMILARITY: alike, VARIANCE: spoken}, scaled, missing)

    return remembered(nets.features, ("axes", nets.name, str(nets.members), nets.at, level, plan), make)


def _similarity(nets: Networks, level: int, plan: Resampling) -> tuple[Estimate, dict]:
    """Between null and ceiling; and as measured, with both."""
    across = _alike(nets, nets.across(level), plan)
    own = [_alike(nets, nets.within(m, level), plan, null=False) for m in nets.modalities]
    ceiling = float(np.mean([one.value for one in own]))
    return stats.normalised([across], across.null, own), numbers(across) | {"ceiling": ceiling}


def _alike(
    nets: Networks, pairs: Sequence[tuple[np.ndarray, np.ndarray]], plan: Resampling, *, null: bool = True
) -> Estimate:
    """Debiased CKA of streams, mean over pairs of networks."""
    every = [metrics.MEASURES["debiased_cka"].statistic(x, y, nets.groups) for x, y in pairs]
    return stats.estimate(averaged(every), nets.groups, plan, null=null)


def _unbiased(value: Number, plain: Callable[..., Number], deltas: Sequence[Estimate]) -> Estimate:
    """`value`, with the leave-outs of `plain` of all δ: what that is biased by is the same without a block."""
    bias = plain(*(delta.value for delta in deltas)) - value
    return stats.combine(lambda *values: plain(*values) - bias, *deltas)


def _variance(nets: Networks, level: int, plan: Resampling) -> tuple[Estimate, dict]:
    """What is agreed on, 0 where nothing is decoded from both and 1 between two seeds; and as measured, with both."""
    found = [_probed(nets, m, level, plan) for m in nets.modalities]
    known = _decoded([one for side in found for one in side])
    whole = astuple(semantic_scale(*(np.stack([one.by_fold[:, known] for one in side]) for side in found)))
    deltas = [one.delta for side in found for one in side]

    def scale(*values: np.ndarray) -> np.ndarray:
        """(3,) from δ (K,) of every network."""
        first, second = np.split(np.stack(values)[:, known], 2)
        return np.array(astuple(plug_in_scale(first, second)))

    three = _unbiased(whole, scale, deltas)
    between, floor, apart = (three[at] for at in range(3))
    ends = {"null": apart.value, "ceiling": floor.value}
    agreed = [stats.combine(np.negative, one) for one in (between, apart, floor)]  # which rises from apart to seeds
    return stats.normalised(*agreed), numbers(between) | ends


def _probed(nets: Networks, modality: str, level: int, plan: Resampling) -> list[Probed]:
    """What is decoded from a level of every network, of images or at positions."""
    if nets.at == IMAGES:
        return [probe(nets, x, plan, folds=FOLDS) for x in _streams(nets, modality, level)]
    found = [decoded_at_cells(nets, modality, level, plan, network=i) for i in range(len(nets.members))]
    return [Probed(delta[0], delta.value[1:], reason, np.empty((0, len(reason)))) for delta, reason in found]


def _decoded(found: Sequence[Probed]) -> np.ndarray:
    """Which concepts (K,) have δ, in every fold too, and an interval in all networks."""
    known = np.all([np.isfinite([one.delta.se, *one.by_fold]).all(0) for one in found], axis=0)
    if not known.any():
        raise TooFew(f"none of {len(known)} concepts is shown, and missing, in enough images and groups")
    return known


def _streams(nets: Networks, modality: str, level: int) -> list[np.ndarray]:
    """What every network makes of one modality at a level."""
    return [nets.view(i, modality, level) for i in range(len(nets.members))]


def _rows(nets: Networks, level: int, found: Axes) -> list[dict]:
    cells = _cells(nets, level)
    rows = [cells | {"measure": axis + RAW} | row for axis, row in found.raw.items()]
    for name, one in found.scaled.items():
        unrelated, seeds = ENDS[name]
        alone = f"{next(iter(found.scaled))} alone" if name == SCORE and len(found.scaled) == 2 else None
        row = {"measure": name, "null": unrelated, "ceiling": seeds, "label": alone}
        rows.append(cells | _number(one) | row)
    return rows


def _cells(nets: Networks, level: int) -> dict:
    """The columns that say what is compared; `judged` takes the name of several runs for those that are trained."""
    first, second = nets.modalities
    run = nets.members[0][first]
    name = nets.name if nets.features.entry(run)["role"] == "final" else run
    return nets.cells(level) | {"run": name, "modality": first, "versus": second, "ceiling_kind": nets.ceiling_kind}


def _number(found: Estimate) -> dict:
    """Its columns, without the null of what it was made from."""
    return {name: cell for name, cell in numbers(found).items() if name not in ("null", "null_high", "p")}


def _moved(nets: Networks, twins: Networks, level: int, plan: Resampling) -> list[dict]:
    """How far joint training moved a level along either axis, and their join, from where the twins stand."""
    here, there = (axes_of(n, level, plan).scaled for n in (nets, twins))
    return [
        _cells(nets, level)
        | {"measure": MOVED, "label": name}
        | _number(stats.combine(np.subtract, here[name], there[name]))
        for name in here
        if name in there
    ]


def _twins(nets: Networks) -> Networks | None:
    """The unimodal networks of the same encoders beside a fused one, where there are any."""
    try:
        found = replace(networks(nets.features, TWINS), at=nets.at) if nets.fused else None
    except FeaturesError:
        return None
    if found is None:
        return None
    alike = (nets.features.same_encoder(nets.members[0][m], run, m) for m, run in found.members[0].items())
    return found if all(alike) else None


def _places(nets: Networks, levels: Sequence[int]) -> list[tuple[str, int]]:
    return [(modality, level) for modality in nets.modalities for level in levels]


def _of_places(nets: Networks, levels: Sequence[int], found: Callable[..., Estimate]) -> list[dict]:
    """A row for every two places, `found` of the streams of networks i ≠ j at either."""
    rows, cells = [], {"ceiling_kind": nets.ceiling_kind}
    for (a, level), (b, other) in combinations_with_replacement(_places(nets, levels), 2):
        one = numbers(found((a, level), (b, other)))
        for (m, at), (n, beside) in {((a, level), (b, other)), ((b, other), (a, level))}:
            rows.append(nets.cells(at) | cells | {"modality": m, "versus": f"{n} {beside}"} | one)
    return rows


def _similarity_of_levels(nets: Networks, levels: Sequence[int], plan: Resampling) -> list[dict]:
    def found(first: tuple[str, int], second: tuple[str, int]) -> Estimate:
        pairs = [(nets.view(i, *first), nets.view(j, *second)) for i, j in permutations(range(len(nets.members)), 2)]
        return _alike(nets, pairs, plan, null=False)

    return _of_places(nets, levels, found)


def _variance_of_levels(nets: Networks, levels: Sequence[int], plan: Resampling) -> list[dict]:
    probed = {place: _probed(nets, *place, plan) for place in _places(nets, levels)}
    known = _decoded([one for networks in probed.values() for one in networks])

    def found(first: tuple[str, int], second: tuple[str, int]) -> Estimate:
        pairs = [(a, b) for i, a in enumerate(probed[first]) for j, b in enumerate(probed[second]) if i != j]
        value = np.mean([concept_variance(a.by_fold[:, known], b.by_fold[:, known]) for a, b in pairs])

        def plain(*deltas: np.ndarray) -> float:
            return float(np.mean([(a - b)[known] ** 2 / 2 for a, b in zip(deltas[::2], deltas[1::2], strict=True)]))

        return _unbiased(value, plain, [one.delta for pair in pairs for one in pair])

    return _of_places(nets, levels, found)


def _quadrants(nets: Networks, level: int, plan: Resampling) -> list[dict]:
    """The share of the first modality's units, and of the second's, in each quadrant.

    A share has two sources of error, the images and which units there are: their intervals are squared and added
    (Zou and Donner, Statistics in Medicine 2008). That of the images alone is of no width where no unit is near a
    boundary.
    """
    rows = []
    for modality, other in (nets.modalities, nets.modalities[::-1]):
        sides = [_streams(nets, m, level) for m in (modality, other)]
        found = stats.estimate(
            QuadrantShares(*sides, nets.features.present, nets.groups), nets.groups, plan, null=False
        )
        units = sum(x.shape[1] for x in sides[0])
        cells = _cells(nets, level) | {"measure": UNITS, "modality": modality, "versus": other}
        for at, name in enumerate(QUADRANTS):
            row = numbers(found, at)
            ends = stats.proportion_interval(round(row["value"] * units), units)
            for end, of_units in zip(("low", "high"), ends, strict=True):
                reach = np.hypot(row[end] - row["value"], of_units - row["value"])
                row[end] = float(np.clip(row["value"] + (reach if end == "high" else -reach), 0, 1))
            rows.append(cells | {"label": name} | row)
    return rows
