"""Whether a network that is said to be trained does better than chance: if not, its inputs are probably not its own."""

from __future__ import annotations

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import COUNTED, Features
from rgbd_insight.questions.networks import LEAST, neighbours_of, remembered

INPUTS = (
    "are the inputs as in its training (scale, mean and deviation, order of channels, encodings and units), and are "
    "the weights the trained ones? If it is untrained, say so with run= (--role untrained)"
)


def at_chance(features: Features, run: str) -> str:
    """What is to be said of a run whose accuracy is at chance; "" where it is above, or the run is named untrained.

    Parameters
    ----------
    features : Features
        From `load`.
    run : str
        A run id.

    Returns
    -------
    str
        A sentence with the accuracy and what it should have passed, for the warnings of a result; "" too where nothing
        is labelled, or fewer than 5 groups give no interval.

    Notes
    -----
    At chance is a network that fails one of two tests, each by the lower end of a 95 % jackknife interval over groups
    being 0 or less: of its pixel accuracy minus the share of the most frequent class, which a constant guess reaches;
    and of its mean class accuracy minus that with both inputs of other scenes (condition "none", a permutation that
    keeps what the place in the image alone tells), or minus 1 / classes where that was not recorded. Networks that
    were trained with weights for rare classes may fail the first of them although they see: only those are taken to
    be at chance by it whose mean class accuracy is not twice 1 / classes.

    Examples
    --------
    >>> from rgbd_insight.features import load
    >>> scenes = load("book/features/scenes")
    >>> at_chance(scenes, "sum-s0-e8")
    ''
    """
    return remembered(features, ("at chance", run), lambda: _at_chance(features, run))


def _at_chance(features: Features, run: str) -> str:
    entry, known = features.entry(run), features.conditions(run)
    named = entry["role"] == "untrained" or (entry["epoch"] == 0 and not entry["about"].get("unknown"))
    condition = next((c for c in ("both", *(m.name for m in features.modalities)) if c in known), None)
    if named or condition is None or features.groups.max() + 1 < LEAST:
        return ""
    scoring = features.scoring(run)
    if not scoring.labelled or not scoring.task.parts:
        return ""
    if scoring.task.parts != COUNTED:
        return _no_better_than_the_mean(features, run, condition)
    counts = features.predictions(run, condition)
    hit, target = counts["hit"].astype(float), counts["target"].astype(float)
    if not target.any():
        return ""
    other = features.predictions(run, "none")["hit"].astype(float) if "none" in known and condition != "none" else None
    frequent, classes = int(target.sum(0).argmax()), int(target.any(0).sum())

    def statistic(rows: np.ndarray, _: np.ndarray) -> np.ndarray:
        """Pixel accuracy and how far it is above a constant guess; mean class accuracy, how far above other scenes'."""
        found, there = hit[rows].sum(0), target[rows].sum(0)
        seen = there > 0
        pixel, mean = found.sum() / there.sum(), (found[seen] / there[seen]).mean()
        chance = 1 / classes if other is None else (other[rows].sum(0)[seen] / there[seen]).mean()
        return np.array([pixel, pixel - there[frequent] / there.sum(), mean, mean - chance])

    order = neighbours_of(features)
    with np.errstate(all="ignore"):
        found = stats.estimate(statistic, order.groups, order.plan(), null=False)
    pixel, above, mean, beyond = found.value
    if found.low[3] <= 0:
        what = "with the inputs of other scenes" if other is not None else "by chance"
        said = f"mean class accuracy {mean:.3f}, {what} {mean - beyond:.3f}"
    elif found.low[1] <= 0 and mean < 2 / classes:
        name, unit = scoring.columns[frequent], scoring.task.unit
        said = f"{unit} accuracy {pixel:.3f}, by always saying {name!r} {pixel - above:.3f}"
    else:
        return ""
    return f"the accuracy of {run} is at chance ({said}): {INPUTS}"


def _no_better_than_the_mean(features: Features, run: str, condition: str) -> str:
    """Of a regression: whether the lower end of its R² is 0 or less, which always saying the targets' mean reaches."""
    task, parts, order = features.scoring(run).task, features.predictions(run, condition), neighbours_of(features)
    found = stats.estimate(
        lambda rows, _: task.value({part: values[rows].sum(0) for part, values in parts.items()}),
        order.groups,
        order.plan(),
        null=False,
    )
    if not found.low <= 0:
        return ""
    return f"the accuracy of {run} is at chance (R² {found.value:.3f}, by always saying the mean 0): {INPUTS}"
