"""What a network loses without a modality, or without some of its units. Use `collaboration`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy.special import stdtrit

from rgbd_insight import stats
from rgbd_insight.features import Ablation, AblationName, Features, orders, subsets, usual_subsets
from rgbd_insight.questions.ablation import chosen_on
from rgbd_insight.questions.networks import Networks, neighbours_of
from rgbd_insight.result import Missing, numbers
from rgbd_insight.stats import Estimate

REMOVALS = ("permuted", "zero", "mean", "noise")
Found = tuple[list[dict], list[Missing]]


def run_of(nets: Networks) -> str:
    """The run of the first network."""
    return nets.members[0][nets.modalities[0]]


def accuracy_estimate(
    features: Features,
    run: str,
    condition: str,
    among: np.ndarray | None = None,
    classes: Sequence[int] | None = None,
) -> Estimate:
    """The score of the run's task (`features.Task`), interval by group.

    Of classes, the mean over classes of the share of their pixels (or images) that are found (chance: 1 / classes).
    NaN where nothing is labelled. `among` bool (N,) keeps some samples only, `classes` some classes.
    """
    among = np.ones(len(features), bool) if among is None else among
    statistic, order = _accuracy(features, run, condition, among, classes), neighbours_of(features)
    return stats.estimate(lambda rows, _: statistic(rows), order.groups[among], order.plan(), null=False)


def _accuracy(
    features: Features, run: str, condition: str, among: np.ndarray, classes: Sequence[int] | None = None
) -> Callable[[np.ndarray], float]:
    """The score of rows of the samples `among`."""
    columns = slice(None) if classes is None else list(classes)
    task, found = features.scoring(run).task, features.predictions(run, condition)
    parts = {part: found[part][among][:, columns] for part in task.scored}
    return lambda rows: task.value({part: values[rows].sum(0) for part, values in parts.items()})


def iou_estimate(features: Features, run: str, condition: str) -> Estimate | None:
    """Intersection over union of every class (C,), their mean before them; None without guesses, or without classes.

    The mean is over classes that some pixel is labelled or guessed as: one that is guessed and never there counts 0.
    """
    counts = features.predictions(run, condition)
    if "guess" not in counts:
        return None
    seen = _labelled_or_guessed(counts)

    def statistic(rows: np.ndarray, _: np.ndarray) -> np.ndarray:
        hit, target, guess = (counts[part][rows].sum(0) for part in ("hit", "target", "guess"))
        each = hit / np.maximum(target + guess - hit, 1)
        return np.concatenate([[each[seen].mean() if seen.any() else np.nan], each])

    order = neighbours_of(features)
    return stats.estimate(statistic, order.groups, order.plan(), null=False)


def _labelled_or_guessed(counts: dict[str, np.ndarray]) -> np.ndarray:
    """Classes, bool (C,)."""
    return counts["target"].any(0) | counts["guess"].any(0)


def overlap_rows(features: Features, run: str, condition: str, cells: dict) -> list[dict]:
    """Mean ("IoU") and per-class ("class IoU") intersection over union of a run; none where guesses were not kept."""
    found = iou_estimate(features, run, condition)
    if found is None:
        return []
    seen = np.flatnonzero(_labelled_or_guessed(features.predictions(run, condition)))
    names = features.scoring(run).columns
    each = [{"measure": "class IoU", "concept": names[c]} | numbers(found, c + 1) for c in seen]
    return [cells | row for row in ({"measure": "IoU"} | numbers(found, 0), *each)]


def overlaps(nets: Networks) -> Found:
    """Mean and per-class intersection over union under every condition of which the guesses were kept."""
    features, run, rows, absent = nets.features, run_of(nets), [], []
    for condition in features.conditions(run):
        found = overlap_rows(features, run, condition, nets.cells() | {"condition": condition})
        rows, absent = rows + found, absent + [condition] * (not found)
    if not absent:
        return rows, []
    why = "an intersection over union needs what was guessed, which small copies leave out for some conditions"
    return rows, [Missing(f"guesses of {run} under {', '.join(absent)}", why, "extract the run again")]


def utilisation(nets: Networks) -> Found:
    """What is lost without each modality, the removed input being another scene's."""
    return _utilised(nets, "permuted", "utilisation")


