"""Tasks: what a network's output is, and how a prediction is scored. A new one is a class, listed in `TASKS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rgbd_insight.utils.messages import unknown

if TYPE_CHECKING:  # who only reads features does not wait for torch
    from torch import Tensor

IGNORE = 255  # of labels that are classes
COUNTED = ("hit", "target", "guess")  # parts that are whole numbers of pixels or images, a column a class
SPAN = 0.9  # of [0, 1], from which what lies in it is taken for probabilities
AGREEMENT = "agreement"  # the score where there are no labels
OUTPUTS = ("accuracy", "utilisation", "utilisation by removal", "class accuracy", "ablation", "dose", "IoU")


class Task:
    """What an output is and how it is scored; the base of all tasks, and the task "none": responses only.

    Attributes
    ----------
    name : str
        In `extract(task=…)` and in the manifest.
    score, said : str
        What the score is called as a measure, and in a sentence.
    output : str
        What the network returns, in words.
    unit : str
        What is counted: "pixel" or "image".
    parts, scored : tuple of str
        What is kept of every image, which adds up over images; and those of it that the score is made of.
    lacks : dict of str to str
        Measures of `collaboration` that it cannot serve, and why. The other questions never ask for predictions.

    Examples
    --------
    >>> sorted(TASKS)
    ['classification', 'none', 'regression', 'saliency', 'segmentation']
    """

    name, score, said, output, unit = "none", "", "", "anything", ""
    parts: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()
    lacks: Mapping[str, str] = dict.fromkeys(OUTPUTS, "only responses were recorded (task none), no predictions")

    def fits(self, shape: Sequence[int], labels: Tensor | None, classes: int, size: Sequence[int]) -> bool:
        """Whether an output of this shape (B, …) can be of this task, for data with these labels and so many classes.

        "none" is never guessed: who wants no predictions says so.
        """
        return False

    def wanted(self, samples: int, labels: Tensor | None, classes: int, size: Sequence[int]) -> str:
        """What the network must return for so many samples, in words."""
        return self.output

    def columns(self, shape: Sequence[int], classes: int) -> int:
        """Columns of the parts, for an output (or labels) of this shape."""
        return 0

    def truth(self, output: Tensor) -> Tensor:
        """The output as labels: what it is compared with where the data have none."""
        raise NotImplementedError

    def count(self, output: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
        """What is kept of B predictions, {part: (B, C)}; sums over images of it are all that `value` needs."""
        return {}

    def value(self, sums: Mapping[str, np.ndarray]) -> float:
        """The score from the sums (C,) of the parts in `scored`; NaN where nothing is labelled."""
        return np.nan


class Segmentation(Task):
    """A class for every pixel; scored by the mean over classes of the share of their pixels that are found."""

    name, score, said, output, unit = "segmentation", "accuracy", "mean class accuracy", "logits (B, C, H, W)", "pixel"
    parts, scored, lacks = COUNTED, COUNTED[:2], {}

    def fits(self, shape: Sequence[int], labels: Tensor | None, classes: int, size: Sequence[int]) -> bool:
        """A plane a class, and labels that are a class a pixel."""
        planes = len(shape) == 4 and (shape[1] == classes if classes else shape[1] > 1)
        return planes and tuple(shape[2:]) == tuple(size) and (labels is None or (_whole(labels) and labels.ndim == 3))

    def wanted(self, samples: int, labels: Tensor | None, classes: int, size: Sequence[int]) -> str:
        """Logits of which shape."""
        return f"logits of shape {(samples, classes or 'C', *size)} (samples, data.classes, data.size)"

    def columns(self, shape: Sequence[int], classes: int) -> int:
        """One a class."""
        return classes or shape[1]

    def truth(self, output: Tensor) -> Tensor:
        """The class of the largest logit."""
        return output.max(1).indices  # a third of the time of argmax

    def count(self, output: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
        """Pixels (or images) of every class, int32 (B, C): right, labelled, predicted."""
        return _hits(self.truth(output), labels, output.shape[1])

    def value(self, sums: Mapping[str, np.ndarray]) -> float:
        """The mean over the classes that are labelled anywhere."""
        seen = sums["target"] > 0
        return float((sums["hit"][seen] / sums["target"][seen]).mean()) if seen.any() else np.nan


class Classification(Segmentation):
    """A class for every image; scored as segmentation is, with images in the place of pixels."""

    name, output, unit = "classification", "logits (B, C)", "image"

    def fits(self, shape: Sequence[int], labels: Tensor | None, classes: int, size: Sequence[int]) -> bool:
        """A column a class, and labels that are a class an image."""
        columns = len(shape) == 2 and (shape[1] == classes if classes else shape[1] > 1)
        return columns and (labels is None or (_whole(labels) and labels.ndim == 1))

    def wanted(self, samples: int, labels: Tensor | None, classes: int, size: Sequence[int]) -> str:
        """Logits of which shape."""
        return f"logits of shape {(samples, classes or 'C')} (samples, data.classes)"


class Saliency(Segmentation):
    """One plane of logits, above 0 where it is salient (class 1 of two); scored as segmentation of two classes is."""

    name, output = "saliency", "logits (B, 1, H, W), above 0 where salient"

    def fits(self, shape: Sequence[int], labels: Tensor | None, classes: int, size: Sequence[int]) -> bool:
        """One plane, and labels 0 and 1."""
        plane = tuple(shape[1:]) in ((1, *size), tuple(size)) and classes in (0, 2)
        return plane and (labels is None or (_whole(labels) and labels.ndim == 3))

    def wanted(self, samples: int, labels: Tensor | None, classes: int, size: Sequence[int]) -> str:
        """Logits of which shape."""
        return f"logits of shape {(samples, 1, *size)} (samples, 1, data.size), above 0 where salient"

    def columns(self, shape: Sequence[int], classes: int) -> int:
        """Not salient, salient."""
        return 2

    def truth(self, output: Tensor) -> Tensor:
        """1 where the logit is above 0."""
        low, high = float(output.min()), float(output.max())
        if 0 <= low and high <= 1 and high - low > SPAN:  # untrained, logits are close together
            raise ValueError(
                "the model must return logits of saliency, any number, above 0 where salient; got values in [0, 1] "
                "only, as of a sigmoid: give `adapt`, a function of model and inputs that returns its .logit()"
            )
        return (output.reshape(len(output), *output.shape[-2:]) > 0).long()

    def count(self, output: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
        """Pixels that are not, and that are, salient."""
        return _hits(self.truth(output), labels, 2)


class Regression(Task):
    """Numbers, for every pixel or image; scored by R², the mean over columns: 1 is exact, 0 as good as the mean."""

    name, score, said, output, unit = "regression", "R²", "R²", "numbers (B, D), (B,), (B, 1, H, W) or (B, H, W)", ""
    parts = scored = ("number", "total", "squares", "errors")
    lacks = dict.fromkeys(("class accuracy", "IoU"), "a regression has no classes")

    def fits(self, shape: Sequence[int], labels: Tensor | None, classes: int, size: Sequence[int]) -> bool:
        """As many numbers as there are targets, and no classes."""
        dense = tuple(shape[1:]) in ((1, *size), tuple(size))
        if classes or (labels is not None and _whole(labels)) or not (dense or len(shape) < 3):
            return False
        return labels is None or int(np.prod(shape[1:])) == labels[0].numel()

    def wanted(self, samples: int, labels: Tensor | None, classes: int, size: Sequence[int]) -> str:
        """As many numbers as there are targets."""
        return self.output if labels is None else f"numbers of shape {(samples, *labels.shape[1:])}, as the labels have"

    def columns(self, shape: Sequence[int], classes: int) -> int:
        """One a target."""
        return shape[1] if len(shape) == 2 else 1

    def truth(self, output: Tensor) -> Tensor:
        """The output itself."""
        return output

    def count(self, output: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
        """How many are known, their sum and squares, and squared errors, float64 (B, D); unknown (NaN) do not count."""
        b, columns = len(output), self.columns(output.shape, 0)
        x, y = (part.cpu().double().reshape(b, -1, columns) for part in (output, labels))  # (B, pixels, D)
        known = ~y.isnan()
        y, error = y.masked_fill(~known, 0), (x - y).masked_fill(~known, 0)
        sums = (known.double().sum(1), y.sum(1), (y * y).sum(1), (error * error).sum(1))
        return {part: values.numpy() for part, values in zip(self.parts, sums, strict=True)}

    def value(self, sums: Mapping[str, np.ndarray]) -> float:
        """1 − Σ errors / Σ (target − mean)², mean over the columns that vary."""
        number, total, squares, errors = (np.asarray(sums[part], float) for part in self.parts)
        spread = squares - total**2 / np.maximum(number, 1)  # (D,)
        varies = spread > 1e-12 * squares
        return float((1 - errors[varies] / spread[varies]).mean()) if varies.any() else np.nan


TASKS: dict[str, Task] = {
    task.name: task for task in (Segmentation(), Classification(), Saliency(), Regression(), Task())
}


@dataclass(frozen=True)
class Scoring:
    """How the predictions of a run were scored; `Features.scoring` has it of every run.

    Attributes
    ----------
    task : Task
        One of `TASKS`.
    labelled : bool
        Whether predictions were compared with labels; else with the network's own prediction from all its inputs.
    columns : tuple of str
        What the columns of the parts are: classes or targets.

    Examples
    --------
    >>> Scoring(TASKS["regression"], True, ("depth",)).score, Scoring(TASKS["segmentation"], False, ("wall",)).score
    ('R²', 'agreement')
    """

    task: Task
    labelled: bool
    columns: tuple[str, ...]

    @classmethod
    def of(cls, found: Mapping[str, Any] | None, classes: Sequence[str]) -> Scoring:
        """The scoring that a manifest describes; where it says nothing, a segmentation with labels."""
        if found is None:
            return cls(TASKS["segmentation"], True, tuple(classes))
        names = classes if len(classes) == found["columns"] else [str(i + 1) for i in range(found["columns"])]
        return cls(TASKS[found["name"]], found["labelled"], tuple(names))

    def as_json(self) -> dict[str, Any] | None:
        """What a manifest holds of it; None for a segmentation with labels, which is what goes without saying."""
        if self.labelled and self.task.name == "segmentation":
            return None
        return {"name": self.task.name, "labelled": self.labelled, "columns": len(self.columns)}

    @property
    def score(self) -> str:
        """What the score is called as a measure."""
        return self.task.score if self.labelled or not self.task.parts else AGREEMENT

    def lack(self, measure: str) -> str | None:
        """Why it cannot serve a measure of `collaboration`; None where it can."""
        without = "the data have no labels" if not self.labelled and measure in ("class accuracy", "IoU") else None
        return self.task.lacks.get(measure, without)


SCORES = {task.score: task.said for task in TASKS.values() if task.score} | {
    AGREEMENT: "agreement with the network's own prediction from all its inputs"
}
"""Every name that a score has as a measure, and what it is in words."""


def task_of_labels(labels: Tensor | None, classes: int) -> Task | None:
    """The task that the labels alone tell; None where the network's output has to be seen.

    Examples
    --------
    >>> task_of_labels(None, 13) is None
    True
    """
    if labels is None or (labels.ndim == 3 and _whole(labels) and classes == 2):  # two classes may be one plane
        return None
    return TASKS["regression" if not _whole(labels) else "classification" if labels.ndim == 1 else "segmentation"]


def find_task(
    shape: Sequence[int] | None, labels: Tensor | None, classes: int, size: Sequence[int], name: str | None = None
) -> Task:
    """The task of a network whose output has this shape, by name or by what fits output and labels.

    Parameters
    ----------
    shape : sequence of int, or None
        Of the output for a batch; None where it is no tensor.
    labels : Tensor or None
        Of the batch.
    classes : int
        How many the data name.
    size : sequence of int
        Height and width of the images.
    name : str, optional
        A name of `TASKS`; None guesses.

    Raises
    ------
    ValueError
        Where the name is unknown or does not fit, or no task, or more than one, does.

    Examples
    --------
    >>> find_task((8, 13), None, 13, (4, 6)).name, find_task((8, 13, 4, 6), None, 13, (4, 6)).name
    ('classification', 'segmentation')
    >>> find_task((8, 1, 4, 6), None, 0, (4, 6))
    Traceback (most recent call last):
    ValueError: `task` must be named: an output of shape (8, 1, 4, 6) for data without labels may be of saliency or ...
    """
    if name is not None and name not in TASKS:
        raise ValueError(unknown("task", str(name), tuple(TASKS)))
    if name == "none":
        return TASKS[name]
    known = task_of_labels(labels, classes)
    if name is not None and known is not None and name != known.name and "saliency" not in (name, known.name):
        raise ValueError(
            f"`task` must be {known.name!r} for data {_described(labels, classes)}; got {name!r}: leave it out, or "
            "give data with other labels"
        )
    fitting = [] if shape is None else [t for t in TASKS.values() if t.fits(shape, labels, classes, size)]
    if name is not None and (shape is None or TASKS[name] in fitting):
        return TASKS[name]
    samples, got = shape[0] if shape else 1, "none that is one tensor" if shape is None else str(tuple(shape))
    if name is not None:
        raise ValueError(misfit(TASKS[name], got, samples, labels, classes, size))
    if not fitting:
        what = known.wanted(samples, labels, classes, size) if known else "what one of the tasks wants"
        raise ValueError(f"the model must return {what}; got {got}: {_FIX}")
    if len(fitting) > 1:
        names = " or ".join(task.name for task in fitting)
        raise ValueError(
            f"`task` must be named: an output of shape {got} for data {_described(labels, classes)} may be of {names}; "
            f"give task={fitting[0].name!r}"
        )
    return fitting[0]


_FIX = (
    "give `adapt`, a function of the model and its inputs that picks the output out and interpolates it; or "
    'task="none", to record responses only'
)


def misfit(task: Task, got: str, samples: int, labels: Tensor | None, classes: int, size: Sequence[int]) -> str:
    """What is said of an output that is not of a task."""
    given = f" for data {_described(labels, classes)}"
    return f"the model must return {task.wanted(samples, labels, classes, size)}; got {got}{given}: {_FIX}"


def wrong_scoring(found: object) -> str | None:
    """What is wrong with what a manifest says of a run's task; None where nothing is."""
    if found is None:
        return None
    right = isinstance(found, dict) and found.get("name") in TASKS and isinstance(found.get("labelled"), bool)
    columns = found.get("columns") if right else None
    if not right or not isinstance(columns, int) or isinstance(columns, bool) or columns < 0:
        return f"the task must have one of the names {', '.join(TASKS)}, labelled and columns; got {str(found)[:60]}"
    return None


