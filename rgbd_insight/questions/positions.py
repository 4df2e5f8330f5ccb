"""What can be decoded at places of the image, compared with places where the same other things stand: δ, Δ, labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import LOOKS, Features, TensorKey
from rgbd_insight.metrics.positions import PositionDecodability
from rgbd_insight.metrics.semantic import concept_variance
from rgbd_insight.metrics.strata import cooccurrence_strata
from rgbd_insight.questions.networks import POSITIONS as CELLS
from rgbd_insight.questions.networks import WHOLE, Networks, neighbours_of, remembered
from rgbd_insight.result import Missing, numbers
from rgbd_insight.stats import Estimate, Resampling

AT = " at positions"
POSITIONS = tuple(measure + AT for measure in ("decodability", "difference", "label", "semantic variance"))
CUT = 0.25  # share of a cell from which a concept is there: of the coarsest grid a cell is as large as a whole object
TRACE = 0.05  # share of a cell from which something is there in part: too much for "absent", too little for "present"
FOLDS, COMPONENTS, STRATA = 5, 32, 10
WIDESPREAD = 0.5  # share of the images from which a class is what other things stand in front of
CERTIFIED = (WHOLE,)  # levels at which the bound of what is hidden, measured on planted scenes, is below the margin


def cell_context(features: Features) -> np.ndarray:
    """What each cell is compared by (C, 2K + 5): other things in it, what the rest of the image holds, and its place.

    Parameters
    ----------
    features : Features
        With cells.

    Returns
    -------
    array (C, 2K + 5)
        Presence in the cell (0 for looks and for what is widespread), area in the rest of the image, then place.

    Notes
    -----
    A label covers what is behind it, so that "another thing is here" says that this one is not: whoever sees the other
    would be credited with this one. Only what is widespread (walls, floors) stands behind things and is left out. What
    the pixels of the cell itself look like is left out too: by that the concept is seen.
    """
    shares, sample = features.cell_shares, features.cell_table["sample"].to_numpy()
    cells = np.prod(features.manifest["cells"]["grid"])
    rest = np.maximum(features.areas[sample] - shares / cells, 0)  # (C, K)
    row, column = features.cell_table[["row", "column"]].to_numpy().T
    place = np.stack([row, column, row**2, column**2, row * column], 1)
    return np.hstack([(shares >= TRACE) & things(features), rest, place])


def things(features: Features) -> np.ndarray:
    """Which concepts are things, of which one hides what is behind it (K,): labels that are not widespread."""
    cells = np.prod(features.manifest["cells"]["grid"])
    widespread = (features.areas >= CUT / cells).mean(0) >= WIDESPREAD
    return ~features.concepts["family"].isin(LOOKS).to_numpy() & ~widespread


class Cells:
    """Cells of features with what stands in them, and the strata in which they are compared.

    Attributes
    ----------
    present : array of bool (C, K)
        Which cell shows which concept: at least `CUT` of it.
    groups : array of int (C,)
        Of each cell, as `neighbours_of` has them.
    things : array of bool (K,)
        As `things`.
    strata : array of int (C, K)
        Cells in which a concept is about equally expected from all else (those with a little of it by themselves); one
        stratum where `context` is False.
    """

    def __init__(self, features: Features, *, context: bool = True) -> None:
        self.present, self.things = features.cell_shares >= CUT, things(features)
        self.groups = neighbours_of(features).groups[features.cell_table["sample"].to_numpy()]
        self.strata = np.zeros(self.present.shape, np.int8)
        if context:
            options = {"own": 2, "levels": STRATA, "folds": FOLDS}
            self.strata = cooccurrence_strata(cell_context(features), self.present, self.groups, **options)
            self.strata[~self.present & (features.cell_shares >= TRACE)] = STRATA  # where a concept is in part

    def probe(self, x: np.ndarray, plan: Resampling, *, absence: bool = False) -> tuple[Estimate, np.ndarray]:
        """δ from responses (C, U), over all folds and in each (1 + F, K), and why a concept has none (K,).

        With `absence`, δ gives no credit for places that look empty: `PositionDecodability`, `rivals`.
        """
        rivals = self.things if absence else None
        statistic = PositionDecodability(
            x, self.present, self.groups, strata=self.strata, rivals=rivals, components=COMPONENTS, folds=FOLDS
        )
        return stats.estimate(statistic, self.groups, plan, null=False), statistic.reason


def decoded_at_cells(
    nets: Networks,
    modality: str,
    level: int,
    plan: Resampling,
    *,
    network: int | None = None,
    context: bool = True,
    absence: bool = False,
) -> tuple[Estimate, np.ndarray]:
    """δ of every concept at cells from a network's stream of a modality, as `Cells.probe`.

    Level 0 is all side by side; without `context`, all cells of a fold are compared. None is the first network with all
    of its units, also where a number stands for one half of them.
    """
    nets = replace(nets, at=CELLS, ceiling_kind="none" if network is None else nets.ceiling_kind)
    features, number = nets.features, network or 0
    cells = remembered(features, ("cells", context), lambda: Cells(features, context=context))

    def found() -> tuple[Estimate, np.ndarray]:
        return cells.probe(nets.view(number, modality, level), plan, absence=absence)

    half = number if nets.ceiling_kind == "split half" else None
    asked = (context, absence, nets.members[number][modality], half, modality, level, plan.blocks, plan.shifts)
    return remembered(features, ("at cells", *asked), found)


def decoded_from_images(nets: Networks, modality: str, level: int, plan: Resampling) -> Estimate:
    """δ (K,) of whole images, by the same statistic. Strata as `specificity` has them."""
    features, groups = nets.features, nets.groups

    def found() -> Estimate:
        strata = np.zeros(features.present.shape, np.int8)
        if not planted(features):  # planted presence is independent
            strata = cooccurrence_strata(features.areas, features.present, groups, folds=FOLDS)
        x = nets.view(0, modality, level)
        one = PositionDecodability(x, features.present, groups, strata=strata, components=COMPONENTS, folds=FOLDS)
        return stats.estimate(one, groups, plan, null=False)[0]

    return remembered(features, ("from images", *nets.members[0].items(), modality, level, plan.blocks), found)


def absence(nets: Networks, modality: str, level: int, plan: Resampling) -> Estimate:
    """δ (K,) whose upper bound says that a modality does not show a concept.

    At positions where concepts are planted and the level is in `CERTIFIED`: the largest upper bound of what is hidden
    was measured below the margin there (the table "positions_scenes", `hidden_bound`). Else of whole images.
    """
    if level in CERTIFIED and planted(nets.features):
        return decoded_at_cells(nets, modality, level, plan, absence=True)[0][0]
    return decoded_from_images(nets, modality, level, plan)


def planted(features: Features) -> bool:
    """Whether it is known of some concept who shows it."""
    return bool(features.concepts["kind"].ne("unknown").any())


def position_labels(
    seen: Sequence[Estimate], absent: Sequence[Estimate], *, names: tuple[str, str], margin: float
) -> np.ndarray:
    """Label every concept by who shows it at its place: one of names, both, neither, undecided (K,).

    Parameters
    ----------
    seen, absent : pair of Estimate (K,)
        δ of either modality whose lower bound says that it is there, and whose upper bound says that it is not.
    names : pair of str
        Of the modalities.
    margin : float
        δ that counts as decodable.

    Notes
    -----
    As `concept_labels`, but for two things. Presence and absence have a δ each (`absence`). And nothing is `together`:
    halves of a conjunction are rare at any one place, so that each tells nearly as much as both. On planted scenes δ of
    a conjunction is .90 to .93 from one modality alone, its lower bound above .9 for the better of them: reading both
    cannot gain the margin, however well they are read.
    """
    there, gone = [e.low > margin for e in seen], [e.high < margin for e in absent]
    there = [a & ~b for a, b in zip(there, gone, strict=True)]  # bounds that contradict each other decide nothing
    gone = [b & ~(e.low > margin) for b, e in zip(gone, seen, strict=True)]
    rules = [there[0] & gone[1], there[1] & gone[0], there[0] & there[1], gone[0] & gone[1]]
    return np.select(rules, [*names, "both", "neither"], "undecided")


def position_rows(
    nets: Networks,
    level: int,
    measures: Sequence[str],
    plan: Resampling,
    margin: float,
) -> tuple[list[dict], list[Missing]]:
    """Rows of `specificity` at positions, and the concepts that are seen too rarely.

    Parameters
    ----------
    nets : Networks
        Whose first network is asked.
    level : int
        0: all side by side.
    measures : sequence of str
        Some of `POSITIONS`; others are passed over.
    plan : Resampling
        Of the jackknife.
    margin : float
        δ that counts as decodable.
    """
    if not set(measures) & set(POSITIONS):
        return [], []
    features, names = nets.features, nets.modalities
    runs = {m: nets.members[0][m] for m in names}
    without = [run for run in runs.values() if not features.has_cells(run)]
    if without:
        call = f"ri.extract(model, data, taps, out={str(features.path)!r}, cells=16)"
        return [], [
            Missing(f"{run}{AT}", "no responses at cells were recorded", call) for run in dict.fromkeys(without)
        ]
    (a, b), found = names, [decoded_at_cells(nets, m, level, plan) for m in names]
    first, second = (delta for delta, _ in found)
    valued = np.flatnonzero(np.isfinite(first[0].value) & np.isfinite(second[0].value))
    together = max(2 * len(valued), 1)
    answers = {
        POSITIONS[1]: stats.combine(np.subtract, first[0], second[0]).simultaneous(together),
        POSITIONS[3]: stats.combine(concept_variance, first[1:], second[1:]).simultaneous(max(len(valued), 1)),
    }
    rows = [
        concept_cells(nets, level, k) | {"measure": measure, "modality": a, "versus": b} | numbers(answer, k)
        for measure, answer in answers.items()
        if measure in measures
        for k in valued
        if np.isfinite(answer.value[k])
    ]
    sides = [first[0].simultaneous(together), second[0].simultaneous(together)]
    if POSITIONS[0] in measures:
        for m, delta in zip(names, sides, strict=True):
            rows += _delta_rows(nets, level, m, delta, valued)
    if POSITIONS[2] in measures:
        absent = [absence(nets, m, level, plan).simultaneous(together) for m in names]
        labels = position_labels(sides, absent, names=names, margin=margin)
        rows += [concept_cells(nets, level, k) | {"measure": POSITIONS[2], "label": labels[k]} for k in valued]
    reasons = np.where(found[0][1] == "", found[1][1], found[0][1])
    rare = [
        Missing(f"{features.concepts['name'][k]} (concept{AT})", reason, "extract more images that show it")
        for k, reason in enumerate(reasons)
        if reason
    ]
    return rows, rare


def _recorded(features: Features, run: str, modality: str) -> bool:
    """Whether responses at cells to one modality alone were recorded."""
    files = (features.entry(run).get("cells") or {"files": {}})["files"]
    return any(TensorKey.parse(key).condition == modality for keys in files.values() for key in keys)


def _delta_rows(nets: Networks, level: int, modality: str, delta: Estimate, valued: np.ndarray) -> list[dict]:
    seen = nets.features.concepts.get(f"visible_{modality}")
    return [
        concept_cells(nets, level, k)
        | {"measure": POSITIONS[0], "modality": modality, "planted": np.nan if seen is None else seen[k]}
        | numbers(delta, k)
        for k in valued
    ]


def concept_cells(nets: Networks, level: int, k: int) -> dict:
    """The columns of a result's row that say which network, level and concept it is of."""
    concept = nets.features.concepts.iloc[k]
    family = concept["family"] if concept["kind"] == "unknown" else f"planted: {concept['kind']}"
    return nets.cells(level) | {"concept": concept["name"], "family": family}
