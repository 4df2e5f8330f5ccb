"""The public alternatives by one name each, so that a battery can go through all of them."""

from __future__ import annotations

import numpy as np

from rgbd_insight.metrics import MEASURES

NAMES = ("cka", "minibatch_cka", "svcca", "pwcca", "procrustes", "rsa", "knn_overlap")
SYMMETRIC = tuple(name for name in NAMES if name in MEASURES)


def unit_free(name: str, x: np.ndarray, y: np.ndarray) -> float:
    """The value of an alternative that takes two streams."""
    return float(MEASURES[name].function(x, y))


def best_iou(x: np.ndarray, present: np.ndarray, top: float = 0.1) -> np.ndarray:
    """(U, K) intersection over union of the images that excite a unit most with those that show a concept.

    NetDissect's score with images in the place of pixels: of these the top .005 would be no image at all.
    """
    excited = x > np.quantile(x, 1 - top, axis=0)  # (N, U)
    both = excited.T.astype(float) @ present
    either = excited.sum(0)[:, None] + present.sum(0) - both
    return both / np.maximum(either, 1)
