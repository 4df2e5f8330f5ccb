"""The only loop that runs a model over a dataset in order to look inside it."""

from rgbd_insight.extraction.loop import extract

__all__ = ["extract"]
