"""Which units to silence: the most specific, the most consistent, and as many at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rgbd_insight import stats
from rgbd_insight.features import USUAL_SHARE, Ablation, AblationName, Features
from rgbd_insight.questions.networks import Networks, networks
from rgbd_insight.questions.units import ranked
from rgbd_insight.utils.messages import checked_whole


def chosen_on(nets: Networks) -> np.ndarray:
    """Samples on which units are chosen, bool (N,): every other block of groups; the effect is judged on the rest."""
    groups = nets.features.groups
    return stats.blocks_of(groups, min(stats.USUAL.blocks, groups.max() + 1)) % 2 == 0


def ablations(
    features: Features,
    run: str,
    *,
    shares: Sequence[float] = (USUAL_SHARE,),
    draws: int = 19,
    inputs: Sequence[str] = ("both",),
    seed: int = 0,
) -> tuple[Ablation, ...]:
    """Conditions for `extract` that silence a share of each modality's units at all levels.

    Parameters
    ----------
    features : Features
        From `load`, with all units of the run (not the committed selection of units).
    run : str
        A run id or fusion name with a stream of each modality and a second seed.
    shares : sequence of float
        Doses, each a share of the reliable units of each level, in (0, 0.5].
    draws : int
        Random sets of the same size, which specific and consistent units are compared with; 99 for a claim.
    inputs : sequence of str
        What the network is given meanwhile, such as "both" or "rgb:mean" (depth held at its mean). Under the latter
        only units of the modality that is given are silenced, at the dose of a quarter.
    seed : int
        Of the random sets.

    Returns
    -------
    tuple of Ablation
        For each modality, share and input one "specific", one "consistent" and `draws` "random" ablations, named by
        `AblationName`. Units are ranked on half of the groups (`chosen_on`); `collaboration` judges what their loss
        does on the other half.

    Raises
    ------
    ValueError
        Where a share or `draws` is out of range, or the features hold a selection of the units only.
    """
    checked_whole("draws", draws, 1, 10**3, "19 are usual, 99 for a claim")
    if not shares or not all(0 < share <= 0.5 for share in shares):
        raise ValueError(f"`shares` must be in (0, 0.5]; got {tuple(shares)}")
    nets = networks(features, run)
    if features.entry(run).get("quantised") is not None:
        raise ValueError(f"`features` must hold all units of {run!r}; these are a selection. Extract the run anew.")
    rng, found = np.random.default_rng(seed), []
    for modality in nets.modalities:
        orders = {level: _order(nets, modality, level) for level in nets.levels}
        for share in shares:
            sets = _sets(orders, share, draws, rng)
            for given in (
                name for name in inputs if name == "both" or (share == USUAL_SHARE and _kept(name) == modality)
            ):
                found += [
                    Ablation(
                        str(AblationName(kind, modality, number, share, given)),
                        {(modality, lv): tuple(sorted(map(int, units))) for lv, units in chosen.items()},
                        inputs=given,
                    )
                    for (kind, number), chosen in sets.items()
                ]
    return tuple(found)


def _kept(inputs: str) -> str:
    """The modality that a condition leaves as it is."""
    return inputs.partition(":")[0]


def _sets(orders: dict[int, np.ndarray], share: float, draws: int, rng: np.random.Generator) -> dict[tuple, dict]:
    """(kind, number) -> level -> units, from each level's units ordered from consistent to specific."""
    counts = {level: round(share * len(order)) for level, order in orders.items()}
    sets = {
        ("consistent", 0): {lv: order[: counts[lv]] for lv, order in orders.items()},
        ("specific", 0): {lv: order[len(order) - counts[lv] :] for lv, order in orders.items()},
    }
    for i in range(draws):
        sets["random", i + 1] = {lv: rng.permutation(order)[: counts[lv]] for lv, order in orders.items()}
    return sets


def _order(nets: Networks, modality: str, level: int) -> np.ndarray:
    """Reliable units of the first network by total specificity, from the most consistent to the most specific.

    Silencing a unit takes all that it does, named or not, so what the other modality has of all of it decides.
    """
    ranking = ranked(nets, modality, level, among=chosen_on(nets))
    reliable = np.flatnonzero(~ranking.unreliable)
    return reliable[np.argsort(ranking.total[reliable], kind="stable")]
