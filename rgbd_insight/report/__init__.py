"""The audit: all four questions for one run, in words, tables and figures; and two audits side by side."""

from rgbd_insight.report.audit import Audit, audit, check_suffix, compare

__all__ = ["Audit", "audit", "check_suffix", "compare"]
