"""Measures in common use, for comparison only: what they say of unrelated streams depends on widths and images."""

from rgbd_insight.metrics.baselines.calibrated import Calibrated, calibrated_similarity
from rgbd_insight.metrics.baselines.crosscoder import crosscoder_share
from rgbd_insight.metrics.baselines.neighbours import knn_overlap, rsa
from rgbd_insight.metrics.baselines.pairs import cka, matrix, minibatch_cka
from rgbd_insight.metrics.baselines.sampled import sampled_cka
from rgbd_insight.metrics.baselines.subspaces import procrustes, procrustes_distance, pwcca, svcca
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "Calibrated",
    "calibrated_similarity",
    "cka",
    "crosscoder_share",
    "knn_overlap",
    "matrix",
    "minibatch_cka",
    "procrustes",
    "procrustes_distance",
    "pwcca",
    "rsa",
    "sampled_cka",
    "svcca",
]

explain_arguments(globals())
