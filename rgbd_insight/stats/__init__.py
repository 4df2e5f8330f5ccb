"""Interval, null and correction for many tests: one way for every measure."""

from rgbd_insight.stats.corrections import benjamini_hochberg, holm, max_p
from rgbd_insight.stats.estimates import Estimate
from rgbd_insight.stats.groups import blocks_of, cut_groups, group_codes, group_folds, permute_groups
from rgbd_insight.stats.resampling import combine, estimate, from_leave_outs, normalised

__all__ = [
    "Estimate",
    "benjamini_hochberg",
    "blocks_of",
    "combine",
    "cut_groups",
    "estimate",
    "from_leave_outs",
    "group_codes",
    "group_folds",
    "holm",
    "max_p",
    "normalised",
    "permute_groups",
]
