"""The answers of an audit in plain English; every wording is chosen by the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from rgbd_insight.features import AGREEMENT, SCORES
from rgbd_insight.result import Result

SLIGHT = 0.1  # the margin of the labels: a share or δ below it counts as hardly anything
LABELS = ("both", "together", "neither", "undecided")
READING = (
    "Numbers in brackets are 95 % intervals over whole groups; that of a mean over levels is the mean of the levels' "
    "intervals, at least as wide as its own."
)
REFUSED = "most of a view is the scenes that stood in for the other input"
MISSING = "what is missing says why"
TWO = {"both": "both inputs", "none": "neither (both from other scenes)"}
CEILINGS = {"other seed": "two seeds of one modality", "split half": "two halves of one stream's units"}


def number(value: float) -> str:
    """Three digits after the point, never "-0.000"; "not defined" for NaN."""
    if not np.isfinite(value):
        return "not defined"
    return f"{value:.3f}" if abs(value) >= 0.0005 else "0.000"


def interval(row: pd.Series) -> str:
    """A value with its interval, for example "0.312 (0.221 to 0.407)"."""
    if not np.isfinite(row["value"]):
        return "not defined"
    if not np.isfinite(row["low"]):
        return f"{number(row['value'])} (no interval)"
    return f"{number(row['value'])} ({number(row['low'])} to {number(row['high'])})"


def mean(rows: pd.DataFrame) -> pd.Series:
    """The mean over rows that have a value; its interval is the mean of theirs, which is at least as wide."""
    numbers = rows.loc[rows["value"].notna(), ["value", "low", "high", "null", "null_high", "ceiling"]]
    # one row without an interval leaves the mean without one
    return numbers.astype(float).mean(skipna=False) if len(numbers) else numbers.astype(float).mean()


def listed(values: Iterable[object], word: str = "level") -> str:
    """Several names as words, for example "levels 1, 2 and 4"."""
    values = [f"{v:g}" if isinstance(v, float) else str(v) for v in values]
    text = " and ".join([", ".join(values[:-1]), values[-1]]) if len(values) > 1 else "".join(values)
    return f"{word}{'s' if len(values) > 1 else ''} {text}".strip()


def pairs(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The rows of every two modalities that are compared, with their names."""
    for (a, b), part in rows.groupby(["modality", "versus"], sort=False):
        yield a, b, part


def joint(result: Result) -> str:
    """How far apart are the streams, two by two, by both axes?"""
    rows = result.rows("joint discrepancy")
    if not len(rows):
        return "How far apart the streams are cannot be told: neither axis can be put on its scale at any level."
    return " ".join(_apart(result, a, b, part.sort_values("level")) for a, b, part in pairs(rows))


def _apart(result: Result, a: str, b: str, rows: pd.DataFrame) -> str:
    first, last = rows.iloc[0], rows.iloc[-1]
    lines = [
        f"The joint discrepancy of {a} and {b}, 0 between {CEILINGS[first['ceiling_kind']]} and 1 between unrelated "
        f"streams, is {interval(first)} at level {first['level']:g}"
    ]
    if len(rows) > 1:
        way = (
            "the streams come closer"
            if last["high"] < first["low"]
            else "the streams part"
            if last["low"] > first["high"]
            else "which way they move cannot be told"
        )
        lines[0] += f" and {interval(last)} at level {last['level']:g}: {way}"
    lines[0] += "."
    names, pair = ("feature similarity", "semantic variance"), {"modality": a, "versus": b}
    parts = [result.rows(name, level=last["level"], **pair) for name in names]
    held = [f"{part.iloc[0]['measure']} is {interval(part.iloc[0])}" for part in parts if len(part)]
    text = f"At level {last['level']:g} their {' and their '.join(held)}."
    moved = result.rows("moved by joint training", label="joint discrepancy", level=last["level"], **pair)
    return " ".join([*lines, text, *(_moved(row) for _, row in moved.iterrows())])


def _moved(row: pd.Series) -> str:
    change = f"Beside networks trained on one modality alone, the discrepancy differs by {interval(row)}"
    if row["low"] > 0:
        return f"{change}: joint training keeps the streams further apart."
    if row["high"] < 0:
        return f"{change}: joint training brings the streams closer."
    return f"{change}, which cannot be told from none."


