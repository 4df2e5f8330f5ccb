"""Interval, null and correction for many tests: one way for every measure."""

from rgbd_insight.stats.classical import (
    Regression,
    page_trend,
    proportion_interval,
    sign_flip,
    student_interval,
    student_p,
)
from rgbd_insight.stats.corrections import benjamini_hochberg, holm, max_p
from rgbd_insight.stats.estimates import Estimate, against, central_interval, p_value
from rgbd_insight.stats.groups import (
    blocks_of,
    checked_blocks,
    counted_once,
    cut_groups,
    group_codes,
    group_folds,
    permute_groups,
)
from rgbd_insight.stats.neighbours import Neighbours, neighbours
from rgbd_insight.stats.order import Shifts, in_order, stretches_of
from rgbd_insight.stats.plan import USUAL, Resampling, exchanged, permuted
from rgbd_insight.stats.resampling import combine, estimate, normalised
from rgbd_insight.stats.statistics import Statistic, averaged, evaluated
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "USUAL",
    "Estimate",
    "Neighbours",
    "Regression",
    "Resampling",
    "Shifts",
    "Statistic",
    "against",
    "averaged",
    "benjamini_hochberg",
    "blocks_of",
    "central_interval",
    "checked_blocks",
    "combine",
    "counted_once",
    "cut_groups",
    "estimate",
    "evaluated",
    "exchanged",
    "group_codes",
    "group_folds",
    "holm",
    "in_order",
    "max_p",
    "neighbours",
    "normalised",
    "p_value",
    "page_trend",
    "permute_groups",
    "permuted",
    "proportion_interval",
    "sign_flip",
    "stretches_of",
    "student_interval",
    "student_p",
]

explain_arguments(globals())
