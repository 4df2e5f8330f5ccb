"""The four questions and the join of both axes, each a function from `Features` to a `Result`."""

from rgbd_insight.questions.ablation import ablations
from rgbd_insight.questions.balance import as_made, balance
from rgbd_insight.questions.chance import at_chance
from rgbd_insight.questions.collaboration import collaboration
from rgbd_insight.questions.consistency import consistency
from rgbd_insight.questions.evolution import evolution
from rgbd_insight.questions.joint import joint
from rgbd_insight.questions.losses import accuracy_estimate
from rgbd_insight.questions.specificity import specificity
from rgbd_insight.questions.units import Unit, best_unit
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "Unit",
    "ablations",
    "accuracy_estimate",
    "as_made",
    "at_chance",
    "balance",
    "best_unit",
    "collaboration",
    "consistency",
    "evolution",
    "joint",
    "specificity",
]

explain_arguments(globals())
