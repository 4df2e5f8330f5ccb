"""The audit: both axes and the four questions for one run, in words, tables and figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd

from rgbd_insight.features import SAME, SCORES, Features, FeaturesError
from rgbd_insight.questions import collaboration, consistency, evolution, joint, specificity
from rgbd_insight.questions.guests import OwnShare, own_share
from rgbd_insight.questions.networks import WHOLE, networks
from rgbd_insight.report.answers import ANSWERS, READING
from rgbd_insight.report.checkpoint import one_checkpoint
from rgbd_insight.report.compare import FORMAT, Comparison, compare_reports
from rgbd_insight.report.page import figures, render, tables, write
from rgbd_insight.result import Missing, Result, joined


def _specificity(features: Features, run: str) -> Result:
    """δ and shares at every level; labels, which take three more probes each, of all levels together only."""
    found = specificity(features, run, measures=["decodability", "difference", "specific share"])
    return joined([found, specificity(features, run, levels=[WHOLE], measures=["label"])])


QUESTIONS: dict[str, tuple[Callable[..., Result], dict[str, Any]]] = {
    "joint": (joint, {}),
    "consistency": (consistency, {"measures": ["cka", "cka controlled", "cka normalised"]}),
    "specificity": (_specificity, {}),
    "evolution": (evolution, {"measures": ["level similarity", "family", "centre of mass", "to final"]}),
    "collaboration": (
        collaboration,
        {"measures": ["accuracy", "utilisation", "retention", "class accuracy"], "levels": [0]},
    ),
}
SAME_GUESTS = "the same for every image"
SLIGHT = 1e-6  # of a response's size: what rounding moves, which is no impurity
FEW = 100  # groups: below, intervals of concepts are too wide to say much
RARE, LISTED = " (concept)", 12  # how `specificity` marks a concept in `missing`; how many of them are named


@dataclass(frozen=True)
class Audit:
    """What `audit` found; shows itself in a notebook.

    Attributes
    ----------
    run : str
        The run id.
    results : dict of str to Result
        Question -> Result.
    card : dict of str to str or int
        What another audit must share with this one for their numbers to be compared.
    warnings : tuple of str
        What weakens the answers.
    alone : str
        What the run can say without other seeds, twins and a control, and the calls that add them; "" where all are.
    """

    run: str
    results: dict[str, Result]
    card: dict[str, str | int]
    warnings: tuple[str, ...] = ()
    alone: str = ""
    answers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        answers = {name: ANSWERS[name](r) for name, r in self.results.items()}
        object.__setattr__(self, "answers", answers | ({"one checkpoint": self.alone} if self.alone else {}))

    @property
    def title(self) -> str:
        """The run's name; where nobody said how far it was trained, the epoch that it is filed under is no epoch."""
        return f"{self.run} (epoch unknown)" if self.card["epoch"] == "unknown" else self.run

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What could not be said, each once; rare concepts are among the warnings."""
        every = dict.fromkeys(m for result in self.results.values() for m in result.missing)
        return tuple(m for m in every if not m.what.endswith(RARE))

    def text(self) -> str:
        """The answers, the warnings and what is missing, as plain text."""
        card = self.card
        parts = [f"Audit of {self.title} on {card['data']}: {card['images']} images, {card['groups']} groups"]
        parts += [fill(f"{name.upper()}. {answer}", 100) for name, answer in self.answers.items()]
        parts.append(fill(READING, 100))
        if self.warnings:
            parts.append("\n".join(["MIND", *(_item(w) for w in self.warnings)]))
        if self.missing:
            items = [f"{_item(f'{m.what}: {m.why}')}\n    -> {m.call}" for m in self.missing]
            parts.append("\n".join(["MISSING", *items]))
        return "\n\n".join(parts) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write the audit to `path`: a page of its own (.html), or tables and card (.json); returns the path."""
        return write(path, self._page, self.to_dict)

    def to_dict(self) -> dict[str, Any]:
        """Card, answers, warnings, what is missing and the rows of all tables, as the .json holds them."""
        rows = {
            name: [{k: v for k, v in row.items() if pd.notna(v)} for row in result.table.to_dict("records")]
            for name, result in self.results.items()
        }
        return {
            "format": FORMAT,
            "run": self.run,
            "card": self.card,
            "answers": self.answers,
            "warnings": list(self.warnings),
            "missing": [vars(m) for m in self.missing],
            "tables": rows,
        }

    def _page(self) -> str:
        drawn = {name: figures(result) for name, result in self.results.items()}
        shown = {name: tables(result) for name, result in self.results.items()}
        return render("audit.html", audit=self, reading=READING, figures=drawn, tables=shown)

    def __repr__(self) -> str:
        return f"Audit({self.run!r}): print(audit.text()), or audit.save('report.html')"

    def _repr_html_(self) -> str:
        return render("answers.html", audit=self, reading=READING, figures={}, tables={})


