"""The units of one stream, in order from consistent to specific."""

from __future__ import annotations

import numpy as np

from rgbd_insight.metrics.joint import variance_account
from rgbd_insight.metrics.probes import decodability
from rgbd_insight.metrics.ranking import Ranking, bounded, rank_units
from rgbd_insight.metrics.semantic import profiles
from rgbd_insight.metrics.similarity import max_correlation
from rgbd_insight.questions.networks import Networks


def ranked(nets: Networks, modality: str, level: int, among: np.ndarray | None = None) -> Ranking:
    """The ranking of the first network's units, beside the others' streams; `among` bool (N,) keeps some samples only.

    Responses are held back where they lie far out: one image on which everything does would decide the order.
    """
    among = np.ones(len(nets.features), bool) if among is None else among
    other = next(m for m in nets.modalities if m != modality)

    def stream(member: int, name: str) -> np.ndarray:
        return bounded(nets.view(member, name, level)[among])

    groups, present = nets.features.groups[among], nets.features.present[among]
    x, y, rest = stream(0, modality), stream(1, other), range(1, len(nets.members))
    account = variance_account(
        x, nets.features.areas[among], [stream(j, other) for j in rest], [stream(j, modality) for j in rest], groups,
        blocks=nets.blocks[among],
    )  # fmt: skip
    return rank_units(
        max_correlation(x, y), profiles(x, present, groups).s, decodability(y, present, groups).delta, account
    )
