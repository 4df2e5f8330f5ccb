"""Every measure scored on worlds whose answer is planted, ours and the alternatives, and what came of it."""

from rgbd_insight.validation.scenes import certificate_bound, expected_labels, label_scores
from rgbd_insight.validation.validate import bars, validate

__all__ = ["bars", "certificate_bound", "expected_labels", "label_scores", "validate"]