def audit(features: Features, run: str | None = None, *, permutations: int = 200) -> Audit:
    """Ask one run for both axes and all four questions; works with one checkpoint, one seed and no twins.

    Parameters
    ----------
    features : Features
        From `load` or `extract`.
    run : str, optional
        A run id or fusion name; None takes the first final run that sees both modalities.
    permutations : int
        For the nulls, at least 20; ≥ 200 for a p to be quoted.

    Returns
    -------
    Audit
        What a single checkpoint cannot say is in its `missing`, with the call that would add it. The slow measures are
        left out: matching, predictivity, the consistent share beside its null, the ranking of units; ask the question
        itself for them.

    Raises
    ------
    FeaturesError
        Where there is no such run, or `run` is None and no run sees both modalities; it lists the runs.
    ValueError
        Where there are fewer than 5 groups.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> found = ri.audit(ri.load("book/features/scenes"), "sum")  # doctest: +SKIP
    >>> found.save("report.html")  # doctest: +SKIP
    """
    run = _first(features) if run is None else features.resolve(run)
    options = dict.fromkeys(("joint", "consistency", "evolution"), {"permutations": permutations})
    results = {name: ask(features, run, **chosen, **options.get(name, {})) for name, (ask, chosen) in QUESTIONS.items()}
    warnings, alone = tuple(_warnings(features, run, results)), one_checkpoint(features, run, results)
    return Audit(run, results, _card(features, run, permutations), warnings, alone)


def compare(a: Audit, b: Audit) -> Comparison:
    """Two audits side by side: what their cards differ in, and every number that both have.

    Parameters
    ----------
    a, b : Audit
        From `audit`.

    Returns
    -------
    Comparison
        `apart` marks numbers whose 95 % intervals do not overlap, which is stricter than a test at 5 %; nothing is
        marked where the cards differ in what numbers depend on, for then they do not compare.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> scenes = ri.load("book/features/scenes")  # doctest: +SKIP
    >>> print(ri.compare(ri.audit(scenes, "sum"), ri.audit(scenes, "se")))  # doctest: +SKIP
    """
    return compare_reports(a.to_dict(), b.to_dict())


def _item(text: str) -> str:
    return fill(text, 100, initial_indent="  - ", subsequent_indent="    ")


def _first(features: Features) -> str:
    names = {m.name for m in features.modalities}
    final = [run for run in features.find(role="final") if features.entry(run)["fusion"] not in names]
    if not final:
        raise FeaturesError(
            f"`run` must be named where no final run sees both modalities; {features.path} has "
            f"{', '.join(features.runs.index)}. Name one that sees both, or extract one."
        )
    return final[0]


def _card(features: Features, run: str, permutations: int) -> dict[str, str | int]:
    entry, manifest = features.entry(run), features.manifest
    done = [r for r in features.execution["runs"] if r["run"] == run]
    units = [f"{m.name} ({m.low:g} to {m.high:g}{' ' + m.unit if m.unit else ''})" for m in features.modalities]
    seeds = sorted({entry["seed"], *(features.entry(r)["seed"] for r in features.siblings(run))})
    moved, unknown = _impure(features, run), _unknown(entry)
    return {
        "run": run,
        "data": manifest["name"],
        "drawn from": json.dumps(manifest["fingerprint"], sort_keys=True),
        "images": len(features),
        "groups": int(features.groups.max()) + 1,
        "size (H x W)": " x ".join(map(str, manifest["size"])),
        "modalities": ", ".join(units),
        "conditions": ", ".join(features.conditions(run)),
        "task": _task(features, run),
        **({"own concepts": "; ".join(map(str, features.own))} if features.own else {}),
        "draws of the partner": entry["draws"],
        "guests": SAME_GUESTS if entry.get("isolation") == SAME else "of its own for every image",
        "own share of the views": _own_shares(features, run),
        "seeds": ", ".join(map(str, seeds)),
        "epoch": "unknown" if "epoch" in unknown else entry["epoch"],
        "role": "unknown" if "role" in unknown else entry["role"],
        "channels": "red, green, blue in [0, 1]; then the other modalities in their units",
        "crop": "none" if manifest["fingerprint"].get("crop") is None else str(manifest["fingerprint"]["crop"]),
        "encoding": str(entry["about"].get("encoding", "as in the data")),
        "called by": str(entry["about"].get("called by", "model(*inputs)")),
        "taps": f"{', '.join(features.streams(run))} at levels {', '.join(map(str, features.levels(run)))}",
        "purity": "; ".join(moved) or "every stream is moved by its own modality only",
        "ceiling": networks(features, run).ceiling_kind,
        "permutations": permutations,
        "device": ", ".join(sorted({r["device"].get("name") or r["device"]["type"] for r in done})) or "not recorded",
        "versions": ", ".join([f"rgbd_insight {manifest['version']}", *sorted({f"torch {r['torch']}" for r in done})]),
    }