def consistency(result: Result) -> str:
    """Do the streams say the same, two by two?"""
    rows = result.rows("cka")
    if not len(rows):
        return f"Whether the streams say the same cannot be told: {MISSING}."
    return " ".join(_alike(result, a, b, part) for a, b, part in pairs(rows))


def _alike(result: Result, a: str, b: str, rows: pd.DataFrame) -> str:
    kind, pair = rows["ceiling_kind"].iloc[0], {"modality": a, "versus": b}
    refused, rows = rows.loc[rows["value"].isna(), "level"], rows[rows["value"].notna()]
    if not len(rows):
        why = _unsaid(result)
        return f"Whether {a} and {b} say the same cannot be told: {why}{' at every level' * (why == REFUSED)}."
    clear = rows["low"] > rows["null_high"]
    seen = ~clear & (rows["p"] <= 0.05)
    whole = mean(rows)
    head = (
        f"{a} and {b} say the same in part"
        if clear.all()
        else f"{a} and {b} say the same in part at some levels only"
        if clear.any()
        else f"that {a} and {b} say the same cannot be told from chance with certainty at any level"
    )
    lines = [
        f"{head[0].upper()}{head[1:]}: their similarity (debiased CKA, mean over {listed(rows['level'])}) is "
        f"{interval(whole)}, by chance {number(whole['null'])} (up to {number(whole['null_high'])}), between "
        f"{CEILINGS[kind]} {number(whole['ceiling'])}."
    ]
    for levels, text in (
        (rows.loc[clear, "level"], "The interval lies above chance at {}."),
        (rows.loc[seen, "level"], "At {} the permutation test tells it from chance, but the interval reaches chance."),
        (rows.loc[~clear & ~seen, "level"], "At {} it cannot be told from chance."),
    ):
        if len(levels):
            lines.append(text.format(listed(levels)))
    if len(refused):
        lines.append(f"Of {listed(refused)} nothing is said: {_unsaid(result)}.")
    return " ".join([*lines, *_share(result, pair), *_controlled(result, pair)])


def _unsaid(result: Result) -> str:
    """Why similarities are none: for a reason that is given, or their views are refused."""
    named = any(m.what.startswith(("cka", "level similarity")) for m in result.missing)
    return MISSING if named else REFUSED


def _share(result: Result, pair: dict[str, str]) -> list[str]:
    rows = result.rows("cka normalised", **pair)
    valued = rows[rows["value"].notna()]
    if not len(rows):
        return []
    if not len(valued):
        return [f"A share of the ceiling cannot be given: {rows['label'].iloc[0]}."]
    left_out = "" if len(valued) == len(rows) else f" (only {listed(valued['level'])} can be normalised)"
    return [f"Above chance that is {interval(mean(rows))} of the ceiling{left_out}."]


def _controlled(result: Result, pair: dict[str, str]) -> list[str]:
    rows = result.rows("cka controlled", **pair)
    if not len(rows) or rows["value"].isna().all():
        return []
    whole = mean(rows)
    stays = "stays above chance" if whole["low"] > whole["null_high"] else "cannot be told from chance"
    return [
        f"With brightness, contrast and mean and spread of the other modalities' values taken out, the mean is "
        f"{interval(whole)} and {stays}."
    ]


def specificity(result: Result) -> str:
    """What is in one modality only?"""
    corrected = len(result.rows("specific share")) > 0
    shares = result.rows("specific share" if corrected else "specific share uncorrected")
    noise = "" if corrected else ", not corrected for the noise of what predicts it"
    lines = []
    sides = ["modality", *(["versus"] if shares["versus"].notna().any() else [])]  # with more than two modalities
    for side, rows in shares[shares["label"] == "all"].groupby(sides, sort=False):
        modality, other = (*side, "the other modality")[:2]
        whole, valued = mean(rows), rows[rows["value"].notna()]
        part = mean(shares[(shares["label"] == "named") & (shares[sides] == list(side)).all(axis=1)])
        kind = "another seed" if rows["ceiling_kind"].iloc[0] == "other seed" else "the other half of its units"
        if not np.isfinite(whole["value"]):
            why = REFUSED if rows["ceiling"].isna().all() else f"{kind} reproduces nothing of it"
            lines.append(f"For {modality} no specific share can be given: {why}.")
            continue
        how = (
            "how much is its own cannot be told, as the share lies outside 0 to 1"
            if not 0 <= whole["value"] <= 1
            else "much is its own"
            if whole["low"] > 0.5
            else "a part is its own"
            if whole["low"] > SLIGHT
            else "hardly anything is its own"
            if whole["high"] < SLIGHT
            else "whether any is its own cannot be told"
        )
        lines.append(
            f"In {modality}, {how}: of the variance that {kind} reproduces, the share that {other} does not "
            f"predict is {interval(whole)} (mean over {listed(valued['level'])}{noise}), of which the concepts name "
            f"{interval(part)}."
        )
    return " ".join([*lines, *_concepts(result)])


