"""Measures in common use, for comparison only: what they say of unrelated streams depends on widths and images."""

from rgbd_insight.metrics.baselines.neighbours import knn_overlap, rsa
from rgbd_insight.metrics.baselines.pairs import cka, matrix, minibatch_cka
from rgbd_insight.metrics.baselines.subspaces import procrustes, procrustes_distance, pwcca, svcca

__all__ = [
    "cka",
    "knn_overlap",
    "matrix",
    "minibatch_cka",
    "procrustes",
    "procrustes_distance",
    "pwcca",
    "rsa",
    "svcca",
]
