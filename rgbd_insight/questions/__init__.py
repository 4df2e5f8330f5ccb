"""The four questions, each a function from `Features` to a `Result`."""

from rgbd_insight.questions.ablation import ablations
from rgbd_insight.questions.balance import balance
from rgbd_insight.questions.collaboration import collaboration
from rgbd_insight.questions.consistency import consistency
from rgbd_insight.questions.evolution import evolution
from rgbd_insight.questions.specificity import specificity

__all__ = ["ablations", "balance", "collaboration", "consistency", "evolution", "specificity"]