def _concepts(result: Result) -> list[str]:
    every = result.rows("label", level=0)
    if not len(every):
        return ["No concept is in enough images to be asked for."]
    found, told = [], every["versus"].notna().any()  # of which pair, with more than two modalities
    for a, b, gaps in pairs(result.rows("difference", level=0)):
        labels = every[(every[["modality", "versus"]] == [a, b]).all(axis=1)] if told else every
        found += _labelled(labels["label"], gaps, a, b)
    return found


def _labelled(labels: pd.Series, gaps: pd.DataFrame, a: str, b: str) -> list[str]:
    counts = labels.value_counts()
    numbers = ", ".join(f"{counts.get(name, 0)} {name}" for name in (f"{a}", f"{b}", *LABELS))
    more, less = int((gaps["low"] > 0).sum()), int((gaps["high"] < 0).sum())
    lines = [
        f"Of {len(labels)} concepts, all levels together, {more} are decoded better from {a} and {less} better from "
        f"{b} (simultaneous intervals); their labels are: {numbers}."
    ]
    if counts.get("undecided", 0) > len(labels) / 2:
        lines.append("Most stay undecided, which says that there are too few images, not that the concepts are absent.")
    return lines


def evolution(result: Result) -> str:
    """How do the representations change over levels and in training?"""
    lines = []
    for modality in dict.fromkeys(result.rows(["family", "level similarity"])["modality"]):
        lines += _best_level(result, modality) + _change(result, modality) + _order(result, modality)
    return " ".join([*lines, *_training(result)]) or f"How they change cannot be told: {MISSING}."


def _best_level(result: Result, modality: str) -> list[str]:
    rows = result.rows("family", modality=modality)
    levels = [mean(part).rename(level) for level, part in rows.groupby("level")]
    levels = [row for row in levels if np.isfinite(row["value"])]
    if len(levels) < 2:
        return []
    best = max(levels, key=lambda row: row["value"])
    alike = [row.name for row in levels if row is not best and not row["high"] < best["low"]]
    doubt = f", not to be told apart from {listed(alike)}" if alike else ", more than every other level"
    return [
        f"The {modality} side holds most at level {best.name:g}: the mean δ of the concept families is "
        f"{interval(best)} there{doubt}."
    ]


def _change(result: Result, modality: str) -> list[str]:
    rows = result.rows("level similarity", modality=modality)
    if not len(rows):
        return []
    first, last = rows["level"].min(), rows["level"].max()
    row = rows[(rows["level"] == first) & (rows["versus"] == f"{last:g}")].iloc[0]
    if not np.isfinite(row["value"]):
        return [f"What is left of {modality} level {first:g} at level {last:g} cannot be told: {_unsaid(result)}."]
    kept = (
        "which is above chance"
        if row["low"] > row["null_high"]
        else "which the permutation test tells from chance though the interval reaches it"
        if row["p"] <= 0.05
        else "which cannot be told from chance"
    )
    return [
        f"From {modality} level {first:g} to {last:g} a similarity of {interval(row)} is left, {kept} "
        f"(up to {number(row['null_high'])})."
    ]


def _order(result: Result, modality: str) -> list[str]:
    rows = result.rows("centre of mass", modality=modality).sort_values("value")
    if len(rows) < 2:
        return []
    early, late = rows.iloc[0], rows.iloc[-1]
    apart = "which is later" if early["high"] < late["low"] else "though their intervals do not part them"
    return [
        f"The earliest family of {modality} is {early['family']}, centre of mass at level {interval(early)}; the "
        f"last is {late['family']}, {interval(late)}, {apart}."
    ]


