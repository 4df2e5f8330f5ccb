"""What an extraction does with a network's output: find its task, check it, count what its score is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rgbd_insight.data import Batch, Dataset
from rgbd_insight.data.batch import inputs_of
from rgbd_insight.extraction.blocks import check_batch
from rgbd_insight.extraction.calling import Adapt, call
from rgbd_insight.features import Scoring, TensorKey, find_task, misfit, task_of_labels


class Scorer:
    """The scoring of a network's outputs on a dataset, and outputs made into what is stored of them.

    Parameters
    ----------
    scoring : Scoring
        The task, and whether there are labels.
    data : Dataset
        Names of the classes and size of the images.
    labels : Tensor or None
        Those of any one sample: of the shape and kind that all have.
    """

    def __init__(self, scoring: Scoring, data: Dataset, labels: Tensor | None) -> None:
        self.scoring, self.task = scoring, scoring.task
        self._like = (labels, len(data.classes), data.size)

    def check(self, output: Tensor, ids: Sequence[str]) -> None:
        """Raise a ValueError where an output is not of the task, or not finite."""
        if not self.task.parts:
            return
        shape = tuple(output.shape) if isinstance(output, Tensor) else None
        if shape is None or shape[0] != len(ids) or not self.task.fits(shape, *self._like):
            got = type(output).__name__ if shape is None else str(shape)
            raise ValueError(misfit(self.task, got, len(ids), *self._like))
        if not bool(torch.isfinite(output.sum())) and not bool(torch.isfinite(output).all()):  # mostly the sum says it
            sample = ids[int((~torch.isfinite(output)).reshape(len(ids), -1).any(1).nonzero()[0, 0])]
            raise ValueError(
                f"the model must return finite numbers; got NaN or infinity for sample {sample!r}: check its weights, "
                "or run it in float32"
            )

    def truth(self, batch: Batch) -> Tensor | None:
        """What predictions are compared with; None where that is the network's own, or nothing."""
        return batch.labels if self.scoring.labelled else None

    def count(self, condition: str, output: Tensor, truth: Tensor) -> dict[str, np.ndarray]:
        """What is kept of B predictions under a condition, by the keys under which it is stored."""
        return {str(TensorKey(condition, part=part)): x for part, x in self.task.count(output, truth).items()}


def scorer(model: nn.Module, data: Dataset, task: str | None, adapt: Adapt, device: torch.device) -> Scorer:
    """The scorer of a network at rest: its task as named, or as the labels, and where they cannot the output, tell.

    Parameters
    ----------
    model : Module
        On `device`.
    data : Dataset
        Its first sample is looked at.
    task : str or None
        A name of `features.TASKS`; None finds it.
    adapt : callable or None
        How the model is called.
    device : torch.device
        Where it is.

    Raises
    ------
    ValueError
        Where no task, or more than one, fits.

    Examples
    --------
    >>> from rgbd_insight.data import Scenes
    >>> from rgbd_insight.models import build
    >>> data = Scenes(n=2)
    >>> model = build("sum", classes=len(data.classes), width=8)
    >>> scorer(model, data, None, None, torch.device("cpu")).task.name
    'segmentation'
    """
    first = check_batch(inputs_of(data)([0]), data)
    labels, classes = first.labels, len(data.classes)
    told, shape = task_of_labels(labels, classes), None
    if task is not None and (told is not None or task == "none"):
        told = find_task(None, labels, classes, data.size, task)
    if told is None:
        output = call(model, tuple(first.to(device).inputs.values()), adapt)
        shape = tuple(output.shape) if isinstance(output, Tensor) else None
        told = find_task(shape, labels, classes, data.size, task)
    if not told.parts:
        return Scorer(Scoring(told, labels is not None, ()), data, labels)
    columns = told.columns(shape or labels.shape, classes)
    names = data.classes or tuple(str(i + 1) for i in range(columns))
    return Scorer(Scoring(told, labels is not None, tuple(names)), data, labels)
