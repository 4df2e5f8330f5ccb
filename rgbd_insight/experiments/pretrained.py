"""Networks that begin with ImageNet weights, beside small ones trained from nothing: one recipe, the same tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rgbd_insight.data import Folder
from rgbd_insight.experiments.plans import BLOCK, ISOLATED, NYUV2_DEPTH, Plan
from rgbd_insight.features import RunId
from rgbd_insight.models import FUSIONS

ENCODER = "efficientnet_lite0"
PRETRAINED, SCRATCH = "nyuv2-pretrained", "nyuv2-scratch"
SMALL = ("rgb", "depth", "se")
# what both begin with, stated before any run: colour and scale as ESANet's recipe varies them, encoders slower
RECIPE = {"lr": 1e-3, "encoder_lr": 0.2, "zoom": 1.5, "jitter": 0.3, "warmup": 0.1, "weight_decay": 0.02}
FROM_NOTHING = {"lr": 2e-3, "encoder_lr": 1.0}  # the small encoder has nothing to keep


@dataclass(frozen=True)
class Scale:
    """How large and how long a profile is: (H, W) of the images, passes, samples a step, images at a time, seeds."""

    size: tuple[int, int]
    epochs: int
    batch_size: int
    block: int
    seeds: int
    twin_seeds: int


SCALES = {
    "tiny": Scale((48, 64), 1, 8, 16, 2, 2),
    "small": Scale((120, 160), 10, 8, 64, 2, 0),
    "full": Scale((192, 256), 40, 16, BLOCK, 2, 2),
}


def pretrained_plans(
    profile: str, nyuv2: str, seed: int = 0, weights: str | Path | None = None, few: int | None = None
) -> list[Plan]:
    """The runs with pretrained encoders and those of small ones, on NYUv2.

    Parameters
    ----------
    profile : str
        "small" is `rgb`, `depth` and `se`, what a CPU trains in an hour; "tiny" and "full" are every operator.
    nyuv2 : str
        The folder of images.
    seed : int, optional
        The first seed.
    weights : str or Path, optional
        A file of the ImageNet weights; None takes the installed package.
    few : int, optional
        Only so many images of each split, for a rehearsal.

    Examples
    --------
    >>> [(plan.name, len(plan.runs), plan.recipe["epochs"]) for plan in pretrained_plans("full", "images")]
    [('nyuv2-pretrained', 32, 40), ('nyuv2-scratch', 32, 40)]
    """
    scale = SCALES[profile]
    seeds = tuple(range(seed, seed + scale.seeds))
    every = tuple(name for name, operator in FUSIONS.items() if not operator.widens)
    plan = Plan(
        PRETRAINED,
        "nyuv2",
        SMALL if profile == "small" else every,
        seeds,
        partial(_images, nyuv2, size=scale.size, few=few),
        {"encoder": ENCODER, "weights": weights, "depth_scale": NYUV2_DEPTH},
        RECIPE | {"flip": True, "epochs": scale.epochs, "batch_size": scale.batch_size},
        few or 654,
        twin_seeds=tuple(range(seeds[-1] + 1, seeds[-1] + 1 + scale.twin_seeds)),
        trajectories=tuple(RunId(name, seed) for name in (*ISOLATED, "se")),
        removals=("mean",),
        deep=(),
        block=scale.block,
        partners=2,
    )
    small = {"width": 32, "depth_scale": NYUV2_DEPTH}
    return [plan, replace(plan, name=SCRATCH, model=small, recipe=plan.recipe | FROM_NOTHING)]


def _images(path: str, split: str, size: tuple[int, int], few: int | None) -> Folder:
    return Folder(path, split, size=size)