def _training(result: Result) -> list[str]:
    rows = result.rows("to final")
    if not len(rows):
        return ["What happened in training is not known: there are no checkpoints."]
    lines = []
    for modality, part in rows.groupby("modality", sort=False):
        epochs = sorted(part["epoch"].unique())
        course = " and ".join(
            f"{interval(mean(part[part['epoch'] == e]))} after epoch {e:g}"
            for e in dict.fromkeys((epochs[0], epochs[-1]))
        )
        last = mean(part[part["epoch"] == epochs[-1]])
        settled = "as alike as" if last["low"] >= last["ceiling"] else "not certain to be as alike as"
        lines.append(
            f"In training, the {modality} side's similarity to its final state is {course}; the last is "
            f"{settled} the ceiling, {number(last['ceiling'])}."
        )
    return lines


def collaboration(result: Result) -> str:
    """How do the modalities share the work?"""
    rows = result.rows([*SCORES])
    score = rows["measure"].iloc[0] if len(rows) else "accuracy"
    own = rows[~rows["fusion"].isin(rows["condition"])]
    every = own["condition"].astype(str).str.contains("+", regex=False).any()  # of three or more modalities
    names = {"both": "all inputs", "none": "none (all from other scenes)"} if every else TWO
    shown = own[~own["condition"].astype(str).str.contains(":")]
    given = [names.get(c, f"{c.replace('+', ' and ')} alone") for c in shown["condition"]]
    text = "; ".join(f"with {what} {interval(row)}" for what, (_, row) in zip(given, shown.iterrows(), strict=True))
    said = f"{SCORES[score][0].upper()}{SCORES[score][1:]}"
    lines = [f"{said} is {text}."] if text else []
    if score == AGREEMENT:
        lines.append("There are no labels: what follows is about what the network says, not about whether it is right.")
    twins = rows[rows["fusion"].isin(rows["condition"])]
    if len(twins):
        text = "; ".join(f"{row['fusion']} {interval(row)}" for _, row in twins.iterrows())
        lines.append(f"Networks trained on one modality alone reach: {text}.")
    return " ".join([*lines, *_utilisation(result, score), *_retention(result)])


def _utilisation(result: Result, score: str) -> list[str]:
    rows = result.rows("utilisation")
    named = any(m.what.startswith("utilisation of") for m in result.missing)
    if not len(rows) and not named:
        return ["How much each modality is used cannot be told: not all conditions were recorded."]
    if rows["value"].isna().all():
        return [f"How much each modality is used cannot be told: {MISSING}."]
    lines, shares = [], []
    two = (rows["label"] == "Shapley").sum() == 2
    for modality in dict.fromkeys(rows.loc[rows["label"] == "Shapley", "modality"]):
        lost = result.one("utilisation", modality=modality, label="conditional")
        share = result.one("utilisation", modality=modality, label="Shapley")
        use = "needs" if lost["low"] > 0 else "does better without" if lost["high"] < 0 else "cannot be shown to need"
        lines.append(
            f"The network {use} {modality}: what is lost without it is {interval(lost)}, and its Shapley "
            f"share of the {score} beyond {'neither' if two else 'none'} is {interval(share)}."
        )
        shares.append(share)
    more, *less = sorted(shares, key=lambda row: -row["value"])
    rest = "'s or ".join(row["modality"] for row in less)
    certain = (
        f"More of the work is {more['modality']}'s than {rest}'s."
        if all(more["low"] > row["high"] for row in less)
        else f"Which of {'the two' if two else 'them'} does more of the work cannot be told."
    )
    extra = []
    for _, both in rows[rows["label"] == "interaction"].iterrows():
        what = (
            "together they give more than the sum of what each gives"
            if both["low"] > 0
            else "in part each gives what the other gives too"
            if both["high"] < 0
            else "no interaction can be shown"
        )
        of = "" if two else f" of {both['modality']} and {both['versus']}"
        extra.append(f"Interaction{of} {interval(both)}: {what}.")
    return [*lines, certain, *extra]


def _retention(result: Result) -> list[str]:
    lines = []
    for modality, rows in result.rows("retention", level=0).groupby("modality", sort=False):
        beyond = rows["null_high"].isna() | (rows["value"].abs() > rows["null_high"])
        gained, lost = int((beyond & (rows["low"] > 0)).sum()), int((beyond & (rows["high"] < 0)).sum())
        lines.append(
            f"Beside the network trained on {modality} alone, {gained} of {len(rows)} concepts are decoded "
            f"better from its side and {lost} worse (simultaneous intervals, all levels together)."
        )
    return lines


ANSWERS = {
    "joint": joint,
    "consistency": consistency,
    "specificity": specificity,
    "evolution": evolution,
    "collaboration": collaboration,
}