def _whole(labels: Tensor) -> bool:
    return not labels.is_floating_point()


def _described(labels: Tensor | None, classes: int) -> str:
    if labels is None:
        return f"without labels{f' ({classes} classes)' if classes else ''}"
    kind = "numbers" if labels.is_floating_point() else f"{classes} classes"
    return f"with labels {tuple(labels.shape)} of {kind}"


def _hits(guess: Tensor, target: Tensor, classes: int) -> dict[str, np.ndarray]:
    """Pixels or images of every class, int32 (B, C): `hit` (right), `target` (labelled), `guess` (predicted)."""
    guess, target = guess.reshape(len(guess), -1), target.reshape(len(target), -1)  # (B, P)
    known = target != IGNORE
    masks = {"hit": (target, known & (guess == target)), "target": (target, known), "guess": (guess, known)}
    return {part: occurrences(values, mask, classes).astype(np.int32) for part, (values, mask) in masks.items()}


def occurrences(values: Tensor, mask: Tensor, count: int) -> np.ndarray:
    """How often each of 0 … `count` − 1 is in each row of `values` (B, P) where `mask` is true: (B, count).

    Raises ValueError for another class, or a mask of another shape or kind.

    Examples
    --------
    >>> import torch
    >>> occurrences(torch.tensor([[0, 1, 1]]), torch.tensor([[True, True, False]]), 3).tolist()
    [[1, 1, 0]]
    """
    import torch  # only extraction waits for this import

    if mask.dtype != torch.bool or mask.shape != values.shape:
        raise ValueError(f"`mask` must be bool {tuple(values.shape)}; got {mask.dtype} {tuple(mask.shape)}")
    rest = values.int().masked_fill(~mask, count)  # (B, P), what does not count in a class of its own
    if rest.numel() and not (0 <= rest.min() and rest.max() <= count):
        raise ValueError(f"`values` must be classes from 0 to {count - 1} where `mask` is true; got others")
    b = len(values)
    rest += (count + 1) * torch.arange(b, dtype=torch.int32, device=values.device)[:, None]
    counts = torch.bincount(rest.flatten(), minlength=b * (count + 1)).reshape(b, count + 1)
    return counts[:, :count].cpu().numpy()  # (B, count)