def _task(features: Features, run: str) -> str:
    """The task, and what predictions were compared with."""
    scoring = features.scoring(run)
    if not scoring.task.parts:
        return "none: responses only"
    return f"{scoring.task.name}, {'with labels' if scoring.labelled else 'without labels'}"


def _unknown(entry: dict) -> str:
    """Which of epoch and role nobody said when the run was extracted."""
    return str(entry["about"].get("unknown", ""))


def _own_shares(features: Features, run: str) -> str:
    """What share of each view is its own scene's, level by level, "rgb 1.00 0.64; depth 1.00 1.00 (fused tap)"."""
    found = []
    for name in (m.name for m in features.modalities):
        shares = [own_share(features, run, name, level) for level in features.levels(run)]
        read = "" if all(share.stream == name for share in shares) else f" ({shares[0].stream} tap)"
        found.append(f"{name} {' '.join(map(_own_share, shares))}{read}")
    return "; ".join(found)


def _own_share(share: OwnShare) -> str:
    """In digits; before and after, "0.64>0.96", where guests were taken out of a view of an earlier version."""
    if share.how == "unknown":
        return "?"
    was = f"{share.recorded:.2f}"
    return was if share.value == share.recorded else f"{was}>{share.value:.2f}"


def _impure(features: Features, run: str) -> list[str]:
    """For each stream of one modality, the levels at which the other's input moves it."""
    names = [m.name for m in features.modalities]
    table = features.purity(run)
    table = table[table["stream"].isin(names) & (table["stream"] != table["modality"]) & (table["moved"] > SLIGHT)]
    return [
        f"{other} moves {stream} at level {', '.join(map(str, part['level']))}"
        for (stream, other), part in table.groupby(["stream", "modality"], sort=False)
    ]


def _warnings(features: Features, run: str, results: dict[str, Result]) -> list[str]:
    groups, entry, found = int(features.groups.max()) + 1, features.entry(run), []
    if groups < FEW:
        found.append(f"Only {groups} groups: intervals over groups are wide; {FEW} or more say more.")
    rare = dict.fromkeys(m.what.removesuffix(RARE) for m in results["specificity"].missing if m.what.endswith(RARE))
    if rare:
        names = ", ".join([*list(rare)[:LISTED], *([f"and {len(rare) - LISTED} more"] if len(rare) > LISTED else [])])
        found.append(f"{len(rare)} of {len(features.concepts)} concepts are in too few images and left out: {names}.")
    scoring = features.scoring(run)
    if not scoring.labelled:
        told = f"what the network loses is told by {SCORES[scoring.score]}" if scoring.task.parts else "no loss is told"
        found.append(
            f"Unlabelled: {told}. Similarity, decoding, shares and evolution need no labels; the concepts are those of "
            "the images themselves."
        )
    same = entry.get("isolation") == SAME
    lone = [m.name for m in features.modalities if m.name not in features.streams(run)]
    if lone:
        found.append(f"No stream of its own: {' and '.join(lone)}, read where both modalities go through.")
    if moved := _impure(features, run):
        found.append(
            f"Impure taps: {'; '.join(moved)}. All numbers about two modalities therefore rest on responses "
            f"for which the other input came from other scenes, {'the same' if same else 'others'} for every image. "
            f"Share of the views that is their own scenes', by level: {_own_shares(features, run)}."
        )
    done = (r for r in features.execution["runs"] if r["run"] == run)
    if unlike := {place: None for r in done for place in r.get("restless", ())}:
        found.append(
            f"The network draws random numbers in evaluation: {', '.join(unlike)} answered the same images otherwise "
            "each time. The same numbers were drawn in every call."
        )
    if unknown := _unknown(entry):
        found.append(f"Not known of the network: {unknown}. Say how far it was trained with run= (--epoch, --role).")
    elif entry["role"] == "untrained" or entry["epoch"] == 0:
        found.append("The run is untrained (epoch 0): what it shows is what the architecture alone does.")
    if entry.get("quantised") is not None:
        found.append("These features hold a selection of units, rounded to one byte.")
    said = dict.fromkeys(warning for result in results.values() for warning in result.warnings)
    return [*(f"{warning[0].upper()}{warning[1:]}." for warning in said), *found]
