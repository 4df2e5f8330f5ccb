"""One function a figure: `Result` or table in, matplotlib `Axes` out; `plot` draws the main figure of a question.

Colours keep their meaning in all of them: colour is orange, depth blue, both together green; grey is what chance gives,
a dashed line the ceiling, a diamond what was planted. Lines through points are intervals.
"""

from rgbd_insight.plots.claims import (
    accuracy_by_balance,
    balance,
    class_iou,
    doses,
    intervention,
    network_style,
    verdicts,
)
from rgbd_insight.plots.collaboration import ablation, accuracy, class_accuracy, gradients, retention, utilisation
from rgbd_insight.plots.consistency import partitioning, similarity
from rgbd_insight.plots.evolution import centre_of_mass, dimension, families_by_level, level_similarity, training
from rgbd_insight.plots.inputs import cues, decodability_by_encoding, purity, scenes, shares_by_encoding
from rgbd_insight.plots.main import main_measure, plot
from rgbd_insight.plots.plane import axis, level_pairs, moved, plane, quadrants
from rgbd_insight.plots.specificity import concepts, contributions, dissimilarity, presence, visibility
from rgbd_insight.plots.style import titled
from rgbd_insight.plots.tables import table_of
from rgbd_insight.plots.trust import (
    advantages,
    calibration,
    coverage,
    false_positives,
    kind_errors,
    measure_name,
    null_curves,
    partitioning_errors,
)
from rgbd_insight.plots.truth import against_truth, beside_truth, criteria, missed
from rgbd_insight.plots.units import KINDS_IN_WORDS, extremes, gallery, gallery_text, locations
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "KINDS_IN_WORDS",
    "ablation",
    "accuracy",
    "accuracy_by_balance",
    "advantages",
    "against_truth",
    "balance",
    "axis",
    "beside_truth",
    "calibration",
    "centre_of_mass",
    "class_accuracy",
    "class_iou",
    "concepts",
    "contributions",
    "coverage",
    "criteria",
    "cues",
    "decodability_by_encoding",
    "dimension",
    "dissimilarity",
    "doses",
    "extremes",
    "false_positives",
    "families_by_level",
    "gallery",
    "gallery_text",
    "gradients",
    "intervention",
    "kind_errors",
    "level_pairs",
    "level_similarity",
    "locations",
    "main_measure",
    "measure_name",
    "missed",
    "moved",
    "network_style",
    "null_curves",
    "partitioning",
    "partitioning_errors",
    "plane",
    "plot",
    "presence",
    "purity",
    "quadrants",
    "retention",
    "scenes",
    "shares_by_encoding",
    "similarity",
    "table_of",
    "titled",
    "training",
    "utilisation",
    "verdicts",
    "visibility",
]

explain_arguments(globals())
