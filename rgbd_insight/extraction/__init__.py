"""Extraction: the only analysis loop over a model, and what it does with a block of samples."""

from rgbd_insight.extraction.calling import call, call_name, fitted
from rgbd_insight.extraction.extractor import at_rest
from rgbd_insight.extraction.loop import extract
from rgbd_insight.utils.arguments import explain_arguments

__all__ = ["at_rest", "call", "call_name", "extract", "fitted"]

explain_arguments(globals())
