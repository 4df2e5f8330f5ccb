"""Evolution: how does each modality's representation change from level to level, and in training?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import Features
from rgbd_insight.metrics.cka import cka_statistic, effective_dimension
from rgbd_insight.metrics.semantic import LevelSemanticVariance
from rgbd_insight.questions.asking import Answer, listed
from rgbd_insight.questions.networks import Networks, chosen_levels, chosen_measures, made, missing_seeds, networks
from rgbd_insight.questions.specificity import probe
from rgbd_insight.result import Missing, Result, numbers
from rgbd_insight.stats import Estimate, Resampling

DECODED = 0.1  # mean δ over levels up to which a family is decoded nowhere, and has no place
MEASURES = (
    "level similarity",
    "level semantic variance",
    "family",
    "centre of mass",
    "effective dimension",
    "to final",
    "family in training",
)


def evolution(
    features: Features,
    run: str,
    *,
    levels: Sequence[int] | None = None,
    measures: Sequence[str] = MEASURES,
    permutations: int = 100,
) -> Result:
    """Where in depth, and when in training, each modality's representation says what it says.

    Parameters
    ----------
    features : Features
        From `load`; needs the source-isolated conditions, and checkpoints for what happens in training.
    run : str
        A run id or fusion name, or "twins".
    levels : sequence of int, optional
        Default all.
    measures : sequence of str
        Any of "level similarity" (debiased CKA of two levels of one network; the other level is in `versus`),
        "level semantic variance" (of matched units' profiles at neighbouring levels), "family" (mean δ of each family
        of concepts at each level; planted kinds are families of their own, their mean visibility is in `planted`),
        "centre of mass" (Σ level·δ / Σ δ over levels, δ < 0 counted as 0), "effective dimension" (participation
        ratio), "to final" (CKA of a checkpoint with the end of training, beside the end of another seed's), "family in
        training" (as "family", by checkpoint; the untrained network is epoch 0).
    permutations : int
        For the nulls of the similarities, at least 20.

    Returns
    -------
    Result
        Where there are no checkpoints, `missing` says how to add them.

    Raises
    ------
    FeaturesError, ValueError
        As for `consistency`.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> scenes = ri.load("book/features/scenes")
    >>> found = ri.evolution(scenes, "twins", measures=["effective dimension"])
    >>> bool((found.rows("effective dimension").value > 1).all())
    True
    """
    nets = networks(features, run)
    plan = nets.plan(permutations)
    levels, measures = chosen_levels(nets, levels), chosen_measures(measures, MEASURES)
    found = Answer(features, missing_seeds(nets))
    for modality in nets.modalities:
        if "level similarity" in measures:
            with found.asking(what := f"level similarity of {modality}"):
                found.rows += _similarity(nets, modality, found.varying(what, nets, modality, levels), plan)
        if "level semantic variance" in measures:
            for level, after in zip(levels, levels[1:], strict=False):
                with found.asking(f"level semantic variance of {modality}", nets, level):
                    found.rows.append(_variance(nets, modality, level, after, plan))
        if asked := [m for m in ("family", "centre of mass") if m in measures]:
            with found.asking(f"{listed(asked)} of {modality}"):
                found.rows += _families(nets, modality, levels, measures, plan)
        for level in levels if "effective dimension" in measures else ():
            with found.asking(f"effective dimension of {modality}", nets, level):
                found.rows.append(_dimension(nets, modality, level, plan))
    if {"to final", "family in training"} & set(measures):
        _training(found, nets, levels, measures, plan)
    null = any(row["measure"] in ("level similarity", "to final") for row in found.rows)
    return found.result("evolution", made(features, plan, null=null), nets)


def _similarity(nets: Networks, modality: str, levels: Sequence[int], plan: Resampling) -> list[dict]:
    views = [nets.view(0, modality, level) for level in levels]
    if len(views) < 2:
        return []
    found = stats.estimate(cka_statistic(views, views), nets.groups, plan)
    rows = []
    for i, level in enumerate(levels):
        for j, other in enumerate(levels):
            if i != j:
                row = {"measure": "level similarity", "modality": modality, "versus": str(other)}
                rows.append(nets.cells(level) | row | numbers(found, (i, j)))
    return rows


def _variance(nets: Networks, modality: str, level: int, after: int, plan: Resampling) -> dict:
    sides = (nets.view(0, modality, lv) for lv in (level, after))
    between = LevelSemanticVariance(*sides, nets.features.present, nets.groups)
    found = stats.estimate(between, nets.groups, plan, null=False)
    row = {"measure": "level semantic variance", "modality": modality, "versus": str(after)}
    return nets.cells(level) | row | numbers(found)


def families(features: Features) -> dict[str, np.ndarray]:
    """Concepts (indices) of each family; planted things are divided by the kind that they were planted as."""
    concepts = features.concepts
    names = np.where(concepts.kind == "unknown", concepts.family, "planted: " + concepts.kind)
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(names)}


def _by_family(
    nets: Networks, modality: str, levels: Sequence[int], plan: Resampling
) -> tuple[Estimate | None, list[str]]:
    """Mean δ of each family at each level (L, F), and their names; None where no concept has an interval anywhere."""
    deltas = [probe(nets, nets.view(0, modality, level), plan).delta for level in levels]
    concepts = np.stack([np.isin(np.arange(len(nets.features.concepts)), k) for k in families(nets.features).values()])
    valued = concepts & np.isfinite([delta.low for delta in deltas])[:, None]  # (L, F, K)
    seen = valued.any(-1).all(0)
    if not seen.any():
        return None, []
    shares = valued[:, seen] / valued[:, seen].sum(-1, keepdims=True)  # of a concept in the mean of its family
    found = stats.combine(lambda *delta: np.einsum("lfk,lk->lf", shares, np.nan_to_num(delta)), *deltas)
    return found, [name for name, there in zip(families(nets.features), seen, strict=True) if there]


def _families(
    nets: Networks, modality: str, levels: Sequence[int], measures: Sequence[str], plan: Resampling
) -> list[dict]:
    delta, names = _by_family(nets, modality, levels, plan)
    if delta is None:  # every concept is in too few images, as `specificity` says of each
        return []
    rows = []
    if "family" in measures:
        visible = nets.features.concepts.get(f"visible_{modality}")
        planted = {} if visible is None else {f: visible[k].mean() for f, k in families(nets.features).items()}
        cells = [{"measure": "family", "modality": modality, "family": f, "planted": planted.get(f)} for f in names]
        rows += [
            nets.cells(level) | cell | numbers(delta, (i, f))
            for i, level in enumerate(levels)
            for f, cell in enumerate(cells)
        ]
    if "centre of mass" in measures and len(levels) > 1:
        place = np.array(levels, float)

        def centre(d: np.ndarray) -> np.ndarray:  # (L, F) -> (F,)
            weight = np.maximum(d, 0)
            total = weight.sum(0)
            seen = total > DECODED * len(levels)
            return np.divide(place @ weight, total, out=np.full(total.shape, np.nan), where=seen)

        found = stats.combine(centre, delta)
        rows += [
            nets.cells() | {"measure": "centre of mass", "modality": modality, "family": name} | numbers(found, f)
            for f, name in enumerate(names)
            if np.isfinite(found.value[f])
        ]
    return rows


def _dimension(nets: Networks, modality: str, level: int, plan: Resampling) -> dict:
    x = nets.view(0, modality, level)
    found = stats.estimate(lambda rows, _: effective_dimension(x[rows]), nets.groups, plan, null=False)
    return nets.cells(level) | {"measure": "effective dimension", "modality": modality} | numbers(found)


def _training(found: Answer, nets: Networks, levels: Sequence[int], measures: Sequence[str], plan: Resampling) -> None:
    features = nets.features
    final = nets.members[0][nets.modalities[0]]
    entry = features.entry(final)
    same = {"fusion": entry["fusion"], "seed": entry["seed"]}
    steps = [r for role in ("untrained", "checkpoint") for r in features.find(**same, role=role)] if nets.fused else []
    if not steps:
        why = "what happens in training needs the responses at several epochs"
        call = 'ri.extract(model, data, out=…, run={"role": "checkpoint", "epoch": …}) for each kept epoch'
        found.missing.append(Missing(f"checkpoints of {nets.name}", why, call))
    if not nets.fused:  # a twin's final run has no responses to the other modality either
        return
    for run in [*steps, final]:
        member = Networks(features, nets.name, (dict.fromkeys(nets.modalities, run),) * 2, "other seed")
        cells = {"run": run, "epoch": features.entry(run)["epoch"]}
        for modality in nets.modalities:
            for level in levels if "to final" in measures and run != final else ():
                with found.asking(f"to final of {modality} in {run}", member, level):
                    row = _to_final(nets, member, modality, level, plan)
                    found.rows.append(nets.cells(level) | cells | row)
            if "family in training" in measures:
                with found.asking(f"family in training of {modality} in {run}"):
                    rows = _families(member, modality, levels, ["family"], plan)
                    found.rows += [row | cells | {"measure": "family in training"} for row in rows]


def _to_final(nets: Networks, member: Networks, modality: str, level: int, plan: Resampling) -> dict:
    statistic = cka_statistic(member.view(0, modality, level), nets.view(0, modality, level))
    found = stats.estimate(statistic, nets.groups, plan)
    every = np.arange(len(nets.features))
    seeds = [cka_statistic(x, y)(every, every) for x, y in nets.within(modality, level)]
    row = {"measure": "to final", "modality": modality, "versus": "final", "ceiling": float(np.mean(seeds))}
    return row | {"ceiling_kind": nets.ceiling_kind} | numbers(found)