def by_removal(nets: Networks) -> Found:
    """The same for everything that may stand in for a removed input, each of them in `condition`."""
    rows, missing = [], []
    for removal in REMOVALS:
        found, absent = _utilised(nets, removal, "utilisation by removal")
        rows, missing = rows + [row | {"condition": removal} for row in found], missing + absent
    return rows, missing


def _utilised(nets: Networks, removal: str, measure: str) -> Found:
    """Conditional utilisation, Shapley value and interaction, exact over all sets of modalities that are kept.

    Where only the sets that are usual for more than four modalities were recorded, Shapley values are means over their
    sampled orders, with an interval that holds the sampling too, and interactions are missing.
    """
    features, run, names = nets.features, run_of(nets), nets.modalities
    kind = "" if removal == "permuted" else f":{removal}"
    conditions = {frozenset(names): "both", frozenset(): "none" + kind}
    conditions |= {frozenset(kept.split("+")): kept + kind for kept in subsets(names)}
    usual = {frozenset(kept.split("+")) for kept in usual_subsets(names)} | {frozenset(), frozenset(names)}
    recorded = {kept: c for kept, c in conditions.items() if c in features.conditions(run)}
    exact = len(recorded) == len(conditions)
    absent = [c for kept, c in conditions.items() if kept in usual and kept not in recorded]
    if absent:
        call = f"ri.extract(model, data, out=…, conditions={tuple(absent)!r})"
        why = "utilisation compares what the network does with every set of its inputs"
        return [], [Missing(f"conditions {', '.join(absent)} of {run}", why, call)]
    v = {kept: accuracy_estimate(features, run, c) for kept, c in recorded.items() if exact or kept in usual}
    cells, rows, missing = nets.cells() | {"measure": measure}, [], []
    for own in names:
        rest = frozenset(names) - {own}
        parts = {
            "conditional": stats.combine(np.subtract, v[frozenset(names)], v[rest]),
            "Shapley": _on_average(v, (own,), rest) if exact else _in_orders(v, own, names),
        }
        rows += [cells | {"modality": own, "label": label} | numbers(found) for label, found in parts.items()]
    if not exact:
        call = f"ri.extract(model, data, out=…, conditions=features.subsets({names}))"
        why = f"of {len(names)} modalities the sets that sampled orders come by were recorded, of 2^{len(names)}"
        missing.append(Missing(f"interactions and exact Shapley values of {run}", why, call))
    for pair in combinations(names, 2) if exact else ():
        which = dict(zip(("modality", "versus"), pair, strict=True)) if len(names) > 2 else {}
        found = _on_average(v, pair, frozenset(names) - {*pair})
        rows.append(cells | which | {"label": "interaction"} | numbers(found))
    return rows, missing


def _in_orders(v: dict[frozenset, Estimate], own: str, names: Sequence[str]) -> Estimate:
    """What a modality adds, mean over sampled orders; its interval is that over groups and that over orders together.

    An order and its reverse are drawn together, so that the error is taken from their means (Mitchell et al. 2022).
    """
    before = [frozenset(order[: order.index(own)]) for order in orders(names)]

    def added(*values: np.ndarray) -> np.ndarray:
        return np.subtract(values[: len(before)], values[len(before) :])

    gains = stats.combine(added, *(v[kept | {own}] for kept in before), *(v[kept] for kept in before))
    found = stats.combine(lambda x: np.mean(x), gains)
    pairs = np.asarray(gains.value).reshape(-1, 2).mean(1)  # (orders / 2,)
    error = pairs.std(ddof=1) / len(pairs) ** 0.5
    drawn = float(stdtrit(len(pairs) - 1, (1 + found.confidence) / 2)) * error
    low, high = (
        found.value + sign * np.hypot(found.value - end, drawn) for sign, end in ((-1, found.low), (1, found.high))
    )
    return replace(found, low=low, high=high, se=float(np.hypot(found.se, error)))


