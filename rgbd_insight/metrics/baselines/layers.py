"""The layers that baselines compare: checked, and each prepared once, whatever the number of pairs it is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from rgbd_insight.metrics.checks import check_lengths, check_rows, from_first_row

Prepared = TypeVar("Prepared")


def centred_layers(layers: Sequence[ArrayLike], names: Sequence[str]) -> list[np.ndarray]:
    """Every layer as float64 (N, U) deviations from its mean; a ValueError where one is not fit to be compared."""
    checked = [check_rows(layer, name) for layer, name in zip(layers, names, strict=True)]
    check_lengths(**dict(zip(names, checked, strict=True)))
    found = []
    for layer, name in zip(checked, names, strict=True):
        layer = from_first_row(layer)
        if not layer.any():
            raise ValueError(f"`{name}` must vary over the images; it is constant. Leave this tap out.")
        found.append(layer - layer.mean(0))
    return found


def every_pair(
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike] | None,
    prepare: Callable[[np.ndarray], Prepared],
    score: Callable[[Prepared, Prepared], tuple[float, float]],
) -> np.ndarray:
    """Matrix (L, M) of scores, each layer prepared once; without `second`, of `first` with itself, each pair once.

    `score` gives (from x to y, from y to x), which a symmetric measure has twice.
    """
    count = len(first)
    names = [f"first[{i}]" for i in range(count)] + [f"second[{i}]" for i in range(len(second or ()))]
    layers = [prepare(layer) for layer in centred_layers([*first, *(second or ())], names)]
    if second is not None:
        return np.array([[score(x, y)[0] for y in layers[count:]] for x in layers[:count]])
    matrix = np.empty((count, count))
    for i, x in enumerate(layers):
        for j in range(i, count):
            matrix[i, j], matrix[j, i] = score(x, layers[j])
    return matrix
