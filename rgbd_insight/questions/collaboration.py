"""Collaboration: how do the modalities share the work when they are trained together?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight import stats
from rgbd_insight.features import Features
from rgbd_insight.features.schema import COSINE
from rgbd_insight.questions.asking import LABELS, Answer
from rgbd_insight.questions.losses import (
    Found,
    accuracy_estimate,
    by_dose,
    by_removal,
    overlaps,
    run_of,
    silenced,
    utilisation,
)
from rgbd_insight.questions.networks import TWINS, WHOLE, Networks, chosen_levels, chosen_measures, made, networks
from rgbd_insight.questions.specificity import decoded, probe
from rgbd_insight.result import Missing, Result, numbers
from rgbd_insight.stats import Estimate
from rgbd_insight.utils.threads import one_thread

MEASURES = ("accuracy", "utilisation", "retention", "exchanged", "class accuracy", "ablation", "gradient cosine")
TASK = 'a network of another task, ri.extract(model, data, out=…, task="segmentation")'
FURTHER = ("utilisation by removal", "swap", "dose", "IoU")  # asked for by name: each needs more of what was recorded


def collaboration(
    features: Features, run: str, *, levels: Sequence[int] | None = None, measures: Sequence[str] = MEASURES
) -> Result:
    """What joint training gave to and took from each modality, and what the network loses without each of them.

    Parameters
    ----------
    features : Features
        From `load`; needs predictions under all conditions, and the twins for "retention".
    run : str
        A run id or fusion name (not "twins").
    levels : sequence of int, optional
        For "retention", "exchanged" and "swap"; default all, 0 stands for all levels side by side.
    measures : sequence of str
        Any of "accuracy" (the score of the run's task under each condition, and of the twins: rows "accuracy", the
        mean class accuracy; "R²" of a regression; or "agreement" with the network's own prediction from all its inputs,
        scored in the same way, where the data have no labels), "utilisation" (what of the score is lost without a
        modality; `label` "conditional", "Shapley" or "interaction"), "retention" (δ of each concept in the joint
        network minus its twin's; the distance of two twin seeds is in `null_high`), "exchanged" (δ with the true
        partner minus δ with another scene's), "class accuracy" (by class and condition), "ablation" (score lost by
        silencing units, where recorded), "gradient cosine" (of the two encoders, by epoch, where recorded); and, only
        where named, "utilisation by removal" (as "utilisation", for each thing that may stand in for a removed input,
        in `condition`), "swap" (δ of each concept from what the other stream predicts of the stream, minus δ from the
        stream itself), "IoU" (mean over classes that are labelled or guessed anywhere, and, as "class IoU", each of
        them, where guesses were kept), "dose" (the loss by silencing specific or consistent units beside random sets of
        as many).

    Returns
    -------
    Result
        Absent twins, conditions or ablations are in `missing`, and what the task does not serve.

    Raises
    ------
    FeaturesError
        Where the run is missing or is the twins.
    ValueError
        For an unknown level or measure.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> scenes = ri.load("book/features/scenes")
    >>> found = ri.collaboration(scenes, "sum", measures=["accuracy"])
    >>> alone = found.one("accuracy", condition="rgb", fusion="rgb").value
    >>> bool(found.one("accuracy", condition="both").value > alone)
    True
    """
    if run == TWINS:
        raise ValueError('`run` must be a network that sees both modalities; got "twins", which do not collaborate')
    nets = networks(features, run)
    levels, measures = chosen_levels(nets, levels, whole=True), chosen_measures(measures, MEASURES + FURTHER)
    answer = Answer(features)
    steps = {
        "accuracy": lambda: _accuracy(nets),
        "utilisation": lambda: utilisation(nets),
        "utilisation by removal": lambda: by_removal(nets),
        "class accuracy": lambda: _by_class(nets),
        "retention": lambda: _retention(nets, levels),
        "exchanged": lambda: _exchanged(nets, levels),
        "swap": lambda: swap(nets, levels),
        "ablation": lambda: silenced(nets),
        "dose": lambda: by_dose(nets),
        "IoU": lambda: overlaps(nets),
        "gradient cosine": lambda: _gradients(nets),
    }
    scoring = features.scoring(run_of(nets))
    for name in measures:
        if lack := scoring.lack(name):
            call = TASK if name in scoring.task.lacks else LABELS
            answer.missing.append(Missing(f"{name} of {run_of(nets)}", lack, call))
            continue
        with answer.asking(name):
            found, absent = steps[name]()
            answer.rows, answer.missing = answer.rows + found, answer.missing + absent
    return answer.result("collaboration", made(features, nets.plan()), nets)


def _accuracy(nets: Networks) -> Found:
    features, rows, missing = nets.features, [], []
    run = run_of(nets)
    scoring = features.scoring(run)
    for condition in features.conditions(run):
        found = accuracy_estimate(features, run, condition)
        rows.append(nets.cells() | {"measure": scoring.score, "condition": condition} | numbers(found))
    if not scoring.labelled:
        why = "what a twin alone predicts can be compared with labels only"
        return rows, [Missing(f"accuracy of the twins of {nets.name}", why, LABELS)]
    for modality in nets.modalities:
        twin = features.twin(run, modality)
        if twin is None:
            missing.append(_no_twin(nets, modality))
            continue
        found = accuracy_estimate(features, twin, modality)
        score = features.scoring(twin)
        if score.score != scoring.score:
            call = f"extract the twin with task={scoring.task.name!r}"
            missing.append(
                Missing(f"{scoring.score} of {twin}", f"it was recorded for the task {score.task.name}", call)
            )
            continue
        cells = {"run": twin, "fusion": modality, "measure": scoring.score, "condition": modality}
        rows.append(nets.cells() | cells | numbers(found))
    return rows, missing


def _no_twin(nets: Networks, modality: str) -> Missing:
    seed = nets.features.entry(run_of(nets))["seed"]
    return Missing(
        f"the {modality} twin of {nets.name}, seed {seed}",
        "what joint training changed can only be seen beside the same encoder trained alone",
        f"train and extract the fusion {modality!r} with seed {seed} into {nets.features.path}",
    )


def _by_class(nets: Networks) -> Found:
    features, run, rows = nets.features, run_of(nets), []
    planted = features.concepts.set_index("name")
    for condition in features.conditions(run):
        counts = features.predictions(run, condition)
        seen = counts["target"].sum(0) > 0
        if not seen.any():
            return [], [Missing("class accuracy", "no pixel is labelled", LABELS)]

        def statistic(chosen: np.ndarray, _: np.ndarray, counts: dict[str, np.ndarray] = counts) -> np.ndarray:
            target = counts["target"][chosen].sum(0)
            return counts["hit"][chosen].sum(0) / np.where(target > 0, target, np.nan)

        found = stats.estimate(statistic, nets.groups, nets.plan(), null=False)
        for c in np.flatnonzero(seen):
            name = features.scoring(run).columns[c]
            kind = planted.kind.get(name, None)
            row = {"measure": "class accuracy", "condition": condition, "concept": name, "family": kind}
            rows.append(nets.cells() | row | numbers(found, c))
    return rows, []


def _differences(
    nets: Networks, level: int, first: Estimate, second: Estimate, cells: dict, apart: np.ndarray | None = None
) -> list[dict]:
    """Rows of δ(first) − δ(second) for each concept, intervals for all concepts and modalities together.

    `apart` (K,): what two seeds differ by.
    """
    found = stats.combine(np.subtract, first, second)
    valued = np.flatnonzero(np.isfinite(found.value))
    found = found.simultaneous(max(len(nets.modalities) * len(valued), 1))
    concepts, rows = nets.features.concepts, []
    for k in valued:
        kind = concepts.kind[k]
        row = {"concept": concepts.name[k], "family": concepts.family[k] if kind == "unknown" else f"planted: {kind}"}
        seeds = {} if apart is None else {"null_high": float(np.abs(apart[k]))}
        rows.append(nets.cells(level) | cells | row | numbers(found, k) | seeds)
    return rows


def _retention(nets: Networks, levels: Sequence[int]) -> Found:
    features, rows = nets.features, []
    absent = [m for m in nets.modalities if features.twin(run_of(nets), m) is None]
    if absent:
        return [], [_no_twin(nets, m) for m in absent]
    twins = networks(features, TWINS)
    seed = features.entry(run_of(nets))["seed"]
    mine = next(
        i for i, member in enumerate(twins.members) if features.entry(member[nets.modalities[0]])["seed"] == seed
    )
    for level in levels:
        for modality in nets.modalities:
            joint, alone = (probe(nets, n.view(i, modality, level)).delta for n, i in ((nets, 0), (twins, mine)))
            apart = None  # what two seeds of the twin differ by
            if twins.ceiling_kind == "other seed":
                apart = alone.value - decoded(nets, twins.view(1 - mine, modality, level))
            cells = {"measure": "retention", "modality": modality, "versus": "twin"}
            rows += _differences(nets, level, joint, alone, cells, apart)
    return rows, []


def _exchanged(nets: Networks, levels: Sequence[int]) -> Found:
    features, run, rows = nets.features, run_of(nets), []
    for level in (lv for lv in levels if lv != WHOLE):
        for modality in nets.modalities:
            if not features.has(run, modality, level, "both"):
                continue
            cells = {"measure": "exchanged", "modality": modality, "versus": "isolated"}
            views = features.responses(run, modality, level, "both"), nets.view(0, modality, level)
            rows += _differences(nets, level, *(probe(nets, x).delta for x in views), cells)
    if rows:
        return rows, []
    why = "exchanged content compares a stream's responses with and without its true partner"
    call = 'ri.extract(model, data, out=…, conditions=("both", …))'
    return [], [Missing(f'streams of {run} under "both"', why, call)]


def swap(nets: Networks, levels: Sequence[int]) -> Found:
    """What each concept keeps where a stream is replaced by what the other stream predicts of it."""
    rows = []
    for level in (lv for lv in levels if lv != WHOLE):
        for modality, other in permutations(nets.modalities, 2):
            own = nets.view(0, modality, level)
            guess = predicted(nets.view(0, other, level), own, nets.groups)
            cells = {"measure": "swap", "modality": modality, "versus": other}
            rows += _differences(nets, level, *(probe(nets, x).delta for x in (guess, own)), cells)
    return rows, []


def _gradients(nets: Networks) -> Found:
    curves = nets.features.curves(run_of(nets))
    columns = [] if curves is None else [name for name in curves if name.startswith(COSINE)]
    if not columns:
        return [], [Missing(f"training curves of {nets.name}", "none were stored with the run", 'run={"curves": …}')]
    cells, rows = nets.cells() | {"measure": "gradient cosine", "n": len(nets.features)}, []
    for column in columns:  # of more than two encoders there is one for each pair, "gradient_cosine_rgb+thermal"
        pair = [name for name in column.removeprefix(COSINE).removeprefix("_").split("+") if name]
        where = cells | dict(zip(("modality", "versus"), pair, strict=False))
        rows += [where | {"epoch": e, "value": v} for e, v in zip(curves["epoch"], curves[column], strict=True)]
    return rows, []


COMPONENTS = 32
PENALTIES = 10.0 ** np.arange(-6, 5)  # times the mean variance of the components


@one_thread
def predicted(x: ArrayLike, y: ArrayLike, groups: ArrayLike, *, folds: int = 5) -> np.ndarray:
    """The responses `y` as `x` predicts them on images of groups that the fit has not seen.

    Parameters
    ----------
    x, y : array (N, U), array (N, V)
        Responses to the same images.
    groups : array (N,)
        Physical scene of each image.
    folds : int
        Outer folds, 3 or more; the penalty is chosen inside the training folds, leaving out one in turn.

    Returns
    -------
    array (N, V)
        The mean of the training images where x says nothing of y.

    Notes
    -----
    Ridge from the leading 32 principal components of the training images, by scikit-learn; one penalty for all units of
    y, each of which counts by its variance.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> y = x @ np.ones((3, 2))
    >>> bool(np.abs(predicted(x, y, np.arange(100)) - y).max() < 0.01)
    True
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    fold = stats.group_folds(groups, folds)
    found = np.empty_like(y)
    for f in range(folds):
        errors = np.zeros(len(PENALTIES))
        for g in set(range(folds)) - {f}:
            train, test = (fold != f) & (fold != g), fold == g
            errors += ((_fits(x[train], y[train], x[test], PENALTIES) - y[test]) ** 2).sum((1, 2))
        best = PENALTIES[[errors.argmin()]]
        found[fold == f] = _fits(x[fold != f], y[fold != f], x[fold == f], best)[0]
    return found


def _fits(x: np.ndarray, y: np.ndarray, new: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """The predictions (A, M, V) for `new` under each of the penalties, from one decomposition."""
    from sklearn.decomposition import PCA  # only the swap waits for this import
    from sklearn.linear_model import Ridge

    if (x == x[0]).all():
        return np.broadcast_to(y.mean(0), (len(penalties), len(new), y.shape[1]))
    components = PCA(min(COMPONENTS, *x.shape), svd_solver="full").fit(x)
    sizes = components.singular_values_
    mean = (sizes[sizes > 1e-9 * sizes[0]] ** 2).mean()
    every = np.tile(y, len(penalties))  # (N, A V): each penalty has its own copy of the targets
    ridge = Ridge(np.repeat(penalties * mean, y.shape[1]), solver="svd").fit(components.transform(x), every)
    return ridge.predict(components.transform(new)).reshape(len(new), len(penalties), -1).swapaxes(0, 1)