def _on_average(v: dict[frozenset, Estimate], added: tuple[str, ...], rest: frozenset) -> Estimate:
    """What adding modalities brings beyond what fewer of them bring, by the Shapley weights of the sets they join.

    Of one the Shapley value, of two their interaction (Grabisch and Roubens 1999): sets of one size count together as
    much as those of any other.
    """
    signs = [
        (some, (-1) ** (len(added) - len(some))) for n in range(len(added), -1, -1) for some in combinations(added, n)
    ]
    terms = [
        (frozenset(some) | frozenset(joined), sign / (math.comb(len(rest), size) * (len(rest) + 1)))
        for size in range(len(rest) + 1)
        for joined in combinations(sorted(rest), size)
        for some, sign in signs
    ]
    return stats.combine(
        lambda *values: sum(w * x for (_, w), x in zip(terms, values, strict=True)), *(v[k] for k, _ in terms)
    )


def silenced(nets: Networks) -> Found:
    """Accuracy lost by each recorded ablation, on the groups on which no units were chosen."""
    features, run = nets.features, run_of(nets)
    recorded = features.ablations(run)
    if not recorded:
        call = "ri.extract(model, data, out=…, conditions=ri.ablations(features, run))"
        return [], [Missing(f"ablations of {run}", "no units were silenced", call)]
    rows, judged = [], ~chosen_on(nets)
    whole = {c: accuracy_estimate(features, run, c, judged) for c in {a.inputs for a in recorded.values()}}
    for name, ablation in recorded.items():
        silent = accuracy_estimate(features, run, name, judged)
        lost = stats.combine(lambda a, b: a - b, whole[ablation.inputs], silent)
        row = {"measure": "ablation", "condition": ablation.inputs, "label": name}
        rows.append(nets.cells() | row | numbers(lost))
    return rows, []


def by_dose(nets: Networks, *, classes: Sequence[int] | None = None, given: str | None = None) -> Found:
    """The loss by silencing each modality's specific and consistent units, beside random sets of as many.

    `versus` is the dose, `condition` the input, `null` the random sets' mean loss, `null_high` their 97.5 % point, `p`
    the share of random sets that lose as much or more (with the set itself counted). `classes` keeps some classes,
    `given` one input.
    """
    features, run, judged = nets.features, run_of(nets), ~chosen_on(nets)
    every = np.arange(judged.sum())

    def estimate(condition: str) -> Estimate:
        return accuracy_estimate(features, run, condition, judged, classes)

    sets: dict[tuple, dict[str, list[Ablation]]] = {}
    for name, ablation in features.ablations(run).items():
        named = AblationName.parse(name)
        if named and given in (None, ablation.inputs):
            key = named.modality, named.percent, ablation.inputs
            sets.setdefault(key, {}).setdefault(named.kind, []).append(ablation)
    if not features.ablations(run):
        return silenced(nets)  # which says how they are added
    rows, missing = [], []
    for (modality, percent, inputs), kinds in sets.items():
        whole = estimate(inputs)
        random = np.array(  # without intervals, which nobody asks of them
            [whole.value - _accuracy(features, run, a.name, judged, classes)(every) for a in kinds.get("random", [])]
        )
        if len(random) < 99:
            call = "conditions=ri.ablations(features, run, draws=99)"
            missing.append(Missing(f"99 random sets of {run}", f"a p below .05 needs more than {len(random)}", call))
        for kind in (k for k in ("specific", "consistent") if k in kinds):
            lost = stats.combine(lambda x, y: x - y, whole, estimate(kinds[kind][0].name))
            cells = {
                "measure": "dose",
                "modality": modality,
                "label": kind,
                "versus": percent,
                "condition": inputs,
            }
            rows.append(nets.cells() | cells | numbers(stats.against(lost, random) if len(random) else lost))
    return rows, missing
