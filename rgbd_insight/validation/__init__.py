"""Every measure scored on worlds whose answer is planted, ours and the alternatives, and what came of it."""

from rgbd_insight.utils.arguments import explain_arguments
from rgbd_insight.validation import scores
from rgbd_insight.validation.bars import ABSENT, OTHER_CODE, bars
from rgbd_insight.validation.origin import changed
from rgbd_insight.validation.plan import read_plan
from rgbd_insight.validation.scenes import certificate_bound, encoding_changes, expected_labels, label_scores
from rgbd_insight.validation.validate import validate

__all__ = [
    "ABSENT",
    "OTHER_CODE",
    "bars",
    "certificate_bound",
    "changed",
    "encoding_changes",
    "expected_labels",
    "label_scores",
    "read_plan",
    "scores",
    "validate",
]

explain_arguments(globals())
