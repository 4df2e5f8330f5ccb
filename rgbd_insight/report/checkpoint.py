"""What one checkpoint can say: without other seeds, twins, a control or labels; and the calls that add them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rgbd_insight.features import Features
from rgbd_insight.questions import consistency, evolution
from rgbd_insight.questions.networks import networks
from rgbd_insight.report.answers import interval, mean
from rgbd_insight.result import Result

PERMUTATIONS = 20  # of the control, whose null nobody asks for


def one_checkpoint(features: Features, run: str, results: Mapping[str, Result]) -> str:
    """A paragraph on what a run can say by itself; "" where there is another seed of it.

    Parameters
    ----------
    features : Features
        From `load`.
    run : str
        A run id.
    results : mapping of str to Result
        Question -> what was found of the run.

    Returns
    -------
    str
        What can be said, what the control says beside it, what cannot be said, and the calls that add what is absent.
    """
    if networks(features, run).ceiling_kind != "split half":
        return ""
    entry, scoring = features.entry(run), features.scoring(run)
    twins = [m.name for m in features.modalities if features.twin(run, m.name) is None]
    control = next(iter(features.find(fusion=entry["fusion"], seed=entry["seed"], role="untrained")), None)
    lost = f", and what its {scoring.score} loses without each" if scoring.task.parts else ""
    lines = [
        "This one checkpoint can say how alike its streams are beyond chance, which concepts are decoded from which "
        f"modality, at which level they appear{lost}."
    ]
    if control not in (None, run):
        lines.append(_beside(features, control, results))
    cannot = {} if control or entry["role"] == "untrained" else {"control": "what the architecture alone would do"}
    cannot["seeds"] = (
        "how far another seed would be from it: ceilings are taken between two halves of a stream's units, which are "
        "more alike than two seeds, and shares are not corrected for noise"
    )
    cannot |= {"twins": "what joint training changed"} if twins else {}
    calls = _calls(features, run, twins)
    added = "; ".join(f"the {name}, {calls[name]}" for name in cannot)
    return " ".join([*lines, f"It cannot say {'; nor '.join(cannot.values())}. To add {added}."])


def _beside(features: Features, control: str, results: Mapping[str, Result]) -> str:
    """The run beside the same network with random weights: similarity, and what is decoded at the last level."""
    last = features.levels(control)[-1]
    alike = consistency(features, control, measures=["cka"], permutations=PERMUTATIONS).rows("cka")
    decoded = evolution(features, control, levels=[last], measures=["family"]).rows("family")
    pairs = (
        ("the similarity of its streams (mean over levels)", results["consistency"].rows("cka"), alike),
        (
            f"the mean δ of its concept families at level {last}",
            results["evolution"].rows("family", level=last),
            decoded,
        ),
    )
    said = []
    for what, own, random in pairs:
        mine, theirs = mean(own), mean(random)
        if np.isfinite(mine["value"]) and np.isfinite(theirs["value"]):
            apart = mine["low"] > theirs["high"] or mine["high"] < theirs["low"]
            told = "" if apart else ", which cannot be told apart"
            said.append(f"{what} is {interval(mine)}, and {interval(theirs)} with random weights{told}")
    return f"Beside its control: {'; '.join(said)}." if said else "Its control has no value to stand beside."


def _calls(features: Features, run: str, twins: list[str]) -> dict[str, str]:
    """The exact calls that add what is absent."""
    entry = features.entry(run)
    known = ("fusion", "seed") if "epoch" in entry["about"].get("unknown", "") else ("fusion", "seed", "epoch")
    named = {key: entry[key] for key in known}
    rest = f'data, taps, out="{features.path}"'
    unimodal = " and ".join(f"{named | {'fusion': name}}" for name in twins)
    return {
        "control": f"ri.extract(model, {rest}, run={named}, control=True), or rgbd-insight extract … --control",
        "seeds": f"train the same network with seeds {entry['seed'] + 1} and {entry['seed'] + 2}, and for each "
        f"ri.extract(model, {rest}, run={named | {'seed': entry['seed'] + 1}})",
        "twins": f"train the encoder of {' and of '.join(twins)} alone, in a model whose `modalities` name that "
        f"one, and ri.extract(twin, {rest}, run=…) with run {unimodal}",
    }
