"""rgbd_insight: what networks that fuse colour and depth represent, measured."""

from rgbd_insight.utils import messages as _messages  # noqa: F401  first: of Ctrl-C while the rest is imported

# isort: split
from rgbd_insight import data, models, stats
from rgbd_insight.extraction import extract
from rgbd_insight.features import Ablation, Concept, Features, FeaturesError, FeatureWriter, Modality, load
from rgbd_insight.hooks import Tap, candidates, mute, purity, taps, trace
from rgbd_insight.plots import plot
from rgbd_insight.questions import ablations, collaboration, consistency, evolution, joint, specificity
from rgbd_insight.report import audit, compare
from rgbd_insight.result import Missing, Result
from rgbd_insight.training import train

__all__ = [
    "Ablation",
    "Concept",
    "FeatureWriter",
    "Features",
    "FeaturesError",
    "Missing",
    "Modality",
    "Result",
    "Tap",
    "ablations",
    "audit",
    "candidates",
    "collaboration",
    "compare",
    "consistency",
    "data",
    "evolution",
    "extract",
    "joint",
    "load",
    "models",
    "mute",
    "plot",
    "purity",
    "specificity",
    "stats",
    "taps",
    "trace",
    "train",
]

__version__ = "0.1.0"
