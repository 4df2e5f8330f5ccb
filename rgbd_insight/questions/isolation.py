"""What questions say of views that are not wholly a modality's own: refused, mixed, corrected or unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from rgbd_insight.features import Features
from rgbd_insight.questions.guests import CLEAR, WHOLE, WORDS, OwnShare, own_share
from rgbd_insight.questions.networks import TWINS
from rgbd_insight.result import Missing, Result

SHARED = (
    "consistent share",
    "specific share",
    "concept ranking",
    "total ranking",
    "label",
    "yardstick",
    "share of",
    "C",
    "S",
)  # how measures begin that rest on the views of both modalities
PREDICTED = (
    "accuracy",
    "class accuracy",
    "utilisation",
    "utilisation by removal",
    "IoU",
    "class IoU",
    "ablation",
    "dose",
    "gradient cosine",
)  # measures that rest on what was predicted, not on a view
AGAIN = "extract it again, ri.extract(model, data, out=…): the guests are then the same for every image, and a constant"
MORE = "extract it beside more guests, ri.extract(model, data, out=…, draws=…): what is theirs falls as one over draws"
NUMBERS = ["value", "low", "high", "null", "null_high", "p", "ceiling"]


def judged(features: Features, result: Result) -> Result:
    """The result without the numbers of views that are mostly their guests', and with what is said of mixed ones.

    Parameters
    ----------
    features : Features
        That the result was made of.
    result : Result
        Of a question; numbers of predictions are left alone.

    Returns
    -------
    Result
        Where a view that a row rests on is refused, the row's numbers are NaN and its concept is undecided; `missing`
        names the refused, mixed, corrected and unknown views of every run.

    Notes
    -----
    A view is refused where less than half of its variance is its own scene's (`LEAST`): its main directions, which CKA
    and principal components follow, are then other scenes'. Below .8 (`CLEAR`) it is mixed: what it shares with
    another modality's stream is too small by a fifth or more, and what is called specific is too large, as its other
    seeds had the same guests and repeat what these added.
    """
    names, table = [m.name for m in features.modalities], result.table.copy()
    seen: dict[tuple[str, str, int], OwnShare] = {}
    spoiled = []
    columns = ["measure", "run", "seed", "epoch", "modality", "versus", "level"]
    for cells, part in table.groupby(columns, dropna=False, sort=False):
        places = list(_places(features, names, dict(zip(columns, cells, strict=True))))
        seen |= {place: own_share(features, *place) for place in places}
        spoiled += part.index.tolist() if any(seen[place].refused for place in places) else []
    table.loc[spoiled, NUMBERS] = np.nan
    labelled = table.index.isin(spoiled) & (table["measure"] == "label")
    table["label"] = table["label"].mask(labelled, "undecided") if labelled.any() else table["label"]
    return replace(result, table=table, missing=tuple(dict.fromkeys([*result.missing, *_told(features, seen)])))


def _places(features: Features, names: list[str], row: dict) -> Iterator[tuple[str, str, int]]:
    """The views (run, modality, level) that a row rests on."""
    if row["run"] == TWINS or "/" in row["run"] or row["measure"] in PREDICTED:  # of twins of one seed: "a/b"
        return
    both = row["measure"].startswith(SHARED)
    if not both and row["modality"] not in names:
        return
    levels = [WHOLE] if pd.isna(row["level"]) else [int(row["level"])]
    for run in _runs(features, row):
        for name in names if both else dict.fromkeys([row["modality"], *({row["versus"]} & {*names})]):
            for level in levels:
                yield run, name, level


def _runs(features: Features, row: dict) -> list[str]:
    """The run of a row, and those it is compared with: a checkpoint's end of training, a final run's other seeds."""
    run = row["run"]
    if run not in features.runs.index:  # the name of several, of which the row names the first: its end of training
        named = features.find(fusion=run, seed=row["seed"]) if pd.notna(row["seed"]) else []
        ends = [r for r in named if features.entry(r)["role"] == "final"]
        alike = [r for r in named if features.entry(r)["epoch"] == row["epoch"]]  # where there is no end
        run = next(iter([*ends, *alike]), None) or features.resolve(run)
    entry = features.entry(run)
    if entry["role"] != "final":
        ends = features.find(fusion=entry["fusion"], seed=entry["seed"], role="final")
        return [run, *ends] if row["versus"] == "final" else [run]
    return [run, *features.siblings(run)]


def _told(features: Features, seen: dict[tuple[str, str, int], OwnShare]) -> list[Missing]:
    """What is to be said of views, once for each run and modality."""
    kinds: dict[tuple, list[str]] = {}
    for (run, modality, level), share in sorted(seen.items()):
        if kind := _kind(share):
            where = "all levels" if level == WHOLE else f"level {level}"
            numbers = {"unknown": "", "corrected": f" {share.recorded:.2f}, now {share.value:.2f}"}
            found = where + numbers.get(kind, f" {share.value:.2f}")
            kinds.setdefault((run, modality, kind, share.how, share.stream), []).append(found)
    again = {"recorded": MORE}  # the guests are the same already: only what depends on image and guest is left of them
    return [Missing(*_words(*key, "; ".join(found)), again.get(key[3], AGAIN)) for key, found in kinds.items()]


def _kind(share: OwnShare) -> str:
    """Which word is due to a view; "" for none."""
    if np.isnan(share.value):
        return "unknown"
    if share.refused:
        return "refused"
    return "mixed" if share.qualified else "corrected" if share.recorded < CLEAR else ""


def _words(run: str, modality: str, kind: str, how: str, stream: str, found: str) -> tuple[str, str]:
    """What is missing of a run's views, and why."""
    place = f"{run}'s view of {modality}" + ("" if stream == modality else f", which is read at the {stream} tap")
    part = f"share of the variance that is its own scene's ({WORDS[how]}): {found}"
    stood = "other scenes' input stood in for the other one"
    return {
        "unknown": (f"whether {place} is its own ({found})", f"{stood}; how much of it that is, is not known"),
        "refused": (place, f"it is mostly other scenes': {stood}; {part}"),
        "mixed": (f"{place}, without its guests", f"{stood}; {part}"),
        "corrected": (f"{place}, beside the same guests for every image", f"{stood}; what it predicts is out; {part}"),
    }[kind]
