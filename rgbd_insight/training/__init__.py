"""The one training loop: AdamW, one schedule, deterministic by seed, resumable after a kill."""

from rgbd_insight.training.alignment import Alignment
from rgbd_insight.training.cache import Cache
from rgbd_insight.training.loop import train
from rgbd_insight.training.recipe import PROFILES, Recipe, log_spaced
from rgbd_insight.training.run import repeatable
from rgbd_insight.training.state import checkpoint, checkpoints
from rgbd_insight.utils.arguments import explain_arguments

__all__ = ["PROFILES", "Alignment", "Cache", "Recipe", "checkpoint", "checkpoints", "log_spaced", "repeatable", "train"]

explain_arguments(globals())
