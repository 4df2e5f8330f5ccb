"""Measures: pure functions of response arrays, and the statistics that `stats.estimate` takes."""

from rgbd_insight.metrics.attenuation import (
    CorrectedStatistic,
    corrected_ceilings,
    corrected_level_shares,
    corrected_partitioning,
    corrected_partitionings,
    corrected_unit_shares,
)
from rgbd_insight.metrics.auroc import pair_counts
from rgbd_insight.metrics.cka import cka_matrix, cka_statistic, debiased_cka, effective_dimension
from rgbd_insight.metrics.dissection import dissect, iou_statistic
from rgbd_insight.metrics.hsic import Moments, unbiased_hsic
from rgbd_insight.metrics.information import Information, excess_synergy, information_decomposition
from rgbd_insight.metrics.joint import QuadrantShares, SemanticScale, joint_score, partner_axes, semantic_scale
from rgbd_insight.metrics.labels import concept_labels
from rgbd_insight.metrics.partitioning import (
    ConsistentShare,
    Partitioning,
    PartitioningStatistic,
    consistent_share,
    explained,
    level_shares,
    partitionings,
    unit_shares,
    variance_partitioning,
)
from rgbd_insight.metrics.prediction import predictivity, predictivity_statistic
from rgbd_insight.metrics.probes import Decodability, DecodabilityStatistic, decodability
from rgbd_insight.metrics.ranking import PredictedStatistic, Ranking, bounded, concept_weights, rank_units
from rgbd_insight.metrics.registry import INVARIANCES, MEASURES, Measure
from rgbd_insight.metrics.semantic import (
    LevelSemanticVariance,
    concept_variance,
    level_semantic_variance,
    profiles,
    semantic_variance,
)
from rgbd_insight.metrics.soft_matching import Matching, matching, matching_statistic, max_correlation
from rgbd_insight.metrics.strata import cooccurrence_strata
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "INVARIANCES",
    "MEASURES",
    "ConsistentShare",
    "CorrectedStatistic",
    "Decodability",
    "DecodabilityStatistic",
    "Information",
    "LevelSemanticVariance",
    "Matching",
    "Measure",
    "Moments",
    "Partitioning",
    "PartitioningStatistic",
    "PredictedStatistic",
    "QuadrantShares",
    "Ranking",
    "SemanticScale",
    "bounded",
    "cka_matrix",
    "cka_statistic",
    "concept_labels",
    "concept_variance",
    "concept_weights",
    "consistent_share",
    "cooccurrence_strata",
    "corrected_ceilings",
    "corrected_level_shares",
    "corrected_partitioning",
    "corrected_partitionings",
    "corrected_unit_shares",
    "debiased_cka",
    "decodability",
    "dissect",
    "effective_dimension",
    "excess_synergy",
    "explained",
    "information_decomposition",
    "iou_statistic",
    "joint_score",
    "level_semantic_variance",
    "level_shares",
    "matching",
    "matching_statistic",
    "max_correlation",
    "pair_counts",
    "partner_axes",
    "partitionings",
    "predictivity",
    "predictivity_statistic",
    "profiles",
    "rank_units",
    "semantic_scale",
    "semantic_variance",
    "unbiased_hsic",
    "unit_shares",
    "variance_partitioning",
]

explain_arguments(globals())
