"""The audit: all four questions for one run, in words, tables and figures; and two audits side by side."""

from rgbd_insight.report.audit import Audit, audit, compare
from rgbd_insight.report.compare import Comparison, compare_reports, read_report
from rgbd_insight.report.page import check_suffix
from rgbd_insight.utils.arguments import explain_arguments

__all__ = ["Audit", "Comparison", "audit", "check_suffix", "compare", "compare_reports", "read_report"]

explain_arguments(globals())
